//! One window measured: does its floor grow, in which shape, and what else grew with it?
//!
//! Owns: the measurements that a judgement is made from. Refuses: the judgement (that is
//! [`crate::memory`]'s) and any memory of earlier windows.
//! Invariant: a [`Rise`] is only given for floors whose growth stands out of their noise and was
//! not mostly taken back in between; a tooth and noise give none.

use crate::fits::{CONVEX, Clock, EXPONENTIAL, Fit, Fits, HINGE, LOGARITHM, Points, RAMP, Shape};
use crate::series::{BUCKETS, Bucket};
use crate::stats::{self, Scratch};

/// A window counts only where this share of its buckets has readings.
const COVERAGE_MIN: f64 = 0.75;
/// The fewest buckets that a shape is read from.
pub(crate) const POINTS_MIN: usize = 9;
/// The deepest fall allowed, as a share of the growth.
const DRAWDOWN_SHARE_MAX: f64 = 0.4;
/// Growth must be this many standard errors above zero.
pub(crate) const Z_MIN: f64 = 4.0;
/// A rate of requests that stays within this share of its mean explains nothing.
const STILL_SHARE: f64 = 0.05;
/// Errors of a shape below this share of the level are no errors.
const GRAIN_SHARE: f64 = 0.0005;
/// Where less than this share of the growth is left with the rate held constant, it explains it.
const LEFT_SHARE: f64 = 0.5;
/// A bounded shape is looked at this many windows ahead.
const AHEAD: f64 = 10.0;

/// A floor that grows. Bytes, milliseconds, bytes a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rise {
    /// Start of the window.
    pub(crate) start_ms: u64,
    /// Its length.
    pub(crate) window_ms: u64,
    /// The most likely shape that has no bound below the roof.
    pub(crate) unbounded: Fit,
    /// The most likely shape that has one.
    pub(crate) bounded: Option<Fit>,
    /// Natural logarithm of the odds that growth has no bound, by the shape alone.
    pub(crate) shape_odds: f64,
    /// The share of shapes that do not get faster among those without a bound: what fills evenly
    /// has no other.
    pub(crate) even_share: f64,
    /// Robust slope (Theil and Sen), bytes a second.
    pub(crate) slope: f64,
    /// Growth over the window.
    pub(crate) growth: f64,
    /// Floor at the beginning.
    pub(crate) base: f64,
    /// Floor at the end, as the shape has it.
    pub(crate) last: f64,
    /// The lowest floor of the last quarter: what surely is still there.
    pub(crate) late_low: f64,
    /// How far readings rise above their floor.
    pub(crate) teeth: f64,
    /// Growth in standard errors.
    pub(crate) z: f64,
    /// The deepest fall inside the window.
    pub(crate) drawdown: f64,
    /// Growth of the runtime's heap over the window, where it is known.
    pub(crate) heap_growth: Option<f64>,
    /// What traffic did meanwhile.
    pub(crate) traffic: Traffic,
}

/// Traffic in a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Traffic {
    /// No counter was given for the whole window.
    Unknown,
    /// With its rate held constant, growth remains. `transactions` is their number in the window.
    Apart { transactions: u64 },
    /// With its rate held constant, no growth is left that stands out.
    Explains,
}

/// What the measurement is told beside the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Buckets of a full window.
    pub(crate) expected: usize,
    /// Width of one.
    pub(crate) width_ms: u64,
    /// Distances below this are no error of a shape.
    pub(crate) grain: f64,
    /// The least growth that is worth a judgement, bytes.
    pub(crate) growth_min: f64,
    /// The level at which readings would be at the limit, bytes.
    pub(crate) limit: Option<f64>,
}

