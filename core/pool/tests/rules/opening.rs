//! When servers are opened, how failures are retried, and who is refused because of them.

use stent_pool::{Condition, Limits, OPENING_ALL_MAX, OpenFailure, RETRY_MAX, RETRY_MIN};

use crate::harness::{World, limits, ms, none, size};

#[test]
fn one_server_is_opened_for_each_waiter_up_to_pool_size() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    assert_eq!(world.acquire(pool, 1), ["open s0 for p0"]);
    assert_eq!(world.acquire(pool, 2), ["open s1 for p0"]);
    assert_eq!(world.acquire(pool, 3), none());
}

#[test]
fn a_login_already_under_way_for_nobody_serves_the_next_waiter() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.acquire(pool, 1);
    world.withdraw(1);
    assert_eq!(world.acquire(pool, 2), none());
    assert_eq!(world.opened(0), ["grant c2 s0 after 0"]);
}

#[test]
fn no_more_than_opening_max_logins_are_under_way_in_a_pool() {
    let mut world = World::new(Limits { pool_size: size(9), opening_max: 2, ..limits() });
    let pool = world.pool("shop", "api");
    assert_eq!(world.acquire(pool, 1), ["open s0 for p0"]);
    assert_eq!(world.acquire(pool, 2), ["open s1 for p0"]);
    assert_eq!(world.acquire(pool, 3), none());
    assert_eq!(world.acquire(pool, 4), none());
    assert_eq!(world.opened(0), ["grant c1 s0 after 0", "open s2 for p0"]);
}

#[test]
fn a_first_failure_refuses_those_who_wait_at_once() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.acquire(pool, 1);
    world.pass(3);
    assert_eq!(world.refused(0), ["refuse c1 OpenFailed after 3"]);
}

#[test]
fn a_first_failure_refuses_nobody_while_another_login_is_under_way() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.acquire(pool, 1);
    world.acquire(pool, 2);
    assert_eq!(world.refused(0), none());
    let refused = world.refused(1);
    assert_eq!(refused, ["refuse c1 OpenFailed after 0", "refuse c2 OpenFailed after 0"]);
}

#[test]
fn a_client_that_comes_during_the_pause_waits_for_the_next_attempt() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.acquire(pool, 1);
    world.refused(0);
    assert_eq!(world.acquire(pool, 2), none());
    assert_eq!(world.acquire(pool, 3), none(), "several waiters make one attempt");
    let tried = world.run(100);
    assert_eq!(tried.len(), 1, "{tried:?}");
    assert!(tried[0].ends_with("open s1 for p0"), "{tried:?}");
    assert_eq!(world.opened(1)[0][..13], *"grant c2 s1 a");
}

#[test]
fn pauses_grow_with_the_outage_from_retry_min_to_retry_max_with_jitter() {
    let limits = Limits { query_wait_timeout: None, ..limits() };
    let mut world = World::new(limits);
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    world.lost(0);
    world.all_closed();
    world.acquire(pool, 1);
    let mut failing_since = None;
    for attempt in 1..40 {
        assert_eq!(world.refused(attempt), none(), "an outage is not seen by those who wait");
        let down = world.now() - *failing_since.get_or_insert_with(|| world.now());
        let longest = (down / 4).clamp(RETRY_MIN * 2, RETRY_MAX);
        let shortest = (longest / 2).max(RETRY_MIN);
        let early = u64::try_from(shortest.as_millis()).unwrap() - 1;
        assert_eq!(world.run(early), none(), "pause {attempt} is at least {shortest:?}");
        let pause = u64::try_from(longest.as_millis()).unwrap() + 1 - early;
        assert_eq!(world.run(pause).len(), 1, "pause {attempt} is at most {longest:?}");
    }
    let down = world.now() - failing_since.unwrap();
    assert!(down > RETRY_MAX * 10, "pauses have grown to the longest: {down:?}");
}

#[test]
fn while_nobody_can_be_reached_one_attempt_at_a_time_is_made_for_all_pools() {
    let mut world = World::new(limits());
    let (shop, stock) = (world.pool("shop", "a"), world.pool("stock", "a"));
    world.rest(shop, 1);
    world.lost(0);
    world.all_closed();
    assert_eq!(world.acquire(shop, 1), ["open s1 for p0"]);
    assert_eq!(world.open_failed(1, OpenFailure::Unreachable), none());
    assert_eq!(world.acquire(stock, 2), none(), "what one pool has met is true for the other");
    let tried = world.run(100);
    assert_eq!(tried.len(), 1, "{tried:?}");
    assert!(world.run(900).is_empty(), "while it is under way there is no other");
    assert_eq!(world.opened(2).len(), 2, "one is served, and the other pool opens at once");
}

#[test]
fn a_pool_that_is_new_in_an_outage_waits_like_the_others() {
    let mut world = World::new(limits());
    let shop = world.pool("shop", "a");
    world.rest(shop, 1);
    let stock = world.pool("stock", "a");
    assert_eq!(world.acquire(stock, 1), ["open s1 for p1"]);
    assert_eq!(
        world.open_failed(1, OpenFailure::Unreachable),
        none(),
        "it has been reached before"
    );
    assert_eq!(world.run(100).len(), 1);
    assert_eq!(world.open_failed(2, OpenFailure::Transient), ["refuse c1 OpenFailed after 100"]);
}

#[test]
fn after_an_outage_no_more_log_in_at_once_than_postgresql_can_stand() {
    let mut world = World::new(limits());
    let pools: Vec<_> = (0..50).map(|pool| world.pool(&pool.to_string(), "a")).collect();
    let mut opened = 0;
    for (pool, client) in pools.into_iter().zip(1..) {
        opened += world.acquire(pool, client).len();
    }
    assert_eq!(opened, OPENING_ALL_MAX as usize);
    assert_eq!(world.opened(0), ["grant c1 s0 after 0"]);
    assert_eq!(world.run(60).len(), 1, "the next comes as soon as one is through");
}

