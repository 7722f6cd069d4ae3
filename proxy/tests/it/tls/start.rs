//! How TLS begins, on both sides, byte by byte. Checklist 1 to 6.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::{ClientConfig, HandshakeKind, ServerConfig};
use stent_proxy::config::{TlsMode, TlsNegotiation};
use stent_testkit::Postgres;

use super::authority::{Authority, handshake, psql, refusal, server_tls, text};
use super::middle::{Begins, Behind, Middle};
use crate::raw::{Raw, field, message, query, startup};
use crate::support::Proxy;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

fn hello() -> Vec<u8> {
    startup(&[("user", "postgres"), ("database", "postgres")])
}

fn with_tls(authority: &Authority, mode: TlsMode) -> (Postgres, Proxy) {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| config.client_tls = authority.for_clients(mode));
    (pg, proxy)
}

/// The one byte with which a request is answered.
fn answer(raw: &mut Raw, request: &[u8]) -> u8 {
    raw.send(request);
    let mut byte = [0];
    raw.stream.read_exact(&mut byte).unwrap();
    byte[0]
}

/// Whether a login and a statement succeed.
fn serves<S: Read + Write>(mut raw: Raw<S>) -> bool {
    raw.send(&hello());
    let welcome = raw.tags();
    raw.send(&query("select 1"));
    welcome.starts_with('R') && raw.tags() == "TDCZ"
}

/// Checklist 1.
#[test]
fn a_request_for_tls_is_answered_with_one_byte_and_then_the_handshake() {
    let authority = Authority::new();
    let (_pg, proxy) = with_tls(&authority, TlsMode::Prefer);
    let mut raw = Raw::connect(&proxy);
    assert_eq!(answer(&mut raw, &SSL_REQUEST), b'S');
    raw.stream.set_nonblocking(true).unwrap();
    let more = raw.stream.read(&mut [0]).unwrap_err();
    assert_eq!(more.kind(), std::io::ErrorKind::WouldBlock, "the client is the next to speak");
    raw.stream.set_nonblocking(false).unwrap();
    assert!(serves(Raw::on(handshake(authority.client(&[]), raw.stream).unwrap())));
}

/// Checklist 1.
#[test]
fn where_no_tls_is_served_the_answer_is_n_and_the_client_goes_on_in_clear() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut raw = Raw::connect(&proxy);
    assert_eq!(answer(&mut raw, &SSL_REQUEST), b'N');
    assert!(serves(raw));
}

/// Checklist 2: what is pushed in behind the request, in clear, is never a request (CVE-2021-23222).
#[test]
fn nothing_that_a_client_sent_in_clear_survives_the_handshake() {
    let authority = Authority::new();
    let (_pg, proxy) = with_tls(&authority, TlsMode::Prefer);
    for request in [SSL_REQUEST, GSS_REQUEST] {
        let mut raw = Raw::connect(&proxy);
        raw.send(&[&request[..], &hello()].concat());
        let (tag, body) = raw.next().unwrap();
        assert_eq!((tag, field(&body, b'C')), (b'E', "08P01".to_owned()));
        assert_eq!(raw.next(), None);
    }
}

/// Checklist 2, towards the server: what is pushed in behind its S is taken for a part of the
/// handshake, which fails.
#[test]
fn nothing_that_a_server_sent_in_clear_survives_the_handshake() {
    let said = upstream_says(&[b"S", &message(b'R', &[0; 4])[..], &message(b'Z', b"I")].concat());
    assert!(said.contains("TLS handshake failed"), "{said}");
}

