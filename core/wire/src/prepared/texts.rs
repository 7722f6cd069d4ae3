//! Statement texts, each kept once for all clients and servers.
//!
//! Invariant: two statements are the same exactly where text and parameter types are equal byte
//! by byte and they are read under the same settings; an id is never used for a second statement.

use std::hash::{BuildHasher, BuildHasherDefault};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rustc_hash::{FxHashMap, FxHasher};

use super::constant::is_constant;
use super::reading::Readings;
use super::share::Counts;
use super::worth::Since;
use super::{Reading, Worth};
use crate::effects::{Effects, Functions, scan};
use crate::limits::{SEEN_ONCE_MAX, STATEMENT_TEXTS_MAX};
use crate::memory::{given, table_len};
use crate::params::Params;

/// A statement: its text, the parameter types that its client declared, and how it is read.
#[derive(Debug)]
pub struct Statement {
    id: u64,
    reading: Reading,
    tail: Box<[u8]>,
    /// Its effects as they were last judged, behind the version of the knowledge that they follow
    /// from; 0 where they were not.
    judged: AtomicU64,
    /// What keeping it is worth, once it has come unnamed; `None` where it cannot be kept.
    worth: OnceLock<Option<Box<Worth>>>,
}

impl Statement {
    /// The statement's number, unique over the life of the process.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// The settings under which it is read.
    pub const fn reading(&self) -> Reading {
        self.reading
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
        self.judged.store(version << 32 | u64::from(effects.bits()), Ordering::Relaxed);
        effects
    }

    /// The same, if it was judged by that version of the knowledge.
    pub fn judged_by(&self, version: u32) -> Option<Effects> {
        let judged = self.judged.load(Ordering::Relaxed);
        let known = judged >> 32 == u64::from(version) && version > 0;
        known.then(|| Effects::from_bits((judged & 0xffff_ffff) as u32))
    }

    /// What keeping it is worth where it comes unnamed; `None` where it cannot be kept so.
    pub fn worth(&self) -> Option<&Worth> {
        let worth = self.worth.get_or_init(|| is_constant(self.sql()).then(Box::default));
        worth.as_deref()
    }

    /// The same for a statement that has come unnamed before.
    pub fn known_worth(&self) -> Option<&Worth> {
        self.worth.get()?.as_deref()
    }

    fn is(&self, reading: Reading, tail: &[u8]) -> bool {
        self.reading == reading && *self.tail == *tail
    }
}

/// Every statement that a client or server still refers to.
#[derive(Debug, Default)]
pub struct Texts {
    /// By the hash of text and reading. Where two share one, the later one is not kept in here.
    by_hash: FxHashMap<u64, Arc<Statement>>,
    next_id: u64,
    ticks: u64,
    /// When definitions last changed, as far as we have seen.
    redefined: u64,
    sweep_at: usize,
    readings: Readings,
    seen: SeenOnce,
    /// What became of unnamed Parses.
    pub counts: Counts,
}

impl Texts {
    /// The statement of this Parse tail: the one known, or a new one.
    pub fn intern(&mut self, reading: Reading, tail: &[u8]) -> Arc<Statement> {
        let hash = hash(reading, tail);
        if let Some(known) = self.by_hash.get(&hash)
            && known.is(reading, tail)
        {
            return Arc::clone(known);
        }
        self.make_room();
        self.next_id += 1;
        let statement = Arc::new(Statement {
            id: self.next_id,
            reading,
            tail: tail.into(),
            judged: AtomicU64::new(0),
            worth: OnceLock::new(),
        });
        self.by_hash.entry(hash).or_insert_with(|| Arc::clone(&statement));
        assert!(!self.by_hash.is_empty(), "a statement of this hash is kept");
        statement
    }

    /// The statement of this Parse tail, if there is one.
    pub fn find(&self, reading: Reading, tail: &[u8]) -> Option<&Arc<Statement>> {
        self.by_hash.get(&hash(reading, tail)).filter(|known| known.is(reading, tail))
    }

    /// The statement of an unnamed Parse's tail, from the second time on that it is seen: one that
    /// comes once must not push out those that come often.
    pub(super) fn intern_seen(&mut self, reading: Reading, tail: &[u8]) -> Option<Arc<Statement>> {
        let hash = hash(reading, tail);
        match self.by_hash.get(&hash) {
            Some(known) if known.is(reading, tail) => Some(Arc::clone(known)),
            Some(_) => None,
            None => self.seen.again(hash).then(|| self.intern(reading, tail)),
        }
    }

    /// Under which number texts are read with these settings.
    pub fn reading(&mut self, params: &Params) -> Reading {
        self.readings.of(params)
    }

    /// Statements that come unnamed, in no order.
    #[expect(clippy::disallowed_methods, reason = "who shows them puts them in order")]
    pub fn shared(&self) -> impl Iterator<Item = (&Statement, &Worth)> {
        self.by_hash.values().filter_map(|of| Some((&**of, of.known_worth()?)))
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
        self.by_hash.len()
    }

