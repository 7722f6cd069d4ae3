//! What other processes of the same program show while one of them grows: a control.
//!
//! Owns: the comparison of one rise with its siblings', at the same time and at the same age.
//! Refuses: judging (that is [`super::weigh`]'s), and any memory of its own: each detector keeps its
//! own series, and a living sibling is a life of which only what it has seen so far is known.
//! Invariant: without siblings nothing is said, and a sibling that was not watched then, or does not do
//! the same work, says nothing.
//!
//! ```text
//! at the same age an older one grew and has settled   -> the way to a known level
//! at the same time all grew, as they did before       -> load, or a job
//! at the same time all began to grow for the first time -> more odds are asked for
//! at the same time and the same age they stayed flat   -> its own growth, and more probable
//! ```

use std::ops::Range;

use super::{CurrentLife, MemoryDetector};
use crate::lives::{Ending, Life};
use crate::rise::Rise;
use crate::series::BUCKETS;
use crate::stats;

/// A sibling that grows by at least this share of the growth grows in step ...
const IN_STEP: Range<f64> = 0.4..2.5;
/// ... and one that grows by at most this is flat.
const FLAT_SHARE: f64 = 0.15;
/// A sibling with less than this share of the requests does not do the same work.
const WORK_SHARE: f64 = 0.5;
/// The share of a window in which a sibling must have been watched.
const COVERAGE_MIN: f64 = 0.75;
/// Growth is new only where at least this share of it lies above levels of the past.
const NEW_SHARE: f64 = 0.5;
/// Two processes are of different age where that is this share of the window or more.
const APART_SHARE: f64 = 0.25;
/// The fewest points that a quarter can be taken of.
const QUARTERS: usize = 4;

/// What siblings say of a rise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Beside {
    /// The highest level at which an older one has settled, bytes.
    pub(super) settled_at: Option<f64>,
    /// How many stayed flat at the same time and at the same age.
    pub(super) flat: u32,
    /// How many grew in step.
    pub(super) in_step: u32,
    /// What else those that grew in step show, where they are all.
    pub(super) together: Together,
}

/// Growth that all siblings show at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Together {
    /// Not all do, or nothing more is known.
    #[default]
    No,
    /// They are of different ages: what they have in common is the time.
    OfAllAges,
    /// They have been as high before and came back.
    CameBack,
}

/// What a process did in a window.
struct Seen {
    growth: f64,
    /// The middle of its last quarter.
    last: f64,
    requests: Option<u64>,
}

/// Siblings that grew in step, counted.
#[derive(Default)]
struct InStep {
    came_back: u32,
    stand_higher: u32,
    of_other_age: u32,
}

impl Beside {
    /// Compares a rise of `own` at this resolution with what siblings did.
    pub(super) fn of(
        own: &MemoryDetector,
        level: usize,
        rise: &Rise,
        siblings: &[&MemoryDetector],
    ) -> Self {
        let mut beside = Self::default();
        let Some(life) = own.life.filter(|_| !siblings.is_empty()) else { return beside };
        let window = rise.start_ms..rise.start_ms + rise.window_ms;
        let Some(mine) = own.seen_in(level, &window) else { return beside };
        let (mut others, mut in_step) = (0_u32, InStep::default());
        for sibling in siblings {
            let other = sibling
                .life
                .filter(|other| sibling.silent_ms(other, life.newest.at_unix_ms).is_none());
            let Some(other) = other else { continue };
            let settled = sibling.settled_beside(&other, &life);
            beside.settled_at = [beside.settled_at, settled].into_iter().flatten().reduce(f64::max);
            let Some(his) = sibling.seen_in(level, &window).filter(|his| mine.is_like(his)) else {
                continue;
            };
            others = others.saturating_add(1);
            let share = his.growth / mine.growth;
            if IN_STEP.contains(&share) {
                in_step.add(sibling, &other, level, (&window, &life), &his);
                beside.in_step = beside.in_step.saturating_add(1);
            } else if share <= FLAT_SHARE
                && sibling.flat_at_age(&other, &life, &window, mine.growth)
            {
                beside.flat = beside.flat.saturating_add(1);
            }
        }
        if beside.in_step == others {
            beside.together = in_step.together();
        }
        assert!(beside.flat.saturating_add(beside.in_step) <= others, "each is one of both");
        beside
    }
}

impl Seen {
    /// Whether the other does the same work, as far as requests are counted, and this one grew.
    fn is_like(&self, other: &Self) -> bool {
        let fewer = self.requests.zip(other.requests);
        let idle = fewer.is_some_and(|(own, other)| (other as f64) < WORK_SHARE * own as f64);
        self.growth > 0.0 && !idle
    }
}

