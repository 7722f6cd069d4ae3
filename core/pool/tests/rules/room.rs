//! `max_db_connections` and `max_server_connections`, and what `max_user_connections` has in common
//! with them: who gets the next connection where a cap is reached.

use stent_pool::{Limits, PoolId};

use crate::harness::{World, limits, none, size};

fn capped(servers: u32) -> World {
    let limits = Limits { max_db_connections: Some(size(servers)), ..limits() };
    World::new(limits)
}

/// Two pools below one cap: that of their database, or that of their user.
fn rivals(servers: u32) -> [(World, PoolId, PoolId); 2] {
    let of_user = Limits { max_user_connections: Some(size(servers)), ..limits() };
    let worlds = [(capped(servers), ("shop", "b")), (World::new(of_user), ("stock", "a"))];
    worlds.map(|(mut world, (database, user))| {
        let (first, second) = (world.pool("shop", "a"), world.pool(database, user));
        (world, first, second)
    })
}

#[test]
fn the_longest_idle_server_of_another_pool_makes_room() {
    let mut world = capped(2);
    let (first, second) = (world.pool("shop", "a"), world.pool("shop", "b"));
    let third = world.pool("shop", "c");
    world.lend(first, 1, 1);
    world.lend(second, 2, 1);
    world.release(1);
    world.pass(1);
    world.release(0);
    assert_eq!(world.acquire(third, 3), ["close s1 MakeRoom"]);
    assert_eq!(world.closed(1), ["open s2 for p2"], "only once its socket is closed");
    assert_eq!(world.opened(2), ["grant c3 s2 after 0"]);
}

#[test]
fn databases_do_not_take_room_from_each_other() {
    let mut world = capped(1);
    let (shop, stock) = (world.pool("shop", "a"), world.pool("stock", "a"));
    world.rest(shop, 1);
    assert_eq!(world.acquire(stock, 1), ["open s1 for p1"]);
}

#[test]
fn no_more_idle_servers_are_closed_than_are_needed() {
    for (mut world, first, second) in rivals(2) {
        world.rest(first, 2);
        assert_eq!(world.acquire(second, 1), ["close s1 MakeRoom"]);
        assert_eq!(world.withdraw(1), none());
        assert_eq!(world.acquire(second, 2), none(), "the one being closed makes room");
        assert_eq!(world.acquire(second, 3), ["close s0 MakeRoom"]);
    }
}

#[test]
fn a_server_released_where_nobody_waits_is_closed_for_a_waiter_of_another_pool() {
    for (mut world, first, second) in rivals(1) {
        world.lend(first, 1, 1);
        assert_eq!(world.acquire(second, 2), none());
        assert_eq!(world.release(0), ["close s0 MakeRoom"]);
        assert_eq!(world.closed(0), ["open s1 for p1"]);
    }
}

#[test]
fn a_released_server_stays_with_its_pool_while_the_others_wait_hardly_longer() {
    for (mut world, first, second) in rivals(1) {
        world.lend(first, 1, 1);
        world.acquire(second, 2);
        world.pass(50);
        world.acquire(first, 3);
        assert_eq!(world.release(0), ["grant c3 s0 after 0"]);
    }
}

#[test]
fn a_released_server_changes_pools_for_a_waiter_far_ahead_of_its_own() {
    for (mut world, first, second) in rivals(1) {
        world.lend(first, 1, 1);
        world.acquire(second, 2);
        world.pass(51);
        world.acquire(first, 3);
        assert_eq!(world.release(0), ["close s0 MakeRoom"]);
        assert_eq!(world.closed(0), ["open s1 for p1"]);
    }
}

#[test]
fn one_waiter_far_ahead_takes_one_server() {
    let mut world = capped(2);
    let (first, second) = (world.pool("shop", "a"), world.pool("shop", "b"));
    world.lend(first, 1, 2);
    world.acquire(second, 3);
    world.pass(60);
    world.acquire(first, 4);
    world.acquire(first, 5);
    assert_eq!(world.release(0), ["close s0 MakeRoom"]);
    assert_eq!(world.release(1), ["grant c4 s1 after 0"]);
}

#[test]
fn free_room_goes_to_the_waiter_that_came_first_over_all_pools() {
    let mut world = capped(1);
    let pools: Vec<_> = ["a", "b", "c"].into_iter().map(|user| world.pool("shop", user)).collect();
    world.lend(pools[0], 1, 1);
    world.acquire(pools[2], 2);
    world.pass(1);
    world.acquire(pools[1], 3);
    world.release(0);
    assert_eq!(world.closed(0), ["open s1 for p2"]);
    assert_eq!(world.opened(1), ["grant c2 s1 after 1"]);
    world.release(1);
    assert_eq!(world.closed(1), ["open s2 for p1"]);
}

#[test]
fn a_pool_in_its_pause_takes_no_room_from_the_others() {
    let mut world = capped(1);
    let (first, second) = (world.pool("shop", "a"), world.pool("shop", "b"));
    world.rest(first, 1);
    assert_eq!(world.acquire(second, 1), ["close s0 MakeRoom"]);
    assert_eq!(world.closed(0), ["open s1 for p1"]);
    assert_eq!(world.refused(1), ["refuse c1 OpenFailed after 0"]);
    world.acquire(second, 2);
    assert_eq!(world.acquire(first, 3), ["open s2 for p0"]);
}

