//! Counters and distributions of one pool, written by sessions and read by the console.
//!
//! Owns: a set of counters for each worker, and adding them up.
//! Invariant: a worker writes its own set only, so that counting is an addition and no two workers
//! write to one line of a processor's cache.

use std::num::NonZeroU16;
use std::sync::Arc;

use stent_contract::metric::{CONNECT_BUCKETS, LATENCY_BUCKETS};

use crate::histogram::Histogram;
use crate::pins::Pins;
use crate::shared::{Lock, Tally};
use crate::workers;

/// What one worker has counted of a pool.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct PoolStats {
    /// Transactions finished.
    pub(crate) transactions: Tally,
    /// ReadyForQuery passed on.
    pub(crate) queries: Tally,
    /// Bytes from clients.
    pub(crate) received: Tally,
    /// Bytes to clients.
    pub(crate) sent: Tally,
    /// Microseconds that servers were with clients and at work for them.
    pub(crate) work_us: Tally,
    /// Microseconds that servers were with clients and in a transaction.
    pub(crate) transaction_us: Tally,
    /// Statements that clients have had parsed by name or without one, in the extended protocol.
    pub(crate) client_parses: Tally,
    /// Those that PostgreSQL has parsed for it.
    pub(crate) server_parses: Tally,
    /// Statements that clients have bound.
    pub(crate) binds: Tally,
    /// Clients that have logged in.
    pub(crate) logins: Tally,
    /// From the request to the server.
    pub(crate) wait: Histogram,
    /// From the server to its return.
    pub(crate) hold: Histogram,
    /// Opening a server.
    pub(crate) create: Histogram,
    /// Servers that had to stay with their clients: of all workers, for that is rare.
    pub(crate) pins: Arc<Lock<Pins>>,
}

/// What all workers have counted of a pool.
#[derive(Debug)]
pub(crate) struct Stats {
    /// By worker.
    sets: Box<[Arc<PoolStats>]>,
    /// Servers that had to stay with their clients.
    pub(crate) pins: Arc<Lock<Pins>>,
}

impl PoolStats {
    /// A client's message about a statement or portal goes its way.
    pub(crate) fn count_named(&self, tag: u8) {
        match tag {
            b'P' => add(&self.client_parses, 1),
            b'B' => add(&self.binds, 1),
            _ => {}
        }
    }

    fn new(pins: &Arc<Lock<Pins>>) -> Self {
        Self {
            transactions: Tally::new(),
            queries: Tally::new(),
            received: Tally::new(),
            sent: Tally::new(),
            work_us: Tally::new(),
            transaction_us: Tally::new(),
            client_parses: Tally::new(),
            server_parses: Tally::new(),
            binds: Tally::new(),
            logins: Tally::new(),
            wait: Histogram::new(LATENCY_BUCKETS),
            hold: Histogram::new(LATENCY_BUCKETS),
            create: Histogram::new(CONNECT_BUCKETS),
            pins: Arc::clone(pins),
        }
    }
}

impl Stats {
    /// All zero.
    pub(crate) fn new(workers: NonZeroU16) -> Self {
        let pins = Arc::default();
        let sets = (0..workers.get()).map(|_| Arc::new(PoolStats::new(&pins))).collect();
        Self { sets, pins }
    }

    /// The present worker's.
    pub(crate) fn own(&self) -> &Arc<PoolStats> {
        &self.sets[usize::from(workers::home().0)]
    }

    /// A counter of all workers together.
    pub(crate) fn sum(&self, pick: fn(&PoolStats) -> &Tally) -> u64 {
        self.sets.iter().map(|set| pick(set).get()).fold(0, u64::wrapping_add)
    }

    /// A distribution of all workers together.
    pub(crate) fn distribution(
        &self,
        bounds: &'static [f64],
        pick: fn(&PoolStats) -> &Histogram,
    ) -> Histogram {
        Histogram::sum(bounds, self.sets.iter().map(|set| pick(set)))
    }
}

/// Adds to a counter.
pub(crate) fn add(counter: &Tally, n: usize) {
    counter.add(n as u64);
}
