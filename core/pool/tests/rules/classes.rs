//! Classes of clients: who waits behind whom, and for how long.

use std::num::NonZeroU16;

use stent_pool::{ClassCensus, Limits};

use crate::harness::{World, limits, ms, none, size};

/// One server; the usual class is served four times as often as class 1.
fn classed(weights: &[u16]) -> Limits {
    let weights = weights.iter().copied().filter_map(NonZeroU16::new);
    Limits { pool_size: size(1), class_weights: weights.collect(), ..limits() }
}

/// Lends the only server to whoever is next, so often; the order of the clients.
fn served(world: &mut World, times: usize) -> Vec<u64> {
    let granted = |line: String| {
        let client = line.strip_prefix("grant c").and_then(|line| line.split(' ').next());
        client.unwrap().parse().unwrap()
    };
    (0..times).flat_map(|_| world.release(0)).map(granted).collect()
}

#[test]
fn a_class_waits_behind_the_others_but_gets_its_share() {
    let mut world = World::new(classed(&[4, 1]));
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    (11..14).for_each(|client| assert_eq!(world.acquire_as(1, pool, client), none()));
    (21..31).for_each(|client| assert_eq!(world.acquire(pool, client), none()));
    let order = served(&mut world, 13);
    assert_eq!(order, [21, 11, 22, 23, 24, 25, 12, 26, 27, 28, 29, 13, 30]);
}

#[test]
fn a_class_that_comes_late_has_saved_up_no_turns() {
    let mut world = World::new(classed(&[2, 2]));
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    (21..29).for_each(|client| assert_eq!(world.acquire(pool, client), none()));
    world.acquire_as(1, pool, 11);
    assert_eq!(served(&mut world, 5), [21, 11, 22, 23, 24]);
    (12..15).for_each(|client| assert_eq!(world.acquire_as(1, pool, client), none()));
    assert_eq!(served(&mut world, 7), [12, 25, 13, 26, 14, 27, 28]);
}

#[test]
fn alone_a_class_has_every_server() {
    let mut world = World::new(classed(&[100, 1]));
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    (11..15).for_each(|client| assert_eq!(world.acquire_as(1, pool, client), none()));
    assert_eq!(served(&mut world, 4), [11, 12, 13, 14]);
}

#[test]
fn a_free_server_is_for_whoever_comes_whatever_its_class() {
    let mut world = World::new(classed(&[100, 1]));
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    assert_eq!(world.acquire_as(1, pool, 1), ["grant c1 s0 after 0"]);
}

#[test]
fn a_class_behind_others_keeps_its_deadline() {
    let limits = Limits { query_wait_timeout: Some(ms(1_000)), ..classed(&[100, 1]) };
    let mut world = World::new(limits);
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire_as(1, pool, 11);
    world.pass(500);
    world.acquire(pool, 21);
    assert_eq!(world.run(600), ["1000: refuse c11 WaitTimeout after 1000"]);
    assert_eq!(world.release(0), ["grant c21 s0 after 600"]);
}

#[test]
fn a_class_that_the_limits_do_not_have_is_the_usual_one() {
    for weights in [&[][..], &[3], &[3, 1]] {
        let mut world = World::new(classed(weights));
        let pool = world.pool("shop", "api");
        world.lend(pool, 1, 1);
        world.acquire_as(7, pool, 11);
        world.acquire(pool, 21);
        assert_eq!(served(&mut world, 2), [11, 21], "{weights:?}: as they came");
    }
}

#[test]
fn other_weights_hold_for_those_who_wait_already() {
    let mut world = World::new(classed(&[1, 1]));
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    (11..14).for_each(|client| assert_eq!(world.acquire_as(1, pool, client), none()));
    (21..25).for_each(|client| assert_eq!(world.acquire(pool, client), none()));
    assert_eq!(served(&mut world, 2), [21, 11]);
    world.decided(|pools, now, out| pools.set_limits(classed(&[2, 1]), now, out));
    assert_eq!(served(&mut world, 5), [22, 12, 23, 24, 13]);
}

