//! Servers that die, and a proxy that is told to stop.

use std::time::Duration;

use stent_testkit::{Postgres, Signal, Stop};

use super::support::{Proxy, code, until};

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
    let signal_all = |signal| {
        for pid in &hanging {
            let pid = rustix::process::Pid::from_raw(*pid as i32).unwrap();
            rustix::process::kill_process(pid, signal).unwrap();
        }
    };
    signal_all(Signal::STOP);
    client.batch_execute("select 1").await.unwrap();
    signal_all(Signal::CONT);
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
    stent_testkit::wait_until("the servers to be gone", super::support::PATIENCE, left).unwrap();
}
