//! Robust statistics over at most [`POINTS_MAX`] points, without allocation.
//!
//! Owns: the arithmetic. Refuses: any notion of memory, time units or blame.
//! Invariant: inputs are finite and sorted by `x`; scratch memory is the caller's and fixed.
//! Sources: Theil (1950) and Sen (1968) for the slope and the interval by Kendall's variance.

use crate::series::BUCKETS;

/// The most points that a fit looks at.
pub(crate) const POINTS_MAX: usize = BUCKETS;
/// Pairs of them.
const PAIRS_MAX: usize = POINTS_MAX * (POINTS_MAX - 1) / 2;

/// Memory for the slopes of all pairs, allocated once.
#[derive(Debug)]
pub(crate) struct Scratch(Box<[f64; PAIRS_MAX]>);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(Box::new([0.0; PAIRS_MAX]))
    }
}

/// A slope with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slope {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

/// Theil-Sen: the median slope of all pairs, and Sen's 90 % interval.
/// `None` for fewer than three points or where all share one `x`.
pub(crate) fn theil_sen(x: &[f64], y: &[f64], scratch: &mut Scratch) -> Option<Slope> {
    assert_eq!(x.len(), y.len(), "a point has two coordinates");
    assert!(x.len() <= POINTS_MAX, "bounded points");
    let mut count = 0;
    for (i, (xi, yi)) in x.iter().zip(y).enumerate() {
        for (xj, yj) in x[i + 1..].iter().zip(&y[i + 1..]) {
            if xj > xi {
                scratch.0[count] = (yj - yi) / (xj - xi);
                count += 1;
            }
        }
    }
    if x.len() < 3 || count == 0 {
        return None;
    }
    let slopes = &mut scratch.0[..count];
    let n = x.len() as f64;
    // 1.645: the normal quantile of a two-sided 90 % interval.
    let reach = 1.645 * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let mut at = |rank: f64| {
        let rank = (rank.round().max(0.0) as usize).min(count - 1);
        *slopes.select_nth_unstable_by(rank, f64::total_cmp).1
    };
    let middle = (count as f64 - 1.0) / 2.0;
    let slope =
        Slope { low: at(middle - reach / 2.0), median: at(middle), high: at(middle + reach / 2.0) };
    assert!(slope.low <= slope.median && slope.median <= slope.high, "quantiles are ordered");
    Some(slope)
}

/// The median of a few values.
pub(crate) fn median(values: &[f64]) -> f64 {
    assert!(!values.is_empty() && values.len() <= POINTS_MAX, "a median of 1 to {POINTS_MAX}");
    let mut sorted = [0.0; POINTS_MAX];
    let sorted = &mut sorted[..values.len()];
    sorted.copy_from_slice(values);
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// Medians of the four quarters, oldest first. At least four points.
pub(crate) fn quarter_medians(values: &[f64]) -> [f64; 4] {
    assert!(values.len() >= 4, "each quarter needs a point");
    let n = values.len();
    std::array::from_fn(|quarter| median(&values[quarter * n / 4..(quarter + 1) * n / 4]))
}

/// The deepest fall from a point to a later one; 0 where the values never fall.
pub(crate) fn drawdown(values: &[f64]) -> f64 {
    let mut peak = f64::NEG_INFINITY;
    let mut deepest: f64 = 0.0;
    for value in values {
        peak = peak.max(*value);
        deepest = deepest.max(peak - value);
    }
    deepest
}

/// What least squares on time *and* a second signal leaves to time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Partial {
    /// The second signal hardly moves: it explains nothing.
    Still,
    /// The slope over time with the second signal held constant.
    Slope(f64),
    /// The two move together: neither can be told from the other.
    Entangled,
}

/// Squared correlation above which two regressors are not told apart (a variance inflation of 10).
const ENTANGLED_R2: f64 = 0.9;
/// A signal whose range is under this share of its mean is still.
const STILL_SHARE: f64 = 0.2;

/// `y = a + b * x + c * z`: the `b`, and whether it can be told from `c`.
pub(crate) fn partial_slope(x: &[f64], y: &[f64], z: &[f64]) -> Partial {
    assert!(x.len() == y.len() && y.len() == z.len(), "a point has three coordinates");
    let n = x.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n;
    let (mx, my, mz) = (mean(x), mean(y), mean(z));
    let [q0, q1, q2, q3] = quarter_medians(z);
    let range = q0.max(q1).max(q2).max(q3) - q0.min(q1).min(q2).min(q3);
    if range <= STILL_SHARE * mz.abs() {
        return Partial::Still;
    }
    let (mut xx, mut zz, mut xz, mut xy, mut zy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for ((xi, yi), zi) in x.iter().zip(y).zip(z) {
        let (dx, dy, dz) = (xi - mx, yi - my, zi - mz);
        xx += dx * dx;
        zz += dz * dz;
        xz += dx * dz;
        xy += dx * dy;
        zy += dz * dy;
    }
    if xx <= 0.0 || zz <= 0.0 {
        return Partial::Still;
    }
    if xz * xz / (xx * zz) > ENTANGLED_R2 {
        return Partial::Entangled;
    }
    Partial::Slope((xy * zz - zy * xz) / (xx * zz - xz * xz))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn theil_sen_ignores_a_fifth_of_wild_points() {
        let x: Vec<f64> = (0..40).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|v| if v % 5.0 == 0.0 { 900.0 } else { 3.0 * v }).collect();
        let slope = theil_sen(&x, &y, &mut Scratch::new()).unwrap();
        assert!((slope.median - 3.0).abs() < 0.2, "{slope:?}");
    }

    #[test]
    fn a_single_moment_has_no_slope() {
        assert_eq!(theil_sen(&[1.0; 4], &[1.0, 2.0, 3.0, 4.0], &mut Scratch::new()), None);
    }

    #[test]
    fn drawdown_is_the_deepest_fall_and_not_the_range() {
        assert_eq!(drawdown(&[1.0, 5.0, 3.0, 9.0, 8.0]), 2.0);
        assert_eq!(drawdown(&[1.0, 2.0, 3.0]), 0.0);
    }

    #[test]
    fn a_value_that_follows_the_second_signal_has_no_slope_of_its_own() {
        let x: Vec<f64> = (0..32).map(f64::from).collect();
        let z: Vec<f64> = x.iter().map(|v| if *v < 20.0 { 10.0 } else { 30.0 }).collect();
        let y: Vec<f64> = z.iter().map(|v| 100.0 + 4.0 * v).collect();
        let Partial::Slope(slope) = partial_slope(&x, &y, &z) else { panic!("told apart") };
        assert!(slope.abs() < 1e-9, "{slope}");
    }

    #[test]
    fn a_second_signal_that_rises_with_time_cannot_be_told_from_it() {
        let x: Vec<f64> = (0..32).map(f64::from).collect();
        let z: Vec<f64> = x.iter().map(|v| 10.0 + v).collect();
        assert_eq!(partial_slope(&x, &z, &z), Partial::Entangled);
    }
}
