//! The unnamed statement, plans that DDL made stale, and every error path of prepared statements,
//! with clients that share servers.

use std::num::NonZeroU32;

use stent_testkit::Postgres;

use super::raw::{Raw, bind, execute, field, message, parse, query, sync};
use super::support::Proxy;

fn start(pg: &Postgres, size: u32) -> Proxy {
    Proxy::start(pg, |config| config.default_pool_size = NonZeroU32::new(size).unwrap())
}

fn describe(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', &[&[kind][..], name.as_bytes(), &[0]].concat())
}

/// The first field of the first row up to ReadyForQuery, or the SQLSTATE of the error.
fn answer(client: &mut Raw) -> String {
    for (tag, body) in client.until_ready() {
        match tag {
            b'D' => {
                let len = u32::from_be_bytes(body[2..6].try_into().unwrap()) as usize;
                return String::from_utf8_lossy(&body[6..6 + len]).into_owned();
            }
            b'E' => return field(&body, b'C'),
            _ => {}
        }
    }
    String::new()
}

fn run(client: &mut Raw, name: &str) -> String {
    client.send(&[bind(name), execute(), sync()].concat());
    answer(client)
}

/// Checklist 43.
#[test]
fn the_unnamed_statement_follows_its_client_and_is_nobody_elses() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let (mut a, mut b) = (Raw::login(&proxy), Raw::login(&proxy));
    assert_eq!(run(&mut b, ""), "26000", "none was parsed");
    a.send(&[parse("", "select 'a'"), describe(b'S', ""), sync()].concat());
    assert_eq!(a.tags(), "1tTZ");
    assert_eq!(run(&mut b, ""), "26000", "a's is not b's");
    b.send(&[parse("", "select 'b'"), sync()].concat());
    assert_eq!(b.tags(), "1Z");
    assert_eq!(run(&mut a, ""), "a");
    assert_eq!(run(&mut b, ""), "b");
    assert_eq!(run(&mut a, ""), "a", "it stays until it is replaced");
    a.send(&query("select 1"));
    a.until_ready();
    assert_eq!(run(&mut a, ""), "26000", "a simple query takes it away");
    b.send(&[message(b'C', b"S\0"), sync()].concat());
    assert_eq!(b.tags(), "3Z");
    assert_eq!(run(&mut b, ""), "26000", "and so does Close");
    a.send(&[parse("", "selec"), sync()].concat());
    assert_eq!(answer(&mut a), "42601");
    assert_eq!(run(&mut a, ""), "26000", "and a Parse that fails");
}

/// Checklist 58.
#[test]
fn a_fresh_parse_after_ddl_gets_a_fresh_plan() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let (mut old, mut fresh) = (Raw::login(&proxy), Raw::login(&proxy));
    old.send(&query("create table t (a int); insert into t values (1)"));
    old.until_ready();
    old.send(&[parse("s", "select * from t"), sync()].concat());
    old.until_ready();
    assert_eq!(run(&mut old, "s"), "1");
    old.send(&query("alter table t add b text default 'x'"));
    old.until_ready();
    fresh.send(&[parse("s", "select * from t"), describe(b'S', "s"), sync()].concat());
    assert_eq!(fresh.tags(), "1tTZ");
    fresh.send(&[bind("s"), execute(), sync()].concat());
    assert_eq!(fresh.tags(), "2DCZ");
}

