//! What must not be sent, and databases that do not answer: a clear error, and nobody else hurt.

use std::net::TcpListener;
use std::time::Duration;

use stent_testkit::{Postgres, Signal, free_port};

use super::raw::{Raw, field, message, query, startup};
use super::support::{PATIENCE, Proxy, code, config};

/// Runs `attack` while another client works, and checks that it still works after.
fn while_others_work(attack: impl FnOnce(&Proxy)) {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut other = Raw::login(&proxy);
    other.send(&query("begin"));
    assert_eq!(other.tags(), "CZ");
    attack(&proxy);
    other.send(&query("commit"));
    assert_eq!(other.tags(), "CZ");
    assert_eq!(Raw::login(&proxy).stream.peer_addr().unwrap().port(), proxy.port);
}

/// Checklist 8, 12, 13, 15.
#[test]
fn garbage_oversized_and_truncated_start_up_packets_are_refused() {
    while_others_work(|proxy| {
        // As in PostgreSQL, what is not even a length gets no answer.
        for bytes in [
            &b"\xff\xff\xff\xff\xff\xff\xff\xff"[..],
            b"\x00\x00\x00\x00",
            b"\x77\x35\x94\x00\x00\x03\x00\x00",
            b"X\x00\x00\x00\x04",
        ] {
            let mut raw = Raw::connect(proxy);
            raw.send(bytes);
            assert!(raw.rest().is_empty(), "{bytes:?}");
        }
        for bytes in
            [&b"\x00\x00\x00\x09\x00\x03\x00\x00\x00"[..], b"\x00\x00\x00\x08\x00\x02\x00\x00"]
        {
            let mut raw = Raw::connect(proxy);
            raw.send(bytes);
            let (tag, body) = raw.next().unwrap();
            assert_eq!(tag, b'E', "{bytes:?}");
            assert_eq!(field(&body, b'S'), "FATAL", "{bytes:?}");
            assert!(!field(&body, b'M').is_empty());
            assert!(raw.next().is_none(), "the connection is closed");
        }
        let mut cut = Raw::connect(proxy);
        cut.send(&startup(&[("user", "postgres")])[..9]);
        drop(cut);
    });
}

#[test]
fn http_is_answered_in_its_own_words() {
    while_others_work(|proxy| {
        let mut raw = Raw::connect(proxy);
        raw.send(b"GET / HTTP/1.1\r\nHost: db\r\n\r\n");
        let answer = String::from_utf8(raw.rest()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("PostgreSQL"), "{answer}");
    });
}

#[test]
fn a_message_that_the_protocol_does_not_know_never_reaches_a_server() {
    while_others_work(|proxy| {
        for bytes in [message(b'm', b"x"), b"Q\x00\x00\x00\x03".to_vec(), message(b'S', b"x")] {
            let mut raw = Raw::login(proxy);
            raw.send(&bytes);
            let (tag, body) = raw.next().unwrap();
            assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "08P01"));
            assert!(raw.next().is_none());
        }
    });
}

#[test]
fn a_slow_login_ends_at_client_login_timeout() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.client_login_timeout = Duration::from_millis(100);
    });
    let mut raw = Raw::connect(&proxy);
    raw.send(&startup(&[("user", "postgres")])[..9]);
    let (tag, body) = raw.next().unwrap();
    assert_eq!(tag, b'E');
    assert!(field(&body, b'M').contains("client_login_timeout"), "{}", field(&body, b'M'));
}

#[tokio::test]
async fn a_postgresql_that_is_absent_is_named_at_once() {
    let pg = Postgres::start().unwrap();
    let nowhere = free_port().unwrap();
    let proxy = Proxy::start(&pg, |config| config.upstream.port = nowhere);
    let error = proxy.connect(&proxy.dsn("postgres", "postgres")).await.err().unwrap();
    assert_eq!(code(&error), "08001");
    let text = error.as_db_error().unwrap().message().to_owned();
    assert!(text.contains(&format!("127.0.0.1:{nowhere}")), "{text}");
    let (status, why) = proxy.get("/readyz");
    assert_eq!(status, 503);
    assert!(why.contains("cannot connect"), "{why}");
}

#[tokio::test]
async fn a_postgresql_that_hangs_is_given_up_at_server_connect_timeout() {
    let pg = Postgres::start().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let proxy = Proxy::start(&pg, |config| {
        config.upstream.port = port;
        config.server_connect_timeout = Duration::from_millis(200);
    });
    let error = proxy.connect(&proxy.dsn("postgres", "postgres")).await.err().unwrap();
    assert_eq!(code(&error), "08001");
    assert!(error.as_db_error().unwrap().message().contains("did not complete the login"));
}

#[tokio::test]
async fn a_stopped_postmaster_makes_the_proxy_not_ready_though_it_still_accepts() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.server_connect_timeout = Duration::from_millis(200);
        config.client_login_timeout = Duration::from_secs(1);
    });
    pg.signal(Signal::STOP).unwrap();
    let error = proxy.connect(&proxy.dsn("postgres", "template1")).await.err().unwrap();
    assert_eq!(code(&error), "08001");
    pg.signal(Signal::CONT).unwrap();
    proxy.connect(&proxy.dsn("postgres", "template1")).await.unwrap();
}

#[tokio::test]
async fn too_many_clients_already_comes_back_with_53300() {
    let pg = Postgres::builder().max_connections(4).start().unwrap();
    let mut held = Vec::new();
    for _ in 0..4 {
        let dsn = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", pg.port());
        match tokio_postgres::connect(&dsn, tokio_postgres::NoTls).await {
            Ok(session) => held.push(session),
            Err(_) => break,
        }
    }
    let proxy = Proxy::start(&pg, |_| {});
    let error = proxy.connect(&proxy.dsn("postgres", "postgres")).await.err().unwrap();
    assert_eq!(code(&error), "53300");
}

#[test]
fn a_port_in_use_and_a_missing_folder_are_named_with_the_mend() {
    let pg = Postgres::start().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut in_use = config(&pg);
    in_use.listen = vec![taken.local_addr().unwrap()];
    let error = Proxy::with(in_use).err().unwrap().to_string();
    assert!(error.contains("another process has it"), "{error}");
    let mut missing = config(&pg);
    missing.unix_socket_dir = Some("/nonexistent/stent".into());
    let error = Proxy::with(missing).err().unwrap().to_string();
    assert!(error.contains("/nonexistent/stent") && error.contains("create the folder"), "{error}");
}

/// Checklist 21.
#[test]
fn a_login_that_only_connects_and_leaves_is_not_counted_as_a_fault() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    drop(Raw::connect(&proxy));
    stent_testkit::wait_until("the probe to be gone", PATIENCE, || {
        proxy.snapshot().clients.login == 0
    })
    .unwrap();
    assert!(proxy.snapshot().disconnects.iter().all(|end| end.side != "client"));
}
