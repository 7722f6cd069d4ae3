//! LISTEN and NOTIFY in transaction mode: nothing that was sent is lost, and a client knows its own.

use stent_testkit::Postgres;

use super::raw::{Raw, query, startup};
use super::support::Proxy;

/// Right behind LISTEN the server is asked what that has left: the notification comes meanwhile.
#[test]
fn a_notification_right_behind_listen_arrives() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut sender = Raw::login(&proxy);
    for n in 0..100 {
        let mut listener = Raw::login(&proxy);
        listener.send(&query("listen jobs"));
        assert_eq!(listener.tags(), "CZ");
        sender.send(&query(&format!("notify jobs, '{n}'")));
        assert_eq!(sender.tags(), "CZ");
        let (tag, body) = listener.next().unwrap();
        assert_eq!((tag, &body[4..]), (b'A', format!("jobs\0{n}\0").as_bytes()));
    }
}

/// Programs skip their own notifications by comparing with the id of BackendKeyData.
#[test]
fn a_client_s_own_notification_has_the_client_s_own_process_id() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut client = Raw::connect(&proxy);
    client.send(&startup(&[("user", "postgres")]));
    let welcome = client.until_ready();
    let (_, key) = welcome.iter().find(|(tag, _)| *tag == b'K').unwrap();
    client.send(&query("listen jobs"));
    assert_eq!(client.tags(), "CZ");
    for sql in ["notify jobs, 'mine'", "begin; notify jobs, 'mine'; commit"] {
        client.send(&query(sql));
        let said = client.until_ready();
        let (_, body) = said.iter().find(|(tag, _)| *tag == b'A').unwrap();
        assert_eq!(body[..4], key[..4], "{sql}");
        assert_eq!(body[4..], *b"jobs\0mine\0");
    }
    let mut other = Raw::login(&proxy);
    other.send(&query("notify jobs, 'theirs'"));
    assert_eq!(other.tags(), "CZ");
    let (tag, body) = client.next().unwrap();
    assert_eq!((tag, &body[4..]), (b'A', &b"jobs\0theirs\0"[..]));
    assert_ne!(body[..4], key[..4]);
}
