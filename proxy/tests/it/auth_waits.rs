//! Failed logins wait for their answer; those that succeed never do, from wherever they come.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use stent_proxy::config::{AuthMethod, CleartextPolicy};
use stent_testkit::Postgres;
use stent_wire::auth::backoff::WAIT_MIN;

use super::raw::{Raw, field, message, startup};
use super::support::{PATIENCE, Proxy, code, user};

/// A connection from this address of the machine's own network.
fn from(source: [u8; 4], proxy: &Proxy) -> Raw {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], proxy.port)).into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Raw::on(stream)
}

/// A login with this password, up to where it would be answered.
fn tries(source: [u8; 4], proxy: &Proxy, password: &str) -> Raw {
    let mut raw = from(source, proxy);
    raw.send(&startup(&[("user", "postgres"), ("database", "postgres")]));
    assert_eq!(raw.next().unwrap(), (b'R', vec![0, 0, 0, 3]));
    raw.send(&message(b'p', format!("{password}\0").as_bytes()));
    raw
}

fn is_answered(raw: &Raw) -> bool {
    raw.stream.set_nonblocking(true).unwrap();
    let peeked = raw.stream.peek(&mut [0]);
    raw.stream.set_nonblocking(false).unwrap();
    !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

fn by_password(pg: &Postgres) -> Proxy {
    Proxy::start(pg, |config| {
        config.auth.method = AuthMethod::Password;
        config.auth.cleartext = CleartextPolicy::Anywhere;
        config.auth.users = vec![user("postgres", "right")];
    })
}

#[test]
fn a_failed_login_waits_for_its_answer_and_a_good_one_does_not() {
    let pg = Postgres::start().unwrap();
    let proxy = by_password(&pg);
    let (attacker, other) = ([127, 0, 0, 2], [127, 0, 0, 1]);
    let began = Instant::now();
    let mut failing: Vec<Raw> = (0..8).map(|_| tries(attacker, &proxy, "wrong")).collect();
    // The same user from another address, and from the very same.
    for source in [other, attacker] {
        let mut good = tries(source, &proxy, "right");
        assert_eq!(good.until_ready().last().unwrap().0, b'Z');
    }
    assert!(!is_answered(failing.last().unwrap()), "the good ones were served before it");
    for raw in &mut failing {
        let (tag, body) = raw.next().unwrap();
        assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "28P01"));
    }
    assert!(began.elapsed() >= WAIT_MIN * 16, "the eighth waits longest");
    let failed = r#"stent_disconnects_total{side="client",cause="login_failed"} 8"#;
    let page = proxy.get("/metrics").1;
    assert!(page.contains(failed), "{page}");
}

/// More than the places that an address has: it uses up its own and nobody else's.
#[test]
fn an_address_that_fails_a_hundred_times_leaves_others_their_places() {
    let pg = Postgres::start().unwrap();
    let proxy = by_password(&pg);
    let failing: Vec<Raw> = (0..100)
        .map(|_| {
            let mut raw = from([127, 0, 0, 2], &proxy);
            raw.send(&startup(&[("user", "postgres"), ("database", "postgres")]));
            raw.send(&message(b'p', b"wrong\0"));
            raw
        })
        .collect();
    let mut good = tries([127, 0, 0, 1], &proxy, "right");
    assert_eq!(good.until_ready().last().unwrap().0, b'Z');
    assert!(failing.iter().filter(|raw| !is_answered(raw)).count() > 0);
}

#[tokio::test]
async fn a_client_that_hangs_up_when_it_is_asked_has_not_failed() {
    let pg = Postgres::start().unwrap();
    let proxy = by_password(&pg);
    for _ in 0..20 {
        let mut raw = from([127, 0, 0, 1], &proxy);
        raw.send(&startup(&[("user", "postgres"), ("database", "postgres")]));
        assert_eq!(raw.next().unwrap().0, b'R');
    }
    let dsn = format!("{} password=wrong", proxy.dsn("postgres", "postgres"));
    assert_eq!(code(&proxy.connect(&dsn).await.err().unwrap()), "28P01");
    let page = proxy.get("/metrics").1;
    assert!(page.contains(r#"stent_disconnects_total{side="client",cause="login_failed"} 1"#));
}
