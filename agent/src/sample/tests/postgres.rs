//! PostgreSQL's own side, from a real server, a silent one and none.

use std::time::{Duration, Instant};

use secrecy::SecretString;
use stent_contract::PostgresReading;
use stent_testkit::Postgres;
use tokio::net::TcpListener;
use tokio_postgres::NoTls;

use super::super::postgres::PostgresWatch;
use crate::config::PostgresAccess;

const INTERVAL: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(30);

fn access(server: &Postgres, host: &str) -> PostgresAccess {
    PostgresAccess {
        host: host.to_owned(),
        port: server.port(),
        user: server.superuser().to_owned(),
        password: server.password().map(SecretString::from),
        database: "postgres".to_owned(),
    }
}

/// The first answer that satisfies `wanted`.
async fn answer(
    watch: &PostgresWatch,
    wanted: impl Fn(&PostgresReading) -> bool,
) -> PostgresReading {
    let started = Instant::now();
    loop {
        if let Some(reading) = watch.latest().filter(&wanted) {
            return reading;
        }
        assert!(started.elapsed() < DEADLINE, "no such answer: {:?}", watch.latest());
        tokio::time::sleep(Duration::from_millis(10)).await; // the poll of a condition
    }
}

#[tokio::test]
async fn max_connections_and_the_oldest_open_transaction_are_seen() {
    let server = Postgres::start().unwrap();
    let watch = PostgresWatch::start(access(&server, server.host()), INTERVAL);
    let quiet = answer(&watch, |_| true).await;
    let max: u32 = server.value("show max_connections").unwrap().parse().unwrap();
    assert_eq!(quiet.max_connections, max);
    assert_eq!(quiet.idle_in_transaction_pid, 0);
    let own = quiet.connections.iter().find(|group| group.application_name == "stent-agent");
    assert_eq!(own.map(|group| (group.count, group.state.as_str())), Some((1, "active")));

    let url = format!("{}?application_name=leaky", server.url());
    let (leaky, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    leaky.batch_execute("begin").await.unwrap();
    let pid: i32 = leaky.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let seen = answer(&watch, |reading| reading.idle_in_transaction_pid != 0).await;
    assert_eq!(seen.idle_in_transaction_pid, pid as u32);
    assert!(seen.connections.iter().any(|group| {
        group.application_name == "leaky" && group.state == "idle in transaction"
    }));
}

#[tokio::test]
async fn statements_that_wait_for_a_lock_are_counted() {
    let server = Postgres::start().unwrap();
    let watch = PostgresWatch::start(access(&server, server.host()), INTERVAL);
    assert_eq!(answer(&watch, |_| true).await.blocked, Some(0));
    let mut clients = Vec::new();
    for _ in 0..2 {
        let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("begin").await.unwrap();
        clients.push(client);
    }
    let (holder, waiter) = (clients.remove(0), clients.remove(0));
    holder.batch_execute("select pg_advisory_xact_lock(1)").await.unwrap();
    let waits =
        tokio::spawn(async move { waiter.batch_execute("select pg_advisory_xact_lock(1)").await });
    answer(&watch, |reading| reading.blocked == Some(1)).await;
    holder.batch_execute("rollback").await.unwrap();
    waits.await.unwrap().unwrap();
    answer(&watch, |reading| reading.blocked == Some(0)).await;
}

#[tokio::test]
async fn the_control_connections_of_a_fleet_are_one_name_whatever_they_claim() {
    let server = Postgres::start().unwrap();
    let mut clients = Vec::new();
    for claim in ["u1 c1", "u2 c5"] {
        let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let name = format!("set application_name = 'stent/1 0000000001 {claim} d0 m2 x20 s3750'");
        client.batch_execute(&name).await.unwrap();
        clients.push(client);
    }
    let watch = PostgresWatch::start(access(&server, server.host()), INTERVAL);
    let seen = answer(&watch, |_| true).await;
    let named = |name: &str| {
        let groups = seen.connections.iter().filter(|group| group.application_name.contains(name));
        groups.map(|group| group.count).collect::<Vec<_>>()
    };
    assert_eq!((named("stent fleet"), named("stent/1")), (vec![2], vec![]));
}

#[tokio::test]
async fn a_unix_socket_serves_as_well_and_a_cut_connection_is_opened_anew() {
    let server = Postgres::start().unwrap();
    let folder = server.socket_dir().to_str().unwrap().to_owned();
    let watch = PostgresWatch::start(access(&server, &folder), INTERVAL);
    let before = answer(&watch, |_| true).await;
    server
        .sql(
            "select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'stent-agent'",
        )
        .unwrap();
    let cut_at = before.at_unix_ms.max(super::super::unix_ms());
    answer(&watch, |reading| reading.at_unix_ms > cut_at).await;
}

#[tokio::test]
async fn a_connection_through_another_process_than_the_proxys_is_given_up_at_once() {
    let server = Postgres::start().unwrap();
    // Nothing but the news has it ask again.
    let watch = PostgresWatch::start(access(&server, server.host()), DEADLINE * 10);
    let own = "select pid from pg_stat_activity where application_name = 'stent-agent'";
    let backend = || server.value(own).unwrap();
    let before = answer(&watch, |_| true).await;
    let of_nobody_known = backend();
    watch.leads_through(7);
    let after = answer(&watch, |reading| reading.at_unix_ms > before.at_unix_ms).await;
    let first = backend();
    assert_ne!(first, of_nobody_known, "whose that was nobody knows");
    watch.leads_through(7);
    assert_eq!(backend(), first, "it is the same process");
    watch.leads_through(8);
    answer(&watch, |reading| reading.at_unix_ms > after.at_unix_ms).await;
    assert_ne!(backend(), first);
}

#[tokio::test]
async fn a_server_that_never_answers_stalls_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = PostgresAccess {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        user: "app".to_owned(),
        password: None,
        database: "shop".to_owned(),
    };
    let watch = PostgresWatch::start(silent, INTERVAL);
    let first = listener.accept().await.unwrap();
    assert_eq!(watch.latest(), None);
    // The question is given up and asked again on another connection.
    let second = tokio::time::timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
    assert_eq!(watch.latest(), None);
    drop((first, second));
}

#[tokio::test]
async fn an_answer_that_is_too_old_is_not_given() {
    let mut server = Postgres::start().unwrap();
    let watch = PostgresWatch::start(access(&server, server.host()), INTERVAL);
    answer(&watch, |_| true).await;
    server.stop(stent_testkit::Stop::Immediate).unwrap();
    let started = Instant::now();
    while watch.latest().is_some() {
        assert!(started.elapsed() < DEADLINE, "an old answer is still given");
        tokio::time::sleep(Duration::from_millis(10)).await; // the poll of a condition
    }
}
