//! The detector of memory growth: readings of one target in, a verdict out.
//!
//! Owns: the series of the present life, what is remembered of earlier ones, and the verdict that
//! stands. Refuses: reading anything, and naming a cause (see [`crate::explain`]).
//! Invariant: `leak` is only said of floors whose growth has no bounded explanation left that is
//! worth one in twenty. Teeth, steps, noise, warm-up, plateaus and load that rises do not qualify,
//! however steep they are.
//!
//! ```text
//! reading -> Series (floors, 8 resolutions) -> measure (Rise?) -> weigh (Finding) -> Verdict
//! ```

mod baseline;
mod common;
mod report;
mod siblings;
mod standing;
mod weigh;

use std::time::Duration;

use stent_contract::{Verdict, VerdictLevel};

use crate::course::Course;
use crate::forecast::Profile;
use crate::lives::{Ending, Life, Lives, ODDS_MAX};
use crate::quantity::Quantity;
use crate::rise::{self, Frame, POINTS_MIN, Rise};
use crate::series::{BUCKETS, Bucket, LEVELS, Point, Series};
use crate::stats::Scratch;
pub use baseline::Baseline;
use report::Whose;
use siblings::Beside;
use standing::{Standing, weightiest};
use weigh::{Context, Finding, Row};

/// Windows of a level, in quarters of what the life has there: all of it, and what is left without
/// its beginning.
const QUARTERS: [usize; 3] = [4, 3, 2];
/// A life whose shape speaks this little against a leak ended growing (natural logarithm of odds).
const GROWING_ODDS_MIN: f64 = -0.3;
/// A level is looked at this many times while its ring fills once.
const LOOKS: u64 = 32;
/// Findings kept: one of each resolution, and one of all lives together.
const FINDINGS: usize = LEVELS + 1;
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
    /// The shortest window that proves a leak.
    pub window_min: Duration,
    /// Growth below this many bytes is noise ...
    pub growth_min: f64,
    /// ... and so is growth below this share of the memory that was there before.
    pub growth_share_min: f64,
}