/// Checklist 58.
#[test]
fn a_stale_plan_is_healed_where_its_client_asks_for_the_shape_and_told_where_not() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let mut client = Raw::login(&proxy);
    client.send(&query("create table t (a int); insert into t values (1)"));
    client.until_ready();
    client.send(&[parse("s", "select * from t"), sync()].concat());
    client.until_ready();
    assert_eq!(run(&mut client, "s"), "1");
    client.send(&query("alter table t add b int default 2"));
    client.until_ready();
    client.send(&[bind("s"), describe(b'P', ""), execute(), sync()].concat());
    assert_eq!(client.tags(), "2TDCZ", "libpq's way");
    client.send(&query("alter table t add c int default 3"));
    client.until_ready();
    assert_eq!(run(&mut client, "s"), "0A000", "the rows would not be what the client expects");
    assert_eq!(run(&mut client, "s"), "1", "the next try parses it anew");
    client.send(&query("alter table t add d int default 3; begin"));
    client.until_ready();
    client.send(&[bind("s"), describe(b'P', ""), execute(), sync()].concat());
    assert_eq!(answer(&mut client), "0A000", "in a transaction nothing can be repeated");
    client.send(&query("rollback"));
    client.until_ready();
    client.send(&[bind("s"), describe(b'P', ""), execute(), sync()].concat());
    assert_eq!(client.tags(), "2TDCZ");
}

/// Checklist 58. A client that was told the shape of a statement's rows comes to a server that does
/// not know the statement.
#[test]
fn rows_of_another_shape_than_a_client_was_told_never_reach_it() {
    for (ddl, first) in [("select 1", "1"), ("alter table t add b int default 2", "0A000")] {
        let pg = Postgres::start().unwrap();
        let proxy = start(&pg, 2);
        let (mut client, mut other) = (Raw::login(&proxy), Raw::login(&proxy));
        client.send(&query("create table t (a int); insert into t values (1)"));
        client.until_ready();
        client.send(&[parse("s", "table t"), describe(b'S', "s"), sync()].concat());
        assert_eq!(client.tags(), "1tTZ");
        client.send(&query(ddl));
        client.until_ready();
        // The pool's only server is taken: the client gets a second one, which knows nothing.
        other.send(&query("begin"));
        other.until_ready();
        assert_eq!(run(&mut client, "s"), first);
        client.send(&[parse("t", "table t"), describe(b'S', "t"), bind("t"), execute()].concat());
        client.send(&sync());
        assert_eq!(client.tags(), "1tT2DCZ", "what is prepared anew is as it is now");
        assert_eq!(run(&mut client, "s"), first, "and the old name stays what it was");
        assert_eq!(run(&mut client, "t"), "1");
    }
}

/// Checklist 58. Drivers know the failure by its SQLSTATE and routine.
#[test]
fn a_changed_shape_is_reported_as_postgresql_does_in_a_transaction_or_not() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 2);
    let (mut client, mut other) = (Raw::login(&proxy), Raw::login(&proxy));
    client.send(&query("create table t (a int)"));
    client.until_ready();
    client.send(&[parse("s", "table t"), describe(b'S', "s"), sync()].concat());
    client.until_ready();
    client.send(&query("alter table t add b int"));
    client.until_ready();
    other.send(&query("begin"));
    other.until_ready();
    for (before, status) in [("select 1", b'I'), ("begin", b'E')] {
        client.send(&query(before));
        client.until_ready();
        client.send(&[bind("s"), execute(), sync()].concat());
        let said = client.until_ready();
        assert_eq!(said.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(), b"EZ");
        assert_eq!(field(&said[0].1, b'C'), "0A000");
        assert_eq!(field(&said[0].1, b'M'), "cached plan must not change result type");
        assert_eq!(field(&said[0].1, b'R'), "RevalidateCachedQuery");
        assert_eq!(said[1].1, [status]);
    }
}

/// Checklist 58. The plan that a transaction made of its own DDL is gone with the transaction.
#[test]
fn a_parse_in_a_transaction_sees_its_ddl_and_nobody_else_does() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let (mut before, mut within) = (Raw::login(&proxy), Raw::login(&proxy));
    before.send(&query("create table t (a int); insert into t values (1)"));
    before.until_ready();
    before.send(&[parse("s", "table t"), describe(b'S', "s"), sync()].concat());
    assert_eq!(before.tags(), "1tTZ");
    within.send(&query("begin; alter table t add b int default 2"));
    within.until_ready();
    within.send(&[parse("n", "table t"), describe(b'S', "n"), sync()].concat());
    assert_eq!(within.tags(), "1tTZ");
    within.send(&[bind("n"), execute(), sync()].concat());
    assert_eq!(within.tags(), "2DCZ");
    within.send(&query("rollback"));
    within.until_ready();
    assert_eq!(run(&mut before, "s"), "1", "healed: the rows are what they were");
    assert_eq!(run(&mut within, "n"), "0A000", "and not what this client was told");
}

