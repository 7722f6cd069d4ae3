//! The families: shapes of memory that services have, each with its answer.
//!
//! Owns: the table, and what all services draw alike (limit, base, load, noise).
//! Refuses: the shapes themselves ([`crate::leaky`], [`crate::healthy`], [`crate::live`]).
//! Invariant: a family's parameters are drawn over wide ranges, not at values that suit a detector.

use crate::plan::{DAY, Draw, HOUR, Heap, Label, Load, MB, Noise, Plan, Unit};
use crate::trace::{Cut, Trace};
use crate::{healthy, leaky, live};

/// What a family's traces are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They leak.
    Leaky,
    /// They do not.
    Healthy,
}

/// Traces of one shape.
pub struct Family {
    /// Its name in tables.
    pub name: &'static str,
    /// Whether it leaks.
    pub kind: Kind,
    make: fn(&mut Draw) -> Plan,
}

impl Family {
    pub(crate) const fn new(name: &'static str, kind: Kind, make: fn(&mut Draw) -> Plan) -> Self {
        Self { name, kind, make }
    }

    /// The trace of a seed.
    pub fn trace(&self, seed: u64) -> Trace {
        // The name enters, so that families do not share their draws.
        let name = self.name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut draw = Draw(fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9) ^ name));
        let plan = (self.make)(&mut draw);
        plan.trace(self.name, seed, &mut draw)
    }
}

const fn leaky(name: &'static str, make: fn(&mut Draw) -> Plan) -> Family {
    Family { name, kind: Kind::Leaky, make }
}

const fn healthy(name: &'static str, make: fn(&mut Draw) -> Plan) -> Family {
    Family { name, kind: Kind::Healthy, make }
}

/// Every family.
pub const FAMILIES: &[Family] = &[
    leaky("linear_fast", leaky::linear_fast),
    leaky("linear_medium", leaky::linear_medium),
    leaky("slow", leaky::slow),
    leaky("per_request_diurnal", leaky::per_request_diurnal),
    leaky("steps", leaky::steps),
    leaky("under_big_sawtooth", leaky::under_big_sawtooth),
    leaky("after_a_deploy", leaky::after_a_deploy),
    leaky("onset_without_restart", leaky::onset_without_restart),
    leaky("warm_up_then_leak", leaky::warm_up_then_leak),
    leaky("hidden_by_restarts", leaky::hidden_by_restarts),
    leaky("hidden_every_20_min", leaky::hidden_every_20_min),
    leaky("native_flat_heap", leaky::native_flat_heap),
    leaky("accelerating", leaky::accelerating),
    leaky("live_leak", live::leak),
    leaky("live_late_leak", live::late_leak),
    healthy("flat_noisy", healthy::flat_noisy),
    healthy("gc_sawtooth", healthy::gc_sawtooth),
    healthy("long_sawtooth", healthy::long_sawtooth),
    healthy("warm_up", healthy::warm_up),
    healthy("cache_saturating", healthy::cache_saturating),
    healthy("cache_filled_evenly", healthy::cache_filled_evenly),
    healthy("page_cache_rotated", healthy::page_cache_rotated),
    healthy("fragmentation", healthy::fragmentation),
    healthy("diurnal_live_set", healthy::diurnal_live_set),
    healthy("deploy_restarts", healthy::deploy_restarts),
    healthy("restarts_every_20_min", healthy::restarts_every_20_min),
    healthy("one_step", healthy::one_step),
    healthy("traffic_ramp", healthy::traffic_ramp),
    healthy("batch_spikes", healthy::batch_spikes),
    healthy("high_steady", healthy::high_steady),
    healthy("heap_fills_to_its_own_limit", healthy::heap_fills),
    healthy("live_cache", live::cache),
    healthy("live_warm_up", live::warm_up),
    healthy("live_sawtooth", live::sawtooth),
];

/// A flat, noisy service over three days at a reading a minute: what families change.
pub(crate) fn service(draw: &mut Draw) -> Plan {
    let limit = [512.0, 1_024.0, 2_048.0, 4_096.0][draw.0.usize(0..4)] * 1_048_576.0;
    let base = limit * draw.even(0.15, 0.45);
    let load = Load {
        mean: draw.log(2.0, 200.0),
        swing: draw.even(0.0, 0.8),
        peak_s: draw.even(0.0, DAY),
        ramp: (0.0, 1.0, 1.0),
    };
    let noise = Noise {
        white: base * draw.log(0.002, 0.015),
        wander: base * draw.log(0.001, 0.015),
        wander_s: draw.log(120.0, 2.0 * HOUR),
        tooth: if draw.chance(0.5) { base * draw.even(0.0, 0.1) } else { 0.0 },
        tooth_s: draw.log(150.0, HOUR),
    };
    Plan {
        step_s: 60,
        length_s: 3.0 * DAY,
        limit,
        unit: Unit::Bytes,
        shape: Box::new(move |_| base),
        load,
        heap: Heap::Follows(draw.even(0.4, 0.8)),
        noise,
        restarts: Vec::new(),
        label: Label::Healthy,
    }
}

/// What the plan's service holds before its family adds to it, bytes.
pub(crate) fn base(plan: &Plan) -> f64 {
    (plan.shape)(&crate::plan::Tick { t: 0.0, age: 0.0, rate: 0.0, served: 0.0 })
}

/// The plan leaks from `onset_s` on.
pub(crate) fn leaks_from(plan: Plan, onset_s: f64) -> Plan {
    Plan { label: Label::Leaks { onset_s, cut: Cut::Never }, ..plan }
}

/// The start-up of a process: what it loads in its first minutes, bytes.
pub(crate) fn start_up(draw: &mut Draw, base: f64) -> impl Fn(f64) -> f64 + use<> {
    let height = base * draw.even(0.05, 0.3);
    let tau = draw.log(30.0, 600.0);
    move |age| -height * (-age / tau).exp()
}

/// Times between `every.0` and `every.1` seconds apart.
pub(crate) fn times(draw: &mut Draw, every: (f64, f64), until: f64) -> Vec<f64> {
    let mut times = Vec::new();
    let mut t = draw.even(every.0, every.1);
    while t < until {
        times.push(t);
        t += draw.even(every.0, every.1);
    }
    times
}

/// A saw: rises from 0 to 1 in `period` and falls back.
pub(crate) fn saw(t: f64, period: f64) -> f64 {
    t.rem_euclid(period) / period
}

/// Approaches 1 with the time constant `tau`.
pub(crate) fn saturating(t: f64, tau: f64) -> f64 {
    1.0 - (-t / tau).exp()
}

/// At least a megabyte.
pub(crate) fn positive(value: f64) -> f64 {
    value.max(MB)
}