impl InStep {
    fn add(
        &mut self,
        sibling: &MemoryDetector,
        other: &CurrentLife,
        level: usize,
        (window, life): (&Range<u64>, &CurrentLife),
        his: &Seen,
    ) {
        let length = window.end - window.start;
        let apart = other.newest.started_unix_ms.abs_diff(life.newest.started_unix_ms);
        self.of_other_age += u32::from(apart as f64 >= APART_SHARE * length as f64);
        let stood = sibling.series.highest_floor(level, 0, window.start);
        match stood.map(|stood| his.last - stood < NEW_SHARE * his.growth) {
            Some(true) => self.came_back += 1,
            // One that was watched for as long before has had the time.
            Some(false) if window.start.saturating_sub(other.watched_since_ms) >= length => {
                self.stand_higher += 1;
            }
            Some(false) | None => {}
        }
    }

    fn together(&self) -> Together {
        if self.came_back > 0 && self.stand_higher == 0 {
            Together::CameBack
        } else if self.of_other_age > 0 {
            Together::OfAllAges
        } else {
            Together::No
        }
    }
}

impl MemoryDetector {
    /// What this one did in a window, where it was watched for nearly all of it.
    fn seen_in(&self, level: usize, window: &Range<u64>) -> Option<Seen> {
        let mut floors = [0.0; BUCKETS];
        let (mut count, mut first, mut last) = (0, None, None);
        for bucket in self.series.between(level, window.start, window.end).take(BUCKETS) {
            floors[count] = bucket.floor;
            first = first.or(Some(bucket.traffic));
            last = Some(bucket.traffic);
            count += 1;
        }
        let expected = (window.end - window.start) / self.series.width_ms(level);
        if count < QUARTERS || (count as f64) < COVERAGE_MIN * expected as f64 {
            return None;
        }
        let quarters = stats::quarter_medians(&floors[..count]);
        let requests = first.flatten().zip(last.flatten());
        Some(Seen {
            growth: stats::quarter_growth(quarters),
            last: quarters[3],
            requests: requests.map(|(first, last)| last.saturating_sub(first)),
        })
    }

    /// Where this one, older than the sibling `younger`, has settled: now, or in an earlier life.
    fn settled_beside(&self, own: &CurrentLife, younger: &CurrentLife) -> Option<f64> {
        let age_ms = younger.age_ms();
        let now = self.so_far.filter(|so_far| so_far.settled_for(age_ms));
        let now = now.filter(|_| own.age_ms() >= age_ms).map(|so_far| so_far.highest_floor);
        let before = self.lives.known_to_siblings(age_ms);
        [now, before].into_iter().flatten().reduce(f64::max)
    }

    /// Whether this one was flat beside `growth` at the ages at which a sibling grew.
    fn flat_at_age(
        &self,
        own: &CurrentLife,
        sibling: &CurrentLife,
        window: &Range<u64>,
        growth: f64,
    ) -> bool {
        // The moment at which this one was as old as the sibling was at `at_ms`.
        let then = |at_ms: u64| {
            let age_ms = at_ms.checked_sub(sibling.newest.started_unix_ms)?;
            own.newest.started_unix_ms.checked_add(age_ms)
        };
        let mut floors = [0.0; BUCKETS];
        let ages = then(window.start).zip(then(window.end.saturating_sub(1)));
        let count = ages.and_then(|(from, until)| self.course.floors(from, until, &mut floors));
        let Some(count) = count.filter(|count| *count >= QUARTERS) else { return false };
        let quarters = stats::quarter_medians(&floors[..count]);
        stats::quarter_growth(quarters) <= FLAT_SHARE * growth
    }

    /// Keeps what the present life would be, were it over now. Only siblings ask for it.
    pub(super) fn note_so_far(&mut self, life: &CurrentLife) {
        let highest_floor = self.series.highest_floor(0, 0, u64::MAX);
        let Some(highest_floor) = highest_floor else { return };
        let ending = self.ending(life);
        let watched_ms = life.newest.at_unix_ms - life.watched_since_ms;
        assert!(highest_floor.is_finite(), "a floor is a number of bytes");
        self.so_far = Some(Life { watched_ms, highest_floor, ending }).filter(known);
    }
}

fn known(life: &Life) -> bool {
    !matches!(life.ending, Ending::Unknown)
}

impl CurrentLife {
    fn age_ms(&self) -> u64 {
        self.newest.at_unix_ms.saturating_sub(self.newest.started_unix_ms)
    }
}