/// Checklist 3, 4: in either order, each once.
#[test]
fn a_gss_request_is_answered_n_and_the_connection_goes_on() {
    let authority = Authority::new();
    let (_pg, proxy) = with_tls(&authority, TlsMode::Prefer);
    let mut raw = Raw::connect(&proxy);
    assert_eq!(answer(&mut raw, &GSS_REQUEST), b'N');
    assert!(serves(raw));
    let mut raw = Raw::connect(&proxy);
    assert_eq!(answer(&mut raw, &GSS_REQUEST), b'N');
    assert_eq!(answer(&mut raw, &SSL_REQUEST), b'S');
    let mut raw = Raw::on(handshake(authority.client(&[]), raw.stream).unwrap());
    raw.send(&GSS_REQUEST);
    assert_eq!(raw.until_ready().first().map(|(tag, _)| *tag), Some(b'E'), "asked twice");
    let mut raw = Raw::connect(&proxy);
    assert_eq!(answer(&mut raw, &SSL_REQUEST), b'S');
    let mut raw = Raw::on(handshake(authority.client(&[]), raw.stream).unwrap());
    raw.send(&GSS_REQUEST);
    let mut no = [0];
    raw.stream.read_exact(&mut no).unwrap();
    assert_eq!(no, *b"N");
    assert!(serves(raw));
}

/// Checklist 4.
#[test]
fn both_requests_may_be_refused_on_one_connection() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut raw = Raw::connect(&proxy);
    assert_eq!(answer(&mut raw, &SSL_REQUEST), b'N');
    assert_eq!(answer(&mut raw, &GSS_REQUEST), b'N');
    assert!(serves(raw));
}

/// Checklist 5: PostgreSQL 17's direct TLS.
#[test]
fn direct_tls_is_served_to_those_who_name_the_protocol() {
    let authority = Authority::new();
    let (_pg, proxy) = with_tls(&authority, TlsMode::Require);
    let direct = |alpn: &[&str]| handshake(authority.client(alpn), Raw::connect(&proxy).stream);
    assert!(serves(Raw::on(direct(&["h2", "postgresql"]).unwrap())));
    let mut nameless = Raw::on(direct(&[]).unwrap());
    let (tag, body) = nameless.next().unwrap();
    assert_eq!((tag, field(&body, b'C')), (b'E', "08P01".to_owned()));
    assert!(field(&body, b'M').contains("ALPN"));
    assert_eq!(nameless.next(), None);
    let error = direct(&["h2"]).unwrap_err().to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
}

/// Checklist 5.
#[test]
fn a_handshake_where_none_is_served_is_refused_and_harms_nobody() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut raw = Raw::connect(&proxy);
    raw.send(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]);
    raw.rest();
    assert!(serves(Raw::connect(&proxy)));
}

/// Checklist 5, towards the server: PostgreSQL behind something that ends direct TLS.
#[test]
fn direct_tls_to_a_server_needs_its_word_that_it_is_postgresql() {
    let (authority, pg) = (Authority::new(), Postgres::start().unwrap());
    let ca = authority.file("ca.pem");
    for (alpn, expected) in
        [(&["postgresql"][..], "1"), (&[], "without the ALPN protocol"), (&["h2"], "handshake")]
    {
        let (tls, edit) = (authority.server(alpn), |bytes| bytes);
        let middle = Middle { tls, begins: Begins::Direct, behind: Behind::Plain, edit };
        let middle = middle.before(pg.port());
        let proxy = Proxy::start(&pg, |config| {
            config.server_tls = server_tls(TlsMode::VerifyFull, Some(&ca));
            config.server_tls.negotiation = TlsNegotiation::Direct;
            config.upstream.port = middle.port;
        });
        let output = psql(proxy.port, "sslmode=disable", "select 1");
        let said = if expected == "1" { text(&output) } else { refusal(&output) };
        assert!(said.contains(expected), "{alpn:?} {said}");
    }
}

/// Checklist 5, towards PostgreSQL itself, which speaks it from version 17 on.
#[test]
fn direct_tls_leads_to_postgresql_17_and_is_refused_by_older_ones() {
    let authority = Authority::new();
    let pg = authority.postgres();
    let proxy = Proxy::start(&pg, |config| {
        config.server_tls = server_tls(TlsMode::VerifyFull, Some(&authority.file("ca.pem")));
        config.server_tls.negotiation = TlsNegotiation::Direct;
    });
    let output = psql(proxy.port, "sslmode=disable", "select 1");
    if pg.version().major >= 17 {
        assert_eq!(text(&output), "1");
    } else {
        let said = refusal(&output);
        assert!(said.contains("TLS handshake failed"), "{said}");
    }
}

