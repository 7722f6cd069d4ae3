//! Robust statistics over at most [`POINTS_MAX`] points, without allocation.
//!
//! Owns: the arithmetic. Refuses: any notion of memory, time units or blame.
//! Invariant: inputs are finite and sorted by `x`; scratch memory is the caller's and fixed.
//! Sources: Theil (1950) and Sen (1968) for the slope.

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

    /// What it holds beside itself, bytes.
    pub(crate) const fn footprint() -> usize {
        PAIRS_MAX * size_of::<f64>()
    }
}

/// Theil-Sen: the median slope of all pairs.
/// `None` for fewer than three points or where all share one `x`.
pub(crate) fn theil_sen(x: &[f64], y: &[f64], scratch: &mut Scratch) -> Option<f64> {
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
    Some(*scratch.0[..count].select_nth_unstable_by(count / 2, f64::total_cmp).1)
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

/// By how much values grew from the first to the last, by the middles of their quarters.
pub(crate) fn quarter_growth(quarters: [f64; 4]) -> f64 {
    (quarters[3] - quarters[0]) * 4.0 / 3.0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn theil_sen_ignores_a_fifth_of_wild_points() {
        let x: Vec<f64> = (0..40).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|v| if v % 5.0 == 0.0 { 900.0 } else { 3.0 * v }).collect();
        let slope = theil_sen(&x, &y, &mut Scratch::new()).unwrap();
        assert!((slope - 3.0).abs() < 0.2, "{slope}");
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
}
