//! Gathering: the rounds of one publishing interval, made into one datum a series.
//!
//! Owns: the values of a gauge over the interval, all of them, so that a peak between two calls is
//! seen and CloudWatch's Minimum, Maximum and Average are those of the readings; the sum of a
//! counter's increases.
//! Refuses: the clock (the caller's) and how a datum is sent.
//! Invariant: at most [`SERIES_MAX`] series of [`ROUNDS_MAX`] values are held.

use std::collections::BTreeMap;
use std::time::Duration;

use stent_contract::metric::MetricKind;
use tokio::time::Instant;

use crate::publish::series::{SERIES_MAX, Series};

/// The most rounds of one interval: it ends early when it has this many.
const ROUNDS_MAX: usize = 600;

/// What is published of one series for one interval.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Datum {
    /// Whose.
    pub(crate) series: Series,
    /// The end of the interval, milliseconds since the Unix epoch.
    pub(crate) at_unix_ms: u64,
    /// In the order of the rounds, never empty; a single one for a counter.
    pub(crate) values: Vec<f64>,
}

/// One publisher's interval.
#[derive(Debug)]
pub(crate) struct Gathering {
    interval: Duration,
    due: Option<Instant>,
    rounds: usize,
    at_unix_ms: u64,
    values: BTreeMap<Series, Vec<f64>>,
}

impl Gathering {
    /// An interval that begins with the first round.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, due: None, rounds: 0, at_unix_ms: 0, values: BTreeMap::new() }
    }

    /// Takes in a round; returns the interval's data when the round was its last.
    pub(crate) fn add(
        &mut self,
        samples: &BTreeMap<Series, f64>,
        at_unix_ms: u64,
        now: Instant,
    ) -> Option<Vec<Datum>> {
        self.rounds += 1;
        self.at_unix_ms = at_unix_ms;
        for (series, value) in samples {
            self.take(series, *value);
        }
        assert!(self.values.len() <= SERIES_MAX, "the gathering is bounded");
        let due = *self.due.get_or_insert(now + self.interval);
        if now < due && self.rounds < ROUNDS_MAX {
            return None;
        }
        // From the due time, not from now: the data stay evenly spaced. After a pause, from now.
        let next = due + self.interval;
        self.due = Some(if next > now { next } else { now + self.interval });
        Some(self.flush())
    }

    fn take(&mut self, series: &Series, value: f64) {
        let is_full = self.values.len() >= SERIES_MAX;
        match (self.values.get_mut(series), series.metric.row().kind) {
            (Some(values), MetricKind::Counter) => values[0] += value,
            (Some(values), MetricKind::Gauge | MetricKind::Histogram(_)) => values.push(value),
            (None, _) if is_full => {}
            (None, _) => {
                self.values.insert(series.clone(), vec![value]);
            }
        }
    }

    /// What has been gathered so far; the interval goes on empty.
    pub(crate) fn flush(&mut self) -> Vec<Datum> {
        self.rounds = 0;
        let at_unix_ms = self.at_unix_ms;
        let values = std::mem::take(&mut self.values).into_iter();
        values.map(|(series, values)| Datum { series, at_unix_ms, values }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stent_contract::metric::MetricId;

    fn series(metric: MetricId, database: &str) -> Series {
        Series { metric, dimensions: vec![("Database".to_owned(), database.to_owned())] }
    }

    fn round(value: f64) -> BTreeMap<Series, f64> {
        BTreeMap::from([
            (series(MetricId::MaxWait, "app"), value),
            (series(MetricId::Timeouts, "app"), value),
        ])
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_keeps_every_value_of_a_gauge_and_the_sum_of_a_counter() {
        let mut gathering = Gathering::new(Duration::from_secs(3));
        let mut data = Vec::new();
        for second in 0..4 {
            let now = Instant::now();
            data.extend(gathering.add(&round(f64::from(second)), 1_000, now).unwrap_or_default());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(data.len(), 2);
        assert_eq!(data[0].values, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(data[1].values, [6.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn intervals_do_not_drift_with_late_rounds() {
        let mut gathering = Gathering::new(Duration::from_secs(10));
        let start = Instant::now();
        let mut due_at = |second: u64| {
            let now = start + Duration::from_secs(second);
            gathering.add(&round(1.0), second, now).is_some()
        };
        assert!(!due_at(0));
        assert!(due_at(14), "late");
        assert!(due_at(20), "and yet the next one is on time");
        assert!(due_at(200), "after a pause");
        assert!(!due_at(201), "there is no burst to catch up");
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_of_too_many_rounds_ends_early() {
        let mut gathering = Gathering::new(Duration::from_secs(1_000_000));
        let now = Instant::now();
        let ended = (1..=ROUNDS_MAX).find(|_| gathering.add(&round(1.0), 1, now).is_some());
        assert_eq!(ended, Some(ROUNDS_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn series_that_come_and_go_within_an_interval_do_not_pile_up() {
        let mut gathering = Gathering::new(Duration::from_secs(1_000_000));
        let now = Instant::now();
        for n in 0..SERIES_MAX + 50 {
            let one = BTreeMap::from([(series(MetricId::MaxWait, &n.to_string()), 1.0)]);
            if let Some(data) = gathering.add(&one, 1, now) {
                assert_eq!(data.len(), ROUNDS_MAX);
            }
        }
        assert_eq!(gathering.flush().len(), SERIES_MAX + 50 - ROUNDS_MAX);
    }
}
