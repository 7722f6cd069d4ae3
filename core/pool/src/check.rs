//! The invariants of the whole, asserted: what must hold between any two events.
//!
//! Invariant: checking changes nothing. It is linear, so debug builds run it after each event only
//! while there are few servers and waiters, and release builds never.

use std::num::NonZeroU32;

use crate::backoff::Backoff;
use crate::id::PoolId;
use crate::pools::Pools;
use crate::slots::State;

impl Pools {
    /// Panics, naming the broken rule, if the state is not as it must be between two events.
    pub fn check(&self) {
        self.slots.check();
        self.waiters.check();
        self.retries.check();
        for pool in self.all_pools() {
            self.check_pool(pool);
        }
        for number in (0..).take(self.databases.len()) {
            self.check_database(number);
        }
        for (pools, user) in self.users.iter().zip(0..) {
            let waiting = pools.iter().map(|&pool| self.waiters.count(pool)).sum();
            assert_eq!(self.slots.users.of(user).waiting, waiting, "a user's waiters are counted");
        }
        self.check_whole();
        self.check_tallies();
    }

    fn check_pool(&self, number: PoolId) {
        let pool = self.at(number);
        let limits = &self.limits;
        let count = |state| self.slots.count(number, state);
        let (waiting, unserved) = (self.waiters.count(number), self.unserved(number));
        assert!(
            !self.is_pool_crowded(number) || count(State::Idle) == 0,
            "above a pool_size that was lowered nothing is kept"
        );
        assert!(
            count(State::Idle) == 0 || waiting <= count(State::Tested),
            "nobody waits beside an idle server, unless one is being probed for him"
        );
        assert!(pool.hunger <= unserved, "hunger is for the unserved");
        assert!(pool.hunger <= self.room_of_user(number), "and for those within the user's cap");
        assert!(
            !self.is_user_crowded(number) || self.slots.users.of(pool.owner).idle == 0,
            "above a max_user_connections that was lowered nothing is kept"
        );
        let no_room = self.room_of_user(number) == 0;
        let retry = self.retries.key(number.0);
        if self.is_paused(number) {
            assert_eq!(retry, None, "a paused pool tries nothing");
            assert_eq!(pool.hunger, 0, "a paused pool wants nothing");
            assert_eq!(count(State::Idle), 0, "a paused pool keeps nothing");
            return;
        }
        match pool.backoff {
            Backoff::Well if self.outage.failures() == 0 && retry.is_none() => {
                let full = no_room
                    || self.slots.total(number) >= self.size(number)
                    || count(State::Opening) >= limits.opening_max;
                assert!(unserved == 0 || pool.hunger > 0 || full, "the unserved have a reason");
            }
            Backoff::Well | Backoff::Failing { .. } => {
                let stuck = no_room
                    || self.slots.total(number) >= self.size(number)
                    || count(State::Opening) >= limits.opening_max;
                assert!(
                    unserved == 0 || pool.hunger > 0 || retry.is_some() || stuck,
                    "the unserved of a pool that must pause have a retry ahead"
                );
            }
        }
    }

    fn check_whole(&self) {
        self.hungry.check();
        let wanted: u32 = self.databases.iter().map(|database| database.wanted).sum();
        assert_eq!(wanted, self.wanted, "what databases want is summed up");
        assert!(wanted == 0 || !self.has_room_over_all(), "nobody is hungry beside free room");
        let idle = self.slots.all_idle_longest();
        assert!(
            !self.is_crowded_over_all() || idle.is_none(),
            "above a max_server_connections that was lowered nothing is kept"
        );
        let enough = self.slots.all_closing() >= wanted;
        assert!(enough || idle.is_none(), "no idle server is kept from the hungry");
    }

    fn check_database(&self, number: u32) {
        let database = &self.databases[number as usize];
        database.hungry.check();
        assert!(
            !self.is_database_crowded(number) || self.slots.database_idle_longest(number).is_none(),
            "above a max_db_connections that was lowered nothing is kept"
        );
        let mut hunger = 0;
        for (&pool, member) in database.members.iter().zip(0..) {
            let own = self.at(pool).hunger;
            assert_eq!(self.at(pool).member, member, "a member knows its place");
            let first = (own > 0).then(|| self.waiters.nth(pool, self.under_way(pool)));
            let first = first.flatten().map(|waiter| waiter.place);
            assert_eq!(database.hungry.key(member), first, "the hungry queue by first unserved");
            hunger += own;
        }
        assert_eq!(hunger, database.hunger, "hunger is summed up");
        let most = self.limits.max_db_connections.map_or(u32::MAX, NonZeroU32::get);
        let left = most.saturating_sub(self.slots.database_total(number));
        assert_eq!(database.wanted, hunger.min(left), "what fits below its cap is wanted");
        let first = database.hungry.first().filter(|_| database.wanted > 0);
        assert_eq!(self.hungry.key(number), first.map(|(place, _)| place), "hungry databases");
        assert!(hunger == 0 || !self.has_room(number), "nobody is hungry beside free room");
        assert!(
            self.slots.database_closing(number) >= self.unfit(number)
                || self.slots.database_idle_longest(number).is_none(),
            "no idle server is kept from the hungry"
        );
    }
}
