//! The detector of memory growth: readings of one target in, a verdict out.
//!
//! Owns: the series of the present life, what is remembered of earlier ones, and the verdict that
//! stands. Refuses: reading anything, and naming a cause (see [`crate::explain`]).
//! Invariant: `leak` is only said of floors that rose steadily over a window which is long compared
//! with the way to the limit. Teeth, steps, noise, warm-up, plateaus and load that rises do not
//! qualify, however steep they are.
//!
//! ```text
//! reading -> Series (floors, 8 resolutions) -> measure (Rise?) -> weigh (Finding) -> Verdict
//! ```

mod report;
mod weigh;

use std::time::Duration;

use stent_contract::{LeakClass, Verdict, VerdictLevel};

use crate::lives::{Ending, Life, Lives};
use crate::series::{BUCKETS, Bucket, LEVELS, Point, Series};
use crate::shape;
use crate::stats::Scratch;
use weigh::{Context, Finding};

/// Lengths of the windows that are looked at on each level, in buckets. Each is about 1.4 times
/// the one before, and four times the first is the first of the next level.
const WINDOWS: [usize; 4] = [24, 32, 45, BUCKETS - 1];
/// Two start times of a process are the same within this, milliseconds: they are computed from
/// the boot time, which moves when the clock is set.
const START_TOLERANCE_MS: u64 = 2_000;
/// A clock set back by more than this starts the series afresh, milliseconds.
const CLOCK_STEP_MS: u64 = 60_000;
/// A verdict without a reading for this many intervals says nothing.
const SILENT_INTERVALS: u64 = 30;

/// What the detector is told once.
#[derive(Clone, Debug, PartialEq)]
pub struct MemorySettings {
    /// Time between readings. At least a millisecond.
    pub interval: Duration,
    /// Growth of a process younger than this is never judged. (Growth over a window is not judged
    /// either before the process is half a window old at the window's start.)
    pub warm_up: Duration,
    /// The shortest window that proves a leak.
    pub window_min: Duration,
    /// Growth below this many bytes is noise ...
    pub growth_min: f64,
    /// ... and so is growth below this share of the memory that was there before.
    pub growth_share_min: f64,
    /// A window proves a leak when it is at least this share of the time left to the limit ...
    pub limit_share: f64,
    /// ... or, where the end is nearer than this, when memory has grown by half in it
    /// (where the end is farther or unknown: when it has doubled).
    pub urgent: Duration,
}

impl MemorySettings {
    /// The defaults for a reading each `interval`.
    pub fn every(interval: Duration) -> Self {
        Self {
            interval,
            warm_up: Duration::from_secs(20),
            window_min: Duration::from_secs(30),
            growth_min: 4.0 * 1024.0 * 1024.0,
            growth_share_min: 0.05,
            limit_share: 0.15,
            urgent: Duration::from_secs(4 * 3_600),
        }
    }
}

/// One reading of a target's memory. Bytes, milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemorySample {
    /// When.
    pub at_unix_ms: u64,
    /// The process.
    pub pid: u32,
    /// When it started: tells one life from the next.
    pub started_unix_ms: u64,
    /// Anonymous memory, resident and swapped out (`RssAnon` + `VmSwap`).
    pub anon: u64,
    /// What counts against the limit and cannot be reclaimed; at least `anon`.
    pub charged: u64,
    /// The limit that ends the target.
    pub limit: Option<u64>,
    /// The runtime's own heap, where it is known. Evidence only: runtimes under-report.
    pub heap: Option<u64>,
    /// Transactions finished so far, as the proxy counts them: the traffic.
    pub transactions: Option<u64>,
}

/// Watches the memory of one target over its lives.
#[derive(Debug)]
pub struct MemoryDetector {
    target: String,
    settings: MemorySettings,
    series: Series,
    scratch: Scratch,
    buckets: [Bucket; BUCKETS],
    life: Option<CurrentLife>,
    lives: Lives,
    /// The newest finding of each resolution.
    findings: [Option<Finding>; LEVELS],
    proven: Option<Proven>,
}

/// The life being watched.
#[derive(Clone, Copy, Debug)]
struct CurrentLife {
    watched_since_ms: u64,
    newest: MemorySample,
}

/// A leak that was proved, and when it last was.
#[derive(Clone, Copy, Debug)]
struct Proven {
    finding: Finding,
    last_ms: u64,
}

impl MemoryDetector {
    /// A detector for the target of this name. All its memory is allocated here.
    pub fn new(target: impl Into<String>, settings: MemorySettings) -> Self {
        let interval_ms = millis(settings.interval).max(1);
        Self {
            target: target.into(),
            settings,
            series: Series::new(interval_ms),
            scratch: Scratch::new(),
            buckets: [Bucket::default(); BUCKETS],
            life: None,
            lives: Lives::default(),
            findings: [None; LEVELS],
            proven: None,
        }
    }

    /// Takes a reading. One that is older than the newest is ignored.
    pub fn observe(&mut self, sample: &MemorySample) {
        if self.life.is_some_and(|life| life.ended_by(sample)) {
            self.end_life();
        }
        let point = Point {
            at_ms: sample.at_unix_ms,
            value: sample.anon as f64,
            heap: sample.heap.map(|heap| heap as f64),
            traffic: sample.transactions,
        };
        let Some(closed) = self.series.push(point) else { return };
        let watched_since_ms = self.life.map_or(sample.at_unix_ms, |life| life.watched_since_ms);
        let life = CurrentLife { watched_since_ms, newest: *sample };
        self.life = Some(life);
        for level in (0..LEVELS).filter(|level| closed & (1 << level) != 0) {
            self.findings[level] = self.look(level, &life);
        }
        self.discard_disproved(&life);
        self.remember_proof(&life);
    }

