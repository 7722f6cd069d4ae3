//! From a plan to a trace: load, noise, collector, restarts, and the end.
//!
//! Owns: everything that all families have in common. Refuses: shapes of memory, which are the
//! families'. Invariant: the shape is a pure function of the moment, so that the end of a leak can
//! be computed beyond the last row.

use crate::trace::{Cut, Row, Trace, Truth};

pub(crate) const MB: f64 = 1_000_000.0;
pub(crate) const HOUR: f64 = 3_600.0;
pub(crate) const DAY: f64 = 24.0 * HOUR;
/// An end is looked for up to this time.
const HORIZON_S: f64 = 120.0 * DAY;

/// A moment of a life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    /// Seconds since the trace began.
    pub(crate) t: f64,
    /// Seconds since the life began.
    pub(crate) age: f64,
    /// Requests a second now.
    pub(crate) rate: f64,
    /// Requests served by this life.
    pub(crate) served: f64,
}

/// Resident bytes at a moment, before noise.
pub(crate) type Shape = Box<dyn Fn(&Tick) -> f64>;

/// Requests a second over the day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) mean: f64,
    /// Share of the mean by which the day swings.
    pub(crate) swing: f64,
    /// When the day peaks, seconds.
    pub(crate) peak_s: f64,
    /// The load is multiplied by `ramp.2` linearly from `ramp.0` to `ramp.1`, seconds.
    pub(crate) ramp: (f64, f64, f64),
}

impl Load {
    fn rate(&self, t: f64) -> f64 {
        let day = ((t - self.peak_s) / DAY * std::f64::consts::TAU).cos();
        let (from, until, factor) = self.ramp;
        let along = ((t - from) / (until - from)).clamp(0.0, 1.0);
        self.mean * (1.0 + self.swing * day) * (1.0 + (factor - 1.0) * along)
    }
}

/// What the value of a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Resident bytes: a process has a megabyte at least.
    Bytes,
    /// A count: a process has one at least.
    Count,
}

impl Unit {
    fn row(self, value: f64) -> u64 {
        match self {
            Self::Bytes => value.max(MB) as u64,
            Self::Count => value.round().max(1.0) as u64,
        }
    }
}

/// How the runtime's heap goes with resident memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Heap {
    /// There is none.
    None,
    /// It is this share of what is resident.
    Follows(f64),
    /// It stays at this size whatever is resident.
    Flat(f64),
}

/// Noise around the shape, bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise {
    /// Independent from reading to reading.
    pub(crate) white: f64,
    /// Wandering, with the memory of `wander_s` seconds.
    pub(crate) wander: f64,
    pub(crate) wander_s: f64,
    /// Teeth of a collector: height and period.
    pub(crate) tooth: f64,
    pub(crate) tooth_s: f64,
}

/// What is true, before the end is computed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Label {
    Healthy,
    Leaks { onset_s: f64, cut: Cut },
}

/// A trace to be drawn.
pub(crate) struct Plan {
    pub(crate) step_s: u64,
    pub(crate) length_s: f64,
    pub(crate) limit: f64,
    pub(crate) unit: Unit,
    pub(crate) shape: Shape,
    pub(crate) load: Load,
    pub(crate) heap: Heap,
    pub(crate) noise: Noise,
    /// When a new life begins, seconds, ascending.
    pub(crate) restarts: Vec<f64>,
    pub(crate) label: Label,
}

/// The seeded source of everything that differs between traces of a family.
pub(crate) struct Draw(pub(crate) fastrand::Rng);

impl Draw {
    /// Even between two values.
    pub(crate) fn even(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.f64()
    }

    /// Even on a logarithmic scale.
    pub(crate) fn log(&mut self, low: f64, high: f64) -> f64 {
        (low.ln() + (high.ln() - low.ln()) * self.0.f64()).exp()
    }

    /// Normal, by the sum of twelve (Irwin and Hall).
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.0.f64()).sum::<f64>() - 6.0
    }

    /// True in this share of cases.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        self.0.f64() < share
    }
}

