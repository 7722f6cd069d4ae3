//! Several workers: what belongs to the whole is of the whole, and a server serves whoever needs it.
//!
//! A new client goes to the worker with the fewest, so two that come one after the other are with
//! two workers.

use std::num::{NonZeroU16, NonZeroU32};
use std::process::Stdio;

use stent_proxy::Config;
use stent_proxy::config::TlsMode;
use stent_testkit::{Postgres, wait_for};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::raw::{Raw, field, query};
use super::support::{PATIENCE, Proxy, cancel_its_sleep, until};
use super::tls::authority::{Authority, server_tls};

fn two(config: &mut Config) {
    config.workers = NonZeroU16::new(2).unwrap();
}

/// Two workers and a pool of so many servers.
fn two_with(servers: u32) -> impl FnOnce(&mut Config) {
    move |config| {
        two(config);
        config.default_pool_size = NonZeroU32::new(servers).unwrap();
    }
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn backend(client: &Client) -> i64 {
    number(client, "select pg_backend_pid()::int8").await
}

/// The processor time of the second worker so far, in nanoseconds.
fn time_of_the_second() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let folders: Vec<_> = tasks.map(|task| task.unwrap().path()).collect();
    let is_it = |name: String| name.trim() == "worker-1";
    let own = |of: &&std::path::PathBuf| std::fs::read_to_string(of.join("comm")).is_ok_and(is_it);
    let folder = folders.iter().find(own).expect("the worker's thread");
    let times = std::fs::read_to_string(folder.join("schedstat")).unwrap();
    times.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn clients_are_spread_over_the_workers() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, two);
    let (a, b) = (proxy.client().await, proxy.client().await);
    let mut worked = Vec::new();
    for client in [&a, &b] {
        let before = time_of_the_second();
        for _ in 0..200 {
            number(client, "select 1::int8").await;
        }
        worked.push(time_of_the_second() - before);
    }
    // What the other's transactions cost it is at most a wake-up now and then.
    let (least, most) = (worked.iter().min().unwrap(), worked.iter().max().unwrap());
    assert!(*least < most / 4, "one of the two is the second worker's: {worked:?}");
}

#[tokio::test]
async fn an_idle_server_of_one_worker_serves_a_client_of_another() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, two_with(1));
    let (a, b) = (proxy.client().await, proxy.client().await);
    let server = backend(&a).await;
    for _ in 0..50 {
        assert_eq!(backend(&b).await, server);
        assert_eq!(backend(&a).await, server);
    }
    assert_eq!(proxy.snapshot().pools[0].totals.opened, 1);
}

#[tokio::test]
async fn a_tls_connection_to_the_database_moves_too() {
    let authority = Authority::new();
    let pg = authority.postgres();
    let roots = authority.file("ca.pem");
    let proxy = Proxy::start(&pg, |config| {
        two_with(1)(config);
        config.server_tls = server_tls(TlsMode::VerifyCa, Some(&roots));
    });
    let (a, b) = (proxy.client().await, proxy.client().await);
    let server = backend(&a).await;
    for round in 0..50_i64 {
        for client in [&a, &b] {
            let sql = format!(
                "select case when ssl then pid + {round} end::int8 from pg_stat_ssl \
                 where pid = pg_backend_pid()"
            );
            assert_eq!(number(client, &sql).await, server + round);
        }
    }
}

#[tokio::test]
async fn the_unix_socket_s_clients_are_spread_too() {
    let pg = Postgres::start().unwrap();
    let folder = stent_testkit::TempDir::new("workers").unwrap();
    let path = folder.path().to_owned();
    let proxy = Proxy::start(&pg, |config| {
        two_with(1)(config);
        config.unix_socket_dir = Some(path.clone());
    });
    let dsn = format!("host={} port={} user=postgres dbname=postgres", path.display(), proxy.port);
    let (a, b) = (proxy.connect(&dsn).await.unwrap(), proxy.connect(&dsn).await.unwrap());
    let server = backend(&a).await;
    for _ in 0..20 {
        assert_eq!(backend(&b).await, server);
        assert_eq!(backend(&a).await, server);
    }
}

