//! Another process of the proxy in the place of one that works: `stent upgrade`, SIGUSR2, `--takeover`.

mod common;

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use common::http;
use common::running::{SOON, Stent, component, ended, terminated, wait_until_gone};
use stent_testkit::{Postgres, Process, Signal, proc, wait_for, wait_until};
use tokio_postgres::NoTls;

/// A `stent` before a PostgreSQL that trusts everyone.
fn started(command: &str) -> (Postgres, Stent, Process) {
    let postgres = Postgres::start().expect("a PostgreSQL");
    let mut stent = Stent::new(&postgres.url());
    stent.command.env("STENT_AUTH_TYPE", "trust").stdin(Stdio::null());
    let process = stent.start(&[command]);
    wait_for("readiness", SOON, || http::get(&stent.admin, "/readyz")).expect("ready");
    (postgres, stent, process)
}

/// `stent` with a word, told nothing but what the running one was.
fn told(stent: &Stent, word: &str) -> Output {
    let mut command = common::stent();
    command.env("STENT_LISTEN_PORT", &stent.listen_port).env("STENT_ADMIN_LISTEN", &stent.admin);
    command.arg(word).output().expect("it runs")
}

/// A lone proxy that is to take over.
fn successor(postgres: &Postgres, stent: &Stent, listen_addr: &str) -> Process {
    let mut command = common::stent();
    command
        .env("DATABASE_URL", postgres.url())
        .env("STENT_AUTH_TYPE", "trust")
        .env("STENT_LISTEN_PORT", &stent.listen_port)
        .env("STENT_LISTEN_ADDR", listen_addr)
        .env("STENT_ADMIN_LISTEN", &stent.admin)
        .args(["proxy", "--takeover"]);
    common::spawn(&mut command)
}

fn url(stent: &Stent) -> String {
    format!("postgres://postgres@127.0.0.1:{}/postgres", stent.listen_port)
}

#[test]
fn pgbench_notices_nothing_of_an_upgrade_under_load() {
    let (postgres, stent, mut up) = started("up");
    postgres.sql("create database bench").expect("made");
    let bench = |arguments: &[&str]| {
        let mut command = postgres.client("pgbench").expect("pgbench");
        command.env("PGPORT", &stent.listen_port).env("PGHOST", "127.0.0.1");
        command.args(arguments).stdin(Stdio::null());
        command
    };
    let made = bench(&["-i", "-q", "-s", "1", "bench"]).output().expect("it runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // Connections that stay, and connections that are made for each transaction.
    let loads = [
        &["-n", "-S", "-c", "8", "-T", "6", "bench"][..],
        &["-n", "-C", "-c", "4", "-T", "6", "bench"],
    ];
    let mut loads = loads.map(|load| Process::spawn(&mut bench(load)).expect("it starts"));
    let first = component(up.pid(), "proxy");
    let working = "select count(*) > 3 from pg_stat_activity where datname = 'bench'";
    wait_until("the load", SOON, || postgres.value(working).is_ok_and(|is| is == "t"))
        .expect("it works");
    let upgraded = told(&stent, "upgrade");
    let said = String::from_utf8_lossy(&upgraded.stdout).into_owned();
    assert!(upgraded.status.success(), "{said}{}", String::from_utf8_lossy(&upgraded.stderr));
    assert!(said.contains("upgraded: the new proxy has process id "), "{said}");
    for load in &mut loads {
        let code = ended(load);
        let said = load.output();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("number of failed transactions: 0 (0.000%)"), "{said}");
    }
    wait_until_gone(&[first]);
    assert_ne!(component(up.pid(), "proxy"), first);
    assert_eq!(terminated(&mut up), Some(0), "{}", up.output());
}

#[tokio::test]
async fn sigusr2_upgrades_and_a_cancel_request_finds_a_client_of_the_old_proxy() {
    let (_postgres, stent, mut up) = started("up");
    let (client, connection) =
        tokio_postgres::connect(&url(&stent), NoTls).await.expect("a client");
    let connection = tokio::spawn(connection);
    let cancel = client.cancel_token();
    let first = component(up.pid(), "proxy");
    up.signal(Signal::USR2).expect("sent");
    let said = || up.output().contains("a new proxy serves newcomers").then_some(());
    wait_for("the upgrade", SOON, said).expect("it is said");
    assert!(proc::is_alive(first), "it has a client");
    let again = told(&stent, "upgrade");
    assert_eq!(again.status.code(), Some(1), "one after the other");
    let sleeping = tokio::spawn(async move {
        let error = client.batch_execute("select pg_sleep(600)").await.expect_err("cancelled");
        (client, error.code().map(|code| code.code().to_owned()))
    });
    let asleep = || http::get(&stent.admin, "/readyz");
    wait_for("the new proxy", SOON, asleep).expect("it is ready");
    // The request may come before the statement has begun: then it finds nothing, and is repeated.
    while !sleeping.is_finished() {
        cancel.cancel_query(NoTls).await.expect("sent");
        tokio::task::yield_now().await;
    }
    let (client, code) = sleeping.await.expect("it ends");
    assert_eq!(code.as_deref(), Some("57014"));
    drop(client);
    connection.await.expect("it ends").expect("it has said goodbye");
    wait_until_gone(&[first]);
    assert_eq!(terminated(&mut up), Some(0), "{}", up.output());
}

#[tokio::test]
async fn sigterm_ends_both_proxies() {
    let (_postgres, stent, mut up) = started("up");
    let (_idle, connection) = tokio_postgres::connect(&url(&stent), NoTls).await.expect("a client");
    tokio::spawn(connection);
    let first = component(up.pid(), "proxy");
    assert!(told(&stent, "upgrade").status.success());
    let second = component(up.pid(), "proxy");
    assert_eq!(terminated(&mut up), Some(0), "{}", up.output());
    wait_until_gone(&[first, second]);
}

#[tokio::test]
async fn a_lone_proxy_is_taken_over_from_and_ends_when_its_clients_have_gone() {
    let (postgres, stent, mut first) = started("proxy");
    let (stop, passed) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
    let load = {
        let (stop, passed, url) = (Arc::clone(&stop), Arc::clone(&passed), url(&stent));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
                let connection = tokio::spawn(connection);
                client.batch_execute("select 1").await?;
                drop(client);
                let _ = connection.await;
                passed.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), tokio_postgres::Error>(())
        })
    };
    let mut second = successor(&postgres, &stent, "127.0.0.1");
    let first_ended = tokio::task::spawn_blocking(move || (ended(&mut first), first));
    let (code, first) = first_ended.await.expect("it ends");
    assert_eq!(code, Some(0), "{}", first.output());
    let so_far = passed.load(Ordering::Relaxed);
    let more = || std::future::ready(passed.load(Ordering::Relaxed) > so_far + 20);
    stent_testkit::wait_until_async("more of them", SOON, more).await.expect("they pass");
    stop.store(true, Ordering::Relaxed);
    load.await.expect("it ends").expect("nobody is refused");
    let answers = || told(&stent, "reload").status.success().then_some(());
    wait_for("the new one to be found", SOON, answers).expect("it is");
    assert_eq!(terminated(&mut second), Some(0), "{}", second.output());
    drop(postgres);
}

#[test]
fn a_successor_that_cannot_start_changes_nothing() {
    let (postgres, stent, mut first) = started("proxy");
    let mut second = successor(&postgres, &stent, "192.0.2.1");
    assert_eq!(ended(&mut second), Some(3), "{}", second.output());
    assert!(http::get(&stent.admin, "/readyz").is_some());
    assert_eq!(terminated(&mut first), Some(0), "{}", first.output());
}