/// Measures a window of closed buckets. `None`: no growth that is worth a judgement.
pub(crate) fn measure(buckets: &[Bucket], frame: &Frame, scratch: &mut Scratch) -> Option<Rise> {
    assert!(buckets.len() <= frame.expected && frame.expected <= BUCKETS, "a window is bounded");
    let full = (buckets.len() as f64) >= COVERAGE_MIN * frame.expected as f64;
    if buckets.len() < POINTS_MIN || !full {
        return None;
    }
    let floors = Floors::of(buckets);
    let floor = &floors.values[..buckets.len()];
    let quarters = stats::quarter_medians(floor);
    if quarters[3] - quarters[0] < frame.growth_min / 2.0 {
        return None; // the cheap way out, taken by nearly every window
    }
    let drawdown = stats::drawdown(floor);
    if drawdown > DRAWDOWN_SHARE_MAX * (quarters[3] - quarters[0]) * 4.0 / 3.0 {
        return None;
    }
    let traffic = Requests::of(buckets);
    let held = traffic.as_ref().filter(|traffic| traffic.varies());
    let points = Points {
        time: &floors.time[..buckets.len()],
        floor,
        served: held.map(|traffic| &traffic.served[..buckets.len()]),
        rate: held.map(|traffic| &traffic.rate[..buckets.len()]),
        grain: (GRAIN_SHARE * quarters[0].max(0.0)).max(frame.grain),
    };
    let fits = Fits::of(&points);
    let weighed = Weighed::of(&fits, &points, frame, floors.span_s)?;
    let seconds = &floors.seconds[..buckets.len()];
    let slope = stats::theil_sen(seconds, floor, scratch)?;
    let growth = weighed.unbounded.growth();
    if growth < frame.growth_min || weighed.z < Z_MIN || drawdown > DRAWDOWN_SHARE_MAX * growth {
        return None;
    }
    let last_quarter = &floor[3 * floor.len() / 4..];
    assert!(growth > 0.0, "a rise rises");
    Some(Rise {
        start_ms: buckets[0].start_ms,
        window_ms: frame.width_ms * frame.expected as u64,
        unbounded: weighed.unbounded,
        bounded: weighed.bounded,
        shape_odds: weighed.odds,
        even_share: weighed.even_share,
        slope: slope.max(0.0),
        growth,
        base: weighed.unbounded.at(0.0).max(0.0),
        last: weighed.unbounded.last,
        late_low: last_quarter.iter().copied().fold(f64::INFINITY, f64::min),
        teeth: floors.teeth,
        z: weighed.z,
        drawdown,
        heap_growth: heap_growth(buckets),
        traffic: match traffic {
            None => Traffic::Unknown,
            Some(_) if held.is_some() && growth < LEFT_SHARE * slope * floors.span_s => {
                Traffic::Explains
            }
            Some(traffic) => Traffic::Apart { transactions: traffic.total },
        },
    })
}

/// The floors of a window.
struct Floors {
    values: [f64; BUCKETS],
    seconds: [f64; BUCKETS],
    /// The same from 0 to 1.
    time: [f64; BUCKETS],
    span_s: f64,
    teeth: f64,
}

impl Floors {
    fn of(buckets: &[Bucket]) -> Self {
        let mut values = [0.0; BUCKETS];
        let mut seconds = [0.0; BUCKETS];
        let mut height = [0.0; BUCKETS];
        let start_ms = buckets[0].start_ms;
        for (index, bucket) in buckets.iter().enumerate() {
            seconds[index] = (bucket.start_ms - start_ms) as f64 / 1_000.0;
            height[index] = bucket.ceiling - bucket.floor;
            // One reading that is far too low (a collector caught in the act) is not a floor:
            // the median of three neighbours keeps it out.
            let around = &buckets[index.saturating_sub(1)..(index + 2).min(buckets.len())];
            values[index] = middle(around.iter().map(|bucket| bucket.floor), bucket.floor);
        }
        let span_s = seconds[buckets.len() - 1].max(f64::MIN_POSITIVE);
        let time = seconds.map(|second| second / span_s);
        let teeth = stats::median(&height[..buckets.len()]);
        Self { values, seconds, time, span_s, teeth }
    }
}

/// The middle of three values; `own` where there are fewer.
fn middle(values: impl Iterator<Item = f64>, own: f64) -> f64 {
    let (mut low, mut high, mut sum, mut count) = (f64::INFINITY, f64::NEG_INFINITY, 0.0, 0);
    for value in values {
        low = low.min(value);
        high = high.max(value);
        sum += value;
        count += 1;
    }
    if count == 3 { sum - low - high } else { own }
}

/// Requests in a window.
struct Requests {
    rate: [f64; BUCKETS],
    served: [f64; BUCKETS],
    total: u64,
    low: f64,
    high: f64,
}

impl Requests {
    /// `None` where they are not known throughout.
    fn of(buckets: &[Bucket]) -> Option<Self> {
        let mut rate = [0.0; BUCKETS];
        let mut served = [0.0; BUCKETS];
        let mut total = 0;
        for (index, pair) in buckets.windows(2).enumerate() {
            // A counter that falls was started again: that stretch has no requests.
            let passed = pair[1].traffic?.saturating_sub(pair[0].traffic?);
            total += passed;
            served[index + 1] = total as f64;
            rate[index + 1] =
                passed as f64 * 1_000.0 / (pair[1].start_ms - pair[0].start_ms) as f64;
        }
        rate[0] = rate[1];
        let rate = smoothed(&rate, buckets.len());
        let all = (total as f64).max(1.0);
        served.iter_mut().for_each(|value| *value /= all);
        let [q0, q1, q2, q3] = stats::quarter_medians(&rate[..buckets.len()]);
        let (low, high) = (q0.min(q1).min(q2).min(q3), q0.max(q1).max(q2).max(q3));
        Some(Self { rate, served, total, low, high })
    }

    fn varies(&self) -> bool {
        self.high - self.low > STILL_SHARE * (self.high + self.low) / 2.0
    }
}

/// Means of five neighbours: requests come at random, and a rate that is noise itself would explain
/// less than it should.
fn smoothed(rate: &[f64; BUCKETS], length: usize) -> [f64; BUCKETS] {
    let mut smooth = [0.0; BUCKETS];
    for (index, slot) in smooth.iter_mut().enumerate().take(length) {
        let around = &rate[index.saturating_sub(2)..(index + 3).min(length)];
        *slot = around.iter().sum::<f64>() / around.len() as f64;
    }
    smooth
}

