//! Who gets which server, and what happens when there is none.

use std::num::NonZeroU32;
use std::time::Duration;

use stent_contract::snapshot::HolderState;
use stent_proxy::config::PoolMode;
use stent_testkit::Postgres;

use super::raw::{Raw, bind, execute, field, message, parse, query, sync};
use super::support::{PATIENCE, Proxy, until};

/// The server that runs this client's next statement.
async fn pid(client: &tokio_postgres::Client) -> i32 {
    client.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn clients_share_servers_between_transactions_and_never_within_one() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = NonZeroU32::new(1).unwrap();
    });
    let (a, b) = (proxy.client().await, proxy.client().await);
    assert_eq!(pid(&a).await, pid(&b).await);
    a.batch_execute("begin").await.unwrap();
    let waiting = tokio::spawn(async move { pid(&b).await });
    until("b to wait", || proxy.snapshot().pools[0].clients_waiting == 1).await;
    let held = pid(&a).await;
    a.batch_execute("commit").await.unwrap();
    assert_eq!(waiting.await.unwrap(), held);
}

#[tokio::test]
async fn session_mode_keeps_the_server_and_leaves_it_clean() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.pool_mode = PoolMode::Session;
        config.default_pool_size = NonZeroU32::new(1).unwrap();
    });
    let first = proxy.client().await;
    first.batch_execute("set work_mem = '7MB'; create temp table mine ()").await.unwrap();
    let row = first.query_one("show work_mem", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "7MB");
    drop(first);
    let second = proxy.client().await;
    let row = second.query_one("show work_mem", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "4MB");
    assert!(second.batch_execute("select from mine").await.is_err());
    assert_eq!(proxy.snapshot().pools[0].totals.opened, 1, "the same server served both");
}

#[test]
fn a_waiter_is_told_at_query_wait_timeout_who_holds_the_servers_and_lives_on() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.query_wait_timeout = Some(Duration::from_millis(300));
    });
    let mut leaks: Vec<Raw> = (0..4).map(|_| Raw::login(&proxy)).collect();
    for (n, leak) in leaks.iter_mut().enumerate() {
        leak.send(&query(&format!("begin; select 'secret {n}' as x, {n} + 987654321")));
        leak.until_ready();
    }
    let mut waiter = Raw::login(&proxy);
    waiter.send(&query("select 1"));
    let said = waiter.until_ready();
    let (tag, body) = &said[0];
    assert_eq!((*tag, field(body, b'C').as_str()), (b'E', "53300"));
    let detail = field(body, b'D');
    for leak in &leaks {
        assert!(detail.contains(&leak.stream.local_addr().unwrap().to_string()), "{detail}");
    }
    assert!(detail.contains("4 of 4 servers are held"), "{detail}");
    assert!(detail.contains("idle in transaction"), "{detail}");
    assert!(detail.contains("select ? as x, ? + ?"), "{detail}");
    assert!(!detail.contains("secret") && !detail.contains("987654321"), "{detail}");
    assert_eq!(said.last().unwrap(), &(b'Z', b"I".to_vec()));

    waiter.send(&[parse("", "select 1"), bind(""), execute(), sync()].concat());
    assert_eq!(waiter.tags(), "EZ", "the extended protocol is answered at its Sync");
    leaks.clear();
    waiter.send(&query("select 1"));
    assert_eq!(waiter.tags(), "TDCZ");
    assert_eq!(proxy.snapshot().pools[0].totals.timeouts, 2);
}

