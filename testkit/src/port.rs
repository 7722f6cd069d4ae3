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

/// A port of 127.0.0.1 on which nothing listens at this moment.
///
/// Another process may ask at the same time and get the same one; with 17,000 to choose from that is
/// rare, but who can retry on "address in use" should.
pub fn free_port() -> Result<u16> {
    for _ in 0..TRIES {
        let port = fastrand::u16(RANGE);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("found no free port in {RANGE:?} after {TRIES} tries")
}
