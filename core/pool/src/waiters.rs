//! The queues of clients without a server: first come, first served, in each pool and over all.
//!
//! Invariant: every waiter is in the queue of its pool, in the common queue and in the index, and
//! both queues are in the order of arrival. With one `query_wait_timeout` for all, the head of the
//! common queue is therefore the next to run out of time.

use std::time::Instant;

use rustc_hash::FxHashMap;
use slab::Slab;

use crate::id::{Home, PoolId, WaiterId};
use crate::list::{Lane, Linked, Links, List};

/// A client in the queue.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) id: WaiterId,
    pub(crate) pool: PoolId,
    pub(crate) home: Home,
    pub(crate) place: Place,
    links: Links,
}

/// A place in the order of arrival over all pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) number: u64,
    pub(crate) since: Instant,
}

#[derive(Debug)]
pub(crate) struct Waiters {
    entries: Slab<Waiter>,
    index: FxHashMap<WaiterId, u32>,
    by_pool: Vec<List>,
    all: List,
    arrived: u64,
}

impl Linked for Waiter {
    fn links(&self) -> &Links {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl Waiters {
    pub(crate) fn new() -> Self {
        Self {
            entries: Slab::new(),
            index: FxHashMap::default(),
            by_pool: Vec::new(),
            all: List::new(Lane::Common),
            arrived: 0,
        }
    }

    pub(crate) fn add_pool(&mut self) {
        self.by_pool.push(List::new(Lane::Own));
    }

    pub(crate) fn contains(&self, id: WaiterId) -> bool {
        self.index.contains_key(&id)
    }

    pub(crate) fn count(&self, pool: PoolId) -> u32 {
        self.by_pool[pool.index()].len()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many more can wait before memory is asked for, and the memory of all places, in bytes.
    pub(crate) fn room(&self) -> (usize, usize) {
        let (places, index) = (self.entries.capacity(), self.index.capacity());
        let len = places * size_of::<Waiter>() + index * (size_of::<(WaiterId, u32)>() + 1);
        (places - self.entries.len(), len)
    }

    /// The waiter that runs out of time first.
    pub(crate) fn oldest(&self) -> Option<&Waiter> {
        self.all.head().map(|at| &self.entries[at as usize])
    }

    pub(crate) fn first(&self, pool: PoolId) -> Option<&Waiter> {
        self.nth(pool, 0)
    }

    /// The waiter with `before` others of its pool ahead of it. Walks over those.
    pub(crate) fn nth(&self, pool: PoolId, before: u32) -> Option<&Waiter> {
        self.walk(pool).nth(before as usize)
    }

    /// The waiters of a pool in the order of arrival.
    pub(crate) fn walk(&self, pool: PoolId) -> impl Iterator<Item = &Waiter> {
        self.by_pool[pool.index()].walk(&self.entries).map(|at| &self.entries[at as usize])
    }

    /// Queues a client that is not queued.
    pub(crate) fn push(&mut self, pool: PoolId, id: WaiterId, home: Home, now: Instant) {
        assert!(!self.contains(id), "a client waits once at a time");
        assert!(
            self.all.tail().is_none_or(|at| self.entries[at as usize].place.since <= now),
            "time runs forwards"
        );
        self.arrived += 1;
        let place = Place { number: self.arrived, since: now };
        let at = self.entries.insert(Waiter { id, pool, home, place, links: Links::default() });
        let at = u32::try_from(at).expect("the waiters of all pools are fewer than 2^32");
        self.by_pool[pool.index()].push_tail(&mut self.entries, at);
        self.all.push_tail(&mut self.entries, at);
        self.index.insert(id, at);
    }

    /// Takes out the first of a pool.
    pub(crate) fn pop(&mut self, pool: PoolId) -> Option<Waiter> {
        let id = self.first(pool)?.id;
        self.remove(id)
    }

    /// Takes out a client, if it is queued.
    pub(crate) fn remove(&mut self, id: WaiterId) -> Option<Waiter> {
        let at = self.index.remove(&id)?;
        let pool = self.entries[at as usize].pool;
        self.by_pool[pool.index()].unlink(&mut self.entries, at);
        self.all.unlink(&mut self.entries, at);
        Some(self.entries.remove(at as usize))
    }

    /// Asserts the invariant of the file. Linear.
    pub(crate) fn check(&self) {
        self.all.check(&self.entries);
        assert_eq!(self.all.len() as usize, self.entries.len(), "every waiter is in the queue");
        assert_eq!(self.index.len(), self.entries.len(), "every waiter is in the index");
        let places = |list: &List| {
            let places = list.walk(&self.entries).map(|at| self.entries[at as usize].place);
            assert!(places.is_sorted(), "queues are in the order of arrival");
        };
        places(&self.all);
        for (number, list) in self.by_pool.iter().enumerate() {
            list.check(&self.entries);
            places(list);
            for at in list.walk(&self.entries) {
                let waiter = &self.entries[at as usize];
                assert_eq!(waiter.pool.index(), number, "a waiter is in its pool's queue");
                assert_eq!(self.index.get(&waiter.id), Some(&at), "the index is true");
            }
        }
        let queued: u32 = self.by_pool.iter().map(List::len).sum();
        assert_eq!(queued, self.all.len(), "the pools' queues make up the common one");
    }
}
