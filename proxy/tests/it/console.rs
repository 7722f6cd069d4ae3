//! The admin console: who gets in, what it answers, and that it needs no server and no room.

use std::num::NonZeroU32;

use stent_proxy::config::AuthMethod;
use stent_testkit::{Postgres, TempDir};
use tokio_postgres::SimpleQueryMessage;

use super::raw::{Raw, execute, field, parse, query, startup, sync};
use super::support::{Proxy, code, until, user};

/// The rows of an answer, by column.
pub(crate) async fn rows(client: &tokio_postgres::Client, sql: &str) -> Vec<Vec<(String, String)>> {
    let messages = client.simple_query(sql).await.unwrap();
    let mut rows = Vec::new();
    for message in &messages {
        if let SimpleQueryMessage::Row(row) = message {
            let names = row.columns().iter().map(|column| column.name().to_owned());
            let values = (0..row.len()).map(|n| row.get(n).unwrap_or("NULL").to_owned());
            rows.push(names.zip(values).collect());
        }
    }
    rows
}

pub(crate) fn value<'a>(row: &'a [(String, String)], column: &str) -> &'a str {
    &row.iter().find(|(name, _)| name == column).expect(column).1
}

fn with_console(pg: &Postgres) -> Proxy {
    Proxy::start(pg, |config| config.console_users = vec!["ops".to_owned()])
}

#[tokio::test]
async fn show_pools_counts_clients_and_servers_under_pgbouncers_columns() {
    let pg = Postgres::start().unwrap();
    let proxy = with_console(&pg);
    let (busy, _idle) = (proxy.client().await, proxy.client().await);
    busy.batch_execute("begin; select 1").await.unwrap();
    let console = proxy.connect(&proxy.dsn("ops", "stent")).await.unwrap();
    let pools = rows(&console, "SHOW POOLS").await;
    let columns: Vec<&str> = pools[0].iter().map(|(name, _)| name.as_str()).collect();
    let wanted = "database,user,cl_active,cl_waiting,cl_active_cancel_req,cl_waiting_cancel_req,\
                  sv_active,sv_active_cancel,sv_being_canceled,sv_idle,sv_used,sv_tested,sv_login,\
                  maxwait,maxwait_us,pool_mode,load_balance_hosts";
    assert_eq!(columns.join(","), wanted);
    let pool = pools.iter().find(|row| value(row, "user") == "postgres").unwrap();
    assert_eq!((value(pool, "database"), value(pool, "pool_mode")), ("postgres", "transaction"));
    assert_eq!((value(pool, "cl_active"), value(pool, "cl_waiting")), ("2", "0"));
    assert_eq!(value(pool, "sv_active"), "1");
}

#[tokio::test]
async fn a_waiting_client_is_shown_with_the_time_that_it_has_waited() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.console_users = vec!["ops".to_owned()];
        config.default_pool_size = NonZeroU32::MIN;
    });
    let mut waiting = Raw::login(&proxy);
    let busy = proxy.client().await;
    busy.batch_execute("begin").await.unwrap();
    waiting.send(&query("select 1"));
    let console = proxy.connect(&proxy.dsn("ops", "pgbouncer")).await.unwrap();
    until("the client to wait", || proxy.snapshot().pools[0].clients_waiting == 1).await;
    let pools = rows(&console, "show pools;").await;
    assert_eq!((value(&pools[0], "cl_active"), value(&pools[0], "cl_waiting")), ("1", "1"));
    let wait = format!("{}{}", value(&pools[0], "maxwait"), value(&pools[0], "maxwait_us"));
    assert!(wait.bytes().any(|digit| digit != b'0'), "{wait}");
}

