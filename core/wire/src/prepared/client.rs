//! The names that one client has prepared.
//!
//! Invariant: a client that prepares nothing costs one pointer.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Shape, Statement};
use crate::limits::CLIENT_STATEMENTS_MAX;
use crate::memory::{given, table_len};

/// A client's names. They are shared by both maps; names of one statement are chained, the one that
/// was parsed last first.
#[derive(Debug, Default)]
struct Names {
    by_name: FxHashMap<Arc<[u8]>, Named>,
    by_id: FxHashMap<u64, Arc<[u8]>>,
}

/// A statement, and when the client parsed it.
#[derive(Debug)]
struct Named {
    statement: Arc<Statement>,
    parsed: u64,
    /// What the client was told of its rows.
    told: Option<Shape>,
    /// The name that the client gave to the same statement before.
    before: Option<Arc<[u8]>>,
}

impl Names {
    /// The names of a statement, the one that was parsed last first.
    fn of(&self, id: u64) -> impl Iterator<Item = (&Arc<[u8]>, &Named)> {
        let mut next = self.by_id.get(&id);
        std::iter::from_fn(move || {
            let name = next?;
            let named = self.by_name.get(name).expect("a name in a chain is the client's");
            next = named.before.as_ref();
            Some((name, named))
        })
    }

    /// Takes a name out of its chain. `before` is the rest of the chain behind it.
    fn unchain(&mut self, id: u64, name: &[u8], before: Option<Arc<[u8]>>) {
        let later = self.of(id).map(|(of, _)| of).take_while(|of| &***of != name).last().cloned();
        match (later, before) {
            (Some(later), before) => {
                let later = self.by_name.get_mut(&later).expect("it is in the chain");
                later.before = before;
            }
            (None, Some(before)) => drop(self.by_id.insert(id, before)),
            (None, None) => drop(self.by_id.remove(&id)),
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

    fn of(&self, id: u64) -> impl Iterator<Item = (&Arc<[u8]>, &Named)> {
        self.names.iter().flat_map(move |names| names.of(id))
    }

    /// Whether the client has given a name to a statement.
    pub fn names(&self, id: u64) -> bool {
        self.names.as_ref().is_some_and(|names| names.by_id.contains_key(&id))
    }

    /// When the client last parsed a statement, under whatever name; 0 where it did not.
    pub(crate) fn parsed(&self, id: u64) -> u64 {
        self.of(id).next().map_or(0, |(_, named)| named.parsed)
    }

    /// The client is told the shape of a statement's rows. What it was told of a name holds as long
    /// as the name does: PostgreSQL refuses to change it.
    pub fn described(&mut self, id: u64, shape: Shape) {
        let mut next = self.names.as_ref().and_then(|names| names.by_id.get(&id).cloned());
        while let (Some(name), Some(names)) = (next, &mut self.names) {
            let named = names.by_name.get_mut(&name).expect("a name in a chain is the client's");
            named.told.get_or_insert(shape);
            next = named.before.clone();
        }
    }

    /// What the client was told of the rows of the statement of that name.
    pub(super) fn told(&self, name: &[u8]) -> Option<Shape> {
        self.names.as_ref()?.by_name.get(name)?.told
    }

    /// Whether the client was told the shape of a statement's rows, under whatever name.
    pub fn knows_shape(&self, id: u64) -> bool {
        self.of(id).any(|(_, named)| named.told.is_some())
    }

    /// The name that the client last gave to a statement.
    pub(super) fn name_of(&self, id: u64) -> Option<&[u8]> {
        self.of(id).next().map(|(name, _)| &**name)
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
        self.names_len = self.names_len.saturating_add(name_len(name));
        let names = self.names.get_or_insert_with(Box::default);
        let name: Arc<[u8]> = name.into();
        let before = names.by_id.insert(statement.id(), Arc::clone(&name));
        let named = Named { statement, parsed, told: None, before };
        let previous = names.by_name.insert(name, named);
        debug_assert!(previous.is_none(), "a name is given away once");
        assert!(names.by_id.len() <= names.by_name.len(), "each statement in here has a name");
    }

    /// A name means another statement of the same text from here on.
    pub(super) fn reread(&mut self, name: &[u8], statement: Arc<Statement>) {
        let Some(names) = &mut self.names else { return };
        let Some((name, named)) = names.by_name.get_key_value(name) else { return };
        let (name, old, before) = (Arc::clone(name), named.statement.id(), named.before.clone());
        assert_ne!(old, statement.id(), "it is read anew because it is another");
        names.unchain(old, &name, before);
        let before = names.by_id.insert(statement.id(), Arc::clone(&name));
        if let Some(named) = names.by_name.get_mut(&name) {
            (named.statement, named.before) = (statement, before);
        }
    }

    /// Frees a name.
    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        let names = self.names.as_mut()?;
        let (id, before) =
            names.by_name.get(name).map(|of| (of.statement.id(), of.before.clone()))?;
        names.unchain(id, name, before);
        let removed = names.by_name.remove(name)?;
        self.names_len = self.names_len.saturating_sub(name_len(name));
        Some(removed.statement)
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
        given(size_of::<Names>())
            + table_len::<(Arc<[u8]>, Named)>(names.by_name.capacity())
            + table_len::<(u64, Arc<[u8]>)>(names.by_id.capacity())
            + self.names_len as usize
    }
}

/// The memory of one name with the counters of its `Arc`, in bytes.
fn name_len(name: &[u8]) -> u32 {
    given(name.len() + 2 * size_of::<usize>()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepared::{Reading, Texts};

    #[test]
    fn names_of_one_statement_are_found_by_it_the_latest_first() {
        let (mut client, mut texts) = (ClientStatements::default(), Texts::default());
        let one = texts.intern(Reading::PLAIN, b"select 1\0\0\0");
        let two = texts.intern(Reading::PLAIN, b"select 2\0\0\0");
        for (name, of) in [("a", &one), ("x", &two), ("b", &one), ("c", &one)] {
            client.insert(name.as_bytes(), Arc::clone(of), texts.tick());
        }
        assert_eq!(client.name_of(one.id()), Some(&b"c"[..]));
        assert_eq!(client.name_of(two.id()), Some(&b"x"[..]));
        client.described(one.id(), Shape::of(None));
        assert!(client.told(b"a").is_some() && client.told(b"x").is_none());
        for (gone, latest) in [("b", Some("c")), ("c", Some("a")), ("a", None)] {
            let parsed = client.parsed(one.id());
            assert_eq!(client.remove(gone.as_bytes()).map(|of| of.id()), Some(one.id()));
            assert_eq!(client.name_of(one.id()), latest.map(str::as_bytes), "{gone}");
            assert!(client.parsed(one.id()) <= parsed && client.remove(b"b").is_none());
        }
        client.reread(b"x", texts.intern(Reading::PLAIN, b"select 3\0\0\0"));
        assert!(client.name_of(two.id()).is_none() && client.names(3));
        client.reread(b"x", Arc::clone(&two));
        assert!(!client.knows_shape(one.id()) && client.names(two.id()) && client.len() == 1);
    }
}
