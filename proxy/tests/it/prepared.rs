//! Named prepared statements that survive a change of server.

use stent_proxy::config::PoolMode;
use stent_testkit::Postgres;

use super::raw::{Raw, bind, execute, field, message, parse, query, sync};
use super::support::{Proxy, until};

#[tokio::test]
async fn a_named_statement_follows_its_client_to_other_servers() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = std::num::NonZeroU32::new(2).unwrap();
    });
    let (a, b) = (proxy.client().await, proxy.client().await);
    let pid = "select pg_backend_pid()";
    let statement = a.prepare("select $1::int + 1, pg_backend_pid()").await.unwrap();
    let home: i32 = a.query_one(&statement, &[&1]).await.unwrap().get(1);
    let one: i32 = b.query_one(pid, &[]).await.unwrap().get(0);
    b.batch_execute("begin").await.unwrap();
    let held: i32 = b.query_one(pid, &[]).await.unwrap().get(0);
    let c = proxy.client().await;
    c.batch_execute("begin").await.unwrap();
    let other: i32 = c.query_one(pid, &[]).await.unwrap().get(0);
    assert_ne!(held, other);
    let (free, away) = if held == home { (c, other) } else { (b, held) };
    assert!([home, one].contains(&home) && away != home);
    free.batch_execute("rollback").await.unwrap();
    for n in 0..3 {
        let row = a.query_one(&statement, &[&n]).await.unwrap();
        assert_eq!((row.get::<_, i32>(0), row.get::<_, i32>(1)), (n + 1, away));
    }
}

#[test]
fn names_belong_to_their_client_and_errors_are_postgresqls_own() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let (mut a, mut b) = (Raw::login(&proxy), Raw::login(&proxy));
    a.send(&[parse("s", "select 1"), sync()].concat());
    assert_eq!(a.tags(), "1Z");
    b.send(&[bind("s"), execute(), sync()].concat());
    let said = b.until_ready();
    assert_eq!(field(&said[0].1, b'C'), "26000", "a name that b has not prepared");
    b.send(&[bind("_stent_1"), execute(), sync()].concat());
    let said = b.until_ready();
    assert_eq!(field(&said[0].1, b'C'), "26000", "a guessed name");
    a.send(&[parse("s", "select 2"), sync()].concat());
    let said = a.until_ready();
    assert_eq!(field(&said[0].1, b'C'), "42P05", "a name that is taken");
    a.send(&[bind("s"), execute(), sync()].concat());
    assert_eq!(a.tags(), "2DCZ", "and the connection lives on");
}

#[test]
fn a_failed_parse_leaves_no_trace_of_its_name() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut client = Raw::login(&proxy);
    client.send(&[parse("s", "selec 1"), parse("t", "select 1"), sync()].concat());
    assert_eq!(client.tags(), "EZ");
    for name in ["s", "t"] {
        client.send(&[parse(name, "select 7"), bind(name), execute(), sync()].concat());
        assert_eq!(client.tags(), "12DCZ", "{name}");
    }
}

#[test]
fn a_statement_skipped_in_a_failed_pipeline_is_not_taken_for_prepared_by_others() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = std::num::NonZeroU32::new(1).unwrap();
    });
    let mut a = Raw::login(&proxy);
    a.send(&[parse("", "select 1/0"), bind(""), execute()].concat());
    a.send(&[parse("x", "select 'new'"), sync(), parse("y", "select 'new'"), sync()].concat());
    assert_eq!((a.tags().as_str(), a.tags().as_str()), ("1EZ", "1Z"));
    for _ in 0..3 {
        let mut b = Raw::login(&proxy);
        b.send(&[parse("z", "select 'new'"), bind("z"), execute(), sync()].concat());
        assert_eq!(b.tags(), "12DCZ");
    }
}

#[test]
fn close_frees_the_name_and_deallocate_all_frees_all() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut client = Raw::login(&proxy);
    client.send(&[parse("s", "select 1"), message(b'C', b"Ss\0"), parse("s", "select 2")].concat());
    client.send(&[bind("s"), execute(), sync()].concat());
    let said = client.until_ready();
    let tags: String = said.iter().map(|(tag, _)| char::from(*tag)).collect();
    assert_eq!(tags, "1312DCZ");
    assert!(said[4].1.ends_with(b"2"));
    client.send(&query("deallocate all"));
    client.until_ready();
    client.send(&[bind("s"), execute(), sync()].concat());
    assert_eq!(field(&client.until_ready()[0].1, b'C'), "26000");
    client.send(&[parse("s", "select 3"), bind("s"), execute(), sync()].concat());
    assert_eq!(client.tags(), "12DCZ");
}