    /// What stands at `now_ms`, milliseconds since the Unix epoch.
    pub fn verdict(&self, now_ms: u64) -> Verdict {
        let Some(life) = &self.life else { return report::unread(&self.target, now_ms) };
        let silent_ms = now_ms.saturating_sub(life.newest.at_unix_ms);
        if silent_ms > SILENT_INTERVALS * millis(self.settings.interval).max(1) {
            return report::silent(&self.target, now_ms, silent_ms);
        }
        let watched_ms = life.newest.at_unix_ms - life.watched_since_ms;
        match self.standing() {
            Some(finding) => report::found(&self.target, now_ms, finding, &life.newest),
            None => report::quiet(&self.target, now_ms, watched_ms, &self.settings),
        }
    }

    /// The finding that the verdict rests on: a proof that still holds, else the worst.
    fn standing(&self) -> Option<&Finding> {
        self.proven
            .as_ref()
            .map(|proven| &proven.finding)
            .or_else(|| self.findings.iter().flatten().max_by_key(|finding| finding.rank()))
    }

    /// Looks at every window of a level and keeps the weightiest finding.
    fn look(&mut self, level: usize, life: &CurrentLife) -> Option<Finding> {
        let width_ms = self.series.width_ms(level);
        let mut best: Option<Finding> = None;
        for expected in WINDOWS {
            let length = self.series.window(level, expected, &mut self.buckets);
            let window = &self.buckets[..length];
            let Some(first) = window.first() else { continue };
            let growth_min =
                self.settings.growth_min.max(self.settings.growth_share_min * first.floor);
            let scratch = &mut self.scratch;
            let Some(rise) = shape::measure(window, expected, width_ms, growth_min, scratch) else {
                continue;
            };
            let finding = weigh::weigh(rise, &self.context(level, &rise, life), &self.settings);
            if best.as_ref().is_none_or(|best| finding.rank() >= best.rank()) {
                best = Some(finding);
            }
        }
        best
    }

    fn context(&self, level: usize, rise: &shape::Rise, life: &CurrentLife) -> Context {
        let started_ms = life.started_ms();
        let settled_ms = started_ms.saturating_add(millis(self.settings.warm_up));
        let watched_ms = life.newest.at_unix_ms - life.watched_since_ms;
        Context {
            age_at_start_ms: rise.start_ms.saturating_sub(started_ms),
            stood_at: self.series.highest_floor(level, settled_ms, rise.start_ms),
            known_plateau: self.lives.known_plateau(watched_ms),
            growing_lives: self.lives.growing_in_a_row().0,
            left: life.left(),
        }
    }

    /// Drops findings that are out of date, or whose growth was given back: a collector that takes
    /// half of it away has disproved it.
    fn discard_disproved(&mut self, life: &CurrentLife) {
        let now_ms = life.newest.at_unix_ms;
        let anon = life.newest.anon as f64;
        for slot in &mut self.findings {
            *slot = slot.filter(|found| found.is_fresh(now_ms) && found.still_holds(anon));
        }
    }

    /// Keeps a proof while it is renewed, for one window more, and while its growth is there.
    fn remember_proof(&mut self, life: &CurrentLife) {
        let now_ms = life.newest.at_unix_ms;
        let renewed = self
            .findings
            .iter()
            .flatten()
            .filter(|finding| finding.level == VerdictLevel::Leak)
            .max_by_key(|finding| finding.rank());
        if let Some(finding) = renewed {
            self.proven = Some(Proven { finding: *finding, last_ms: now_ms });
            return;
        }
        self.proven = self.proven.filter(|proven| {
            now_ms - proven.last_ms <= proven.finding.rise.window_ms
                && proven.finding.still_holds(life.newest.anon as f64)
        });
    }

    fn end_life(&mut self) {
        let Some(life) = self.life.take() else { return };
        let watched_ms = life.newest.at_unix_ms - life.watched_since_ms;
        let highest = self.series.highest_floor(0, 0, u64::MAX).unwrap_or(life.newest.anon as f64);
        self.lives.push(Life { watched_ms, highest_floor: highest, ending: self.ending(&life) });
        self.series.clear();
        self.findings = [None; LEVELS];
        self.proven = None;
        assert!(self.series.last_ms().is_none(), "a new life starts with an empty series");
    }

    fn ending(&self, life: &CurrentLife) -> Ending {
        let watched_ms = life.newest.at_unix_ms - life.watched_since_ms;
        match self.standing() {
            Some(finding)
                if finding.level > VerdictLevel::Healthy
                    && finding.class == LeakClass::SteadyGrowth =>
            {
                Ending::Growing { bytes_per_hour: finding.rise.slope.median * 3_600.0 }
            }
            None if watched_ms >= 10 * millis(self.settings.warm_up) => Ending::Settled,
            Some(_) | None => Ending::Unknown,
        }
    }
}

impl CurrentLife {
    fn started_ms(&self) -> u64 {
        match self.newest.started_unix_ms {
            0 => self.watched_since_ms,
            started => started.min(self.watched_since_ms),
        }
    }

    fn ended_by(&self, sample: &MemorySample) -> bool {
        sample.pid != self.newest.pid
            || sample.started_unix_ms.abs_diff(self.newest.started_unix_ms) > START_TOLERANCE_MS
            || self.newest.at_unix_ms.saturating_sub(sample.at_unix_ms) > CLOCK_STEP_MS
    }

    /// Bytes left to the limit.
    fn left(&self) -> Option<f64> {
        let charged = self.newest.charged.max(self.newest.anon);
        self.newest.limit.map(|limit| limit.saturating_sub(charged) as f64)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
