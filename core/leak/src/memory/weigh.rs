//! What a rise means: leak, early sign, warm-up, plateau, load, or the way back to a known level.
//!
//! Owns: the judgement of one window. Refuses: remembering it.
//! Invariant: each doubt has its own name, and only a rise without any is a proof.

use stent_contract::{LeakClass, VerdictLevel};

use super::{MemorySettings, millis};
use crate::shape::{Rise, Traffic};

/// The last step between quarters over the first: below this the growth is slowing down. (An
/// exponential approach to a ceiling falls below it when the window is 0.6 time constants long.)
const PACE_MIN: f64 = 0.75;
/// Growth is compared with this at least: a process of a few megabytes doubles on a whim. Bytes.
const BASE_MIN: f64 = 64.0 * 1024.0 * 1024.0;
/// Grown by this share of the base: proof where the end is near, ...
const GROWN_URGENT: f64 = 0.5;
/// ... and where it is not.
const GROWN: f64 = 1.0;
/// The share of a proof that makes a suspect.
const SUSPECT_SHARE: f64 = 0.15;
/// Earlier lives in a row that ended growing, and make an early sign a proof.
const GROWING_LIVES: usize = 2;

/// What must be known beside the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// Age of the process when the window began.
    pub(super) age_at_start_ms: u64,
    /// The highest floor of this life before the window, at this resolution or a coarser one.
    pub(super) stood_at: Option<f64>,
    /// Where an earlier life settled that was watched at least as long as this one.
    pub(super) known_plateau: Option<f64>,
    /// Earlier lives in a row that ended growing.
    pub(super) growing_lives: usize,
    /// Bytes left to the limit.
    pub(super) left: Option<f64>,
}

/// A rise and what it means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    pub(super) rise: Rise,
    pub(super) level: VerdictLevel,
    pub(super) class: LeakClass,
    pub(super) reason: Reason,
    /// How much of a proof it is: 1 or more is one.
    pub(super) weight: f64,
    /// Earlier lives in a row that ended growing.
    pub(super) growing_lives: usize,
}

/// Why the level is what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reason {
    /// The process was too young when the window began.
    Young,
    /// An earlier life settled above this level, bytes.
    KnownPlateau(f64),
    /// This life has stood higher before, bytes.
    StoodHigher(f64),
    /// Growth slows down towards about this level, bytes.
    Slowing { ceiling: f64 },
    /// The load rose and memory with it.
    FollowsTraffic,
    /// Load and memory rise together too evenly to be told apart.
    Entangled,
    /// Steady, but the window is short compared with the way to the limit.
    Early,
    /// Steady, long enough, and without another explanation.
    Proven,
    /// Steady and early, and so it was in the lives before: restarts hide it.
    Repeated,
}

impl Finding {
    /// Orders findings: level, then class, then the longer window.
    pub(super) fn rank(&self) -> (VerdictLevel, u8, u64) {
        let class = match self.class {
            LeakClass::None | LeakClass::HeldTransaction => 0,
            LeakClass::WarmUp => 1,
            LeakClass::Plateau => 2,
            LeakClass::SteadyGrowth => 3,
        };
        (self.level, class, self.rise.window_ms)
    }

    /// Whether half of the growth is still there at `anon` bytes.
    pub(super) fn still_holds(&self, anon: f64) -> bool {
        anon >= self.rise.base + self.rise.growth / 2.0
    }

    /// Whether its window ended not long before `now_ms`.
    pub(super) fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.rise.start_ms) <= self.rise.window_ms + self.rise.window_ms / 4
    }
}

/// Weighs a rise against everything else that is known.
pub(super) fn weigh(rise: Rise, context: &Context, settings: &MemorySettings) -> Finding {
    assert!(rise.slope.median > 0.0 && rise.growth > 0.0, "a rise rises");
    let seconds_to_limit = context.left.map(|left| left / rise.slope.median);
    let weight = weight(&rise, seconds_to_limit, settings);
    let reason = reason(&rise, context, settings, weight);
    let (level, class) = match reason {
        Reason::Young | Reason::KnownPlateau(_) => (VerdictLevel::Healthy, LeakClass::WarmUp),
        Reason::StoodHigher(_) | Reason::FollowsTraffic => (VerdictLevel::Healthy, LeakClass::None),
        Reason::Slowing { ceiling } => {
            let limit = context.left.map(|left| left + rise.base + rise.growth);
            let bursts = limit.is_some_and(|limit| ceiling > limit) && weight >= 1.0;
            let level = if bursts { VerdictLevel::Suspect } else { VerdictLevel::Healthy };
            (level, LeakClass::Plateau)
        }
        Reason::Early | Reason::Entangled if weight < SUSPECT_SHARE => {
            (VerdictLevel::Healthy, LeakClass::SteadyGrowth)
        }
        Reason::Early | Reason::Entangled => (VerdictLevel::Suspect, LeakClass::SteadyGrowth),
        Reason::Proven | Reason::Repeated => (VerdictLevel::Leak, LeakClass::SteadyGrowth),
    };
    let growing_lives = context.growing_lives;
    Finding { rise, level, class, reason, weight, growing_lives }
}

/// How much of a proof the window is: the share of the way to the limit that was watched, or the
/// growth compared with what was there before, whichever says more.
fn weight(rise: &Rise, seconds_to_limit: Option<f64>, settings: &MemorySettings) -> f64 {
    let window_s = rise.window_ms as f64 / 1_000.0;
    let by_limit = seconds_to_limit
        .map_or(0.0, |left| window_s / left.max(f64::MIN_POSITIVE) / settings.limit_share);
    let urgent = seconds_to_limit.is_some_and(|left| left <= settings.urgent.as_secs_f64());
    let needed = if urgent { GROWN_URGENT } else { GROWN };
    let by_size = rise.growth / rise.base.max(BASE_MIN) / needed;
    let weight = by_limit.max(by_size);
    assert!(weight >= 0.0, "evidence is never negative");
    // A window that is too short to prove anything can still be a sign.
    if rise.window_ms < millis(settings.window_min) { weight.min(0.99) } else { weight }
}

fn reason(rise: &Rise, context: &Context, settings: &MemorySettings, weight: f64) -> Reason {
    let settled_ms = millis(settings.warm_up).max(rise.window_ms / 2);
    if context.age_at_start_ms < settled_ms {
        return Reason::Young;
    }
    if let Some(level) = context.known_plateau.filter(|level| rise.late_low <= *level) {
        return Reason::KnownPlateau(level);
    }
    if let Some(level) = context.stood_at.filter(|level| rise.late_low <= *level) {
        return Reason::StoodHigher(level);
    }
    if rise.pace < PACE_MIN {
        return Reason::Slowing { ceiling: ceiling(rise) };
    }
    match rise.traffic {
        Traffic::Explains => return Reason::FollowsTraffic,
        Traffic::Entangled => return Reason::Entangled,
        Traffic::Unknown | Traffic::Apart { .. } => {}
    }
    if weight >= 1.0 {
        Reason::Proven
    } else if weight >= SUSPECT_SHARE && context.growing_lives >= GROWING_LIVES {
        Reason::Repeated
    } else {
        Reason::Early
    }
}

/// Where an exponential approach ends: the steps left are a geometric series.
fn ceiling(rise: &Rise) -> f64 {
    debug_assert!(rise.pace < PACE_MIN, "only growth that slows down has a ceiling");
    let ratio = rise.pace.sqrt(); // two steps lie between the first and the last
    rise.base + rise.growth + rise.last_step * ratio / (1.0 - ratio)
}