#[test]
fn the_minimum_of_one_pool_never_takes_a_server_from_another() {
    let limits = Limits { max_db_connections: Some(size(2)), min_pool_size: 2, ..limits() };
    let mut world = World::new(limits);
    let (first, second) = (world.pool("shop", "a"), world.pool("shop", "b"));
    world.acquire(first, 1);
    world.opened(0);
    world.opened(1);
    assert_eq!(world.acquire(second, 2), ["close s1 MakeRoom"], "a waiter does");
    assert_eq!(world.closed(1), ["open s2 for p1"]);
    world.opened(2);
    assert_eq!(world.release(0), none());
    assert_eq!(world.run(10_000), none(), "the minimum waits for room");
}

#[test]
fn a_minimum_that_found_no_room_is_filled_soon_after_there_is_some() {
    let limits = Limits { max_db_connections: Some(size(1)), min_pool_size: 1, ..limits() };
    let mut world = World::new(limits);
    let (first, second) = (world.pool("shop", "a"), world.pool("shop", "b"));
    world.rest(first, 1);
    world.acquire(second, 1);
    assert_eq!(world.closed(0), ["open s1 for p1"]);
    world.withdraw(1);
    world.opened(1);
    world.lost(1);
    assert_eq!(world.closed(1), ["open s2 for p1"], "its own minimum is nearest");
    assert_eq!(world.open_failed(2, stent_pool::OpenFailure::Permanent), none());
    let filled = world.run(1_000);
    assert_eq!(filled.len(), 1, "{filled:?}");
    assert!(filled[0].ends_with("open s3 for p0"), "{filled:?}");
}

fn capped_over_all(servers: u32) -> World {
    World::new(Limits { max_server_connections: Some(size(servers)), ..limits() })
}

#[test]
fn the_longest_idle_server_of_another_database_makes_room_under_the_cap_of_all() {
    let mut world = capped_over_all(2);
    let (shop, stock) = (world.pool("shop", "a"), world.pool("stock", "a"));
    let third = world.pool("mail", "a");
    world.lend(shop, 1, 1);
    world.lend(stock, 2, 1);
    world.release(1);
    world.pass(1);
    world.release(0);
    assert_eq!(world.acquire(third, 3), ["close s1 MakeRoom"]);
    assert_eq!(world.closed(1), ["open s2 for p2"], "only once its socket is closed");
}

#[test]
fn a_free_place_under_the_cap_of_all_goes_to_the_waiter_that_came_first_over_all_databases() {
    let mut world = capped_over_all(1);
    let (shop, stock) = (world.pool("shop", "a"), world.pool("stock", "a"));
    let mail = world.pool("mail", "a");
    world.lend(shop, 1, 1);
    world.acquire(mail, 2);
    world.pass(1);
    world.acquire(stock, 3);
    assert_eq!(world.release(0), ["close s0 MakeRoom"]);
    assert_eq!(world.closed(0), ["open s1 for p2"]);
    assert_eq!(world.opened(1), ["grant c2 s1 after 1"]);
}

#[test]
fn a_server_changes_databases_for_a_waiter_far_ahead_of_its_own() {
    let mut world = capped_over_all(1);
    let (shop, stock) = (world.pool("shop", "a"), world.pool("stock", "a"));
    world.lend(shop, 1, 1);
    world.acquire(stock, 2);
    world.pass(51);
    world.acquire(shop, 3);
    assert_eq!(world.release(0), ["close s0 MakeRoom"]);
    assert_eq!(world.closed(0), ["open s1 for p1"]);
}

#[test]
fn the_listening_connection_is_beside_the_pool_and_has_no_minimum() {
    let mut world = World::new(Limits { pool_size: size(1), min_pool_size: 1, ..limits() });
    let shop = world.pool("shop", "a");
    let ear = world.pools.listening(shop).unwrap();
    assert_eq!(world.pools.listening(shop).unwrap(), ear, "one for each pool");
    world.lend(shop, 1, 1);
    assert_eq!(world.acquire(ear, 2), ["open s1 for p1"]);
    assert_eq!(world.opened(1), ["grant c2 s1 after 0"]);
    assert_eq!(world.acquire(ear, 3), none(), "there is one and no more");
    assert_eq!(world.pools.census(ear, world.now()).size_max, 1);
    assert_eq!(world.pools.pools().count(), 1, "it is no pool of clients");
    assert_eq!(world.pools.pool("shop", "a").unwrap(), shop);
}

#[test]
fn the_listening_connection_takes_a_place_under_max_db_connections() {
    let mut world = capped(1);
    let shop = world.pool("shop", "a");
    let ear = world.pools.listening(shop).unwrap();
    world.lend(shop, 1, 1);
    assert_eq!(world.acquire(ear, 2), none(), "the place is taken");
    assert_eq!(world.release(0), ["close s0 MakeRoom"]);
    assert_eq!(world.closed(0), ["open s1 for p1"]);
    assert_eq!(world.opened(1), ["grant c2 s1 after 0"]);
    assert_eq!(world.acquire(shop, 3), none());
    assert_eq!(world.release(1), ["close s1 MakeRoom"], "it listens for nobody any more");
    assert_eq!(world.closed(1), ["open s2 for p0"]);
}
