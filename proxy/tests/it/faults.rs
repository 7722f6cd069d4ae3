//! Servers that die, and a proxy that is told to stop.

use std::time::Duration;

use stent_testkit::{Postgres, Signal, Stop, wait_for};

use super::raw::{Raw, bind, execute, field, parse, query, sync};
use super::support::{PATIENCE, Proxy, code, signal, until};

#[tokio::test]
async fn clients_that_only_wait_see_no_error_when_a_backend_is_killed() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = std::num::NonZeroU32::new(2).unwrap();
    });
    let (a, b) = (proxy.client().await, proxy.client().await);
    let mut waiters = Vec::new();
    for _ in 0..20 {
        waiters.push(proxy.client().await);
    }
    a.batch_execute("begin").await.unwrap();
    b.batch_execute("begin").await.unwrap();
    let tasks: Vec<_> = waiters
        .into_iter()
        .map(|waiter| tokio::spawn(async move { waiter.batch_execute("select 1").await }))
        .collect();
    until("all to wait", || proxy.snapshot().pools[0].clients_waiting == 20).await;
    pg.crash_one_backend().unwrap();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert!(a.batch_execute("select 1").await.is_err(), "its transaction is lost");
}

#[tokio::test]
async fn an_idle_server_that_dies_is_noticed_and_replaced() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let client = proxy.client().await;
    client.batch_execute("select 1").await.unwrap();
    // A server that was being opened meanwhile may still come up: it gets its turn too.
    until("the ends to be noticed", || {
        for pid in pg.backends().unwrap() {
            pg.terminate_backend(pid).unwrap();
        }
        let pool = &proxy.snapshot().pools[0];
        pool.servers_idle + pool.servers_opening == 0
    })
    .await;
    let end = proxy.snapshot().disconnects[0].clone();
    assert_eq!((end.side.as_str(), end.cause.as_str()), ("server", "gone"));
    assert!(end.detail.contains("terminating connection"), "{}", end.detail);
    client.batch_execute("select 1").await.unwrap();
}

#[tokio::test]
async fn a_client_whose_server_dies_gets_postgresqls_last_words() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let client = proxy.client().await;
    client.batch_execute("begin").await.unwrap();
    let pid = proxy.snapshot().holders[0].backend_pid;
    let asleep = client.batch_execute("select pg_sleep(600)");
    let kill = async {
        until("it to run", || proxy.snapshot().pools[0].servers_active == 1).await;
        pg.terminate_backend(pid).unwrap();
    };
    let (result, ()) = tokio::join!(asleep, kill);
    assert_eq!(code(&result.err().unwrap()), "57P01");
}

#[tokio::test]
async fn a_restart_of_postgresql_costs_a_waiting_client_nothing() {
    let mut pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let client = proxy.client().await;
    client.batch_execute("select 1").await.unwrap();
    pg.stop(Stop::Fast).unwrap();
    until("the servers to be gone", || proxy.snapshot().pools[0].servers_idle == 0).await;
    let waiting = tokio::spawn(async move { client.batch_execute("select 1").await });
    until("it to wait", || proxy.snapshot().pools[0].clients_waiting == 1).await;
    assert_eq!(proxy.get("/readyz").0, 503);
    assert_eq!(proxy.get("/livez").0, 200);
    pg.resume().unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(proxy.get("/readyz").0, 200);
}

#[tokio::test]
async fn an_idle_server_that_hangs_fails_its_probe_and_its_client_gets_another() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| config.server_check_delay = Duration::ZERO);
    let client = proxy.client().await;
    for _ in 0..3 {
        client.batch_execute("select 1").await.unwrap();
    }
    assert!(proxy.snapshot().disconnects.is_empty(), "healthy servers pass their probes");
    let hanging = pg.backends().unwrap();
    hanging.iter().for_each(|pid| signal(*pid, Signal::STOP));
    client.batch_execute("select 1").await.unwrap();
    hanging.iter().for_each(|pid| signal(*pid, Signal::CONT));
    let ends = proxy.snapshot().disconnects;
    assert!(ends.iter().any(|end| end.cause == "probe_failed"), "{ends:?}");
}

#[tokio::test]
async fn a_stop_lets_transactions_end_and_sends_idle_clients_away() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let (busy, idle) = (proxy.client().await, proxy.client().await);
    busy.batch_execute("begin").await.unwrap();
    proxy.stop();
    until("the idle client to leave", || idle.is_closed()).await;
    busy.batch_execute("select 1; commit").await.unwrap();
    until("the busy client to leave", || busy.is_closed()).await;
    proxy.join().unwrap();
    let left = || pg.backends().unwrap().is_empty();
    stent_testkit::wait_until("the servers to be gone", PATIENCE, left).unwrap();
}

