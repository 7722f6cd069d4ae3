//! The fault proxy: what passes, what does not, and what each side is told.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use stent_testkit::{Fault, FaultProxy, wait_until};

const SOON: Duration = Duration::from_secs(20);
/// Long enough to see that nothing comes; a machine under load makes it no less true.
const QUIET: Duration = Duration::from_millis(200);

/// A server of one test, a proxy before it, and a connection through both.
struct Line {
    listener: TcpListener,
    proxy: FaultProxy,
}

impl Line {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = FaultProxy::start(listener.local_addr().unwrap()).unwrap();
        Self { listener, proxy }
    }

    /// Client's end and server's end.
    fn connect(&self) -> (TcpStream, TcpStream) {
        let client = client(self.proxy.address());
        let (server, _) = self.listener.accept().unwrap();
        server.set_read_timeout(Some(SOON)).unwrap();
        (client, server)
    }
}

fn client(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    client
}

fn passes(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    let mut got = vec![0; bytes.len()];
    to.read_exact(&mut got).unwrap();
    assert_eq!(got, bytes);
}

fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(QUIET)).unwrap();
    let outcome = stream.read(&mut [0]);
    stream.set_read_timeout(Some(SOON)).unwrap();
    outcome.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

fn ends_by_reset(stream: &mut TcpStream) {
    let error = stream.read(&mut [0]).expect_err("an end without RST");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn without_a_fault_bytes_and_ends_pass_in_both_directions() {
    let line = Line::start();
    let (mut client, mut server) = line.connect();
    passes(&mut client, &mut server, b"question");
    passes(&mut server, &mut client, b"answer");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
    passes(&mut server, &mut client, b"after the end of the other side");
    drop(server);
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    wait_until("the connection to be forgotten", SOON, || line.proxy.connections() == 0).unwrap();
}

#[test]
fn a_black_hole_holds_bytes_and_new_connections_and_gives_them_back() {
    let line = Line::start();
    let (mut client, mut server) = line.connect();
    passes(&mut client, &mut server, b"before");
    line.proxy.set(Fault::BlackHole);
    client.write_all(b"held").unwrap();
    assert!(is_silent(&mut server));
    let mut late = self::client(line.proxy.address());
    late.write_all(b"late").unwrap();
    line.listener.set_nonblocking(true).unwrap();
    assert!(line.listener.accept().is_err(), "a connection came through");
    line.listener.set_nonblocking(false).unwrap();
    line.proxy.set(Fault::None);
    let mut got = [0; 4];
    server.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"held");
    let (mut late_server, _) = line.listener.accept().unwrap();
    late_server.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"late");
}

#[test]
fn a_stall_holds_only_what_the_server_says() {
    let line = Line::start();
    let (mut client, mut server) = line.connect();
    line.proxy.set(Fault::Stall);
    passes(&mut client, &mut server, b"question");
    server.write_all(b"answer").unwrap();
    assert!(is_silent(&mut client));
    line.proxy.set(Fault::None);
    let mut got = [0; 6];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"answer");
}

#[test]
fn a_reset_is_seen_as_one_on_both_sides_and_by_who_comes_next() {
    let line = Line::start();
    let (mut client, mut server) = line.connect();
    passes(&mut client, &mut server, b"before");
    line.proxy.set(Fault::Reset);
    ends_by_reset(&mut client);
    ends_by_reset(&mut server);
    ends_by_reset(&mut self::client(line.proxy.address()));
}

#[test]
fn resetting_all_spares_the_connections_that_come_after() {
    let line = Line::start();
    let (mut client, mut server) = line.connect();
    passes(&mut client, &mut server, b"before");
    line.proxy.reset_all();
    ends_by_reset(&mut client);
    let (mut client, mut server) = line.connect();
    passes(&mut client, &mut server, b"after");
}

#[test]
fn a_half_close_ends_the_servers_bytes_and_not_the_clients() {
    let line = Line::start();
    let (mut client, mut server) = line.connect();
    line.proxy.set(Fault::HalfClose);
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    passes(&mut client, &mut server, b"still here");
    // The server's writes are swallowed; it is not held up.
    server.write_all(b"nobody reads this").unwrap();
}

#[test]
fn a_truncation_cuts_within_what_was_written_at_once() {
    let line = Line::start();
    let (mut client, mut server) = line.connect();
    passes(&mut server, &mut client, b"before");
    line.proxy.set(Fault::Truncate(3));
    server.write_all(b"0123456789").unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"012");
}

#[test]
fn a_truncation_ends_with_the_last_byte_it_lets_pass() {
    let line = Line::start();
    let (mut client, mut server) = line.connect();
    line.proxy.set(Fault::Truncate(4));
    server.write_all(b"0123").unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"0123");
}

#[test]
fn drips_bandwidth_and_delays_change_no_byte() {
    let line = Line::start();
    let (mut client, mut server) = line.connect();
    let bytes: Vec<u8> = (0..60).collect();
    for fault in [
        Fault::Drip(7, Duration::from_millis(1)),
        Fault::Bandwidth(5_000),
        Fault::Delay(Duration::from_millis(5)),
    ] {
        line.proxy.set(fault);
        passes(&mut client, &mut server, &bytes);
        passes(&mut server, &mut client, &bytes);
    }
}

#[test]
fn a_drip_never_passes_more_than_its_piece_at_once() {
    let line = Line::start();
    let (mut client, mut server) = line.connect();
    line.proxy.set(Fault::Drip(2, Duration::from_secs(3_600)));
    client.write_all(b"0123456789").unwrap();
    assert!(is_silent(&mut server), "the first piece waits an interval too");
}

#[test]
fn a_refused_connection_is_refused_by_the_kernel_and_open_ones_live_on() {
    let line = Line::start();
    let (mut client, mut server) = line.connect();
    passes(&mut client, &mut server, b"before");
    line.proxy.set(Fault::Refuse);
    wait_until("a refusal", SOON, || {
        TcpStream::connect(line.proxy.address())
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
    .unwrap();
    passes(&mut client, &mut server, b"still here");
    line.proxy.set(Fault::None);
    wait_until("a listener", SOON, || TcpStream::connect(line.proxy.address()).is_ok()).unwrap();
}

#[test]
fn a_new_target_is_for_new_connections_only() {
    let line = Line::start();
    let (mut client, mut server) = line.connect();
    passes(&mut client, &mut server, b"before");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    line.proxy.aim(other.local_addr().unwrap());
    passes(&mut client, &mut server, b"still with the old one");
    let mut fresh = self::client(line.proxy.address());
    let (mut moved, _) = other.accept().unwrap();
    passes(&mut fresh, &mut moved, b"with the new one");
}

#[test]
fn dropping_it_ends_its_connections() {
    let Line { listener, proxy } = Line::start();
    let mut client = client(proxy.address());
    let (mut server, _) = listener.accept().unwrap();
    passes(&mut client, &mut server, b"before");
    drop(proxy);
    assert_eq!(client.read(&mut [0; 8]).unwrap_or(0), 0);
}
