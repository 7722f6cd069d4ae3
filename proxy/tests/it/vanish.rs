//! Clients that vanish: what they had under way ends with them, in every mode. Checklist 70.

use std::num::NonZeroU32;
use std::time::Duration;

use stent_proxy::config::PoolMode;
use stent_testkit::{Postgres, wait_until};

use super::raw::{Raw, bind, execute, message, parse, query, startup, sync};
use super::support::{PATIENCE, Proxy};

const MODES: [PoolMode; 3] = [PoolMode::Session, PoolMode::Transaction, PoolMode::Statement];

/// How a client goes.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// FIN: its process ended.
    Close,
    /// RST: its machine did, or it had not read everything.
    Reset,
}

fn start(pg: &Postgres, mode: PoolMode) -> Proxy {
    Proxy::start(pg, |config| {
        config.pool_mode = mode;
        config.default_pool_size = NonZeroU32::new(1).unwrap();
    })
}

fn doomed(proxy: &Proxy) -> Raw {
    let mut raw = Raw::connect(proxy);
    raw.send(&startup(&[
        ("user", "postgres"),
        ("database", "postgres"),
        ("application_name", "doomed"),
    ]));
    raw.until_ready();
    raw
}

fn vanish(raw: Raw, way: Way) {
    if let Way::Reset = way {
        socket2::SockRef::from(&raw.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    drop(raw);
}

/// Waits until PostgreSQL says so of the client's backend.
fn wait_for_backend(pg: &Postgres, what: &str, condition: &str) {
    let sql = format!(
        "select count(*) from pg_stat_activity where application_name = 'doomed' and {condition}"
    );
    wait_until(what, PATIENCE, || pg.value(&sql).unwrap() != "0").unwrap();
}

/// Waits until the client's backend has nothing under way, and the next client is served.
fn expect_peace(pg: &Postgres, proxy: &Proxy, case: &str) {
    let busy = "select count(*) from pg_stat_activity a left join pg_locks l \
                on l.pid = a.pid and l.relation = to_regclass('t') \
                where application_name = 'doomed' and (state <> 'idle' or l.pid is not null)";
    wait_until(case, PATIENCE, || pg.value(busy).unwrap() == "0").unwrap();
    let mut next = Raw::login(proxy);
    next.send(&query("select count(*) from t"));
    assert_eq!(next.until_ready()[1], (b'D', b"\0\x01\0\0\0\x010".to_vec()), "{case}");
}

/// Runs a case in every mode that has it, for both ways of going.
fn in_all_modes(modes: &[PoolMode], begin: impl Fn(&mut Raw), is_under_way: &str) {
    let pg = Postgres::start().unwrap();
    pg.sql("create table t (a int)").unwrap();
    for &mode in modes {
        let proxy = start(&pg, mode);
        for way in [Way::Close, Way::Reset] {
            let case = format!("{mode:?} {way:?}");
            let mut raw = doomed(&proxy);
            begin(&mut raw);
            wait_for_backend(&pg, &case, is_under_way);
            vanish(raw, way);
            expect_peace(&pg, &proxy, &case);
        }
    }
}

#[test]
fn a_running_query_is_cancelled_when_its_client_vanishes() {
    in_all_modes(&MODES, |raw| raw.send(&query("select pg_sleep(600)")), "wait_event = 'PgSleep'");
}

#[test]
fn a_pipeline_of_queries_is_cancelled_when_its_client_vanishes() {
    in_all_modes(
        &MODES,
        |raw| raw.send(&query("select pg_sleep(600)").repeat(5)),
        "wait_event = 'PgSleep'",
    );
}

#[test]
fn an_open_transaction_is_rolled_back_when_its_client_vanishes() {
    in_all_modes(
        &MODES[..2],
        |raw| raw.send(&query("begin; lock table t; insert into t values (1)")),
        "state = 'idle in transaction'",
    );
}

#[test]
fn an_extended_query_without_its_sync_is_rolled_back_when_its_client_vanishes() {
    in_all_modes(
        &MODES,
        |raw| {
            let insert = parse("", "insert into t values (1)");
            raw.send(&[insert, bind(""), execute(), message(b'H', b"")].concat());
        },
        "wait_event = 'ClientRead' and backend_xid is not null",
    );
}

#[test]
fn a_copy_in_half_way_is_rolled_back_when_its_client_vanishes() {
    in_all_modes(
        &MODES,
        |raw| {
            raw.send(&query("copy t from stdin"));
            raw.send(&message(b'd', b"1\n2\n"));
            // The beginning of a message whose rest never comes.
            raw.send(b"d\0\0\x01\0one");
        },
        "query = 'copy t from stdin' and state = 'active'",
    );
}

#[test]
fn a_client_that_stalls_and_vanishes_takes_its_query_with_it() {
    in_all_modes(
        &MODES,
        |raw| raw.send(&query("select repeat('x', 1000), generate_series(1, 100000000)")),
        "wait_event = 'ClientWrite'",
    );
}

#[test]
fn a_statement_that_waits_for_a_lock_is_cancelled_when_its_client_vanishes() {
    let pg = Postgres::start().unwrap();
    pg.sql("create table t (a int)").unwrap();
    for mode in MODES {
        let proxy = start(&pg, mode);
        let keeper = Proxy::start(&pg, |_| {});
        let mut holder = Raw::login(&keeper);
        holder.send(&query("begin; lock table t"));
        holder.until_ready();
        let mut raw = doomed(&proxy);
        raw.send(&[parse("", "insert into t values (1)"), bind(""), execute(), sync()].concat());
        wait_for_backend(&pg, "it to wait", "wait_event_type = 'Lock'");
        vanish(raw, Way::Reset);
        let waits = "select count(*) from pg_locks where not granted";
        wait_until("nobody to wait", PATIENCE, || pg.value(waits).unwrap() == "0").unwrap();
        holder.send(&query("commit"));
        holder.until_ready();
        expect_peace(&pg, &proxy, &format!("{mode:?}"));
    }
}

#[test]
fn a_client_that_vanishes_in_its_login_leaves_the_queue() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, PoolMode::Session);
    let first = Raw::login(&proxy);
    let mut second = Raw::connect(&proxy);
    second.send(&startup(&[("user", "postgres"), ("database", "postgres")]));
    let waiting = || proxy.snapshot().pools[0].clients_waiting;
    wait_until("the second to wait", PATIENCE, || waiting() == 1).unwrap();
    drop(second);
    wait_until("nobody to wait", PATIENCE, || waiting() == 0).unwrap();
    drop(first);
    drop(Raw::login(&proxy));
}
