//! Connections that never show who they are are counted, beside those of clients.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use stent_testkit::Postgres;

use super::console::rows;
use super::support::{Proxy, until};

fn strangers(proxy: &Proxy, cause: &str) -> u64 {
    let (_, page) = proxy.get("/metrics");
    let sample = format!("stent_strangers_total{{cause=\"{cause}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&sample));
    value.unwrap_or_else(|| panic!("no {sample} in {page}")).parse().unwrap()
}

fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(("127.0.0.1", proxy.port)).unwrap()
}

#[tokio::test]
async fn a_load_balancers_look_at_the_port_is_counted_and_is_no_client() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| config.console_users = vec!["ops".to_owned()]);
    drop(connect(&proxy));
    // An RST in place of a FIN.
    let reset = connect(&proxy);
    rustix::net::sockopt::set_socket_linger(&reset, Some(Duration::ZERO)).unwrap();
    drop(reset);
    until("both to be counted", || strangers(&proxy, "silent") == 2).await;
    assert_eq!(proxy.snapshot().disconnects, [], "no end of a client");
    let console = proxy.connect(&proxy.dsn("ops", "stent")).await.unwrap();
    let shown = rows(&console, "SHOW DISCONNECTS").await;
    let silent = shown.iter().find(|row| row[1].1 == "silent").unwrap();
    assert_eq!((silent[0].1.as_str(), silent[2].1.as_str()), ("stranger", "2"));
}

#[tokio::test]
async fn who_asks_for_encryption_and_says_no_more_is_told_from_who_says_nothing() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut socket = connect(&proxy);
    socket.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").unwrap();
    let mut answer = [0];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"N");
    socket.shutdown(Shutdown::Both).unwrap();
    until("it to be counted", || strangers(&proxy, "encryption") == 1).await;
    assert_eq!(strangers(&proxy, "silent"), 0);
    assert_eq!(strangers(&proxy, "turned_away"), 0);
}
