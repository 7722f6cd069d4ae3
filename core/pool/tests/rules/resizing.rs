//! Limits that change while everything runs.

use stent_pool::Limits;

use crate::harness::{World, limits, ms, none, size};

impl World {
    fn resize(&mut self, limits: Limits) -> Vec<String> {
        self.decided(|pools, now, out| pools.set_limits(limits, now, out))
    }
}

#[test]
fn a_lower_pool_size_closes_the_longest_idle_at_once() {
    let mut world = World::new(Limits { pool_size: size(4), ..limits() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 4);
    let closed = world.resize(Limits { pool_size: size(2), ..limits() });
    assert_eq!(closed, ["close s3 Shrunk", "close s2 Shrunk"]);
    assert_eq!(world.acquire(pool, 1), ["grant c1 s0 after 0"]);
}

#[test]
fn lent_servers_above_a_lower_pool_size_are_closed_when_they_come_back() {
    let mut world = World::new(Limits { pool_size: size(3), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 3);
    world.acquire(pool, 4);
    assert_eq!(world.resize(Limits { pool_size: size(1), ..limits() }), none(), "nobody is cut");
    assert_eq!(world.release(0), ["close s0 Shrunk"]);
    assert_eq!(world.release(1), ["close s1 Shrunk"]);
    assert_eq!(world.release(2), ["grant c4 s2 after 0"], "the last is within the size");
}

#[test]
fn a_login_above_a_lower_pool_size_is_closed_when_it_succeeds() {
    let mut world = World::new(Limits { pool_size: size(3), ..limits() });
    let pool = world.pool("shop", "api");
    (1..4).for_each(|waiter| assert_eq!(world.acquire(pool, waiter).len(), 1));
    world.resize(Limits { pool_size: size(1), ..limits() });
    assert_eq!(world.opened(0), ["close s0 Shrunk"]);
    assert_eq!(world.refused(1), none());
    assert_eq!(world.opened(2), ["grant c1 s2 after 0"]);
}

#[test]
fn a_higher_pool_size_serves_those_who_wait_at_once() {
    let mut world = World::new(Limits { pool_size: size(1), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire(pool, 2);
    world.acquire(pool, 3);
    let opened = world.resize(Limits { pool_size: size(3), ..limits() });
    assert_eq!(opened, ["open s1 for p0", "open s2 for p0"]);
}

#[test]
fn a_lower_max_db_connections_closes_idle_servers_of_all_pools_but_no_more_than_needed() {
    let mut world = World::new(Limits { pool_size: size(2), ..limits() });
    let (a, b) = (world.pool("shop", "a"), world.pool("shop", "b"));
    world.lend(a, 1, 2);
    world.lend(b, 3, 2);
    for server in 1..4 {
        world.release(server);
    }
    let lower = Limits { max_db_connections: Some(size(2)), ..limits() };
    assert_eq!(world.resize(lower), ["close s1 Shrunk", "close s2 Shrunk"]);
    assert_eq!(world.acquire(b, 5), ["grant c5 s3 after 0"]);
}

#[test]
fn a_higher_max_db_connections_serves_the_hungry() {
    let mut world = World::new(Limits { max_db_connections: Some(size(1)), ..limits() });
    let (a, b) = (world.pool("shop", "a"), world.pool("shop", "b"));
    world.lend(a, 1, 1);
    assert_eq!(world.acquire(b, 2), none());
    let higher = Limits { max_db_connections: Some(size(2)), ..limits() };
    assert_eq!(world.resize(higher), ["open s1 for p1"]);
}

#[test]
fn a_higher_minimum_is_filled_in_pools_that_are_used() {
    let mut world = World::new(limits());
    let (used, _unused) = (world.pool("shop", "a"), world.pool("shop", "b"));
    world.rest(used, 1);
    assert_eq!(world.resize(Limits { min_pool_size: 2, ..limits() }), ["open s1 for p0"]);
}

#[test]
fn a_shorter_wait_holds_for_those_who_wait_already() {
    let mut world = World::new(Limits { pool_size: size(1), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire(pool, 2);
    world.pass(3_000);
    world.resize(Limits { pool_size: size(1), query_wait_timeout: Some(ms(2_000)), ..limits() });
    assert_eq!(world.run(0), ["3000: refuse c2 WaitTimeout after 3000"]);
}

#[test]
fn a_shorter_rest_holds_for_what_is_idle_already() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    world.pass(3_000);
    world.resize(Limits { server_idle_timeout: Some(ms(2_000)), ..limits() });
    assert_eq!(world.run(0), ["3000: close s0 IdleTimeout"]);
}

#[test]
fn servers_that_a_shorter_lifetime_finds_too_old_end_soon_but_not_together() {
    let mut world = World::new(Limits { pool_size: size(8), ..limits() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 8);
    world.pass(60_000);
    let shorter = Limits { pool_size: size(8), server_lifetime: Some(ms(20_000)), ..limits() };
    assert_eq!(world.resize(shorter), none());
    let closed = world.run(2_250);
    let times: std::collections::BTreeSet<_> =
        closed.iter().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(closed.len(), 8, "{closed:?}");
    assert!(times.len() > 3, "{closed:?}");
}

#[test]
fn a_longer_lifetime_is_given_to_those_whose_day_has_come() {
    let mut world = World::new(Limits { server_lifetime: Some(ms(1_000)), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.pass(5_000);
    world.resize(Limits { server_lifetime: Some(ms(60_000)), ..limits() });
    assert_eq!(world.release(0), none());
}

#[test]
fn a_shorter_queue_turns_nobody_away_who_is_in_it() {
    let mut world = World::new(Limits { pool_size: size(1), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire(pool, 2);
    world.acquire(pool, 3);
    let shorter = Limits { pool_size: size(1), waiters_max: 1, ..limits() };
    assert_eq!(world.resize(shorter), none());
    assert_eq!(world.acquire(pool, 4), ["refuse c4 QueueFull after 0"]);
    assert_eq!(world.release(0), ["grant c2 s0 after 0"]);
}

#[test]
fn while_a_pool_is_paused_other_limits_open_nothing() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.tell(stent_pool::Event::Pause { pool });
    world.acquire(pool, 1);
    assert_eq!(world.resize(Limits { pool_size: size(9), min_pool_size: 3, ..limits() }), none());
    let opened = world.tell(stent_pool::Event::Resume { pool });
    assert_eq!(opened.len(), 3, "{opened:?}");
}
