//! Families of minutes at a reading a second or so, as an agent beside a process sees them.
//!
//! Owns: short traces. Refuses: days. Invariant: as in the other families, leaky ones end at the
//! limit and healthy ones do not.

use crate::families::{base, leaks_from, saturating, service};
use crate::leaky::teeth;
use crate::plan::{Draw, MB, Plan, Tick};

/// A small process in a small container under even load, watched once a second.
fn process(draw: &mut Draw) -> (Plan, f64) {
    let mut plan = service(draw);
    let from = draw.log(25.0, 120.0) * MB;
    plan.limit = from + draw.log(100.0, 900.0) * MB;
    plan.step_s = 1;
    plan.length_s = 1_800.0;
    plan.load.swing = 0.0;
    plan.load.mean = draw.log(20.0, 300.0);
    let scale = from / base(&plan);
    plan.noise.white *= scale;
    plan.noise.wander *= scale;
    plan.noise.wander_s = draw.log(5.0, 60.0);
    plan.noise.tooth = from * draw.even(0.0, 0.3);
    plan.noise.tooth_s = draw.log(3.0, 30.0);
    (plan, from)
}

/// What a runtime loads and compiles in its first seconds under load.
fn start(draw: &mut Draw, from: f64) -> impl Fn(f64) -> f64 + use<> {
    let height = from * draw.even(0.2, 0.7);
    let tau = draw.log(2.0, 20.0);
    move |age| -height * (-age / tau).exp()
}

pub(crate) fn leak(draw: &mut Draw) -> Plan {
    let (plan, from) = process(draw);
    let rate = (plan.limit - from) / draw.log(240.0, 1_700.0);
    let start = start(draw, from);
    let shape = move |tick: &Tick| from + start(tick.age) + rate * tick.age;
    leaks_from(Plan { shape: Box::new(shape), ..plan }, 0.0)
}

pub(crate) fn late_leak(draw: &mut Draw) -> Plan {
    let (plan, from) = process(draw);
    let onset = draw.log(20.0, 400.0).floor();
    let rate = (plan.limit - from) / draw.log(240.0, 1_300.0);
    let start = start(draw, from);
    let shape = move |tick: &Tick| from + start(tick.age) + rate * (tick.age - onset).max(0.0);
    leaks_from(Plan { shape: Box::new(shape), ..plan }, onset)
}

pub(crate) fn cache(draw: &mut Draw) -> Plan {
    let (plan, from) = process(draw);
    let room = (plan.limit - from) * draw.even(0.05, 0.4);
    let fills = draw.log(30.0, 400.0);
    let rounded = draw.chance(0.5);
    let start = start(draw, from);
    let shape = move |tick: &Tick| {
        let full = if rounded { saturating(tick.age, fills) } else { (tick.age / fills).min(1.0) };
        from + start(tick.age) + room * full
    };
    Plan { shape: Box::new(shape), ..plan }
}

pub(crate) fn warm_up(draw: &mut Draw) -> Plan {
    let (plan, from) = process(draw);
    let room = ((plan.limit - from) * draw.even(0.1, 0.5)).min(2.0 * from);
    let tau = draw.log(10.0, 200.0);
    let shape = move |tick: &Tick| from + room * saturating(tick.age, tau);
    Plan { shape: Box::new(shape), ..plan }
}

pub(crate) fn sawtooth(draw: &mut Draw) -> Plan {
    let (plan, from) = process(draw);
    let height = ((plan.limit - from) * draw.even(0.1, 0.4)).min(2.0 * from);
    let period = draw.log(10.0, 240.0);
    let start = start(draw, from);
    let shape = move |tick: &Tick| from + start(tick.age) + teeth(tick.age, period, height);
    Plan { shape: Box::new(shape), ..plan }
}
