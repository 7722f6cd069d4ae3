//! Unnamed statements that servers keep (`statement_cache = all`): what is spared, what is not, and
//! that nobody notices. What holds for any schedule is in `differential`.

use std::num::NonZeroU32;

use stent_proxy::config::StatementCache;
use stent_testkit::Postgres;

use super::raw::{Raw, bind, execute, field, message, parse, query, sync};
use super::support::Proxy;

fn start(pg: &Postgres) -> Proxy {
    Proxy::start(pg, |config| {
        config.statement_cache = StatementCache::All;
        config.default_pool_size = NonZeroU32::new(1).unwrap();
        config.console_users = vec!["postgres".to_owned()];
    })
}

/// How often an outcome was counted.
fn count(proxy: &Proxy, outcome: &str) -> u64 {
    number(proxy, &format!("stent_statement_cache_total{{outcome=\"{outcome}\"}} "))
}

fn number(proxy: &Proxy, line: &str) -> u64 {
    let page = proxy.get("/metrics").1;
    let value = page.lines().find_map(|of| of.strip_prefix(line));
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn portal() -> Vec<u8> {
    message(b'D', b"P\0")
}

/// As libpq does it.
fn run(client: &mut Raw, sql: &str) -> Vec<(u8, Vec<u8>)> {
    client.send(&[parse("", sql), bind(""), portal(), execute(), sync()].concat());
    client.until_ready()
}

fn tags(said: &[(u8, Vec<u8>)]) -> String {
    said.iter().map(|(tag, _)| char::from(*tag)).collect()
}

/// The first value of the first row.
fn value(said: &[(u8, Vec<u8>)]) -> String {
    let row = said.iter().find(|(tag, _)| *tag == b'D').map(|(_, body)| body).unwrap();
    let len = u32::from_be_bytes(row[2..6].try_into().unwrap()) as usize;
    String::from_utf8_lossy(&row[6..6 + len]).into_owned()
}

fn say(client: &mut Raw, sql: &str) -> String {
    client.send(&query(sql));
    client.tags()
}

#[test]
fn a_text_is_parsed_once_for_all_clients_also_in_transactions() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg);
    let (mut a, mut b) = (Raw::login(&proxy), Raw::login(&proxy));
    for (first, counted) in [(true, "first"), (false, "miss"), (true, "hit"), (false, "hit")] {
        let client = if first { &mut a } else { &mut b };
        let before = count(&proxy, counted);
        let said = run(client, "select 42");
        assert_eq!((tags(&said).as_str(), value(&said).as_str()), ("12TDCZ", "42"));
        assert_eq!(count(&proxy, counted), before + 1, "{counted}");
    }
    say(&mut a, "begin");
    let hits = count(&proxy, "hit");
    for _ in 0..3 {
        assert_eq!(tags(&run(&mut a, "select 42")), "12TDCZ");
    }
    assert_eq!(count(&proxy, "hit"), hits + 3);
    say(&mut a, "selec");
    let said = run(&mut a, "select 42");
    assert_eq!((tags(&said).as_str(), field(&said[0].1, b'C').as_str()), ("EZ", "25P02"));
    say(&mut a, "rollback");
}

/// DDL on a connection of its own: the proxy does not see it.
#[test]
fn what_is_changed_beside_the_proxy_is_met_as_without_a_cache() {
    let pg = Postgres::start().unwrap();
    pg.sql("create table t (a int); insert into t values (1)").unwrap();
    let proxy = start(&pg);
    let mut client = Raw::login(&proxy);
    let sql = "select * from t";
    let (whole, bare) = (
        [parse("", sql), bind(""), portal(), execute(), sync()].concat(),
        [parse("", sql), message(b'D', b"S\0"), bind(""), execute(), sync()].concat(),
    );
    for round in 0..3 {
        for (bytes, expected) in [(&whole, "12TDCZ"), (&bare, "1tT2DCZ")] {
            for _ in 0..3 {
                client.send(bytes);
                assert_eq!(client.tags(), expected, "{round}");
            }
            pg.sql(&format!("alter table t add column c{expected}{round} int default 7")).unwrap();
            client.send(bytes);
            assert_eq!(client.tags(), expected, "another shape, {round}");
        }
    }
    assert!(count(&proxy, "hit") > 6);
    pg.sql("drop table t").unwrap();
    for _ in 0..2 {
        let said = run(&mut client, sql);
        assert_eq!((tags(&said).as_str(), field(&said[0].1, b'C').as_str()), ("EZ", "42P01"));
    }
    pg.sql("create table t (a int)").unwrap();
    assert_eq!(tags(&run(&mut client, sql)), "12TCZ");
}

