//! PAUSE, RESUME and RECONNECT: maintenance of the database without an error for anybody.

use std::num::NonZeroU32;
use std::time::Duration;

use stent_proxy::config::PoolMode;
use stent_testkit::Postgres;
use tokio_postgres::{Client, NoTls};

use super::console::{rows, value};
use super::listen::Listener;
use super::raw::{Raw, field, query, startup};
use super::support::{Proxy, code, until};

fn with_admin(pg: &Postgres, change: impl FnOnce(&mut stent_proxy::Config)) -> Proxy {
    Proxy::start(pg, |config| {
        config.console_admins = vec!["ops".to_owned()];
        config.console_users = vec!["watcher".to_owned()];
        change(config);
    })
}

async fn console(proxy: &Proxy) -> Client {
    proxy.connect(&proxy.dsn("ops", "pgbouncer")).await.unwrap()
}

/// The SQLSTATE with which a command is refused.
async fn refused(console: &Client, command: &str) -> String {
    code(&console.batch_execute(command).await.expect_err(command))
}

fn is_paused(proxy: &Proxy) -> bool {
    proxy.snapshot().pools.iter().all(|pool| pool.paused)
}

/// Sessions of clients at PostgreSQL itself.
fn backends(pg: &Postgres) -> usize {
    pg.backends().unwrap().len()
}

#[tokio::test]
async fn a_restart_of_the_database_under_pause_costs_clients_at_work_no_error() {
    let mut pg = Postgres::start().unwrap();
    let proxy = with_admin(&pg, |config| {
        config.query_wait_timeout = Some(Duration::from_secs(2));
        config.client_login_timeout = Duration::from_secs(2);
    });
    let console = console(&proxy).await;
    let (stop, stopped) = tokio::sync::watch::channel(());
    let mut tasks = Vec::new();
    for _ in 0..12 {
        let (client, stopped) = (proxy.client().await, stopped.clone());
        tasks.push(tokio::spawn(async move {
            let mut done = 0_u32;
            while !stopped.has_changed().unwrap_or(true) {
                client.batch_execute("begin").await.unwrap();
                client.batch_execute("select 1").await.unwrap();
                client.batch_execute("commit").await.unwrap();
                done += 1;
            }
            done
        }));
    }
    until("work", || proxy.snapshot().pools[0].totals.transactions > 100).await;
    console.batch_execute("PAUSE").await.unwrap();
    assert_eq!(backends(&pg), 0, "PAUSE is answered when no server is left");
    let before = proxy.snapshot().pools[0].totals.transactions;
    pg.restart().unwrap();
    // One that comes meanwhile: there is no word from a server that is not cached yet.
    let dsn = format!("{} options='-c statement_timeout=77s'", proxy.dsn("postgres", "other"));
    pg.sql("create database other").unwrap();
    let newcomer =
        tokio::spawn(async move { tokio_postgres::connect(&dsn, NoTls).await.map(drop) });
    // Longer than any of their limits.
    let begun = std::time::Instant::now();
    until("everybody's time to be up", || begun.elapsed() > Duration::from_secs(3)).await;
    assert_eq!(proxy.snapshot().pools[0].totals.transactions, before, "nobody works");
    assert_eq!(backends(&pg), 0, "nobody has logged in");
    console.batch_execute("RESUME").await.unwrap();
    until("work again", || proxy.snapshot().pools[0].totals.transactions > before + 100).await;
    drop(stop);
    for task in tasks {
        assert!(task.await.unwrap() > 0);
    }
    newcomer.await.unwrap().unwrap();
}

