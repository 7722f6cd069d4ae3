//! The state of all pools, their names, and the door through which events come in.
//!
//! What an event leads to is decided in `lend`, `open`, `room` and `recycle`; here it is only
//! told apart. Invariant: after [`Pools::handle`] everything that [`Pools::check`] asserts holds.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::backoff::Backoff;
use crate::census::Totals;
use crate::event::{Decision, Event};
use crate::heap::Heap;
use crate::id::{PoolId, ServerId};
use crate::limits::{Limits, POOLS_MAX};
use crate::pace::Pace;
use crate::pause::Standing;
use crate::seed::Seed;
use crate::sizes::Sizes;
use crate::slots::{Slots, State};
use crate::tally::Tallies;
use crate::waiters::{Place, Waiters};

/// No further pool can be created: the proxy's limit, not the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot add a pool: there are {POOLS_MAX} pairs of database and user already")]
pub struct TooManyPools;

/// All pools of one PostgreSQL server. See the crate's head.
#[derive(Debug)]
pub struct Pools {
    pub(crate) limits: Limits,
    /// What the fleet leaves to us, see [`Pools::allow`].
    pub(crate) allowance: Option<u32>,
    pub(crate) seed: Seed,
    pub(crate) pools: Vec<Pool>,
    pub(crate) databases: Vec<Database>,
    /// The pools of each user, over all databases.
    pub(crate) users: Vec<Vec<PoolId>>,
    /// The databases that want servers and have room for them under their own cap, by the first
    /// waiter that nothing under way will serve.
    pub(crate) hungry: Heap<Place>,
    /// How many servers those want: the sum of [`Database::wanted`].
    pub(crate) wanted: u32,
    pub(crate) slots: Slots,
    pub(crate) waiters: Waiters,
    pub(crate) tallies: Tallies,
    /// Pools that want a server and may not try before then.
    pub(crate) retries: Heap<Instant>,
    /// The luck with reaching PostgreSQL at all, which is one for all pools.
    pub(crate) outage: Backoff,
    /// Whether any login has ever succeeded.
    pub(crate) reached: bool,
    /// The latest sign that servers are dying: what has been idle since before is probed first.
    pub(crate) suspect_at: Option<Instant>,
    /// When idle servers are next looked over, and when they last were.
    pub(crate) sweep_at: Option<Instant>,
    pub(crate) swept_at: Option<Instant>,
    names: BTreeMap<Box<str>, u32>,
    user_names: BTreeMap<Box<str>, u32>,
    now: Option<Instant>,
    events: u64,
    misfits: u64,
}

/// The servers of one database and user.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) database: u32,
    /// The pool's place among the pools of its database.
    pub(crate) member: u32,
    user: Box<str>,
    /// The user's place in [`Pools::users`].
    pub(crate) owner: u32,
    pub(crate) kind: Kind,
    /// As the limits say for it.
    pub(crate) sizes: Sizes,
    /// The pool of its listening connection, once there is one.
    pub(crate) listening: Option<PoolId>,
    pub(crate) standing: Standing,
    /// Raised when all present servers are retired.
    pub(crate) epoch: u32,
    /// How many servers it would open now, were it not for the caps of its database and of all.
    pub(crate) hunger: u32,
    pub(crate) backoff: Backoff,
    pub(crate) minimum: Minimum,
    pub(crate) pace: Pace,
    pub(crate) totals: Totals,
}

/// What the servers of a pool are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To be lent to clients.
    Lending,
    /// One connection that listens for the clients of another pool.
    Listening,
}

/// Whether `min_pool_size` applies to a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Minimum {
    /// Not yet: nobody has asked it for a server.
    Unused,
    /// Yes.
    Kept,
    /// Not at present: PostgreSQL refuses this user or database, so nobody knocks unless a
    /// client asks.
    Barred,
}

/// The pools of one database.
#[derive(Debug)]
pub(crate) struct Database {
    name: Box<str>,
    users: BTreeMap<Box<str>, PoolId>,
    pub(crate) members: Vec<PoolId>,
    /// The pools with hunger, by the first waiter that nothing under way will serve.
    pub(crate) hungry: Heap<Place>,
    /// The sum of their hunger.
    pub(crate) hunger: u32,
    /// As much of it as fits below the database's own cap.
    pub(crate) wanted: u32,
}