/// Checklist 59.
#[test]
fn in_a_failed_transaction_a_known_text_is_refused_as_postgresql_does() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let (mut a, mut b) = (Raw::login(&proxy), Raw::login(&proxy));
    a.send(&[parse("s", "select 1"), parse("r", "rollback"), sync()].concat());
    a.until_ready();
    b.send(&query("begin; selec"));
    b.until_ready();
    b.send(&query("begin"));
    b.until_ready();
    b.send(&query("selec"));
    b.until_ready();
    b.send(&[parse("s", "select 1"), sync()].concat());
    assert_eq!(answer(&mut b), "25P02");
    b.send(&[parse("r", "rollback"), sync()].concat());
    assert_eq!(b.tags(), "1Z");
    b.send(&[bind("r"), execute(), sync()].concat());
    assert_eq!(b.tags(), "2CZ");
    assert_eq!(run(&mut b, "s"), "26000", "the name was never given");
    assert_eq!(run(&mut a, "s"), "1", "and a has kept its own");
}

/// One client of the random run: what it believes to be true of its own names.
struct Believer {
    raw: Raw,
    names: std::collections::BTreeMap<String, u32>,
}

/// Checklist 46 to 51, 56: each error path many times, interleaved over shared servers.
#[test]
fn no_error_path_of_prepared_statements_costs_a_connection_or_gives_a_wrong_result() {
    const STEPS: usize = 10_000;
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 2);
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7_u64);
    println!("SEED={seed}");
    let mut random = seed;
    let mut below = |n: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % n
    };
    let mut clients: Vec<Believer> =
        (0..6).map(|_| Believer { raw: Raw::login(&proxy), names: Default::default() }).collect();
    let mut seen = [0_usize; 8];
    for _ in 0..STEPS {
        let Believer { raw, names } = &mut clients[below(6) as usize];
        let (name, value) = (format!("s{}", below(3)), below(20) as u32);
        let path = below(8) as usize;
        seen[path] += 1;
        let known = names.get(&name).copied();
        let expected =
            |known: Option<u32>| known.map_or_else(|| "26000".to_owned(), |n| n.to_string());
        match path {
            0 | 1 => {
                raw.send(&[parse(&name, &format!("select {value}")), sync()].concat());
                assert_eq!(answer(raw), if known.is_some() { "42P05" } else { "" });
                names.entry(name).or_insert(value);
            }
            2 => assert_eq!(run(raw, &name), expected(known)),
            3 => {
                raw.send(&[parse(&name, "selec"), sync()].concat());
                let said = answer(raw);
                assert!(said == "42601" || known.is_some() && said == "42P05", "{said}");
            }
            4 => {
                raw.send(&[message(b'C', format!("S{name}\0").as_bytes()), sync()].concat());
                assert_eq!(raw.tags(), "3Z");
                names.remove(&name);
            }
            5 => {
                // What follows a failure is skipped and leaves no trace; the next group runs.
                raw.send(
                    &[bind("nobody"), parse(&name, &format!("select {value}")), sync()].concat(),
                );
                raw.send(&[bind(&name), execute(), sync()].concat());
                assert_eq!(answer(raw), "26000");
                assert_eq!(answer(raw), expected(known));
            }
            6 => {
                raw.send(&query("deallocate all"));
                raw.until_ready();
                names.clear();
            }
            _ => {
                raw.send(&[describe(b'S', &name), sync()].concat());
                let tags = raw.tags();
                assert_eq!(tags, if known.is_some() { "tTZ" } else { "EZ" });
            }
        }
    }
    assert!(seen.iter().all(|&count| count > 1_000), "{seen:?}");
    assert_eq!(proxy.snapshot().clients.idle, 6, "no connection was lost");
}
