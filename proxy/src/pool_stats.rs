//! Counters and distributions of one pool, written by sessions and read by the console.
//!
//! Invariant: one thread; counting is an addition.

use std::cell::{Cell, RefCell};

use stent_contract::metric::{CONNECT_BUCKETS, LATENCY_BUCKETS};

use crate::histogram::Histogram;
use crate::pins::Pins;

/// Counters and distributions of one pool.
#[derive(Debug)]
pub(crate) struct PoolStats {
    /// Transactions finished.
    pub(crate) transactions: Cell<u64>,
    /// ReadyForQuery passed on.
    pub(crate) queries: Cell<u64>,
    /// Bytes from clients.
    pub(crate) received: Cell<u64>,
    /// Bytes to clients.
    pub(crate) sent: Cell<u64>,
    /// From the request to the server.
    pub(crate) wait: Histogram,
    /// From the server to its return.
    pub(crate) hold: Histogram,
    /// Opening a server.
    pub(crate) create: Histogram,
    /// Servers that had to stay with their clients.
    pub(crate) pins: RefCell<Pins>,
}

impl PoolStats {
    /// All zero.
    pub(crate) fn new() -> Self {
        Self {
            transactions: Cell::new(0),
            queries: Cell::new(0),
            received: Cell::new(0),
            sent: Cell::new(0),
            wait: Histogram::new(LATENCY_BUCKETS),
            hold: Histogram::new(LATENCY_BUCKETS),
            create: Histogram::new(CONNECT_BUCKETS),
            pins: RefCell::default(),
        }
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &Cell<u64>, n: usize) {
    counter.set(counter.get().wrapping_add(n as u64));
}
