//! The detector of descriptors and threads that are opened or started and never given back.
//!
//! Owns: counts as readings of the detector that memory has. Refuses: a machinery of its own: a
//! leak is one more each time here as there, bounded things (a pool that fills, workers up to their
//! number) bend or end, and what follows the load goes with it.
//! Invariant: memory is fixed after construction; a verdict names the resource that was counted.

use std::time::Duration;

use stent_contract::{Verdict, VerdictLevel};

use crate::memory::{MemoryDetector, MemorySample, MemorySettings};
use crate::quantity::Quantity;

/// Growth below this many is noise: a few files and a spare thread come and go.
const GROWTH_MIN: f64 = 12.0;
/// Growth below this share of what was there before is noise.
const GROWTH_SHARE_MIN: f64 = 0.1;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Open file descriptors.
    Descriptors,
    /// Threads.
    Threads,
}

/// One count of a target. Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountSample {
    /// When.
    pub at_unix_ms: u64,
    /// The process.
    pub pid: u32,
    /// When it started: tells one life from the next.
    pub started_unix_ms: u64,
    /// How many there are.
    pub count: u32,
    /// How many there may be.
    pub limit: Option<u64>,
    /// Transactions finished so far: the traffic.
    pub transactions: Option<u64>,
}

/// Watches one count of one target over its lives.
#[derive(Debug)]
pub struct CountDetector(MemoryDetector);

impl CountDetector {
    /// A detector for the target of this name; a count comes each `interval`. All its memory is
    /// allocated here.
    pub fn new(target: impl Into<String>, counted: Counted, interval: Duration) -> Self {
        let settings = MemorySettings {
            growth_min: GROWTH_MIN,
            growth_share_min: GROWTH_SHARE_MIN,
            ..MemorySettings::every(interval)
        };
        let quantity = match counted {
            Counted::Descriptors => Quantity::Descriptors,
            Counted::Threads => Quantity::Threads,
        };
        Self(MemoryDetector::of(quantity, target.into(), settings))
    }

    /// Takes a count. One that is older than the newest is ignored.
    pub fn observe(&mut self, sample: &CountSample) {
        self.observe_beside(sample, &[]);
    }

    /// As [`MemoryDetector::observe_beside`]; siblings count the same.
    pub fn observe_beside(&mut self, sample: &CountSample, siblings: &[&MemoryDetector]) {
        let count = u64::from(sample.count);
        let sample = MemorySample {
            at_unix_ms: sample.at_unix_ms,
            pid: sample.pid,
            started_unix_ms: sample.started_unix_ms,
            anon: count,
            charged: count,
            limit: sample.limit,
            heap: None,
            transactions: sample.transactions,
        };
        self.0.observe_beside(&sample, siblings);
    }

    /// What a sibling is compared with.
    pub fn as_sibling(&self) -> &MemoryDetector {
        &self.0
    }

    /// As [`MemoryDetector::change_revision`].
    pub fn change_revision(&mut self) {
        self.0.change_revision();
    }

    /// How bad it is at `now_ms`: what [`CountDetector::verdict`] says, without its sentences.
    pub fn level(&self, now_ms: u64) -> VerdictLevel {
        self.0.level(now_ms)
    }

    /// What stands at `now_ms`, milliseconds since the Unix epoch.
    pub fn verdict(&self, now_ms: u64) -> Verdict {
        self.0.verdict(now_ms)
    }

    /// What the detector takes up, bytes.
    pub fn footprint(&self) -> usize {
        self.0.footprint()
    }
}
