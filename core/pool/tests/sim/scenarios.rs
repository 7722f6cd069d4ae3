//! The situations that the pools are put into, and what must come of each.

use std::num::NonZeroU32;
use std::time::Duration;

use fastrand::Rng;
use stent_pool::{Decision, Limits, RETRY_MAX, RETRY_MIN, Refusal};

use crate::for_seeds;
use crate::nature::{Client, Nature};
use crate::queue::Happening;
use crate::world::World;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn limits(pool_size: u32) -> Limits {
    Limits {
        pool_size: NonZeroU32::new(pool_size).unwrap(),
        reserve_pool_size: 0,
        reserve_pool_timeout: None,
        min_pool_size: 0,
        size_rules: Vec::new(),
        max_db_connections: None,
        max_user_connections: None,
        max_server_connections: None,
        query_wait_timeout: Some(ms(120_000)),
        server_lifetime: None,
        server_max_uses: None,
        server_idle_timeout: None,
        server_check_delay: ms(30_000),
        retry_min: RETRY_MIN,
        retry_max: RETRY_MAX,
        class_weights: Vec::new(),
        waiters_max: 1_000,
        opening_max: 8,
    }
}

fn nature(pools: usize, last_request: Duration) -> Nature {
    Nature {
        login: ms(5),
        probe: ms(2),
        close: ms(3),
        hold: vec![ms(10); pools],
        think: ms(10),
        patience: None,
        doubtful_one_in: 0,
        login_fails_one_in: 0,
        outages: Vec::new(),
        last_request,
    }
}

/// Jain's index: 1 where all are equal, 1/n where one has everything.
fn jain(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let (count, sum) = (values.clone().count() as f64, values.clone().sum::<f64>());
    sum * sum / (count * values.map(|value| value * value).sum::<f64>())
}

fn mean_wait(client: &Client) -> f64 {
    client.waits.iter().sum::<Duration>().as_secs_f64() / client.waits.len() as f64
}

#[test]
fn whatever_happens_the_caps_hold_and_each_request_has_one_answer() {
    for_seeds(0..100, |seed| {
        let mut rng = Rng::with_seed(seed);
        let homes = rng.u16(1..4);
        let databases: Vec<_> = (0..rng.usize(1..5)).map(|_| rng.usize(..2)).collect();
        let limits = random_limits(&mut rng);
        let nature = random_nature(&mut rng, databases.len());
        let mut world = World::new(limits, nature, &databases, seed);
        world.spread(homes);
        for pool in 0..databases.len() {
            world.add_clients(pool, rng.usize(1..25), ms(500));
        }
        for _ in 0..rng.usize(..4) {
            world.plan(ms(rng.u64(..5_000)), Happening::Crash);
            world.plan(ms(rng.u64(..5_000)), Happening::Retire(rng.usize(..databases.len())));
            let (from, pool) = (rng.u64(..4_000), rng.usize(..databases.len()));
            world.plan(ms(from), Happening::Pause(pool));
            world.plan(ms(from + rng.u64(..2_000)), Happening::Resume(pool));
        }
        world.run();
    });
}

fn random_limits(rng: &mut Rng) -> Limits {
    let mut some = |milliseconds: u64| rng.bool().then(|| ms(1 + rng.u64(..milliseconds)));
    let mut limits = Limits {
        query_wait_timeout: some(2_000),
        server_lifetime: some(3_000),
        server_idle_timeout: some(500),
        server_check_delay: some(200).unwrap_or_default(),
        ..limits(1 + rng.u32(..6))
    };
    limits.min_pool_size = rng.u32(..4);
    limits.max_db_connections = if rng.bool() { NonZeroU32::new(rng.u32(..9)) } else { None };
    limits.max_server_connections = if rng.bool() { NonZeroU32::new(rng.u32(..12)) } else { None };
    limits.opening_max = rng.u32(..4);
    limits.waiters_max = 1 + rng.u32(..30);
    limits
}

fn random_nature(rng: &mut Rng, pools: usize) -> Nature {
    let from = ms(rng.u64(..4_000));
    let mut upto = |milliseconds: u64| ms(1 + rng.u64(..milliseconds));
    Nature {
        login: upto(60),
        probe: upto(20),
        close: upto(50),
        hold: (0..pools).map(|_| upto(80)).collect(),
        think: upto(100),
        patience: Some(upto(200)),
        outages: vec![(from, from + upto(1_500))],
        last_request: ms(5_000),
        doubtful_one_in: rng.u32(..30),
        login_fails_one_in: rng.u32(..10),
    }
}

#[test]
fn five_hundred_equal_clients_on_a_pool_of_four_wait_equally() {
    for_seeds(0..2, |seed| {
        let mut world = World::new(limits(4), nature(1, ms(15_000)), &[0], seed);
        world.add_clients(0, 500, ms(100));
        world.run();
        let fairness = jain(world.clients.iter().map(mean_wait));
        assert!(fairness >= 0.99, "{fairness}");
        assert!(world.clients.iter().all(|client| client.refusals.is_empty()));
    });
}

