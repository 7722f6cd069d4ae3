//! What a rise means: leak, early sign, warm-up, plateau, load, or the way back to a known level.
//!
//! Owns: the judgement of one window. Refuses: remembering it.
//! Invariant: each doubt has its own name, and only a rise without any is a proof.
//!
//! The odds of a leak are those of its shape against bounded shapes ([`crate::rise`]), and against
//! what no shape can tell from a leak until it ends: a cache that fills evenly to its cap, the
//! first tooth of a collector that waits. Such things are seldom large beside the room that they
//! have, and seldom last for days: each share of the room that is used up and each hour that passes
//! makes them less probable. What earlier lives did is added.

use std::ops::Range;

use stent_contract::{LeakClass, VerdictLevel};

use super::siblings::{Beside, Together};
use crate::fits::{Fit, Shape};
use crate::lives::{Past, Plateau};
use crate::quantity::Quantity;
use crate::rise::{Rise, Traffic};

/// Odds of a leak that page: 22 to 1 (natural logarithm).
const LEAK_ODDS: f64 = 3.1;
/// Odds that start attribution: 11 to 1.
const SUSPECT_ODDS: f64 = 2.4;
/// Looks in a row that must find the same before it counts: many looks find chance proofs.
const IN_A_ROW: u32 = 4;
/// Standard errors of growth that a proof needs.
const LEAK_Z: f64 = 6.0;
/// An evenly filled thing is larger than a share `u` of the room with the probability
/// `(1 - u)^p`. What fills for minutes is a start-up and small beside the room; what takes most of
/// it (a heap that grows to its own limit, a job) takes about an hour; what fills for half a day is
/// small again. Seconds, and the `p` there; in between on a logarithmic scale. (How it compares with
/// what was there before, the quantity tells.)
const ROOM_POWERS: [(f64, f64); 3] = [(300.0, 4.0), (3_600.0, 1.8), (12.0 * 3_600.0, 7.0)];
/// The time that filling evenly takes is as probable on each logarithmic scale between these,
/// seconds.
const FILL_MIN_S: f64 = 60.0;
const FILL_MAX_S: f64 = 48.0 * 3_600.0;
/// It is never quite excluded.
const FILL_SHARE_MIN: f64 = 0.01;
/// The same for growth that begins long after its process: jobs, steps, new kinds of request end
/// sooner than caches fill.
const FILL_MAX_LATE_S: f64 = 24.0 * 3_600.0;
/// Before late growth memory grew at most at this share of its pace.
const FLAT_SHARE: f64 = 0.3;
/// Growth beyond a level that was known is less often bounded. Natural logarithm.
const OUTGROWN_ODDS: f64 = 2.0;
/// Growth beside a heap that stays flat is also what page cache, retained pages and fragmentation
/// look like. Natural logarithm.
const FLAT_HEAP_ODDS: f64 = -0.5;
/// Growth that begins late where requests are not counted may be that of the load. Natural logarithm.
const UNCOUNTED_ODDS: f64 = -1.0;
/// The same where it takes hours, as the load of a day does; also where it gets faster.
const UNCOUNTED_DAY_ODDS: f64 = -2.0;
/// What the load of a day takes, seconds.
const DAY_S: Range<f64> = 3_600.0..86_400.0;
/// Growth that slows down on a way that ends beyond the limit: leaks do not slow down, heaps that
/// near a bound of their own do. Natural logarithm.
const SLOWING_ODDS: f64 = -2.0;
/// What fills evenly may look as if it got faster, by chance, to this share ...
const EVEN_SHARE_MIN: f64 = 0.4;
/// ... and more where requests are not counted, whose rate may be what rises.
const EVEN_SHARE_UNCOUNTED_MIN: f64 = 1.0;
/// Growth is new only where at least this share of it lies above levels of the past.
const NEW_SHARE: f64 = 0.5;
/// Each sibling that stayed flat makes growth of one alone more probable to be a leak, up to this
/// many; less so growth that begins late, as a job of one does. Natural logarithm.
const ALONE_ODDS: f64 = 0.4;
const ALONE_LATE_ODDS: f64 = 0.1;
const ALONE_MAX: u32 = 2;
/// Growth that begins late and at one time in siblings of all ages is a load or a job more often.
/// Natural logarithm.
const COMMON_ODDS: f64 = -1.0;
/// Siblings do not settle at quite the same level: this share of the growth beyond it is still the way.
const SIBLING_SLACK: f64 = 0.2;
/// A heap that grew by less than this share of the growth stayed flat.
const FLAT_HEAP: f64 = 0.2;
/// A process this young is warming up, seconds.
const YOUNG_S: f64 = 1_800.0;

