//! The names that one client has prepared.
//!
//! Invariant: a client that prepares nothing costs one pointer.

use std::hash::BuildHasher;
use std::sync::Arc;

use rustc_hash::{FxBuildHasher, FxHashMap};

use super::{Shape, Statement};
use crate::limits::CLIENT_STATEMENTS_MAX;
use crate::memory::{given, table_len};

/// Up to how many names a statement's are looked for among all.
const SCANNED_MAX: usize = 128;

/// A client's names.
#[derive(Debug, Default)]
struct Names {
    by_name: FxHashMap<Box<[u8]>, Named>,
    /// The names of each statement, where there are too many to look at all.
    by_id: Option<FxHashMap<u64, Vec<Box<[u8]>>>>,
    /// The hash of the name that was bound last.
    bound: u64,
}

/// A statement, and when the client parsed it.
#[derive(Debug)]
struct Named {
    statement: Arc<Statement>,
    parsed: u64,
    /// What the client was told of its rows.
    told: Option<Shape>,
}

fn hash(name: &[u8]) -> u64 {
    FxBuildHasher.hash_one(name)
}

impl Names {
    /// The names of a statement, in no order.
    #[expect(clippy::disallowed_methods, reason = "who asks needs all, or the latest")]
    fn of(&self, id: u64) -> impl Iterator<Item = (&[u8], &Named)> {
        let known = self.by_id.as_ref().and_then(|index| index.get(&id)).into_iter().flatten();
        let known = known.filter_map(|name| self.by_name.get_key_value(name));
        let all = self.by_id.is_none().then(|| self.by_name.iter()).into_iter().flatten();
        let scanned = all.filter(move |(_, named)| named.statement.id() == id);
        known.chain(scanned).map(|(name, named)| (&**name, named))
    }

    /// The name that was parsed last.
    fn latest(&self, id: u64) -> Option<(&[u8], &Named)> {
        self.of(id).max_by_key(|(_, named)| named.parsed)
    }

    /// A name has become a statement's.
    #[expect(clippy::iter_over_hash_type, reason = "the index does not depend on the order")]
    fn index(&mut self, name: &[u8], id: u64) {
        match &mut self.by_id {
            Some(index) => index.entry(id).or_default().push(name.into()),
            None if self.by_name.len() <= SCANNED_MAX => {}
            None => {
                let mut index: FxHashMap<u64, Vec<Box<[u8]>>> = FxHashMap::default();
                for (name, named) in &self.by_name {
                    index.entry(named.statement.id()).or_default().push(name.clone());
                }
                self.by_id = Some(index);
            }
        }
    }

    /// A name is a statement's no longer.
    fn unindex(&mut self, name: &[u8], id: u64) {
        let Some(index) = &mut self.by_id else { return };
        let Some(names) = index.get_mut(&id) else { return };
        names.retain(|of| **of != *name);
        if names.is_empty() {
            index.remove(&id);
        }
    }
}

/// A client's statements by name.
#[derive(Debug, Default)]
pub struct ClientStatements {
    names: Option<Box<Names>>,
    /// The memory of all names, in bytes.
    names_len: u32,
    /// The unnamed one, between two servers.
    pub(super) unnamed: Option<Arc<Statement>>,
}

