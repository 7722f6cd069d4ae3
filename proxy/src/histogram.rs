//! Distributions with fixed buckets, for the hot path: no allocation, no lock, exact sums.
//!
//! Owns: counting and the Prometheus text of one histogram. Invariant: memory is fixed, and a
//! histogram that nobody scrapes grows by nothing but its counters. (A recorder that buffers
//! samples until the next scrape would itself be a leak.)

use std::fmt::Write;
use std::time::Duration;

use crate::shared::Tally;

/// The most buckets, `+Inf` included.
const BUCKETS_MAX: usize = 20;

/// Counts durations by upper bound, in seconds.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    counts: [Tally; BUCKETS_MAX],
    sum_us: Tally,
}

impl Histogram {
    /// An empty histogram over these bounds, ascending.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        assert!(bounds.len() < BUCKETS_MAX, "one bucket is kept for +Inf");
        debug_assert!(bounds.is_sorted());
        Self { bounds, counts: [const { Tally::new() }; BUCKETS_MAX], sum_us: Tally::new() }
    }

    /// Counts one duration.
    pub(crate) fn record(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = self.bounds.iter().position(|bound| seconds <= *bound);
        self.counts[bucket.unwrap_or(self.bounds.len())].add(1);
        self.sum_us.add_time(duration);
    }

    /// All of them together.
    pub(crate) fn sum<'a>(bounds: &'static [f64], parts: impl Iterator<Item = &'a Self>) -> Self {
        let sum = Self::new(bounds);
        for part in parts {
            debug_assert_eq!(part.bounds, bounds, "only what is counted alike is added up");
            sum.counts.iter().zip(&part.counts).for_each(|(to, from)| to.add(from.get()));
            sum.sum_us.add(part.sum_us.get());
        }
        sum
    }

    /// Appends the series of this histogram in the text format 0.0.4. `labels` is without braces.
    pub(crate) fn render(&self, name: &str, labels: &str, out: &mut String) {
        let mut total = 0;
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            total += count.get();
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {total}");
        }
        total += self.counts[self.bounds.len()].get();
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {total}");
        let seconds = self.sum_us.get() as f64 / 1e6;
        let _ = writeln!(out, "{name}_sum{{{labels}}} {seconds}");
        let _ = writeln!(out, "{name}_count{{{labels}}} {total}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_threads_have_counted_adds_up() {
        static BOUNDS: [f64; 1] = [0.1];
        let parts = [Histogram::new(&BOUNDS), Histogram::new(&BOUNDS)];
        parts.iter().for_each(|part| part.record(Duration::from_millis(40)));
        let mut out = String::new();
        Histogram::sum(&BOUNDS, parts.iter()).render("h", "a=\"b\"", &mut out);
        assert!(out.contains("h_bucket{a=\"b\",le=\"0.1\"} 2\n"), "{out}");
        assert!(out.contains("h_sum{a=\"b\"} 0.08\n"), "{out}");
    }

    #[test]
    fn buckets_are_cumulative_and_the_sum_is_exact() {
        let histogram = Histogram::new(&[0.001, 0.1]);
        for ms in [1, 2, 3, 500] {
            histogram.record(Duration::from_millis(ms));
        }
        let mut out = String::new();
        histogram.render("wait_seconds", "user=\"u\"", &mut out);
        expect_test::expect![[r#"
            wait_seconds_bucket{user="u",le="0.001"} 1
            wait_seconds_bucket{user="u",le="0.1"} 3
            wait_seconds_bucket{user="u",le="+Inf"} 4
            wait_seconds_sum{user="u"} 0.506
            wait_seconds_count{user="u"} 4
        "#]]
        .assert_eq(&out);
    }
}
