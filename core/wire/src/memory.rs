//! What tables cost, for those who ask what memory is for.
//!
//! Refuses: to ask the allocator: it is known how jemalloc rounds.
//! Invariant: nothing is measured while a message is on its way.
//! Source: hashbrown, `src/raw.rs` (a control byte a bucket, seven buckets of eight in use).

/// What jemalloc gives for a length.
/// Source: jemalloc(3), "Size classes": four to each doubling.
pub const fn given(len: usize) -> usize {
    let step = match len {
        0 => return 0,
        1..=8 => 8,
        9..=128 => 16,
        more => more.next_power_of_two() / 8,
    };
    len.next_multiple_of(step)
}

/// The length of a hash table with room for so many entries, rounded.
pub(crate) const fn table_len<T>(capacity: usize) -> usize {
    /// Control bytes beyond one a bucket: a group.
    const GROUP: usize = 16;
    if capacity == 0 {
        return 0;
    }
    let buckets = match capacity {
        1..=3 => 4,
        4..=7 => 8,
        more => (more * 8 / 7).next_power_of_two(),
    };
    assert!(buckets > capacity, "a table is never full");
    given(buckets * (size_of::<T>() + 1) + GROUP)
}

#[cfg(test)]
mod tests {
    use rustc_hash::{FxBuildHasher, FxHashSet};

    use super::*;

    #[test]
    fn a_table_grows_in_powers_of_two() {
        for (wanted, buckets) in [(1, 4), (4, 8), (14, 16), (15, 32), (100, 128), (448, 512)] {
            let capacity =
                FxHashSet::<u64>::with_capacity_and_hasher(wanted, FxBuildHasher).capacity();
            assert_eq!(table_len::<u64>(capacity), given(buckets * 9 + 16), "{wanted}: {capacity}");
        }
        assert_eq!(table_len::<u64>(0), 0);
    }

    #[test]
    fn lengths_are_rounded_up_as_jemalloc_does() {
        for (len, class) in [
            (0, 0),
            (1, 8),
            (8, 8),
            (9, 16),
            (100, 112),
            (128, 128),
            (129, 160),
            (256, 256),
            (257, 320),
            (328, 384),
            (600, 640),
            (1025, 1280),
            (4096, 4096),
            (4097, 5120),
        ] {
            assert_eq!(given(len), class, "{len}");
        }
    }
}
