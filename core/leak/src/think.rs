//! How long clients ordinarily pause inside a transaction.
//!
//! Owns: the distribution of finished pauses, in fixed memory, with old ones fading.
//! Refuses: knowing whose pauses they were. Invariant: counts never overflow, and a quantile is
//! never below the pauses it covers (bounds are upper ends of their buckets).

/// Upper ends of the buckets double from one millisecond: the last is about 4.5 hours.
const BUCKETS: usize = 25;
/// When this many pauses have been counted, all counts are halved: old behaviour fades.
const FADE_AT: u32 = 4_096;
/// Quantile that stands for "ordinarily long".
const QUANTILE: f64 = 0.99;
/// From so many pauses on the longest one alone no longer counts.
const ACCIDENT_FROM: u32 = 8;

/// Finished pauses, counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct ThinkTimes {
    counts: [u32; BUCKETS],
    total: u32,
}

impl ThinkTimes {
    /// Counts a pause that ended.
    pub(crate) fn record(&mut self, pause_ms: u64) {
        let bucket = (u64::BITS - pause_ms.saturating_sub(1).leading_zeros()) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.total += 1;
        if self.total >= FADE_AT {
            for count in &mut self.counts {
                *count /= 2;
            }
            self.total = self.counts.iter().sum();
        }
        assert!(self.total < FADE_AT, "counts fade before they overflow");
    }

    /// The pause that 99 in 100 stay within; `None` while none was seen.
    pub(crate) fn typical_ms(&self) -> Option<u64> {
        if self.total == 0 {
            return None;
        }
        let rank = (f64::from(self.total) * QUANTILE).ceil() as u32;
        // Below a hundred pauses the quantile is the longest one. A single one is an accident.
        let wanted = if self.total >= ACCIDENT_FROM { rank.min(self.total - 1) } else { rank };
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Some(1 << bucket);
            }
        }
        unreachable!("the counts add up to the total, and the quantile is below 1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_typical_pause_covers_the_rare_long_one_only_when_it_is_not_that_rare() {
        let mut times = ThinkTimes::default();
        assert_eq!(times.typical_ms(), None);
        for _ in 0..200 {
            times.record(3);
        }
        times.record(9_000);
        assert_eq!(times.typical_ms(), Some(4));
        for _ in 0..10 {
            times.record(9_000);
        }
        assert_eq!(times.typical_ms(), Some(16_384));
    }

    #[test]
    fn old_pauses_fade() {
        let mut times = ThinkTimes::default();
        for _ in 0..1_000 {
            times.record(60_000);
        }
        for _ in 0..40_000 {
            times.record(1);
        }
        assert_eq!(times.typical_ms(), Some(1));
    }
}
