//! Counters and distributions of one pool, written by sessions and read by the console.
//!
//! Invariant: one thread writes; counting is an addition.

use stent_contract::metric::{CONNECT_BUCKETS, LATENCY_BUCKETS};

use crate::histogram::Histogram;
use crate::pins::Pins;
use crate::shared::{Lock, Tally};

/// Counters and distributions of one pool.
#[derive(Debug)]
pub(crate) struct PoolStats {
    /// Transactions finished.
    pub(crate) transactions: Tally,
    /// ReadyForQuery passed on.
    pub(crate) queries: Tally,
    /// Bytes from clients.
    pub(crate) received: Tally,
    /// Bytes to clients.
    pub(crate) sent: Tally,
    /// From the request to the server.
    pub(crate) wait: Histogram,
    /// From the server to its return.
    pub(crate) hold: Histogram,
    /// Opening a server.
    pub(crate) create: Histogram,
    /// Servers that had to stay with their clients.
    pub(crate) pins: Lock<Pins>,
}

impl PoolStats {
    /// All zero.
    pub(crate) fn new() -> Self {
        Self {
            transactions: Tally::new(),
            queries: Tally::new(),
            received: Tally::new(),
            sent: Tally::new(),
            wait: Histogram::new(LATENCY_BUCKETS),
            hold: Histogram::new(LATENCY_BUCKETS),
            create: Histogram::new(CONNECT_BUCKETS),
            pins: Lock::default(),
        }
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &Tally, n: usize) {
    counter.add(n as u64);
}
