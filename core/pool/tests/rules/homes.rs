//! Which of several servers or clients, where they are with several threads of the shell.

use stent_pool::Limits;

use crate::harness::{World, limits, none, size};

/// A pool of two servers at rest: `s0` at home 0, `s1` at home 1, which came to rest last.
fn one_at_each_home() -> (World, stent_pool::PoolId) {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    for home in [0_u16, 1] {
        let client = u64::from(home) + 900;
        world.acquire_at(home, pool, client);
        world.opened_at(home, usize::from(home));
    }
    assert_eq!(world.release(0), none());
    assert_eq!(world.release(1), none());
    (world, pool)
}

#[test]
fn an_idle_server_of_the_clients_own_home_is_preferred() {
    let (mut world, pool) = one_at_each_home();
    assert_eq!(world.acquire_at(0, pool, 1), ["grant c1 s0 after 0"]);
    assert_eq!(world.release(0), none());
    assert_eq!(world.acquire_at(1, pool, 2), ["grant c2 s1 after 0"]);
}

#[test]
fn an_idle_server_of_another_home_is_lent_rather_than_another_opened() {
    let (mut world, pool) = one_at_each_home();
    assert_eq!(world.acquire_at(0, pool, 1), ["grant c1 s0 after 0"]);
    assert_eq!(world.acquire_at(0, pool, 2), ["grant c2 s1 after 0"]);
}

#[test]
fn a_server_is_at_home_where_its_last_client_is() {
    let (mut world, pool) = one_at_each_home();
    world.acquire_at(0, pool, 1);
    world.acquire_at(0, pool, 2);
    assert_eq!(world.release(1), none());
    assert_eq!(world.release(0), none());
    // Both are at home 0 now, so the one that came to rest last is lent.
    assert_eq!(world.acquire_at(1, pool, 3), ["grant c3 s0 after 0"]);
    assert_eq!(world.acquire_at(0, pool, 4), ["grant c4 s1 after 0"]);
}

#[test]
fn a_server_that_is_given_back_goes_to_a_client_of_its_home_that_came_a_moment_later() {
    let mut world = World::new(Limits { pool_size: size(1), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 900, 1);
    world.acquire_at(1, pool, 1);
    world.pass(5);
    world.acquire_at(0, pool, 2);
    assert_eq!(world.release(0), ["grant c2 s0 after 0"]);
    assert_eq!(world.release(0), ["grant c1 s0 after 5"]);
}

#[test]
fn a_client_of_its_home_is_found_behind_any_number_of_others() {
    let mut world = World::new(Limits { pool_size: size(1), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 900, 1);
    for client in 1..=50 {
        world.acquire_at(1, pool, client);
    }
    world.acquire_at(0, pool, 51);
    assert_eq!(world.release(0), ["grant c51 s0 after 0"]);
    assert_eq!(world.release(0), ["grant c1 s0 after 0"]);
}

#[test]
fn nobody_is_overtaken_by_a_client_that_came_noticeably_later() {
    let mut world = World::new(Limits { pool_size: size(1), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 900, 1);
    world.acquire_at(1, pool, 1);
    world.pass(6);
    world.acquire_at(0, pool, 2);
    assert_eq!(world.release(0), ["grant c1 s0 after 6"]);
    assert_eq!(world.release(0), ["grant c2 s0 after 0"]);
}

#[test]
fn a_server_that_needs_a_probe_is_not_preferred_for_its_home() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    for home in [0_u16, 1] {
        world.acquire_at(home, pool, u64::from(home) + 900);
        world.opened_at(home, usize::from(home));
    }
    assert_eq!(world.release(0), none());
    world.pass(30_001);
    assert_eq!(world.release(1), none());
    assert_eq!(world.acquire_at(0, pool, 1), ["grant c1 s1 after 0"]);
}

#[test]
fn the_cap_is_of_all_homes_together() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    assert_eq!(world.acquire_at(0, pool, 1), ["open s0 for p0"]);
    assert_eq!(world.acquire_at(1, pool, 2), ["open s1 for p0"]);
    assert_eq!(world.acquire_at(2, pool, 3), none());
}
