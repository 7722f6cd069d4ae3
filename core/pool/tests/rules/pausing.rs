//! Maintenance: what a paused pool does not do, and what it does when it is resumed.

use stent_pool::{Condition, Event, Limits, OpenFailure, PoolId, ProbeResult};

use crate::harness::{World, limits, ms, none, size};

impl World {
    fn pause(&mut self, pool: PoolId) -> Vec<String> {
        self.tell(Event::Pause { pool })
    }

    fn resume(&mut self, pool: PoolId) -> Vec<String> {
        self.tell(Event::Resume { pool })
    }
}

#[test]
fn a_paused_pool_closes_what_is_idle_at_once_and_what_is_lent_when_it_comes_back() {
    let mut world = World::new(Limits { pool_size: size(3), ..limits() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 3);
    assert_eq!(world.acquire(pool, 1), ["grant c1 s0 after 0"]);
    assert_eq!(world.pause(pool), ["close s1 Retired", "close s2 Retired"]);
    assert_eq!(world.release(0), ["close s0 Retired"]);
    assert!(!world.pools.is_empty(pool), "their sockets are still open");
    assert_eq!(world.all_closed(), none());
    assert!(world.pools.is_empty(pool));
}

#[test]
fn whoever_comes_while_a_pool_is_paused_waits_and_nothing_is_opened() {
    let mut world = World::new(Limits { min_pool_size: 2, ..limits() });
    let pool = world.pool("shop", "api");
    assert_eq!(world.acquire(pool, 9), ["open s0 for p0", "open s1 for p0"]);
    world.opened(0);
    world.opened(1);
    world.release(0);
    assert_eq!(world.pause(pool).len(), 2);
    world.all_closed();
    assert_eq!(world.acquire(pool, 1), none());
    assert_eq!(world.acquire(pool, 2), none());
    assert_eq!(world.run(60_000), none(), "neither for waiters nor for the minimum");
    assert_eq!(world.resume(pool), ["open s2 for p0", "open s3 for p0"]);
}

#[test]
fn a_waiters_time_stands_still_while_its_pool_is_paused_and_begins_anew() {
    let mut world =
        World::new(Limits { pool_size: size(1), query_wait_timeout: Some(ms(1_000)), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire(pool, 2);
    assert_eq!(world.run(900), none());
    world.pause(pool);
    assert_eq!(world.run(60_000), none());
    assert_eq!(world.resume(pool), none());
    assert_eq!(world.run(999), none());
    assert_eq!(world.run(1), ["61900: refuse c2 WaitTimeout after 61900"]);
}

#[test]
fn the_order_of_arrival_outlives_a_pause() {
    let mut world = World::new(Limits { pool_size: size(1), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire_at(0, pool, 2);
    world.pass(10);
    world.pause(pool);
    world.acquire_at(7, pool, 3);
    assert_eq!(world.release(0), ["close s0 Retired"]);
    world.all_closed();
    assert_eq!(world.resume(pool), ["open s1 for p0"]);
    assert_eq!(world.opened_at(7, 1), ["grant c2 s1 after 10"]);
    assert_eq!(world.release(1), ["grant c3 s1 after 0"]);
}

#[test]
fn a_resumed_pool_opens_for_all_who_wait_at_once_whatever_failed_before() {
    let mut world = World::new(Limits { pool_size: size(5), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    for waiter in 2..6 {
        world.acquire(pool, waiter);
    }
    for server in 1..5 {
        world.refused(server);
    }
    world.pause(pool);
    assert_eq!(world.run(10_000), none(), "no retry while it is paused");
    let opened = world.resume(pool);
    assert_eq!(opened, ["open s5 for p0", "open s6 for p0", "open s7 for p0", "open s8 for p0"]);
}

#[test]
fn a_login_that_a_pause_overtakes_ends_without_an_error_for_anybody() {
    let mut world = World::new(Limits { pool_size: size(3), ..limits() });
    let pool = world.pool("shop", "api");
    world.acquire(pool, 1);
    world.acquire(pool, 2);
    world.acquire(pool, 3);
    world.pause(pool);
    assert_eq!(world.opened(0), ["close s0 Retired"]);
    assert_eq!(world.open_failed(1, OpenFailure::Permanent), none());
    assert_eq!(world.refused(2), none());
    world.all_closed();
    assert!(world.pools.is_empty(pool));
    assert_eq!(world.resume(pool).len(), 3, "one for each who waits");
}

#[test]
fn a_probe_that_a_pause_overtakes_lends_nothing() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    world.pass(30_001);
    assert_eq!(world.acquire(pool, 1), ["probe s0 for c1"]);
    world.pause(pool);
    assert_eq!(world.probed(0, ProbeResult::Healthy), ["close s0 Retired"]);
}

#[test]
fn a_server_that_is_still_lent_when_its_pool_is_resumed_is_not_lent_again() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.pause(pool);
    assert_eq!(world.resume(pool), none());
    assert_eq!(world.release_as(0, Condition::Clean), ["close s0 Retired"]);
}

#[test]
fn the_connection_that_listens_for_a_pool_is_paused_with_it() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    let early = world.pools.listening(pool).unwrap();
    world.lend(early, 1, 1);
    world.pause(pool);
    assert!(world.pools.is_paused(early));
    assert_eq!(world.release(0), ["close s0 Retired"]);
    assert!(!world.pools.is_empty(pool));
    world.all_closed();
    assert!(world.pools.is_empty(pool));
    assert_eq!(world.acquire(early, 2), none());
    assert_eq!(world.resume(pool), ["open s1 for p1"]);
}

#[test]
fn a_connection_that_is_to_listen_for_a_paused_pool_waits_too() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.pause(pool);
    let late = world.pools.listening(pool).unwrap();
    assert_eq!(world.acquire(late, 1), none());
    assert_eq!(world.resume(pool), ["open s0 for p1"]);
}

#[test]
fn other_pools_of_the_database_take_the_room_of_a_paused_one() {
    let mut world = World::new(Limits { max_db_connections: Some(size(2)), ..limits() });
    let (paused, other) = (world.pool("shop", "a"), world.pool("shop", "b"));
    world.rest(paused, 2);
    world.pause(paused);
    world.acquire(other, 1);
    world.acquire(paused, 2);
    assert_eq!(world.all_closed(), ["open s2 for p1"]);
    assert_eq!(world.resume(paused), ["open s3 for p0"]);
}

#[test]
fn a_second_pause_and_a_second_resume_change_nothing() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.acquire(pool, 1);
    assert_eq!(world.resume(pool), none());
    assert_eq!(world.pause(pool), none());
    assert_eq!(world.pause(pool), none());
    assert_eq!(world.refused(0), none());
    assert_eq!(world.resume(pool), ["open s1 for p0"]);
    assert_eq!(world.resume(pool), none());
    assert_eq!(world.pools.misfits(), 0);
}
