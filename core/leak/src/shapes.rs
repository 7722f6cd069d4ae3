//! Shapes that growth can have, fitted to a window and weighed against each other.
//!
//! Owns: least squares of each shape, and how much worse it fits than the best one, in units of
//! likelihood. Refuses: saying which shapes are harmless, and any prior belief.
//! Invariant: likelihoods are relative to the best shape's, which has 1; neighbouring points that
//! err alike count as fewer points.
//!
//! A straight line is compared with what a bounded thing would do in its place: an exponential
//! approach (a cache of random keys, a pool of objects), a logarithm (fragmentation), a step, and
//! a ramp that has ended. Each is looked at over time and, where traffic varies, over requests;
//! the rate of requests itself is held constant in all of them, since a live set follows it.

use crate::series::BUCKETS;

/// Time constants of exponential approaches, in windows.
const EXPONENTIAL: [f64; 8] = [0.05, 0.12, 0.2, 0.35, 0.6, 1.0, 1.7, 3.0];
/// Time constants of logarithms, in windows.
const LOGARITHM: [f64; 4] = [0.03, 0.15, 0.6, 2.0];
/// Where a ramp ends, in windows.
const RAMP: [f64; 4] = [0.4, 0.6, 0.75, 0.88];
/// Exponents of growth that gets faster.
const CONVEX: [f64; 2] = [1.5, 2.2];

/// Where late growth begins, in windows.
const HINGE: [f64; 5] = [0.15, 0.3, 0.45, 0.6, 0.75];

/// A shape, scaled to a window that runs from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    /// No growth but with the rate of requests.
    Flat,
    /// A straight line.
    Line,
    /// `x^p` with p above 1.
    Convex(f64),
    /// Flat up to here, a line from then on.
    Hinge(f64),
    /// `1 - exp(-x / tau)`.
    Exponential(f64),
    /// `ln(1 + x / tau)`.
    Logarithm(f64),
    /// A line up to here, flat from then on.
    Ramp(f64),
    /// Flat, and higher from here on.
    Step(f64),
}

impl Shape {
    /// Its value at `x`; `x` beyond 1 is the future.
    pub(crate) fn at(self, x: f64) -> f64 {
        match self {
            Self::Flat => 0.0,
            Self::Line => x,
            Self::Convex(power) => x.powf(power),
            Self::Hinge(begin) => (x - begin).max(0.0),
            Self::Exponential(tau) => 1.0 - (-x / tau).exp(),
            Self::Logarithm(tau) => (1.0 + x / tau).ln(),
            Self::Ramp(end) => x.min(end),
            Self::Step(at) => f64::from(u8::from(x >= at)),
        }
    }
}

/// What a shape is a function of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// Time.
    Time,
    /// Requests served.
    Served,
}

/// The points of a window. All slices are of one length; `time` and `served` run from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Points<'a> {
    pub(crate) time: &'a [f64],
    pub(crate) floor: &'a [f64],
    /// Requests served, where they are known and their rate varies.
    pub(crate) served: Option<&'a [f64]>,
    /// Their rate, likewise.
    pub(crate) rate: Option<&'a [f64]>,
    /// Distances below this are no error of a shape, bytes.
    pub(crate) grain: f64,
}

/// A shape on its clock, fitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fit {
    pub(crate) shape: Shape,
    pub(crate) clock: Clock,
    /// Bytes for each unit of the shape.
    pub(crate) scale: f64,
    /// Standard error of the scale, as if points were independent.
    error: f64,
    /// Value at the end of the window, the rate of requests being what it was on the mean.
    pub(crate) last: f64,
    squares: f64,
}

impl Fit {
    /// Its value at `x` windows after the window's start.
    pub(crate) fn at(&self, x: f64) -> f64 {
        self.last + self.scale * (self.shape.at(x) - self.shape.at(1.0))
    }

    /// Growth over the window.
    pub(crate) fn growth(&self) -> f64 {
        self.scale * (self.shape.at(1.0) - self.shape.at(0.0))
    }
}

/// All shapes fitted to one window.
#[derive(Debug)]
pub(crate) struct Fits {
    fits: [Option<Fit>; FITS_MAX],
    count: usize,
    /// Points that the window is worth, after neighbours that err alike.
    pub(crate) worth: f64,
    points: f64,
    best: f64,
}

/// Steps are tried at each point, the others on two clocks.
const FITS_MAX: usize =
    BUCKETS + 2 * (EXPONENTIAL.len() + LOGARITHM.len() + RAMP.len() + HINGE.len() + 4);

