//! The ends of servers: age, idleness, loss, retirement.

use stent_pool::{Condition, Limits, ProbeResult};

use crate::harness::{World, limits, ms, none, size};

fn aging() -> Limits {
    Limits { server_lifetime: Some(ms(10_000)), ..limits() }
}

#[test]
fn an_idle_server_is_closed_in_the_last_tenth_of_its_lifetime() {
    let mut world = World::new(aging());
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    assert_eq!(world.run(8_999), none());
    let closed = world.run(1_001);
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert!(closed[0].ends_with("close s0 Lifetime"), "{closed:?}");
}

#[test]
fn servers_opened_together_do_not_end_together() {
    let mut world = World::new(Limits { pool_size: size(3), ..aging() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 3);
    let closed = world.run(10_250);
    let times: std::collections::BTreeSet<_> =
        closed.iter().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(closed.len(), 3);
    assert!(times.len() > 1, "{closed:?}");
}

#[test]
fn the_successor_of_a_server_in_use_is_opened_before_the_old_one_is_closed() {
    let mut world = World::new(aging());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    assert_eq!(world.run(9_900), none());
    assert_eq!(world.release(0), ["open s1 for p0"]);
    assert_eq!(world.acquire(pool, 2), ["grant c2 s0 after 0"], "it goes on until then");
    assert_eq!(world.release(0), none(), "one successor is enough");
    assert_eq!(world.run(1_000), none(), "and the old one stays as long");
    assert_eq!(world.opened(1), ["close s0 Lifetime"]);
}

#[test]
fn an_old_server_goes_at_once_where_another_is_free() {
    let mut world = World::new(Limits { pool_size: size(2), ..aging() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.pass(9_000);
    world.lend(pool, 2, 1);
    assert_eq!(world.release(1), none());
    world.pass(1_000);
    assert_eq!(world.release(0), ["close s0 Lifetime"]);
}

#[test]
fn where_there_is_no_room_for_a_successor_old_servers_go_one_at_a_time() {
    let mut world = World::new(Limits { pool_size: size(2), ..aging() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 2);
    world.pass(10_000);
    assert_eq!(world.release(0), ["close s0 Lifetime"]);
    assert_eq!(world.release(1), none(), "it waits for the other's successor");
    assert_eq!(world.acquire(pool, 3), ["grant c3 s1 after 0"]);
    assert_eq!(world.acquire(pool, 4), none());
    assert_eq!(world.closed(0), ["open s2 for p0"]);
    assert_eq!(world.release(1), ["grant c4 s1 after 0"]);
    assert_eq!(world.opened(2), none());
    assert_eq!(world.release(1), ["close s1 Lifetime"]);
}

#[test]
fn a_successor_that_cannot_be_opened_leaves_the_old_one_in_use() {
    let mut world = World::new(aging());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.pass(10_000);
    assert_eq!(world.release(0), ["open s1 for p0"]);
    world.acquire(pool, 2);
    assert_eq!(world.refused(1), none());
    assert_eq!(world.release(0), none(), "the pause after a failure holds here too");
    assert_eq!(world.acquire(pool, 3), ["grant c3 s0 after 0"]);
}

#[test]
fn a_successor_is_not_waited_for_longer_than_a_tenth_of_a_lifetime() {
    let mut world = World::new(aging());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.pass(10_999);
    assert_eq!(world.release(0), ["open s1 for p0"]);
    assert_eq!(world.acquire(pool, 2), ["grant c2 s0 after 0"]);
    world.pass(1);
    assert_eq!(world.release(0), ["close s0 Lifetime"]);
}

#[test]
fn with_a_lifetime_of_nothing_each_server_is_used_once() {
    let mut world = World::new(Limits { server_lifetime: Some(ms(0)), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    assert_eq!(world.release(0), ["close s0 Lifetime"]);
}

#[test]
fn a_server_is_replaced_after_its_last_use() {
    let limits = Limits { server_max_uses: Some(size(2)), ..limits() };
    let mut world = World::new(limits);
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    assert_eq!(world.acquire(pool, 1), ["grant c1 s0 after 0"]);
    assert_eq!(world.release(0), ["open s1 for p0"]);
    assert_eq!(world.opened(1), ["close s0 Lifetime"]);
}

#[test]
fn an_old_server_that_nobody_uses_is_closed_without_a_successor() {
    let mut world = World::new(Limits { server_check_delay: ms(100), ..aging() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    let closed = world.run(10_250);
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert!(closed[0].ends_with("close s0 Lifetime"), "{closed:?}");
}

#[test]
fn at_the_minimum_the_replacement_is_opened_before_the_old_server_is_closed() {
    let mut world = World::new(Limits { min_pool_size: 1, ..aging() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    let replacing = world.run(10_000);
    assert_eq!(replacing.len(), 1, "{replacing:?}");
    assert!(replacing[0].ends_with("open s1 for p0"), "{replacing:?}");
    assert_eq!(world.opened(1), ["close s0 Lifetime"]);
}

#[test]
fn an_old_server_serves_until_its_replacement_is_there() {
    let mut world = World::new(Limits { min_pool_size: 1, ..aging() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.pass(10_000);
    assert_eq!(world.release(0), ["open s1 for p0"]);
    assert_eq!(world.acquire(pool, 2), ["grant c2 s0 after 0"]);
    assert_eq!(world.opened(1), none());
    assert_eq!(world.release(0), ["close s0 Lifetime"]);
}

#[test]
fn an_old_server_is_kept_while_its_replacement_cannot_be_opened() {
    let mut world = World::new(Limits { min_pool_size: 1, ..aging() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    world.run(10_000);
    assert_eq!(world.refused(1), none());
    let retried = world.run(100);
    assert_eq!(retried.len(), 1, "{retried:?}");
    assert!(retried[0].ends_with("open s2 for p0"), "{retried:?}");
    assert_eq!(world.opened(2), ["close s0 Lifetime"]);
}

#[test]
fn where_the_cap_leaves_no_room_old_servers_are_replaced_one_at_a_time() {
    let mut world = World::new(Limits { min_pool_size: 2, ..aging() });
    let pool = world.pool("shop", "api");
    world.acquire(pool, 1);
    world.opened(0);
    world.opened(1);
    world.release(0);
    let closed = world.run(10_250);
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert!(closed[0].contains("close s"), "{closed:?}");
    assert_eq!(world.all_closed(), ["open s2 for p0"]);
    let next = world.opened(2);
    assert_eq!(next.len(), 1, "now the other: {next:?}");
    assert!(next[0].ends_with("Lifetime"), "{next:?}");
}

#[test]
fn an_old_server_is_kept_where_the_cap_is_reached_and_logins_fail() {
    let limits = Limits { max_db_connections: Some(size(2)), min_pool_size: 1, ..aging() };
    let mut world = World::new(limits);
    let (first, second) = (world.pool("shop", "a"), world.pool("shop", "b"));
    world.lend(first, 1, 1);
    assert_eq!(world.acquire(first, 2), ["open s1 for p0"]);
    assert_eq!(world.refused(1), none());
    world.lend(second, 3, 1);
    world.pass(10_000);
    assert_eq!(world.release(0), ["grant c2 s0 after 10000"], "not closed for its age");
}

#[test]
fn a_minimum_above_pool_size_keeps_no_server_past_its_lifetime() {
    let mut world = World::new(Limits { pool_size: size(1), min_pool_size: 9, ..aging() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    let closed = world.run(10_000);
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert!(closed[0].ends_with("close s0 Lifetime"), "{closed:?}");
}

#[test]
fn a_server_that_may_not_rest_at_all_is_closed_at_the_next_sweep() {
    let idle = Some(ms(0));
    let mut world = World::new(Limits { server_idle_timeout: idle, ..limits() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    assert_eq!(world.run(1_000), ["250: close s0 IdleTimeout"]);
}

#[test]
fn surplus_servers_end_by_idle_timeout_down_to_the_minimum() {
    let idle = Some(ms(5_000));
    let limits =
        Limits { pool_size: size(3), min_pool_size: 1, server_idle_timeout: idle, ..limits() };
    let mut world = World::new(limits);
    let pool = world.pool("shop", "api");
    world.acquire(pool, 1);
    world.acquire(pool, 2);
    world.acquire(pool, 3);
    for server in 0..3 {
        world.opened(server);
    }
    for server in 0..3 {
        world.release(server);
        world.pass(1_000);
    }
    let closed = world.run(60_000);
    assert_eq!(closed, ["5000: close s0 IdleTimeout", "6000: close s1 IdleTimeout"]);
}

#[test]
fn a_server_in_steady_use_does_not_end_by_idle_timeout() {
    let idle = Some(ms(5_000));
    let mut world = World::new(Limits { server_idle_timeout: idle, ..limits() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 2);
    for waiter in 0..4 {
        assert_eq!(world.acquire(pool, waiter), [format!("grant c{waiter} s0 after 0")]);
        assert_eq!(world.release(0), none());
        let expected =
            if waiter == 1 { vec!["5000: close s1 IdleTimeout".to_owned()] } else { none() };
        assert_eq!(world.run(2_500), expected);
    }
}

#[test]
fn an_idle_server_that_is_lost_is_closed_and_its_place_is_free_once_closed() {
    let mut world = World::new(Limits { pool_size: size(1), ..limits() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 1);
    assert_eq!(world.lost(0), ["close s0 Lost"]);
    assert_eq!(world.acquire(pool, 1), none());
    assert_eq!(world.closed(0), ["open s1 for p0"]);
}

#[test]
fn the_loss_of_a_lent_server_is_left_to_its_client() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    assert_eq!(world.lost(0), none());
    assert_eq!(world.release_as(0, Condition::Broken), ["close s0 Broken"]);
}

#[test]
fn retirement_closes_idle_servers_now_and_the_others_when_they_are_free() {
    let mut world = World::new(Limits { pool_size: size(4), ..limits() });
    let pool = world.pool("shop", "api");
    world.rest(pool, 3);
    world.acquire(pool, 1);
    world.pass(60_000);
    assert_eq!(world.acquire(pool, 2), ["probe s1 for c2"]);
    world.withdraw(2);
    let retire = stent_pool::Event::RetireAll { pool };
    assert_eq!(world.tell(retire), ["close s2 Retired"]);
    assert_eq!(world.acquire(pool, 3), none(), "the probe under way may still serve");
    let probed = world.probed(1, ProbeResult::Healthy);
    assert_eq!(probed, ["close s1 Retired", "open s3 for p0"]);
    assert_eq!(world.release(0), ["close s0 Retired"]);
    assert_eq!(world.opened(3)[0][..13], *"grant c3 s3 a");
}

#[test]
fn a_login_under_way_at_the_retirement_is_retired_too() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.acquire(pool, 1);
    world.tell(stent_pool::Event::RetireAll { pool });
    assert_eq!(world.opened(0), ["close s0 Retired", "open s1 for p0"]);
    assert_eq!(world.opened(1), ["grant c1 s1 after 0"]);
}

#[test]
fn a_worn_server_is_replaced_before_it_ends_as_one_that_has_outlived_its_lifetime() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    assert_eq!(world.release_as(0, Condition::Worn), ["open s1 for p0"]);
    assert_eq!(world.acquire(pool, 2), ["grant c2 s0 after 0"], "it is lent meanwhile");
    assert_eq!(world.opened(1), none());
    assert_eq!(world.release(0), ["close s0 Worn"], "once is enough");
}

#[test]
fn worn_servers_without_room_for_a_successor_go_one_at_a_time() {
    let mut world = World::new(limits());
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 2);
    world.acquire(pool, 3);
    assert_eq!(world.release_as(0, Condition::Worn), ["close s0 Worn"]);
    assert_eq!(world.release_as(1, Condition::Worn), ["grant c3 s1 after 0"]);
    assert_eq!(world.closed(0), none(), "nobody waits any more");
    assert_eq!(world.release(1), ["open s2 for p0"]);
}

#[test]
fn a_worn_server_of_the_minimum_stays_until_its_successor_is_there() {
    let mut world = World::new(Limits { min_pool_size: 2, ..limits() });
    let pool = world.pool("shop", "api");
    world.acquire(pool, 1);
    world.opened(0);
    world.opened(1);
    assert_eq!(world.release_as(0, Condition::Worn), ["close s0 Worn"], "its place is needed");
    assert_eq!(world.closed(0), ["open s2 for p0"]);
    let mut world = World::new(Limits { min_pool_size: 1, ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    assert_eq!(world.release_as(0, Condition::Worn), ["open s1 for p0"]);
    assert_eq!(world.run(10_000), none(), "its successor is being opened");
    assert_eq!(world.opened(1), ["close s0 Worn"]);
}

#[test]
fn another_lifetime_does_not_make_a_worn_server_good_again() {
    let mut world = World::new(Limits { server_lifetime: Some(ms(60_000)), ..limits() });
    let pool = world.pool("shop", "api");
    world.lend(pool, 1, 1);
    world.release_as(0, Condition::Worn);
    let longer = Limits { server_lifetime: Some(ms(120_000)), ..limits() };
    assert_eq!(world.decided(|pools, now, out| pools.set_limits(longer, now, out)), none());
    assert_eq!(world.opened(1), ["close s0 Worn"]);
}
