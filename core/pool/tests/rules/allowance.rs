//! The allowance of a fleet: a cap of all servers that changes while everything runs.

use stent_pool::{Decision, OpenFailure};

use crate::harness::{World, limits, none, size};

fn allow(world: &mut World, most: u32) -> Vec<String> {
    let mut decisions: Vec<Decision> = Vec::new();
    world.pools.allow(Some(most), world.now(), &mut decisions);
    decisions.into_iter().map(|decision| world.write_down(decision)).collect()
}

#[test]
fn without_an_allowance_clients_wait_and_are_served_when_it_comes() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "a");
    assert_eq!(allow(&mut world, 0), none());
    assert_eq!(world.acquire(pool, 1), none());
    assert_eq!(world.acquire(pool, 2), none());
    assert_eq!(world.pools.demand(), 2, "what is waited for is a need");
    assert_eq!(allow(&mut world, 1), ["open s0 for p0"]);
    assert_eq!(allow(&mut world, 2), ["open s1 for p0"]);
    assert_eq!(world.pools.held(), 2);
}

#[test]
fn what_is_idle_above_a_lower_allowance_is_closed_and_what_is_lent_when_it_comes_back() {
    let mut world = World::new(limits());
    let (first, second) = (world.pool("shop", "a"), world.pool("shop", "b"));
    world.rest(first, 2);
    world.lend(second, 7, 1);
    assert_eq!(allow(&mut world, 0), ["close s1 Shrunk", "close s0 Shrunk"]);
    assert_eq!(world.all_closed(), none());
    assert_eq!(world.pools.held(), 1);
    assert_eq!(world.release(2), ["close s2 Shrunk"]);
    assert_eq!(world.closed(2), none());
    assert_eq!(world.pools.held(), 0);
}

#[test]
fn a_server_that_was_being_opened_when_the_allowance_fell_is_closed_again() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "a");
    world.acquire(pool, 1);
    assert_eq!(allow(&mut world, 0), none());
    assert_eq!(world.opened(0), ["close s0 Shrunk"]);
    assert_eq!(world.closed(0), none(), "and no other in its place");
    assert_eq!(allow(&mut world, 1), ["open s1 for p0"]);
}

#[test]
fn a_released_server_goes_on_to_the_next_client_within_the_allowance() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "a");
    allow(&mut world, 1);
    world.lend(pool, 1, 1);
    assert_eq!(world.acquire(pool, 2), none());
    assert_eq!(world.release(0), ["grant c2 s0 after 0"]);
}

#[test]
fn nobody_is_refused_because_postgresql_is_full_for_a_moment() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "a");
    world.acquire(pool, 1);
    assert_eq!(world.open_failed(0, OpenFailure::Crowded), none(), "it waits on");
    assert_eq!(world.run(1_000).len(), 1, "and another attempt is made");
}

#[test]
fn the_demand_of_a_pool_ends_at_its_size() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "a");
    (0..10).for_each(|client| drop(world.acquire(pool, client)));
    assert_eq!(size(world.pools.demand()), limits().pool_size);
}
