//! Clients that hold a server for too long: what is done, to whom, and to whom not.

use std::time::Duration;

use stent_proxy::config::{Config, Hold, HoldRule, Stage};
use stent_testkit::Postgres;

use super::raw::{Raw, field, query, startup};
use super::support::{Proxy, until};

fn rule(hold: Hold, stage: Stage, milliseconds: u64) -> HoldRule {
    let mut rule = HoldRule::close_all(hold, Duration::ZERO);
    rule.stages = [None; 4];
    rule.stages[stage as usize] = Some(Duration::from_millis(milliseconds));
    rule
}

fn limited(rules: Vec<HoldRule>) -> impl FnOnce(&mut Config) {
    |config| config.hold_limits = rules
}

fn count(proxy: &Proxy, limit: &str, stage: &str) -> u64 {
    let (_, page) = proxy.get("/metrics");
    let row = format!("stent_held_too_long_total{{limit=\"{limit}\",stage=\"{stage}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&row));
    line.unwrap_or_else(|| panic!("{row}in {page}")).parse().unwrap()
}

#[tokio::test]
async fn a_client_that_idles_in_its_transaction_is_warned_of_told_and_closed() {
    let pg = Postgres::start().unwrap();
    let mut rule = rule(Hold::IdleInTransaction, Stage::Warn, 100);
    rule.stages[Stage::Notify as usize] = Some(Duration::from_millis(400));
    rule.stages[Stage::Close as usize] = Some(Duration::from_millis(800));
    let proxy = Proxy::start(&pg, limited(vec![rule]));
    let mut idler = Raw::login(&proxy);
    idler.send(&query("begin"));
    assert_eq!(idler.tags(), "CZ");
    until("it to be warned of", || count(&proxy, "idle_in_transaction", "warn") == 1).await;
    let (tag, notice) = idler.next().unwrap();
    assert_eq!((tag, field(&notice, b'C').as_str()), (b'N', "01000"));
    assert!(field(&notice, b'M').starts_with("this transaction has been idle for"));
    assert!(field(&notice, b'D').contains("the pool postgres/postgres"));
    let (tag, last) = idler.next().unwrap();
    assert_eq!((tag, field(&last, b'C').as_str()), (b'E', "25P03"));
    assert_eq!(field(&last, b'M'), "terminating connection due to idle-in-transaction timeout");
    assert!(idler.next().is_none(), "that was the last word");
    until("its server to be gone", || {
        let open = "select count(*) from pg_stat_activity where state like 'idle in%'";
        pg.value(open).unwrap() == "0"
    })
    .await;
    assert_eq!(count(&proxy, "idle_in_transaction", "close"), 1);
    let ends = proxy.snapshot().disconnects;
    assert!(ends.iter().any(|end| end.side == "client" && end.cause == "hold_limit"), "{ends:?}");
}

#[tokio::test]
async fn a_statement_that_runs_for_too_long_is_cancelled_and_its_session_lives_on() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, limited(vec![rule(Hold::Query, Stage::Cancel, 300)]));
    let client = proxy.client().await;
    let error = client.batch_execute("select pg_sleep(600)").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "57014", "PostgreSQL's own error");
    client.batch_execute("select 1").await.unwrap();
    assert_eq!(count(&proxy, "query", "cancel"), 1);
}

#[tokio::test]
async fn a_transaction_that_is_never_silent_for_long_ends_by_its_age() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(
        &pg,
        limited(vec![
            rule(Hold::IdleInTransaction, Stage::Close, 60_000),
            rule(Hold::Query, Stage::Close, 60_000),
            rule(Hold::Transaction, Stage::Close, 700),
        ]),
    );
    let client = proxy.client().await;
    client.batch_execute("begin").await.unwrap();
    let error = loop {
        if let Err(error) = client.batch_execute("select pg_sleep(0.05)").await {
            break error;
        }
    };
    let code = error.code().map(|code| code.code().to_owned());
    assert!(code.as_deref() == Some("25P04") || error.is_closed(), "{error:?}");
    assert_eq!(count(&proxy, "transaction", "close"), 1);
}

#[tokio::test]
async fn short_transactions_one_after_the_other_are_no_long_one_also_in_session_mode() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.pool_mode = stent_proxy::config::PoolMode::Session;
        config.hold_limits = vec![
            rule(Hold::Transaction, Stage::Close, 500),
            rule(Hold::Query, Stage::Close, 500),
            rule(Hold::IdleInTransaction, Stage::Close, 500),
        ];
    });
    let client = proxy.client().await;
    for _ in 0..60 {
        client.batch_execute("begin; select pg_sleep(0.02); commit").await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(800)).await;
    client.batch_execute("select 1").await.expect("idle outside a transaction is no hold");
}

#[tokio::test]
async fn a_rule_for_others_leaves_a_client_alone() {
    let pg = Postgres::start().unwrap();
    let mut others = rule(Hold::IdleInTransaction, Stage::Warn, 1);
    others.whom.application_name = Some("others".to_owned());
    let all = rule(Hold::Query, Stage::Warn, 1);
    let proxy = Proxy::start(&pg, limited(vec![others, all]));
    let client = proxy.client().await;
    client.batch_execute("set application_name = 'mine'; begin").await.unwrap();
    client.batch_execute("select pg_sleep(0.7)").await.unwrap();
    assert_eq!(count(&proxy, "query", "warn"), 1);
    assert_eq!(count(&proxy, "idle_in_transaction", "warn"), 0);
}

#[tokio::test]
async fn a_replication_stream_is_left_alone_however_long_it_lasts() {
    let pg = Postgres::builder().setting("wal_level", "logical").start().unwrap();
    let rules = Hold::ALL.map(|hold| rule(hold, Stage::Close, 300));
    let proxy = Proxy::start(&pg, limited(rules.to_vec()));
    let mut stream = Raw::connect(&proxy);
    let who = [("user", "postgres"), ("database", "postgres"), ("replication", "true")];
    stream.send(&startup(&who));
    stream.until_ready();
    let at = pg.value("select pg_current_wal_lsn()").unwrap();
    stream.send(&query(&format!("START_REPLICATION PHYSICAL {at}")));
    assert_eq!(stream.next().map(|(tag, _)| tag), Some(b'W'), "it streams");
    let client = proxy.client().await;
    client.batch_execute("select pg_sleep(600)").await.expect_err("it runs for too long");
    assert_eq!(count(&proxy, "query", "close"), 1, "that client's, who came after the stream");
    pg.sql("create table t (a int)").unwrap();
    let mut written = || matches!(stream.next(), Some((b'd', body)) if body[0] == b'w');
    while !written() {}
}
