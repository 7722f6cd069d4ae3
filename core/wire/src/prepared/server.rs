//! The statements that one server knows, least recently used first to go.
//!
//! Invariant: never more than the limit, and a statement is in here exactly while the server
//! would accept a Bind of its name (or will, by the time the Bind arrives).

use rustc_hash::FxHashMap;

use super::pending::Pending;
use super::{ClientStatements, Shape, Timing, Unnamed};
use crate::ledger::Ledger;
use crate::memory::table_len;

/// Statement ids on one server.
#[derive(Debug)]
pub struct ServerStatements {
    last_used: FxHashMap<u64, Use>,
    clock: u64,
    limit: usize,
    /// Statements whose plan PostgreSQL refuses: to be closed before they are parsed again.
    stale: Vec<u64>,
    /// The unnamed statement.
    pub unnamed: Unnamed,
    /// Whose time is measured.
    pub timing: Timing,
    /// The statement whose shape was asked for by a request that waits for the answer.
    inspected: Option<u64>,
    /// What a pipeline would change of these statements, and of its client's names.
    pub(super) pending: Pending,
}

/// A statement on a server.
#[derive(Clone, Copy, Debug)]
struct Use {
    /// When it was last used, by this server's count.
    used: u64,
    /// When it was parsed, in ticks of the texts; 0: as only one client reads it.
    parsed: u64,
    /// The shape of its rows, once somebody has asked.
    shape: Option<Shape>,
    /// Whether PostgreSQL had something to say when it parsed it: it says so at each Parse.
    commented: bool,
}

impl ServerStatements {
    /// A server that knows nothing, and never more than `limit` statements (at least one).
    pub fn new(limit: usize) -> Self {
        assert!(limit > 0, "a server must hold the statement it executes");
        Self {
            last_used: FxHashMap::default(),
            clock: 0,
            limit,
            stale: Vec::new(),
            unnamed: Unnamed::default(),
            timing: Timing::None,
            inspected: None,
            pending: Pending::default(),
        }
    }

    /// Whether the server knows the statement; if so, it has been used now.
    pub(crate) fn touch(&mut self, id: u64) -> Known {
        self.clock += 1;
        match self.last_used.get_mut(&id) {
            Some(Use { used, .. }) => {
                *used = self.clock;
                Known::Yes
            }
            None => Known::No,
        }
    }

    /// Whether a Parse that comes now must not be answered from the server's statement: that was
    /// parsed before a moment, or as others would not read it, or not without a word.
    pub(super) fn is_older(&self, id: u64, than: u64) -> bool {
        let is_older = |known: &Use| known.parsed == 0 || known.parsed < than || known.commented;
        self.last_used.get(&id).is_some_and(is_older)
    }

    /// PostgreSQL has said something about a statement that it parses or plans.
    pub fn commented(&mut self, id: u64) {
        if let Some(known) = self.last_used.get_mut(&id) {
            known.commented = true;
        }
    }

    /// Whether the server's statement was parsed as others would not read it.
    pub(super) fn is_private(&self, id: u64) -> bool {
        self.last_used.get(&id).is_some_and(|known| known.parsed == 0)
    }

    /// Whether an answer to come decides if the server knows a statement, or one that would have to
    /// make room for it.
    pub(super) fn is_undecided(&mut self, id: u64, ledger: &Ledger) -> bool {
        if self.pending.is_undecided(id, ledger) {
            return true;
        }
        let brings = !self.pending.is_empty() && !self.last_used.contains_key(&id);
        brings && self.victims().into_iter().any(|id| self.pending.is_undecided(id, ledger))
    }

    /// Adds a statement; returns those that must be closed to keep the limit.
    pub(crate) fn insert(&mut self, id: u64, parsed: u64) -> Vec<u64> {
        let evicted = self.victims();
        for oldest in &evicted {
            self.last_used.remove(oldest);
        }
        assert!(self.last_used.len() < self.limit, "there is room for one more");
        self.clock += 1;
        let previous = self
            .last_used
            .insert(id, Use { used: self.clock, parsed, shape: None, commented: false });
        debug_assert!(previous.is_none(), "a statement is brought to a server once");
        assert!(self.last_used.len() <= self.limit);
        evicted
    }

