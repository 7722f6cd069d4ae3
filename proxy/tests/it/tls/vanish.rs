//! Clients on TLS that vanish or stall, in front of a server on TLS. Checklist 63, 70.

use std::io::{Read, Write};
use std::num::NonZeroU32;
use std::time::Duration;

use stent_proxy::config::TlsMode;
use stent_testkit::{Postgres, wait_until};

use super::authority::{Authority, Tls, handshake, server_tls};
use crate::raw::{Raw, query, startup};
use crate::support::{PATIENCE, Proxy, resident};

/// How a client goes.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// With TLS's last word.
    Notify,
    /// FIN without it: its process ended.
    Close,
    /// RST.
    Reset,
}

const WAYS: [Way; 3] = [Way::Notify, Way::Close, Way::Reset];

struct Stand {
    authority: Authority,
    pg: Postgres,
    proxy: Proxy,
}

impl Stand {
    fn new() -> Self {
        let authority = Authority::new();
        let pg = authority.postgres();
        pg.sql("create table t (a int)").unwrap();
        let proxy = Proxy::start(&pg, |config| {
            config.default_pool_size = NonZeroU32::new(1).unwrap();
            config.client_tls = authority.for_clients(TlsMode::Require);
            config.server_tls = server_tls(TlsMode::Require, None);
        });
        Self { authority, pg, proxy }
    }

    fn login(&self, name: &str) -> Raw<Tls> {
        let mut raw = Raw::connect(&self.proxy);
        raw.send(&[0, 0, 0, 8, 4, 210, 22, 47]);
        raw.stream.read_exact(&mut [0]).unwrap();
        let mut raw = Raw::on(handshake(self.authority.client(&[]), raw.stream).unwrap());
        let names = [("user", "postgres"), ("database", "postgres"), ("application_name", name)];
        raw.send(&startup(&names));
        assert!(raw.tags().starts_with('R'));
        raw
    }

    /// Waits until PostgreSQL says so of the client's backend.
    fn wait_for(&self, what: &str, condition: &str) {
        let from = "select count(*) from pg_stat_activity where application_name = 'doomed'";
        let sql = format!("{from} and {condition}");
        wait_until(what, PATIENCE, || self.pg.value(&sql).unwrap() != "0").unwrap();
    }

    /// Runs a case for each way of going: then nothing is under way, and the next is served.
    fn each_way(&self, begins: &str, is_under_way: &str) {
        for way in WAYS {
            let mut raw = self.login("doomed");
            raw.send(&query(begins));
            self.wait_for(&format!("{way:?} {begins}"), is_under_way);
            vanish(raw, way);
            let mut next = self.login("next");
            next.send(&query("select count(*) from t"));
            let said = next.until_ready();
            assert_eq!(said[1], (b'D', b"\0\x01\0\0\0\x010".to_vec()), "{way:?} {begins}");
        }
    }
}

fn vanish(mut raw: Raw<Tls>, way: Way) {
    match way {
        Way::Notify => {
            raw.stream.conn.send_close_notify();
            let _ = raw.stream.flush();
        }
        Way::Close => {}
        Way::Reset => {
            let socket = socket2::SockRef::from(&raw.stream.sock);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
}

#[test]
fn what_a_client_on_tls_has_under_way_ends_with_it() {
    let stand = Stand::new();
    stand.each_way("select pg_sleep(600)", "wait_event = 'PgSleep'");
    let open = "begin; lock table t; insert into t values (1)";
    stand.each_way(open, "state = 'idle in transaction'");
    let endless = "select repeat('x', 1000), generate_series(1, 100000000)";
    stand.each_way(endless, "wait_event = 'ClientWrite'");
}

#[test]
fn a_client_on_tls_that_stops_reading_costs_no_memory() {
    const ROWS: u32 = 100_000;
    let stand = Stand::new();
    let mut raw = stand.login("doomed");
    // What is touched once is not counted.
    raw.send(&query("select repeat('x', 10000) from generate_series(1, 100)"));
    raw.until_ready();
    let before = resident();
    raw.send(&query(&format!("select repeat('x', 10000) from generate_series(1, {ROWS})")));
    stand.wait_for("the server to be held up", "wait_event = 'ClientWrite'");
    let grown = resident().saturating_sub(before);
    assert!(grown < 1 << 20, "{grown} bytes for a client that does not read");
    // And nothing is lost: rows, one description before them, and two messages behind.
    let mut rows = 0;
    while let Some((tag, _)) = raw.next() {
        rows += u32::from(tag == b'D');
        if tag == b'Z' {
            break;
        }
    }
    assert_eq!(rows, ROWS);
}