/// One backend, stopped so that what its client sends meets silence, then killed.
fn lose(pg: &Postgres, pid: u32, send: impl FnOnce()) {
    signal(pid, Signal::STOP);
    send();
    pg.sql("select 1").unwrap();
    // The postmaster hears of it before it takes another connection, which it would end at once.
    pg.signal(Signal::STOP).unwrap();
    signal(pid, Signal::KILL);
    pg.signal(Signal::CONT).unwrap();
    let buried = || !std::path::Path::new(&format!("/proc/{pid}")).exists();
    stent_testkit::wait_until("the backend to be buried", PATIENCE, buried).unwrap();
}

#[test]
fn a_begin_that_meets_a_dead_server_goes_to_another_one() {
    for extended in [false, true] {
        let pg = Postgres::start().unwrap();
        let proxy = Proxy::start(&pg, |_| {});
        let mut client = Raw::login(&proxy);
        client.send(&query("set application_name = 'mine'"));
        client.until_ready();
        let pid = backend_of(&mut client);
        let begin = match extended {
            false => query("BEGIN;"),
            true => [parse("", "begin"), bind(""), execute(), sync()].concat(),
        };
        lose(&pg, pid, || client.send(&begin));
        let said = client.until_ready();
        assert_eq!(said.last().unwrap().1, b"T", "in a transaction: {said:?}");
        assert!(said.iter().all(|(tag, _)| *tag != b'E'), "{said:?}");
        assert_eq!(shown(&mut client, "show application_name"), "mine");
        assert!(proxy.get("/metrics").1.contains("\nstent_requests_repeated_total 1\n"));
    }
}

/// PostgreSQL ends every backend when one has crashed, each with a warning as its last word.
#[test]
fn a_begin_that_meets_the_crash_of_another_backend_goes_to_another_server() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut client = Raw::login(&proxy);
    let own = backend_of(&mut client);
    signal(own, Signal::STOP);
    client.send(&query("begin"));
    signal(backend_of(&mut Raw::login_at(pg.port())), Signal::KILL);
    wait_for("the postmaster to end all backends", PATIENCE, || {
        let log = std::fs::read_to_string(format!("/proc/{own}/status")).ok()?;
        let pending = log.lines().find_map(|line| line.strip_prefix("ShdPnd:\t"))?;
        // SIGQUIT is signal 3.
        (u64::from_str_radix(pending, 16).ok()? & 0b100 != 0).then_some(())
    })
    .unwrap();
    signal(own, Signal::CONT);
    let said = client.until_ready();
    assert_eq!(said.last().unwrap().1, b"T", "in a transaction: {said:?}");
    assert!(said.iter().all(|(tag, _)| !b"EN".contains(tag)), "{said:?}");
}

#[test]
fn what_may_have_been_carried_out_is_never_sent_twice() {
    let pg = Postgres::start().unwrap();
    pg.sql("create table t (n int)").unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    for sql in ["insert into t values (1)", "begin; insert into t values (1); commit", "select 1"] {
        let up = || pg.sql("select 1").is_ok();
        stent_testkit::wait_until("PostgreSQL to take connections", PATIENCE, up).unwrap();
        let mut client = Raw::login(&proxy);
        let pid = backend_of(&mut client);
        lose(&pg, pid, || client.send(&query(sql)));
        let (tag, body) = client.next().unwrap();
        assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "08006"), "{sql}");
        assert_eq!(client.next(), None, "the connection is gone as it would be without a proxy");
    }
    assert!(proxy.get("/metrics").1.contains("\nstent_requests_repeated_total 0\n"));
}

#[test]
fn a_server_with_state_of_its_clients_is_not_replaced() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut client = Raw::login(&proxy);
    client.send(&query("create temp table mine (n int)"));
    client.until_ready();
    let pid = backend_of(&mut client);
    lose(&pg, pid, || client.send(&query("begin")));
    let (tag, body) = client.next().unwrap();
    assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "08006"));
}

/// The process of the server that a client meets now.
fn backend_of(client: &mut Raw) -> u32 {
    shown(client, "select pg_backend_pid()").parse().unwrap()
}

/// The one value that a query shows.
fn shown(client: &mut Raw, sql: &str) -> String {
    client.send(&query(sql));
    let said = client.until_ready();
    let (_, row) = said.iter().find(|(tag, _)| *tag == b'D').expect("a row");
    String::from_utf8(row[6..].to_vec()).unwrap()
}

/// What a demoted writer looks like to those that stay connected, until its name leads elsewhere.
fn become_read_only(pg: &Postgres, on: &str) {
    pg.sql(&format!("alter system set default_transaction_read_only = {on}")).unwrap();
    pg.sql("select pg_reload_conf()").unwrap();
}

