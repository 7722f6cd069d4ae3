//! LISTEN in transaction mode when something breaks, is full, or is not to be had. Checklist 66.

use std::num::NonZeroU32;
use std::time::Duration;

use stent_testkit::{Postgres, wait_until};

use super::listen::{Listener, owned, start};
use super::raw::{Raw, field, query};
use super::support::{PATIENCE, Proxy, until};

const COUNT: &str = "select count(*) from pg_stat_activity where \
                     backend_type = 'client backend' and pid <> pg_backend_pid()";

/// The process id of the listening connection.
fn ear(pg: &Postgres) -> Option<u32> {
    let sql = "select pid from pg_stat_activity where query like 'LISTEN %' and state = 'idle'";
    pg.value(sql).ok()?.parse().ok()
}

fn metric(proxy: &Proxy, name: &str) -> f64 {
    let page = proxy.get("/metrics").1;
    let line = page.lines().find(|line| line.starts_with(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_lost_listening_connection_is_replaced_and_its_clients_are_warned() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let (a, b) = (Listener::through(&proxy).await, Listener::through(&proxy).await);
    let bystander = Listener::through(&proxy).await;
    a.run("listen jobs").await;
    b.run("listen other").await;
    for round in 1..=3 {
        let before = ear(&pg).unwrap();
        pg.terminate_backend(before).unwrap();
        let warned = |of: &Listener| of.notices.lock().unwrap().len() == round;
        until("both to be warned", || warned(&a) && warned(&b)).await;
        assert!(a.notices.lock().unwrap().iter().all(|code| code == "01000"));
        let after = ear(&pg).unwrap();
        assert_ne!(after, before);
        // Whoever has been warned is listened for again.
        pg.sql(&format!("notify jobs, '{round}'")).unwrap();
        pg.sql(&format!("notify other, '{round}'")).unwrap();
        assert_eq!(a.next(1).await, owned(&[("jobs", &round.to_string())]));
        assert_eq!(b.next(1).await, owned(&[("other", &round.to_string())]));
    }
    assert!(bystander.notices.lock().unwrap().is_empty());
    assert_eq!(metric(&proxy, "stent_listen_interruptions_total"), 3.0);
}

#[tokio::test]
async fn a_restart_of_postgresql_is_survived_by_those_who_hold_no_server() {
    let mut pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let a = Listener::through(&proxy).await;
    a.run("listen jobs").await;
    pg.restart().unwrap();
    until("it to be warned", || a.notices.lock().unwrap().len() == 1).await;
    pg.sql("notify jobs, 'again'").unwrap();
    assert_eq!(a.next(1).await, owned(&[("jobs", "again")]));
    a.run("notify jobs, 'own'").await;
    assert_eq!(a.next(1).await, owned(&[("jobs", "own")]));
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_connection_and_not_its_neighbours_theirs() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let mut slow = Raw::login(&proxy);
    slow.send(&query("listen flood"));
    assert_eq!(slow.tags(), "CZ");
    let quick = Listener::through(&proxy).await;
    quick.run("listen flood").await;
    let mut sent = 0;
    while metric(&proxy, "stent_notifications_lost_total") == 0.0 {
        sent += 1;
        let many = format!(
            "select pg_notify('flood', {sent} || '-' || n || repeat('x', 7900)) \
             from generate_series(1, 100) n"
        );
        pg.sql(&many).unwrap();
        quick.next(100).await;
        assert!(sent < 1_000, "so much does not fit into any socket");
    }
    let mut heard = 0;
    let last = loop {
        match slow.next() {
            Some((b'A', _)) => heard += 1,
            Some(last) => break last,
            None => panic!("an end without a word"),
        }
    };
    assert_eq!((last.0, field(&last.1, b'C')), (b'E', "53400".to_owned()));
    assert_eq!(field(&last.1, b'S'), "FATAL");
    assert!(heard > 0 && slow.next().is_none());
    quick.run("notify flood, 'still here'").await;
    quick.up_to("still here").await;
    assert_eq!(proxy.snapshot().pools[0].clients_listening, 1);
}

/// The transaction is not to blame for what others notify: the last word comes behind its end.
#[test]
fn a_transaction_that_outlasts_its_mailbox_is_finished_first() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let mut raw = Raw::login(&proxy);
    for sql in ["create table t (a int)", "listen flood", "begin"] {
        raw.send(&query(sql));
        assert_eq!(raw.tags(), "CZ");
    }
    pg.sql("select pg_notify('flood', n::text) from generate_series(1, 5000) n").unwrap();
    let is_lost = || metric(&proxy, "stent_notifications_lost_total") == 5000.0;
    wait_until("the mailbox to overflow", PATIENCE, is_lost).unwrap();
    raw.send(&query("insert into t values (1)"));
    assert_eq!(raw.tags(), "CZ");
    raw.send(&query("commit"));
    assert_eq!(raw.tags(), "CZ");
    let (tag, body) = raw.next().unwrap();
    assert_eq!((tag, field(&body, b'C')), (b'E', "53400".to_owned()));
    assert!(field(&body, b'D').starts_with("5000 notifications are lost"));
    assert!(raw.next().is_none());
    assert_eq!(pg.value("select count(*) from t").unwrap(), "1");
}

#[tokio::test]
async fn the_listening_connection_ends_some_time_after_the_last_listener() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.server_idle_timeout = Some(Duration::from_millis(300));
        config.min_pool_size = 1;
    });
    let a = Listener::through(&proxy).await;
    for _ in 0..2 {
        a.run("listen jobs").await;
        assert_eq!(proxy.snapshot().pools[0].servers_listening, 1);
        a.run("unlisten jobs").await;
        until("it to end", || proxy.snapshot().pools[0].servers_listening == 0).await;
    }
    let b = Listener::through(&proxy).await;
    b.run("listen jobs").await;
    drop(b);
    until("it to end", || proxy.snapshot().pools[0].servers_listening == 0).await;
}