impl Fits {
    /// Fits every shape. At least eight points.
    pub(crate) fn of(points: &Points<'_>) -> Self {
        let n = points.floor.len();
        assert!((8..=BUCKETS).contains(&n), "a window has 8 to {BUCKETS} points");
        assert!(points.time.len() == n, "a point has two coordinates");
        let mut fits =
            Self { fits: [None; FITS_MAX], count: 0, worth: 0.0, points: n as f64, best: 0.0 };
        let target = Target::new(points);
        let shapes = [Shape::Line]
            .into_iter()
            .chain(CONVEX.map(Shape::Convex))
            .chain(HINGE.map(Shape::Hinge))
            .chain(EXPONENTIAL.map(Shape::Exponential))
            .chain(LOGARITHM.map(Shape::Logarithm))
            .chain(RAMP.map(Shape::Ramp));
        for shape in shapes {
            fits.push(target.fit(shape, Clock::Time, points.time));
            if let Some(served) = points.served {
                fits.push(target.fit(shape, Clock::Served, served));
            }
        }
        for at in &points.time[2..n - 1] {
            fits.push(target.fit(Shape::Step(*at), Clock::Time, points.time));
        }
        fits.push(Some(target.flat()));
        fits.weigh(&target, points);
        fits
    }

    fn push(&mut self, fit: Option<Fit>) {
        let Some(fit) = fit else { return };
        assert!(self.count < FITS_MAX, "room for each shape");
        self.fits[self.count] = Some(fit);
        self.count += 1;
    }

    fn weigh(&mut self, target: &Target, points: &Points<'_>) {
        let best = self.all().min_by(|a, b| a.squares.total_cmp(&b.squares)).copied();
        let Some(best) = best else { return };
        self.best = best.squares;
        let clock = match best.clock {
            Clock::Time => points.time,
            Clock::Served => points.served.unwrap_or(points.time),
        };
        let alike = target.alike(&best, clock);
        self.worth = (self.points * (1.0 - alike) / (1.0 + alike)).max(3.0);
    }

    /// Every shape.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Fit> {
        self.fits[..self.count].iter().flatten()
    }

    /// How likely the points are under this shape, compared with the best: 0 to 1.
    pub(crate) fn likelihood(&self, fit: &Fit) -> f64 {
        debug_assert!(fit.squares >= self.best, "none is better than the best");
        (fit.squares / self.best).powf(-self.worth / 2.0)
    }

    /// How many standard errors the scale of a shape is above zero.
    pub(crate) fn z(&self, fit: &Fit) -> f64 {
        fit.scale / fit.error.max(f64::MIN_POSITIVE) * (self.worth / self.points).sqrt()
    }
}

/// The floors with their mean taken out, and the rate of requests likewise.
struct Target {
    n: usize,
    mean: f64,
    floor: [f64; BUCKETS],
    rate: [f64; BUCKETS],
    rate_squares: f64,
    grain_squares: f64,
}

impl Target {
    fn new(points: &Points<'_>) -> Self {
        let n = points.floor.len();
        let mut rate = [0.0; BUCKETS];
        if let Some(given) = points.rate {
            centre(given, &mut rate);
        }
        let mut floor = [0.0; BUCKETS];
        let mean = centre(points.floor, &mut floor);
        let grain_squares = n as f64 * points.grain * points.grain;
        let rate_squares = dot(&rate, &rate);
        Self { n, mean, floor, rate, rate_squares, grain_squares }
    }

    /// A shape and its share of the rate, by least squares. The share is never below zero: a live
    /// set grows with the load and does not shrink.
    fn solve(&self, along: &[f64; BUCKETS]) -> Option<Solved> {
        let squares = dot(along, along);
        let target = dot(along, &self.floor);
        if squares <= 1e-9 {
            return None;
        }
        let plain = Solved { scale: target / squares, by_rate: 0.0, squares };
        if self.rate_squares <= 0.0 {
            return Some(plain);
        }
        let shared = dot(along, &self.rate);
        let apart = squares - shared * shared / self.rate_squares;
        let rated = dot(&self.rate, &self.floor);
        if apart <= 1e-6 * squares {
            return None; // it moves only as the rate does
        }
        let scale = (target - shared * rated / self.rate_squares) / apart;
        let by_rate = (rated - scale * shared) / self.rate_squares;
        Some(if by_rate < 0.0 { plain } else { Solved { scale, by_rate, squares: apart } })
    }