#[tokio::test]
async fn more_statements_than_a_server_may_keep_are_evicted_and_come_back() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.max_prepared_statements = 3;
        config.default_pool_size = std::num::NonZeroU32::new(1).unwrap();
    });
    let client = proxy.client().await;
    let mut statements = Vec::new();
    for n in 0..10 {
        statements.push(client.prepare(&format!("select {n}")).await.unwrap());
    }
    for round in 0..2 {
        for (n, statement) in (0..).zip(&statements) {
            let row = client.query_one(statement, &[]).await.unwrap();
            assert_eq!(row.get::<_, i32>(0), n, "round {round}");
        }
    }
    let kept = client.query_one("select count(*) from pg_prepared_statements", &[]).await.unwrap();
    assert!(kept.get::<_, i64>(0) <= 3);
}

#[tokio::test]
async fn session_mode_passes_names_as_they_are() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| config.pool_mode = PoolMode::Session);
    let mut client = Raw::login(&proxy);
    client.send(&[parse("mine", "select 1"), sync()].concat());
    assert_eq!(client.tags(), "1Z");
    client.send(&query("select name from pg_prepared_statements"));
    let said = client.until_ready();
    assert!(said[1].1.ends_with(b"mine"));
    drop(client);
    until("the session to be reset", || {
        let pool = &proxy.snapshot().pools[0];
        pool.servers_idle >= 1 && pool.servers_active == 0
    })
    .await;
}

/// Its parameters' types are fixed at its Parse: another client's statement of the same text, parsed
/// before the type was made anew, would be described by a type that is gone.
#[test]
fn a_parse_behind_a_redefinition_is_not_answered_from_a_statement_of_before() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = std::num::NonZeroU32::new(1).unwrap();
    });
    let (mut a, mut b) = (Raw::login(&proxy), Raw::login(&proxy));
    let look = [parse("s", "select $1::price"), message(b'D', b"Ss\0"), sync()].concat();
    a.send(&query("create domain price as int"));
    assert_eq!(a.tags(), "CZ");
    a.send(&look);
    assert_eq!(a.tags(), "1tTZ");
    a.send(&query("drop domain price; create domain price as text"));
    assert_eq!(a.tags(), "CCZ");
    b.send(&look);
    let said = b.until_ready();
    let tags: String = said.iter().map(|(tag, _)| char::from(*tag)).collect();
    assert_eq!(tags, "1tTZ", "{said:?}");
}

/// What PostgreSQL has to say at a Parse, it says at each: also where the server has the statement
/// because it was brought there for a Bind, when nobody heard that.
#[test]
fn what_postgresql_says_of_a_text_is_said_at_each_parse_of_it() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = std::num::NonZeroU32::new(1).unwrap();
        config.max_prepared_statements = 2;
    });
    let (mut a, mut b) = (Raw::login(&proxy), Raw::login(&proxy));
    let wordy = format!("select 1 as {}", "x".repeat(70));
    a.send(&[parse("s", &wordy), sync()].concat());
    assert_eq!(a.tags(), "N1Z");
    for (name, sql) in [("t", "select 2"), ("u", "select 3")] {
        a.send(&[parse(name, sql), bind(name), execute(), sync()].concat());
        assert_eq!(a.tags(), "12DCZ");
    }
    a.send(&[bind("s"), execute(), sync()].concat());
    assert_eq!(a.tags(), "2DCZ", "brought back without a word");
    b.send(&[parse("s", &wordy), sync()].concat());
    assert_eq!(b.tags(), "N1Z");
}

/// A client may have several names for a text, of which PostgreSQL is told one: an error of a Bind is
/// about the name that was bound.
#[test]
fn an_error_of_a_bind_has_the_name_that_was_bound() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut client = Raw::login(&proxy);
    for name in ["a", "b"] {
        client.send(&[parse(name, "select $1::int"), sync()].concat());
        assert_eq!(client.tags(), "1Z");
    }
    for name in ["a", "b", "a"] {
        client.send(&[bind(name), sync()].concat());
        let (tag, body) = client.until_ready().remove(0);
        assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "08P01"));
        let text = field(&body, b'M');
        assert!(text.contains(&format!("prepared statement \"{name}\"")), "{text}");
    }
}
