//! Maintenance: a paused pool has no servers, and its clients wait without running out of time.
//!
//! Owns: whether a pool is paused. Refuses: knowing why, and which pools belong together beyond the
//! one that listens for another: that is the shell's.
//! Invariant: all servers of a paused pool are from before and are closed as they come back, so the
//! pool lends nothing, opens nothing and in the end holds nothing ([`Pools::is_empty`]).
//!
//! ```text
//!               Pause                          the last server is closed
//!   Working ─────────────▶ Paused, emptying ─────────────────────────────▶ Paused, empty
//!      ▲                         │ Resume                                        │ Resume
//!      └─────────────────────────┴───────────────────────────────────────────────┘
//! ```
//! Source: PgBouncer, doc/usage.md, "PAUSE".

use std::time::Instant;

use crate::backoff::Backoff;
use crate::event::{CloseCause, Decision};
use crate::id::{PoolId, ServerId, WaiterId};
use crate::pools::Pools;

/// Whether a pool works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It does.
    Working,
    /// It does nothing until it is resumed.
    Paused,
}

impl Pools {
    /// Whether a pool is paused.
    pub fn is_paused(&self, pool: PoolId) -> bool {
        match self.at(pool).standing {
            Standing::Working => false,
            Standing::Paused => true,
        }
    }

    /// Whether somebody waits for a pool that is paused.
    pub fn waits_for_resume(&self, waiter: WaiterId) -> bool {
        self.waiters.pool_of(waiter).is_some_and(|pool| self.is_paused(pool))
    }

    /// Whether a server that is there, lent for one, will be closed as soon as it comes back, for
    /// an [`crate::Event::Pause`] or [`crate::Event::RetireAll`].
    pub fn is_retired(&self, server: ServerId) -> bool {
        self.slots.find(server).is_some_and(|at| self.is_outdated(at))
    }

    /// Whether a pool has no server in whatever state, nor the one that listens for it.
    pub fn is_empty(&self, pool: PoolId) -> bool {
        self.with_listening(pool).all(|pool| self.slots.total(pool) == 0)
    }

    pub(crate) fn pause(&mut self, pool: PoolId, now: Instant, out: &mut Vec<Decision>) {
        assert!(pool.index() < self.pools.len(), "a pool is made before it is paused");
        for pool in self.with_listening(pool) {
            if self.is_paused(pool) {
                continue;
            }
            self.stand_still(pool);
            self.retire_all(pool, now, out);
        }
    }

    pub(crate) fn resume(&mut self, pool: PoolId, now: Instant, out: &mut Vec<Decision>) {
        assert!(pool.index() < self.pools.len(), "a pool is made before it is resumed");
        for pool in self.with_listening(pool) {
            if !self.is_paused(pool) {
                continue;
            }
            self.at_mut(pool).standing = Standing::Working;
            // What failed before the maintenance says nothing about the time after it.
            self.at_mut(pool).backoff = Backoff::Well;
            self.waiters.start_clock(pool, now);
            if self.waiters.count(pool) > 0 {
                self.at_mut(pool).pace.begin(now);
            }
            self.replenish(pool, now, out);
            self.end_outage(now, out);
        }
    }

    /// A pool that has just been made for another stands as that one does.
    pub(crate) fn stand_alike(&mut self, pool: PoolId, listening: PoolId) {
        assert_eq!(self.slots.total(listening), 0, "a new pool has no servers");
        if self.is_paused(pool) {
            self.stand_still(listening);
        }
    }

    /// Why a server is not kept, whatever else there is to say of it.
    pub(crate) fn reason_not_to_keep(&self, at: u32) -> Option<CloseCause> {
        if self.is_outdated(at) {
            return Some(CloseCause::Retired);
        }
        let pool = self.slots.get(at).pool;
        assert!(!self.is_paused(pool), "a paused pool has retired all servers and opens none");
        let others = self.is_database_crowded(self.at(pool).database) || self.is_crowded_over_all();
        if others || self.is_user_crowded(pool) {
            Some(CloseCause::Shrunk)
        } else {
            self.surplus(at)
        }
    }

    fn stand_still(&mut self, pool: PoolId) {
        self.at_mut(pool).standing = Standing::Paused;
        self.at_mut(pool).pace.end();
        self.retries.remove(pool.0);
        self.waiters.stop_clock(pool);
    }

    /// A pool and the one that listens for it, if there is one.
    fn with_listening(&self, pool: PoolId) -> impl Iterator<Item = PoolId> + use<> {
        std::iter::once(pool).chain(self.at(pool).listening)
    }
}
