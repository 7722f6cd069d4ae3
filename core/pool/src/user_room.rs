//! Room under `max_user_connections`: the pools of one user, over all databases.
//!
//! Owns: what a pool may still open below its user's cap, and which server goes where a user's cap
//! alone, or with others, keeps a waiter of it from having one. A pool without room below it is
//! not hungry in the sense of `room`: no other place would help it.
//! Invariant: no user has more servers than its cap, unless that was lowered; while a waiter could
//! have a server in place of an idle one of its user in another database, none is idle beyond those
//! being closed. With no such cap nothing in here costs anything, and
//! with one only users are looked at whose clients wait while servers of theirs are idle (`users`).
//!
//! A waiter counts here only where its database has room, or can have: else a server would be closed
//! for nothing, and opened again for the next who asks.

use std::num::NonZeroU32;
use std::time::Instant;

use crate::event::{CloseCause, Decision};
use crate::id::PoolId;
use crate::limits::SWITCH_MARGIN;
use crate::pools::Pools;
use crate::slots::State;
use crate::waiters::Place;

/// Those of a user whom its cap keeps from having a server opened.
struct Blocked {
    /// How many servers would be opened for them.
    servers: u32,
    /// The first of them and its pool.
    first: Option<(Place, PoolId)>,
}

impl Pools {
    /// How many servers fit below the cap of a pool's user.
    pub(crate) fn room_of_user(&self, pool: PoolId) -> u32 {
        let most = self.limits.max_user_connections.map_or(u32::MAX, NonZeroU32::get);
        most.saturating_sub(self.slots.users.of(self.at(pool).owner).total)
    }

    /// Whether a pool's user has more servers than its cap allows, not counting those being closed.
    pub(crate) fn is_user_crowded(&self, pool: PoolId) -> bool {
        let user = self.at(pool).owner;
        let staying = self.slots.users.of(user).total - self.slots.users.of(user).closing;
        self.limits.max_user_connections.is_some_and(|most| staying > most.get())
    }

    /// A server was opened: what is left for the other pools of its user is less.
    pub(crate) fn appease_user(&mut self, pool: PoolId, now: Instant) {
        if self.limits.max_user_connections.is_some() {
            for member in self.members_of_user(pool) {
                self.appease(member, now);
            }
        }
    }

    /// A server has ended: any pool of its user may have the place.
    pub(crate) fn replenish_user(&mut self, pool: PoolId, now: Instant, out: &mut Vec<Decision>) {
        if self.limits.max_user_connections.is_none() {
            return self.replenish(pool, now, out);
        }
        let members = self.members_of_user(pool);
        for &member in &members {
            self.rate_hunger(member, now);
        }
        for member in members {
            self.replenish(member, now, out);
        }
    }

    /// Closes idle servers of users whose cap is reached for their waiters in other databases.
    #[inline]
    pub(crate) fn make_room_for_users(&mut self, now: Instant, out: &mut Vec<Decision>) {
        if let Some(most) = self.limits.max_user_connections {
            self.make_room_under(most.get(), now, out);
        }
    }

    fn make_room_under(&mut self, most: u32, now: Instant, out: &mut Vec<Decision>) {
        let mut next = 0;
        while let Some(&user) = self.slots.users.torn().get(next) {
            if self.slots.users.of(user).total >= most {
                let wanted = self.blocked_by_user(user, now).servers;
                while self.slots.users.of(user).closing < wanted
                    && let Some(at) = self.user_idle_longest(user)
                {
                    self.close_for_the_hungry(at, now, out);
                }
            }
            // Without an idle server it has left the list, and another is in its place.
            next += usize::from(self.slots.users.torn().get(next) == Some(&user));
        }
    }

    /// Whether a server that a pool gives back, although somebody may be waiting for it here, should
    /// become another pool's of the same user.
    pub(crate) fn is_owed_to_user(&mut self, pool: PoolId, now: Instant) -> bool {
        if self.limits.max_user_connections.is_none() || self.room_of_user(pool) > 0 {
            return false;
        }
        let Some(own) = self.waiters.first(pool).map(|own| own.place.since) else {
            return false; // It comes to rest, and `make_room_for_users` finds it.
        };
        let user = self.at(pool).owner;
        let Some((theirs, hungriest)) = self.blocked_by_user(user, now).first else { return false };
        let moving =
            self.slots.users.of(user).closing + self.slots.count(hungriest, State::Opening);
        hungriest != pool
            && moving == 0
            && own.saturating_duration_since(theirs.since) > SWITCH_MARGIN
    }

    /// Closes idle servers of a pool's user above its cap.
    pub(crate) fn shed_user(&mut self, pool: PoolId, now: Instant, out: &mut Vec<Decision>) {
        let user = self.at(pool).owner;
        while self.is_user_crowded(pool)
            && let Some(at) = self.user_idle_longest(user)
        {
            self.close(at, CloseCause::Shrunk, now, out);
        }
    }

    fn blocked_by_user(&mut self, user: u32, now: Instant) -> Blocked {
        let mut blocked = Blocked { servers: 0, first: None };
        for at in 0..self.users[user as usize].len() {
            let pool = self.users[user as usize][at];
            let unserved = self.unserved(pool);
            if unserved == 0 || !self.can_have_room(self.at(pool).database) {
                continue;
            }
            let servers = unserved.min(self.openings_wished(pool, now));
            if servers == 0 {
                continue;
            }
            blocked.servers += servers;
            let first = self.waiters.nth(pool, self.under_way(pool));
            let first = first.map(|first| (first.place, pool));
            blocked.first = blocked.first.into_iter().chain(first).min();
        }
        blocked
    }

    /// Whether a database has room below its own cap, or will have it when somebody asks.
    fn can_have_room(&self, database: u32) -> bool {
        self.room_in(database) > 0
            || self.slots.database_closing(database) > 0
            || self.slots.database_idle_longest(database).is_some()
    }

    /// The server of a user that has been idle for longest. Walks over the user's pools.
    pub(crate) fn user_idle_longest(&self, user: u32) -> Option<u32> {
        let pools = self.users[user as usize].iter();
        let longest = pools.filter_map(|&pool| self.slots.idle_longest(pool));
        longest.min_by_key(|&at| self.slots.get(at).since)
    }

    fn members_of_user(&self, pool: PoolId) -> Vec<PoolId> {
        self.users[self.at(pool).owner as usize].clone()
    }
}