#[test]
fn who_waited_while_the_database_was_paused_keeps_its_line() {
    let mut world = World::new(classed(&[4, 1]));
    let pool = world.pool("shop", "api");
    world.tell(stent_pool::Event::Pause { pool });
    world.acquire_as(1, pool, 11);
    world.acquire(pool, 21);
    world.acquire_as(1, pool, 12);
    world.pass(5_000);
    assert_eq!(world.tell(stent_pool::Event::Resume { pool }), ["open s0 for p0"]);
    assert_eq!(world.opened(0), ["grant c21 s0 after 5000"]);
    assert_eq!(served(&mut world, 2), [11, 12]);
}

/// Who waits, for how many milliseconds, how many were served and how many had no time left.
fn counted(world: &World) -> Vec<(u32, u128, u64, u64)> {
    let told = |class: ClassCensus| {
        (class.waiting, class.maxwait.as_millis(), class.served, class.timeouts)
    };
    world.pools.classes(world.now()).into_iter().map(told).collect()
}

#[test]
fn each_class_is_counted_over_all_pools() {
    let limits = Limits { query_wait_timeout: Some(ms(1_000)), ..classed(&[4, 1]) };
    let mut world = World::new(limits);
    let (shop, lake) = (world.pool("shop", "api"), world.pool("lake", "api"));
    world.lend(shop, 1, 1);
    world.lend(lake, 2, 1);
    assert_eq!(counted(&world), [(0, 0, 2, 0), (0, 0, 0, 0)]);
    world.acquire_as(1, shop, 11);
    world.pass(300);
    world.acquire_as(1, lake, 12);
    world.acquire(lake, 21);
    world.pass(100);
    assert_eq!(counted(&world), [(1, 100, 2, 0), (2, 400, 0, 0)]);
    assert_eq!(world.release(0), ["grant c11 s0 after 400"]);
    assert_eq!(counted(&world), [(1, 100, 2, 0), (1, 100, 1, 0)]);
    world.withdraw(21);
    assert_eq!(world.run(900), ["1300: refuse c12 WaitTimeout after 1000"]);
    assert_eq!(counted(&world), [(0, 0, 2, 0), (0, 0, 1, 1)]);
}

#[test]
fn who_listens_for_others_is_of_no_class() {
    let mut world = World::new(classed(&[4, 1]));
    let pool = world.pool("shop", "api");
    let listening = world.pools.listening(pool).unwrap();
    world.lend(listening, 1, 1);
    assert_eq!(counted(&world), [(0, 0, 0, 0); 2]);
}

#[test]
fn where_there_is_one_class_nothing_is_counted_by_class() {
    for weights in [&[][..], &[3]] {
        let mut world = World::new(classed(weights));
        let pool = world.pool("shop", "api");
        world.lend(pool, 1, 1);
        assert!(counted(&world).is_empty(), "{weights:?}");
    }
}

#[test]
fn who_waits_in_a_class_that_is_no_more_is_counted_in_the_usual_one() {
    let mut world = World::new(classed(&[4, 1, 1]));
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire_as(2, pool, 11);
    world.decided(|pools, now, out| pools.set_limits(classed(&[4, 1]), now, out));
    assert_eq!(counted(&world), [(1, 0, 1, 0), (0, 0, 0, 0)]);
    assert_eq!(served(&mut world, 1), [11]);
    assert_eq!(counted(&world), [(0, 0, 2, 0), (0, 0, 0, 0)]);
}

#[test]
fn other_classes_are_counted_anew_but_for_who_waits() {
    let mut world = World::new(classed(&[4, 1]));
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire_as(1, pool, 11);
    world.pools.count_classes_anew();
    assert_eq!(counted(&world), [(0, 0, 0, 0), (1, 0, 0, 0)]);
}