/// What must be known beside the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// Time between the first reading of the life and the window.
    pub(super) watched_before_ms: u64,
    /// Bytes a second in the stretch before the window.
    pub(super) pace_before: Option<f64>,
    /// The highest floor of this life before the window, at this resolution or a coarser one.
    pub(super) stood_at: Option<f64>,
    /// Where an earlier life, or the revision before, settled that was watched at least as long as this one.
    pub(super) known_plateau: Option<Plateau>,
    /// Earlier lives in a row that ended growing, and what they add to the odds.
    pub(super) growing_lives: (usize, f64),
    /// The level at which readings would be at the limit, bytes.
    pub(super) limit: Option<f64>,
    /// What is watched.
    pub(super) of: Quantity,
    /// What siblings did meanwhile.
    pub(super) beside: Beside,
}

/// A rise and what it means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    pub(super) rise: Rise,
    pub(super) level: VerdictLevel,
    pub(super) class: LeakClass,
    pub(super) reason: Reason,
    /// Natural logarithm of the odds of a leak.
    pub(super) odds: f64,
    /// Earlier lives in a row that ended growing.
    pub(super) growing_lives: usize,
    /// What looks at this resolution have found in a row.
    pub(super) row: Row,
    /// Below this its growth was given back, bytes.
    pub(super) lowest: f64,
    /// What siblings did meanwhile.
    pub(super) beside: Beside,
}

/// How often in a row looks at a resolution have found the same.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row {
    suspicions: u32,
    proofs: u32,
}

impl Row {
    /// The row with one look more.
    fn after(before: Self, reason: Reason, odds: f64) -> Self {
        let suspicions = if odds >= SUSPECT_ODDS { before.suspicions + 1 } else { 0 };
        let proofs = match reason {
            Reason::Proven | Reason::Repeated => before.proofs + 1,
            Reason::KnownPlateau(_)
            | Reason::StoodHigher(_)
            | Reason::CameBackBeside
            | Reason::Slowing { .. }
            | Reason::FollowsTraffic
            | Reason::Part
            | Reason::Early => 0,
        };
        assert!(before.proofs <= IN_A_ROW && before.suspicions <= IN_A_ROW, "it is counted so far");
        Self { suspicions: suspicions.min(IN_A_ROW), proofs: proofs.min(IN_A_ROW) }
    }

    fn level(self) -> VerdictLevel {
        if self.proofs >= IN_A_ROW {
            VerdictLevel::Leak
        } else if self.suspicions >= IN_A_ROW {
            VerdictLevel::Suspect
        } else {
            VerdictLevel::Healthy
        }
    }
}

/// Why the level is what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reason {
    /// An earlier life, or the revision before, settled above.
    KnownPlateau(Plateau),
    /// This life has stood higher before, bytes.
    StoodHigher(f64),
    /// All siblings grew in step, and have been as high before.
    CameBackBeside,
    /// Growth slows down towards about this level, bytes.
    Slowing { ceiling: f64 },
    /// The load rose and memory with it.
    FollowsTraffic,
    /// The window is short beside a life that grew before it too: its whole must be seen.
    Part,
    /// Steady, but something bounded may still look like that.
    Early,
    /// Steady, long and large enough, and without another explanation.
    Proven,
    /// Steady and early, and so it was in the lives before: restarts hide it.
    Repeated,
}

impl Reason {
    /// Whether it is known what grows, and that it is no leak.
    const fn explains(self) -> bool {
        match self {
            Self::KnownPlateau(_)
            | Self::StoodHigher(_)
            | Self::CameBackBeside
            | Self::FollowsTraffic => true,
            Self::Slowing { .. } | Self::Part | Self::Early | Self::Proven | Self::Repeated => {
                false
            }
        }
    }
}

impl Finding {
    /// Whether it is known what grows, and that it is no leak.
    pub(super) const fn is_explained(&self) -> bool {
        self.reason.explains()
    }

    /// Orders findings: level, then odds.
    pub(super) fn is_above(&self, other: &Self) -> bool {
        (self.level, self.odds) >= (other.level, other.odds)
    }

