//! Families that leak.
//!
//! Owns: how a leak looks from outside. Refuses: noise and load, which the plan has.
//! Invariant: each leak, left alone, ends at the limit.

use crate::families::{base, leaks_from, saturating, saw, service, start_up, times};
use crate::plan::{DAY, Draw, HOUR, Heap, Label, MB, Plan};
use crate::trace::Cut;

/// A service that is at its limit `hours` after its leak began at age 0.
fn linear(draw: &mut Draw, hours: (f64, f64)) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let rate = (plan.limit - from) / (draw.log(hours.0, hours.1) * HOUR);
    let start = start_up(draw, from);
    let shape = Box::new(move |tick: &crate::plan::Tick| from + start(tick.age) + rate * tick.age);
    leaks_from(Plan { shape, ..plan }, 0.0)
}

pub(crate) fn linear_fast(draw: &mut Draw) -> Plan {
    linear(draw, (4.0, 24.0))
}

pub(crate) fn linear_medium(draw: &mut Draw) -> Plan {
    linear(draw, (24.0, 70.0))
}

pub(crate) fn slow(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let rate = draw.log(0.7, 3.0) * MB / HOUR;
    let start = start_up(draw, from);
    let shape = Box::new(move |tick: &crate::plan::Tick| from + start(tick.age) + rate * tick.age);
    leaks_from(Plan { shape, ..plan }, 0.0)
}

pub(crate) fn per_request_diurnal(draw: &mut Draw) -> Plan {
    let mut plan = service(draw);
    plan.load.swing = draw.even(0.4, 0.95);
    let from = base(&plan);
    let each = (plan.limit - from) / (plan.load.mean * draw.log(10.0, 65.0) * HOUR);
    let start = start_up(draw, from);
    let shape =
        Box::new(move |tick: &crate::plan::Tick| from + start(tick.age) + each * tick.served);
    leaks_from(Plan { shape, ..plan }, 0.0)
}

pub(crate) fn steps(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let end = draw.log(12.0, 65.0) * HOUR;
    let every = end / draw.even(12.0, 60.0);
    let at = times(draw, (0.5 * every, 1.5 * every), 100.0 * DAY.max(end));
    let size = (plan.limit - from) / (end / every);
    let shape = Box::new(move |tick: &crate::plan::Tick| {
        from + size * at.partition_point(|step| *step <= tick.age) as f64
    });
    leaks_from(Plan { shape, ..plan }, 0.0)
}

pub(crate) fn under_big_sawtooth(draw: &mut Draw) -> Plan {
    let mut plan = linear(draw, (10.0, 60.0));
    let from = base(&plan);
    plan.noise.tooth = from * draw.even(0.2, 0.6);
    plan.noise.tooth_s = draw.log(600.0, 3.0 * HOUR);
    plan
}

pub(crate) fn after_a_deploy(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let deploy = draw.even(8.0, 36.0) * HOUR;
    let rate = (plan.limit - from) / (draw.log(6.0, 60.0) * HOUR);
    let start = start_up(draw, from);
    let shape = Box::new(move |tick: &crate::plan::Tick| {
        let leaked = if tick.t >= deploy { rate * tick.age } else { 0.0 };
        from + start(tick.age) + leaked
    });
    leaks_from(Plan { shape, restarts: vec![deploy], ..plan }, deploy)
}

pub(crate) fn onset_without_restart(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let onset = draw.even(6.0, 40.0) * HOUR;
    let rate = (plan.limit - from) / (draw.log(6.0, 60.0) * HOUR);
    let start = start_up(draw, from);
    let shape = Box::new(move |tick: &crate::plan::Tick| {
        from + start(tick.age) + rate * (tick.t - onset).max(0.0)
    });
    leaks_from(Plan { shape, ..plan }, onset)
}

pub(crate) fn warm_up_then_leak(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let warm = from * draw.even(0.1, 0.5);
    let tau = draw.log(0.1, 1.5) * HOUR;
    let rate = (plan.limit - from) / (draw.log(12.0, 60.0) * HOUR);
    let shape = Box::new(move |tick: &crate::plan::Tick| {
        from - warm + warm * saturating(tick.age, tau) + rate * tick.age
    });
    leaks_from(Plan { shape, ..plan }, 0.0)
}

/// A leak that restarts cut short before anyone sees it.
fn hidden(plan: Plan, restarts: Vec<f64>) -> Plan {
    let label = Label::Leaks { onset_s: 0.0, cut: Cut::ByRestarts };
    Plan { restarts, label, ..plan }
}

pub(crate) fn hidden_by_restarts(draw: &mut Draw) -> Plan {
    let plan = linear(draw, (20.0, 80.0));
    let restarts = times(draw, (8.0 * HOUR, 16.0 * HOUR), plan.length_s);
    hidden(plan, restarts)
}

pub(crate) fn hidden_every_20_min(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let rate = (plan.limit - from) / (draw.log(1.5, 8.0) * HOUR);
    // What restarts every 20 minutes has started up in a few of them.
    let (height, tau) = (from * draw.even(0.05, 0.3), draw.log(5.0, 120.0));
    let shape = Box::new(move |tick: &crate::plan::Tick| {
        from - height * (-tick.age / tau).exp() + rate * tick.age
    });
    let mut plan = leaks_from(Plan { shape, ..plan }, 0.0);
    plan.step_s = [5, 10, 30, 60][draw.0.usize(0..4)];
    plan.length_s = 6.0 * HOUR;
    let restarts = times(draw, (1_200.0, 1_200.1), plan.length_s);
    hidden(plan, restarts)
}

pub(crate) fn native_flat_heap(draw: &mut Draw) -> Plan {
    let plan = linear(draw, (6.0, 60.0));
    let heap = Heap::Flat(base(&plan) * draw.even(0.4, 0.8));
    Plan { heap, ..plan }
}

pub(crate) fn accelerating(draw: &mut Draw) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let end = draw.log(8.0, 60.0) * HOUR;
    let power = draw.even(1.5, 2.5);
    let room = plan.limit - from;
    let shape =
        Box::new(move |tick: &crate::plan::Tick| from + room * (tick.age / end).powf(power));
    leaks_from(Plan { shape, ..plan }, 0.0)
}

/// A saw of whole teeth, for families that need one in their shape.
pub(crate) fn teeth(age: f64, period: f64, height: f64) -> f64 {
    height * saw(age, period)
}