impl Pools {
    /// No pools yet. `seed` decides all jitter.
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            limits: limits.in_range(),
            allowance: None,
            seed: Seed::new(seed),
            pools: Vec::new(),
            databases: Vec::new(),
            users: Vec::new(),
            hungry: Heap::new(),
            wanted: 0,
            slots: Slots::new(),
            waiters: Waiters::new(),
            tallies: Tallies::default(),
            retries: Heap::new(),
            outage: Backoff::Well,
            reached: false,
            suspect_at: None,
            sweep_at: None,
            swept_at: None,
            names: BTreeMap::new(),
            user_names: BTreeMap::new(),
            now: None,
            events: 0,
            misfits: 0,
        }
    }

    /// The pool of a database and user, created at its first mention. The names' lengths are the
    /// caller's to bound.
    ///
    /// # Errors
    /// There are [`POOLS_MAX`] others already.
    pub fn pool(&mut self, database: &str, user: &str) -> Result<PoolId, TooManyPools> {
        let known = self.names.get(database).copied();
        let found = known.and_then(|at| self.databases[at as usize].users.get(user).copied());
        if let Some(pool) = found {
            return Ok(pool);
        }
        if self.pools.len() >= POOLS_MAX {
            return Err(TooManyPools);
        }
        let at = known.unwrap_or_else(|| self.add_database(database));
        Ok(self.add_pool(at, user, Kind::Lending))
    }

    /// The pool of the one connection that listens for all clients of `pool`, created at its first
    /// mention. That connection is beside `pool_size` and has no minimum; under
    /// `max_db_connections` it takes a place like every other.
    ///
    /// # Errors
    /// There are [`POOLS_MAX`] others already.
    pub fn listening(&mut self, pool: PoolId) -> Result<PoolId, TooManyPools> {
        let of = self.at(pool);
        assert_eq!(of.kind, Kind::Lending, "who listens for others is not listened for");
        if let Some(known) = of.listening {
            return Ok(known);
        }
        if self.pools.len() >= POOLS_MAX {
            return Err(TooManyPools);
        }
        let (database, user) = (of.database, of.user.clone());
        let listening = self.add_pool(database, &user, Kind::Listening);
        self.at_mut(pool).listening = Some(listening);
        self.stand_alike(pool, listening);
        Ok(listening)
    }

    /// Takes in an event and appends what is to be done to `out`, to be carried out in order.
    ///
    /// `now` must not run backwards; where it does, the latest one counts.
    pub fn handle(&mut self, event: Event, now: Instant, out: &mut Vec<Decision>) {
        let now = self.begin(now);
        match event {
            Event::Acquire { pool, waiter, home, class } => {
                self.acquire(pool, waiter, (home, class), now, out);
            }
            Event::Withdraw { waiter } => self.withdraw(waiter, now),
            Event::Opened { server, home } => self.opened(server, home, now, out),
            Event::OpenFailed { server, failure } => self.open_failed(server, failure, now, out),
            Event::Probed { server, healthy } => self.probed(server, healthy, now, out),
            Event::Release { server, condition } => self.release(server, condition, now, out),
            Event::Lost { server } => self.lost(server, now, out),
            Event::Closed { server } => self.closed(server, now, out),
            Event::RetireAll { pool } => self.retire_all(pool, now, out),
            Event::Pause { pool } => self.pause(pool, now, out),
            Event::Resume { pool } => self.resume(pool, now, out),
            Event::Tick => self.tick(now, out),
        }
        self.make_room_for_users(now, out);
        self.end();
    }

    /// What is done first, whatever comes in: gives the time that counts.
    pub(crate) fn begin(&mut self, now: Instant) -> Instant {
        let now = self.now.map_or(now, |latest| latest.max(now));
        self.now = Some(now);
        self.events += 1;
        now
    }

    /// What is done last.
    pub(crate) fn end(&self) {
        if cfg!(debug_assertions) {
            self.check_in_proportion();
        }
    }

    /// When [`Event::Tick`] is due next; `None`: nothing depends on time at present. It may change
    /// with each event.
    pub fn next_deadline(&self) -> Option<Instant> {
        let retry = self.retries.first().map(|(at, _)| at);
        [self.wait_deadline(), retry, self.sweep_at].into_iter().flatten().min()
    }

    /// Every pool that lends, with its database and user, in the order of creation.
    pub fn pools(&self) -> impl Iterator<Item = (PoolId, &str, &str)> {
        let lending = self.pools.iter().zip(0..).filter(|(pool, _)| pool.kind == Kind::Lending);
        lending.map(|(pool, number)| {
            let database = &self.databases[pool.database as usize];
            (PoolId(number), &*database.name, &*pool.user)
        })
    }

    /// Other limits hold: each pool has the sizes that they say.
    pub(crate) fn size_anew(&mut self) {
        let Self { pools, databases, limits, .. } = self;
        for pool in pools {
            pool.sizes = limits.sizes(&databases[pool.database as usize].name, &pool.user);
        }
    }

    /// The most servers of a pool.
    pub(crate) fn size(&self, pool: PoolId) -> u32 {
        match self.at(pool).kind {
            Kind::Lending => self.at(pool).sizes.pool_size.get(),
            Kind::Listening => 1,
        }
    }

    /// The fewest that a pool in use keeps.
    pub(crate) fn size_min(&self, pool: PoolId) -> u32 {
        match self.at(pool).kind {
            Kind::Lending => self.at(pool).sizes.min_pool_size,
            Kind::Listening => 0,
        }
    }

    /// How many events named a server that was gone or in a state that the event does not fit, or
    /// a waiter that was queued already. `Lost` races with lending, so a few are no fault.
    pub const fn misfits(&self) -> u64 {
        self.misfits
    }

    /// Every pool, those that listen included.
    pub(crate) fn all_pools(&self) -> impl Iterator<Item = PoolId> + use<> {
        (0..).take(self.pools.len()).map(PoolId)
    }

    pub(crate) fn at(&self, pool: PoolId) -> &Pool {
        &self.pools[pool.index()]
    }

    pub(crate) fn at_mut(&mut self, pool: PoolId) -> &mut Pool {
        &mut self.pools[pool.index()]
    }

    /// The slot of a server in the state that an event is about; else the event is a misfit.
    pub(crate) fn expect_in(&mut self, server: ServerId, state: State) -> Option<u32> {
        let found = self.slots.find(server).filter(|&at| self.slots.get(at).state == state);
        if found.is_none() {
            self.misfit();
        }
        found
    }

    pub(crate) fn misfit(&mut self) {
        self.misfits += 1;
    }

    fn add_database(&mut self, name: &str) -> u32 {
        let at = u32::try_from(self.databases.len()).expect("databases are at most POOLS_MAX");
        self.databases.push(Database {
            name: name.into(),
            users: BTreeMap::new(),
            members: Vec::new(),
            hungry: Heap::new(),
            hunger: 0,
            wanted: 0,
        });
        self.hungry.add_member();
        self.slots.add_database();
        self.names.insert(name.into(), at);
        at
    }

    fn add_pool(&mut self, database: u32, user: &str, kind: Kind) -> PoolId {
        let id = PoolId(u32::try_from(self.pools.len()).expect("pools are at most POOLS_MAX"));
        let owner = self.owner(user);
        self.users[owner as usize].push(id);
        let sizes = self.limits.sizes(&self.databases[database as usize].name, user);
        let siblings = &mut self.databases[database as usize];
        let member = u32::try_from(siblings.members.len()).expect("pools are at most POOLS_MAX");
        siblings.members.push(id);
        siblings.hungry.add_member();
        if kind == Kind::Lending {
            siblings.users.insert(user.into(), id);
        }
        self.pools.push(Pool {
            database,
            member,
            user: user.into(),
            owner,
            kind,
            sizes,
            listening: None,
            standing: Standing::Working,
            epoch: 0,
            hunger: 0,
            backoff: Backoff::Well,
            minimum: Minimum::Unused,
            pace: Pace::default(),
            totals: Totals::default(),
        });
        self.slots.add_pool(database, owner);
        self.waiters.add_pool();
        self.retries.add_member();
        id
    }

    fn owner(&mut self, user: &str) -> u32 {
        if let Some(&known) = self.user_names.get(user) {
            return known;
        }
        let at = u32::try_from(self.users.len()).expect("users are at most POOLS_MAX");
        self.users.push(Vec::new());
        self.slots.users.add();
        self.user_names.insert(user.into(), at);
        at
    }

    /// Checks everything after few events of a crowd and after each event of a few, so that
    /// checking costs the same an event however many there are.
    fn check_in_proportion(&self) {
        let population = self.pools.len() + self.slots.len() + self.waiters.len();
        let every = 1 + population as u64 / 128;
        if self.events.is_multiple_of(every) {
            self.check();
        }
    }
}
