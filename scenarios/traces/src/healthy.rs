//! Families that do not leak, however much they grow.
//!
//! Owns: what looks like a leak and is none. Refuses: noise and load, which the plan has.
//! Invariant: none of them ever reaches its limit.

use crate::families::{base, positive, saturating, service, start_up, times};
use crate::leaky::teeth;
use crate::plan::{DAY, Draw, HOUR, Heap, Plan, Tick};

pub(crate) fn flat_noisy(draw: &mut Draw) -> Plan {
    let mut plan = service(draw);
    let from = base(&plan);
    plan.noise.white = from * draw.log(0.01, 0.06);
    plan.noise.wander = from * draw.log(0.005, 0.04);
    plan.noise.wander_s = draw.log(300.0, 6.0 * HOUR);
    let start = start_up(draw, from);
    Plan { shape: Box::new(move |tick| from + start(tick.age)), ..plan }
}

pub(crate) fn gc_sawtooth(draw: &mut Draw) -> Plan {
    let mut plan = service(draw);
    let from = base(&plan);
    plan.noise.tooth = from * draw.even(0.2, 0.8);
    plan.noise.tooth_s = draw.log(180.0, HOUR);
    plan
}

pub(crate) fn long_sawtooth(draw: &mut Draw) -> Plan {
    let mut plan = service(draw);
    let from = base(&plan);
    let period = draw.log(2.0, 20.0) * HOUR;
    let height = (plan.limit - from) * draw.even(0.1, 0.45);
    plan.heap = Heap::Follows(0.7);
    let start = start_up(draw, from);
    let shape = move |tick: &Tick| from + start(tick.age) + teeth(tick.age, period, height);
    Plan { shape: Box::new(shape), ..plan }
}

pub(crate) fn warm_up(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let tau = draw.log(1.0, 10.0) * HOUR / 2.0;
    let height = (plan.limit - from) * draw.even(0.1, 0.5);
    let shape = move |tick: &Tick| from + height * saturating(tick.age, tau);
    Plan { shape: Box::new(shape), ..plan }
}

pub(crate) fn cache_saturating(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let room = (plan.limit - from) * draw.even(0.15, 0.6);
    let fills = plan.load.mean * draw.log(1.0, 14.0) * HOUR;
    let shape = move |tick: &Tick| from + room * saturating(tick.served, fills);
    Plan { shape: Box::new(shape), ..plan }
}

pub(crate) fn cache_filled_evenly(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let room = (plan.limit - from) * draw.even(0.1, 0.45);
    let fills = plan.load.mean * draw.log(0.3, 14.0) * HOUR;
    let start = start_up(draw, from);
    let shape =
        move |tick: &Tick| from + start(tick.age) + room * (tick.served / fills).clamp(0.0, 1.0);
    Plan { shape: Box::new(shape), ..plan }
}

pub(crate) fn page_cache_rotated(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let period = draw.log(4.0, 24.0) * HOUR;
    let phase = draw.even(0.0, period);
    let height = (plan.limit - from) * draw.even(0.1, 0.4);
    let heap = Heap::Flat(from * draw.even(0.4, 0.8));
    let shape = move |tick: &Tick| from + teeth(tick.t + phase, period, height);
    Plan { shape: Box::new(shape), heap, ..plan }
}

pub(crate) fn fragmentation(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let tau = draw.log(0.3, 3.0) * HOUR;
    let whole = draw.even(20.0, 60.0) * HOUR;
    let height = (plan.limit - from) * draw.even(0.15, 0.5);
    let heap = Heap::Flat(from * draw.even(0.4, 0.8));
    let shape = move |tick: &Tick| {
        from + height * (1.0 + tick.age.min(whole) / tau).ln() / (1.0 + whole / tau).ln()
    };
    Plan { shape: Box::new(shape), heap, ..plan }
}

pub(crate) fn diurnal_live_set(draw: &mut Draw) -> Plan {
    let mut plan = service(draw);
    plan.load.swing = draw.even(0.4, 0.95);
    let from = base(&plan);
    let each = (plan.limit - from) * draw.even(0.1, 0.35) / plan.load.mean;
    Plan { shape: Box::new(move |tick| from + each * tick.rate), ..plan }
}

