//! Counting a pool: what `SHOW POOLS`, the metrics and the snapshot are made of.
//!
//! Invariant: counting changes nothing and costs the same however many servers and waiters exist.

use std::time::{Duration, Instant};

use crate::id::{PoolId, WaiterId};
use crate::pools::Pools;
use crate::slots::State;

/// A pool at one moment. The five states of a server are disjoint; their sum is bounded by
/// `size_max` and the reserve, unless they have just been lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// Servers that can be lent at once, or after a probe.
    pub idle: u32,
    /// Servers held by clients.
    pub lent: u32,
    /// Servers being probed.
    pub tested: u32,
    /// Servers being opened.
    pub opening: u32,
    /// Servers whose socket is being closed.
    pub closing: u32,
    /// Clients queued.
    pub waiting: u32,
    /// How long the first of them has waited; zero where nobody waits.
    pub maxwait: Duration,
    /// `pool_size`; the reserve is beside it.
    pub size_max: u32,
    /// Whether a login has ever succeeded.
    pub ever_opened: bool,
    /// Attempts to open that failed since the last one that succeeded (attempts made together
    /// count once).
    pub open_failures_in_a_row: u32,
    /// Counters since the start.
    pub totals: Totals,
}

/// Counters of a pool since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests granted.
    pub checkouts: u64,
    /// Time that granted and refused clients spent queued.
    pub waited: Duration,
    /// Clients refused because `query_wait_timeout` had passed.
    pub wait_timeouts: u64,
    /// Clients refused because no server could be opened.
    pub refused_open_failed: u64,
    /// Clients refused because the queue was full.
    pub refused_queue_full: u64,
    /// Clients refused because they would have waited for longer than `query_wait_timeout`.
    pub refused_overloaded: u64,
    /// Clients that left the queue by themselves.
    pub withdrawn: u64,
    /// Logins that succeeded.
    pub opened: u64,
    /// Attempts to open that failed.
    pub open_failed: u64,
    /// Servers closed after they had been open.
    pub closed: u64,
}

impl Pools {
    /// The places of waiters, over all pools: how many are taken and free, and their memory in bytes.
    pub fn waiting_room(&self) -> (usize, usize, usize) {
        let (free, len) = self.waiters.room();
        (self.waiters.len(), free, len)
    }

    /// When a client that waits has asked; `None` where it does not wait.
    pub fn asked_at(&self, waiter: WaiterId) -> Option<Instant> {
        self.waiters.asked_at(waiter)
    }

    /// Frees the places of waiters and servers that were there at a peak, as far as nobody has a later
    /// one. To be called now and then; nothing that can be seen changes but the memory.
    pub fn give_back(&mut self) {
        self.waiters.give_back();
        self.slots.give_back();
    }

    /// Counts one pool.
    pub fn census(&self, pool: PoolId, now: Instant) -> Census {
        let count = |state| self.slots.count(pool, state);
        let first = self.waiters.first(pool);
        let counted = self.at(pool);
        Census {
            idle: count(State::Idle),
            lent: count(State::Lent),
            tested: count(State::Tested),
            opening: count(State::Opening),
            closing: count(State::Closing),
            waiting: self.waiters.count(pool),
            maxwait: first
                .map_or(Duration::ZERO, |first| now.saturating_duration_since(first.asked)),
            size_max: self.size(pool),
            ever_opened: counted.totals.opened > 0,
            open_failures_in_a_row: counted.backoff.failures(),
            totals: counted.totals,
        }
    }
}
