//! Room under `max_db_connections` and `max_server_connections`: which pool gets the next
//! connection.
//!
//! A pool whose wish is checked by nothing but these caps is hungry; a database whose hungry pools
//! fit below its own cap is hungry in turn. Free room goes to the hungry pool whose first unserved
//! waiter came first. Where there is none, idle servers of other pools are closed, the longest idle
//! first; where none is idle, a released one changes pools as soon as another pool's waiter is far
//! enough ahead of its own ([`SWITCH_MARGIN`]).
//!
//! Invariant: beside a hungry pool there is no room, and no idle server that would make it, beyond
//! those being closed already.

use std::num::NonZeroU32;
use std::time::Instant;

use crate::event::{CloseCause, Decision};
use crate::id::PoolId;
use crate::limits::SWITCH_MARGIN;
use crate::pools::Pools;
use crate::slots::State;
use crate::waiters::Place;

/// A cap over several pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// [`crate::Limits::max_user_connections`].
    User,
    /// [`crate::Limits::max_db_connections`].
    Database,
    /// [`crate::Limits::max_server_connections`], or what [`Pools::allow`] says.
    All,
}

impl Pools {
    /// Which cap keeps a pool from growing to its size at present; `None`: none does, or its size is
    /// reached.
    pub fn cap_reached(&self, pool: PoolId) -> Option<Cap> {
        if self.slots.total(pool) >= self.size(pool) {
            None
        } else if self.room_of_user(pool) == 0 {
            Some(Cap::User)
        } else if self.room_in(self.at(pool).database) == 0 {
            Some(Cap::Database)
        } else {
            (!self.has_room_over_all()).then_some(Cap::All)
        }
    }

    /// Brings a pool's hunger up to date with its waiters and servers.
    pub(crate) fn rate_hunger(&mut self, pool: PoolId, now: Instant) {
        let hunger = self.appetite(pool, now);
        self.set_hunger(pool, hunger);
    }

    fn set_hunger(&mut self, pool: PoolId, hunger: u32) {
        let first = (hunger > 0).then(|| {
            let first = self.waiters.nth(pool, self.under_way(pool));
            first.expect("a hungry pool has an unserved waiter").place
        });
        let Self { pools, databases, .. } = self;
        let rated = &mut pools[pool.index()];
        let number = rated.database;
        let database = &mut databases[number as usize];
        database.hunger = database.hunger - rated.hunger + hunger;
        rated.hunger = hunger;
        match first {
            Some(place) => database.hungry.set(rated.member, place),
            None => database.hungry.remove(rated.member),
        }
        self.rank(number);
    }

    /// The same, after waiters have left: cheap for a pool that is not hungry. Hunger that time has
    /// brought meanwhile (the reserve) is left to the tick that is due, which makes room for it.
    pub(crate) fn appease(&mut self, pool: PoolId, now: Instant) {
        let before = self.at(pool).hunger;
        if before > 0 {
            let hunger = self.appetite(pool, now).min(before);
            self.set_hunger(pool, hunger);
        }
    }

    /// Brings a database's place among the hungry up to date with its pools and its own cap.
    pub(crate) fn rank(&mut self, number: u32) {
        let left = self.room_in(number);
        let database = &mut self.databases[number as usize];
        let wanted = database.hunger.min(left);
        self.wanted = self.wanted - database.wanted + wanted;
        database.wanted = wanted;
        match database.hungry.first() {
            Some((place, _)) if wanted > 0 => self.hungry.set(number, place),
            Some(_) | None => self.hungry.remove(number),
        }
    }

    /// Opens servers for hungry pools while there is room, after room or hunger of a database has
    /// changed.
    pub(crate) fn share_room(&mut self, database: u32, now: Instant, out: &mut Vec<Decision>) {
        self.rank(database);
        while self.has_room_over_all()
            && let Some((_, pool)) = self.hungriest()
        {
            // Another pool's attempt may have ended the permission to try.
            self.rate_hunger(pool, now);
            if self.at(pool).hunger > 0 {
                self.open(pool, now, out);
                self.rate_hunger(pool, now);
            }
        }
    }

    /// Rates all hungry pools anew: what one may do has changed for all. Linear, therefore for
    /// outages only.
    pub(crate) fn rate_all(&mut self, now: Instant) {
        for pool in self.all_pools() {
            self.appease(pool, now);
        }
    }

    /// Closes idle servers for hungry pools until enough are being closed.
    pub(crate) fn make_room(&mut self, database: u32, now: Instant, out: &mut Vec<Decision>) {
        while self.slots.database_closing(database) < self.unfit(database)
            && let Some(at) = self.slots.database_idle_longest(database)
        {
            self.close_for_the_hungry(at, now, out);
        }
        while self.slots.all_closing() < self.wanted
            && let Some(at) = self.slots.all_idle_longest()
        {
            self.close_for_the_hungry(at, now, out);
        }
    }

    /// How much of a database's hunger does not fit below its own cap.
    pub(crate) fn unfit(&self, database: u32) -> u32 {
        let database = &self.databases[database as usize];
        database.hunger - database.wanted
    }

    pub(crate) fn close_for_the_hungry(&mut self, at: u32, now: Instant, out: &mut Vec<Decision>) {
        let owner = self.slots.get(at).pool;
        assert_eq!(self.at(owner).hunger, 0, "a hungry pool has lent what it has");
        self.close(at, CloseCause::MakeRoom, now, out);
    }

    /// Whether a database may have one more server.
    pub(crate) fn has_room(&self, database: u32) -> bool {
        self.room_in(database) > 0 && self.has_room_over_all()
    }

    pub(crate) fn has_room_over_all(&self) -> bool {
        self.cap_over_all().is_none_or(|most| self.slots.len() < most)
    }

    /// How many servers fit below the database's own cap.
    pub(crate) fn room_in(&self, database: u32) -> u32 {
        let most = self.limits.max_db_connections.map_or(u32::MAX, NonZeroU32::get);
        most.saturating_sub(self.slots.database_total(database))
    }

    /// The pool that gets the next place under the cap of all, and its first unserved waiter's.
    fn hungriest(&self) -> Option<(Place, PoolId)> {
        let (_, number) = self.hungry.first()?;
        self.hungriest_of(number)
    }

    fn hungriest_of(&self, database: u32) -> Option<(Place, PoolId)> {
        let database = &self.databases[database as usize];
        let (place, member) = database.hungry.first()?;
        Some((place, database.members[member as usize]))
    }

    /// Whether a server that a pool gives back should become another pool's, although somebody
    /// may be waiting for it here.
    pub(crate) fn is_owed_elsewhere(&self, pool: PoolId) -> bool {
        let Some(own) = self.waiters.first(pool) else {
            return false; // It comes to rest, and `make_room` finds it.
        };
        let number = self.at(pool).database;
        // One at a time: what is being closed or opened for them may bring them level already.
        let owed = |(theirs, hungriest): (Place, PoolId), closing: u32| {
            let ahead = own.place.since.saturating_duration_since(theirs.since);
            let moving = closing + self.slots.count(hungriest, State::Opening);
            ahead > SWITCH_MARGIN && moving == 0
        };
        let full = self.room_in(number) == 0;
        let in_database = if full { self.hungriest_of(number) } else { None };
        let over_all = if self.has_room_over_all() { None } else { self.hungriest() };
        in_database.is_some_and(|theirs| owed(theirs, self.slots.database_closing(number)))
            || over_all.is_some_and(|theirs| owed(theirs, self.slots.all_closing()))
    }
}