#[tokio::test]
async fn five_hundred_clients_on_four_servers_wait_equally_long() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut clients = Vec::new();
    for _ in 0..500 {
        clients.push(proxy.client().await);
    }
    // All servers are held until all clients wait: from then on the order alone decides.
    let mut holders = Vec::new();
    for client in clients.drain(..4) {
        client.batch_execute("begin").await.unwrap();
        holders.push(client);
    }
    // A wait is counted in clients that were served meanwhile, which no load of the machine bends.
    let served = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let mut tasks = Vec::new();
    for client in clients {
        let served = std::sync::Arc::clone(&served);
        tasks.push(tokio::spawn(async move {
            let mut waited = 0;
            for _ in 0..4 {
                let asked = served.load(std::sync::atomic::Ordering::SeqCst);
                client.batch_execute("select pg_sleep(0.002)").await.unwrap();
                waited += served.fetch_add(1, std::sync::atomic::Ordering::SeqCst) - asked;
            }
            f64::from(waited)
        }));
    }
    until("all to wait", || proxy.snapshot().pools[0].clients_waiting == 496).await;
    for holder in &holders {
        holder.batch_execute("commit").await.unwrap();
    }
    let mut waits = Vec::new();
    for task in tasks {
        waits.push(task.await.unwrap());
    }
    let (sum, squares) = waits.iter().fold((0.0, 0.0), |(s, q), w| (s + w, q + w * w));
    let jain = sum * sum / (waits.len() as f64 * squares);
    assert!(jain >= 0.99, "Jain's index of the waits is {jain}");
    assert_eq!(proxy.snapshot().pools[0].totals.opened, 4);
}

#[test]
fn a_server_in_doubt_is_never_lent() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = NonZeroU32::new(1).unwrap();
    });
    pg.sql("create table t (a int)").unwrap();
    let doubtful: [&[u8]; 4] = [
        &query("begin; insert into t values (1)"),
        &[parse("", "insert into t values (2)"), bind(""), execute(), message(b'H', b"")].concat(),
        &query("copy t from stdin"),
        &query("select pg_sleep(600)"),
    ];
    for bytes in doubtful {
        let mut client = Raw::login(&proxy);
        client.send(bytes);
        stent_testkit::wait_until("the server to be held", PATIENCE, || {
            !proxy.snapshot().holders.is_empty()
        })
        .unwrap();
        drop(client);
        let mut next = Raw::login(&proxy);
        next.send(&query("select count(*) from t"));
        let said = next.until_ready();
        assert_eq!(said[1], (b'D', b"\0\x01\0\0\0\x010".to_vec()), "{bytes:?}");
    }
    let busy = pg.value("select count(*) from pg_stat_activity where query ~ '^select pg_sleep'");
    assert_eq!(busy.unwrap(), "0", "a query whose client has gone is cancelled");
}

#[test]
fn a_request_followed_by_terminate_is_still_carried_out() {
    let pg = Postgres::start().unwrap();
    pg.sql("create table t (a int)").unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut client = Raw::login(&proxy);
    let farewell = message(b'X', b"");
    client.send(&[query("insert into t select 1 from pg_sleep(0.05)"), farewell].concat());
    client.rest();
    assert_eq!(pg.value("select count(*) from t").unwrap(), "1");
}

#[test]
fn a_terminate_in_the_middle_of_copy_or_a_transaction_gives_the_server_up() {
    let pg = Postgres::start().unwrap();
    pg.sql("create table t (a int)").unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = NonZeroU32::new(1).unwrap();
    });
    for begin in ["copy t from stdin", "begin; insert into t values (1)"] {
        let mut client = Raw::login(&proxy);
        client.send(&query(begin));
        client.next().unwrap();
        client.send(&message(b'X', b""));
        client.rest();
        let mut next = Raw::login(&proxy);
        next.send(&query("select count(*) from t"));
        assert_eq!(next.until_ready()[1], (b'D', b"\0\x01\0\0\0\x010".to_vec()), "{begin}");
    }
}

