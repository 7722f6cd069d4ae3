//! A TCP proxy that misbehaves on command: the network between two programs of a test.
//!
//! Owns: one listener, the connections through it, the thread that serves them. Refuses: knowledge of
//! what passes by; it counts bytes and no messages.
//! Invariant: bytes that pass, pass in order and once; a fault holds or ends a connection and never
//! changes what it carries. A connection has one chunk a direction in memory, whatever the fault.
//!
//! What it cannot do: the kernel answers a connect before the proxy sees it, and acknowledges bytes
//! that the proxy holds. Under [`Fault::BlackHole`] a connect succeeds and nothing follows, and
//! `TCP_USER_TIMEOUT` of the peers never fires.

mod engine;
mod pump;

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::port::free_port;

/// What happens to connections. The *client* is who connects, the *server* is the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Each chunk, in either direction, passes so much later.
    Delay(Duration),
    /// What the server says does not reach the client; what the client says passes.
    Stall,
    /// Nothing passes, new connections get no answer, and nobody is told: a silent partition. What
    /// was held passes when it ends, as TCP's retransmissions would.
    BlackHole,
    /// The client sees the end of the server's bytes; its own still pass.
    HalfClose,
    /// Open connections and new ones are ended by RST, in both directions.
    Reset,
    /// Connections end (FIN) after so many more bytes to the client, within a message or not.
    Truncate(u64),
    /// So many bytes at a time, one such piece an interval, in both directions.
    Drip(usize, Duration),
    /// Bytes a second and direction.
    Bandwidth(u32),
    /// Nothing listens; open connections live on.
    Refuse,
}

/// What the connections look at.
#[derive(Clone, Copy, Debug)]
struct State {
    fault: Fault,
    target: SocketAddr,
    /// Connections that are older than this were told to end by RST.
    resets: u64,
    over: Over,
}

/// How many connections there are and were.
#[derive(Clone, Copy, Debug, Default)]
struct Connections {
    open: usize,
    accepted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    No,
    Yes,
}

/// A running one; dropping it ends its connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    open: watch::Receiver<Connections>,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Listens on a port of 127.0.0.1 in front of a target, without a fault.
    pub fn start(target: SocketAddr) -> Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], free_port()?)), target)
    }

    /// Listens on an address of one's own choice.
    pub fn start_at(address: SocketAddr, target: SocketAddr) -> Result<Self> {
        Self::start_on(std::net::TcpListener::bind(address).context("listen")?, target)
    }

    /// Goes on with a socket that listens: one of another network namespace, say.
    pub fn start_on(listener: std::net::TcpListener, target: SocketAddr) -> Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let state = State { fault: Fault::None, target, resets: 0, over: Over::No };
        let (state, seen) = watch::channel(state);
        let (count, open) = watch::channel(Connections::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(async { TcpListener::from_std(listener) })?;
        let thread = std::thread::Builder::new()
            .name("fault-proxy".to_owned())
            .spawn(move || runtime.block_on(engine::serve(listener, address, seen, &count)))?;
        Ok(Self { address, state, open, thread: Some(thread) })
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are open at this moment.
    pub fn connections(&self) -> usize {
        self.open.borrow().open
    }

    /// Connections that were made since the start.
    pub fn accepted(&self) -> u64 {
        self.open.borrow().accepted
    }

    /// Puts a fault in force, for open connections and new ones; [`Fault::None`] lifts it.
    pub fn set(&self, fault: Fault) {
        self.state.send_modify(|state| state.fault = fault);
    }

    /// Ends the open connections by RST; new ones are served.
    pub fn reset_all(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }

    /// New connections go elsewhere; open ones stay where they are.
    pub fn aim(&self, target: SocketAddr) {
        self.state.send_modify(|state| state.target = target);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.state.send_modify(|state| state.over = Over::Yes);
        if let Some(thread) = self.thread.take() {
            // A panic there has failed the test by what it no longer did.
            let _ = thread.join();
        }
    }
}
