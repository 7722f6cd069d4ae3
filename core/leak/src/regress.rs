//! Least squares of one shape, with the rate of requests held constant beside it.
//!
//! Owns: the sums. Refuses: comparing shapes ([`crate::fits`]).
//! Invariant: a window is looked at once for each shape, and for a step not even that; what is left
//! is never below the grain, so that a perfect fit is no division by zero.

use crate::fits::{Clock, Fit, Points, Shape};
use crate::series::BUCKETS;

/// The floors with their mean taken out, and the rate of requests likewise.
pub(crate) struct Target {
    n: usize,
    mean: f64,
    floor: [f64; BUCKETS],
    rate: [f64; BUCKETS],
    floor_squares: f64,
    rate_squares: f64,
    rated: f64,
    grain_squares: f64,
}

impl Target {
    pub(crate) fn new(points: &Points<'_>) -> Self {
        let n = points.floor.len();
        let mut rate = [0.0; BUCKETS];
        if let Some(given) = points.rate {
            centre(given, &mut rate);
        }
        let mut floor = [0.0; BUCKETS];
        let mean = centre(points.floor, &mut floor);
        let grain_squares = n as f64 * points.grain * points.grain;
        let rate_squares = dot(&rate, &rate);
        let (floor_squares, rated) = (dot(&floor, &floor), dot(&rate, &floor));
        Self { n, mean, floor, floor_squares, rate, rate_squares, rated, grain_squares }
    }

    /// A shape and its share of the rate, by least squares. The share is never below zero: a live
    /// set grows with the load and does not shrink.
    fn solve(&self, sums: &Sums) -> Option<Solved> {
        let Sums { along, target, shared } = *sums;
        if along <= 1e-9 {
            return None;
        }
        let (scale, by_rate) = (target / along, 0.0);
        let plain = Solved { scale, by_rate, squares: along, along, target, shared };
        if self.rate_squares <= 0.0 {
            return Some(plain);
        }
        let apart = along - shared * shared / self.rate_squares;
        if apart <= 1e-6 * along {
            return None; // it moves only as the rate does
        }
        let scale = (target - shared * self.rated / self.rate_squares) / apart;
        let by_rate = (self.rated - scale * shared) / self.rate_squares;
        Some(if by_rate < 0.0 { plain } else { Solved { scale, by_rate, squares: apart, ..plain } })
    }

    /// Squares of what is left beside a shape and its share of the rate.
    fn left(&self, solved: &Solved) -> f64 {
        let Solved { scale, by_rate, along, target, shared, .. } = *solved;
        let explained = 2.0 * (scale * target + by_rate * self.rated)
            - scale * scale * along
            - by_rate * by_rate * self.rate_squares
            - 2.0 * scale * by_rate * shared;
        (self.floor_squares - explained).max(0.0) + self.grain_squares
    }

    /// Fits a shape of `x`.
    pub(crate) fn fit(&self, shape: Shape, clock: Clock, x: &[f64]) -> Option<Fit> {
        let (along, middle) = self.along(shape, x);
        let sums = Sums {
            along: dot(&along, &along),
            target: dot(&along, &self.floor),
            shared: dot(&along, &self.rate),
        };
        let solved = self.solve(&sums)?;
        Some(self.fitted(shape, clock, middle, &solved))
    }

    /// Fits a step before the point `at`: its sums need no look at each point.
    pub(crate) fn step(&self, at: usize, time: &[f64]) -> Option<Fit> {
        let high = (self.n - at) as f64;
        let middle = high / self.n as f64;
        let sums = Sums {
            along: high * (1.0 - middle),
            target: self.floor[at..].iter().sum(),
            shared: self.rate[at..].iter().sum(),
        };
        let solved = self.solve(&sums)?;
        Some(self.fitted(Shape::Step(time[at]), Clock::Time, middle, &solved))
    }

    fn fitted(&self, shape: Shape, clock: Clock, middle: f64, solved: &Solved) -> Fit {
        let squares = self.left(solved);
        let freedom = (self.n as f64 - 3.0).max(1.0);
        let last = self.mean + solved.scale * (shape.at(1.0) - middle);
        let error = (squares / freedom / solved.squares).sqrt();
        Fit { shape, clock, scale: solved.scale, error, last, squares }
    }

    /// What the rate alone explains.
    pub(crate) fn flat(&self) -> Fit {
        let rated = self.rated.max(0.0);
        let by_rate = if self.rate_squares > 0.0 { rated / self.rate_squares } else { 0.0 };
        let squares = self.left(&Solved { by_rate, ..Solved::default() });
        let (shape, clock) = (Shape::Flat, Clock::Time);
        Fit { shape, clock, scale: 0.0, error: f64::INFINITY, last: self.mean, squares }
    }

    /// The correlation of neighbouring errors of a fit, 0 to 0.95.
    /// Source for the correction of its bias: Marriott and Pope (1954).
    pub(crate) fn alike(&self, fit: &Fit, x: &[f64]) -> f64 {
        let (along, _) = self.along(fit.shape, x);
        let shared = dot(&along, &self.rate);
        let by_rate = if self.rate_squares > 0.0 {
            ((self.rated - fit.scale * shared) / self.rate_squares).max(0.0)
        } else {
            0.0
        };
        let mut errors = self.floor;
        for (value, (along, rate)) in errors.iter_mut().zip(along.iter().zip(&self.rate)) {
            *value -= fit.scale * along + by_rate * rate;
        }
        let neighbours: f64 = errors[..self.n].windows(2).map(|pair| pair[0] * pair[1]).sum();
        let own = dot(&errors, &errors) + self.grain_squares;
        // What a fit takes out makes its errors look less alike than they are.
        let n = self.n as f64;
        let alike = neighbours / own;
        (alike + (1.0 + 3.0 * alike.max(0.0)) / n).clamp(0.0, 0.95)
    }

    fn along(&self, shape: Shape, x: &[f64]) -> ([f64; BUCKETS], f64) {
        let mut raw = [0.0; BUCKETS];
        for (value, x) in raw.iter_mut().zip(x) {
            *value = shape.at(*x);
        }
        let mut along = [0.0; BUCKETS];
        let middle = centre(&raw[..self.n], &mut along);
        (along, middle)
    }
}

/// What a shape has in common with itself, with the floors and with the rate.
struct Sums {
    along: f64,
    target: f64,
    shared: f64,
}

/// The shares of a shape and of the rate in the floors.
#[derive(Clone, Copy, Default)]
struct Solved {
    scale: f64,
    by_rate: f64,
    /// Squares of the shape beside the rate.
    squares: f64,
    along: f64,
    target: f64,
    shared: f64,
}

/// Takes the mean out of `values` and returns it; the rest of `into` stays 0.
fn centre(values: &[f64], into: &mut [f64; BUCKETS]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    for (slot, value) in into.iter_mut().zip(values) {
        *slot = value - mean;
    }
    mean
}

fn dot(a: &[f64; BUCKETS], b: &[f64; BUCKETS]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
