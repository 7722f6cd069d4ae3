//! What the revision before is remembered for.
//!
//! Owns: the level at which it settled, handed from one detector to the next, or kept by one that
//! goes on. Refuses: lives of the
//! present revision, which the detector remembers itself. Invariant: a revision that never settled
//! has no baseline: what grew until it was replaced explains no growth.

use std::time::Duration;

use super::MemoryDetector;
use crate::lives::{Ending, Life};

/// Where the revision before settled. Growth of the next one up to there is its way to a known
/// level; what it grows beyond is new.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Baseline {
    /// The level, bytes.
    pub settled_at: f64,
    /// How long the life was watched that settled there.
    pub watched: Duration,
}

impl MemoryDetector {
    /// Ends watching. `None`: nothing that was watched had settled when it ended.
    pub fn into_baseline(mut self) -> Option<Baseline> {
        self.end_life();
        let life = self.lives.longest_settled()?;
        assert!(life.ending == Ending::Settled, "it settled");
        let watched = Duration::from_millis(life.watched_ms);
        Some(Baseline { settled_at: life.highest_floor, watched })
    }

    /// Says that what is read from here on is another revision: where this one settled is a known level
    /// for it; that this one grew says nothing of it.
    pub fn change_revision(&mut self) {
        self.end_life();
        self.lives.change_revision();
        self.course.forget();
    }

    /// The detector, told of the revision before.
    #[must_use]
    pub fn after(mut self, baseline: &Baseline) -> Self {
        let watched_ms = u64::try_from(baseline.watched.as_millis()).unwrap_or(u64::MAX);
        let highest_floor = baseline.settled_at.max(0.0);
        self.lives.come_after(Life { watched_ms, highest_floor, ending: Ending::Settled });
        self
    }
}