impl MemorySettings {
    /// The defaults for a reading each `interval`.
    pub fn every(interval: Duration) -> Self {
        Self {
            interval,
            window_min: Duration::from_secs(30),
            growth_min: 4.0 * 1024.0 * 1024.0,
            growth_share_min: 0.02,
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
    quantity: Quantity,
    settings: MemorySettings,
    series: Series,
    scratch: Scratch,
    buckets: [Bucket; BUCKETS],
    life: Option<CurrentLife>,
    lives: Lives,
    /// What lives have in common.
    course: Course,
    /// The newest finding of each resolution, and that of all lives together.
    findings: [Option<Finding>; FINDINGS],
    /// Buckets closed on each level, in this life.
    closings: [u64; LEVELS],
    profile: Profile,
    standing: Standing,
    /// What the present life would be, were it over now; kept where there are siblings.
    so_far: Option<Life>,
}

/// The life being watched.
#[derive(Clone, Copy, Debug)]
struct CurrentLife {
    watched_since_ms: u64,
    newest: MemorySample,
}

impl MemoryDetector {
    /// A detector for the target of this name. All its memory is allocated here.
    pub fn new(target: impl Into<String>, settings: MemorySettings) -> Self {
        Self::of(Quantity::Memory, target.into(), settings)
    }

    /// The same for another quantity: what is called bytes here are its own units there.
    pub(crate) fn of(quantity: Quantity, target: String, settings: MemorySettings) -> Self {
        let interval_ms = millis(settings.interval).max(1);
        Self {
            target,
            quantity,
            settings,
            series: Series::new(interval_ms),
            scratch: Scratch::new(),
            buckets: [Bucket::default(); BUCKETS],
            life: None,
            lives: Lives::default(),
            course: Course::new(interval_ms),
            findings: [None; FINDINGS],
            closings: [0; LEVELS],
            profile: Profile::default(),
            standing: Standing::default(),
            so_far: None,
        }
    }

    /// What the detector takes up, bytes: the same after a reading and after a year of them, but for
    /// the length of its name.
    pub fn footprint(&self) -> usize {
        let boxes = Series::footprint() + Course::footprint() + Scratch::footprint();
        size_of::<Self>() + self.target.capacity() + boxes
    }

    /// Takes a reading. One that is older than the newest is ignored.
    pub fn observe(&mut self, sample: &MemorySample) {
        self.observe_beside(sample, &[]);
    }

    /// The same, beside the detectors of other processes of the same program and quantity, each fed
    /// at the same times as this one: what they show is a control. Without any nothing differs.
    pub fn observe_beside(&mut self, sample: &MemorySample, siblings: &[&Self]) {
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
        self.profile.observe(sample.at_unix_ms, sample.transactions);
        for level in (0..LEVELS).filter(|level| closed & (1 << level) != 0) {
            self.closings[level] += 1;
            let every = (self.series.closed(level) as u64 / LOOKS).max(1);
            if self.closings[level].is_multiple_of(every) {
                self.findings[level] = self.look(level, &life, siblings);
                if !siblings.is_empty() && self.whole_level() == Some(level) {
                    self.note_so_far(&life);
                }
            }
        }
        self.look_across_lives(point, &life);
        self.discard_disproved(&life);
        let (now_ms, anon) = (sample.at_unix_ms, sample.anon as f64);
        self.standing.renew(self.findings.iter().flatten(), now_ms, anon);
    }

    /// How bad it is at `now_ms`: what [`MemoryDetector::verdict`] says, without its sentences.
    pub fn level(&self, now_ms: u64) -> VerdictLevel {
        match &self.life {
            Some(life) if self.silent_ms(life, now_ms).is_none() => {
                self.standing.finding().map_or(VerdictLevel::Healthy, |finding| finding.level)
            }
            Some(_) | None => VerdictLevel::Healthy,
        }
    }

    /// What stands at `now_ms`, milliseconds since the Unix epoch.
    pub fn verdict(&self, now_ms: u64) -> Verdict {
        let Some(life) = &self.life else { return report::unread(self.whose(), now_ms) };
        if let Some(silent_ms) = self.silent_ms(life, now_ms) {
            return report::silent(self.whose(), now_ms, silent_ms);
        }
        let watched_ms = life.newest.at_unix_ms - life.watched_since_ms;
        // Where nothing stands, the finding that says most tells why.
        let nothing = || {
            let most = weightiest(self.findings.iter().flatten())?;
            Some(Finding { level: VerdictLevel::Healthy, ..*most })
        };
        match self.standing.finding().or_else(nothing) {
            Some(finding) => {
                report::found(self.whose(), now_ms, &finding, life.roof(), &self.profile)
            }
            None => report::quiet(self.whose(), now_ms, watched_ms),
        }
    }

    fn whose(&self) -> Whose<'_> {
        Whose { target: &self.target, quantity: self.quantity }
    }

    /// How long there was no reading, where that is too long to say anything.
    fn silent_ms(&self, life: &CurrentLife, now_ms: u64) -> Option<u64> {
        let silent_ms = now_ms.saturating_sub(life.newest.at_unix_ms);
        let most_ms = SILENT_INTERVALS * millis(self.settings.interval).max(1);
        (silent_ms > most_ms).then_some(silent_ms)
    }

    /// Looks at the windows of a level and keeps the weightiest finding.
    fn look(&mut self, level: usize, life: &CurrentLife, siblings: &[&Self]) -> Option<Finding> {
        let before = self.findings[level].map_or_else(Row::default, |finding| finding.row);
        let mut best: Option<Finding> = None;
        for quarters in QUARTERS {
            let Some(rise) = self.measure(level, quarters, life) else { continue };
            if rise.window_ms < millis(self.settings.window_min) {
                continue;
            }
            let beside = Beside::of(self, level, &rise, siblings);
            let context = Context { beside, ..self.context(level, &rise, life) };
            let finding = weigh::weigh(rise, &context, before);
            if best.as_ref().is_none_or(|best| finding.outweighs(best)) {
                best = Some(finding);
            }
        }
        best
    }

    /// Measures the newest quarters of what a level has of this life.
    fn measure(&mut self, level: usize, quarters: usize, life: &CurrentLife) -> Option<Rise> {
        let expected = self.series.closed(level).min(BUCKETS) * quarters / 4;
        if expected < POINTS_MIN {
            return None;
        }
        let length = self.series.window(level, expected, &mut self.buckets);
        let window = &self.buckets[..length];
        let floor = window.first()?.floor;
        let frame = Frame {
            expected,
            width_ms: self.series.width_ms(level),
            grain: self.quantity.grain(),
            growth_min: self.settings.growth_min.max(self.settings.growth_share_min * floor),
            limit: life.roof(),
        };
        rise::measure(window, &frame, &mut self.scratch)
    }

    fn context(&self, level: usize, rise: &Rise, life: &CurrentLife) -> Context {
        let watched_ms = life.newest.at_unix_ms - life.watched_since_ms;
        let before_ms = rise.start_ms.saturating_sub(life.watched_since_ms);
        // As far back as the window is long, or as three quarters of the life before it.
        let back_ms = (before_ms / 4 * 3).min(rise.window_ms);
        let earlier = self.series.floor_at(level, rise.start_ms - back_ms);
        Context {
            watched_before_ms: before_ms,
            pace_before: earlier
                .filter(|_| back_ms > 0)
                .map(|floor| (rise.base - floor) * 1_000.0 / back_ms as f64),
            stood_at: self.series.highest_floor(level, 0, rise.start_ms),
            known_plateau: self.lives.known_plateau(watched_ms),
            growing_lives: self.lives.growing_in_a_row(),
            limit: life.roof(),
            of: self.quantity,
            beside: Beside::default(),
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

    fn end_life(&mut self) {
        let Some(life) = self.life.take() else { return };
        let watched_ms = life.newest.at_unix_ms - life.watched_since_ms;
        let highest = self.series.highest_floor(0, 0, u64::MAX).unwrap_or(life.newest.anon as f64);
        let ending = self.ending(&life);
        self.lives.push(Life { watched_ms, highest_floor: highest, ending });
        self.course.end_life(life.seen(millis(self.settings.interval)), &mut self.scratch);
        self.series.clear();
        self.findings = [None; FINDINGS];
        self.closings = [0; LEVELS];
        self.standing = Standing::default();
        self.so_far = None;
        assert!(self.series.last_ms().is_none(), "a new life starts with an empty series");
    }

    /// The finest resolution that still has the whole life, once it has enough of it.
    fn whole_level(&self) -> Option<usize> {
        let whole = (0..LEVELS).find(|level| self.series.closed(*level) < BUCKETS - 1);
        whole.filter(|level| self.series.closed(*level) >= POINTS_MIN)
    }

    /// How the life ended, by its whole course at the finest resolution that still has it.
    fn ending(&mut self, life: &CurrentLife) -> Ending {
        let Some(level) = self.whole_level() else { return Ending::Unknown };
        let Some(late) = self.measure(level, 3, life) else { return Ending::Settled };
        let all = self.measure(level, 4, life);
        let shape_odds = all.map_or(late.shape_odds, |all| all.shape_odds.max(late.shape_odds));
        if shape_odds >= GROWING_ODDS_MIN && late.z >= rise::Z_MIN {
            let odds = (shape_odds + 1.0).clamp(0.0, ODDS_MAX);
            return Ending::Growing { bytes_per_hour: late.pace() * 3_600.0, odds };
        }
        Ending::Unknown
    }
}

impl CurrentLife {
    fn ended_by(&self, sample: &MemorySample) -> bool {
        sample.pid != self.newest.pid
            || sample.started_unix_ms.abs_diff(self.newest.started_unix_ms) > START_TOLERANCE_MS
            || self.newest.at_unix_ms.saturating_sub(sample.at_unix_ms) > CLOCK_STEP_MS
    }

    /// The level of anonymous memory at which the limit is reached, what else is charged staying
    /// as it is. Bytes.
    fn roof(&self) -> Option<f64> {
        let beside = self.newest.charged.saturating_sub(self.newest.anon);
        self.newest.limit.map(|limit| limit.saturating_sub(beside) as f64)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