#[tokio::test]
async fn pause_waits_for_transactions_and_lets_nobody_begin_another() {
    let pg = Postgres::start().unwrap();
    let proxy = with_admin(&pg, |_| {});
    let (busy, other) = (proxy.client().await, proxy.client().await);
    busy.batch_execute("begin; select 1").await.unwrap();
    let console = console(&proxy).await;
    let pausing = tokio::spawn(async move {
        console.batch_execute("PAUSE postgres;").await.unwrap();
        console
    });
    until("the pool to be paused", || is_paused(&proxy)).await;
    let waiting = tokio::spawn(async move { other.batch_execute("select 1").await });
    until("the other to wait", || proxy.snapshot().pools[0].clients_waiting == 1).await;
    busy.batch_execute("select 2").await.unwrap();
    assert!(!pausing.is_finished(), "a transaction is open");
    busy.batch_execute("commit").await.unwrap();
    let console = pausing.await.unwrap();
    assert_eq!(backends(&pg), 0);
    assert!(!waiting.is_finished());
    console.batch_execute("RESUME postgres").await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn in_session_mode_pause_waits_for_clients_to_leave() {
    let pg = Postgres::start().unwrap();
    let proxy = with_admin(&pg, |config| config.pool_mode = PoolMode::Session);
    let client = proxy.client().await;
    let console = console(&proxy).await;
    let pausing = tokio::spawn(async move {
        console.batch_execute("PAUSE").await.unwrap();
        console
    });
    until("the pool to be paused", || is_paused(&proxy)).await;
    client.batch_execute("select 1").await.unwrap();
    assert!(!pausing.is_finished());
    drop(client);
    let console = pausing.await.unwrap();
    let dsn = proxy.dsn("postgres", "postgres");
    let login = tokio::spawn(async move { tokio_postgres::connect(&dsn, NoTls).await.map(drop) });
    until("the login to wait", || proxy.snapshot().pools[0].clients_waiting == 1).await;
    console.batch_execute("RESUME").await.unwrap();
    login.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_cancel_request_takes_a_pause_back_that_is_not_done() {
    for mode in [PoolMode::Transaction, PoolMode::Session] {
        let pg = Postgres::start().unwrap();
        let proxy = with_admin(&pg, |config| config.pool_mode = mode);
        let busy = proxy.client().await;
        busy.batch_execute("begin").await.unwrap();
        let console = console(&proxy).await;
        let cancel = console.cancel_token();
        let pausing = tokio::spawn(async move {
            let error = console.batch_execute("PAUSE").await.unwrap_err();
            (console, code(&error))
        });
        until("the pool to be paused", || is_paused(&proxy)).await;
        cancel.cancel_query(NoTls).await.unwrap();
        let (console, said) = pausing.await.unwrap();
        assert_eq!(said, "57014");
        assert!(!is_paused(&proxy));
        assert_eq!(refused(&console, "RESUME").await, "55000");
        busy.batch_execute("commit").await.unwrap();
        busy.batch_execute("select 1").await.unwrap();
    }
}

#[tokio::test]
async fn a_pause_outlives_the_console_that_has_asked_for_it() {
    let pg = Postgres::start().unwrap();
    let proxy = with_admin(&pg, |_| {});
    let busy = proxy.client().await;
    busy.batch_execute("begin").await.unwrap();
    let mut raw = Raw::connect(&proxy);
    raw.send(&startup(&[("user", "ops"), ("database", "stent")]));
    assert!(raw.tags().ends_with('Z'));
    raw.send(&query("pause"));
    until("the pool to be paused", || is_paused(&proxy)).await;
    drop(raw);
    until("the console to have gone", || proxy.snapshot().clients.waiting == 0).await;
    busy.batch_execute("commit").await.unwrap();
    until("the servers to be closed", || backends(&pg) == 0).await;
    assert!(is_paused(&proxy));
    console(&proxy).await.batch_execute("RESUME").await.unwrap();
    busy.batch_execute("select 1").await.unwrap();
}

#[tokio::test]
async fn pauses_of_one_database_and_of_all_are_kept_apart() {
    let pg = Postgres::start().unwrap();
    pg.sql("create database shop").unwrap();
    let proxy = with_admin(&pg, |_| {});
    let console = console(&proxy).await;
    assert_eq!(refused(&console, "PAUSE shop").await, "3D000", "nobody has asked for it");
    let main = proxy.client().await;
    let shop = proxy.connect(&proxy.dsn("postgres", "shop")).await.unwrap();
    assert_eq!(refused(&console, "RESUME").await, "55000");
    assert_eq!(refused(&console, "RESUME shop").await, "55000");
    console.batch_execute("PAUSE shop").await.unwrap();
    console.batch_execute("PAUSE shop").await.unwrap();
    assert_eq!(refused(&console, "RESUME").await, "55000", "not all were paused");
    main.batch_execute("select 1").await.unwrap();
    console.batch_execute("PAUSE").await.unwrap();
    assert_eq!(refused(&console, "PAUSE").await, "55000");
    assert_eq!(refused(&console, "PAUSE postgres").await, "55000");
    assert_eq!(refused(&console, "RESUME postgres").await, "55000");
    let paused = rows(&console, "SHOW DATABASES").await;
    let paused: Vec<_> =
        paused.iter().map(|row| (value(row, "name"), value(row, "paused"))).collect();
    assert_eq!(paused, [("postgres", "1"), ("shop", "1")]);
    console.batch_execute("RESUME").await.unwrap();
    main.batch_execute("select 1").await.unwrap();
    let waiting = tokio::spawn(async move { shop.batch_execute("select 1").await });
    until("the shop to wait", || proxy.snapshot().clients.waiting == 1).await;
    console.batch_execute("RESUME shop").await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_login_to_a_paused_database_goes_on_where_it_needs_no_server() {
    let pg = Postgres::start().unwrap();
    let proxy = with_admin(&pg, |_| {});
    drop(proxy.client().await);
    let console = console(&proxy).await;
    console.batch_execute("PAUSE").await.unwrap();
    let (known, other) = (
        proxy.client().await,
        format!("{} application_name=other", proxy.dsn("postgres", "postgres")),
    );
    let other = proxy.connect(&other).await.unwrap();
    assert_eq!(backends(&pg), 0);
    console.batch_execute("RESUME").await.unwrap();
    known.batch_execute("select 1").await.unwrap();
    other.batch_execute("select 1").await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_first_asked_for_while_all_are_paused_is_paused() {
    let pg = Postgres::start().unwrap();
    pg.sql("create database late").unwrap();
    let proxy = with_admin(&pg, |_| {});
    let console = console(&proxy).await;
    console.batch_execute("PAUSE").await.unwrap();
    let dsn = proxy.dsn("postgres", "late");
    let login = tokio::spawn(async move { tokio_postgres::connect(&dsn, NoTls).await.map(drop) });
    until("the login to wait", || proxy.snapshot().clients.waiting == 1).await;
    assert_eq!(backends(&pg), 0);
    console.batch_execute("RESUME").await.unwrap();
    login.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_listens_does_not_hold_a_pause_up_and_is_listened_for_after_it() {
    let pg = Postgres::start().unwrap();
    let proxy = with_admin(&pg, |_| {});
    let listener = Listener::through(&proxy).await;
    listener.run("listen news").await;
    until("somebody to listen", || proxy.snapshot().pools[0].servers_listening == 1).await;
    let console = console(&proxy).await;
    for command in ["PAUSE", "RESUME", "RECONNECT"] {
        console.batch_execute(command).await.unwrap();
        match command {
            "PAUSE" => assert_eq!(backends(&pg), 0),
            _ => {
                // It may not listen again yet: what is said until then is lost, and it is warned.
                let warned = usize::from(command == "RECONNECT") + 1;
                until("the warning", || listener.notices.lock().unwrap().len() == warned).await;
                pg.sql(&format!("notify news, '{command}'")).unwrap();
                let heard = listener.next(1).await;
                assert_eq!(heard, [("news".to_owned(), command.to_owned())]);
            }
        }
    }
}

#[tokio::test]
async fn reconnect_replaces_idle_servers_at_once_and_busy_ones_after_their_transaction() {
    let pg = Postgres::start().unwrap();
    let proxy = with_admin(&pg, |config| config.default_pool_size = NonZeroU32::new(2).unwrap());
    let (busy, other) = (proxy.client().await, proxy.client().await);
    let pid = async |client: &Client| -> i32 {
        client.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0)
    };
    busy.batch_execute("begin").await.unwrap();
    let (held, idle) = (pid(&busy).await, pid(&other).await);
    let console = console(&proxy).await;
    console.batch_execute("RECONNECT postgres").await.unwrap();
    assert_ne!(pid(&other).await, idle);
    assert_eq!(pid(&busy).await, held, "nobody is cut");
    busy.batch_execute("commit").await.unwrap();
    let old = || pg.backends().unwrap().into_iter().any(|pid| pid as i32 == held);
    until("the old server to be closed", || !old()).await;
    assert_eq!(refused(&console, "RECONNECT nowhere").await, "3D000");
}

#[tokio::test]
async fn who_may_only_look_changes_nothing() {
    let pg = Postgres::start().unwrap();
    let proxy = with_admin(&pg, |_| {});
    let watcher = proxy.connect(&proxy.dsn("watcher", "stent")).await.unwrap();
    for command in ["PAUSE", "RESUME", "RECONNECT"] {
        assert_eq!(refused(&watcher, command).await, "42501", "{command}");
    }
    assert_eq!(rows(&watcher, "SHOW DATABASES").await.len(), 1);
    proxy.client().await.batch_execute("select 1").await.unwrap();
}

#[tokio::test]
async fn a_paused_pool_is_said_to_be_and_the_proxy_stays_ready() {
    let pg = Postgres::start().unwrap();
    let proxy = with_admin(&pg, |_| {});
    drop(proxy.client().await);
    let gauge =
        |value| format!("stent_paused{{database=\"postgres\",user=\"postgres\"}} {value}\n");
    assert!(proxy.get("/metrics").1.contains(&gauge(0)));
    console(&proxy).await.batch_execute("PAUSE").await.unwrap();
    assert!(proxy.get("/metrics").1.contains(&gauge(1)));
    assert_eq!(proxy.get("/readyz").0, 200);
}

#[test]
fn commands_are_answered_with_their_tags() {
    let pg = Postgres::start().unwrap();
    let proxy = with_admin(&pg, |_| {});
    let mut raw = Raw::connect(&proxy);
    raw.send(&startup(&[("user", "ops"), ("database", "stent")]));
    assert!(raw.tags().ends_with('Z'));
    for (command, tag) in [("pause", "PAUSE"), ("resume;", "RESUME"), ("reconnect", "RECONNECT")] {
        raw.send(&query(command));
        let said = raw.until_ready();
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!(said[0], (b'C', format!("{tag}\0").into_bytes()));
    }
    raw.send(&query("resume"));
    let said = raw.until_ready();
    assert_eq!(field(&said[0].1, b'M'), "pooler is not paused/suspended");
}
