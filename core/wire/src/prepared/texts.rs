//! Statement texts, each kept once for all clients and servers.
//!
//! Invariant: two statements are the same exactly where text and parameter types are equal byte
//! by byte; an id is never used for a second statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxHashMap;

use crate::effects::{Effects, Functions, scan};
use crate::limits::STATEMENT_TEXTS_MAX;
use crate::memory::{given, table_len};

/// A statement: its text and the parameter types that its client declared.
#[derive(Debug)]
pub struct Statement {
    id: u64,
    tail: Box<[u8]>,
    /// Its effects as they were last judged, behind the version of the knowledge that they follow
    /// from; 0 where they were not.
    judged: AtomicU64,
}

impl Statement {
    /// The statement's number, unique over the life of the process.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// The body of its Parse message after the name: text, NUL, number of types, types.
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// The text.
    pub fn sql(&self) -> &[u8] {
        let end = memchr::memchr(0, &self.tail).unwrap_or(self.tail.len());
        &self.tail[..end]
    }

    /// What it may leave behind in a session: judged once for each state of knowledge.
    pub fn effects(&self, functions: &Functions) -> Effects {
        if let Some(known) = self.judged_by(functions.version()) {
            return known;
        }
        let effects = scan(self.sql(), functions);
        let version = u64::from(functions.version());
        self.judged.store(version << 16 | u64::from(effects.bits()), Ordering::Relaxed);
        effects
    }

    /// The same, if it was judged by that version of the knowledge.
    pub fn judged_by(&self, version: u32) -> Option<Effects> {
        let judged = self.judged.load(Ordering::Relaxed);
        let known = judged >> 16 == u64::from(version) && version > 0;
        known.then(|| Effects::from_bits((judged & 0xffff) as u16))
    }
}

/// Every statement that a client or server still refers to.
#[derive(Debug, Default)]
pub struct Texts {
    by_tail: FxHashMap<Box<[u8]>, Arc<Statement>>,
    next_id: u64,
    ticks: u64,
    /// When definitions last changed, as far as we have seen.
    redefined: u64,
    sweep_at: usize,
}

impl Texts {
    /// The statement of this Parse tail: the one known, or a new one.
    pub fn intern(&mut self, tail: &[u8]) -> Arc<Statement> {
        if let Some(known) = self.by_tail.get(tail) {
            return Arc::clone(known);
        }
        self.make_room();
        self.next_id += 1;
        let statement =
            Arc::new(Statement { id: self.next_id, tail: tail.into(), judged: AtomicU64::new(0) });
        let previous = self.by_tail.insert(tail.into(), Arc::clone(&statement));
        assert!(previous.is_none(), "a text is interned once");
        statement
    }

    /// A moment after every moment before: tells which of two Parses came first.
    pub(crate) const fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    /// Tables, types or functions were defined anew: a Parse from here on must not be answered from
    /// a statement that was parsed before. Its parameters' types are those of then, for PostgreSQL
    /// plans a statement again where it must, but never reads its parameters again.
    /// Source: PostgreSQL, `RevalidateCachedQuery` in `src/backend/utils/cache/plancache.c`.
    pub const fn redefined(&mut self) {
        self.redefined = self.tick();
    }

    /// When that last happened.
    pub(crate) const fn last_redefined(&self) -> u64 {
        self.redefined
    }

    /// How many texts are kept.
    pub fn len(&self) -> usize {
        self.by_tail.len()
    }

    /// The memory behind the texts, in bytes. Looks at each.
    #[expect(clippy::disallowed_methods, reason = "the sum does not depend on the order")]
    pub fn heap_len(&self) -> usize {
        let entry = size_of::<Statement>() + 2 * size_of::<usize>();
        let texts = self.by_tail.keys().map(|tail| 2 * given(tail.len()) + given(entry));
        table_len::<(Box<[u8]>, Arc<Statement>)>(self.by_tail.capacity()) + texts.sum::<usize>()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.by_tail.is_empty()
    }

    /// Drops texts that nobody refers to. Where all are in use the map is emptied: its users keep
    /// their statements, only equal texts that come later get a second id.
    fn make_room(&mut self) {
        if self.by_tail.len() < self.sweep_at.max(64) {
            return;
        }
        self.by_tail.retain(|_, statement| Arc::strong_count(statement) > 1);
        if self.by_tail.len() >= STATEMENT_TEXTS_MAX {
            self.by_tail.clear();
        }
        self.sweep_at = (self.by_tail.len() * 2).min(STATEMENT_TEXTS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_statement_and_types_tell_them_apart() {
        let mut texts = Texts::default();
        let a = texts.intern(b"select $1\0\0\0");
        let b = texts.intern(b"select $1\0\0\0");
        let c = texts.intern(b"select $1\0\0\x01\0\0\0\x17");
        assert_eq!(a.id(), b.id());
        assert_ne!(a.id(), c.id());
        assert_eq!(c.sql(), b"select $1");
    }

    #[test]
    fn texts_that_nobody_uses_are_dropped_in_time() {
        let mut texts = Texts::default();
        let kept = texts.intern(b"kept\0\0\0");
        for n in 0..10_000 {
            texts.intern(format!("select {n}\0\0\0").as_bytes());
        }
        assert!(texts.len() < 200, "{} texts are kept", texts.len());
        assert_eq!(texts.intern(b"kept\0\0\0").id(), kept.id());
    }
}
