//! What waits for CloudWatch, oldest first.
//!
//! Owns: the bound, and who is dropped for it: the oldest, since the newest is what alarms judge.
//! Invariant: at most [`Limits::points`] points with [`Limits::values`] values; the order of
//! arrival is kept, also by what was tried and comes back.

use std::collections::VecDeque;

use super::entry::{Entry, Room};

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Data.
    pub(crate) points: usize,
    /// Their values, which make up the memory: 16 bytes each.
    pub(crate) values: usize,
}

impl Limits {
    /// Six hours of some 50 points a minute, in at most about 10 MB.
    pub(crate) const DEFAULT: Self = Self { points: 20_000, values: 400_000 };
}

/// CloudWatch refuses what is older than two weeks; this leaves an hour for clocks that differ.
/// Source: Amazon CloudWatch API reference, MetricDatum, `Timestamp`.
const AGE_MAX_MS: u64 = (14 * 24 - 1) * 3_600_000;

/// The queue.
#[derive(Debug)]
pub(crate) struct Backlog {
    limits: Limits,
    entries: VecDeque<Entry>,
    values: usize,
}

impl Backlog {
    /// An empty one.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, entries: VecDeque::new(), values: 0 }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds the newest; returns how many were dropped.
    #[must_use]
    pub(crate) fn push(&mut self, newest: Vec<Entry>) -> usize {
        for entry in newest {
            self.values += entry.values.len();
            self.entries.push_back(entry);
        }
        self.trim()
    }

    /// Takes back what was tried, which is older than all that waits; returns how many were dropped.
    #[must_use]
    pub(crate) fn put_back(&mut self, tried: Vec<Entry>) -> usize {
        for entry in tried.into_iter().rev() {
            self.values += entry.values.len();
            self.entries.push_front(entry);
        }
        self.trim()
    }

    /// The oldest that fit into a request, at least one where there is one.
    pub(crate) fn take(&mut self, mut room: Room, configured: &[(String, String)]) -> Vec<Entry> {
        let fits = |entry: &&Entry| room.take(entry, configured).is_some();
        let count = self.entries.iter().take_while(fits).count().max(1).min(self.entries.len());
        let taken: Vec<Entry> = self.entries.drain(..count).collect();
        self.values -= taken.iter().map(|entry| entry.values.len()).sum::<usize>();
        taken
    }

    /// Drops what CloudWatch would refuse for its age, judged by the newest; returns how many.
    #[must_use]
    pub(crate) fn drop_aged(&mut self) -> usize {
        let newest = self.entries.iter().map(|entry| entry.at_unix_ms).max().unwrap_or(0);
        let oldest = newest.saturating_sub(AGE_MAX_MS);
        self.drop_while(|_, entry| entry.at_unix_ms < oldest)
    }

    fn trim(&mut self) -> usize {
        let dropped = self.drop_while(|backlog, _| {
            backlog.entries.len() > backlog.limits.points || backlog.values > backlog.limits.values
        });
        assert!(self.entries.len() <= self.limits.points, "the backlog is bounded");
        dropped
    }

    fn drop_while(&mut self, goes: impl Fn(&Self, &Entry) -> bool) -> usize {
        let mut dropped = 0;
        while self.entries.front().is_some_and(|entry| goes(self, entry)) {
            if let Some(entry) = self.entries.pop_front() {
                self.values -= entry.values.len();
                dropped += 1;
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::series::Series;
    use stent_contract::metric::MetricId;

    fn entry(at_unix_ms: u64) -> Entry {
        let series = Series { metric: MetricId::MaxWait, dimensions: Vec::new() };
        Entry { series, at_unix_ms, values: vec![(1.0, 1), (2.0, 1)] }
    }

    fn moments(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.at_unix_ms).collect()
    }

    const ALL: usize = 1_000;

    #[test]
    fn the_oldest_points_make_room_for_the_newest() {
        let mut backlog = Backlog::new(Limits { points: 3, values: 100 });
        assert_eq!(backlog.push((1..=3).map(entry).collect()), 0);
        assert_eq!(backlog.push((4..=5).map(entry).collect()), 2);
        assert_eq!(moments(&backlog.take(Room::of(ALL), &[])), [3, 4, 5]);
    }

    #[test]
    fn values_are_bounded_as_well_as_points() {
        let mut backlog = Backlog::new(Limits { points: 100, values: 5 });
        assert_eq!(backlog.push((1..=3).map(entry).collect()), 1);
        assert_eq!(moments(&backlog.take(Room::of(ALL), &[])), [2, 3]);
    }

    #[test]
    fn what_comes_back_is_first_again_and_first_to_go() {
        let mut backlog = Backlog::new(Limits { points: 4, values: 100 });
        assert_eq!(backlog.push((1..=4).map(entry).collect()), 0);
        let tried = backlog.take(Room::of(2), &[]);
        assert_eq!(moments(&tried), [1, 2]);
        assert_eq!(backlog.push(vec![entry(5)]), 0);
        assert_eq!(backlog.put_back(tried), 1);
        assert_eq!(moments(&backlog.take(Room::of(ALL), &[])), [2, 3, 4, 5]);
    }

    #[test]
    fn a_request_takes_no_more_data_and_bytes_than_cloudwatch_does() {
        let mut backlog = Backlog::new(Limits { points: 5_000, values: 1_000_000 });
        assert_eq!(backlog.push((0..3_000).map(entry).collect()), 0);
        assert_eq!(backlog.take(Room::of(usize::MAX), &[]).len(), 1_000);
        let wide = [("Stage".to_owned(), "x".repeat(1_024))];
        let fitting = backlog.take(Room::of(usize::MAX), &wide).len();
        assert!((700..800).contains(&fitting), "{fitting} data of more than 1,200 bytes");
    }

    #[test]
    fn what_is_two_weeks_old_is_dropped() {
        let mut backlog = Backlog::new(Limits::DEFAULT);
        let day = 24 * 3_600_000;
        assert_eq!(backlog.push(vec![entry(day), entry(2 * day), entry(15 * day)]), 0);
        assert_eq!(backlog.drop_aged(), 1);
    }
}