pub(crate) fn deploy_restarts(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let tau = draw.log(0.2, 3.0) * HOUR;
    let height = (plan.limit - from) * draw.even(0.05, 0.4);
    let restarts = times(draw, (6.0 * HOUR, 20.0 * HOUR), plan.length_s);
    let shape = move |tick: &Tick| from + height * saturating(tick.age, tau);
    Plan { shape: Box::new(shape), restarts, ..plan }
}

pub(crate) fn restarts_every_20_min(draw: &mut Draw) -> Plan {
    let mut plan = service(draw);
    plan.step_s = [5, 10, 30, 60][draw.0.usize(0..4)];
    plan.length_s = 6.0 * HOUR;
    let from = base(&plan);
    let tau = draw.log(20.0, 500.0);
    let height = from * draw.even(0.1, 0.6);
    let restarts = times(draw, (1_200.0, 1_200.1), plan.length_s);
    let shape = move |tick: &Tick| positive(from - height * (-tick.age / tau).exp());
    Plan { shape: Box::new(shape), restarts, ..plan }
}

pub(crate) fn one_step(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let at = draw.even(4.0, 60.0) * HOUR;
    let size = (plan.limit - from) * draw.even(0.1, 0.5);
    let over = draw.log(60.0, 1_800.0);
    let shape = move |tick: &Tick| from + size * ((tick.t - at) / over).clamp(0.0, 1.0);
    Plan { shape: Box::new(shape), ..plan }
}

pub(crate) fn traffic_ramp(draw: &mut Draw) -> Plan {
    let mut plan = service(draw);
    let from = base(&plan);
    let begin = draw.even(4.0, 36.0) * HOUR;
    let length = draw.log(1.0, 30.0) * HOUR;
    let factor = draw.even(1.8, 4.0);
    plan.load.swing = draw.even(0.0, 0.4);
    plan.load.ramp = (begin, begin + length, factor);
    let each = (plan.limit - from) * draw.even(0.2, 0.55) / (plan.load.mean * factor);
    Plan { shape: Box::new(move |tick| from + each * tick.rate), ..plan }
}

pub(crate) fn batch_spikes(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let every = [DAY, 12.0 * HOUR, 6.0 * HOUR, HOUR][draw.0.usize(0..4)];
    let length = draw.even(0.05, 0.25) * every;
    let phase = draw.even(0.0, every);
    let size = (plan.limit - from) * draw.even(0.2, 0.6);
    let rises = draw.log(60.0, 0.5 * length);
    let shape = move |tick: &Tick| {
        let into = (tick.t + phase).rem_euclid(every);
        let there = if into < length { (into / rises).min(1.0) } else { 0.0 };
        from + size * there
    };
    Plan { shape: Box::new(shape), ..plan }
}

pub(crate) fn high_steady(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let high = plan.limit * draw.even(0.74, 0.9);
    let start = start_up(draw, high);
    let mut plan = plan;
    plan.noise.white = high * draw.log(0.001, 0.008);
    plan.noise.wander = high * draw.log(0.001, 0.008);
    plan.noise.tooth = plan.noise.tooth.min(0.05 * (plan.limit - high));
    Plan { shape: Box::new(move |tick| high + start(tick.age)), ..plan }
}

pub(crate) fn heap_fills(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let full = plan.limit * draw.even(0.6, 0.85);
    let fills = draw.log(0.2, 5.0) * HOUR;
    let back = draw.even(0.1, 0.5) * (full - from);
    // It rises to the heap's own limit, the more often collected the nearer it comes, and from then
    // on saws below it.
    let effort = draw.even(1.0, 2.5);
    let shape = move |tick: &Tick| {
        if tick.age < fills {
            return full - (full - from) * (1.0 - tick.age / fills).powf(effort);
        }
        full - back + back * ((tick.age - fills) / (0.4 * fills)).rem_euclid(1.0)
    };
    Plan { shape: Box::new(shape), ..plan }
}
