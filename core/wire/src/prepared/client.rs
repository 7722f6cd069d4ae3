//! The names that one client has prepared.
//!
//! Invariant: a client that prepares nothing costs one pointer.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Shape, Statement};
use crate::limits::CLIENT_STATEMENTS_MAX;
use crate::memory::{given, table_len};

/// Statements by the client's name for them.
type ByName = FxHashMap<Box<[u8]>, Named>;

/// A statement, and when the client parsed it.
#[derive(Debug)]
struct Named {
    statement: Arc<Statement>,
    parsed: u64,
    /// What the client was told of its rows.
    told: Option<Shape>,
}

/// A client's statements by name.
#[derive(Debug, Default)]
pub struct ClientStatements {
    by_name: Option<Box<ByName>>,
    /// The memory of all names, in bytes.
    names_len: u32,
    /// The unnamed one, between two servers.
    pub(super) unnamed: Option<Arc<Statement>>,
}

impl ClientStatements {
    /// The statement of that name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        self.by_name.as_ref()?.get(name).map(|named| &named.statement)
    }

    /// When the client last parsed a statement, under whatever name; 0 where it did not.
    #[expect(clippy::disallowed_methods, reason = "the maximum does not depend on the order")]
    pub(crate) fn parsed(&self, id: u64) -> u64 {
        let names = self.by_name.iter().flat_map(|map| map.values());
        names
            .filter(|named| named.statement.id() == id)
            .map(|named| named.parsed)
            .max()
            .unwrap_or(0)
    }

    /// The client is told the shape of a statement's rows. What it was told of a name holds as long
    /// as the name does: PostgreSQL refuses to change it.
    #[expect(clippy::disallowed_methods, reason = "each entry is changed for itself")]
    pub fn described(&mut self, id: u64, shape: Shape) {
        let names = self.by_name.iter_mut().flat_map(|map| map.values_mut());
        for named in names.filter(|named| named.statement.id() == id) {
            named.told.get_or_insert(shape);
        }
    }

    /// What the client was told of the rows of the statement of that name.
    pub(super) fn told(&self, name: &[u8]) -> Option<Shape> {
        self.by_name.as_ref()?.get(name)?.told
    }

    /// Whether the client was told the shape of a statement's rows, under whatever name.
    #[expect(clippy::disallowed_methods, reason = "the result does not depend on the order")]
    pub fn knows_shape(&self, id: u64) -> bool {
        let mut names = self.by_name.iter().flat_map(|map| map.values());
        names.any(|named| named.statement.id() == id && named.told.is_some())
    }

    /// The name that the client last gave to a statement.
    #[expect(clippy::disallowed_methods, reason = "the maximum does not depend on the order")]
    pub(super) fn name_of(&self, id: u64) -> Option<&[u8]> {
        let names = self.by_name.iter().flat_map(|map| map.iter());
        names
            .filter(|(_, named)| named.statement.id() == id)
            .max_by_key(|(_, named)| named.parsed)
            .map(|(name, _)| &**name)
    }

    /// Whether there is room for one more name.
    pub fn has_room(&self) -> bool {
        self.len() < CLIENT_STATEMENTS_MAX
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.by_name.as_ref().map_or(0, |map| map.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives a name its statement. The name must be free.
    pub(crate) fn insert(&mut self, name: Box<[u8]>, statement: Arc<Statement>, parsed: u64) {
        let map = self.by_name.get_or_insert_with(Box::default);
        self.names_len = self.names_len.saturating_add(given(name.len()) as u32);
        let previous = map.insert(name, Named { statement, parsed, told: None });
        debug_assert!(previous.is_none(), "a name is given away once");
    }

    /// Frees a name.
    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        let removed = self.by_name.as_mut()?.remove(name)?;
        self.names_len = self.names_len.saturating_sub(given(name.len()) as u32);
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
        self.by_name = None;
        self.names_len = 0;
    }

    /// The memory behind the names, in bytes; the texts are everybody's.
    pub fn heap_len(&self) -> usize {
        let Some(map) = &self.by_name else { return 0 };
        given(size_of::<ByName>())
            + table_len::<(Box<[u8]>, Named)>(map.capacity())
            + self.names_len as usize
    }
}
