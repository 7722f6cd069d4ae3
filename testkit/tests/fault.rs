//! The fault proxy: what passes, what does not, and what each side is told.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
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
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let proxy = FaultProxy::start(listener.local_addr()?)?;
        Ok(Self { listener, proxy })
    }

    /// Client's end and server's end.
    fn connect(&self) -> Result<(TcpStream, TcpStream)> {
        let client = client(self.proxy.address())?;
        let (server, _) = self.listener.accept()?;
        server.set_read_timeout(Some(SOON))?;
        Ok((client, server))
    }
}

fn client(address: SocketAddr) -> Result<TcpStream> {
    let client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(SOON))?;
    Ok(client)
}

fn passes(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    from.write_all(bytes)?;
    let mut got = vec![0; bytes.len()];
    to.read_exact(&mut got)?;
    ensure!(got == bytes, "{got:?} and not {bytes:?}");
    Ok(())
}

fn is_silent(stream: &mut TcpStream) -> Result<bool> {
    stream.set_read_timeout(Some(QUIET))?;
    let outcome = stream.read(&mut [0]);
    stream.set_read_timeout(Some(SOON))?;
    let waits = |kind| matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut);
    Ok(outcome.is_err_and(|error| waits(error.kind())))
}

fn ends_by_reset(stream: &mut TcpStream) -> Result<()> {
    match stream.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        other => bail!("not a reset: {other:?}"),
    }
}

#[test]
fn without_a_fault_bytes_and_ends_pass_in_both_directions() {
    let line = Line::start().unwrap();
    let (mut client, mut server) = line.connect().unwrap();
    passes(&mut client, &mut server, b"question").unwrap();
    passes(&mut server, &mut client, b"answer").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
    passes(&mut server, &mut client, b"after the end of the other side").unwrap();
    drop(server);
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    wait_until("the connection to be forgotten", SOON, || line.proxy.connections() == 0).unwrap();
}

#[test]
fn a_black_hole_holds_bytes_and_new_connections_and_gives_them_back() {
    let line = Line::start().unwrap();
    let (mut client, mut server) = line.connect().unwrap();
    passes(&mut client, &mut server, b"before").unwrap();
    line.proxy.set(Fault::BlackHole);
    client.write_all(b"held").unwrap();
    assert!(is_silent(&mut server).unwrap());
    let mut late = self::client(line.proxy.address()).unwrap();
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
    let line = Line::start().unwrap();
    let (mut client, mut server) = line.connect().unwrap();
    line.proxy.set(Fault::Stall);
    passes(&mut client, &mut server, b"question").unwrap();
    server.write_all(b"answer").unwrap();
    assert!(is_silent(&mut client).unwrap());
    line.proxy.set(Fault::None);
    let mut got = [0; 6];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"answer");
}

#[test]
fn a_reset_is_seen_as_one_on_both_sides_and_by_who_comes_next() {
    let line = Line::start().unwrap();
    let (mut client, mut server) = line.connect().unwrap();
    passes(&mut client, &mut server, b"before").unwrap();
    line.proxy.set(Fault::Reset);
    ends_by_reset(&mut client).unwrap();
    ends_by_reset(&mut server).unwrap();
    ends_by_reset(&mut self::client(line.proxy.address()).unwrap()).unwrap();
}

#[test]
fn resetting_all_spares_the_connections_that_come_after() {
    let line = Line::start().unwrap();
    let (mut client, mut server) = line.connect().unwrap();
    passes(&mut client, &mut server, b"before").unwrap();
    line.proxy.reset_all();
    ends_by_reset(&mut client).unwrap();
    let (mut client, mut server) = line.connect().unwrap();
    passes(&mut client, &mut server, b"after").unwrap();
}

#[test]
fn a_half_close_ends_the_servers_bytes_and_not_the_clients() {
    let line = Line::start().unwrap();
    let (mut client, mut server) = line.connect().unwrap();
    line.proxy.set(Fault::HalfClose);
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    passes(&mut client, &mut server, b"still here").unwrap();
    // The server's writes are swallowed; it is not held up.
    server.write_all(b"nobody reads this").unwrap();
}

#[test]
fn a_truncation_cuts_within_what_was_written_at_once() {
    let line = Line::start().unwrap();
    let (mut client, mut server) = line.connect().unwrap();
    passes(&mut server, &mut client, b"before").unwrap();
    line.proxy.set(Fault::Truncate(3));
    server.write_all(b"0123456789").unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"012");
}

#[test]
fn a_truncation_ends_with_the_last_byte_it_lets_pass() {
    let line = Line::start().unwrap();
    let (mut client, mut server) = line.connect().unwrap();
    line.proxy.set(Fault::Truncate(4));
    server.write_all(b"0123").unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"0123");
}

#[test]
fn drips_bandwidth_and_delays_change_no_byte() {
    let line = Line::start().unwrap();
    let (mut client, mut server) = line.connect().unwrap();
    let bytes: Vec<u8> = (0..60).collect();
    for fault in [
        Fault::Drip(7, Duration::from_millis(1)),
        Fault::Bandwidth(5_000),
        Fault::Delay(Duration::from_millis(5)),
    ] {
        line.proxy.set(fault);
        passes(&mut client, &mut server, &bytes).unwrap();
        passes(&mut server, &mut client, &bytes).unwrap();
    }
}

#[test]
fn a_drip_never_passes_more_than_its_piece_at_once() {
    let line = Line::start().unwrap();
    let (mut client, mut server) = line.connect().unwrap();
    line.proxy.set(Fault::Drip(2, Duration::from_secs(3_600)));
    client.write_all(b"0123456789").unwrap();
    assert!(is_silent(&mut server).unwrap(), "the first piece waits an interval too");
}

#[test]
fn a_refused_connection_is_refused_by_the_kernel_and_open_ones_live_on() {
    let line = Line::start().unwrap();
    let (mut client, mut server) = line.connect().unwrap();
    passes(&mut client, &mut server, b"before").unwrap();
    line.proxy.set(Fault::Refuse);
    wait_until("a refusal", SOON, || {
        TcpStream::connect(line.proxy.address())
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
    .unwrap();
    passes(&mut client, &mut server, b"still here").unwrap();
    line.proxy.set(Fault::None);
    wait_until("a listener", SOON, || TcpStream::connect(line.proxy.address()).is_ok()).unwrap();
}

#[test]
fn a_new_target_is_for_new_connections_only() {
    let line = Line::start().unwrap();
    let (mut client, mut server) = line.connect().unwrap();
    passes(&mut client, &mut server, b"before").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    line.proxy.aim(other.local_addr().unwrap());
    passes(&mut client, &mut server, b"still with the old one").unwrap();
    let mut fresh = self::client(line.proxy.address()).unwrap();
    let (mut moved, _) = other.accept().unwrap();
    passes(&mut fresh, &mut moved, b"with the new one").unwrap();
}

#[test]
fn dropping_it_ends_its_connections() {
    let Line { listener, proxy } = Line::start().unwrap();
    let mut client = client(proxy.address()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    passes(&mut client, &mut server, b"before").unwrap();
    drop(proxy);
    assert_eq!(client.read(&mut [0; 8]).unwrap_or(0), 0);
}
