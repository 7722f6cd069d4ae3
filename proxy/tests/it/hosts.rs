//! Several hosts: the order in which they are tried, what is wanted of them, and a promotion.

use stent_proxy::config::{Config, Endpoint, SessionAttrs};
use stent_testkit::{Postgres, free_port};

use super::support::{Proxy, cancel_its_sleep, code};

fn on(port: u16) -> Endpoint {
    Endpoint { host: "127.0.0.1".to_owned(), port }
}

fn among(others: Vec<Endpoint>, wanted: SessionAttrs) -> impl FnOnce(&mut Config) {
    move |config| {
        config.upstream.others = others;
        config.upstream.target_session_attrs = wanted;
    }
}

async fn in_recovery(proxy: &Proxy) -> bool {
    let client = proxy.client().await;
    client.query_one("select pg_is_in_recovery()", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_host_where_nothing_listens_is_passed_over() {
    let pg = Postgres::start().unwrap();
    let nowhere = free_port().unwrap();
    let port = pg.port();
    let proxy = Proxy::start(&pg, |config| {
        config.upstream.port = nowhere;
        config.upstream.others = vec![on(port)];
    });
    proxy.client().await.batch_execute("select 1").await.unwrap();
    // A cancel request goes where the server is.
    cancel_its_sleep(&proxy.client().await, &pg).await;
}

#[tokio::test]
async fn what_is_wanted_decides_which_host_serves() {
    let pg = Postgres::start().unwrap();
    let standby = pg.standby().unwrap();
    for (wanted, expected) in [
        (SessionAttrs::Any, false),
        (SessionAttrs::ReadWrite, false),
        (SessionAttrs::Primary, false),
        (SessionAttrs::ReadOnly, true),
        (SessionAttrs::Standby, true),
        (SessionAttrs::PreferStandby, true),
    ] {
        let proxy = Proxy::start(&pg, among(vec![on(standby.port())], wanted));
        assert_eq!(in_recovery(&proxy).await, expected, "{wanted:?}");
    }
    let alone = Proxy::start(&pg, among(Vec::new(), SessionAttrs::PreferStandby));
    assert!(!in_recovery(&alone).await, "where there is no standby the primary serves");
    let none = Proxy::start(&pg, among(Vec::new(), SessionAttrs::Standby));
    let error = none.connect(&none.dsn("postgres", "postgres")).await.err().unwrap();
    assert_eq!(code(&error), "57P03");
    let message = error.as_db_error().unwrap().message().to_owned();
    assert!(message.contains("target_session_attrs is standby"), "{message}");
}

#[tokio::test]
async fn writers_follow_a_promotion_to_another_host() {
    let mut pg = Postgres::start().unwrap();
    let standby = pg.standby().unwrap();
    pg.sql("create table t (n int)").unwrap();
    pg.wait_for_standby(&standby).unwrap();
    let proxy = Proxy::start(&pg, among(vec![on(standby.port())], SessionAttrs::ReadWrite));
    let client = proxy.client().await;
    client.batch_execute("insert into t values (1)").await.unwrap();
    pg.stop(stent_testkit::Stop::Fast).unwrap();
    standby.promote().unwrap();
    client.batch_execute("insert into t values (2)").await.expect("it waits and is served there");
    assert_eq!(standby.value("select count(*) from t").unwrap(), "2");
}
