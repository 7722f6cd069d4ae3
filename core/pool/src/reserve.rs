//! The reserve: servers beyond `pool_size`, for those who have waited for too long.
//!
//! Each waiter older than `reserve_pool_timeout` that nothing under way will serve may have one more
//! server opened, up to `reserve_pool_size` of them and below every other cap. Refused: telling
//! servers of the reserve from others; which one goes when there is one too many is of no interest.
//! Invariant: beyond `pool_size` nothing is opened while nobody has waited that long, and nothing is
//! kept once nobody waits whom a probe will not serve.

use std::time::Instant;

use crate::event::CloseCause;
use crate::id::PoolId;
use crate::pools::{Kind, Pools};
use crate::slots::{Slot, State};

impl Pools {
    /// The most servers of a pool, those of its reserve included.
    pub(crate) fn size_with_reserve(&self, pool: PoolId) -> u32 {
        match self.at(pool).kind {
            Kind::Lending => self.size(pool).saturating_add(self.at(pool).sizes.reserve_pool_size),
            Kind::Listening => self.size(pool),
        }
    }

    /// Whether a pool with more servers than its size needs them all the same: somebody waits for
    /// whom none of so many that are `tested` is.
    pub(crate) fn needs_reserve(&self, pool: PoolId, tested: u32) -> bool {
        self.waiters.count(pool) > tested && self.staying(pool) <= self.size_with_reserve(pool)
    }

    /// Why a server that is free is one too many for its pool, if it is.
    pub(crate) fn surplus(&self, at: u32) -> Option<CloseCause> {
        let Slot { pool, state, .. } = *self.slots.get(at);
        if self.staying(pool) <= self.size(pool) {
            return None;
        }
        let tested = self.slots.count(pool, State::Tested) - u32::from(state == State::Tested);
        if self.needs_reserve(pool, tested) {
            return None;
        }
        let reserve = self.staying(pool) <= self.size_with_reserve(pool);
        Some(if reserve { CloseCause::Reserve } else { CloseCause::Shrunk })
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
                    self.retries.set(pool.0, due);
                    break;
                }
                None => break,
            }
        }
        assert!(left <= places, "reserve_pool_size is kept");
        left
    }
}
