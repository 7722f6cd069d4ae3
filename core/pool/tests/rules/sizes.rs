//! Pools with sizes of their own.

use stent_pool::{Limits, SizeRule, Whom};

use crate::harness::{World, limits, ms, none, size};

fn rule(database: Option<&str>, user: Option<&str>) -> SizeRule {
    let (database, user) = (database.map(str::to_owned), user.map(str::to_owned));
    let whom = Whom { database, user, application_name: None };
    SizeRule { whom, pool_size: None, min_pool_size: None, reserve_pool_size: None }
}

fn ruled(size_rules: Vec<SizeRule>) -> Limits {
    Limits { size_rules, ..limits() }
}

#[test]
fn the_first_rule_that_fits_says_how_large_a_pool_is() {
    let world = World::new(ruled(vec![
        SizeRule { pool_size: Some(size(1)), ..rule(Some("shop"), Some("report")) },
        SizeRule { pool_size: Some(size(7)), ..rule(Some("shop"), None) },
        SizeRule { pool_size: Some(size(9)), ..rule(None, Some("report")) },
    ]));
    let limits = world.pools.limits();
    let of = |database, user| limits.sizes(database, user).pool_size.get();
    assert_eq!([of("shop", "report"), of("shop", "api")], [1, 7]);
    assert_eq!([of("stock", "report"), of("stock", "api")], [9, 2]);
}

#[test]
fn what_a_rule_leaves_out_is_as_for_all_others() {
    let general = Limits { reserve_pool_size: 3, reserve_pool_timeout: Some(ms(9)), ..limits() };
    let own = SizeRule { min_pool_size: Some(1), ..rule(None, Some("report")) };
    let limits = Limits { size_rules: vec![own], ..general };
    let sizes = limits.sizes("shop", "report");
    assert_eq!((sizes.pool_size, sizes.min_pool_size, sizes.reserve_pool_size), (size(2), 1, 3));
}

#[test]
fn a_pool_grows_to_its_own_size_and_keeps_its_own_minimum() {
    let own = SizeRule {
        pool_size: Some(size(3)),
        min_pool_size: Some(2),
        ..rule(Some("shop"), Some("report"))
    };
    let mut world = World::new(ruled(vec![own]));
    let (report, api) = (world.pool("shop", "report"), world.pool("shop", "api"));
    assert_eq!(world.acquire(report, 1), ["open s0 for p0", "open s1 for p0"], "its minimum");
    assert_eq!(world.opened(0), ["grant c1 s0 after 0"]);
    world.opened(1);
    assert_eq!(world.acquire(report, 2), ["grant c2 s1 after 0"]);
    assert_eq!(world.acquire(report, 3), ["open s2 for p0"]);
    assert_eq!(world.acquire(report, 4), none(), "three is its size");
    assert_eq!(world.pools.census(report, world.now()).size_max, 3);
    assert_eq!(world.acquire(api, 5), ["open s3 for p1"]);
    assert_eq!(world.opened(3), ["grant c5 s3 after 0"], "others have no minimum");
}

#[test]
fn a_pool_may_have_a_reserve_where_others_have_none() {
    let own = SizeRule { reserve_pool_size: Some(1), ..rule(None, Some("api")) };
    let limits =
        Limits { pool_size: size(1), reserve_pool_timeout: Some(ms(1_000)), ..ruled(vec![own]) };
    let mut world = World::new(limits);
    let (api, report) = (world.pool("shop", "api"), world.pool("shop", "report"));
    world.lend(api, 1, 1);
    world.lend(report, 2, 1);
    world.acquire(report, 3);
    world.acquire(api, 4);
    assert_eq!(world.run(60_000), ["1000: open s2 for p0"]);
}

#[test]
fn other_rules_hold_for_pools_that_are_there_and_cut_nobody() {
    let mut world = World::new(Limits { pool_size: size(3), ..limits() });
    let (api, report) = (world.pool("shop", "api"), world.pool("shop", "report"));
    world.lend(report, 1, 3);
    world.release(2);
    let own = SizeRule { pool_size: Some(size(1)), ..rule(None, Some("report")) };
    let smaller = Limits { pool_size: size(3), ..ruled(vec![own]) };
    let closed = world.decided(|pools, now, out| pools.set_limits(smaller, now, out));
    assert_eq!(closed, ["close s2 Shrunk"], "only what nobody has");
    assert_eq!(world.release(0), ["close s0 Shrunk"]);
    assert_eq!(world.release(1), none(), "one is its size");
    world.lend(api, 11, 3);
}

#[test]
fn the_connection_that_listens_is_one_whatever_the_rules_say() {
    let own = SizeRule { pool_size: Some(size(5)), ..rule(Some("shop"), None) };
    let mut world = World::new(ruled(vec![own]));
    let shop = world.pool("shop", "a");
    let ear = world.pools.listening(shop).unwrap();
    assert_eq!(world.pools.census(ear, world.now()).size_max, 1);
}
