//! Descriptors and threads of a history, where columns were named for them.
//!
//! Owns: a detector for each and the level that it last had. Refuses: lives, which the judge of memory
//! tells, and columns that nobody named: many tables have some that only look like these.
//! Invariant: an event names its resource.

use std::time::Duration;

use stent_contract::{Verdict, VerdictLevel};
use stent_leak::{CountDetector, CountSample, Counted};

use super::options::Options;
use super::rows::Row;

/// What is counted, in the order of the columns.
const COUNTED: [Counted; 2] = [Counted::Descriptors, Counted::Threads];

/// See the module.
pub(super) struct Counts([Option<(CountDetector, VerdictLevel)>; 2]);

impl Counts {
    /// Detectors of what the options name.
    pub(super) fn new(interval: Duration, options: &Options) -> Self {
        let mut of = COUNTED.into_iter().zip(&options.counts).map(|(counted, column)| {
            column.as_ref()?;
            Some((CountDetector::new("trace", counted, interval), VerdictLevel::Healthy))
        });
        Self(std::array::from_fn(|_| of.next().flatten()))
    }

    /// Takes a row of this life and returns the verdicts that changed.
    pub(super) fn take(&mut self, row: &Row, life: u32, began_ms: u64) -> Vec<Verdict> {
        let mut changed = Vec::new();
        for (slot, count) in self.0.iter_mut().zip(row.counts) {
            let (Some((detector, level)), Some(count)) = (slot, count) else { continue };
            detector.observe(&CountSample {
                at_unix_ms: row.at_ms,
                pid: life,
                started_unix_ms: began_ms,
                count: u32::try_from(count).unwrap_or(u32::MAX),
                limit: None,
                transactions: row.requests,
            });
            let now = detector.level(row.at_ms);
            if now != *level {
                *level = now;
                changed.push(detector.verdict(row.at_ms));
            }
        }
        changed
    }
}