    /// Which of the windows of one look counts: a proof before what has a doubt, whose odds may be
    /// higher and who would end the row of proofs.
    pub(super) fn outweighs(&self, other: &Self) -> bool {
        match (self.is_proof(), other.is_proof()) {
            (true, true) | (false, false) => self.is_above(other),
            (proof, _) => proof,
        }
    }

    /// Whether it has no doubt left.
    pub(super) const fn is_proof(&self) -> bool {
        matches!(self.reason, Reason::Proven | Reason::Repeated)
    }

    /// Whether half of the growth is still there at `anon` bytes.
    pub(super) fn still_holds(&self, anon: f64) -> bool {
        anon >= self.lowest
    }

    /// Whether its window ended not long before `now_ms`.
    pub(super) fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.rise.start_ms) <= self.rise.window_ms + self.rise.window_ms / 4
    }

    /// The probability of a leak that the odds stand for.
    pub(super) fn probability(&self) -> f64 {
        1.0 / (1.0 + (-self.odds).exp())
    }
}

/// Weighs a rise against everything else that is known.
/// `before` is what looks at this resolution had found in a row.
pub(super) fn weigh(rise: Rise, context: &Context, before: Row) -> Finding {
    assert!(rise.growth > 0.0, "a rise rises");
    let (growing_lives, lives_odds) = context.growing_lives;
    let unlike = (-rise.shape_odds).exp() + evenly_filled(&rise, context);
    let odds = lives_odds - unlike.ln() + circumstances(&rise, context);
    let reason = reason(&rise, context, odds, lives_odds);
    let row = Row::after(before, reason, odds);
    let level = if reason.explains() { VerdictLevel::Healthy } else { row.level() };
    let class = class(&rise, context, level, reason);
    assert!(odds.is_finite(), "odds are a number");
    let lowest = rise.base + rise.growth / 2.0;
    let beside = context.beside;
    Finding { rise, level, class, reason, odds, growing_lives, row, lowest, beside }
}

/// The odds of something that fills evenly and will stop, against a leak.
fn evenly_filled(rise: &Rise, context: &Context) -> f64 {
    let power = room_power(rise.growing_s());
    let room = context.limit.map_or(1.0, |limit| {
        let used = rise.growth / (limit - rise.base).max(rise.growth);
        (1.0 - used).powf(power)
    });
    let size =
        (1.0 + rise.growth / rise.base.max(context.of.small())).powf(-context.of.size_power());
    let longest = if is_late(rise, context) { FILL_MAX_LATE_S } else { FILL_MAX_S };
    let along = (rise.growing_s() / FILL_MIN_S).ln() / (longest / FILL_MIN_S).ln();
    let lasts = (1.0 - along).clamp(FILL_SHARE_MIN, 1.0);
    let least = match rise.traffic {
        Traffic::Unknown => EVEN_SHARE_UNCOUNTED_MIN,
        Traffic::Apart { .. } | Traffic::Explains => EVEN_SHARE_MIN,
    };
    let share = room.min(size) * lasts * rise.even_share.max(least);
    assert!((0.0..=1.0).contains(&share), "a probability");
    share
}

/// What the circumstances add to the odds. Natural logarithm.
fn circumstances(rise: &Rise, context: &Context) -> f64 {
    let outgrown = context.known_plateau.is_some_and(|known| rise.late_low > known.level);
    let unknown = rise.traffic == Traffic::Unknown;
    let slows = matches!(rise.unbounded.shape, Shape::Exponential(_) | Shape::Logarithm(_));
    let known =
        [(outgrown, OUTGROWN_ODDS), (has_flat_heap(rise), FLAT_HEAP_ODDS), (slows, SLOWING_ODDS)];
    let uncounted = if unknown { of_the_load(rise, context) } else { 0.0 };
    let own = known.iter().filter(|(holds, _)| *holds).map(|(_, odds)| odds).sum::<f64>();
    own + uncounted + of_siblings(rise, context)
}

/// What siblings add to the odds. Natural logarithm.
fn of_siblings(rise: &Rise, context: &Context) -> f64 {
    let Beside { flat, together, .. } = context.beside;
    let late = is_late(rise, context);
    let alone = if late { ALONE_LATE_ODDS } else { ALONE_ODDS };
    let common = if late && together == Together::OfAllAges { COMMON_ODDS } else { 0.0 };
    alone * f64::from(flat.min(ALONE_MAX)) + common
}

