//! What a fleet leaves to this proxy: a cap of all servers that changes while everything runs.
//!
//! Owns: what follows from such a change. Refuses: where the number comes from ([`crate::fleet`]),
//! and cutting anybody: a server that is lent stays lent.
//! Invariant: above the allowance no server is opened, none is idle, and none is kept that comes
//! back.

use std::num::NonZeroU32;
use std::time::Instant;

use crate::event::Decision;
use crate::id::PoolId;
use crate::pools::Pools;
use crate::slots::State;

impl Pools {
    /// Changes how many servers there may be in all, in whatever state, beside what the limits say;
    /// `None`: as many as they like. What is to be done at once is appended to `out`.
    pub fn allow(&mut self, most: Option<u32>, now: Instant, out: &mut Vec<Decision>) {
        if self.allowance == most {
            return;
        }
        let now = self.begin(now);
        self.allowance = most;
        self.shed_over_all(now, out);
        self.replenish_all(now, out);
        self.make_room_for_users(now, out);
        self.end();
    }

    /// The most servers of all pools: `max_server_connections` or the allowance, whichever is less.
    pub(crate) fn cap_over_all(&self) -> Option<usize> {
        let set = self.limits.max_server_connections.map(NonZeroU32::get);
        [set, self.allowance].into_iter().flatten().min().map(|most| most as usize)
    }

    /// Servers of all pools, in whatever state.
    pub fn held(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// How many servers all pools could do with at this moment: those in use and one for each
    /// waiter, as far as the sizes of the pools go.
    pub fn demand(&self) -> u32 {
        let of = |pool: PoolId| {
            let used = self.slots.count(pool, State::Lent).saturating_add(self.waiters.count(pool));
            // Beyond its size what it has of the reserve, or would open at once.
            let reserve = self.slots.total(pool).saturating_add(self.at(pool).hunger);
            used.min(self.size(pool).max(reserve))
        };
        let most = self.limits.max_user_connections.map_or(u32::MAX, NonZeroU32::get);
        let of_user = |pools: &Vec<PoolId>| {
            let own = pools.iter().map(|&pool| of(pool)).fold(0, u32::saturating_add);
            own.min(most)
        };
        self.users.iter().map(of_user).fold(0, u32::saturating_add)
    }
}