#[test]
fn clients_of_two_homes_wait_equally_however_unequally_they_are_spread() {
    for_seeds(0..3, |seed| {
        let mut nature = nature(1, ms(5_000));
        // Transactions shorter than the margin, so that homes matter.
        (nature.hold, nature.think) = (vec![ms(1)], ms(1));
        let mut world = World::new(limits(4), nature, &[0], seed);
        world.spread(2);
        world.add_clients(0, 40, ms(5));
        world.spread(1);
        world.add_clients(0, 20, ms(5));
        world.run();
        let fairness = jain(world.clients.iter().map(mean_wait));
        assert!(fairness >= 0.99, "{fairness}");
        let longest = world.clients.iter().flat_map(|client| &client.waits).max().unwrap();
        let shortest_of_means = world.clients.iter().map(mean_wait).fold(f64::MAX, f64::min);
        // Who is overtaken is so by those who came within the margin: it waits that much longer.
        assert!(longest.as_secs_f64() < shortest_of_means * 2.0 + 0.010, "{longest:?}");
    });
}

#[test]
fn a_short_outage_refuses_nobody_and_the_pool_refills() {
    for_seeds(0..10, |seed| {
        let up_again = ms(3_000);
        let mut nature = nature(1, ms(4_000));
        nature.outages = vec![(ms(1_000), up_again)];
        let mut world = World::new(limits(8), nature, &[0], seed);
        world.add_clients(0, 100, ms(100));
        world.plan(ms(1_000), Happening::Crash);
        world.run();
        assert!(world.clients.iter().all(|client| client.refusals.is_empty()));
        let mut after = world.opened_at.iter().filter(|&&at| at > up_again);
        let first = *after.next().expect("the pool comes back");
        let eighth = *after.nth(6).expect("the pool refills");
        assert!(first <= up_again + RETRY_MAX + ms(5), "the first after {:?}", first - up_again);
        assert!(eighth <= first + ms(5), "the others in parallel, {:?} later", eighth - first);
    });
}

#[test]
fn after_a_restart_of_an_eighth_of_a_second_service_resumes_within_a_fifth_of_a_second() {
    for_seeds(0..50, |seed| {
        let (down, up_again) = (ms(1_000), ms(1_120));
        let mut nature = nature(1, ms(2_000));
        (nature.login, nature.outages) = (ms(4), vec![(down, up_again)]);
        let mut world = World::new(limits(4), nature, &[0], seed);
        world.add_clients(0, 16, ms(100));
        world.plan(down, Happening::Crash);
        world.run();
        let resumed = *world.granted_at.iter().find(|&&at| at >= up_again).expect("it resumes");
        assert!(resumed <= up_again + ms(200), "after {:?}", resumed - up_again);
        assert!(world.clients.iter().all(|client| client.refusals.is_empty()));
    });
}

#[test]
fn ten_minutes_without_postgresql_cost_few_attempts_and_all_pools_are_back_within_two_seconds() {
    for_seeds(0..3, |seed| {
        let (down, up_again) = (ms(1_000), ms(601_000));
        let mut nature = nature(100, ms(610_000));
        (nature.think, nature.outages) = (ms(20_000), vec![(down, up_again)]);
        let patient = Limits { query_wait_timeout: None, min_pool_size: 1, ..limits(4) };
        let mut world = World::new(patient, nature, &[0; 100], seed);
        for pool in 0..100 {
            world.add_clients(pool, 3, ms(900));
        }
        world.plan(down, Happening::Crash);
        world.run();
        let attempts = world.log.iter().filter(|(at, decision)| {
            matches!(decision, Decision::Open { .. }) && (down..up_again).contains(at)
        });
        let attempts = attempts.count();
        assert!(attempts < 1_000, "{attempts} attempts of 100 pools, about one a second");
        assert!(world.clients.iter().all(|client| client.refusals.is_empty()));
        let mut served = world.granted_at.iter().filter(|&&at| at >= up_again);
        let last = *served.nth(299).expect("all 300 that waited are served");
        assert!(last <= up_again + ms(2_000), "after {:?}", last - up_again);
    });
}

#[test]
fn under_twice_the_load_that_a_pool_can_carry_it_serves_all_it_can_and_tells_the_rest_at_once() {
    for_seeds(0..2, |seed| {
        let timeout = Some(ms(1_000));
        let tight = Limits { query_wait_timeout: timeout, waiters_max: 10_000, ..limits(4) };
        let mut nature = nature(1, ms(8_000));
        // Four servers carry some 530 a second; clients of whom 2,500 would ask each second.
        (nature.hold, nature.think) = (vec![ms(10)], ms(1_330));
        let mut world = World::new(tight, nature, &[0], seed);
        world.add_clients(0, 2_500, ms(1_000));
        world.run();
        let served = world.granted_at.len();
        assert!(served > 530 * 6, "the servers are never idle: {served}");
        let refusals = world.clients.iter().flat_map(|client| &client.refusals);
        let (mut early, mut late) = (0, 0);
        for refusal in refusals {
            match refusal {
                Refusal::Overloaded { .. } => early += 1,
                Refusal::WaitTimeout => late += 1,
                Refusal::OpenFailed | Refusal::QueueFull => panic!("{refusal:?}"),
            }
        }
        assert!(early > 3 * late, "most are told at once: {early} against {late}");
    });
}

