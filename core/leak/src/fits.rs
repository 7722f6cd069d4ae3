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

use crate::regress::Target;
use crate::series::BUCKETS;

/// Time constants of exponential approaches, in windows. Where readings are calm, the distance
/// between neighbours is an error of its own: they stand close.
pub(crate) const EXPONENTIAL: [f64; 14] =
    [0.04, 0.06, 0.09, 0.13, 0.18, 0.25, 0.35, 0.48, 0.66, 0.9, 1.25, 1.7, 2.4, 3.4];
/// Time constants of logarithms, in windows.
pub(crate) const LOGARITHM: [f64; 6] = [0.02, 0.06, 0.15, 0.4, 1.0, 2.5];
/// Where a ramp ends, in windows.
pub(crate) const RAMP: [f64; 8] = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.88, 0.94];
/// Exponents of growth that gets faster.
pub(crate) const CONVEX: [f64; 4] = [1.3, 1.6, 2.0, 2.6];
/// Where late growth begins, in windows.
pub(crate) const HINGE: [f64; 8] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];

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
    pub(crate) error: f64,
    /// Value at the end of the window, the rate of requests being what it was on the mean.
    pub(crate) last: f64,
    pub(crate) squares: f64,
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
const FITS_MAX: usize = BUCKETS
    + 2 * (EXPONENTIAL.len() + LOGARITHM.len() + RAMP.len() + HINGE.len() + CONVEX.len() + 1);

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
        for at in 2..n - 1 {
            fits.push(target.step(at, points.time));
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
        assert_eq!(best(|x| x.powf(2.0)), Shape::Convex(2.0));
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
