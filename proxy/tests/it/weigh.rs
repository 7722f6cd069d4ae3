//! Servers whose memory has grown are replaced, unnoticed; what is hidden is left alone.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use stent_proxy::config::PoolMode;
use stent_testkit::Postgres;
use tokio_postgres::Client;

use super::raw::{Raw, bind, execute, parse, query, sync};
use super::support::{Proxy, until};

const MIB: u64 = 1 << 20;
const PLENTY: u64 = 1 << 40;

/// Servers are asked whenever they come back.
fn limited(pg: &Postgres, bytes: u64) -> Proxy {
    limited_in(pg, bytes, PoolMode::Transaction)
}

fn limited_in(pg: &Postgres, bytes: u64, mode: PoolMode) -> Proxy {
    Proxy::start(pg, |config| {
        config.pool_mode = mode;
        config.default_pool_size = NonZeroU32::MIN;
        config.server_max_memory = NonZeroU64::new(bytes);
        config.server_memory_interval = Duration::ZERO;
    })
}

/// It logs all that it is asked.
fn talkative() -> Postgres {
    Postgres::builder().setting("log_statement", "all").start().unwrap()
}

/// In how many statements PostgreSQL was asked this.
fn asked(pg: &Postgres, what: &str) -> usize {
    pg.log().lines().filter(|line| line.contains("statement: ") && line.contains(what)).count()
}

async fn pid(client: &Client) -> i32 {
    client.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0)
}

/// Whether the backend is still there.
fn lives(pg: &Postgres, pid: i32) -> bool {
    pg.backends().unwrap().contains(&u32::try_from(pid).unwrap())
}

fn ends(proxy: &Proxy) -> Vec<String> {
    let ends = proxy.snapshot().disconnects.into_iter().filter(|end| end.side == "server");
    ends.map(|end| end.cause).collect()
}

#[tokio::test]
async fn a_server_that_has_outgrown_its_limit_is_replaced_without_its_client_noticing() {
    let pg = Postgres::start().unwrap();
    let large = "do $do$ begin execute 'create function big() returns int language plpgsql as \
                 $fn$ begin return length($x$' || repeat('x', 16777216) || '$x$); end $fn$'; \
                 end $do$";
    pg.sql(large).unwrap();
    let proxy = limited(&pg, 12 * MIB);
    let client = proxy.client().await;
    let first = pid(&client).await;
    assert_eq!(pid(&client).await, first, "it is within its limit");
    assert_eq!(pid(&client).await, first, "as often as it is asked");
    client.query_one("select big()", &[]).await.unwrap();
    until("the server that keeps a large function to be replaced", || !lives(&pg, first)).await;
    assert_ne!(pid(&client).await, first);
    assert_eq!(ends(&proxy), ["memory"]);
}

#[tokio::test]
async fn the_end_of_a_server_above_its_limit_is_counted_as_one_by_memory() {
    let pg = Postgres::start().unwrap();
    let proxy = limited(&pg, 1);
    let client = proxy.client().await;
    let first = pid(&client).await;
    until("the first server to be replaced", || !lives(&pg, first)).await;
    let second = pid(&client).await;
    assert_ne!(second, first);
    let ends = ends(&proxy);
    assert!(!ends.is_empty() && ends.iter().all(|cause| cause == "memory"), "{ends:?}");
    let page = proxy.get("/metrics").1;
    let counted = "stent_disconnects_total{side=\"server\",cause=\"memory\"}";
    assert!(page.contains(counted), "the on-call sees why: {page}");
}

#[tokio::test]
async fn in_session_mode_a_server_is_asked_when_its_client_has_left() {
    let pg = Postgres::start().unwrap();
    let proxy = limited_in(&pg, 1, PoolMode::Session);
    let client = proxy.client().await;
    let first = pid(&client).await;
    for _ in 0..5 {
        assert_eq!(pid(&client).await, first, "it is its client's");
    }
    drop(client);
    until("the server to be replaced", || !lives(&pg, first)).await;
}

#[tokio::test]
async fn servers_are_asked_no_more_often_than_the_interval_says() {
    let pg = talkative();
    let proxy = Proxy::start(&pg, |config| {
        config.server_max_memory = NonZeroU64::new(1);
        config.server_memory_interval = Duration::from_secs(3_600);
    });
    let client = proxy.client().await;
    let first = pid(&client).await;
    for _ in 0..20 {
        assert_eq!(pid(&client).await, first);
    }
    assert_eq!(asked(&pg, "memory_contexts"), 0);
    assert!(asked(&pg, "pg_backend_pid") > 0 || pg.log().contains("pg_backend_pid"));
}

#[tokio::test]
async fn where_the_memory_is_hidden_a_server_stays_and_is_asked_once_whether_it_is() {
    let pg = talkative();
    pg.sql("create role plain login").unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.upstream.user = Some("plain".to_owned());
        config.default_pool_size = NonZeroU32::MIN;
        config.server_max_memory = NonZeroU64::new(1);
        config.server_memory_interval = Duration::ZERO;
    });
    let client = proxy.connect(&proxy.dsn("plain", "postgres")).await.unwrap();
    let first = pid(&client).await;
    for _ in 0..20 {
        assert_eq!(pid(&client).await, first);
    }
    assert_eq!(asked(&pg, "has_table_privilege"), 1);
    assert_eq!(asked(&pg, "sum(total_bytes)"), 0);
    assert!(!pg.log().contains("ERROR"), "{}", pg.log());
    pg.sql("grant pg_read_all_stats to plain").unwrap();
    let proxy = limited(&pg, 1);
    let client = proxy.connect(&proxy.dsn("plain", "postgres")).await.unwrap();
    let first = pid(&client).await;
    until("a server that tells it to be replaced", || !lives(&pg, first)).await;
}

#[test]
fn being_asked_disturbs_no_statement_and_no_setting() {
    let pg = talkative();
    let proxy = limited(&pg, PLENTY);
    let mut raw = Raw::login(&proxy);
    raw.send(&query("set application_name to 'kept'"));
    assert_eq!(raw.tags(), "CSZ");
    raw.send(&[parse("named", "select 1"), sync()].concat());
    assert_eq!(raw.tags(), "1Z");
    raw.send(&[parse("", "select current_setting('application_name')"), sync()].concat());
    assert_eq!(raw.tags(), "1Z");
    for _ in 0..3 {
        raw.send(&[bind(""), execute(), sync()].concat());
        let said = raw.until_ready();
        let row = said.iter().find(|(tag, _)| *tag == b'D').unwrap();
        assert!(row.1.ends_with(b"kept"), "{said:?}");
        raw.send(&[bind("named"), execute(), sync()].concat());
        assert_eq!(raw.tags(), "2DCZ");
    }
    let asked = asked(&pg, "sum(total_bytes)");
    assert!(asked >= 6, "it was asked in between: {asked}");
}
