//! Stent's own detector behind the scorer's trait.
//!
//! Owns: rows as samples. Refuses: anything that the agent would not know.
//! Invariant: the detector is set up as the agent and `stent replay` set it up.

use std::time::Duration;

use stent_contract::{Verdict, VerdictLevel};
use stent_leak::{MemoryDetector, MemorySample, MemorySettings};

use crate::score::{Alarm, Detector};
use crate::trace::Row;

/// Where time begins, milliseconds since the Unix epoch.
const START_MS: u64 = 1_700_000_000_000;

/// The detector of `stent-leak`.
#[derive(Debug)]
pub struct Stent {
    detector: MemoryDetector,
    life: Option<(u32, u64)>,
    level: VerdictLevel,
}

impl Stent {
    /// Alarms at this level and above.
    pub fn at(level: VerdictLevel, step_s: u64) -> Self {
        let settings = MemorySettings::every(Duration::from_secs(step_s));
        Self { detector: MemoryDetector::new("api", settings), life: None, level }
    }

    /// Reads a row and says what stands.
    pub fn judge(&mut self, row: &Row) -> Verdict {
        let at_unix_ms = START_MS + row.t_s * 1_000;
        let started = match self.life {
            Some((life, started)) if life == row.life => started,
            Some(_) | None => at_unix_ms,
        };
        self.life = Some((row.life, started));
        self.detector.observe(&MemorySample {
            at_unix_ms,
            pid: row.life + 1,
            started_unix_ms: started,
            anon: row.rss,
            charged: row.rss,
            limit: Some(row.limit),
            heap: row.heap,
            transactions: row.requests,
        });
        self.detector.verdict(at_unix_ms)
    }
}

impl Detector for Stent {
    fn read(&mut self, row: &Row) -> Option<Alarm> {
        let verdict = self.judge(row);
        (verdict.level >= self.level).then_some(Alarm {
            seconds_to_limit: verdict.seconds_to_limit,
            interval: verdict.seconds_to_limit_range,
        })
    }
}
