//! Who gets which server: order, probes, refusals, clients that leave.

use stent_pool::{Condition, Limits, ProbeResult};

use crate::harness::{World, limits, ms, none, size};

#[test]
fn the_first_client_gets_the_server_that_is_opened_for_it() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    assert_eq!(world.acquire(pool, 1), ["open s0 for p0"]);
    world.pass(7);
    assert_eq!(world.opened(0), ["grant c1 s0 after 7"]);
}

#[test]
fn the_server_that_came_to_rest_last_is_lent_first() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 2);
    assert_eq!(world.release(0), none());
    assert_eq!(world.release(1), none());
    assert_eq!(world.acquire(pool, 3), ["grant c3 s1 after 0"]);
    assert_eq!(world.acquire(pool, 4), ["grant c4 s0 after 0"]);
}

#[test]
fn a_released_server_goes_straight_to_the_client_that_has_waited_longest() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 2);
    assert_eq!(world.acquire(pool, 3), none());
    world.pass(5);
    assert_eq!(world.acquire(pool, 4), none());
    world.pass(5);
    assert_eq!(world.release(1), ["grant c3 s1 after 10"]);
    assert_eq!(world.release(0), ["grant c4 s0 after 5"]);
}

#[test]
fn an_opened_server_goes_to_the_first_in_the_queue_whoever_it_was_opened_for() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    assert_eq!(world.acquire(pool, 1), ["open s0 for p0"]);
    assert_eq!(world.acquire(pool, 2), ["open s1 for p0"]);
    assert_eq!(world.opened(1), ["grant c1 s1 after 0"]);
    assert_eq!(world.opened(0), ["grant c2 s0 after 0"]);
}

#[test]
fn a_server_idle_for_longer_than_the_check_delay_is_probed_before_it_is_lent() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    world.pass(30_001);
    assert_eq!(world.acquire(pool, 1), ["probe s0 for c1"]);
    world.pass(2);
    assert_eq!(world.probed(0, ProbeResult::Healthy), ["grant c1 s0 after 2"]);
}

#[test]
fn a_server_idle_for_just_the_check_delay_is_lent_without_a_probe() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    world.pass(30_000);
    assert_eq!(world.acquire(pool, 1), ["grant c1 s0 after 0"]);
}

#[test]
fn after_a_failed_probe_the_next_idle_server_is_probed_for_the_same_client() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.rest(pool, 2);
    world.pass(60_000);
    assert_eq!(world.acquire(pool, 1), ["probe s0 for c1"]);
    let failed = world.probed(0, ProbeResult::Failed);
    assert_eq!(failed, ["close s0 ProbeFailed", "probe s1 for c1"]);
    assert_eq!(world.probed(1, ProbeResult::Healthy), ["grant c1 s1 after 0"]);
}

#[test]
fn after_the_last_failed_probe_a_server_is_opened_for_the_client_at_the_head() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    world.pass(60_000);
    assert_eq!(world.acquire(pool, 1), ["probe s0 for c1"]);
    let failed = world.probed(0, ProbeResult::Failed);
    assert_eq!(failed, ["close s0 ProbeFailed", "open s1 for p0"]);
    assert_eq!(world.acquire(pool, 2), none(), "the closing server still counts");
    assert_eq!(world.opened(1), ["grant c1 s1 after 0"]);
    assert_eq!(world.closed(0), ["open s2 for p0"]);
}

#[test]
fn a_server_released_during_a_probe_goes_to_the_client_that_was_probed_for() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.rest(pool, 2);
    assert_eq!(world.acquire(pool, 1), ["grant c1 s0 after 0"]);
    world.pass(60_000);
    assert_eq!(world.acquire(pool, 2), ["probe s1 for c2"]);
    assert_eq!(world.release(0), ["grant c2 s0 after 0"]);
    assert_eq!(world.acquire(pool, 3), none(), "the probe under way serves the next");
    assert_eq!(world.probed(1, ProbeResult::Healthy), ["grant c3 s1 after 0"]);
}

#[test]
fn a_probed_server_comes_to_rest_when_its_client_has_left() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    world.pass(60_000);
    assert_eq!(world.acquire(pool, 1), ["probe s0 for c1"]);
    assert_eq!(world.withdraw(1), none());
    assert_eq!(world.probed(0, ProbeResult::Healthy), none());
    assert_eq!(world.acquire(pool, 2), ["grant c2 s0 after 0"]);
}

#[test]
fn a_client_that_leaves_the_queue_is_passed_over() {
    let mut world = World::new(Limits { pool_size: size(1), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    assert_eq!(world.acquire(pool, 2), none());
    assert_eq!(world.acquire(pool, 3), none());
    assert_eq!(world.withdraw(2), none());
    assert_eq!(world.release(0), ["grant c3 s0 after 0"]);
    assert_eq!(world.withdraw(2), none(), "leaving twice changes nothing");
}

#[test]
fn places_of_a_queue_that_has_gone_are_given_back_and_the_order_of_who_stays_is_kept() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 2);
    for client in 3..503 {
        assert_eq!(world.acquire(pool, client), none());
    }
    for client in 5..503 {
        assert_eq!(world.withdraw(client), none());
    }
    world.pools.give_back();
    let (taken, free, _) = world.pools.waiting_room();
    assert_eq!((taken, free), (2, 0));
    assert_eq!(world.release(0), ["grant c3 s0 after 0"]);
    assert_eq!(world.release(1), ["grant c4 s1 after 0"]);
}