#[test]
fn pauses_differ_between_seeds() {
    let first_pause = |seed| {
        let mut world = World::seeded(limits(), seed);
        let pool = world.pool("shop", "api");
        world.acquire(pool, 1);
        world.refused(0);
        world.acquire(pool, 2);
        world.run(200).remove(0)
    };
    let pauses: std::collections::BTreeSet<_> = (0..20).map(first_pause).collect();
    assert!(pauses.len() > 10, "{pauses:?}");
}

#[test]
fn failures_of_attempts_made_together_count_once() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.acquire(pool, 1);
    world.acquire(pool, 2);
    world.pass(5);
    world.refused(0);
    world.refused(1);
    let census = world.pools.census(pool, world.now());
    assert_eq!((census.open_failures_in_a_row, census.totals.open_failed), (1, 2));
}

#[test]
fn after_an_outage_logins_go_in_parallel_again() {
    let mut world = World::new(Limits { pool_size: size(4), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 4);
    for server in 0..4 {
        world.release_as(server, Condition::Broken);
    }
    world.all_closed();
    assert_eq!(world.acquire(pool, 10), ["open s4 for p0"]);
    assert_eq!(world.refused(4), none());
    for waiter in 11..20 {
        assert_eq!(world.acquire(pool, waiter), none(), "one attempt at a time");
    }
    assert_eq!(world.run(100).len(), 1);
    let opened = world.opened(5);
    assert_eq!(opened[1..], ["open s6 for p0", "open s7 for p0", "open s8 for p0"]);
}

#[test]
fn an_attempt_that_hangs_holds_up_the_next_for_no_longer_than_the_longest_pause() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    world.lost(0);
    world.all_closed();
    world.acquire(pool, 1);
    world.refused(1);
    world.acquire(pool, 2);
    assert_eq!(world.run(100).len(), 1, "this attempt hangs");
    assert_eq!(world.run(800), none());
    assert_eq!(world.run(200).len(), 1, "another, for the other waiter");
}

#[test]
fn a_permanent_failure_refuses_those_who_wait_if_the_pool_has_no_server() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    world.lost(0);
    world.all_closed();
    world.acquire(pool, 1);
    let refused = world.open_failed(1, OpenFailure::Permanent);
    assert_eq!(refused, ["refuse c1 OpenFailed after 0"]);
    assert_eq!(world.pools.next_deadline(), None, "nobody knocks until a client asks");
}

#[test]
fn a_permanent_failure_leaves_those_who_wait_to_the_servers_that_live() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    assert_eq!(world.acquire(pool, 2), ["open s1 for p0"]);
    assert_eq!(world.open_failed(1, OpenFailure::Permanent), none());
    assert_eq!(world.release(0), ["grant c2 s0 after 0"]);
}

#[test]
fn after_a_permanent_failure_the_next_client_waits_for_an_attempt_within_the_pause() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.acquire(pool, 1);
    world.open_failed(0, OpenFailure::Permanent);
    assert_eq!(world.acquire(pool, 2), none());
    let tried = world.run(100);
    assert!(tried[0].ends_with("open s1 for p0"), "{tried:?}");
}

#[test]
fn the_minimum_is_filled_from_the_first_use_on() {
    let mut world = World::new(Limits { pool_size: size(3), min_pool_size: 2, ..limits() });
    let pool = world.pool("shop", "api");
    assert_eq!(world.run(60_000), none(), "an unused pool has no minimum");
    assert_eq!(world.acquire(pool, 1), ["open s0 for p0", "open s1 for p0"]);
    assert_eq!(world.opened(0), ["grant c1 s0 after 0"]);
    assert_eq!(world.opened(1), none());
    let replaced = world.lost(1);
    assert_eq!(replaced, ["close s1 Lost", "open s2 for p0"], "although nobody waits");
}

#[test]
fn the_minimum_is_retried_during_an_outage_although_nobody_waits() {
    let mut world = World::new(Limits { min_pool_size: 1, ..limits() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    assert_eq!(world.lost(0), ["close s0 Lost", "open s1 for p0"]);
    world.all_closed();
    assert_eq!(world.refused(1), none());
    assert_eq!(world.run(100).len(), 1);
    assert_eq!(world.opened(2), none());
}

#[test]
fn after_a_permanent_failure_the_minimum_rests_until_a_login_succeeds() {
    let mut world = World::new(Limits { min_pool_size: 2, ..limits() });
    let pool = world.pool("shop", "api");
    world.acquire(pool, 1);
    world.open_failed(0, OpenFailure::Permanent);
    world.open_failed(1, OpenFailure::Permanent);
    assert_eq!(world.run(60_000), none());
    assert_eq!(world.acquire(pool, 2), ["open s2 for p0"]);
    assert_eq!(world.opened(2), ["grant c2 s2 after 0", "open s3 for p0"]);
}

#[test]
fn limits_out_of_range_are_brought_into_range() {
    let limits = Limits { min_pool_size: 9, retry_max: ms(1), opening_max: 0, ..limits() };
    let mut world = World::new(limits);
    let pool = world.pool("shop", "api");
    assert_eq!(world.acquire(pool, 1), ["open s0 for p0"], "one login at a time, not none");
    assert_eq!(world.opened(0), ["grant c1 s0 after 0", "open s1 for p0"]);
    assert_eq!(world.opened(1), none(), "no more than pool_size");
}