/// What speaks against a leak because requests are not counted. Natural logarithm.
fn of_the_load(rise: &Rise, context: &Context) -> f64 {
    let faster = matches!(rise.unbounded.shape, Shape::Convex(_));
    match (DAY_S.contains(&rise.seconds()), is_late(rise, context)) {
        (true, true) => UNCOUNTED_DAY_ODDS,
        (true, false) if faster => UNCOUNTED_DAY_ODDS,
        (false, true) => UNCOUNTED_ODDS,
        (true | false, false) => 0.0,
    }
}

fn has_flat_heap(rise: &Rise) -> bool {
    rise.heap_growth.is_some_and(|heap| heap < FLAT_HEAP * rise.growth)
}

fn room_power(seconds: f64) -> f64 {
    let [(quick, small), (middle, large), (slow, last)] = ROOM_POWERS;
    let along =
        |from: f64, until: f64| ((seconds / from).ln() / (until / from).ln()).clamp(0.0, 1.0);
    let power =
        small + (large - small) * along(quick, middle) + (last - large) * along(middle, slow);
    assert!(power > 0.0, "more is less probable");
    power
}

/// Whether memory was flat before the window, for as long as the window is.
fn is_late(rise: &Rise, context: &Context) -> bool {
    if matches!(rise.unbounded.shape, Shape::Hinge(begin) if begin >= 0.3) {
        return true;
    }
    let flat = context.pace_before.is_some_and(|pace| pace <= FLAT_SHARE * rise.pace());
    flat && context.watched_before_ms >= rise.window_ms / 2
}

fn reason(rise: &Rise, context: &Context, odds: f64, lives_odds: f64) -> Reason {
    if let Some(known) = context.known_plateau.filter(|known| rise.late_low <= known.level) {
        return Reason::KnownPlateau(known);
    }
    let is_old = |level: &f64| rise.last - level < NEW_SHARE * rise.growth;
    if let Some(level) = context.stood_at.filter(is_old) {
        return Reason::StoodHigher(level);
    }
    let slack = SIBLING_SLACK * rise.growth;
    if let Some(level) = context.beside.settled_at.filter(|level| rise.late_low <= level + slack) {
        return Reason::KnownPlateau(Plateau { level, of: Past::Sibling });
    }
    if context.beside.together == Together::CameBack {
        return Reason::CameBackBeside;
    }
    if rise.traffic == Traffic::Explains {
        return Reason::FollowsTraffic;
    }
    if rise.shape_odds < 0.0 {
        return Reason::Slowing { ceiling: ceiling(rise) };
    }
    if rise.window_ms < context.watched_before_ms && !is_late(rise, context) {
        return Reason::Part;
    }
    if odds < LEAK_ODDS || rise.z < LEAK_Z {
        Reason::Early
    } else if odds - lives_odds < LEAK_ODDS {
        Reason::Repeated
    } else {
        Reason::Proven
    }
}

/// Where the best bounded shape ends.
fn ceiling(rise: &Rise) -> f64 {
    rise.bounded.map_or(rise.last, |fit| fit.at(10.0)).max(rise.last)
}

fn class(rise: &Rise, context: &Context, level: VerdictLevel, reason: Reason) -> LeakClass {
    let heap_is_flat = has_flat_heap(rise);
    if level > VerdictLevel::Healthy && !matches!(reason, Reason::Slowing { .. }) {
        return if heap_is_flat { LeakClass::NativeLeak } else { LeakClass::Leak };
    }
    let age_s = context.watched_before_ms as f64 / 1_000.0;
    let young = age_s < rise.seconds() / 2.0 && rise.seconds() <= YOUNG_S;
    match reason {
        Reason::KnownPlateau(_) => LeakClass::WarmUp,
        Reason::FollowsTraffic | Reason::CameBackBeside => LeakClass::Traffic,
        Reason::StoodHigher(_) if heap_is_flat => LeakClass::PageCache,
        Reason::StoodHigher(_) => LeakClass::None,
        Reason::Slowing { .. } if heap_is_flat => match rise.bounded.map(|fit: Fit| fit.shape) {
            Some(Shape::Logarithm(_)) => LeakClass::Fragmentation,
            Some(_) | None => LeakClass::AllocatorRetention,
        },
        Reason::Slowing { .. } | Reason::Early if young => LeakClass::WarmUp,
        Reason::Slowing { .. }
        | Reason::Part
        | Reason::Early
        | Reason::Proven
        | Reason::Repeated => LeakClass::CacheFilling,
    }
}
