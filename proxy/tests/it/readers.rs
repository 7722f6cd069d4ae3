//! Read-only pools: a name of their own, standbys behind it, and the database itself where there is none.

use stent_proxy::config::{Config, Endpoint, Readers, SessionAttrs};
use stent_testkit::{Postgres, free_port};

use super::support::{Proxy, cancel_its_sleep, code};

fn reading(ports: &[u16]) -> impl FnOnce(&mut Config) {
    let on = |&port: &u16| Endpoint { host: "127.0.0.1".to_owned(), port };
    let readers = Readers { suffix: "_ro".to_owned(), places: ports.iter().map(on).collect() };
    move |config| {
        config.upstream.readers = Some(readers);
        config.console_admins = vec!["postgres".to_owned()];
    }
}

async fn recovers(proxy: &Proxy, database: &str) -> bool {
    let client = proxy.connect(&proxy.dsn("postgres", database)).await.unwrap();
    client.query_one("select pg_is_in_recovery()", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn the_name_with_the_suffix_leads_to_the_standby_and_the_plain_one_to_the_primary() {
    let pg = Postgres::start().unwrap();
    let standby = pg.standby().unwrap();
    let proxy = Proxy::start(&pg, reading(&[standby.port()]));
    assert!(!recovers(&proxy, "postgres").await);
    assert!(recovers(&proxy, "postgres_ro").await);
    let reader = proxy.connect(&proxy.dsn("postgres", "postgres_ro")).await.unwrap();
    let row = reader.query_one("select current_database()", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "postgres");
    cancel_its_sleep(&reader, &standby).await;
}

#[tokio::test]
async fn a_write_on_a_read_only_pool_is_refused_and_moves_nobody() {
    let pg = Postgres::start().unwrap();
    let standby = pg.standby().unwrap();
    let proxy = Proxy::start(&pg, reading(&[standby.port()]));
    let writer = proxy.client().await;
    writer.batch_execute("create table t (a int)").await.unwrap();
    let before = pg.backends().unwrap();
    let reader = proxy.connect(&proxy.dsn("postgres", "postgres_ro")).await.unwrap();
    for _ in 0..3 {
        let refused = reader.batch_execute("create table u (a int)").await.unwrap_err();
        assert_eq!(code(&refused), "25006");
    }
    assert!(reader.query_one("select pg_is_in_recovery()", &[]).await.unwrap().get::<_, bool>(0));
    writer.batch_execute("insert into t values (1)").await.unwrap();
    assert_eq!(pg.backends().unwrap(), before, "the writers' servers are the same");
}

#[tokio::test]
async fn where_no_standby_answers_the_database_itself_does() {
    let pg = Postgres::start().unwrap();
    let nowhere = Proxy::start(&pg, reading(&[free_port().unwrap()]));
    assert!(!recovers(&nowhere, "postgres_ro").await, "nothing listens where standbys should be");
    let primary = Proxy::start(&pg, reading(&[pg.port()]));
    assert!(!recovers(&primary, "postgres_ro").await, "as a reader endpoint without readers");
    let standby = pg.standby().unwrap();
    let second = Proxy::start(&pg, reading(&[pg.port(), standby.port()]));
    assert!(recovers(&second, "postgres_ro").await, "the one that is a standby is preferred");
}

#[tokio::test]
async fn readers_find_the_standby_also_where_the_database_must_take_writes() {
    let pg = Postgres::start().unwrap();
    let standby = pg.standby().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        reading(&[standby.port()])(config);
        config.upstream.target_session_attrs = SessionAttrs::ReadWrite;
    });
    assert!(recovers(&proxy, "postgres_ro").await);
    assert!(!recovers(&proxy, "postgres").await);
    let console = proxy.connect(&proxy.dsn("postgres", "stent")).await.unwrap();
    let shown = console.simple_query("show databases").await.unwrap();
    let mut row = None;
    for message in &shown {
        if let tokio_postgres::SimpleQueryMessage::Row(it) = message
            && it.get("name") == Some("postgres_ro")
        {
            row =
                Some((it.get("database").unwrap().to_owned(), it.get("port").unwrap().to_owned()));
        }
    }
    assert_eq!(row, Some(("postgres".to_owned(), standby.port().to_string())));
}