#[tokio::test]
async fn a_user_that_is_not_named_is_turned_away_after_its_proof() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.console_users = vec!["ops".to_owned()];
        config.auth.method = AuthMethod::ScramSha256;
        config.auth.users = vec![user("postgres", "right"), user("ops", "secret")];
    });
    let refused = |user: &str, password: &str| {
        let dsn = format!("{} password={password}", proxy.dsn(user, "stent"));
        let proxy = &proxy;
        async move { proxy.connect(&dsn).await.err().map(|error| code(&error)) }
    };
    assert_eq!(refused("postgres", "right").await.as_deref(), Some("42501"));
    assert_eq!(refused("postgres", "wrong").await.as_deref(), Some("28P01"));
    assert_eq!(refused("ops", "wrong").await.as_deref(), Some("28P01"));
    assert_eq!(refused("ops", "secret").await, None);
}

#[tokio::test]
async fn as_long_as_nobody_is_named_the_database_is_postgresqls() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let error = proxy.connect(&proxy.dsn("postgres", "stent")).await.err().unwrap();
    assert_eq!(code(&error), "3D000");
    proxy.client().await.batch_execute("create database stent").await.unwrap();
    let client = proxy.connect(&proxy.dsn("postgres", "stent")).await.unwrap();
    let row = client.query_one("select current_database()::text", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "stent");
}

#[tokio::test]
async fn who_runs_the_proxy_gets_in_over_the_unix_socket_without_a_name_or_a_password() {
    let (pg, dir) = (Postgres::start().unwrap(), TempDir::new("console").unwrap());
    let proxy = Proxy::start(&pg, |config| {
        config.unix_socket_dir = Some(dir.path().to_owned());
        config.auth.method = AuthMethod::ScramSha256;
        config.auth.users = vec![user("postgres", "right")];
    });
    let host = dir.path().display();
    let dsn = format!("host={host} port={} user=stent dbname=stent", proxy.port);
    let console = proxy.connect(&dsn).await.unwrap();
    let version = rows(&console, "show version").await;
    assert!(value(&version[0], "version").starts_with("Stent "));
    let dsn = format!("{} password=guess", proxy.dsn("stent", "stent"));
    let over_tcp = proxy.connect(&dsn).await.err().unwrap();
    assert_eq!(code(&over_tcp), "28P01", "over TCP a proof is asked for: {over_tcp}");
}

#[tokio::test]
async fn the_console_opens_when_no_other_client_gets_in() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.console_users = vec!["ops".to_owned()];
        config.max_client_conn = NonZeroU32::MIN;
    });
    let _only = proxy.client().await;
    let full = proxy.connect(&proxy.dsn("postgres", "postgres")).await.err().unwrap();
    assert_eq!(code(&full), "53300");
    let console = proxy.connect(&proxy.dsn("ops", "stent")).await.unwrap();
    assert_eq!(rows(&console, "show pools").await.len(), 1);
}

#[test]
fn what_is_no_command_gets_an_error_and_the_session_goes_on() {
    let pg = Postgres::start().unwrap();
    let proxy = with_console(&pg);
    let mut raw = Raw::connect(&proxy);
    raw.send(&startup(&[("user", "ops"), ("database", "stent"), ("extra_float_digits", "2")]));
    assert!(raw.tags().starts_with('R'));
    raw.send(&query("kill"));
    let said = raw.until_ready();
    assert_eq!((said[0].0, field(&said[0].1, b'C')), (b'E', "0A000".to_owned()));
    raw.send(&query("select 1"));
    assert_eq!(field(&raw.until_ready()[0].1, b'C'), "42601");
    raw.send(&query(""));
    assert_eq!(raw.tags(), "IZ");
    raw.send(&[parse("", "show pools"), execute(), sync()].concat());
    assert_eq!(raw.tags(), "EZ");
    raw.send(&query("show help"));
    assert!(raw.tags().ends_with("DCZ"));
}

#[tokio::test]
async fn a_shutdown_ends_the_session_with_a_word() {
    let pg = Postgres::start().unwrap();
    let proxy = with_console(&pg);
    let mut raw = Raw::connect(&proxy);
    raw.send(&startup(&[("user", "ops"), ("database", "stent")]));
    assert!(raw.tags().ends_with('Z'));
    proxy.stop();
    let (tag, body) = raw.next().unwrap();
    assert_eq!((tag, field(&body, b'C')), (b'E', "57P01".to_owned()));
    assert_eq!(raw.next(), None);
    proxy.join().unwrap();
}
