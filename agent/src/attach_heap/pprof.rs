//! Reads a profile in pprof's form: profile.proto, not compressed.
//!
//! Owns: decoding, strictly. Refuses: fields that no attribution needs; they are passed over.
//! Invariant: a reference to something that is not there is an error; what comes out is bounded by
//! [`SAMPLES_MAX`], [`ENTRIES_MAX`] and the length of what came in.
//! Source: github.com/google/pprof, proto/profile.proto; protobuf.dev, "Encoding".

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

/// The most samples.
const SAMPLES_MAX: usize = 20_000;
/// The most locations, functions or strings, each.
const ENTRIES_MAX: usize = 200_000;

/// Why a profile cannot be read. The target's doing; it is said in the attribution's note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum ProfileError {
    /// A length or a number goes beyond the end.
    #[error("the profile is cut off")]
    Cut,
    /// A form that protobuf does not have, or a field in another's form.
    #[error("the profile is malformed")]
    Malformed,
    /// A number that nothing has.
    #[error("the profile refers to what is not in it")]
    Dangling,
    /// More of something than is taken.
    #[error("the profile is too large")]
    Large,
}

/// A function.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) file: String,
}

/// A line of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) function: Arc<Function>,
    /// 0 where it is not known.
    pub(crate) line: u32,
}

/// What lives of the allocations of one stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Innermost first.
    pub(crate) places: Vec<Place>,
    pub(crate) bytes: u64,
}

/// Decodes a profile: its samples, with the value whose unit is bytes.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Sample>, ProfileError> {
    let mut parts = Parts::default();
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(kind)) => parts.kinds.push(numbers(kind, 2)?),
            (2, Value::Bytes(sample)) => push(&mut parts.samples, sample, SAMPLES_MAX)?,
            (4, Value::Bytes(location)) => push(&mut parts.locations, location, ENTRIES_MAX)?,
            (5, Value::Bytes(function)) => push(&mut parts.functions, function, ENTRIES_MAX)?,
            (6, Value::Bytes(text)) => push(&mut parts.strings, text, ENTRIES_MAX)?,
            (1 | 2 | 4..=6, Value::Number(_)) => return Err(ProfileError::Malformed),
            (_, Value::Bytes(_) | Value::Number(_)) => {}
        }
    }
    parts.resolve()
}

fn push<'a>(to: &mut Vec<&'a [u8]>, bytes: &'a [u8], max: usize) -> Result<(), ProfileError> {
    if to.len() == max {
        return Err(ProfileError::Large);
    }
    to.push(bytes);
    Ok(())
}

/// The messages of a profile, before they are put together.
#[derive(Default)]
struct Parts<'a> {
    /// Sample types: the strings of kind and unit.
    kinds: Vec<Vec<u64>>,
    samples: Vec<&'a [u8]>,
    locations: Vec<&'a [u8]>,
    functions: Vec<&'a [u8]>,
    strings: Vec<&'a [u8]>,
}

impl Parts<'_> {
    fn resolve(&self) -> Result<Vec<Sample>, ProfileError> {
        let functions = self.functions()?;
        let locations = self.locations(&functions)?;
        let value = self.bytes_value()?;
        self.samples.iter().map(|sample| read_sample(sample, &locations, value)).collect()
    }

    fn string(&self, number: u64) -> Result<String, ProfileError> {
        let at = usize::try_from(number).map_err(|_| ProfileError::Dangling)?;
        let bytes = self.strings.get(at).ok_or(ProfileError::Dangling)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn functions(&self) -> Result<BTreeMap<u64, Arc<Function>>, ProfileError> {
        let mut functions = BTreeMap::new();
        for bytes in &self.functions {
            // id, name, system_name, filename
            let [id, name, _, file] = numbers(bytes, 4)?[..] else {
                return Err(ProfileError::Malformed);
            };
            let function = Function { name: self.string(name)?, file: self.string(file)? };
            functions.insert(id, Arc::new(function));
        }
        Ok(functions)
    }

    fn locations(
        &self,
        functions: &BTreeMap<u64, Arc<Function>>,
    ) -> Result<BTreeMap<u64, Vec<Place>>, ProfileError> {
        let mut locations = BTreeMap::new();
        for bytes in &self.locations {
            let mut id = 0;
            let mut places = Vec::new();
            for field in Fields(bytes) {
                match field? {
                    (1, Value::Number(number)) => id = number,
                    (4, Value::Bytes(line)) => {
                        let [function, line] = numbers(line, 2)?[..] else {
                            return Err(ProfileError::Malformed);
                        };
                        let function = functions.get(&function).ok_or(ProfileError::Dangling)?;
                        let line = u32::try_from(line).unwrap_or(0);
                        places.push(Place { function: Arc::clone(function), line });
                    }
                    (_, Value::Bytes(_) | Value::Number(_)) => {}
                }
            }
            locations.insert(id, places);
        }
        Ok(locations)
    }

    /// Which of a sample's values is bytes.
    fn bytes_value(&self) -> Result<usize, ProfileError> {
        for (at, kind) in self.kinds.iter().enumerate() {
            let unit = kind.get(1).copied().unwrap_or(0);
            if self.string(unit)? == "bytes" {
                return Ok(at);
            }
        }
        Err(ProfileError::Malformed)
    }
}

