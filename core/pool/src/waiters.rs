//! The queues of clients without a server: first come, first served, in each pool and over all.
//!
//! Where clients are of several classes, a pool has a line for each, and they take turns (`lines`).
//! Invariant: every waiter is in a line of its pool and in the index, and unless the pool is
//! paused in the common queue; all are in the order of arrival. With one
//! `query_wait_timeout` for all, the head of the common queue is therefore the next to run out of
//! time.

use std::time::Instant;

use rustc_hash::FxHashMap;
use slab::Slab;

use crate::class::Class;
use crate::id::{Home, PoolId, WaiterId};
use crate::lines::Lines;
use crate::list::{Lane, Linked, Links, List, Pair};

/// A client in the queue.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) id: WaiterId,
    pub(crate) pool: PoolId,
    pub(crate) home: Home,
    pub(crate) class: Class,
    /// When it asked.
    pub(crate) asked: Instant,
    pub(crate) place: Place,
    links: Links<3>,
}

/// A place in the order of arrival over all pools. Who waited while its pool was paused gets a new
/// one when that is over, as if it had come then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) number: u64,
    pub(crate) since: Instant,
}

#[derive(Debug)]
pub(crate) struct Waiters {
    entries: Slab<Waiter>,
    index: FxHashMap<WaiterId, u32>,
    by_pool: Vec<Queue>,
    all: List,
    arrived: u64,
}

/// How many places are kept where so many are taken.
pub(crate) const fn enough(taken: usize) -> usize {
    2 * taken + 4
}

/// The waiters of a pool.
#[derive(Debug)]
struct Queue {
    lines: Lines,
    clock: Clock,
}

/// Whether the time of a pool's waiters runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    Runs,
    Stands,
}

impl Linked for Waiter {
    fn links(&self) -> &[Pair] {
        self.links.pairs()
    }

    fn links_mut(&mut self) -> &mut [Pair] {
        self.links.pairs_mut()
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
        self.by_pool.push(Queue { lines: Lines::new(), clock: Clock::Runs });
    }

    pub(crate) fn contains(&self, id: WaiterId) -> bool {
        self.index.contains_key(&id)
    }

    pub(crate) fn asked_at(&self, id: WaiterId) -> Option<Instant> {
        self.index.get(&id).map(|&at| self.entries[at as usize].asked)
    }

    pub(crate) fn pool_of(&self, id: WaiterId) -> Option<PoolId> {
        self.index.get(&id).map(|&at| self.entries[at as usize].pool)
    }

    pub(crate) fn count(&self, pool: PoolId) -> u32 {
        self.by_pool[pool.index()].lines.len()
    }