#[test]
fn constants_are_read_by_the_settings_of_their_client() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg);
    let (mut us, mut german) = (Raw::login(&proxy), Raw::login(&proxy));
    say(&mut german, "set datestyle = 'ISO, DMY'");
    for _ in 0..4 {
        assert_eq!(value(&run(&mut us, "select '01/02/2026'::date")), "2026-01-02");
        assert_eq!(value(&run(&mut german, "select '01/02/2026'::date")), "2026-02-01");
    }
    assert!(count(&proxy, "hit") >= 4);
    say(&mut us, "begin");
    say(&mut us, "set local datestyle = 'ISO, DMY'");
    assert_eq!(value(&run(&mut us, "select '01/02/2026'::date")), "2026-02-01");
    say(&mut us, "commit");
    assert_eq!(value(&run(&mut us, "select '01/02/2026'::date")), "2026-01-02");
}

#[test]
fn what_is_defined_in_a_transaction_is_read_there_and_by_nobody_else() {
    let pg = Postgres::start().unwrap();
    pg.sql("create table t (a int); insert into t values (1)").unwrap();
    let proxy = start(&pg);
    let (mut a, mut b) = (Raw::login(&proxy), Raw::login(&proxy));
    let columns = |said: &[(u8, Vec<u8>)]| {
        said.iter().find(|(tag, _)| *tag == b'T').map(|(_, body)| body[1]).unwrap()
    };
    for _ in 0..3 {
        assert_eq!(columns(&run(&mut a, "table t")), 1);
    }
    for route in ["alter table t add b int", "do $$ begin alter table t add b int; end $$"] {
        say(&mut a, "begin");
        say(&mut a, route);
        assert_eq!(columns(&run(&mut a, "table t")), 2, "{route}");
        say(&mut a, "rollback");
        assert_eq!(columns(&run(&mut b, "table t")), 1, "{route}");
        assert_eq!(columns(&run(&mut a, "table t")), 1, "{route}");
    }
}

#[test]
fn what_postgresql_says_at_each_parse_is_said_each_time() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg);
    let mut client = Raw::login(&proxy);
    let sql = format!("select 1 as {}", "long".repeat(20));
    for round in 0..5 {
        client.send(&[parse("", &sql), bind(""), execute(), sync()].concat());
        assert_eq!(client.tags(), "N12DCZ", "{round}");
    }
}

#[test]
fn a_statement_is_reported_without_a_name_of_ours() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg);
    let mut client = Raw::login(&proxy);
    for _ in 0..3 {
        run(&mut client, "select 1");
    }
    let too_many = message(b'B', b"\0\0\0\0\0\x01\0\0\0\x011\0\0");
    for before in ["select 1", "begin"] {
        say(&mut client, before);
        client.send(&[parse("", "select 1"), too_many.clone(), execute(), sync()].concat());
        let said = client.until_ready();
        assert_eq!(tags(&said), "1EZ", "{before}");
        let expected = "bind message supplies 1 parameters, but prepared statement \"\" requires 0";
        assert_eq!(field(&said[1].1, b'M'), expected);
    }
}

