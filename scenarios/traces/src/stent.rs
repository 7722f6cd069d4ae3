//! Stent's own detector: what it says of a trace, row by row.
//!
//! Owns: rows as samples, the first alarm of each level, and how often the verdict changed.
//! Refuses: anything that the agent would not know.
//! Invariant: the detector is set up as the agent and `stent replay` set it up.

use std::time::Duration;

use stent_contract::{Verdict, VerdictLevel};
use stent_leak::{
    CountDetector, CountSample, Counted, MemoryDetector, MemorySample, MemorySettings,
};

use crate::score::{Alarm, Outcome, judged};
use crate::trace::{Row, Trace};

/// Where time begins, milliseconds since the Unix epoch.
const START_MS: u64 = 1_700_000_000_000;

/// The detector of `stent-leak`.
#[derive(Debug)]
pub struct Stent {
    detector: Watching,
    life: Option<(u32, u64)>,
}

/// What rows are readings of.
#[derive(Debug)]
enum Watching {
    Memory(MemoryDetector),
    Count(CountDetector),
}

/// What was said of one trace, from its first row to its last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Said {
    /// By the first `leak`.
    pub leak: Outcome,
    /// By the first `suspect` or `leak`.
    pub suspect: Outcome,
    /// Times the verdict rose.
    pub rises: usize,
    /// Times it fell: a suspicion or a proof taken back, other than by a restart.
    pub falls: usize,
}

impl Stent {
    /// A detector for readings `step_s` seconds apart.
    pub fn new(step_s: u64) -> Self {
        let settings = MemorySettings::every(Duration::from_secs(step_s));
        let detector = Watching::Memory(MemoryDetector::new("api", settings));
        Self { detector, life: None }
    }

    /// A detector of counts `step_s` seconds apart.
    pub fn counting(counted: Counted, step_s: u64) -> Self {
        let detector = CountDetector::new("api", counted, Duration::from_secs(step_s));
        Self { detector: Watching::Count(detector), life: None }
    }

    /// Shows it a whole trace.
    pub fn hear(trace: &Trace) -> Said {
        Self::new(trace.step_s).hears(trace)
    }

    /// The same with this detector.
    pub fn hears(mut self, trace: &Trace) -> Said {
        let stent = &mut self;
        let mut first = [None; 2];
        let (mut rises, mut falls) = (0, 0);
        let mut before = (0, VerdictLevel::Healthy);
        for row in &trace.rows {
            let level = stent.read(row);
            for (slot, least) in first.iter_mut().zip([VerdictLevel::Leak, VerdictLevel::Suspect]) {
                if level >= least && slot.is_none() {
                    *slot = Some((row.t_s, stent.alarm(row)));
                }
            }
            rises += usize::from(level > before.1);
            falls += usize::from(level < before.1 && row.life == before.0);
            before = (row.life, level);
        }
        let [leak, suspect] = first.map(|first| judged(trace, first));
        Said { leak, suspect, rises, falls }
    }

    /// Reads a row and says what stands.
    pub fn judge(&mut self, row: &Row) -> Verdict {
        self.read(row);
        self.verdict(unix_ms(row))
    }

    pub(crate) fn alarm(&self, row: &Row) -> Alarm {
        let verdict = self.verdict(unix_ms(row));
        Alarm {
            seconds_to_limit: verdict.seconds_to_limit,
            interval: verdict.seconds_to_limit_range,
        }
    }

    /// Shows a row to one of several, beside the others.
    pub(crate) fn read_among(all: &mut [Self], index: usize, row: &Row) -> VerdictLevel {
        let (before, rest) = all.split_at_mut(index);
        let (own, after) = rest.split_first_mut().expect("the index is one of theirs");
        let siblings: Vec<&MemoryDetector> =
            before.iter().chain(after.iter()).map(Self::detector).collect();
        own.read_beside(row, &siblings)
    }

    fn detector(&self) -> &MemoryDetector {
        match &self.detector {
            Watching::Memory(detector) => detector,
            Watching::Count(detector) => detector.as_sibling(),
        }
    }

    fn read(&mut self, row: &Row) -> VerdictLevel {
        self.read_beside(row, &[])
    }

    fn read_beside(&mut self, row: &Row, siblings: &[&MemoryDetector]) -> VerdictLevel {
        let at_unix_ms = unix_ms(row);
        let started = match self.life {
            Some((life, started)) if life == row.life => started,
            Some(_) | None => at_unix_ms,
        };
        self.life = Some((row.life, started));
        let (pid, started_unix_ms) = (row.life + 1, started);
        match &mut self.detector {
            Watching::Memory(detector) => {
                let sample = MemorySample {
                    at_unix_ms,
                    pid,
                    started_unix_ms,
                    anon: row.rss,
                    charged: row.rss,
                    limit: Some(row.limit),
                    heap: row.heap,
                    transactions: row.requests,
                };
                detector.observe_beside(&sample, siblings);
                detector.level(at_unix_ms)
            }
            Watching::Count(detector) => {
                let sample = CountSample {
                    at_unix_ms,
                    pid,
                    started_unix_ms,
                    count: u32::try_from(row.rss).unwrap_or(u32::MAX),
                    limit: Some(row.limit),
                    transactions: row.requests,
                };
                detector.observe_beside(&sample, siblings);
                detector.level(at_unix_ms)
            }
        }
    }

    fn verdict(&self, at_unix_ms: u64) -> Verdict {
        match &self.detector {
            Watching::Memory(detector) => detector.verdict(at_unix_ms),
            Watching::Count(detector) => detector.verdict(at_unix_ms),
        }
    }
}

fn unix_ms(row: &Row) -> u64 {
    START_MS + row.t_s * 1_000
}
