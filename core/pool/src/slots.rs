//! The servers: one slot each, from the decision to open until the socket is closed.
//!
//! State is list membership, and there is one door for changing it: [`Slots::shift`] (with
//! [`Slots::admit`] and [`Slots::dismiss`] at the ends of a life), which refuses transitions that
//! the picture in the crate's head does not show. Invariant: a slot is in exactly one list of its
//! pool, the counts are the lengths of the lists, and the idle list of a database holds its idle
//! servers with the longest idle at the tail.

use std::num::NonZeroU32;
use std::time::Instant;

use slab::Slab;

use crate::age::{Age, Over};
use crate::id::{Home, PoolId, ServerId};
use crate::list::{Lane, Linked, Links, List, Pair};
use crate::users::{Counts, Users};
use crate::waiters::enough;

/// Where a server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Opening,
    Idle,
    Tested,
    Lent,
    Closing,
}

const STATES: usize = 5;

/// A server.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) id: ServerId,
    pub(crate) pool: PoolId,
    pub(crate) state: State,
    /// When it came into its state.
    pub(crate) since: Instant,
    /// Where its socket is.
    pub(crate) home: Home,
    /// The pool's epoch when it was opened; a past epoch means retired.
    pub(crate) epoch: u32,
    age: Age,
    /// How many times it was lent.
    uses: u32,
    opened: Option<Instant>,
    database: u32,
    links: Links<2>,
}

#[derive(Debug)]
pub(crate) struct Slots {
    entries: Slab<Slot>,
    by_pool: Vec<PoolSlots>,
    by_database: Vec<DatabaseSlots>,
    pub(crate) users: Users,
    idle: u32,
    opening: u32,
    closing: u32,
    generation: u32,
}

#[derive(Debug)]
struct PoolSlots {
    database: u32,
    user: u32,
    lists: [List; STATES],
    total: u32,
    overage: u32,
}

#[derive(Debug)]
struct DatabaseSlots {
    idle: List,
    total: u32,
    closing: u32,
}

impl Linked for Slot {
    fn links(&self) -> &[Pair] {
        self.links.pairs()
    }

    fn links_mut(&mut self) -> &mut [Pair] {
        self.links.pairs_mut()
    }
}

impl Slot {
    pub(crate) const fn age(&self) -> Age {
        self.age
    }

    /// When its login succeeded.
    pub(crate) const fn opened(&self) -> Option<Instant> {
        self.opened
    }
}