/// Whatever is kept: the second round executes what the first one has parsed.
#[test]
fn a_setting_bound_in_another_round_than_parsed_reaches_no_other_client() {
    for cache in [StatementCache::Named, StatementCache::All] {
        let pg = Postgres::start().unwrap();
        let proxy = Proxy::start(&pg, |config| {
            config.statement_cache = cache;
            config.default_pool_size = NonZeroU32::new(1).unwrap();
        });
        let (mut a, mut b) = (Raw::login(&proxy), Raw::login(&proxy));
        a.send(&[parse("", "set work_mem = '7MB'"), sync()].concat());
        assert_eq!(a.tags(), "1Z");
        a.send(&[bind(""), execute(), sync()].concat());
        assert_eq!(a.tags(), "2CZ");
        assert_eq!(value(&run(&mut b, "show work_mem")), "4MB", "{}", cache.as_str());
        assert_eq!(value(&run(&mut a, "show work_mem")), "7MB", "{}", cache.as_str());
    }
}

/// Whatever is kept: the question about its session takes nothing away from a client.
#[test]
fn the_unnamed_statement_of_a_client_with_a_server_of_its_own_outlives_a_question() {
    for cache in [StatementCache::Named, StatementCache::All] {
        let pg = Postgres::start().unwrap();
        let proxy = Proxy::start(&pg, |config| config.statement_cache = cache);
        let mut client = Raw::login(&proxy);
        say(&mut client, "create temp table mine (a int)");
        client.send(&[parse("", "select 5"), parse("s", "set work_mem = '7MB'")].concat());
        client.send(&[bind("s"), execute(), sync()].concat());
        assert_eq!(client.tags(), "112CZ");
        client.send(&[bind(""), execute(), sync()].concat());
        assert_eq!(client.tags(), "2DCZ", "{}", cache.as_str());
    }
}

/// The first values make PostgreSQL choose a plan for all values; those that follow would have a
/// much better one of their own. The number of distinct values is said, since the sample that
/// ANALYZE takes has the rare one in it or not, and with it the plan for all values would be
/// another.
#[tokio::test]
async fn a_kept_plan_that_is_slower_is_switched_off_and_shown() {
    let pg = Postgres::start().unwrap();
    pg.sql(
        "create table big as select case n when 5000 then 1 else 0 end as k, n \
         from generate_series(1, 150000) n; create index on big (k); \
         alter table big alter k set (n_distinct = 1); analyze big",
    )
    .unwrap();
    let proxy = start(&pg);
    let mut client = Raw::login(&proxy);
    let bound = |value: &str| {
        let mut body = b"\0\0\0\0\0\x01".to_vec();
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(value.as_bytes());
        body.extend([0, 0]);
        message(b'B', &body)
    };
    let sql = "select count(n), 'a literal' from big where k = $1";
    let mut ask = |value: &str| {
        client.send(&[parse("", sql), bound(value), execute(), sync()].concat());
        assert_eq!(client.tags(), "12DCZ");
    };
    (0..20).for_each(|_| ask("0"));
    let switched = || number(&proxy, "stent_plans_switched_off_total ");
    let mut uses = 0;
    while switched() == 0 && uses < 3_000 {
        (0..32).for_each(|_| ask("1"));
        uses += 32;
    }
    assert!(switched() > 0, "after {uses} uses");
    let before = count(&proxy, "off");
    ask("1");
    assert_eq!(count(&proxy, "off"), before + 1);
    let console = proxy.connect(&proxy.dsn("postgres", "stent")).await.unwrap();
    let shown = console.simple_query("show statements").await.unwrap();
    let rows = shown.iter().filter_map(|message| {
        if let tokio_postgres::SimpleQueryMessage::Row(row) = message { Some(row) } else { None }
    });
    let row = rows.take(1).next().unwrap();
    assert_eq!(row.get("statement"), Some("select count(n), ? from big where k = $1"));
    assert_eq!(row.get("state"), Some("switched off"));
    let shown = |column: &str| row.get(column).unwrap().parse::<u64>().unwrap();
    assert!(shown("uses") > shown("hits") && shown("hits") > 0);
    assert!(shown("cached_us") > 0 && shown("uncached_us") > 0);
}
