//! Caps beyond the size of a pool: the reserve, and clients of a database and of a user.

use std::num::NonZeroU32;
use std::time::Duration;

use stent_proxy::config::{SizeRule, Whom};
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

#[tokio::test]
async fn a_pool_of_a_rule_has_the_sizes_of_the_rule_and_the_others_have_the_general_ones() {
    let pg = Postgres::start().unwrap();
    pg.sql("create role report login").unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = NonZeroU32::new(3).unwrap();
        config.console_users = vec!["postgres".to_owned()];
        let whom = Whom { user: Some("report".to_owned()), ..Whom::EVERYBODY };
        let of_database = Whom { database: Some("postgres".to_owned()), ..Whom::EVERYBODY };
        let rule = |whom, size| SizeRule {
            whom,
            pool_size: NonZeroU32::new(size),
            min_pool_size: None,
            reserve_pool_size: None,
        };
        config.pool_limits = vec![rule(whom, 1), rule(of_database, 2)];
    });
    let report = proxy.dsn("report", "postgres");
    let (first, second) = (proxy.connect(&report).await.unwrap(), proxy.connect(&report).await);
    let second = second.unwrap();
    first.batch_execute("begin").await.unwrap();
    let (a, b) = (proxy.client().await, proxy.client().await);
    a.batch_execute("begin").await.unwrap();
    b.batch_execute("begin").await.expect("others have two");
    let waits = tokio::spawn(async move { second.batch_execute("select 1").await });
    let waiting = |user: &str| {
        let pools = proxy.snapshot().pools;
        pools.iter().any(|pool| pool.user == user && pool.clients_waiting == 1)
    };
    until("the second to wait: one is the size", || waiting("report")).await;
    first.batch_execute("commit").await.unwrap();
    waits.await.unwrap().expect("it has been served");
    let mut console = Raw::connect(&proxy);
    console.send(&startup(&[("user", "postgres"), ("database", "stent")]));
    console.until_ready();
    console.send(&query("show databases"));
    let said = console.until_ready();
    let row = said.iter().find(|(tag, _)| *tag == b'D').map(|(_, body)| body.clone()).unwrap();
    let values = String::from_utf8_lossy(&row).into_owned();
    let sizes = ["\0\0\0\u{1}2", "\0\0\0\u{1}0", "\0\0\0\u{1}0"].concat();
    assert!(values.contains(&sizes), "pool_size 2, no minimum, no reserve: {values:?}");
}

#[tokio::test]
async fn who_waits_in_vain_is_told_the_size_that_would_have_to_be_raised() {
    let pg = Postgres::start().unwrap();
    pg.sql("create role report login").unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.default_pool_size = NonZeroU32::MIN;
        config.query_wait_timeout = Some(Duration::from_millis(300));
        let whom = Whom { user: Some("report".to_owned()), ..Whom::EVERYBODY };
        config.pool_limits = vec![SizeRule {
            whom,
            pool_size: NonZeroU32::new(1),
            min_pool_size: None,
            reserve_pool_size: None,
        }];
    });
    for (user, raise) in
        [("report", "raise its pool_size in pool_limits"), ("postgres", "raise default_pool_size")]
    {
        let dsn = proxy.dsn(user, "postgres");
        let (holder, waits) = (proxy.connect(&dsn).await.unwrap(), proxy.connect(&dsn).await);
        holder.batch_execute("begin").await.unwrap();
        let refused = waits.unwrap().batch_execute("select 1").await.unwrap_err();
        let hint = refused.as_db_error().unwrap().hint().unwrap();
        assert!(hint.contains(raise), "{hint}");
    }
}

#[tokio::test]
async fn a_user_has_so_many_servers_over_all_databases_and_is_told_who_has_them() {
    let pg = Postgres::start().unwrap();
    pg.sql("create role app login").unwrap();
    pg.sql("create database other").unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.max_user_connections = NonZeroU32::new(2);
        config.query_wait_timeout = Some(Duration::from_millis(300));
    });
    let (here, there) = (proxy.dsn("app", "postgres"), proxy.dsn("app", "other"));
    let (a, b) = (proxy.connect(&here).await.unwrap(), proxy.connect(&there).await.unwrap());
    let c = proxy.connect(&there).await.unwrap();
    a.batch_execute("begin").await.unwrap();
    b.batch_execute("begin").await.unwrap();
    let refused = c.batch_execute("select 1").await.unwrap_err();
    assert_eq!(code(&refused), "53300");
    let report = refused.as_db_error().unwrap();
    let (detail, hint) = (report.detail().unwrap(), report.hint().unwrap());
    assert!(detail.contains("max_user_connections (2) is reached"), "{detail}");
    assert!(detail.contains("pool postgres/app"), "who holds them elsewhere: {detail}");
    assert_eq!(detail.matches("Held by").count(), 2, "{detail}");
    assert!(hint.contains("raise max_user_connections"), "{hint}");
    proxy.client().await.batch_execute("select 1").await.expect("other users have theirs");
    a.batch_execute("commit").await.unwrap();
    c.batch_execute("begin").await.expect("the place is taken from the other database");
    let count = "select count(*) from pg_stat_activity where usename = 'app'";
    assert_eq!(pg.value(count).unwrap(), "2");
    let ends = proxy.snapshot().disconnects;
    assert!(ends.iter().any(|end| end.side == "server" && end.cause == "make_room"), "{ends:?}");
}
