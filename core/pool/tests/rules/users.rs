//! `max_user_connections`: the pools of one user in several databases. What holds for this cap as for
//! `max_db_connections` is in `room`.

use stent_pool::{Cap, Limits, PoolId};

use crate::harness::{World, limits, none, size};

fn capped(servers: u32) -> World {
    World::new(Limits { max_user_connections: Some(size(servers)), ..limits() })
}

#[test]
fn a_user_has_so_many_servers_over_all_databases_and_others_have_theirs() {
    let mut world = capped(2);
    let (shop, stock) = (world.pool("shop", "a"), world.pool("stock", "a"));
    let other = world.pool("stock", "b");
    world.lend(shop, 1, 1);
    world.lend(stock, 2, 1);
    assert_eq!(world.acquire(shop, 3), none());
    assert_eq!(world.acquire(other, 4), ["open s2 for p2"]);
    assert_eq!(world.pools.cap_reached(shop), Some(Cap::User));
    assert_eq!(world.pools.cap_reached(other), None);
    assert_eq!(world.release(0), ["grant c3 s0 after 0"]);
}

#[test]
fn the_longest_idle_server_of_the_user_makes_room_for_its_waiter_in_another_database() {
    let mut world = capped(2);
    let (shop, stock) = (world.pool("shop", "a"), world.pool("stock", "a"));
    let (mail, other) = (world.pool("mail", "a"), world.pool("mail", "b"));
    world.lend(other, 1, 1);
    world.release(0);
    world.lend(shop, 2, 1);
    world.lend(stock, 3, 1);
    world.pass(1);
    world.release(2);
    world.pass(1);
    world.release(1);
    assert_eq!(world.acquire(mail, 4), ["close s2 MakeRoom"], "no other user's, idle for longer");
    assert_eq!(world.closed(2), ["open s3 for p2"], "only once its socket is closed");
    assert_eq!(world.opened(3), ["grant c4 s3 after 0"]);
}

#[test]
fn a_freed_place_of_a_user_goes_to_the_first_of_its_waiters_over_all_databases() {
    let mut world = capped(1);
    let (shop, stock) = (world.pool("shop", "a"), world.pool("stock", "a"));
    let mail = world.pool("mail", "a");
    world.lend(shop, 1, 1);
    world.acquire(mail, 2);
    world.pass(1);
    world.acquire(stock, 3);
    assert_eq!(world.release(0), ["close s0 MakeRoom"]);
    assert_eq!(world.closed(0), ["open s1 for p2"]);
}

/// One server for each database and each user; two pools of a user, and another user's beside the
/// second.
fn capped_twice() -> (World, [PoolId; 3]) {
    let one = Some(size(1));
    let both = Limits { max_db_connections: one, max_user_connections: one, ..limits() };
    let mut world = World::new(both);
    let pools = [("shop", "a"), ("stock", "a"), ("stock", "b")];
    let pools = pools.map(|(database, user)| world.pool(database, user));
    (world, pools)
}

#[test]
fn nothing_is_closed_for_a_waiter_whose_database_has_no_room_either() {
    let (mut world, [shop, stock, other]) = capped_twice();
    world.lend(other, 1, 1);
    world.rest_one(shop, 2);
    assert_eq!(world.acquire(stock, 3), none(), "it would not help");
    assert_eq!(world.release(0), ["close s1 MakeRoom"], "now it does");
    assert_eq!(world.closed(1), ["close s0 MakeRoom"]);
    assert_eq!(world.closed(0), ["open s2 for p1"]);
}

#[test]
fn who_needs_room_below_both_caps_gets_it_from_two_idle_servers() {
    let (mut world, [shop, stock, other]) = capped_twice();
    world.rest_one(other, 1);
    world.rest_one(shop, 2);
    assert_eq!(world.acquire(stock, 3), ["close s1 MakeRoom"], "its user's");
    assert_eq!(world.closed(1), ["close s0 MakeRoom"], "then its database's");
    assert_eq!(world.closed(0), ["open s2 for p1"]);
    assert_eq!(world.opened(2), ["grant c3 s2 after 0"]);
}

#[test]
fn a_lower_cap_closes_idle_servers_of_the_user_and_cuts_nobody() {
    let mut world = World::new(limits());
    let (shop, stock) = (world.pool("shop", "a"), world.pool("stock", "a"));
    world.lend(shop, 1, 2);
    world.lend(stock, 3, 1);
    world.release(0);
    let lower = Limits { max_user_connections: Some(size(1)), ..limits() };
    let closed = world.decided(|pools, now, out| pools.set_limits(lower, now, out));
    assert_eq!(closed, ["close s0 Shrunk"]);
    assert_eq!(world.release(1), ["close s1 Shrunk"]);
    world.all_closed();
    assert_eq!(world.release(2), none(), "one is within the cap");
}

#[test]
fn a_higher_cap_serves_the_users_waiters_at_once() {
    let mut world = capped(1);
    let (shop, stock) = (world.pool("shop", "a"), world.pool("stock", "a"));
    world.lend(shop, 1, 1);
    world.acquire(stock, 2);
    let higher = Limits { max_user_connections: Some(size(2)), ..limits() };
    let opened = world.decided(|pools, now, out| pools.set_limits(higher, now, out));
    assert_eq!(opened, ["open s1 for p1"]);
}

#[test]
fn the_demand_of_a_user_ends_at_its_cap() {
    let mut world = capped(2);
    for database in ["shop", "stock", "mail"] {
        let pool = world.pool(database, "a");
        (0..2).for_each(|n| drop(world.acquire(pool, pool.index() as u64 * 10 + n)));
    }
    assert_eq!(world.pools.demand(), 2);
}

impl World {
    /// Opens one server more and lets it rest.
    fn rest_one(&mut self, pool: PoolId, waiter: u64) {
        let server = self.opened_count();
        self.lend(pool, waiter, 1);
        assert_eq!(self.release(server), none(), "nobody waits");
    }
}
