//! Groups: processes of one program that run at the same time, each with its own answer.
//!
//! Owns: the table of groups, and how processes of one program differ: when they were started, a few
//! per cent of size and load, their noise.
//! Refuses: shapes that a single process has too ([`crate::leaky`], [`crate::healthy`]).
//! Invariant: one seed gives one group; what a program is (limit, load, shape) all of it share.

use crate::families::{Kind, base, leaks_from, service, start_up};
use crate::plan::{DAY, Draw, HOUR, MB, Plan, Shape, Tick};
use crate::trace::Trace;
use crate::{healthy, leaky};

/// The fewest and the most processes of a group.
const MEMBERS: (usize, usize) = (2, 6);
/// Those that are not started together are within this time.
const STAGGERED_S: f64 = 30.0 * HOUR;

/// When processes of a group are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Births {
    /// One at the beginning, the others later.
    Staggered,
    /// The same, or all at once.
    Any,
}

/// One process of a group.
struct Member {
    born_s: f64,
    /// Whether it is the one that differs.
    odd: bool,
}

/// Groups of one shape.
pub struct Group {
    /// Its name in tables.
    pub name: &'static str,
    /// Whether one or all leak.
    pub kind: Kind,
    births: Births,
    make: fn(&mut Draw, &Member) -> Plan,
}

const fn group(
    name: &'static str,
    kind: Kind,
    births: Births,
    make: fn(&mut Draw, &Member) -> Plan,
) -> Group {
    Group { name, kind, births, make }
}

/// Every group.
pub const GROUPS: &[Group] = &[
    group("all_leak", Kind::Leaky, Births::Any, all_leak),
    group("all_leak_per_request", Kind::Leaky, Births::Staggered, all_leak_per_request),
    group("all_leak_from_one_moment", Kind::Leaky, Births::Staggered, all_leak_from_one_moment),
    group("one_leaks", Kind::Leaky, Births::Any, one_leaks),
    group("one_leaks_late", Kind::Leaky, Births::Any, one_leaks_late),
    group("one_leaks_slowly", Kind::Leaky, Births::Any, one_leaks_slowly),
    group("all_warm_up", Kind::Healthy, Births::Staggered, all_warm_up),
    group("all_fill_caches", Kind::Healthy, Births::Staggered, all_fill_caches),
    group("all_have_long_teeth", Kind::Healthy, Births::Staggered, all_have_long_teeth),
    group("all_swing_with_the_day", Kind::Healthy, Births::Staggered, all_swing_with_the_day),
    group("shared_job", Kind::Healthy, Births::Staggered, shared_job),
    group("shared_job_each_day", Kind::Healthy, Births::Staggered, shared_job_each_day),
    group("job_of_one", Kind::Healthy, Births::Any, job_of_one),
    group("cache_of_one", Kind::Healthy, Births::Any, cache_of_one),
];

impl Group {
    /// The processes of a seed.
    pub fn traces(&self, seed: u64) -> Vec<Trace> {
        let name = self.name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let own = |number: u64| {
            let seed = seed.wrapping_mul(0x9e37_79b9) ^ name;
            Draw(fastrand::Rng::with_seed(seed.wrapping_add(number.wrapping_mul(0x51_7cc1_b727))))
        };
        let mut draw = own(1);
        let members = draw.0.usize(MEMBERS.0..=MEMBERS.1);
        let odd = draw.0.usize(0..members);
        let staggered = match self.births {
            Births::Staggered => true,
            Births::Any => draw.chance(0.5),
        };
        let seen = (draw.chance(0.6), draw.chance(0.6));
        let traces = (0..members).map(|index| {
            let later = staggered && index > 0;
            let born_s =
                if later { (draw.even(0.0, STAGGERED_S) / 60.0).floor() * 60.0 } else { 0.0 };
            let member = Member { born_s, odd: index == odd };
            // The same draws for each: they are one program.
            let plan = (self.make)(&mut own(0), &member);
            let mut noise = own(2 + index as u64);
            let mut trace =
                own_share(plan, &member, &mut noise).seen(self.name, seed, seen, &mut noise);
            trace.rows.retain(|row| row.t_s as f64 >= born_s);
            trace
        });
        traces.collect()
    }
}

/// What one process has of its own: its start, a few per cent of size and load.
fn own_share(mut plan: Plan, member: &Member, draw: &mut Draw) -> Plan {
    let size = draw.even(0.95, 1.05);
    plan.load.mean *= draw.even(0.92, 1.08);
    let shape = plan.shape;
    plan.shape = Box::new(move |tick| size * shape(tick));
    if member.born_s > 0.0 {
        plan.restarts = vec![member.born_s];
    }
    plan
}

/// A service whose processes start up; what a shape adds to it, bytes.
fn started(draw: &mut Draw, adds: impl FnOnce(&Plan, &mut Draw) -> Shape) -> Plan {
    let plan = service(draw);
    let from = base(&plan);
    let start = start_up(draw, from);
    let adds = adds(&plan, draw);
    let shape = Box::new(move |tick: &Tick| from + start(tick.age) + adds(tick));
    Plan { shape, ..plan }
}

