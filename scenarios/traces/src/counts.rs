//! Families of counts: open descriptors and threads.
//!
//! Owns: how they grow and what only looks like it. Refuses: noise beyond requests that come and
//! go. Invariant: as in the families of memory: leaky ones end at their limit, healthy ones never
//! reach it. The value of a row is the count.

use stent_leak::Counted;

use crate::families::{Family, Kind, leaks_from, saturating, times};
use crate::plan::{DAY, Draw, HOUR, Heap, Label, Load, Noise, Plan, Tick, Unit};

/// Traces of one shape, and what is counted in them.
pub struct CountFamily {
    /// What is counted.
    pub counted: Counted,
    /// The traces.
    pub family: Family,
}

const fn open(name: &'static str, kind: Kind, make: fn(&mut Draw) -> Plan) -> CountFamily {
    CountFamily { counted: Counted::Descriptors, family: Family::new(name, kind, make) }
}

const fn running(name: &'static str, kind: Kind, make: fn(&mut Draw) -> Plan) -> CountFamily {
    CountFamily { counted: Counted::Threads, family: Family::new(name, kind, make) }
}

/// Every family of counts.
pub const COUNT_FAMILIES: &[CountFamily] = &[
    open("descriptors_by_time", Kind::Leaky, by_time),
    open("descriptors_by_request", Kind::Leaky, by_request),
    open("descriptors_by_burst_of_errors", Kind::Leaky, by_burst),
    open("descriptors_after_a_deploy", Kind::Leaky, after_a_deploy),
    running("threads_by_time", Kind::Leaky, threads_by_time),
    running("threads_by_stuck_request", Kind::Leaky, threads_stuck),
    open("descriptors_steady", Kind::Healthy, steady),
    open("descriptors_with_the_load", Kind::Healthy, with_the_load),
    open("pool_fills", Kind::Healthy, pool_fills),
    open("pool_fills_evenly", Kind::Healthy, pool_fills_evenly),
    open("descriptors_in_batches", Kind::Healthy, batches),
    running("workers_up_to_their_number", Kind::Healthy, workers),
    running("threads_steady", Kind::Healthy, threads_steady),
    open("descriptors_restarts", Kind::Healthy, restarts),
];

/// A service with a few dozen descriptors, watched each minute for three days.
fn service(draw: &mut Draw, base: (f64, f64), limits: [f64; 4]) -> (Plan, f64) {
    let from = draw.log(base.0, base.1).floor();
    let load = Load {
        mean: draw.log(2.0, 200.0),
        swing: draw.even(0.0, 0.8),
        peak_s: draw.even(0.0, DAY),
        ramp: (0.0, 1.0, 1.0),
    };
    // Requests in flight: some at each moment, more with the load.
    let busy = from * draw.log(0.02, 0.4);
    let noise = Noise {
        white: busy * 0.3,
        wander: busy * draw.even(0.0, 0.3),
        wander_s: draw.log(120.0, HOUR),
        tooth: 0.0,
        tooth_s: HOUR,
    };
    let limit = limits[draw.0.usize(0..limits.len())];
    let plan = Plan {
        step_s: 60,
        length_s: 3.0 * DAY,
        limit,
        unit: Unit::Count,
        shape: Box::new(move |tick: &Tick| from + busy * tick.rate / load.mean),
        load,
        heap: Heap::None,
        noise,
        restarts: Vec::new(),
        label: Label::Healthy,
    };
    (plan, from)
}

fn descriptors(draw: &mut Draw) -> (Plan, f64) {
    service(draw, (25.0, 300.0), [1_024.0, 4_096.0, 16_384.0, 65_536.0])
}

fn threads(draw: &mut Draw) -> (Plan, f64) {
    let (mut plan, from) = service(draw, (6.0, 120.0), [1_000.0, 2_000.0, 8_000.0, 32_000.0]);
    plan.noise.white *= 0.3;
    (plan, from)
}

/// The plan with more on top of its shape.
fn with(plan: Plan, more: impl Fn(&Tick) -> f64 + 'static) -> Plan {
    let own = plan.shape;
    Plan { shape: Box::new(move |tick| own(tick) + more(tick)), ..plan }
}

fn by_time(draw: &mut Draw) -> Plan {
    let (plan, from) = descriptors(draw);
    let rate = (plan.limit - from) / (draw.log(3.0, 60.0) * HOUR);
    leaks_from(with(plan, move |tick| (rate * tick.age).floor()), 0.0)
}