#[test]
fn when_the_database_turns_read_only_writers_wait_until_there_is_one_that_is_not() {
    let pg = Postgres::start().unwrap();
    pg.sql("create table t (n int)").unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut client = Raw::login(&proxy);
    shown(&mut client, "select 1");
    become_read_only(&pg, "on");
    let failovers = || proxy.get("/metrics").1.contains("\nstent_failovers_total 1\n");
    // Whichever comes first: the idle server says so itself, or a client is refused.
    wait_for("the failover to be noticed", PATIENCE, || {
        client.send(&query("insert into t values (0)"));
        failovers().then_some(())
    })
    .unwrap();
    let mut writer = Raw::login(&proxy);
    writer.send(&query("insert into t values (1)"));
    wait_for("it to wait", PATIENCE, || {
        (proxy.snapshot().pools[0].clients_waiting > 0).then_some(())
    })
    .unwrap();
    become_read_only(&pg, "off");
    assert_eq!(writer.tags(), "CZ", "the writer was served as soon as there was a writer");
}

#[test]
fn a_client_that_has_itself_forbidden_to_write_moves_nothing() {
    let pg = Postgres::start().unwrap();
    pg.sql("create table t (n int)").unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = std::num::NonZeroU32::new(1).unwrap();
    });
    let mut client = Raw::login(&proxy);
    let pid = backend_of(&mut client);
    for sql in ["set default_transaction_read_only = on", "begin read only"] {
        client.send(&query(sql));
        client.until_ready();
        client.send(&query("insert into t values (1)"));
        let said = client.until_ready();
        let (_, error) = said.iter().find(|(tag, _)| *tag == b'E').expect("it is refused");
        assert_eq!(field(error, b'C'), "25006", "{sql}");
        client.send(&query("rollback"));
        client.until_ready();
        client.send(&query("reset default_transaction_read_only"));
        client.until_ready();
    }
    assert_eq!(backend_of(&mut client), pid, "the server is still there");
    assert!(proxy.get("/metrics").1.contains("\nstent_failovers_total 0\n"));
}

/// The server that a cancel request was meant for is asked for a sign of life before it is lent
/// again; here its answer is that it ends.
#[tokio::test]
async fn a_cancelled_server_that_ends_while_it_is_held_back_leaves_its_place_to_another() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = std::num::NonZeroU32::new(1).unwrap();
    });
    let client = proxy.client().await;
    client.batch_execute("select 1").await.unwrap();
    let backend = pg.backends().unwrap()[0];
    let token = client.cancel_token();
    let asleep = client.batch_execute("select pg_sleep(2)");
    let cancel = async {
        until("it to run", || proxy.snapshot().pools[0].servers_active == 1).await;
        // A stopped postmaster takes the connection and does not answer: the request is on its way.
        pg.signal(Signal::STOP).unwrap();
        token.cancel_query(tokio_postgres::NoTls).await
    };
    let (slept, cancelled) = tokio::join!(asleep, cancel);
    slept.unwrap();
    cancelled.unwrap();
    signal(backend, Signal::TERM);
    pg.signal(Signal::CONT).unwrap();
    client.batch_execute("select 1").await.unwrap();
}

#[test]
fn a_proxy_that_is_told_to_stop_serves_on_until_the_application_has_gone() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| config.drain_serve_timeout = PATIENCE);
    let mut old = Raw::login(&proxy);
    shown(&mut old, "select 1");
    proxy.stop();
    wait_for("the proxy to say so", PATIENCE, || (proxy.get("/readyz").0 == 503).then_some(()))
        .unwrap();
    // As an application finishes: requests on what it has, and new connections.
    for _ in 0..20 {
        old.send(&query("begin"));
        assert_eq!(old.tags(), "CZ");
        assert_eq!(shown(&mut Raw::login(&proxy), "select 2"), "2");
        old.send(&query("commit"));
        assert_eq!(old.tags(), "CZ");
    }
    drop(old);
    let stopped = std::time::Instant::now();
    proxy.join().unwrap();
    assert!(stopped.elapsed() < PATIENCE, "nobody is waited for who has gone");
}

#[test]
fn an_application_that_stays_is_told_when_its_time_is_over() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.drain_serve_timeout = Duration::from_millis(200);
        config.drain_timeout = PATIENCE;
    });
    let (mut idle, mut busy) = (Raw::login(&proxy), Raw::login(&proxy));
    busy.send(&query("begin"));
    assert_eq!(busy.tags(), "CZ");
    proxy.stop();
    let (tag, body) = idle.next().unwrap();
    assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "57P01"));
    busy.send(&query("commit"));
    assert_eq!(busy.tags(), "CZ", "a transaction may be finished");
    drop(busy);
    proxy.join().unwrap();
}