impl Plan {
    /// Draws the rows.
    pub(crate) fn trace(self, family: &'static str, seed: u64, draw: &mut Draw) -> Trace {
        let seen = (draw.chance(0.6), draw.chance(0.85));
        self.seen(family, seed, seen, draw)
    }

    /// The same where it is given whether its heap and its requests are known. Draws come after one
    /// another: those of `trace` stay what they are.
    pub(crate) fn seen(
        self,
        family: &'static str,
        seed: u64,
        (has_heap, has_requests): (bool, bool),
        draw: &mut Draw,
    ) -> Trace {
        let truth = self.truth();
        let last_s = match truth {
            Truth::Leak { end_s, cut: Cut::Never, .. } => end_s.min(self.length_s),
            Truth::Leak { cut: Cut::ByRestarts, .. } | Truth::Healthy => self.length_s,
        };
        let mut rows = Vec::new();
        let mut wander = 0.0;
        let mut counted = 0.0;
        let mut life = 0;
        let keep = (-(self.step_s as f64) / self.noise.wander_s).exp();
        let tooth_phase = draw.even(0.0, self.noise.tooth_s);
        self.walk(0.0, &self.restarts, |tick, number| {
            if tick.t > last_s {
                return Walk::Stop;
            }
            if number != life {
                (life, counted) = (number, 0.0);
            }
            wander = keep * wander + (1.0 - keep * keep).sqrt() * draw.normal();
            let tooth = (tick.t + tooth_phase).rem_euclid(self.noise.tooth_s) / self.noise.tooth_s;
            let noise = self.noise.white * draw.normal()
                + self.noise.wander * wander
                + self.noise.tooth * tooth;
            let shape = (self.shape)(tick);
            let expected = tick.rate * self.step_s as f64;
            counted += (expected + expected.sqrt() * draw.normal()).max(0.0);
            let heap = match self.heap {
                Heap::None => None,
                Heap::Follows(share) => Some(share * shape + 0.8 * noise),
                Heap::Flat(level) => Some(level + 0.8 * noise),
            };
            rows.push(Row {
                t_s: tick.t as u64,
                life,
                rss: self.unit.row(shape + noise),
                heap: heap.filter(|_| has_heap).map(|heap| Unit::Bytes.row(heap)),
                requests: has_requests.then_some(counted as u64),
                limit: self.limit as u64,
            });
            Walk::On
        });
        Trace { family, seed, step_s: self.step_s, truth, rows }
    }

    fn truth(&self) -> Truth {
        let Label::Leaks { onset_s, cut } = self.label else { return Truth::Healthy };
        // Restarts after the onset hide the end: it is where memory would be without them.
        let before: Vec<f64> = self.restarts.iter().copied().filter(|at| *at <= onset_s).collect();
        let mut end_s = HORIZON_S;
        // A reading at the limit ends a process: the top of a tooth, the edge of the noise.
        let above = self.noise.tooth + 2.0 * self.noise.white.hypot(self.noise.wander);
        self.walk(onset_s, &before, |tick, _| {
            if (self.shape)(tick) + above < self.limit {
                return Walk::On;
            }
            end_s = tick.t;
            Walk::Stop
        });
        Truth::Leak { onset_s, end_s, cut }
    }

    /// Goes through time, life by life. `see` is called from `from_s` on.
    fn walk(&self, from_s: f64, restarts: &[f64], mut see: impl FnMut(&Tick, u32) -> Walk) {
        let step = self.step_s as f64;
        let (mut t, mut born, mut served, mut life) = (0.0, 0.0, 0.0, 0_usize);
        while t < HORIZON_S {
            if restarts.get(life).is_some_and(|at| t >= *at) {
                (born, served, life) = (t, 0.0, life + 1);
            }
            let rate = self.load.rate(t);
            let tick = Tick { t, age: t - born, rate, served };
            if t >= from_s && matches!(see(&tick, life as u32), Walk::Stop) {
                return;
            }
            served += rate * step;
            t += step;
        }
    }
}

enum Walk {
    On,
    Stop,
}
