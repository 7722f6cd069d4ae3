//! The shape of one window: does its floor rise, how evenly, and what else rose with it?
//!
//! Owns: the measurements that a judgement is made from. Refuses: the judgement (that is
//! [`crate::memory`]'s) and any memory of earlier windows.
//! Invariant: a [`Rise`] is only given for floors that rose in each part of the window and never
//! fell back by a third of what they gained; a tooth, a step and noise give none.

use crate::series::{BUCKETS, Bucket};
use crate::stats::{self, Partial, Scratch, Slope};

/// A window counts only where this share of its buckets has readings.
const COVERAGE_MIN: f64 = 0.75;
/// Each step from quarter to quarter is at least this share of the mean step.
const STEP_SHARE_MIN: f64 = 0.4;
/// The deepest fall allowed, as a share of the growth.
const DRAWDOWN_SHARE_MAX: f64 = 0.33;
/// Growth must be this many times the median deviation from the line.
const NOISE_FACTOR: f64 = 6.0;

/// A floor that rises. Bytes, milliseconds, bytes a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rise {
    /// Start of the window.
    pub(crate) start_ms: u64,
    /// Its length.
    pub(crate) window_ms: u64,
    /// Slope of the floors, bytes a second.
    pub(crate) slope: Slope,
    /// Slope times length.
    pub(crate) growth: f64,
    /// Floor at the beginning (median of the first quarter).
    pub(crate) base: f64,
    /// The lowest floor of the last quarter: what surely is still there.
    pub(crate) late_low: f64,
    /// The smallest step between quarters over the mean step, up to 1.
    pub(crate) evenness: f64,
    /// The last step over the first: below 1 the growth slows down.
    pub(crate) pace: f64,
    /// The last step itself.
    pub(crate) last_step: f64,
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
    /// It does not explain the growth. `transactions` is their number in the window.
    Apart { transactions: u64 },
    /// With traffic held constant less than half of the growth is left.
    Explains,
    /// It rises as steadily as memory: the two cannot be told apart yet.
    Entangled,
}

/// Measures a window of closed buckets, of which `expected` would be a full one.
/// `None`: no rise that is worth a judgement. `growth_min` is in bytes.
pub(crate) fn measure(
    buckets: &[Bucket],
    expected: usize,
    width_ms: u64,
    growth_min: f64,
    scratch: &mut Scratch,
) -> Option<Rise> {
    assert!(buckets.len() <= expected && expected <= BUCKETS, "a window is bounded");
    if buckets.len() < 8 || (buckets.len() as f64) < COVERAGE_MIN * expected as f64 {
        return None;
    }
    let first = buckets[0];
    let mut floors = [0.0; BUCKETS];
    let mut seconds = [0.0; BUCKETS];
    for (index, bucket) in buckets.iter().enumerate() {
        floors[index] = bucket.floor;
        seconds[index] = (bucket.start_ms - first.start_ms) as f64 / 1_000.0;
    }
    let (floors, seconds) = (&floors[..buckets.len()], &seconds[..buckets.len()]);

    let quarters = stats::quarter_medians(floors);
    if quarters[3] - quarters[0] < growth_min / 2.0 {
        return None; // the cheap way out, taken by nearly every window
    }
    let steps = [1, 2, 3].map(|quarter| quarters[quarter] - quarters[quarter - 1]);
    let mean_step = steps.iter().sum::<f64>() / 3.0;
    let smallest = steps.iter().copied().fold(f64::INFINITY, f64::min);
    let drawdown = stats::drawdown(floors);
    if smallest < STEP_SHARE_MIN * mean_step {
        return None;
    }

    let slope = stats::theil_sen(seconds, floors, scratch)?;
    let window_s = (width_ms * expected as u64) as f64 / 1_000.0;
    let growth = slope.median * window_s;
    if growth < growth_min || drawdown > DRAWDOWN_SHARE_MAX * growth {
        return None;
    }
    if growth < NOISE_FACTOR * deviation(seconds, floors, slope.median) {
        return None;
    }
    assert!(mean_step > 0.0 && smallest > 0.0, "a rise rises in each quarter");
    let last_quarter = &floors[3 * floors.len() / 4..];
    Some(Rise {
        start_ms: first.start_ms,
        window_ms: width_ms * expected as u64,
        slope,
        growth,
        base: quarters[0],
        late_low: last_quarter.iter().copied().fold(f64::INFINITY, f64::min),
        evenness: (smallest / mean_step).min(1.0),
        pace: steps[2] / steps[0],
        last_step: steps[2],
        drawdown,
        heap_growth: heap_growth(buckets),
        traffic: traffic(buckets, seconds, floors, slope.median),
    })
}

/// Median absolute distance of the floors from the line through their median.
fn deviation(seconds: &[f64], floors: &[f64], slope: f64) -> f64 {
    let mut residuals = [0.0; BUCKETS];
    let residuals = &mut residuals[..floors.len()];
    for (residual, (x, y)) in residuals.iter_mut().zip(seconds.iter().zip(floors)) {
        *residual = y - slope * x;
    }
    let middle = stats::median(residuals);
    for residual in residuals.iter_mut() {
        *residual = (*residual - middle).abs();
    }
    stats::median(residuals)
}

fn heap_growth(buckets: &[Bucket]) -> Option<f64> {
    let mut heap = [0.0; BUCKETS];
    for (slot, bucket) in heap.iter_mut().zip(buckets) {
        *slot = bucket.heap?;
    }
    let quarters = stats::quarter_medians(&heap[..buckets.len()]);
    Some(quarters[3] - quarters[0])
}

/// Regresses the floors on time and on the transaction rate. A live set that follows the load has
/// no slope of its own left; a leak keeps it.
fn traffic(buckets: &[Bucket], seconds: &[f64], floors: &[f64], slope: f64) -> Traffic {
    let mut rates = [0.0; BUCKETS];
    let mut transactions = 0;
    for (index, pair) in buckets.windows(2).enumerate() {
        let (Some(before), Some(after)) = (pair[0].traffic, pair[1].traffic) else {
            return Traffic::Unknown;
        };
        // A counter that falls is a proxy that was started again: that stretch has no rate.
        let passed = after.saturating_sub(before);
        transactions += passed;
        rates[index] = passed as f64 * 1_000.0 / (pair[1].start_ms - pair[0].start_ms) as f64;
    }
    let rates = &rates[..buckets.len() - 1];
    match stats::partial_slope(&seconds[1..], &floors[1..], rates) {
        Partial::Still => Traffic::Apart { transactions },
        Partial::Slope(left) if left < slope / 2.0 => Traffic::Explains,
        Partial::Slope(_) => Traffic::Apart { transactions },
        // Traffic that falls while memory grows explains nothing.
        Partial::Entangled if rates[rates.len() - 1] < rates[0] => Traffic::Apart { transactions },
        Partial::Entangled => Traffic::Entangled,
    }
}
