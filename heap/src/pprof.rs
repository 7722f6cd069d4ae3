//! A heap profile in the form that `go tool pprof` and its kin read: profile.proto, not compressed.
//!
//! Owns: the encoding. Refuses: finding names. Invariant: each string, function and location stands
//! once and is referred to by its number; number 0 is nobody.
//! Source: github.com/google/pprof, proto/profile.proto; protobuf.dev, "Encoding".

use std::collections::BTreeMap;

use crate::profile::{HeapProfile, Stack};

/// One function at an address; several where calls were inlined.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) function: String,
    pub(crate) file: String,
    pub(crate) line: u32,
}

/// Encodes a profile. `places` says what an address is, innermost first.
pub(crate) fn encode(
    profile: &HeapProfile,
    time_nanos: u64,
    mut places: impl FnMut(u64) -> Vec<Place>,
) -> Vec<u8> {
    let mut out = Encoder::default();
    out.string("");
    for (kind, unit) in [("inuse_objects", "count"), ("inuse_space", "bytes")] {
        let value_type = out.value_type(kind, unit);
        out.message.bytes(1, &value_type);
    }
    for stack in &profile.stacks {
        let sample = out.sample(stack, &mut places);
        out.message.bytes(2, &sample);
    }
    let period_type = out.value_type("space", "bytes");
    out.message.bytes(11, &period_type);
    out.message.varint(9, time_nanos);
    out.message.varint(12, profile.sample_bytes);
    out.finish()
}

/// A protobuf message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.raw(u64::from(field << 3));
            self.raw(value);
        }
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.raw(u64::from(field << 3 | 2));
        self.raw(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn packed(&mut self, field: u32, values: &[u64]) {
        let mut list = Self::default();
        values.iter().for_each(|value| list.raw(*value));
        self.bytes(field, &list.0);
    }

    fn raw(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[derive(Default)]
struct Encoder {
    message: Message,
    strings: BTreeMap<String, u64>,
    functions: BTreeMap<(u64, u64), u64>,
    locations: BTreeMap<u64, u64>,
    /// In the order of their numbers: what refers to them comes before them in the output.
    texts: Vec<String>,
}

impl Encoder {
    fn string(&mut self, text: &str) -> u64 {
        if let Some(number) = self.strings.get(text) {
            return *number;
        }
        let number = self.texts.len() as u64;
        self.texts.push(text.to_owned());
        self.strings.insert(text.to_owned(), number);
        number
    }

    fn value_type(&mut self, kind: &str, unit: &str) -> Vec<u8> {
        let mut message = Message::default();
        message.varint(1, self.string(kind));
        message.varint(2, self.string(unit));
        message.0
    }

    fn sample(&mut self, stack: &Stack, places: &mut impl FnMut(u64) -> Vec<Place>) -> Vec<u8> {
        let locations: Vec<u64> =
            stack.addresses.iter().map(|address| self.location(*address, places)).collect();
        let mut message = Message::default();
        message.packed(1, &locations);
        message.packed(2, &[stack.objects, stack.bytes]);
        message.0
    }

    fn location(&mut self, address: u64, places: &mut impl FnMut(u64) -> Vec<Place>) -> u64 {
        if let Some(number) = self.locations.get(&address) {
            return *number;
        }
        let number = self.locations.len() as u64 + 1;
        self.locations.insert(address, number);
        let mut message = Message::default();
        message.varint(1, number);
        message.varint(3, address);
        for place in places(address) {
            let mut line = Message::default();
            line.varint(1, self.function(&place));
            line.varint(2, u64::from(place.line));
            message.bytes(4, &line.0);
        }
        self.message.bytes(4, &message.0);
        number
    }

    fn function(&mut self, place: &Place) -> u64 {
        let key = (self.string(&place.function), self.string(&place.file));
        if let Some(number) = self.functions.get(&key) {
            return *number;
        }
        let number = self.functions.len() as u64 + 1;
        self.functions.insert(key, number);
        let mut message = Message::default();
        message.varint(1, number);
        message.varint(2, key.0);
        message.varint(3, key.0);
        message.varint(4, key.1);
        self.message.bytes(5, &message.0);
        number
    }

    fn finish(mut self) -> Vec<u8> {
        for text in &self.texts {
            self.message.bytes(6, text.as_bytes());
        }
        self.message.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_that_the_format_asks_for() {
        let stack = Stack { addresses: vec![0x90], objects: 3, bytes: 300 };
        let profile = HeapProfile { sample_bytes: 512, stacks: vec![stack] };
        let place = Place { function: "f".to_owned(), file: "a.rs".to_owned(), line: 7 };
        let bytes = encode(&profile, 5, |_| vec![place.clone()]);
        let expected: &[u8] = &[
            0x0a, 4, 8, 1, 16, 2, // sample_type: strings 1 and 2
            0x0a, 4, 8, 3, 16, 4, // sample_type: strings 3 and 4
            0x2a, 8, 8, 1, 16, 5, 24, 5, 32, 6, // function 1: name 5, file 6
            0x22, 11, 8, 1, 24, 0x90, 1, 0x22, 4, 8, 1, 16, 7, // location 1 at 0x90, line 7
            0x12, 8, 0x0a, 1, 1, 0x12, 3, 3, 0xac,
            2, // sample at location 1: 3 objects, 300 bytes
            0x5a, 4, 8, 7, 16, 4, // period_type
            0x48, 5, 0x60, 0x80, 4, // time, period
        ];
        assert_eq!(&bytes[..expected.len()], expected);
        let strings = ["", "inuse_objects", "count", "inuse_space", "bytes", "f", "a.rs", "space"];
        let mut table = Vec::new();
        for text in strings {
            table.extend([0x32, text.len() as u8]);
            table.extend(text.bytes());
        }
        assert_eq!(&bytes[expected.len()..], table);
    }

    #[test]
    fn an_address_and_a_function_stand_once_however_many_stacks_go_through_them() {
        let stack = |bytes| Stack { addresses: vec![1, 2, 1], objects: 1, bytes };
        let profile = HeapProfile { sample_bytes: 512, stacks: vec![stack(9), stack(8)] };
        let mut asked = Vec::new();
        encode(&profile, 0, |address| {
            asked.push(address);
            vec![Place { function: "same".to_owned(), ..Place::default() }]
        });
        assert_eq!(asked, [1, 2]);
    }
}