    /// The memory behind the texts, in bytes. Looks at each.
    #[expect(clippy::disallowed_methods, reason = "the sum does not depend on the order")]
    pub fn heap_len(&self) -> usize {
        let entry = size_of::<Statement>() + 2 * size_of::<usize>();
        let len = |text: &Arc<Statement>| {
            let worth = text.known_worth().map_or(0, |_| given(size_of::<Worth>()));
            given(text.tail.len()) + given(entry) + worth
        };
        let texts: usize = self.by_hash.values().map(len).sum();
        let seen = self.seen.0.len() * size_of::<u32>();
        table_len::<(u64, Arc<Statement>)>(self.by_hash.capacity()) + texts + seen
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Drops texts that nobody refers to, and that have not come unnamed since the last time. Where all are in use the map is emptied: its users keep
    /// their statements, only equal texts that come later get a second id.
    fn make_room(&mut self) {
        if self.by_hash.len() < self.sweep_at.max(64) {
            return;
        }
        self.by_hash.retain(|_, statement| {
            let since = statement.known_worth().map_or(Since::Unused, Worth::sweep);
            Arc::strong_count(statement) > 1 || since == Since::Used
        });
        if self.by_hash.len() >= STATEMENT_TEXTS_MAX {
            self.by_hash.clear();
        }
        self.sweep_at = (self.by_hash.len() * 2).min(STATEMENT_TEXTS_MAX);
    }
}

fn hash(reading: Reading, tail: &[u8]) -> u64 {
    BuildHasherDefault::<FxHasher>::default().hash_one((reading.number(), tail))
}

/// Texts that were seen once, by hash: a table of fixed size where a new one takes an old one's
/// place. Made when the first one comes.
#[derive(Debug, Default)]
struct SeenOnce(Box<[u32]>);

impl SeenOnce {
    /// Whether a text was seen before, and not too many others since.
    fn again(&mut self, hash: u64) -> bool {
        if self.0.is_empty() {
            self.0 = vec![0; SEEN_ONCE_MAX].into();
        }
        let place = &mut self.0[(hash % SEEN_ONCE_MAX as u64) as usize];
        let mark = (hash >> 32) as u32 | 1;
        std::mem::replace(place, mark) == mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_statement_and_types_tell_them_apart() {
        let mut texts = Texts::default();
        let a = texts.intern(Reading::PLAIN, b"select $1\0\0\0");
        let b = texts.intern(Reading::PLAIN, b"select $1\0\0\0");
        let c = texts.intern(Reading::PLAIN, b"select $1\0\0\x01\0\0\0\x17");
        assert_eq!(a.id(), b.id());
        assert_ne!(a.id(), c.id());
        assert_eq!(c.sql(), b"select $1");
    }

    #[test]
    fn settings_tell_texts_apart() {
        let mut texts = Texts::default();
        let mut params = Params::default();
        params.set(b"DateStyle", b"German").unwrap();
        let german = texts.reading(&params);
        let a = texts.intern(Reading::PLAIN, b"select $1\0\0\0");
        let b = texts.intern(german, b"select $1\0\0\0");
        assert_ne!(a.id(), b.id());
        assert_eq!(texts.find(german, b"select $1\0\0\0").map(|of| of.id()), Some(b.id()));
        assert!(texts.find(german, b"select $2\0\0\0").is_none());
    }

    #[test]
    fn a_text_is_kept_from_its_second_time_on() {
        let mut texts = Texts::default();
        let mut seen = |tail: &[u8]| texts.intern_seen(Reading::PLAIN, tail).map(|of| of.id());
        assert_eq!(seen(b"often\0\0\0"), None);
        assert_eq!(seen(b"once\0\0\0"), None);
        let often = seen(b"often\0\0\0");
        assert!(often.is_some());
        for n in 0..100_000 {
            let id = seen(format!("once {n}\0\0\0").as_bytes());
            assert_eq!(id, None, "{n}");
        }
        assert_eq!(seen(b"often\0\0\0"), often);
    }

    #[test]
    fn a_text_that_comes_unnamed_is_kept_while_others_come_and_go() {
        let mut texts = Texts::default();
        let tail = b"select $1\0\0\0";
        let id = texts.intern(Reading::PLAIN, tail).id();
        for n in 0..10_000 {
            texts.intern(Reading::PLAIN, format!("select {n}\0\0\0").as_bytes());
            let known = texts.intern_seen(Reading::PLAIN, tail).expect("it is known");
            assert_eq!(known.id(), id, "{n}");
            known.worth().map(Worth::next);
        }
        for n in 0..10_000 {
            texts.intern(Reading::PLAIN, format!("select -{n}\0\0\0").as_bytes());
        }
        assert!(texts.find(Reading::PLAIN, tail).is_none(), "it is dropped when it comes no more");
    }

    #[test]
    fn texts_that_nobody_uses_are_dropped_in_time() {
        let mut texts = Texts::default();
        let kept = texts.intern(Reading::PLAIN, b"kept\0\0\0");
        for n in 0..10_000 {
            texts.intern(Reading::PLAIN, format!("select {n}\0\0\0").as_bytes());
        }
        assert!(texts.len() < 200, "{} texts are kept", texts.len());
        assert_eq!(texts.intern(Reading::PLAIN, b"kept\0\0\0").id(), kept.id());
    }
}
