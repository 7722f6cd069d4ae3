//! A fleet in a simulated world: joins, leaves, crashes, clocks that differ, delays, partitions and
//! restarts. What all together hold or may hold is checked after every event.

#![expect(clippy::unwrap_used, reason = "a test may stop where it is surprised")]

mod crossing;
mod faults;
mod judge;
mod postgres;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use stent_pool::fleet::Rules;
use world::{Admission, MS, World};

const INTERVAL: Duration = Duration::from_secs(5);
const RULES: Rules = Rules { minimum: 2, most: 65_535, reserve: 3, interval: INTERVAL };

fn for_seeds(seeds: std::ops::Range<u64>, scenario: impl Fn(u64)) {
    for seed in seeds {
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            eprintln!("the failing seed is {seed}");
            resume_unwind(failure);
        }
    }
}

/// What the fleet may have: places without the reserve, strangers and control connections.
fn room(world: &World) -> u32 {
    let servers = world.pg.count(|kind| matches!(kind, postgres::Kind::Server { .. }));
    let rest = u32::try_from(world.pg.sessions.len()).unwrap() - servers;
    u32::try_from(world.pg.places()).unwrap() - rest - world.rules.reserve
}

fn living(world: &World) -> Vec<usize> {
    (0..world.proxies.len()).filter(|&at| world.proxies[at].lives).collect()
}

/// Nobody is below its minimum, and what is wanted is served as far as there is room.
fn is_settled(world: &mut World) -> Result<(), String> {
    let (room, living) = (room(world), living(world));
    let shares: Vec<u32> = living.iter().map(|&at| world.allowed(at)).collect();
    let wanted: u32 = living.iter().map(|&at| world.proxies[at].demand.max(2)).sum();
    let sum: u32 = shares.iter().sum();
    let said = format!("shares {shares:?} of {room}, wanted {wanted}");
    let unserved = living.iter().zip(&shares).any(|(&at, share)| world.proxies[at].demand > *share);
    if unserved && sum < room {
        return Err(format!("{} places are stranded: {said}", room - sum));
    }
    match shares.iter().any(|&share| share < 2) {
        true => Err(format!("somebody is below the minimum: {said}")),
        false => Ok(()),
    }
}

#[test]
fn a_fleet_that_starts_at_once_has_its_shares_within_two_intervals() {
    for_seeds(0..15, |seed| {
        let mut world = World::new(81, RULES, seed);
        (0..20).for_each(|at| {
            world.join(at % 7);
        });
        world.run_until(2 * INTERVAL);
        is_settled(&mut world).unwrap();
        assert_eq!(world.refused, 0);
    });
}

#[test]
fn the_share_of_a_proxy_that_is_killed_is_in_use_elsewhere_within_two_intervals() {
    for_seeds(0..30, |seed| {
        let mut world = World::new(81, RULES, seed);
        let all: Vec<usize> = (0..4).map(|_| world.join(60)).collect();
        let start = 2 * INTERVAL + MS * world.random.u32(0..5_000);
        world.run_until(start);
        is_settled(&mut world).unwrap();
        world.kill(all[1]);
        world.run_until(start + 2 * INTERVAL);
        is_settled(&mut world).unwrap();
        assert_eq!(world.refused, 0);
    });
}

#[test]
fn what_an_idle_proxy_holds_is_with_a_busy_one_within_two_intervals() {
    for_seeds(0..30, |seed| {
        let mut world = World::new(81, RULES, seed);
        let all: Vec<usize> = (0..6).map(|_| world.join(20)).collect();
        let start = 3 * INTERVAL + MS * world.random.u32(0..5_000);
        world.run_until(start);
        all[1..].iter().for_each(|&at| world.proxies[at].demand = 0);
        world.proxies[all[0]].demand = 60;
        world.run_until(start + 2 * INTERVAL);
        is_settled(&mut world).unwrap();
        assert!(world.allowed(all[0]) >= 58, "{}", world.allowed(all[0]));
    });
}