    /// PostgreSQL refuses the statement's plan: the next use parses it anew. Returns whether this
    /// client's Parse is younger than the plan: then on a connection of its own it would have one
    /// that holds.
    pub fn spoil(&mut self, id: u64, client: &ClientStatements) -> Younger {
        let Some(at) = self.last_used.remove(&id) else { return Younger::Plan };
        self.stale.push(id);
        assert!(!self.last_used.contains_key(&id), "a stale statement is not used");
        if at.parsed < client.parsed(id) { Younger::Client } else { Younger::Plan }
    }

    /// The server says what the rows of a statement look like.
    pub fn described(&mut self, id: u64, shape: Shape) {
        if let Some(known) = self.last_used.get_mut(&id) {
            known.shape = Some(shape);
        }
    }

    /// Whether the rows of a statement look like this here. Another shape may be one that a
    /// transaction gave them which has failed since: it counts when it has just been asked for.
    pub(super) fn fits(&mut self, id: u64, told: Shape) -> Fit {
        let fresh = self.inspected.take() == Some(id);
        match self.last_used.get(&id).and_then(|known| known.shape) {
            Some(shape) if shape == told => return Fit::Yes,
            Some(_) if fresh => return Fit::No,
            Some(_) => {
                self.last_used.remove(&id);
                self.stale.push(id);
            }
            None => {}
        }
        self.inspected = Some(id);
        Fit::Unknown
    }

    /// Whether the statement must be closed before it is parsed again; asked once.
    pub(crate) fn take_stale(&mut self, id: u64) -> bool {
        let at = self.stale.iter().position(|stale| *stale == id);
        at.map(|at| self.stale.swap_remove(at)).is_some()
    }

    /// Forgets a statement.
    pub(crate) fn remove(&mut self, id: u64) {
        self.last_used.remove(&id);
    }

    /// Takes back an eviction that the server has skipped. The limit may be passed by the
    /// evictions of one pipeline; the next insertion brings the number down again.
    pub(crate) fn restore(&mut self, id: u64) {
        assert!(id > 0, "statements are numbered from 1");
        self.last_used.entry(id).or_insert(Use {
            used: 0,
            parsed: 0,
            shape: None,
            commented: false,
        });
    }

    /// A statement that may make the server forget all is about to go: what is sent behind it waits
    /// until it is answered.
    pub fn may_forget(&mut self, ledger: &Ledger) {
        self.pending.note_all(ledger);
    }

    /// Forgets all (DEALLOCATE ALL, DISCARD ALL).
    pub fn clear(&mut self) {
        self.last_used.clear();
        self.stale.clear();
    }

    /// The memory behind these books, in bytes.
    pub fn heap_len(&self) -> usize {
        table_len::<(u64, Use)>(self.last_used.capacity())
            + self.stale.capacity() * size_of::<u64>()
            + self.unnamed.heap_len()
    }

    /// How many statements the server knows.
    pub fn len(&self) -> usize {
        self.last_used.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.last_used.is_empty()
    }

    /// Those that must go before one more may come, the least recently used first.
    /// Linear on purpose: runs once an eviction, over a few hundred entries, where an ordered
    /// index would cost each Bind instead.
    /// The order of the map does not matter: times of use differ, and of statements restored
    /// together (time 0) the lowest number goes first.
    #[expect(clippy::disallowed_methods, reason = "the result does not depend on the order")]
    fn victims(&self) -> Vec<u64> {
        let number = (self.last_used.len() + 1).saturating_sub(self.limit);
        match number {
            0 => return Vec::new(),
            1 => {
                let oldest = self.last_used.iter().min_by_key(|(id, at)| (at.used, **id));
                return oldest.map(|(id, _)| *id).into_iter().collect();
            }
            _ => {}
        }
        let mut by_age: Vec<_> = self.last_used.iter().map(|(id, at)| (at.used, *id)).collect();
        by_age.sort_unstable();
        by_age.into_iter().take(number).map(|(_, id)| id).collect()
    }
}

/// Which of two Parses of a text came later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Younger {
    /// The client's.
    Client,
    /// The one that made the server's plan.
    Plan,
}

/// An answer of [`ServerStatements::fits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Yes,
    No,
    /// The server must be asked.
    Unknown,
}

/// An answer of [`ServerStatements::touch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Yes,
    No,
}
