//! Session mode: as on a direct connection.

use std::num::NonZeroU32;

use stent_proxy::config::PoolMode;
use stent_testkit::Postgres;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::raw::{Raw, field, query, startup};
use super::support::{Proxy, code, until};

fn start(pg: &Postgres, size: u32) -> Proxy {
    Proxy::start(pg, |config| {
        config.pool_mode = PoolMode::Session;
        config.default_pool_size = NonZeroU32::new(size).unwrap();
    })
}

async fn rows(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap();
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            let fields: Vec<&str> =
                (0..row.len()).map(|at| row.get(at).unwrap_or("NULL")).collect();
            Some(fields.join("|"))
        }
        SimpleQueryMessage::CommandComplete(_) | _ => None,
    };
    messages.iter().filter_map(row).collect()
}

async fn direct(pg: &Postgres, more: &str) -> Client {
    let (host, port, user) = (pg.host(), pg.port(), pg.superuser());
    let mut dsn = format!("host={host} port={port} user={user} dbname=postgres {more}");
    if let Some(password) = pg.password() {
        dsn.push_str(&format!(" password={password}"));
    }
    let (client, connection) = tokio_postgres::connect(&dsn, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Checklist 17, 18.
#[tokio::test]
async fn a_clients_own_parameters_are_its_sessions_defaults_as_on_a_direct_connection() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let own = "options='-c work_mem=9MB -c app.tenant=a\\\\ b --statement-timeout=77s' \
               application_name=mine";
    let look = "select name, setting, reset_val, source from pg_settings \
                where source in ('client', 'session') or name = 'work_mem' order by name";
    let expected = {
        let direct = direct(&pg, own).await;
        rows(&direct, look).await
    };
    let dsn = format!("{} {own}", proxy.dsn("postgres", "postgres"));
    let client = proxy.connect(&dsn).await.unwrap();
    assert_eq!(rows(&client, look).await, expected);
    for undo in ["reset all", "discard all", "reset work_mem"] {
        client.batch_execute("set work_mem = '7MB'").await.unwrap();
        client.batch_execute(undo).await.unwrap();
        assert_eq!(rows(&client, look).await, expected, "{undo}");
    }
    assert_eq!(rows(&client, "select current_setting('app.tenant')").await, ["a b"]);
    drop(client);
    let plain = proxy.client().await;
    assert_eq!(rows(&plain, "show work_mem").await, ["4MB"]);
}

/// Checklist 29.
#[test]
fn the_process_id_is_the_real_one_and_cancels_with_a_secret_of_our_own() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 2);
    let mut raw = Raw::connect(&proxy);
    raw.send(&startup(&[("user", "postgres"), ("database", "postgres")]));
    let hello = raw.until_ready();
    let key = &hello.iter().find(|(tag, _)| *tag == b'K').unwrap().1;
    let pid = i32::from_be_bytes(key[..4].try_into().unwrap());
    raw.send(&query("select pg_backend_pid()"));
    let said = raw.until_ready();
    assert!(said[1].1.ends_with(pid.to_string().as_bytes()), "{said:?}");
    raw.send(&query("select pg_sleep(60)"));
    let cancel = [&[0, 0, 0, 16, 4, 210, 22, 46][..], key].concat();
    // A signal that comes before the query has begun is nobody's.
    let runs = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    let begun = || (pg.value(runs).unwrap() == "1").then_some(());
    stent_testkit::wait_for("the sleep", super::support::PATIENCE, begun).unwrap();
    Raw::connect(&proxy).send(&cancel);
    let said = raw.until_ready();
    let error = said.iter().find(|(tag, _)| *tag == b'E').unwrap();
    assert_eq!(field(&error.1, b'C'), "57014");
}

#[tokio::test]
async fn a_server_started_alike_is_used_again_and_another_is_started_in_its_place() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let pid = "select pg_backend_pid()";
    let dsn = proxy.dsn("postgres", "postgres");
    let mut pids = Vec::new();
    for name in ["one", "one", "two"] {
        let client = proxy.connect(&format!("{dsn} application_name={name}")).await.unwrap();
        assert_eq!(rows(&client, "show application_name").await, [name]);
        client.batch_execute("create temp table t (a int); set work_mem = '7MB'").await.unwrap();
        pids.extend(rows(&client, pid).await);
        drop(client);
        until("the server to be back", || proxy.snapshot().pools[0].servers_idle == 1).await;
    }
    assert_eq!(pids[0], pids[1]);
    assert_ne!(pids[1], pids[2]);
    let count = "select count(*) from pg_stat_activity where application_name in ('one', 'two')";
    assert_eq!(rows(&direct(&pg, "").await, count).await, ["1"], "the old one has ended");
}

