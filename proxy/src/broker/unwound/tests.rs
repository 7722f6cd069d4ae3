//! Tasks that panic, in a proxy with one server: who comes next must get it.

use std::num::NonZeroU32;

use stent_testkit::Postgres;

use crate::trap::{self, Place};
use raw::{Raw, query, startup};
use support::{PATIENCE, Proxy};

#[allow(dead_code, reason = "the integration tests use more of it")]
#[path = "../../../tests/it/raw.rs"]
mod raw;
#[allow(dead_code, reason = "the integration tests use more of it")]
#[path = "../../../tests/it/support.rs"]
mod support;

fn proxy_with_one_server(pg: &Postgres) -> Proxy {
    Proxy::start(pg, |config| config.default_pool_size = NonZeroU32::MIN)
}

/// Asks for one value.
fn ask(raw: &mut Raw, sql: &str) -> String {
    raw.send(&query(sql));
    let said = raw.until_ready();
    let row = said.iter().find(|(tag, _)| *tag == b'D').expect("a row");
    // Behind the number of columns and the length of the first.
    String::from_utf8(row.1[6..].to_vec()).unwrap()
}

fn backend(raw: &mut Raw) -> u32 {
    ask(raw, "select pg_backend_pid()").parse().unwrap()
}

/// Waits until the register and the ends say this of clients and of panics by side.
fn until(proxy: &Proxy, clients: u32, panicked: &[&str]) {
    let what = format!("{clients} clients, panics of {panicked:?}");
    let is = || {
        let now = proxy.snapshot();
        let ends = now.disconnects.iter().filter(|end| end.cause == "panicked");
        let mut sides: Vec<&str> = ends.map(|end| end.side.as_str()).collect();
        sides.sort_unstable();
        let counts = now.clients;
        let there = counts.login + counts.idle + counts.active + counts.waiting;
        there == clients && sides == panicked
    };
    stent_testkit::wait_until(&what, PATIENCE, is).unwrap();
}

#[test]
fn e2e_a_session_that_panics_with_a_server_leaves_no_place_taken() {
    let pg = Postgres::start().unwrap();
    let proxy = proxy_with_one_server(&pg);
    let mut raw = Raw::login(&proxy);
    raw.send(&query("begin"));
    raw.until_ready();
    trap::set(Place::Session, backend(&mut raw));
    raw.send(&query("select 1"));
    assert_eq!(raw.next(), None, "its connection ends");
    let mut next = Raw::login(&proxy);
    assert_eq!(ask(&mut next, "select 2"), "2");
    until(&proxy, 1, &["client", "server"]);
    let pools = proxy.snapshot().pools;
    assert_eq!((pools[0].servers_active, pools[0].servers_idle), (0, 1), "{pools:?}");
    assert_eq!(pools[0].totals.closed, 1, "the lost one is not thought to be there");
}

#[test]
fn e2e_clients_that_wait_for_the_server_of_a_session_that_panics_get_another() {
    let pg = Postgres::start().unwrap();
    let proxy = proxy_with_one_server(&pg);
    let mut raw = Raw::login(&proxy);
    raw.send(&query("begin"));
    raw.until_ready();
    let pid = backend(&mut raw);
    let mut waits = Raw::login(&proxy);
    waits.send(&query("select 3"));
    let waiting = || proxy.snapshot().clients.waiting == 1;
    stent_testkit::wait_until("a client to wait", PATIENCE, waiting).unwrap();
    trap::set(Place::Session, pid);
    raw.send(&query("select 1"));
    let said = waits.until_ready();
    assert!(said.iter().any(|(tag, _)| *tag == b'D'), "{said:?}");
    until(&proxy, 1, &["client", "server"]);
}

#[test]
fn e2e_a_task_that_panics_with_a_server_leaves_no_place_taken() {
    let pg = Postgres::start().unwrap();
    let proxy = proxy_with_one_server(&pg);
    let mut raw = Raw::login(&proxy);
    raw.send(&query("create temp table t (n int)"));
    raw.until_ready();
    trap::set(Place::Clean, backend(&mut raw));
    drop(raw);
    let mut next = Raw::login(&proxy);
    assert_eq!(ask(&mut next, "select 2"), "2");
    until(&proxy, 1, &["server"]);
}

#[test]
fn e2e_a_login_that_panics_leaves_no_place_taken() {
    let pg = Postgres::start().unwrap();
    let proxy = proxy_with_one_server(&pg);
    let mut raw = Raw::connect(&proxy);
    raw.send(&startup(&[("user", trap::USER), ("database", "postgres")]));
    assert_eq!(raw.next(), None, "its connection ends");
    until(&proxy, 0, &["client"]);
}

#[test]
fn e2e_a_listening_connection_whose_task_panics_is_replaced_and_its_clients_are_warned() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut listener = Raw::login(&proxy);
    listener.send(&query("listen news"));
    listener.until_ready();
    let ear = "select pid from pg_stat_activity where query like 'LISTEN %' and state = 'idle'";
    let ears = || pg.value(ear).is_ok_and(|pid| !pid.is_empty());
    stent_testkit::wait_until("it to be listened for", PATIENCE, ears).unwrap();
    let first = pg.value(ear).unwrap();
    trap::set(Place::Ear, first.parse().unwrap());
    pg.value("select pg_notify('news', 'lost')").unwrap();
    let (tag, body) = listener.next().expect("a warning");
    assert_eq!(tag, b'N', "{}", String::from_utf8_lossy(&body));
    pg.value("select pg_notify('news', 'heard')").unwrap();
    let (tag, body) = listener.next().expect("the connection lives on");
    let text = String::from_utf8_lossy(&body);
    assert!(tag == b'A' && text.contains("heard"), "{tag} {text}");
    assert_ne!(pg.value(ear).unwrap(), first);
    until(&proxy, 1, &["server"]);
}
