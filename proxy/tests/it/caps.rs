//! Caps beyond the size of a pool: the reserve, and clients of a database and of a user.

use std::num::NonZeroU32;
use std::time::Duration;

use stent_testkit::Postgres;

use super::raw::{Raw, field, query, startup};
use super::support::{Proxy, code, until};

#[tokio::test]
async fn a_client_that_waits_for_long_gets_a_server_of_the_reserve_which_ends_after_it() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = NonZeroU32::MIN;
        config.reserve_pool_size = 1;
        config.reserve_pool_timeout = Some(Duration::from_millis(300));
    });
    let (holder, late) = (proxy.client().await, proxy.client().await);
    holder.batch_execute("begin").await.unwrap();
    late.batch_execute("begin").await.expect("the only server of the size is held");
    assert_eq!(pg.backends().unwrap().len(), 2);
    let third = proxy.connect(&proxy.dsn("postgres", "postgres")).await.unwrap();
    let (waits, ends) = tokio::join!(third.batch_execute("select 1"), async {
        until("it to wait", || proxy.snapshot().pools[0].clients_waiting == 1).await;
        late.batch_execute("commit").await
    });
    waits.expect("whoever waits is served by it too");
    ends.unwrap();
    until("the one too many to be gone", || pg.backends().unwrap().len() == 1).await;
    let ends = proxy.snapshot().disconnects;
    assert!(ends.iter().any(|end| end.side == "server" && end.cause == "reserve"), "{ends:?}");
    holder.batch_execute("commit").await.unwrap();
}

#[tokio::test]
async fn a_database_and_a_user_have_so_many_clients_and_no_more() {
    let pg = Postgres::start().unwrap();
    pg.sql("create role one login; create role two login").unwrap();
    pg.sql("create database other").unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.max_db_client_connections = NonZeroU32::new(3);
        config.max_user_client_connections = NonZeroU32::new(2);
    });
    let first = proxy.connect(&proxy.dsn("one", "postgres")).await.unwrap();
    let _second = proxy.connect(&proxy.dsn("one", "other")).await.unwrap();
    let refused = |error: Option<tokio_postgres::Error>| {
        let error = error.expect("there is no room");
        assert_eq!(code(&error), "53300");
        error.as_db_error().unwrap().message().to_owned()
    };
    let of_user = refused(proxy.connect(&proxy.dsn("one", "other")).await.err());
    let expected = "no more client connections allowed for user \"one\" \
                    (max_user_client_connections is 2)";
    assert_eq!(of_user, expected);
    let _third = proxy.connect(&proxy.dsn("two", "postgres")).await.unwrap();
    let _fourth = proxy.connect(&proxy.dsn("postgres", "postgres")).await.unwrap();
    let of_database = refused(proxy.connect(&proxy.dsn("two", "postgres")).await.err());
    assert!(of_database.contains("database \"postgres\""), "{of_database}");
    drop(first);
    until("its place to be free", || {
        let mut next = Raw::connect(&proxy);
        next.send(&startup(&[("user", "one"), ("database", "postgres")]));
        let said = next.until_ready();
        let refused = said.iter().find(|(tag, _)| *tag == b'E');
        assert!(refused.is_none_or(|(_, body)| field(body, b'C') == "53300"), "{said:?}");
        if refused.is_none() {
            next.send(&query("select 1"));
            assert_eq!(next.tags(), "TDCZ");
        }
        refused.is_none()
    })
    .await;
}