fn read_sample(
    bytes: &[u8],
    locations: &BTreeMap<u64, Vec<Place>>,
    value: usize,
) -> Result<Sample, ProfileError> {
    let (mut ids, mut values) = (Vec::new(), Vec::new());
    for field in Fields(bytes) {
        let (number, found) = field?;
        let list = match number {
            1 => &mut ids,
            2 => &mut values,
            _ => continue,
        };
        match found {
            Value::Number(one) => list.push(one),
            Value::Bytes(mut packed) => {
                while !packed.is_empty() {
                    list.push(varint(&mut packed)?);
                }
            }
        }
    }
    let mut places = Vec::new();
    for id in ids {
        places.extend_from_slice(locations.get(&id).ok_or(ProfileError::Dangling)?);
    }
    let bytes = values.get(value).copied().ok_or(ProfileError::Malformed)?;
    Ok(Sample { places, bytes })
}

/// The numbers of the fields 1 to `count` of a small message; 0 where one is not there.
fn numbers(bytes: &[u8], count: usize) -> Result<Vec<u64>, ProfileError> {
    let mut numbers = vec![0; count];
    for field in Fields(bytes) {
        if let (field, Value::Number(number)) = field?
            && let Some(slot) = (field as usize).checked_sub(1).and_then(|at| numbers.get_mut(at))
        {
            *slot = number;
        }
    }
    Ok(numbers)
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in order; the first error ends them.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), ProfileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = read_field(&mut self.0);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn read_field<'a>(bytes: &mut &'a [u8]) -> Result<(u32, Value<'a>), ProfileError> {
    let tag = varint(bytes)?;
    let number = u32::try_from(tag >> 3).map_err(|_| ProfileError::Malformed)?;
    match tag & 7 {
        0 => Ok((number, Value::Number(varint(bytes)?))),
        1 => Ok((number, Value::Bytes(take(bytes, 8)?))),
        2 => {
            let length = varint(bytes)?;
            Ok((number, Value::Bytes(take(bytes, length)?)))
        }
        5 => Ok((number, Value::Bytes(take(bytes, 4)?))),
        _ => Err(ProfileError::Malformed),
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], ProfileError> {
    let length = usize::try_from(length).map_err(|_| ProfileError::Cut)?;
    let (head, tail) = bytes.split_at_checked(length).ok_or(ProfileError::Cut)?;
    *bytes = tail;
    Ok(head)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, ProfileError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = bytes.split_first().ok_or(ProfileError::Cut)?;
        *bytes = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ProfileError::Malformed)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Two kinds of value, one sample of 300 bytes at `f` in `a.rs`, line 7.
    const PROFILE: &[u8] = &[
        0x0a, 4, 8, 1, 16, 2, 0x0a, 4, 8, 3, 16, 4, // sample types
        0x2a, 8, 8, 1, 16, 5, 24, 5, 32, 6, // function 1
        0x22, 11, 8, 1, 24, 0x90, 1, 0x22, 4, 8, 1, 16, 7, // location 1
        0x12, 8, 0x0a, 1, 1, 0x12, 3, 3, 0xac, 2, // the sample, packed
        0x48, 5, // a field that nobody needs
        0x32, 0, 0x32, 1, b'o', 0x32, 1, b'c', 0x32, 1, b's', // strings 0 to 3
        0x32, 5, b'b', b'y', b't', b'e', b's', 0x32, 1, b'f', 0x32, 4, b'a', b'.', b'r', b's',
    ];

    pub(in crate::attach_heap) fn place(name: &str, file: &str, line: u32) -> Place {
        let function = Function { name: name.to_owned(), file: file.to_owned() };
        Place { function: Arc::new(function), line }
    }

    #[test]
    fn a_sample_comes_with_its_places_and_its_bytes() {
        let samples = decode(PROFILE).unwrap();
        assert_eq!(samples, [Sample { places: vec![place("f", "a.rs", 7)], bytes: 300 }]);
    }

    #[test]
    fn a_profile_cut_off_anywhere_gives_an_error_or_fewer_strings_but_never_a_panic() {
        for cut in 1..PROFILE.len() {
            let whole = decode(&PROFILE[..cut]);
            assert!(whole.as_deref() != decode(PROFILE).as_deref(), "cut at {cut}");
        }
    }

    #[test]
    fn no_flipped_bit_makes_it_panic() {
        for at in 0..PROFILE.len() * 8 {
            let mut bytes = PROFILE.to_vec();
            bytes[at / 8] ^= 1 << (at % 8);
            // An error or another profile, as the bit has it.
            let _either = decode(&bytes);
        }
        assert_eq!(decode(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]), Err(ProfileError::Cut));
        assert_eq!(decode(&[0x08, 1]), Err(ProfileError::Malformed));
        assert_eq!(decode(&[0xff; 11]), Err(ProfileError::Malformed));
    }
}