impl ClientStatements {
    /// The statement of that name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        self.names.as_ref()?.by_name.get(name).map(|named| &named.statement)
    }

    /// Whether the client has given a name to a statement.
    pub fn names(&self, id: u64) -> bool {
        self.names.as_ref().is_some_and(|names| names.of(id).next().is_some())
    }

    /// When the client last parsed a statement, under whatever name; 0 where it did not.
    pub(crate) fn parsed(&self, id: u64) -> u64 {
        let latest = self.names.as_ref().and_then(|names| names.latest(id));
        latest.map_or(0, |(_, named)| named.parsed)
    }

    /// The client is told the shape of a statement's rows. What it was told of a name holds as long
    /// as the name does: PostgreSQL refuses to change it.
    #[expect(clippy::disallowed_methods, reason = "each entry is changed for itself")]
    pub fn described(&mut self, id: u64, shape: Shape) {
        let Some(names) = &mut self.names else { return };
        let Some(index) = &names.by_id else {
            let all = names.by_name.values_mut();
            let own = all.filter(|named| named.statement.id() == id);
            own.for_each(|named| named.told = named.told.or(Some(shape)));
            return;
        };
        for name in index.get(&id).into_iter().flatten() {
            if let Some(named) = names.by_name.get_mut(name) {
                named.told.get_or_insert(shape);
            }
        }
    }

    /// What the client was told of the rows of the statement of that name.
    pub(super) fn told(&self, name: &[u8]) -> Option<Shape> {
        self.names.as_ref()?.by_name.get(name)?.told
    }

    /// Whether the client was told the shape of a statement's rows, under whatever name.
    pub fn knows_shape(&self, id: u64) -> bool {
        let mut names = self.names.iter().flat_map(|names| names.of(id));
        names.any(|(_, named)| named.told.is_some())
    }

    /// The name of a statement that was bound last, if it was one of its, else the name that the
    /// client last gave to it.
    pub(super) fn name_of(&self, id: u64) -> Option<&[u8]> {
        let names = self.names.as_ref()?;
        let bound = names.of(id).find(|(name, _)| hash(name) == names.bound);
        bound.or_else(|| names.latest(id)).map(|(name, _)| name)
    }

    /// Whether there is room for one more name.
    pub fn has_room(&self) -> bool {
        self.len() < CLIENT_STATEMENTS_MAX
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.as_ref().map_or(0, |names| names.by_name.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives a name its statement. The name must be free.
    pub(crate) fn insert(&mut self, name: &[u8], statement: Arc<Statement>, parsed: u64) {
        let names = self.names.get_or_insert_with(Box::default);
        self.names_len = self.names_len.saturating_add(given(name.len()) as u32);
        let id = statement.id();
        let previous = names.by_name.insert(name.into(), Named { statement, parsed, told: None });
        debug_assert!(previous.is_none(), "a name is given away once");
        names.index(name, id);
        assert!(names.by_id.is_some() || names.by_name.len() <= SCANNED_MAX, "many are indexed");
    }

    /// A name is bound: an error of that is about this one of a statement's names.
    pub(super) fn bound(&mut self, name: &[u8]) {
        if let Some(names) = &mut self.names {
            names.bound = hash(name);
        }
    }

    /// A name means another statement of the same text from here on.
    pub(super) fn reread(&mut self, name: &[u8], statement: Arc<Statement>) {
        let Some(names) = &mut self.names else { return };
        let Some(named) = names.by_name.get_mut(name) else { return };
        let new = statement.id();
        let old = std::mem::replace(&mut named.statement, statement);
        assert_ne!(old.id(), new, "it is read anew because it is another");
        if names.by_id.is_some() {
            names.unindex(name, old.id());
            names.index(name, new);
        }
    }

    /// Frees a name.
    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        let names = self.names.as_mut()?;
        let removed = names.by_name.remove(name)?.statement;
        self.names_len = self.names_len.saturating_sub(given(name.len()) as u32);
        names.unindex(name, removed.id());
        Some(removed)
    }

    /// Frees a name if it still means that statement.
    pub(crate) fn remove_if(&mut self, name: &[u8], id: u64) {
        if self.get(name).is_some_and(|statement| statement.id() == id) {
            self.remove(name);
        }
    }

    /// Frees all names (DEALLOCATE ALL, DISCARD ALL).
    pub fn clear(&mut self) {
        self.names = None;
        self.names_len = 0;
    }

    /// The memory behind the names, in bytes; the texts are everybody's.
    pub fn heap_len(&self) -> usize {
        let Some(names) = &self.names else { return 0 };
        let index = names.by_id.as_ref().map_or(0, |index| {
            let entries = index.len() * given(size_of::<Box<[u8]>>());
            table_len::<(u64, Vec<Box<[u8]>>)>(index.capacity()) + entries + self.names_len as usize
        });
        given(size_of::<Names>())
            + table_len::<(Box<[u8]>, Named)>(names.by_name.capacity())
            + self.names_len as usize
            + index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepared::{Reading, Texts};

    #[test]
    fn names_of_one_statement_are_found_by_it_the_latest_first() {
        for others in [0, SCANNED_MAX, 10 * SCANNED_MAX] {
            found_by_statement(others);
        }
    }

    fn found_by_statement(others: usize) {
        let (mut client, mut texts) = (ClientStatements::default(), Texts::default());
        for n in 0..others {
            let other = texts.intern(Reading::PLAIN, format!("other {n}\0\0\0").as_bytes());
            client.insert(format!("other {n}").as_bytes(), other, texts.tick());
        }
        let one = texts.intern(Reading::PLAIN, b"select 1\0\0\0");
        let two = texts.intern(Reading::PLAIN, b"select 2\0\0\0");
        for (name, of) in [("a", &one), ("x", &two), ("b", &one), ("c", &one)] {
            client.insert(name.as_bytes(), Arc::clone(of), texts.tick());
        }
        assert_eq!(client.name_of(one.id()), Some(&b"c"[..]));
        assert_eq!(client.name_of(two.id()), Some(&b"x"[..]));
        client.bound(b"a");
        assert_eq!(client.name_of(one.id()), Some(&b"a"[..]));
        client.bound(b"c");
        client.described(one.id(), Shape::of(None));
        assert!(client.told(b"a").is_some() && client.told(b"x").is_none());
        for (gone, latest) in [("b", Some("c")), ("c", Some("a")), ("a", None)] {
            let parsed = client.parsed(one.id());
            assert_eq!(client.remove(gone.as_bytes()).map(|of| of.id()), Some(one.id()));
            assert_eq!(client.name_of(one.id()), latest.map(str::as_bytes), "{gone}");
            assert!(client.parsed(one.id()) <= parsed && client.remove(b"b").is_none());
        }
        let three = texts.intern(Reading::PLAIN, b"select 3\0\0\0");
        client.reread(b"x", Arc::clone(&three));
        assert!(client.name_of(two.id()).is_none() && client.names(three.id()));
        client.reread(b"x", Arc::clone(&two));
        assert!(!client.knows_shape(one.id()) && client.names(two.id()));
        assert_eq!(client.len(), others + 1);
    }
}