/// What a client hears when the server answers the request for TLS with these bytes.
fn upstream_says(answer: &[u8]) -> String {
    upstream_says_to(TlsMode::Require, answer, b"")
}

/// The same, with a mode, and an answer to whoever asks for no TLS.
fn upstream_says_to(mode: TlsMode, answer: &[u8], in_clear: &[u8]) -> String {
    let pg = Postgres::start().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (answer, in_clear) = (answer.to_vec(), in_clear.to_vec());
    std::thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            let mut request = [0; 8];
            if socket.read_exact(&mut request).is_err() {
                continue;
            }
            let word = if request == SSL_REQUEST { &answer } else { &in_clear };
            let _ = socket.write_all(word);
            let _ = socket.shutdown(std::net::Shutdown::Write);
            let _ = socket.read_to_end(&mut Vec::new());
        }
    });
    let proxy = Proxy::start(&pg, |config| {
        config.server_tls = server_tls(mode, None);
        config.upstream.port = port;
    });
    refusal(&psql(proxy.port, "sslmode=disable", "select 1"))
}

/// Checklist 6: PostgreSQL does so where it cannot even fork. Nobody knows who said it
/// (CVE-2024-10977), so its text is not passed on; where the mode goes on in clear, that is asked.
#[test]
fn an_error_in_answer_to_a_request_for_tls_is_not_believed() {
    let error = |text: &str| message(b'E', format!("SFATAL\0C53300\0M{text}\0\0").as_bytes());
    let (early, late) = (error("of nobody knows whom"), error("sorry, too many clients already"));
    let said = upstream_says_to(TlsMode::Require, &early, &late);
    assert!(said.contains("the server answers a request for TLS with an error"), "{said}");
    assert!(!said.contains("nobody") && !said.contains("sorry"), "{said}");
    let said = upstream_says_to(TlsMode::Prefer, &early, &late);
    assert!(said.contains("sorry, too many clients already"), "{said}");
    assert!(!said.contains("nobody"), "{said}");
}

/// Checklist 6.
#[test]
fn a_server_that_answers_with_something_else_is_not_postgresql() {
    let said = upstream_says(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(said.contains("answers a request for TLS with a byte of 0x48"), "{said}");
}

#[test]
fn no_session_is_resumed_on_either_side() {
    let authority = Authority::new();
    let pg = Postgres::start().unwrap();
    let mut tls: ServerConfig = authority.server(&["postgresql"]);
    tls.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    let middle = Middle { tls, begins: Begins::Asked, behind: Behind::Plain, edit: |bytes| bytes };
    let middle = middle.before(pg.port());
    let proxy = Proxy::start(&pg, |config| {
        config.client_tls = authority.for_clients(TlsMode::Require);
        config.server_tls = server_tls(TlsMode::Require, None);
        config.server_lifetime = Some(std::time::Duration::ZERO);
        config.upstream.port = middle.port;
    });
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        // One client that would resume, and remembers its sessions.
        let mut client: ClientConfig = authority.client_of(&[version]);
        client.resumption = rustls::client::Resumption::in_memory_sessions(8);
        let client = Arc::new(client);
        for _ in 0..2 {
            let mut raw = Raw::connect(&proxy);
            assert_eq!(answer(&mut raw, &SSL_REQUEST), b'S');
            let tls = handshake(Arc::clone(&client), raw.stream).unwrap();
            assert_eq!(tls.conn.handshake_kind(), Some(HandshakeKind::Full));
            let mut raw = Raw::on(tls);
            raw.send(&hello());
            assert!(raw.tags().starts_with('R'));
            raw.send(&query("select 1"));
            assert_eq!(raw.tags(), "TDCZ");
            assert_eq!(raw.stream.conn.tls13_tickets_received(), 0);
        }
    }
    let handshakes = middle.handshakes.lock().unwrap();
    assert!(handshakes.len() > 1, "{handshakes:?}");
    assert!(handshakes.iter().all(|kind| *kind == HandshakeKind::Full), "{handshakes:?}");
}