#[test]
fn waiters_are_refused_at_query_wait_timeout_in_the_order_of_arrival() {
    let timeout = Some(ms(1_000));
    let mut world =
        World::new(Limits { pool_size: size(1), query_wait_timeout: timeout, ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire(pool, 2);
    world.pass(10);
    world.acquire(pool, 3);
    assert_eq!(world.run(989), none());
    let refused = world.run(20);
    assert_eq!(
        refused,
        ["1000: refuse c2 WaitTimeout after 1000", "1010: refuse c3 WaitTimeout after 1000"]
    );
    assert_eq!(world.pools.next_deadline(), None);
}

#[test]
fn a_full_queue_refuses_the_next_client_of_that_pool_only() {
    let mut world = World::new(Limits { pool_size: size(1), waiters_max: 1, ..limits() });
    let pool = world.pool("shop", "api");
    let other = world.pool("shop", "reports");
    world.lend(pool, 1, 1);
    assert_eq!(world.acquire(pool, 2), none());
    assert_eq!(world.acquire(pool, 3), ["refuse c3 QueueFull after 0"]);
    assert_eq!(world.acquire(other, 4), ["open s1 for p1"]);
}

#[test]
fn a_server_in_doubt_is_closed_and_never_lent_again() {
    let mut world = World::new(Limits { pool_size: size(1), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    assert_eq!(world.acquire(pool, 2), none());
    assert_eq!(world.release_as(0, Condition::Doubtful), ["close s0 Doubtful"]);
    assert_eq!(world.closed(0), ["open s1 for p0"]);
    assert_eq!(world.opened(1), ["grant c2 s1 after 0"]);
}

#[test]
fn after_a_broken_server_those_idle_since_before_are_probed_first() {
    let mut world = World::new(Limits { pool_size: size(3), ..limits() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 2);
    world.acquire(pool, 1);
    world.pass(5);
    assert_eq!(world.release_as(0, Condition::Broken), ["close s0 Broken"]);
    assert_eq!(world.acquire(pool, 2), ["probe s1 for c2"]);
    world.pass(5);
    assert_eq!(world.probed(1, ProbeResult::Healthy), ["grant c2 s1 after 5"]);
    assert_eq!(world.release(1), none());
    assert_eq!(world.acquire(pool, 3), ["grant c3 s1 after 0"], "it has proved itself since");
}

#[test]
fn an_event_about_a_server_that_is_gone_changes_nothing() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    world.lost(0);
    world.closed(0);
    assert_eq!(world.acquire(pool, 1), ["open s1 for p0"], "in the place of the other");
    assert_eq!(world.pools.misfits(), 0);
    for told in [world.opened(0), world.release(0), world.lost(0), world.closed(0)] {
        assert_eq!(told, none());
    }
    assert_eq!(world.probed(0, ProbeResult::Failed), none());
    assert_eq!(world.refused(0), none());
    assert_eq!(world.pools.misfits(), 6);
    assert_eq!(world.opened(1), ["grant c1 s1 after 0"]);
}

#[test]
fn a_client_that_waits_already_is_not_queued_twice() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.acquire(pool, 1);
    assert_eq!(world.acquire(pool, 1), none());
    assert_eq!(world.pools.misfits(), 1);
    assert_eq!(world.opened(0), ["grant c1 s0 after 0"]);
    assert_eq!(world.release(0), none());
}

#[test]
fn ten_thousand_waiters_are_served_in_the_order_of_arrival() {
    let limits = Limits { pool_size: size(1), waiters_max: 10_000, ..limits() };
    let mut world = World::new(limits);
    let pool = world.pool("shop", "api");
    world.acquire(pool, 0);
    for waiter in 1..10_000 {
        assert_eq!(world.acquire(pool, waiter), none());
    }
    assert_eq!(world.opened(0), ["grant c0 s0 after 0"]);
    for waiter in 1..10_000 {
        assert_eq!(world.release(0), [format!("grant c{waiter} s0 after 0")]);
    }
}

/// A pool of one that serves one client each 100 ms for so long, while somebody waits.
fn busy(milliseconds: u64) -> (World, stent_pool::PoolId) {
    let timeout = Some(ms(1_000));
    let mut world =
        World::new(Limits { pool_size: size(1), query_wait_timeout: timeout, ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.acquire(pool, 2);
    for client in (3..).take(usize::try_from(milliseconds / 100).unwrap()) {
        world.acquire(pool, client);
        world.pass(100);
        assert_eq!(world.release(0).len(), 1);
    }
    (world, pool)
}

#[test]
fn who_could_not_be_served_in_time_is_told_at_once() {
    let (mut world, pool) = busy(1_000);
    let told: Vec<_> = (100..130).flat_map(|client| world.acquire(pool, client)).collect();
    assert!(!told.is_empty(), "30 clients at 10 a second do not fit into a second");
    assert!(told[0].contains("Overloaded") && told[0].ends_with("after 0"), "{told:?}");
    let waiting = world.pools.census(pool, world.now()).waiting;
    assert!((10..=22).contains(&waiting), "those who could be served wait: {waiting}");
    assert_eq!(world.pools.census(pool, world.now()).totals.refused_overloaded, told.len() as u64);
}

#[test]
fn without_evidence_of_the_pace_everybody_waits() {
    let (mut world, pool) = busy(100);
    let told: Vec<_> = (100..200).flat_map(|client| world.acquire(pool, client)).collect();
    assert_eq!(told, none());
}

#[test]
fn while_a_pool_can_grow_nobody_is_sent_away() {
    let (mut world, pool) = busy(1_000);
    world.release_as(0, Condition::Broken);
    world.all_closed();
    let told: Vec<_> = (100..200).flat_map(|client| world.acquire(pool, client)).collect();
    assert_eq!(told, none(), "a server is being opened");
}
