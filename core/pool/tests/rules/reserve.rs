//! The reserve: servers beyond the size of a pool, for those who have waited for too long.

use stent_pool::{Limits, OpenFailure, ProbeResult};

use crate::harness::{World, limits, ms, none, size};

/// One server, two in reserve after a second.
fn reserved() -> Limits {
    Limits {
        pool_size: size(1),
        reserve_pool_size: 2,
        reserve_pool_timeout: Some(ms(1_000)),
        ..limits()
    }
}

#[test]
fn a_waiter_gets_a_server_of_the_reserve_when_it_has_waited_for_long_and_not_before() {
    let mut world = World::new(reserved());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    assert_eq!(world.acquire(pool, 2), none());
    assert_eq!(world.run(999), none());
    assert_eq!(world.run(1), ["1000: open s1 for p0"]);
    assert_eq!(world.opened(1), ["grant c2 s1 after 1000"]);
}

#[test]
fn each_late_waiter_has_one_opened_up_to_the_size_of_the_reserve() {
    let mut world = World::new(reserved());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire(pool, 2);
    world.pass(400);
    world.acquire(pool, 3);
    world.acquire(pool, 4);
    assert_eq!(world.run(600), ["1000: open s1 for p0"], "the others are not late");
    assert_eq!(world.run(60_000), ["1400: open s2 for p0"], "there is no third");
}

#[test]
fn a_server_beyond_the_size_serves_on_while_somebody_waits_and_then_goes() {
    let mut world = World::new(reserved());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire(pool, 2);
    world.run(1_000);
    world.opened(1);
    world.acquire(pool, 3);
    assert_eq!(world.release(1), ["grant c3 s1 after 0"]);
    assert_eq!(world.release(0), ["close s0 Reserve"], "whichever comes back first");
    assert_eq!(world.release(1), none(), "one is the pool's size");
    world.all_closed();
    assert_eq!(world.acquire(pool, 4), ["grant c4 s1 after 0"]);
}

#[test]
fn a_server_of_the_reserve_that_comes_too_late_is_closed_at_once() {
    let mut world = World::new(reserved());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire(pool, 2);
    world.run(1_000);
    world.withdraw(2);
    assert_eq!(world.opened(1), ["close s1 Reserve"]);
}

#[test]
fn the_reserve_is_below_the_other_caps() {
    let caps = [
        Limits { max_db_connections: Some(size(1)), ..reserved() },
        Limits { max_server_connections: Some(size(1)), ..reserved() },
    ];
    for caps in caps {
        let mut world = World::new(caps);
        let pool = world.pool("shop", "api");
        world.lend(pool, 1, 1);
        world.acquire(pool, 2);
        assert_eq!(world.run(5_000), none());
    }
    let mut world = World::new(reserved());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire(pool, 2);
    world.decided(|pools, now, out| pools.allow(Some(1), now, out));
    assert_eq!(world.run(5_000), none(), "nor is it opened above what a fleet leaves");
    let opened = world.decided(|pools, now, out| pools.allow(Some(2), now, out));
    assert_eq!(opened, ["open s1 for p0"]);
}

#[test]
fn another_pools_idle_server_makes_room_for_a_server_of_the_reserve() {
    let mut world = World::new(Limits { max_db_connections: Some(size(2)), ..reserved() });
    let (a, b) = (world.pool("shop", "a"), world.pool("shop", "b"));
    world.lend(a, 1, 1);
    world.lend(b, 2, 1);
    assert_eq!(world.release(1), none());
    world.acquire(a, 3);
    assert_eq!(world.run(1_000), ["1000: close s1 MakeRoom"]);
    assert_eq!(world.closed(1), ["open s2 for p0"]);
}

#[test]
fn the_demand_told_to_a_fleet_counts_the_reserve_when_it_is_wanted() {
    let mut world = World::new(reserved());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire(pool, 2);
    world.decided(|pools, now, out| pools.allow(Some(1), now, out));
    assert_eq!(world.pools.demand(), 1);
    world.run(1_000);
    assert_eq!(world.pools.demand(), 2);
}

#[test]
fn while_logins_fail_the_reserve_keeps_their_pace() {
    let mut world = World::new(reserved());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire(pool, 2);
    world.run(1_000);
    assert_eq!(world.open_failed(1, OpenFailure::Transient), none());
    assert_eq!(world.run(49), none());
    assert_eq!(world.run(60).len(), 1, "it is tried again");
}

#[test]
fn without_a_timeout_there_is_no_reserve() {
    let mut world = World::new(Limits { reserve_pool_timeout: None, ..reserved() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire(pool, 2);
    assert_eq!(world.run(60_000), none());
}

#[test]
fn nothing_idle_is_kept_beyond_a_size_that_was_lowered_for_one_whom_a_probe_serves() {
    let mut world = World::new(Limits { pool_size: size(2), ..reserved() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 2);
    world.pass(60_000);
    assert_eq!(world.acquire(pool, 1), ["probe s0 for c1"]);
    let smaller = world.decided(|pools, now, out| pools.set_limits(reserved(), now, out));
    assert_eq!(smaller, ["close s1 Shrunk"]);
    assert_eq!(world.probed(0, ProbeResult::Healthy), ["grant c1 s0 after 0"]);
}

#[test]
fn a_server_beyond_the_size_that_proves_healthy_is_for_the_one_that_waits() {
    let mut world = World::new(reserved());
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    world.pass(60_000);
    assert_eq!(world.acquire(pool, 1), ["probe s0 for c1"]);
    world.acquire(pool, 2);
    assert_eq!(world.run(1_000), ["61000: open s1 for p0"]);
    assert_eq!(world.probed(0, ProbeResult::Healthy), ["grant c1 s0 after 1000"]);
    assert_eq!(world.opened(1), ["grant c2 s1 after 1000"]);
}

#[test]
fn who_is_late_has_a_server_opened_also_where_another_class_took_the_one_that_was_probed_for_it() {
    let weights = [4, 1].into_iter().filter_map(std::num::NonZeroU16::new).collect();
    let mut world = World::new(Limits { class_weights: weights, ..reserved() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    world.pass(60_000);
    assert_eq!(world.acquire_as(1, pool, 1), ["probe s0 for c1"]);
    world.pass(1_100);
    assert_eq!(world.acquire(pool, 2), none(), "one of two waiters has a probe");
    let healthy = world.probed(0, ProbeResult::Healthy);
    assert_eq!(healthy, ["grant c2 s0 after 0", "open s1 for p0"]);
}