#[tokio::test]
async fn servers_are_recycled_by_age_and_by_idleness() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.server_lifetime = Some(Duration::from_millis(300));
    });
    let client = proxy.client().await;
    stent_testkit::wait_until_async("an old server to be closed", PATIENCE, async || {
        client.batch_execute("select 1").await.unwrap();
        proxy.snapshot().pools[0].totals.closed >= 1
    })
    .await
    .unwrap();
    let idle = Proxy::start(&pg, |config| {
        config.server_idle_timeout = Some(Duration::from_millis(200));
    });
    idle.client().await.batch_execute("select 1").await.unwrap();
    until("the idle server to be closed", || {
        let pool = &idle.snapshot().pools[0];
        pool.servers_idle == 0 && pool.totals.closed >= 1
    })
    .await;
}

#[tokio::test]
async fn a_silent_holder_is_seen_with_its_state_and_statement() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let dsn = format!("{} application_name=leaky", proxy.dsn("postgres", "postgres"));
    let client = proxy.connect(&dsn).await.unwrap();
    client.batch_execute("begin; select 42 as answer").await.unwrap();
    let snapshot = proxy.snapshot();
    let holder = &snapshot.holders[0];
    assert_eq!(holder.state, HolderState::IdleInTransaction);
    assert_eq!(holder.application_name, "leaky");
    assert_eq!(holder.last_statement, "begin; select ? as answer");
    assert_eq!(snapshot.pools[0].servers_idle_in_transaction, 1);
    assert!(pg.backends().unwrap().contains(&holder.backend_pid));
}

#[test]
fn rows_larger_than_every_buffer_pass_whole() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut client = Raw::login(&proxy);
    let text = "x".repeat(3_000_000);
    client.send(&query(&format!("select length('{text}'), repeat('y', 5000000)")));
    let said = client.until_ready();
    let (_, row) = said.iter().find(|(tag, _)| *tag == b'D').unwrap();
    assert!(row.ends_with(&b"y".repeat(5_000_000)));
    assert!(row[..40].windows(7).any(|bytes| bytes == b"3000000"));
}

#[tokio::test]
async fn servers_kept_for_later_make_way_for_what_needs_an_empty_database() {
    let pg = Postgres::start().unwrap();
    for mode in [PoolMode::Session, PoolMode::Transaction] {
        let proxy = Proxy::start(&pg, |config| config.pool_mode = mode);
        let client = proxy.client().await;
        client.batch_execute("create database shop").await.unwrap();
        for sql in
            ["create database copy template shop", "drop database copy", "DROP DATABASE shop"]
        {
            let user = proxy.connect(&proxy.dsn("postgres", "shop")).await.unwrap();
            user.batch_execute("select 1").await.unwrap();
            drop(user);
            let clients = || proxy.snapshot().clients;
            until("it to be gone", || clients().idle + clients().active == 1).await;
            client.batch_execute(sql).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_overloaded_pool_tells_at_once_whom_it_cannot_serve_in_time() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = NonZeroU32::new(1).unwrap();
        config.query_wait_timeout = Some(Duration::from_secs(2));
    });
    // One server, 50 ms each: forty fit into the two seconds, and a hundred and twenty ask on and on.
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..120 {
        let client = proxy.client().await;
        asking.spawn(async move {
            loop {
                let Err(error) = client.batch_execute("select pg_sleep(0.05)").await else {
                    continue;
                };
                let error = error.as_db_error().expect("the connection lives on").clone();
                assert_eq!(error.code().code(), "53300", "{error}");
                let detail = error.detail().unwrap().to_owned();
                // Between the loan and the first message there is a holder without a statement.
                if detail.starts_with("As fast as this pool serves at present")
                    && detail.contains("select pg_sleep(?)")
                {
                    assert!(detail.contains("1 of 1 servers are held"), "{detail}");
                    return client;
                }
            }
        });
    }
    let told = asking.join_next().await.unwrap().unwrap();
    asking.shutdown().await;
    until("the queue to be empty", || proxy.snapshot().pools[0].clients_waiting == 0).await;
    told.batch_execute("select 1").await.expect("its connection is as good as before");
    assert!(proxy.snapshot().pools[0].totals.timeouts > 0);
}