#[test]
fn a_deploy_doubles_a_full_fleet_and_nobody_is_ever_refused() {
    for_seeds(0..6, |seed| {
        let mut world = World::new(81, RULES, seed);
        let blue: Vec<usize> = (0..10).map(|_| world.join(30)).collect();
        world.run_until(3 * INTERVAL);
        let sum: u32 = blue.iter().map(|&at| world.allowed(at)).sum();
        assert_eq!(sum, room(&world), "blue has everything");
        (0..10).for_each(|_| {
            world.join(30);
        });
        // As many at a time as the reserve has places.
        world.run_until(12 * INTERVAL);
        is_settled(&mut world).unwrap();
        blue.iter().for_each(|&at| world.kill(at));
        world.run_until(14 * INTERVAL);
        is_settled(&mut world).unwrap();
        assert_eq!(world.refused, 0);
    });
}

#[test]
fn a_thousand_proxies_share_five_thousand_connections() {
    let mut world = World::new(5_000, Rules { reserve: 50, ..RULES }, 1);
    (0..1_000).for_each(|at| {
        world.join(at % 10);
    });
    // The interval of so many is 20 s; within one of them nearly everything is shared out.
    world.run_until(Duration::from_secs(15));
    let shares: Vec<u32> = (0..1_000).map(|at| world.allowed(at)).collect();
    let (sum, room) = (shares.iter().sum::<u32>(), room(&world));
    assert!(shares.iter().all(|&share| share >= RULES.minimum), "somebody is below the minimum");
    assert!(sum * 100 >= room * 98, "{sum} of {room} are shared out");
    assert_eq!(world.refused, 0);
}

/// Whatever happens next, at random.
fn disturb(world: &mut World, strangers: &mut Vec<u32>) {
    let living = living(world);
    let one = living.get(world.random.usize(0..living.len().max(1))).copied();
    match (world.random.u32(0..100), one) {
        (0..30, Some(at)) => world.proxies[at].demand = world.random.u32(0..60),
        (30..42, _) if living.len() < 15 => {
            let demand = world.random.u32(0..30);
            world.join(demand);
        }
        (42..48, Some(at)) if living.len() > 2 => world.kill(at),
        (48..60, Some(at)) => world.cut_control(at),
        (60..75, Some(at)) => {
            let time = MS * world.random.u32(1..20_000);
            world.partition(at, time);
        }
        (75..77, _) => {
            let time = MS * world.random.u32(0..10_000);
            world.restart(time);
        }
        (77..88, _) => strangers.extend(world.stranger()),
        (88..100, _) => strangers.pop().into_iter().for_each(|pid| world.stranger_leaves(pid)),
        _ => {}
    }
}

#[test]
fn whatever_happens_the_limit_holds_and_two_intervals_of_peace_settle_the_shares() {
    for_seeds(0..12, |seed| {
        let mut world = World::new(81, RULES, seed);
        let mut strangers = Vec::new();
        // In every second world the network is so slow that claims cross each other all the time.
        world.delay_us = [15_000, 800_000][(seed % 2) as usize];
        world.admission = Admission::Paced(Vec::new());
        (0..3).for_each(|_| {
            world.join(10);
        });
        for _ in 0..100 {
            let pause = MS * world.random.u32(0..1_500);
            world.run_until(world.now + pause);
            disturb(&mut world, &mut strangers);
        }
        // PostgreSQL has noticed the last partition, and everybody has come back, at his pace.
        world.delay_us = 15_000;
        let peace = world.now + Duration::from_secs(120);
        world.run_until(peace);
        for at in living(&world) {
            world.proxies[at].demand = world.random.u32(0..40);
        }
        world.run_until(peace + 2 * INTERVAL);
        is_settled(&mut world).unwrap();
        assert_eq!(world.refused, 0, "no server is refused for want of a place");
    });
}