impl Slots {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Slab::new(),
            by_pool: Vec::new(),
            by_database: Vec::new(),
            users: Users::new(),
            idle: 0,
            opening: 0,
            closing: 0,
            generation: 0,
        }
    }

    pub(crate) fn add_database(&mut self) {
        let idle = List::new(Lane::Common);
        self.by_database.push(DatabaseSlots { idle, total: 0, closing: 0 });
    }

    pub(crate) fn add_pool(&mut self, database: u32, user: u32) {
        assert!((database as usize) < self.by_database.len(), "a pool's database exists");
        assert!((user as usize) < self.users.len(), "so does its user");
        let lists = [List::new(Lane::Own); STATES];
        self.by_pool.push(PoolSlots { database, user, lists, total: 0, overage: 0 });
    }

    /// Frees places behind the last that is taken.
    pub(crate) fn give_back(&mut self) {
        if self.entries.capacity() > enough(self.entries.len()) {
            self.entries.shrink_to_fit();
        }
    }

    /// A new server, opening.
    pub(crate) fn admit(&mut self, pool: PoolId, epoch: u32, now: Instant) -> ServerId {
        let database = self.by_pool[pool.index()].database;
        let entry = self.entries.vacant_entry();
        let index = u32::try_from(entry.key()).expect("servers are fewer than 2^32");
        self.generation = self.generation.wrapping_add(1);
        let id = ServerId { index, generation: self.generation };
        let links = Links::default();
        let (state, age) = (State::Opening, Age::Due(None));
        let home = Home::default();
        let (since, uses, opened) = (now, 0, None);
        entry.insert(Slot {
            id,
            pool,
            state,
            since,
            home,
            epoch,
            age,
            uses,
            opened,
            database,
            links,
        });
        self.opening += 1;
        self.list(pool, State::Opening).push_head(index);
        self.by_database[database as usize].total += 1;
        self.change_user(pool, |user| user.total += 1);
        self.by_pool[pool.index()].total += 1;
        id
    }

    /// Moves a server to another state: the one door.
    pub(crate) fn shift(&mut self, index: u32, to: State, now: Instant) {
        let slot = &mut self.entries[index as usize];
        let from = slot.state;
        assert!(allowed(from, to), "a server does not go from {from:?} to {to:?}");
        slot.state = to;
        slot.since = now;
        slot.uses = slot.uses.saturating_add(u32::from(to == State::Lent));
        let (pool, database) = (slot.pool, slot.database as usize);
        if to == State::Closing && slot.age.over().is_some() {
            slot.age = Age::Due(None);
            self.by_pool[pool.index()].overage -= 1;
        }
        self.list(pool, from).unlink(index);
        self.list(pool, to).push_head(index);
        if from == State::Opening {
            self.opening -= 1;
        }
        if from == State::Idle {
            self.by_database[database].idle.unlink(&mut self.entries, index);
            self.change_user(pool, |user| user.idle -= 1);
            self.idle -= 1;
        }
        if to == State::Idle {
            self.by_database[database].idle.push_head(&mut self.entries, index);
            self.change_user(pool, |user| user.idle += 1);
            self.idle += 1;
        }
        if to == State::Closing {
            self.by_database[database].closing += 1;
            self.change_user(pool, |user| user.closing += 1);
            self.closing += 1;
        }
    }

    /// The end of a server whose socket is closed, or was never opened.
    pub(crate) fn dismiss(&mut self, index: u32) -> Slot {
        let (pool, state) = (self.get(index).pool, self.get(index).state);
        self.list(pool, state).unlink(index);
        let slot = self.entries.remove(index as usize);
        self.by_pool[pool.index()].total -= 1;
        self.change_user(pool, |user| {
            user.total -= 1;
            user.closing -= u32::from(state == State::Closing);
        });
        let database = &mut self.by_database[slot.database as usize];
        database.total -= 1;
        match state {
            State::Closing => {
                database.closing -= 1;
                self.closing -= 1;
            }
            State::Opening => self.opening -= 1,
            State::Idle | State::Tested | State::Lent => {
                panic!("a server with an open socket is closed before it is forgotten")
            }
        }
        slot
    }

    /// The server's socket is there from now on.
    pub(crate) fn settle(&mut self, index: u32, home: Home) {
        self.entries[index as usize].home = home;
    }

    /// Gives a server that has just been opened its last day.
    pub(crate) fn set_due(&mut self, index: u32, opened: Instant, due: Option<Instant>) {
        let slot = &mut self.entries[index as usize];
        assert_eq!(slot.age, Age::Due(None), "the last day is drawn once");
        assert_eq!(slot.opened, None, "a server is opened once");
        slot.opened = Some(opened);
        slot.age = Age::Due(due);
    }

    /// Gives a server another last day, also where its old one has come. One that is worn out has
    /// none to come.
    pub(crate) fn renew_due(&mut self, index: u32, due: Option<Instant>) {
        let slot = &mut self.entries[index as usize];
        assert!(slot.opened.is_some(), "its first is drawn when it is opened");
        match slot.age {
            Age::Due(_) => {}
            Age::Over(Over::Old) => self.by_pool[slot.pool.index()].overage -= 1,
            Age::Over(Over::Worn) => return,
        }
        slot.age = Age::Due(due);
    }

    /// A server's life is over, whatever its age.
    pub(crate) fn wear_out(&mut self, index: u32) {
        let slot = &mut self.entries[index as usize];
        assert_eq!(slot.state, State::Lent, "it is found out when it is given back");
        if slot.age.over().is_none() {
            self.by_pool[slot.pool.index()].overage += 1;
        }
        slot.age = Age::Over(Over::Worn);
    }

    /// Every server that is open and not being closed.
    pub(crate) fn all_live(&self) -> Vec<u32> {
        let live = |slot: &Slot| match slot.state {
            State::Idle | State::Tested | State::Lent => true,
            State::Opening | State::Closing => false,
        };
        let live = self.entries.iter().filter(|(_, slot)| live(slot));
        live.map(|(_, slot)| slot.id.index).collect()
    }

    /// Notes that a server's last day has come, or its last use, if it has. Says whether its life
    /// is over.
    pub(crate) fn ripen(&mut self, index: u32, uses: Option<NonZeroU32>, now: Instant) -> Age {
        let slot = &mut self.entries[index as usize];
        let worn = uses.is_some_and(|most| slot.uses >= most.get());
        if let Age::Due(due) = slot.age
            && (worn || due.is_some_and(|due| due <= now))
        {
            slot.age = Age::Over(Over::Old);
            self.by_pool[slot.pool.index()].overage += 1;
        }
        self.entries[index as usize].age
    }

    /// The slot of a server that still exists, in whatever state.
    pub(crate) fn find(&self, id: ServerId) -> Option<u32> {
        let slot = self.entries.get(id.index())?;
        (slot.id == id).then_some(id.index)
    }

    pub(crate) fn get(&self, index: u32) -> &Slot {
        &self.entries[index as usize]
    }

    pub(crate) fn count(&self, pool: PoolId, state: State) -> u32 {
        self.by_pool[pool.index()].lists[state as usize].len()
    }

    /// Servers of the pool in whatever state: what counts against `pool_size`.
    pub(crate) fn total(&self, pool: PoolId) -> u32 {
        self.by_pool[pool.index()].total
    }

    /// Servers of the pool that are logged in and not being closed.
    pub(crate) fn live(&self, pool: PoolId) -> u32 {
        [State::Idle, State::Tested, State::Lent].iter().map(|&of| self.count(pool, of)).sum()
    }

    /// Live servers of the pool that have outlived their `server_lifetime`.
    pub(crate) fn overage(&self, pool: PoolId) -> u32 {
        self.by_pool[pool.index()].overage
    }

    /// The idle servers of a pool that came to rest last and first.
    pub(crate) fn idle_newest(&self, pool: PoolId) -> Option<u32> {
        self.by_pool[pool.index()].lists[State::Idle as usize].head()
    }

    /// The idle servers of a pool, the one that came to rest last first.
    pub(crate) fn idle_from_newest(&self, pool: PoolId) -> impl Iterator<Item = u32> {
        self.by_pool[pool.index()].lists[State::Idle as usize].walk(&self.entries)
    }

    pub(crate) fn idle_longest(&self, pool: PoolId) -> Option<u32> {
        self.by_pool[pool.index()].lists[State::Idle as usize].tail()
    }

    /// The idle server of the same pool that came to rest next after this one.
    pub(crate) fn idle_after(&self, index: u32) -> Option<u32> {
        let pool = self.get(index).pool;
        self.by_pool[pool.index()].lists[State::Idle as usize].before(&self.entries, index)
    }

    pub(crate) fn database_total(&self, database: u32) -> u32 {
        self.by_database[database as usize].total
    }

    pub(crate) fn database_closing(&self, database: u32) -> u32 {
        self.by_database[database as usize].closing
    }

    pub(crate) fn database_idle_longest(&self, database: u32) -> Option<u32> {
        self.by_database[database as usize].idle.tail()
    }

    /// Changes the counts of a pool's user.
    pub(crate) fn change_user(&mut self, pool: PoolId, change: impl FnOnce(&mut Counts)) {
        self.users.change(self.by_pool[pool.index()].user, change);
    }

    /// The server of any database that has been idle for longest. Walks over the databases.
    pub(crate) fn all_idle_longest(&self) -> Option<u32> {
        if self.idle == 0 {
            return None;
        }
        let longest = self.by_database.iter().filter_map(|database| database.idle.tail());
        longest.min_by_key(|&at| self.get(at).since)
    }

    /// Idle servers of the pool that have not outlived their lifetime. Walks over them where any
    /// server of the pool has.
    pub(crate) fn idle_young(&self, pool: PoolId) -> u32 {
        let idle = self.count(pool, State::Idle);
        if self.overage(pool) == 0 {
            return idle;
        }
        let old = self.idle_from_newest(pool).filter(|&at| self.get(at).age.over().is_some());
        idle - u32::try_from(old.count()).expect("they are among the idle")
    }

    /// Servers being opened, of all databases.
    pub(crate) const fn all_opening(&self) -> u32 {
        self.opening
    }

    /// Servers being closed, of all databases.
    pub(crate) const fn all_closing(&self) -> u32 {
        self.closing
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn list(&mut self, pool: PoolId, state: State) -> ListOf<'_> {
        let list = &mut self.by_pool[pool.index()].lists[state as usize];
        ListOf { list, entries: &mut self.entries }
    }

    /// Asserts the invariant of the file. Linear.
    pub(crate) fn check(&self) {
        let mut listed = 0;
        for (number, pool) in self.by_pool.iter().enumerate() {
            let mut overage = 0;
            for (state, list) in pool.lists.iter().enumerate() {
                list.check(&self.entries);
                for at in list.walk(&self.entries) {
                    let slot = self.get(at);
                    assert_eq!(slot.id.index, at, "an id leads to its slot");
                    assert_eq!(slot.state as usize, state, "a slot is in the list of its state");
                    assert_eq!(slot.pool.index(), number, "a slot is in a list of its pool");
                    overage += u32::from(slot.age.over().is_some());
                }
                listed += list.len() as usize;
            }
            assert_eq!(overage, pool.overage, "servers past their lifetime are counted");
            let total: u32 = pool.lists.iter().map(List::len).sum();
            assert_eq!(total, pool.total, "the servers of a pool are counted");
        }
        assert_eq!(listed, self.entries.len(), "every slot is in a list");
        let of_all = |count: fn(&DatabaseSlots) -> u32| self.by_database.iter().map(count).sum();
        let opening = self.entries.iter().filter(|(_, slot)| slot.state == State::Opening).count();
        assert_eq!(self.opening as usize, opening, "servers being opened are counted");
        assert_eq!(self.idle, of_all(|database| database.idle.len()), "idle servers are counted");
        assert_eq!(self.closing, of_all(|database| database.closing), "closing ones are too");
        self.users.check();
        for user in (0..).take(self.users.len()) {
            let own = || self.by_pool.iter().filter(|pool| pool.user == user);
            let count = |state| own().map(|pool| pool.lists[state as usize].len()).sum();
            let total = own().map(|pool| pool.total).sum();
            let (idle, closing) = (count(State::Idle), count(State::Closing));
            let waiting = self.users.of(user).waiting; // `check` compares it with the queues
            let counted = Counts { total, idle, closing, waiting };
            assert_eq!(self.users.of(user), counted, "a user's servers are counted");
        }
        for (number, database) in self.by_database.iter().enumerate() {
            database.idle.check(&self.entries);
            let since = |at: u32| self.get(at).since;
            let rest = database.idle.walk(&self.entries).map(since);
            assert!(rest.is_sorted_by(|a, b| a >= b), "the longest idle is at the tail");
            let own = || self.by_pool.iter().filter(|pool| pool.database as usize == number);
            let sum =
                |state: State| own().map(|pool| pool.lists[state as usize].len()).sum::<u32>();
            let total: u32 = own().flat_map(|pool| &pool.lists).map(List::len).sum();
            assert_eq!(database.idle.len(), sum(State::Idle), "idle servers are in both lists");
            assert_eq!(database.closing, sum(State::Closing), "closing servers are counted");
            assert_eq!(database.total, total, "the servers of a database are counted");
        }
    }
}

/// A list and the slab that it runs through.
struct ListOf<'a> {
    list: &'a mut List,
    entries: &'a mut Slab<Slot>,
}

impl ListOf<'_> {
    fn push_head(self, index: u32) {
        self.list.push_head(self.entries, index);
    }

    fn unlink(self, index: u32) {
        self.list.unlink(self.entries, index);
    }
}

const fn allowed(from: State, to: State) -> bool {
    match (from, to) {
        (State::Opening, State::Idle | State::Lent | State::Closing)
        | (State::Idle, State::Tested | State::Lent | State::Closing)
        | (State::Tested | State::Lent, State::Idle | State::Lent | State::Closing) => true,
        (State::Opening | State::Idle | State::Tested | State::Lent, State::Opening)
        | (State::Opening | State::Tested | State::Lent, State::Tested)
        | (State::Idle, State::Idle)
        | (
            State::Closing,
            State::Opening | State::Idle | State::Tested | State::Lent | State::Closing,
        ) => false,
    }
}
