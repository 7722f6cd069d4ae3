//! Cancel requests and TLS: each goes as the connection goes whose statement it cancels.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use stent_proxy::config::{TlsMode, Upstream};
use stent_testkit::Postgres;
use tokio_postgres::NoTls;

use super::authority::{Authority, handshake, server_tls, write};
use crate::raw::{Raw, field, query, startup};
use crate::support::{PATIENCE, Proxy, code, until};

const SSL_REQUEST: u32 = 80_877_103;
const CANCEL_REQUEST: u32 = 80_877_102;

/// Passes connections on to PostgreSQL and remembers with what each begins.
fn tap(port: u16) -> (u16, Arc<Mutex<Vec<u32>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let codes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&codes);
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            let mut begins = [0; 8];
            if client.read_exact(&mut begins).is_err() {
                continue;
            }
            seen.lock().unwrap().push(u32::from_be_bytes(begins[4..].try_into().unwrap()));
            let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            server.write_all(&begins).unwrap();
            let ends = [(&client, &server), (&server, &client)];
            for (from, to) in ends.map(|(a, b)| (a.try_clone().unwrap(), b.try_clone().unwrap())) {
                std::thread::spawn(move || {
                    let (mut from, mut to) = (from, to);
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    (own, codes)
}

/// Whether one cancel request has been delivered, and none has failed.
fn is_counted(proxy: &Proxy) -> bool {
    let page = proxy.get("/metrics").1;
    let counted = |outcome: &str, n: u32| {
        page.contains(&format!("stent_cancel_requests_total{{outcome=\"{outcome}\"}} {n}\n"))
    };
    assert!(counted("failed", 0), "{page}");
    counted("forwarded", 1)
}

/// Whether PostgreSQL is asleep: a cancel request that comes before a statement runs cancels nothing.
pub(crate) fn sleeps(pg: &Postgres) -> bool {
    let count = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    pg.value(count).unwrap() == "1"
}

/// Lets the server be entered in one way only, so that the mode's other way is taken.
fn only(pg: &Postgres, kind: &str) {
    write(pg, "pg_hba.conf", &format!("local all all trust\n{kind} all all 127.0.0.1/32 trust"));
    pg.sql("select pg_reload_conf()").unwrap();
    let rules = "select string_agg(type, ' ' order by type) from pg_hba_file_rules";
    let expected = format!("{kind} local");
    let read = || (pg.value(rules).unwrap() == expected).then_some(());
    stent_testkit::wait_for("the rules", PATIENCE, read).unwrap();
}

async fn cancels(pg: &Postgres, mode: TlsMode) -> Vec<u32> {
    let (port, codes) = tap(pg.port());
    let proxy = Proxy::start(pg, |config| {
        config.server_tls = server_tls(mode, None);
        config.upstream = Upstream { port, ..config.upstream.clone() };
    });
    let client = proxy.client().await;
    let token = client.cancel_token();
    let sleep = tokio::spawn(async move { client.batch_execute("select pg_sleep(60)").await });
    until("the sleep", || sleeps(pg)).await;
    let before = codes.lock().unwrap().len();
    token.cancel_query(NoTls).await.unwrap();
    assert_eq!(code(&sleep.await.unwrap().unwrap_err()), "57014");
    until("the delivery to be counted", || is_counted(&proxy)).await;
    let codes = codes.lock().unwrap();
    codes[before..].to_vec()
}

/// Checklist 7: `allow` has begun in clear, was refused, and is on TLS.
#[tokio::test]
async fn the_statement_of_a_connection_on_tls_is_cancelled_over_tls() {
    let authority = Authority::new();
    let pg = authority.postgres();
    only(&pg, "hostssl");
    let begun = cancels(&pg, TlsMode::Allow).await;
    assert_eq!(begun, [SSL_REQUEST]);
}

/// Checklist 7: `prefer` has begun with TLS, was refused, and is in clear.
#[tokio::test]
async fn the_statement_of_a_connection_in_clear_is_cancelled_in_clear() {
    let authority = Authority::new();
    let pg = authority.postgres();
    only(&pg, "hostnossl");
    let begun = cancels(&pg, TlsMode::Prefer).await;
    assert_eq!(begun, [CANCEL_REQUEST]);
}

/// Checklist 7: from the client, by hand.
#[test]
fn a_client_may_cancel_over_tls() {
    let authority = Authority::new();
    let pg = authority.postgres();
    let proxy = Proxy::start(&pg, |config| {
        config.client_tls = authority.for_clients(TlsMode::Require);
        config.server_tls = server_tls(TlsMode::Require, None);
    });
    let connect = || {
        let mut raw = Raw::connect(&proxy);
        raw.send(&[0, 0, 0, 8, 4, 210, 22, 47]);
        let mut answer = [0];
        raw.stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"S");
        Raw::on(handshake(authority.client(&[]), raw.stream).unwrap())
    };
    let mut sleeper = connect();
    sleeper.send(&startup(&[("user", "postgres"), ("database", "postgres")]));
    let said = sleeper.until_ready();
    let key = said.iter().find(|(tag, _)| *tag == b'K').unwrap().1.clone();
    sleeper.send(&query("select pg_sleep(60)"));
    stent_testkit::wait_for("the sleep", PATIENCE, || sleeps(&pg).then_some(())).unwrap();
    let len = u32::try_from(key.len() + 8).unwrap().to_be_bytes();
    let mut second = connect();
    second.send(&[&len[..], &CANCEL_REQUEST.to_be_bytes(), &key].concat());
    assert_eq!(second.next(), None, "a cancel request is not answered");
    let said = sleeper.until_ready();
    let error = said.iter().find(|(tag, _)| *tag == b'E').map(|(_, body)| field(body, b'C'));
    assert_eq!(error.as_deref(), Some("57014"), "{said:?}");
    assert!(is_counted(&proxy));
}