#[test]
fn a_pool_that_never_came_up_refuses_its_clients_soon() {
    for_seeds(0..20, |seed| {
        let mut nature = nature(1, ms(2_000));
        nature.outages = vec![(Duration::ZERO, ms(10_000))];
        let mut world = World::new(limits(4), nature, &[0], seed);
        world.add_clients(0, 20, ms(100));
        world.run();
        for client in &world.clients {
            assert!(client.waits.is_empty() && !client.refusals.is_empty());
        }
    });
}

#[test]
fn equal_pools_under_one_cap_wait_equally_and_seldom_log_in_anew() {
    for_seeds(0..5, |seed| {
        let capped = Limits { max_db_connections: NonZeroU32::new(5), ..limits(5) };
        let mut world = World::new(capped, nature(3, ms(10_000)), &[0, 0, 0], seed);
        for pool in 0..3 {
            world.add_clients(pool, 60, ms(100));
        }
        world.run();
        let of = |pool| world.clients.iter().filter(move |client| client.pool == pool);
        let means = [0, 1, 2].map(|pool| of(pool).map(mean_wait).sum::<f64>() / 60.0);
        let fairness = jain(means.into_iter());
        assert!(fairness >= 0.98, "{means:?}");
        let served = world.granted_at.len() as u64;
        assert!(world.opened * 10 < served, "{} logins for {served} grants", world.opened);
    });
}

#[test]
fn a_pool_of_slow_clients_does_not_starve_the_other_under_one_cap() {
    for_seeds(0..5, |seed| {
        let capped = Limits { max_db_connections: NonZeroU32::new(4), ..limits(4) };
        let mut nature = nature(2, ms(60_000));
        nature.hold = vec![ms(1_000), ms(5)];
        let mut world = World::new(capped, nature, &[0, 0], seed);
        world.add_clients(0, 40, ms(1));
        world.add_clients(1, 1, ms(2_000));
        world.run();
        let slow = world.clients.iter().filter(|client| client.pool == 0);
        let slowest = slow.flat_map(|client| client.waits.iter()).max().unwrap();
        let quick = &world.clients[40];
        assert!(quick.waits.len() >= 5, "{}", quick.waits.len());
        let longest = quick.waits.iter().max().unwrap();
        assert!(*longest <= *slowest + ms(100), "{longest:?} against {slowest:?}");
    });
}

#[test]
fn a_restart_of_a_minute_under_a_pause_costs_nobody_an_error() {
    for_seeds(0..20, |seed| {
        let impatient = Limits { query_wait_timeout: Some(ms(1_000)), ..limits(10) };
        let mut nature = nature(1, ms(70_000));
        nature.outages = vec![(ms(5_200), ms(65_000))];
        let mut world = World::new(impatient, nature, &[0], seed);
        world.add_clients(0, 40, ms(100));
        world.plan(ms(5_000), Happening::Pause(0));
        world.run_until(ms(5_150));
        assert!(world.pools.is_empty(world.pool_id(0)), "everybody has given back by now");
        world.plan(ms(5_200), Happening::Crash);
        world.plan(ms(65_000), Happening::Resume(0));
        world.run();
        assert!(world.clients.iter().all(|client| client.refusals.is_empty()));
        assert!(world.opened_at.iter().all(|at| *at < ms(5_200) || *at > ms(65_000)));
        let after = world.opened_at.iter().filter(|at| **at > ms(65_000));
        assert_eq!(after.clone().count(), 10, "as many as the pool may have");
        assert!(after.max().unwrap() < &ms(65_020), "and side by side");
        let longest = world.clients.iter().flat_map(|client| &client.waits).max().unwrap();
        assert!(*longest > ms(59_900), "{longest:?}");
    });
}

#[test]
fn the_same_seed_gives_the_same_decisions() {
    let run = |seed| {
        let mut rng = Rng::with_seed(seed);
        let limits = random_limits(&mut rng);
        let nature = random_nature(&mut rng, 3);
        let mut world = World::new(limits, nature, &[0, 0, 1], seed);
        for pool in 0..3 {
            world.add_clients(pool, 10, ms(100));
        }
        world.plan(ms(1_000), Happening::Crash);
        world.run();
        world.log
    };
    for_seeds(0..10, |seed| assert_eq!(run(seed), run(seed)));
}

#[test]
fn a_thousand_pools_serve_at_once() {
    let mut nature = nature(1_000, ms(200));
    nature.think = ms(100);
    let capped = Limits { max_db_connections: NonZeroU32::new(50), ..limits(2) };
    let databases: Vec<_> = (0..1_000).map(|pool| pool % 10).collect();
    let mut world = World::new(capped, nature, &databases, 7);
    for pool in 0..1_000 {
        world.add_clients(pool, 1, ms(100));
    }
    world.run();
    assert!(world.clients.iter().all(|client| !client.waits.is_empty()));
}