fn by_request(draw: &mut Draw) -> Plan {
    let (plan, from) = descriptors(draw);
    let each = (plan.limit - from) / (plan.load.mean * draw.log(5.0, 60.0) * HOUR);
    leaks_from(with(plan, move |tick| (each * tick.served).floor()), 0.0)
}

fn by_burst(draw: &mut Draw) -> Plan {
    let (plan, from) = descriptors(draw);
    let end = draw.log(10.0, 60.0) * HOUR;
    let every = end / draw.even(15.0, 60.0);
    let at = times(draw, (0.3 * every, 1.7 * every), 100.0 * DAY);
    let size = (plan.limit - from) / (end / every);
    let more = move |tick: &Tick| (size * at.partition_point(|t| *t <= tick.age) as f64).floor();
    leaks_from(with(plan, more), 0.0)
}

fn after_a_deploy(draw: &mut Draw) -> Plan {
    let (plan, from) = descriptors(draw);
    let deploy = draw.even(8.0, 36.0) * HOUR;
    let rate = (plan.limit - from) / (draw.log(6.0, 60.0) * HOUR);
    let more = move |tick: &Tick| if tick.t >= deploy { (rate * tick.age).floor() } else { 0.0 };
    let plan = with(plan, more);
    leaks_from(Plan { restarts: vec![deploy], ..plan }, deploy)
}

fn threads_by_time(draw: &mut Draw) -> Plan {
    let (plan, from) = threads(draw);
    let rate = (plan.limit - from) / (draw.log(3.0, 60.0) * HOUR);
    leaks_from(with(plan, move |tick| (rate * tick.age).floor()), 0.0)
}

fn threads_stuck(draw: &mut Draw) -> Plan {
    let (plan, from) = threads(draw);
    let each = (plan.limit - from) / (plan.load.mean * draw.log(5.0, 60.0) * HOUR);
    leaks_from(with(plan, move |tick| (each * tick.served).floor()), 0.0)
}

fn steady(draw: &mut Draw) -> Plan {
    descriptors(draw).0
}

fn with_the_load(draw: &mut Draw) -> Plan {
    let (mut plan, from) = descriptors(draw);
    plan.load.swing = draw.even(0.4, 0.95);
    let mean = plan.load.mean;
    let each = (plan.limit - from) * draw.even(0.05, 0.4);
    with(plan, move |tick| (each * tick.rate / (2.0 * mean)).floor())
}

fn pool_fills(draw: &mut Draw) -> Plan {
    let (plan, from) = descriptors(draw);
    let size = draw.log(10.0, 200.0).min(0.4 * (plan.limit - from));
    let fills = plan.load.mean * draw.log(0.05, 10.0) * HOUR;
    with(plan, move |tick| (size * saturating(tick.served, fills)).round())
}

fn pool_fills_evenly(draw: &mut Draw) -> Plan {
    let (plan, from) = descriptors(draw);
    let size = draw.log(10.0, 200.0).min(0.4 * (plan.limit - from));
    let fills = draw.log(0.02, 8.0) * HOUR;
    with(plan, move |tick| (size * (tick.age / fills).min(1.0)).round())
}

fn batches(draw: &mut Draw) -> Plan {
    let (plan, from) = descriptors(draw);
    let every = [DAY, 12.0 * HOUR, 6.0 * HOUR, HOUR][draw.0.usize(0..4)];
    let length = draw.even(0.05, 0.25) * every;
    let phase = draw.even(0.0, every);
    let size = draw.log(20.0, 2_000.0).min(0.4 * (plan.limit - from));
    let rises = draw.log(60.0, 0.5 * length);
    with(plan, move |tick| {
        let into = (tick.t + phase).rem_euclid(every);
        if into < length { (size * (into / rises).min(1.0)).round() } else { 0.0 }
    })
}

fn workers(draw: &mut Draw) -> Plan {
    let (plan, from) = threads(draw);
    let size = draw.log(8.0, 256.0).min(0.4 * (plan.limit - from));
    let fills = plan.load.mean * draw.log(0.02, 6.0) * HOUR;
    with(plan, move |tick| (size * (tick.served / fills).min(1.0)).round())
}

fn threads_steady(draw: &mut Draw) -> Plan {
    threads(draw).0
}

fn restarts(draw: &mut Draw) -> Plan {
    let (plan, from) = descriptors(draw);
    let size = draw.log(10.0, 100.0).min(0.3 * (plan.limit - from));
    let tau = draw.log(0.05, 2.0) * HOUR;
    let restarts = times(draw, (4.0 * HOUR, 20.0 * HOUR), plan.length_s);
    let plan = with(plan, move |tick| (size * saturating(tick.age, tau)).round());
    Plan { restarts, ..plan }
}