/// The shapes, in two camps.
struct Weighed {
    unbounded: Fit,
    bounded: Option<Fit>,
    odds: f64,
    even_share: f64,
    z: f64,
}

impl Weighed {
    fn of(fits: &Fits, points: &Points<'_>, frame: &Frame, span_s: f64) -> Option<Self> {
        let points_count = points.floor.len() as f64;
        let (mut mass, mut faster) = ([0.0_f64; 2], 0.0);
        let mut best: [Option<(f64, Fit)>; 2] = [None, None];
        for fit in fits.all().filter(|fit| fit.scale > 0.0 || fit.shape == Shape::Flat) {
            let likelihood = fits.likelihood(fit) * prior(fit, span_s, points_count);
            let camp = usize::from(is_bounded(fit, frame.limit));
            mass[camp] += likelihood;
            if matches!(fit.shape, Shape::Convex(_)) {
                faster += likelihood;
            }
            if best[camp].is_none_or(|(other, _)| likelihood > other) {
                best[camp] = Some((likelihood, *fit));
            }
        }
        let line = fits.all().find(|fit| fit.shape == Shape::Line)?;
        let unbounded = best[0].map_or(*line, |(_, fit)| fit);
        let odds = (mass[0].max(1e-12) / mass[1].max(1e-12)).ln();
        let even_share = (1.0 - faster / mass[0].max(1e-12)).clamp(0.0, 1.0);
        let z = fits.z(&unbounded);
        Some(Self { unbounded, bounded: best[1].map(|(_, fit)| fit), odds, even_share, z })
    }
}

/// How probable a shape is before the points are seen. Seconds of the window tell how long a time
/// constant is: services settle within a day, so longer ones are ever less probable.
fn prior(fit: &Fit, span_s: f64, points: f64) -> f64 {
    const SETTLED_S: f64 = 12.0 * 3_600.0;
    let slow = |tau: f64| (SETTLED_S / (tau * span_s)).min(1.0).powi(2);
    match fit.shape {
        Shape::Line => 0.5,
        Shape::Flat => 0.3,
        Shape::Convex(_) => 0.2 / CONVEX.len() as f64,
        Shape::Hinge(_) => 0.1 / HINGE.len() as f64,
        Shape::Exponential(tau) => slow(tau) / EXPONENTIAL.len() as f64,
        Shape::Logarithm(tau) => 0.5 * slow(tau) / LOGARITHM.len() as f64,
        Shape::Ramp(end) => 0.5 * slow(end) / RAMP.len() as f64,
        Shape::Step(_) => 0.5 / points,
    }
}

/// Whether a shape stays below the roof for ten windows more.
fn is_bounded(fit: &Fit, limit: Option<f64>) -> bool {
    match fit.shape {
        Shape::Line | Shape::Convex(_) | Shape::Hinge(_) => false,
        Shape::Flat | Shape::Step(_) | Shape::Ramp(_) => true,
        Shape::Exponential(_) | Shape::Logarithm(_) => {
            limit.is_none_or(|limit| fit.at(AHEAD) < limit)
        }
    }
}

fn heap_growth(buckets: &[Bucket]) -> Option<f64> {
    let mut heap = [0.0; BUCKETS];
    for (slot, bucket) in heap.iter_mut().zip(buckets) {
        *slot = bucket.heap?;
    }
    let quarters = stats::quarter_medians(&heap[..buckets.len()]);
    Some(stats::quarter_growth(quarters))
}

impl Rise {
    /// Seconds in its window.
    pub(crate) fn seconds(&self) -> f64 {
        self.window_ms as f64 / 1_000.0
    }

    /// Seconds that it has been growing for.
    pub(crate) fn growing_s(&self) -> f64 {
        match self.unbounded.shape {
            Shape::Hinge(begin) => (1.0 - begin) * self.seconds(),
            Shape::Line
            | Shape::Convex(_)
            | Shape::Exponential(_)
            | Shape::Logarithm(_)
            | Shape::Ramp(_)
            | Shape::Flat
            | Shape::Step(_) => self.seconds(),
        }
    }

    /// Whether it is a function of requests rather than of time.
    pub(crate) fn is_served(&self) -> bool {
        self.unbounded.clock == Clock::Served
    }

    /// Bytes a second at the end of the window.
    pub(crate) fn pace(&self) -> f64 {
        match self.unbounded.shape {
            Shape::Convex(power) => power * self.growth / self.seconds(),
            Shape::Hinge(begin) => self.growth / ((1.0 - begin) * self.seconds()),
            Shape::Line if !self.is_served() => self.slope,
            Shape::Line
            | Shape::Exponential(_)
            | Shape::Logarithm(_)
            | Shape::Ramp(_)
            | Shape::Flat
            | Shape::Step(_) => self.growth / self.seconds(),
        }
    }
}