    fn errors(&self, along: &[f64; BUCKETS], solved: &Solved) -> [f64; BUCKETS] {
        let mut left = self.floor;
        for (value, (along, rate)) in left.iter_mut().zip(along.iter().zip(&self.rate)) {
            *value -= solved.scale * along + solved.by_rate * rate;
        }
        left
    }

    fn fit(&self, shape: Shape, clock: Clock, x: &[f64]) -> Option<Fit> {
        let (along, middle) = self.along(shape, x);
        let solved = self.solve(&along)?;
        let errors = self.errors(&along, &solved);
        let squares = dot(&errors, &errors) + self.grain_squares;
        let freedom = (self.n as f64 - 3.0).max(1.0);
        let last = self.mean + solved.scale * (shape.at(1.0) - middle);
        let error = (squares / freedom / solved.squares).sqrt();
        Some(Fit { shape, clock, scale: solved.scale, error, last, squares })
    }

    /// What the rate alone explains.
    fn flat(&self) -> Fit {
        let rated = dot(&self.rate, &self.floor).max(0.0);
        let by_rate = if self.rate_squares > 0.0 { rated / self.rate_squares } else { 0.0 };
        let solved = Solved { scale: 0.0, by_rate, squares: 1.0 };
        let errors = self.errors(&[0.0; BUCKETS], &solved);
        let squares = dot(&errors, &errors) + self.grain_squares;
        let (shape, clock) = (Shape::Flat, Clock::Time);
        Fit { shape, clock, scale: 0.0, error: f64::INFINITY, last: self.mean, squares }
    }

    /// The correlation of neighbouring errors of a fit, 0 to 0.95.
    /// Source for the correction of its bias: Marriott and Pope (1954).
    fn alike(&self, fit: &Fit, x: &[f64]) -> f64 {
        let (along, _) = self.along(fit.shape, x);
        let solved = self.solve(&along);
        let flat = Solved { scale: 0.0, by_rate: 0.0, squares: 1.0 };
        let solved = solved.unwrap_or(flat);
        let errors = self.errors(&along, &solved);
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

/// The shares of a shape and of the rate in the floors.
struct Solved {
    scale: f64,
    by_rate: f64,
    /// Squares of the shape beside the rate.
    squares: f64,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn best(of: impl Fn(f64) -> f64) -> Shape {
        let time: Vec<f64> = (0..48).map(|i| f64::from(i) / 47.0).collect();
        let floor: Vec<f64> = time.iter().map(|x| 1e8 + 1e8 * of(*x)).collect();
        let points =
            Points { time: &time, floor: &floor, served: None, rate: None, grain: 4_096.0 };
        let fits = Fits::of(&points);
        let best = fits.all().max_by(|a, b| fits.likelihood(a).total_cmp(&fits.likelihood(b)));
        best.unwrap().shape
    }

    #[test]
    fn each_shape_is_recognised_by_its_likelihood() {
        assert_eq!(best(|x| x), Shape::Line);
        assert_eq!(best(|x| x.powf(2.2)), Shape::Convex(2.2));
        assert_eq!(best(|x| 1.0 - (-x / 0.35).exp()), Shape::Exponential(0.35));
        assert_eq!(best(|x| (1.0 + x / 0.15).ln()), Shape::Logarithm(0.15));
        assert_eq!(best(|x| x.min(0.6)), Shape::Ramp(0.6));
        assert!(matches!(best(|x| if x < 0.5 { 0.0 } else { 1.0 }), Shape::Step(_)));
    }

    #[test]
    fn memory_that_follows_the_rate_has_no_growth_of_its_own() {
        let time: Vec<f64> = (0..32).map(|i| f64::from(i) / 31.0).collect();
        let rate: Vec<f64> = time.iter().map(|x| if *x < 0.6 { 10.0 } else { 30.0 }).collect();
        let wave = |i: usize| if i.is_multiple_of(2) { 1e5 } else { -1e5 };
        let floor: Vec<f64> =
            rate.iter().enumerate().map(|(i, r)| 1e8 + 4e6 * r + wave(i)).collect();
        let mut points =
            Points { time: &time, floor: &floor, served: None, rate: Some(&rate), grain: 4_096.0 };
        let z = |points: &Points<'_>| {
            let fits = Fits::of(points);
            fits.z(fits.all().find(|fit| fit.shape == Shape::Line).unwrap())
        };
        assert!(z(&points) < 3.0, "{}", z(&points));
        points.rate = None;
        assert!(z(&points) > 5.0, "{}", z(&points));
    }
}