#[tokio::test]
async fn a_channel_that_nobody_has_is_unlistened() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let (a, b) = (Listener::through(&proxy).await, Listener::through(&proxy).await);
    a.run("listen jobs").await;
    b.run("listen jobs; listen mine").await;
    drop(b);
    let sql = "select count(*) from pg_stat_activity where query = 'UNLISTEN \"mine\";'";
    until("the UNLISTEN", || pg.value(sql).unwrap() == "1").await;
    pg.sql("notify jobs, 'still'").unwrap();
    assert_eq!(a.next(1).await, owned(&[("jobs", "still")]));
}

#[tokio::test]
async fn under_max_db_connections_it_takes_a_place_of_its_own() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.max_db_connections = NonZeroU32::new(2);
    });
    let a = Listener::through(&proxy).await;
    a.run("listen jobs").await;
    let (b, c) = (proxy.client().await, proxy.client().await);
    b.batch_execute("begin").await.unwrap();
    let blocked = tokio::spawn(async move { c.batch_execute("select 1").await });
    until("the other to wait", || proxy.snapshot().pools[0].clients_waiting == 1).await;
    assert_eq!(pg.value(COUNT).unwrap(), "2");
    b.batch_execute("commit").await.unwrap();
    blocked.await.unwrap().unwrap();
    pg.sql("notify jobs, 'x'").unwrap();
    assert_eq!(a.next(1).await, owned(&[("jobs", "x")]));
}

#[tokio::test]
async fn where_it_has_no_place_the_server_stays_with_its_client_and_listens() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.max_db_connections = NonZeroU32::new(1);
    });
    let a = Listener::through(&proxy).await;
    a.run("listen jobs").await;
    pg.sql("notify jobs, 'x'").unwrap();
    assert_eq!(a.next(1).await, owned(&[("jobs", "x")]));
    a.run("notify jobs, 'own'").await;
    assert_eq!(a.next(1).await, owned(&[("jobs", "own")]));
    assert_eq!(proxy.snapshot().holders[0].pinned_by, ["listen"]);
    assert_eq!(pg.value(COUNT).unwrap(), "1");
}
