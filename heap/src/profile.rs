//! jemalloc's own heap profile, `heap_v2`, read and un-biased.
//!
//! Owns: the text of a dump, and the estimate of what it stands for. Refuses: names of addresses.
//! Invariant: a dump that is cut off or malformed is an error, and no more than [`STACKS_MAX`]
//! stacks of [`DEPTH_MAX`] addresses come of it, the largest; the rest is added up in one.
//! Source: jemalloc(3), "HEAP PROFILE FORMAT"; the estimate is jeprof's `AdjustSamples`.

/// The most stacks that are told apart.
pub(crate) const STACKS_MAX: usize = 512;
/// The most addresses of one stack; jemalloc itself stops at 128.
const DEPTH_MAX: usize = 128;

/// What lives of the allocations that were made at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stack {
    /// Return addresses, innermost first; none for what was added up.
    pub(crate) addresses: Vec<u64>,
    /// Objects, estimated.
    pub(crate) objects: u64,
    /// Bytes, estimated.
    pub(crate) bytes: u64,
}

/// A heap profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeapProfile {
    /// The mean number of bytes between samples.
    pub(crate) sample_bytes: u64,
    /// The stacks, largest first.
    pub(crate) stacks: Vec<Stack>,
}

/// Why a dump cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// Not jemalloc's, or of another version.
    #[error("the dump does not begin with heap_v2/")]
    Header,
    /// A line that should be a number is none.
    #[error("line {0} of the dump cannot be read")]
    Line(usize),
    /// It ends in the middle.
    #[error("the dump ends before its list of mapped libraries")]
    Cut,
}

/// Reads a dump.
pub(crate) fn parse(text: &str) -> Result<HeapProfile, DumpError> {
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let (_, head) = lines.next().ok_or(DumpError::Header)?;
    let rate = head.strip_prefix("heap_v2/").ok_or(DumpError::Header)?;
    let sample_bytes: u64 = rate.parse().ok().filter(|rate| *rate > 0).ok_or(DumpError::Header)?;
    let mut stacks = Vec::new();
    let mut addresses: Option<Vec<u64>> = None;
    let mut whole = false;
    for (at, line) in lines {
        if line == "MAPPED_LIBRARIES:" {
            whole = true;
            break;
        }
        if let Some(list) = line.strip_prefix('@') {
            addresses = Some(parse_addresses(list).ok_or(DumpError::Line(at))?);
        } else if let (Some(counts), Some(_)) = (line.strip_prefix("t*:"), &addresses) {
            let (objects, bytes) = parse_counts(counts).ok_or(DumpError::Line(at))?;
            let (objects, bytes) = unbias(objects, bytes, sample_bytes);
            let addresses = addresses.take().unwrap_or_default();
            stacks.push(Stack { addresses, objects, bytes });
        }
    }
    if !whole {
        return Err(DumpError::Cut);
    }
    Ok(HeapProfile { sample_bytes, stacks: largest(stacks) })
}

/// The largest stacks; what is beyond [`STACKS_MAX`] is added up at the end.
fn largest(mut stacks: Vec<Stack>) -> Vec<Stack> {
    stacks.retain(|stack| stack.bytes > 0);
    stacks.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.addresses.cmp(&b.addresses)));
    let rest = stacks.split_off(stacks.len().min(STACKS_MAX));
    if !rest.is_empty() {
        let sum = |of: fn(&Stack) -> u64| rest.iter().map(of).fold(0, u64::saturating_add);
        let (objects, bytes) = (sum(|stack| stack.objects), sum(|stack| stack.bytes));
        stacks.push(Stack { addresses: Vec::new(), objects, bytes });
    }
    stacks
}

fn parse_addresses(list: &str) -> Option<Vec<u64>> {
    let words = list.split_ascii_whitespace().take(DEPTH_MAX);
    words.map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()).collect()
}

/// ` 13: 6688 [0: 0]`: objects and bytes that live, those that were ever made in brackets.
fn parse_counts(counts: &str) -> Option<(u64, u64)> {
    let (live, _) = counts.split_once('[')?;
    let (objects, bytes) = live.split_once(':')?;
    Some((objects.trim().parse().ok()?, bytes.trim().parse().ok()?))
}

/// What the sampled objects stand for. An object of `size` bytes is sampled with a probability of
/// `1 - exp(-size / rate)`.
fn unbias(objects: u64, bytes: u64, rate: u64) -> (u64, u64) {
    if objects == 0 || bytes == 0 {
        return (0, 0);
    }
    let size = bytes as f64 / objects as f64;
    let chance = -(-size / rate as f64).exp_m1();
    let scale = 1.0 / chance.max(f64::MIN_POSITIVE);
    ((objects as f64 * scale).round() as u64, (bytes as f64 * scale).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "heap_v2/65536\n  t*: 3: 12288 [0: 0]\n  t0: 3: 12288 [0: 0]\n\
        @ 0x1f 0x2f\n  t*: 2: 8192 [0: 0]\n  t0: 2: 8192 [0: 0]\n\
        @ 0x3f\n  t*: 1: 4194304 [0: 0]\n  t1: 1: 4194304 [0: 0]\n\
        @ 0x4f\n  t*: 0: 0 [9: 100]\n\nMAPPED_LIBRARIES:\n55-56 r-xp 0 0:0 0 /app\n";

    #[test]
    fn small_objects_count_for_the_many_that_were_not_sampled_and_large_ones_for_themselves() {
        let profile = parse(DUMP).unwrap();
        assert_eq!(profile.sample_bytes, 65_536);
        let [large, small] = &profile.stacks[..] else { panic!("{profile:?}") };
        assert_eq!((large.addresses.as_slice(), large.bytes), (&[0x3f][..], 4_194_304));
        // One object of 4 KiB in 16.5 is sampled at 64 KiB: two stand for 33, 135 kB.
        assert_eq!((small.addresses.as_slice(), small.objects), (&[0x1f, 0x2f][..], 33));
        assert!((135_000..136_000).contains(&small.bytes), "{}", small.bytes);
    }

    #[test]
    fn a_dump_cut_off_at_any_byte_is_an_error_and_never_a_smaller_profile() {
        let end = DUMP.find("MAPPED_LIBRARIES:\n").unwrap() + "MAPPED_LIBRARIES:".len();
        for cut in 0..end {
            assert!(parse(&DUMP[..cut]).is_err(), "cut at {cut}");
        }
        assert!(parse(&DUMP[..end]).is_ok());
    }

    #[test]
    fn numbers_that_are_none_are_refused_with_their_line() {
        for (line, text) in [
            (1, DUMP.replace("65536", "0")),
            (4, DUMP.replace("0x1f", "here")),
            (5, DUMP.replace("2: 8192", "-2: 8192")),
        ] {
            let expected = if line == 1 { DumpError::Header } else { DumpError::Line(line) };
            assert_eq!(parse(&text), Err(expected));
        }
    }

    #[test]
    fn what_is_beyond_the_largest_stacks_is_added_up_in_one() {
        let mut dump = "heap_v2/1\n".to_owned();
        for stack in 0..STACKS_MAX + 10 {
            dump += &format!("@ {stack:#x}\n t*: 1: {} [0: 0]\n", 1_000 + stack);
        }
        dump += "MAPPED_LIBRARIES:\n";
        let stacks = parse(&dump).unwrap().stacks;
        assert_eq!(stacks.len(), STACKS_MAX + 1);
        let rest = stacks.last().unwrap();
        assert_eq!((rest.addresses.len(), rest.objects), (0, 10));
        assert_eq!(rest.bytes, (1_000..1_010).sum::<u64>());
    }
}
