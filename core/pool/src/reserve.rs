//! The reserve: servers beyond `pool_size`, for those who have waited for too long.
//!
//! Each waiter older than `reserve_pool_timeout` that nothing under way will serve may have one more
//! server opened, up to `reserve_pool_size` of them and below every other cap. Refused: telling
//! servers of the reserve from others; which one goes when there is one too many is of no interest.
//! Invariant: beyond `pool_size` nothing is opened while nobody has waited that long, and nothing is
//! kept once nobody waits.

use std::time::Instant;

use crate::id::PoolId;
use crate::pools::{Kind, Pools};

impl Pools {
    /// The most servers of a pool, those of its reserve included.
    pub(crate) fn size_with_reserve(&self, pool: PoolId) -> u32 {
        match self.at(pool).kind {
            Kind::Lending => self.size(pool).saturating_add(self.limits.reserve_pool_size),
            Kind::Listening => self.size(pool),
        }
    }

    /// Whether a pool with so many servers, more than its size, needs them all the same.
    pub(crate) fn needs_reserve(&self, pool: PoolId, staying: u32) -> bool {
        self.waiters.count(pool) > 0 && staying <= self.size_with_reserve(pool)
    }

    /// How many servers of the reserve the pool would open now, were it not for the pause after a
    /// failure. Where time alone will make it one, a retry is put down.
    pub(crate) fn reserve_left(&mut self, pool: PoolId, now: Instant) -> u32 {
        let places = self.size_with_reserve(pool).saturating_sub(self.slots.total(pool));
        let Some(timeout) = self.limits.reserve_pool_timeout.filter(|_| places > 0) else {
            return 0;
        };
        let ahead = self.under_way(pool);
        let mut left = 0;
        for waiter in self.waiters.walk(pool).skip(ahead as usize).take(places as usize) {
            match waiter.place.since.checked_add(timeout) {
                Some(due) if due <= now => left += 1,
                Some(due) => {
                    if left == 0 {
                        self.retries.set(pool.0, due);
                    }
                    break;
                }
                None => break,
            }
        }
        assert!(left <= places, "reserve_pool_size is kept");
        left
    }
}
