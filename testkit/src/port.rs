//! TCP ports for things that cannot be told "any free one".
//!
//! Invariant: a port given here lies below the range from which the system takes the ports of
//! outgoing connections and of listeners on port 0, so none of those can take it in between.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use anyhow::{Result, bail};

/// Below Linux's `net.ipv4.ip_local_port_range` (32768 and up) and macOS's (49152 and up).
const RANGE: Range<u16> = 15_000..32_000;
const TRIES: usize = 200;

/// A port of 127.0.0.1 on which nothing listens at this moment, and that no other process of tests is
/// given while this one lives.
pub fn free_port() -> Result<u16> {
    for _ in 0..TRIES {
        let port = fastrand::u16(RANGE);
        if reserve(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("found no free port in {RANGE:?} after {TRIES} tries")
}

/// Reserves a port among processes of tests: whoever holds the abstract socket of its name has it.
/// Without that, two of them could be given the same port before either listens on it.
#[cfg(target_os = "linux")]
fn reserve(port: u16) -> bool {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let Ok(name) = SocketAddr::from_abstract_name(format!("stent-test-port-{port}")) else {
        return false;
    };
    // Held until the process ends.
    UnixListener::bind_addr(&name).map(std::mem::forget).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn reserve(_port: u16) -> bool {
    true
}