    /// Those of a class.
    pub(crate) fn count_of(&self, pool: PoolId, class: Class) -> u32 {
        self.by_pool[pool.index()].lines.len_of(class)
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

    /// Frees places behind the last that is taken.
    pub(crate) fn give_back(&mut self) {
        let waiting = self.entries.len();
        if self.entries.capacity() > enough(waiting) {
            self.entries.shrink_to_fit();
        }
        self.index.shrink_to(enough(waiting));
        assert_eq!(self.entries.len(), waiting, "nobody is sent away for it");
    }

    /// The waiter that runs out of time first.
    pub(crate) fn oldest(&self) -> Option<&Waiter> {
        self.all.head().map(|at| &self.entries[at as usize])
    }

    /// The one that has waited for longest.
    pub(crate) fn first(&self, pool: PoolId) -> Option<&Waiter> {
        self.nth(pool, 0)
    }

    /// The one of a class that has waited for longest.
    pub(crate) fn first_of(&self, pool: PoolId, class: Class) -> Option<&Waiter> {
        let at = self.by_pool[pool.index()].lines.first_of(class)?;
        Some(&self.entries[at as usize])
    }

    /// The one of a class and a home that has waited for longest.
    pub(crate) fn first_at_home(&self, pool: PoolId, class: Class, home: Home) -> Option<&Waiter> {
        let at = self.by_pool[pool.index()].lines.first_at_home(class, home)?;
        Some(&self.entries[at as usize])
    }

    /// The waiter with `before` others of its pool ahead of it in the order of arrival. Walks over
    /// those.
    pub(crate) fn nth(&self, pool: PoolId, before: u32) -> Option<&Waiter> {
        let at = self.by_pool[pool.index()].lines.nth(&self.entries, before)?;
        Some(&self.entries[at as usize])
    }

    /// The waiters of a pool in the order of arrival.
    pub(crate) fn walk(&self, pool: PoolId) -> impl Iterator<Item = &Waiter> {
        let lines = &self.by_pool[pool.index()].lines;
        lines.in_order(&self.entries).map(|at| &self.entries[at as usize])
    }

    /// The first of the class whose turn it is.
    pub(crate) fn first_in_turn(&self, pool: PoolId) -> Option<&Waiter> {
        self.first_of(pool, self.by_pool[pool.index()].lines.turn()?)
    }

    /// Queues a client that is not queued.
    pub(crate) fn push(
        &mut self,
        pool: PoolId,
        id: WaiterId,
        (home, class): (Home, Class),
        now: Instant,
    ) {
        assert!(!self.contains(id), "a client waits once at a time");
        assert!(
            self.all.tail().is_none_or(|at| self.entries[at as usize].place.since <= now),
            "time runs forwards"
        );
        self.arrived += 1;
        let place = Place { number: self.arrived, since: now };
        let waiter = Waiter { id, pool, home, class, asked: now, place, links: Links::default() };
        let at = self.entries.insert(waiter);
        let at = u32::try_from(at).expect("the waiters of all pools are fewer than 2^32");
        let queue = &mut self.by_pool[pool.index()];
        queue.lines.push(&mut self.entries, at);
        if queue.clock == Clock::Runs {
            self.all.push_tail(&mut self.entries, at);
        }
        self.index.insert(id, at);
    }

    /// Nobody who waits for the pool runs out of time from here on.
    pub(crate) fn stop_clock(&mut self, pool: PoolId) {
        let queue = &mut self.by_pool[pool.index()];
        assert_eq!(queue.clock, Clock::Runs, "a clock is stopped once");
        queue.clock = Clock::Stands;
        let waiting: Vec<u32> = queue.lines.in_order(&self.entries).collect();
        for at in waiting {
            self.all.unlink(&mut self.entries, at);
        }
    }

    /// The time of those who wait for the pool begins anew; their order stays.
    pub(crate) fn start_clock(&mut self, pool: PoolId, now: Instant) {
        let queue = &mut self.by_pool[pool.index()];
        assert_eq!(queue.clock, Clock::Stands, "a clock that was stopped is started");
        queue.clock = Clock::Runs;
        let waiting: Vec<u32> = queue.lines.in_order(&self.entries).collect();
        for at in waiting {
            self.arrived += 1;
            self.entries[at as usize].place = Place { number: self.arrived, since: now };
            self.all.push_tail(&mut self.entries, at);
        }
    }

    /// Turns are counted anew: by other weights.
    pub(crate) fn forget_turns(&mut self) {
        self.by_pool.iter_mut().for_each(|queue| queue.lines.forget_turns());
    }

    /// Takes out a client that has its turn; `weight` is its class's.
    pub(crate) fn serve(&mut self, id: WaiterId, weight: u32) -> Option<Waiter> {
        let waiter = self.remove(id)?;
        self.by_pool[waiter.pool.index()].lines.served(waiter.class, weight);
        Some(waiter)
    }

    /// Takes out a client, if it is queued.
    pub(crate) fn remove(&mut self, id: WaiterId) -> Option<Waiter> {
        let at = self.index.remove(&id)?;
        let pool = self.entries[at as usize].pool;
        let queue = &mut self.by_pool[pool.index()];
        queue.lines.unlink(&mut self.entries, at);
        if queue.clock == Clock::Runs {
            self.all.unlink(&mut self.entries, at);
        }
        Some(self.entries.remove(at as usize))
    }

    /// Asserts the invariant of the file. Linear.
    pub(crate) fn check(&self) {
        self.all.check(&self.entries);
        assert_eq!(self.index.len(), self.entries.len(), "every waiter is in the index");
        let places = |list: &List| {
            let places = list.walk(&self.entries).map(|at| self.entries[at as usize].place);
            assert!(places.is_sorted(), "queues are in the order of arrival");
        };
        places(&self.all);
        for (number, Queue { lines, .. }) in self.by_pool.iter().enumerate() {
            lines.check(&self.entries);
            let order = || lines.in_order(&self.entries);
            let ordered = order().map(|at| self.entries[at as usize].place);
            assert!(ordered.is_sorted(), "queues are in the order of arrival");
            assert_eq!(order().count(), lines.len() as usize, "the order is of all lines");
            for at in order() {
                let waiter = &self.entries[at as usize];
                assert_eq!(waiter.pool.index(), number, "a waiter is in its pool's queue");
                assert_eq!(self.index.get(&waiter.id), Some(&at), "the index is true");
            }
        }
        let queued = |queues: &mut dyn Iterator<Item = &Queue>| -> u32 {
            queues.map(|queue| queue.lines.len()).sum()
        };
        let all = queued(&mut self.by_pool.iter());
        assert_eq!(all as usize, self.entries.len(), "every waiter is in its pool's queue");
        let mut running = self.by_pool.iter().filter(|queue| queue.clock == Clock::Runs);
        let running = queued(&mut running);
        assert_eq!(running, self.all.len(), "queues whose time runs make up the common one");
    }
}