/// Checklist 16, 17.
#[tokio::test]
async fn what_postgresql_refuses_at_start_up_comes_back_as_it_says_it_and_harms_nobody() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 2);
    for (dsn, sqlstate) in [
        (proxy.dsn("postgres", "nosuch"), "3D000"),
        (proxy.dsn("nobody", "postgres"), "28000"),
        (format!("{} options='-c work_mem=much'", proxy.dsn("postgres", "postgres")), "22023"),
        (format!("{} options='-c nosuch=1'", proxy.dsn("postgres", "postgres")), "42704"),
    ] {
        let error = proxy.connect(&dsn).await.expect_err("it is refused");
        assert_eq!(code(&error), sqlstate, "{dsn}");
    }
    assert_eq!(rows(&proxy.client().await, "select 1").await, ["1"]);
}

#[tokio::test]
async fn clients_beyond_the_pool_wait_in_their_login() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let first = proxy.client().await;
    let dsn = proxy.dsn("postgres", "postgres");
    let second = tokio::spawn(async move { tokio_postgres::connect(&dsn, NoTls).await.map(drop) });
    until("the second to wait", || proxy.snapshot().pools[0].clients_waiting == 1).await;
    drop(first);
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_clients_wrong_parameter_is_its_own_affair_where_the_pool_has_no_server_yet() {
    let pg = Postgres::start().unwrap();
    pg.sql("create role app login").unwrap();
    let proxy = start(&pg, 1);
    let dsn = proxy.dsn("app", "postgres");
    for (wrong, sqlstate) in
        [("nosuch=1", "42704"), ("work_mem=much", "22023"), ("log_statement=all", "42501")]
    {
        let wrong = format!("{dsn} options='-c {wrong}'");
        let good = async { rows(&proxy.connect(&dsn).await.unwrap(), "select 1").await };
        let also = async { rows(&proxy.connect(&dsn).await.unwrap(), "select 1").await };
        let bad = async { proxy.connect(&wrong).await.map(drop) };
        let (worse, bad) = (async { proxy.connect(&wrong).await.map(drop) }, bad);
        let (good, bad, worse, also) = tokio::join!(good, bad, worse, also);
        assert_eq!(code(&bad.expect_err("it is refused")), sqlstate);
        assert_eq!(code(&worse.expect_err("it is refused")), sqlstate);
        assert_eq!([good, also], [["1"], ["1"]]);
        pg.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
            .unwrap();
        until("the pool to be empty", || {
            let pools = proxy.snapshot().pools;
            pools.iter().all(|pool| pool.user != "app" || pool.servers_idle == 0)
        })
        .await;
    }
}

/// A wait for a server is bounded by `query_wait_timeout`, as a request's is.
#[tokio::test]
async fn waiting_for_a_server_is_no_part_of_client_login_timeout() {
    let pg = Postgres::start().unwrap();
    let timeout = std::time::Duration::from_millis(300);
    let proxy = Proxy::start(&pg, |config| {
        config.pool_mode = PoolMode::Session;
        config.default_pool_size = NonZeroU32::new(1).unwrap();
        config.client_login_timeout = timeout;
    });
    let first = proxy.client().await;
    let dsn = proxy.dsn("postgres", "postgres");
    let second = tokio::spawn(async move { tokio_postgres::connect(&dsn, NoTls).await.map(drop) });
    until("the second to wait for longer", || {
        proxy.snapshot().pools[0].maxwait_ms > 2 * timeout.as_millis() as u64
    })
    .await;
    drop(first);
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_wait_for_a_server_ends_at_query_wait_timeout_with_the_holders_names() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.pool_mode = PoolMode::Session;
        config.default_pool_size = NonZeroU32::new(1).unwrap();
        config.query_wait_timeout = Some(std::time::Duration::from_millis(200));
    });
    let _first = proxy.client().await;
    let error = proxy.connect(&proxy.dsn("postgres", "postgres")).await.expect_err("none is free");
    let error = error.as_db_error().unwrap();
    assert_eq!((error.code().code(), error.severity()), ("53300", "FATAL"));
    assert!(error.detail().unwrap().contains("1 of 1 servers are held"), "{error:?}");
}

/// The client's cancel request overtakes its end: the next client never pays for it.
#[tokio::test]
async fn a_cancel_request_on_its_way_never_hits_the_next_client() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    for _ in 0..50 {
        let client = proxy.client().await;
        let token = client.cancel_token();
        let slow = tokio::spawn(async move {
            let _ = client.batch_execute("select pg_sleep(0.002)").await;
        });
        let cancel = tokio::spawn(async move { token.cancel_query(NoTls).await });
        slow.await.unwrap();
        let next = proxy.client().await;
        next.batch_execute("select pg_sleep(0.005)").await.unwrap();
        cancel.await.unwrap().unwrap();
        next.batch_execute("select pg_sleep(0.005)").await.unwrap();
    }
}