fn room(plan: &Plan) -> f64 {
    plan.limit - base(plan)
}

fn all_leak(draw: &mut Draw, member: &Member) -> Plan {
    let plan = started(draw, |plan, draw| {
        let rate = room(plan) / (draw.log(24.0, 70.0) * HOUR);
        Box::new(move |tick| rate * tick.age)
    });
    leaks_from(plan, member.born_s)
}

fn all_leak_per_request(draw: &mut Draw, member: &Member) -> Plan {
    leaks_from(leaky::per_request_diurnal(draw), member.born_s)
}

fn all_leak_from_one_moment(draw: &mut Draw, member: &Member) -> Plan {
    let onset = draw.even(32.0, 44.0).floor() * HOUR;
    let plan = leaks_late(draw, onset);
    leaks_from(plan, onset.max(member.born_s))
}

/// Grows from a moment on, and is at its limit 10 to 60 hours later.
fn leaks_late(draw: &mut Draw, onset: f64) -> Plan {
    started(draw, |plan, draw| {
        let rate = room(plan) / (draw.log(10.0, 60.0) * HOUR);
        Box::new(move |tick| rate * (tick.t - onset).max(0.0))
    })
}

/// The plan where the process is the odd one, and the same without what it adds where it is not.
fn of_odd(draw: &mut Draw, member: &Member, adds: impl FnOnce(&Plan, &mut Draw) -> Shape) -> Plan {
    let odd = member.odd;
    started(draw, |plan, draw| {
        let adds = adds(plan, draw);
        Box::new(move |tick| if odd { adds(tick) } else { 0.0 })
    })
}

fn one_leaks(draw: &mut Draw, member: &Member) -> Plan {
    let plan = of_odd(draw, member, |plan, draw| {
        let rate = room(plan) / (draw.log(6.0, 70.0) * HOUR);
        Box::new(move |tick| rate * tick.age)
    });
    if member.odd { leaks_from(plan, member.born_s) } else { plan }
}

fn one_leaks_late(draw: &mut Draw, member: &Member) -> Plan {
    let onset = draw.even(32.0, 44.0).floor() * HOUR;
    let plan = of_odd(draw, member, |plan, draw| {
        let rate = room(plan) / (draw.log(10.0, 60.0) * HOUR);
        Box::new(move |tick| rate * (tick.t - onset).max(0.0))
    });
    if member.odd { leaks_from(plan, onset) } else { plan }
}

fn one_leaks_slowly(draw: &mut Draw, member: &Member) -> Plan {
    let plan = of_odd(draw, member, |_, draw| {
        let rate = draw.log(0.7, 3.0) * MB / HOUR;
        Box::new(move |tick| rate * tick.age)
    });
    if member.odd { leaks_from(plan, member.born_s) } else { plan }
}

fn all_warm_up(draw: &mut Draw, _: &Member) -> Plan {
    healthy::warm_up(draw)
}

fn all_fill_caches(draw: &mut Draw, _: &Member) -> Plan {
    healthy::cache_filled_evenly(draw)
}

fn all_have_long_teeth(draw: &mut Draw, _: &Member) -> Plan {
    healthy::long_sawtooth(draw)
}

fn all_swing_with_the_day(draw: &mut Draw, _: &Member) -> Plan {
    healthy::diurnal_live_set(draw)
}

/// A job: memory that it fills evenly, keeps for a while, and gives back.
fn job(plan: &Plan, draw: &mut Draw, every: f64) -> Shape {
    let at = draw.even(6.0, 20.0) * HOUR + if every > DAY { draw.even(0.0, DAY) } else { 0.0 };
    let (lasts, keeps) = (draw.log(0.5, 7.0) * HOUR, draw.log(0.1, 4.0) * HOUR);
    let size = room(plan) * draw.even(0.1, 0.45);
    Box::new(move |tick| {
        let since = (tick.t - at).rem_euclid(every);
        let begun = tick.t >= at && tick.t - since + lasts > tick.t - tick.age;
        if begun && since < lasts + keeps { size * (since / lasts).min(1.0) } else { 0.0 }
    })
}

fn shared_job(draw: &mut Draw, _: &Member) -> Plan {
    started(draw, |plan, draw| job(plan, draw, 30.0 * DAY))
}

fn shared_job_each_day(draw: &mut Draw, _: &Member) -> Plan {
    started(draw, |plan, draw| job(plan, draw, DAY))
}

fn job_of_one(draw: &mut Draw, member: &Member) -> Plan {
    of_odd(draw, member, |plan, draw| job(plan, draw, 30.0 * DAY))
}

fn cache_of_one(draw: &mut Draw, member: &Member) -> Plan {
    of_odd(draw, member, |plan, draw| {
        let size = room(plan) * draw.even(0.1, 0.45);
        let fills = draw.log(0.5, 14.0) * HOUR;
        Box::new(move |tick| size * (tick.age / fills).min(1.0))
    })
}
