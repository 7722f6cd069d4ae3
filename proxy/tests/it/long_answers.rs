//! Answers of megabytes, which are read in large pieces: their ends, and what comes after them.

use std::num::NonZeroU32;

use stent_proxy::config::{PoolMode, TlsMode};
use stent_testkit::{Postgres, wait_until};

use super::raw::{Raw, field, query};
use super::support::{PATIENCE, Proxy};
use super::tls::authority::{Authority, server_tls};

/// Well beyond what an answer has before it is read in large pieces.
const ROWS: usize = 3_000;

/// Rows of a kilobyte.
fn rows(count: usize) -> String {
    format!("select repeat('x', 1000) from generate_series(1, {count})")
}

/// Rows, a notice that PostgreSQL sends at once, and then it waits for the [`holder`].
fn rows_and_a_wait() -> String {
    let notice = "do $$ begin raise notice 'there'; end $$";
    format!("{}; {notice}; select pg_advisory_lock(1)", rows(ROWS))
}

/// One for whom that waits.
fn holder(pg: &Postgres) -> Raw {
    let mut holder = Raw::login_at(pg.port());
    holder.send(&query("select pg_advisory_lock(1)"));
    holder.until_ready();
    holder
}

/// A PostgreSQL and a proxy with one server of it in this mode, over TLS or not.
fn over(tls: TlsMode, mode: PoolMode) -> (Postgres, Proxy) {
    let pg = Authority::new().postgres();
    let proxy = Proxy::start(&pg, |config| {
        config.server_tls = server_tls(tls, None);
        config.default_pool_size = NonZeroU32::MIN;
        config.pool_mode = mode;
    });
    (pg, proxy)
}

/// The usual one.
fn one_server() -> (Postgres, Proxy) {
    over(TlsMode::Disable, PoolMode::Transaction)
}

/// Reads until the notice, which is smaller than a piece; says how many rows came before it.
fn read_to_notice(client: &mut Raw) -> usize {
    let mut rows = 0;
    loop {
        match client.next().expect("the answer goes on").0 {
            b'D' => rows += 1,
            b'N' => return rows,
            _ => {}
        }
    }
}

#[test]
fn the_last_piece_is_passed_on_while_the_server_is_silent() {
    for (tls, mode) in [
        (TlsMode::Disable, PoolMode::Transaction),
        (TlsMode::Disable, PoolMode::Session),
        (TlsMode::Require, PoolMode::Transaction),
    ] {
        let (pg, proxy) = over(tls, mode);
        let mut holder = holder(&pg);
        let mut client = Raw::login(&proxy);
        client.send(&query(&rows_and_a_wait()));
        assert_eq!(read_to_notice(&mut client), ROWS, "{tls:?} {mode:?}");
        holder.send(&query("select pg_advisory_unlock(1)"));
        assert_eq!(client.tags(), "CTDCZ", "{tls:?} {mode:?}");
        client.send(&query("select pg_advisory_unlock(1)"));
        assert_eq!(client.tags(), "TDCZ", "{tls:?} {mode:?}");
    }
}

#[test]
fn short_answers_follow_long_ones_on_the_same_server() {
    let (pg, proxy) = one_server();
    let (mut one, mut two) = (Raw::login(&proxy), Raw::login(&proxy));
    let long = |client: &mut Raw| {
        for (sql, tag) in [(rows(ROWS), 'D'), (format!("copy ({}) to stdout", rows(ROWS)), 'd')] {
            client.send(&query(&sql));
            let tags = client.tags();
            assert_eq!(tags.matches(tag).count(), ROWS);
        }
    };
    for client in [&mut one, &mut two] {
        long(client);
        client.send(&query("begin"));
        assert_eq!(client.tags(), "CZ");
        long(client);
        client.send(&query("select 1"));
        assert_eq!(client.tags(), "TDCZ");
        client.send(&query("commit"));
        assert_eq!(client.tags(), "CZ");
    }
    one.send(&query("select 1"));
    assert_eq!(one.tags(), "TDCZ");
    assert_eq!(pg.backends().unwrap().len(), 1, "it was one server all the time");
}

#[test]
fn one_that_leaves_in_the_middle_of_a_long_answer_disturbs_nobody() {
    let (_pg, proxy) = one_server();
    let mut leaver = Raw::login(&proxy);
    leaver.send(&query(&rows(ROWS * 50)));
    for _ in 0..ROWS {
        leaver.next().unwrap();
    }
    drop(leaver);
    let mut other = Raw::login(&proxy);
    other.send(&query("select 1"));
    assert_eq!(other.tags(), "TDCZ");
}

#[test]
fn a_server_that_ends_in_the_middle_of_a_long_answer_is_told_of() {
    let (pg, proxy) = one_server();
    let _holder = holder(&pg);
    let mut client = Raw::login(&proxy);
    client.send(&query(&rows_and_a_wait()));
    assert_eq!(read_to_notice(&mut client), ROWS);
    let waiting = "from pg_stat_activity where wait_event = 'advisory'";
    wait_until("the server to wait", PATIENCE, || {
        pg.value(&format!("select count(*) {waiting}")).unwrap() == "1"
    })
    .unwrap();
    pg.value(&format!("select pg_terminate_backend(pid) {waiting}")).unwrap();
    let (tag, body) = client.until_ready().into_iter().find(|(tag, _)| *tag == b'E').unwrap();
    assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "57P01"));
}
