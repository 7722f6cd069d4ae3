//! LISTEN and NOTIFY in transaction mode: nothing that was sent is lost.

use stent_testkit::Postgres;

use super::raw::{Raw, query};
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
