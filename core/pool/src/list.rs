//! Doubly linked lists through the entries of a slab: constant time, no allocation.
//!
//! An entry can be in one list of each [`Lane`] at a time. Refused: lists that own their entries.
//! Invariant: `length` is the number of entries reachable from `head`, and from `tail`.

use slab::Slab;

/// Which of an entry's two pairs of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// The list of the entry's own pool (and state).
    Own = 0,
    /// The list that the pools have in common.
    Common = 1,
    /// The list of those of one home; servers are in none.
    Home = 2,
}

/// The links of an entry, one pair for each of its first lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links<const LANES: usize>([Pair; LANES]);

impl<const LANES: usize> Default for Links<LANES> {
    fn default() -> Self {
        Self([Pair::default(); LANES])
    }
}

impl<const LANES: usize> Links<LANES> {
    pub(crate) const fn pairs(&self) -> &[Pair] {
        &self.0
    }

    pub(crate) const fn pairs_mut(&mut self) -> &mut [Pair] {
        &mut self.0
    }
}

/// The neighbours of an entry in one lane.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pair {
    towards_head: Option<u32>,
    towards_tail: Option<u32>,
}

/// What can be linked.
pub(crate) trait Linked {
    fn links(&self) -> &[Pair];
    fn links_mut(&mut self) -> &mut [Pair];
}

/// One list: where it begins, where it ends, how long it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    lane: Lane,
    head: Option<u32>,
    tail: Option<u32>,
    length: u32,
}

impl List {
    pub(crate) const fn new(lane: Lane) -> Self {
        Self { lane, head: None, tail: None, length: 0 }
    }

    pub(crate) const fn head(&self) -> Option<u32> {
        self.head
    }

    pub(crate) const fn tail(&self) -> Option<u32> {
        self.tail
    }

    pub(crate) const fn len(&self) -> u32 {
        self.length
    }

    /// The neighbour of an entry on the way to the head.
    pub(crate) fn before<T: Linked>(&self, entries: &Slab<T>, index: u32) -> Option<u32> {
        entries[index as usize].links()[self.lane as usize].towards_head
    }

    /// The neighbour of an entry on the way to the tail of its list of that lane.
    pub(crate) fn after<T: Linked>(lane: Lane, entries: &Slab<T>, index: u32) -> Option<u32> {
        entries[index as usize].links()[lane as usize].towards_tail
    }

    /// The entries from head to tail.
    pub(crate) fn walk<'a, T: Linked>(
        &self,
        entries: &'a Slab<T>,
    ) -> impl Iterator<Item = u32> + use<'a, T> {
        let lane = self.lane as usize;
        std::iter::successors(self.head, move |&at| entries[at as usize].links()[lane].towards_tail)
    }

    pub(crate) fn push_head<T: Linked>(&mut self, entries: &mut Slab<T>, index: u32) {
        let next = self.head.replace(index);
        *self.pair(entries, index) = Pair { towards_head: None, towards_tail: next };
        match next {
            Some(next) => self.pair(entries, next).towards_head = Some(index),
            None => self.tail = Some(index),
        }
        self.length += 1;
    }

    pub(crate) fn push_tail<T: Linked>(&mut self, entries: &mut Slab<T>, index: u32) {
        let next = self.tail.replace(index);
        *self.pair(entries, index) = Pair { towards_head: next, towards_tail: None };
        match next {
            Some(next) => self.pair(entries, next).towards_tail = Some(index),
            None => self.head = Some(index),
        }
        self.length += 1;
    }

    /// Takes out an entry, which must be in this list.
    pub(crate) fn unlink<T: Linked>(&mut self, entries: &mut Slab<T>, index: u32) {
        assert!(self.length > 0, "an entry is taken out of a list that holds it");
        let pair = std::mem::take(self.pair(entries, index));
        match pair.towards_head {
            Some(before) => self.pair(entries, before).towards_tail = pair.towards_tail,
            None => {
                assert_eq!(self.head, Some(index), "an entry without a predecessor is the head");
                self.head = pair.towards_tail;
            }
        }
        match pair.towards_tail {
            Some(after) => self.pair(entries, after).towards_head = pair.towards_head,
            None => {
                assert_eq!(self.tail, Some(index), "an entry without a successor is the tail");
                self.tail = pair.towards_head;
            }
        }
        self.length -= 1;
    }

    fn pair<'a, T: Linked>(&self, entries: &'a mut Slab<T>, index: u32) -> &'a mut Pair {
        &mut entries[index as usize].links_mut()[self.lane as usize]
    }

    /// Asserts the invariant of the file. Linear.
    pub(crate) fn check<T: Linked>(&self, entries: &Slab<T>) {
        let mut before = None;
        let mut length = 0;
        for at in self.walk(entries) {
            assert_eq!(self.before(entries, at), before, "the links agree in both directions");
            before = Some(at);
            length += 1;
            assert!(length <= self.length, "the list has no loop");
        }
        assert_eq!(before, self.tail, "the last entry is the tail");
        assert_eq!(length, self.length, "the length is the number of entries");
    }
}
