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
        for number in (0..).take(self.pools.len()) {
            self.check_pool(PoolId(number));
        }
        for number in (0..).take(self.databases.len()) {
            self.check_database(number);
        }
        self.check_whole();
    }

    fn check_pool(&self, number: PoolId) {
        let pool = self.at(number);
        let limits = &self.limits;
        let count = |state| self.slots.count(number, state);
        let (waiting, unserved) = (self.waiters.count(number), self.unserved(number));
        assert!(self.slots.total(number) <= self.size(number), "pool_size is kept");
        assert!(count(State::Opening) <= limits.opening_max, "opening_max is kept");
        assert!(waiting <= limits.waiters_max, "waiters_max is kept");
        assert!(
            count(State::Idle) == 0 || waiting <= count(State::Tested),
            "nobody waits beside an idle server, unless one is being probed for him"
        );
        assert!(pool.hunger <= unserved, "hunger is for the unserved");
        let retry = self.retries.key(number.0);
        match pool.backoff {
            Backoff::Well if self.outage.failures() == 0 && retry.is_none() => {
                let full = self.slots.total(number) >= self.size(number)
                    || count(State::Opening) >= limits.opening_max;
                assert!(unserved == 0 || pool.hunger > 0 || full, "the unserved have a reason");
            }
            Backoff::Well | Backoff::Failing { .. } => {
                let stuck = self.slots.total(number) >= self.size(number)
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
        let most =
            self.limits.max_server_connections.map_or(usize::MAX, |most| most.get() as usize);
        assert!(self.slots.len() <= most, "max_server_connections is kept");
        let wanted: u32 = self.databases.iter().map(|database| database.wanted).sum();
        assert_eq!(wanted, self.wanted, "what databases want is summed up");
        assert!(wanted == 0 || !self.has_room_over_all(), "nobody is hungry beside free room");
        let idle = self.slots.all_idle_longest();
        let enough = self.slots.all_closing() >= wanted;
        assert!(enough || idle.is_none(), "no idle server is kept from the hungry");
    }

    fn check_database(&self, number: u32) {
        let database = &self.databases[number as usize];
        database.hungry.check();
        let total = self.slots.database_total(number);
        let most = self.limits.max_db_connections;
        assert!(most.is_none_or(|most| total <= most.get()), "max_db_connections is kept");
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
        let most = most.map_or(u32::MAX, NonZeroU32::get);
        assert_eq!(database.wanted, hunger.min(most - total), "what fits below its cap is wanted");
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