#[test]
fn the_cap_holds_over_all_workers_under_load() {
    let pg = Postgres::builder().max_connections(40).start().unwrap();
    let proxy = Proxy::start(&pg, two_with(4));
    let port = proxy.port.to_string();
    let run = |arguments: &[&str]| {
        let mut command = pg.client("pgbench").unwrap();
        let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run(&["-i", "-q", "-s", "1"]);
    for protocol in ["simple", "extended", "prepared"] {
        let arguments =
            ["-n", "-p", &port, "-c", "16", "-j", "2", "-t", "100", "-M", protocol, "-S"];
        let text = run(&arguments);
        assert!(text.contains("1600/1600"), "{text}");
    }
    let pool = &proxy.snapshot().pools[0];
    // Never more than that were opened, so never more were open.
    assert!((1..=4).contains(&pool.totals.opened), "{pool:?}");
    assert!(pool.totals.transactions >= 4_800, "{pool:?}");
}

#[tokio::test]
async fn a_busy_pool_of_two_loses_no_statement_of_sixteen_clients() {
    const EACH: i64 = 60;
    let pg = Postgres::start().unwrap();
    pg.sql("create table done (client int8, n int8, primary key (client, n))").unwrap();
    let proxy = Proxy::start(&pg, two_with(2));
    let mut clients = tokio::task::JoinSet::new();
    for id in 0..16_i64 {
        let client = proxy.client().await;
        clients.spawn(async move {
            let insert = client.prepare("insert into done values ($1, $2)").await.unwrap();
            for n in 0..EACH {
                client.execute(&insert, &[&id, &n]).await.unwrap();
                let sql = format!("select {id} * 1000 + {n}");
                let answer = client.simple_query(&sql).await.unwrap();
                let mut rows = answer.iter().filter_map(|message| {
                    let SimpleQueryMessage::Row(row) = message else { return None };
                    row.get(0)
                });
                let expected = (id * 1000 + n).to_string();
                assert_eq!(rows.next(), Some(&*expected), "its own answer");
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert_eq!(pg.value("select count(*) from done").unwrap(), (16 * EACH).to_string());
    let pool = &proxy.snapshot().pools[0];
    assert!(pool.totals.opened <= 2, "{pool:?}");
    assert_eq!(pool.totals.timeouts, 0, "{pool:?}");
}

#[tokio::test]
async fn a_cancel_request_finds_a_client_of_another_worker() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, two);
    let client = proxy.client().await;
    for _ in 0..4 {
        // With one client there, the next connection is the other worker's.
        cancel_its_sleep(&client, &pg).await;
    }
    client.batch_execute("select 1").await.unwrap();
    // Counted when PostgreSQL has closed the request's connection: that may
    // be after the statement's end.
    until("four requests to be counted", || {
        proxy.get("/metrics").1.contains("outcome=\"forwarded\"} 4")
    })
    .await;
}

#[tokio::test]
async fn pages_show_the_whole() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, two);
    let (a, b) = (proxy.client().await, proxy.client().await);
    let before = proxy.snapshot().pools[0].totals;
    for _ in 0..10 {
        a.batch_execute("select 1").await.unwrap();
        b.batch_execute("select 1").await.unwrap();
    }
    a.batch_execute("begin").await.unwrap();
    b.batch_execute("begin").await.unwrap();
    until("both to be seen in their transactions", || {
        proxy.snapshot().pools[0].servers_idle_in_transaction == 2
    })
    .await;
    let snapshot = proxy.snapshot();
    assert_eq!((snapshot.clients.active, snapshot.holders.len()), (2, 2));
    let totals = snapshot.pools[0].totals;
    assert_eq!(totals.transactions - before.transactions, 20);
    assert_eq!(totals.queries - before.queries, 22);
    assert_eq!(totals.checkouts - before.checkouts, 22);
    let (_, page) = proxy.get("/metrics");
    let waits =
        page.lines().find(|line| line.starts_with("db_client_connection_wait_time_seconds_count"));
    let waits: u64 = waits.and_then(|line| line.rsplit(' ').next()).unwrap().parse().unwrap();
    assert_eq!(waits, totals.checkouts, "each wait is in the distribution:\n{page}");
}

#[test]
fn notifications_reach_the_clients_of_every_worker() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, two);
    let mut listeners: Vec<Raw> = (0..4).map(|_| Raw::login(&proxy)).collect();
    let mut senders: Vec<Raw> = (0..2).map(|_| Raw::login(&proxy)).collect();
    for listener in &mut listeners {
        listener.send(&query("listen jobs"));
        assert_eq!(listener.tags(), "CZ");
    }
    for n in 0..50 {
        let sender = &mut senders[n % 2];
        sender.send(&query(&format!("notify jobs, '{n}'")));
        assert_eq!(sender.tags(), "CZ");
        for listener in &mut listeners {
            let (tag, body) = listener.next().unwrap();
            assert_eq!((tag, &body[4..]), (b'A', format!("jobs\0{n}\0").as_bytes()));
        }
    }
    // Whoever is the last to go, whoever comes next is heard again.
    for _ in 0..20 {
        for listener in &mut listeners {
            listener.send(&query("unlisten *"));
            assert_eq!(listener.tags(), "CZ");
        }
        for listener in &mut listeners {
            listener.send(&query("listen jobs"));
            assert_eq!(listener.tags(), "CZ");
        }
        senders[0].send(&query("notify jobs, 'again'"));
        assert_eq!(senders[0].tags(), "CZ");
        for listener in &mut listeners {
            let (tag, body) = listener.next().unwrap();
            assert_eq!((tag, &body[4..]), (b'A', &b"jobs\0again\0"[..]));
        }
    }
}

#[test]
fn the_end_of_the_proxy_ends_the_clients_of_every_worker_in_order() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        two(config);
        config.drain_timeout = PATIENCE;
    });
    let mut idle: Vec<Raw> = (0..2).map(|_| Raw::login(&proxy)).collect();
    let mut busy: Vec<Raw> = (0..2).map(|_| Raw::login(&proxy)).collect();
    for client in &mut busy {
        client.send(&query("begin"));
        assert_eq!(client.tags(), "CZ");
    }
    proxy.stop();
    for client in &mut idle {
        let (tag, body) = client.next().unwrap();
        assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "57P01"));
        assert_eq!(client.next(), None);
    }
    for client in &mut busy {
        client.send(&query("commit"));
        assert_eq!(client.tags(), "CZ", "a transaction may be finished");
        let (tag, _) = client.next().unwrap();
        assert_eq!(tag, b'E');
    }
    proxy.join().unwrap();
    wait_for("every server to be gone", PATIENCE, || {
        pg.backends().unwrap().is_empty().then_some(())
    })
    .unwrap();
}
