//! Numbers that look random and are not: jitter drawn from the seed that the shell gave.
//!
//! Invariant: the sequence depends on the seed alone (SplitMix64; Steele, Lea, Flood 2014).

use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Seed(u64);

impl Seed {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A duration in `low..=high`.
    pub(crate) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        assert!(low <= high, "an interval runs upwards");
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let drawn = low + (high - low).mul_f64(share);
        drawn.clamp(low, high)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}
