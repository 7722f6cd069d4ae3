//! Room under `max_db_connections`: which pool of a database gets the next connection.
//!
//! A pool whose wish is checked by nothing but this cap is hungry. Free room goes to the hungry
//! pool whose first unserved waiter came first. Where there is none, idle servers of other pools
//! are closed, the longest idle first; where none is idle, a released one changes pools as soon as
//! another pool's waiter is far enough ahead of its own ([`SWITCH_MARGIN`]).
//!
//! Invariant: a database with a hungry pool has no room and no idle server beyond those being
//! closed already.

use std::time::Instant;

use crate::event::{CloseCause, Decision};
use crate::id::PoolId;
use crate::limits::SWITCH_MARGIN;
use crate::pools::Pools;
use crate::slots::State;

impl Pools {
    /// Brings a pool's hunger up to date with its waiters and servers.
    pub(crate) fn rate_hunger(&mut self, pool: PoolId, now: Instant) {
        let hunger = self.appetite(pool, now);
        let first = (hunger > 0).then(|| {
            let first = self.waiters.nth(pool, self.under_way(pool));
            first.expect("a hungry pool has an unserved waiter").place
        });
        let Self { pools, databases, .. } = self;
        let rated = &mut pools[pool.index()];
        let database = &mut databases[rated.database as usize];
        database.hunger = database.hunger - rated.hunger + hunger;
        rated.hunger = hunger;
        match first {
            Some(place) => database.hungry.set(rated.member, place),
            None => database.hungry.remove(rated.member),
        }
    }

    /// The same, after waiters have left: cheap for a pool that is not hungry.
    pub(crate) fn appease(&mut self, pool: PoolId, now: Instant) {
        if self.at(pool).hunger > 0 {
            self.rate_hunger(pool, now);
        }
    }

    /// Opens servers for hungry pools while there is room.
    pub(crate) fn share_room(&mut self, database: u32, now: Instant, out: &mut Vec<Decision>) {
        while self.has_room(database)
            && let Some((_, member)) = self.databases[database as usize].hungry.first()
        {
            let pool = self.databases[database as usize].members[member as usize];
            self.open(pool, now, out);
            self.rate_hunger(pool, now);
        }
    }

    /// Closes idle servers for hungry pools until enough are being closed.
    pub(crate) fn make_room(&mut self, database: u32, now: Instant, out: &mut Vec<Decision>) {
        while self.slots.database_closing(database) < self.databases[database as usize].hunger
            && let Some(at) = self.slots.database_idle_longest(database)
        {
            let owner = self.slots.get(at).pool;
            assert_eq!(self.at(owner).hunger, 0, "a hungry pool has lent what it has");
            self.close(at, CloseCause::MakeRoom, now, out);
        }
    }

    pub(crate) fn has_room(&self, database: u32) -> bool {
        let total = self.slots.database_total(database);
        self.limits.max_db_connections.is_none_or(|most| total < most.get())
    }

    /// Whether a server that a pool gives back should become another pool's, although somebody
    /// may be waiting for it here.
    pub(crate) fn is_owed_elsewhere(&self, pool: PoolId) -> bool {
        let number = self.at(pool).database;
        let database = &self.databases[number as usize];
        let Some((theirs, member)) = database.hungry.first() else { return false };
        let hungriest = database.members[member as usize];
        let Some(own) = self.waiters.first(pool) else {
            return false; // It comes to rest, and `make_room` finds it.
        };
        let ahead = own.place.since.saturating_duration_since(theirs.since);
        // One at a time: what is being closed or opened for them may bring them level already.
        let moving =
            self.slots.database_closing(number) + self.slots.count(hungriest, State::Opening);
        ahead > SWITCH_MARGIN && moving == 0
    }
}
