//! The shape of a statement's rows, as a client was told it.
//!
//! A client that has had a statement described decodes rows by that description. On a connection of
//! its own PostgreSQL refuses a plan whose rows have another shape; a server to which the statement
//! is brought after DDL would not know that there was an older one.
//! Invariant: rows of another shape than the client was told never reach it.
//! Source: PostgreSQL, `RevalidateCachedQuery` in `src/backend/utils/cache/plancache.c`.

use std::hash::{BuildHasher, BuildHasherDefault};
use std::num::NonZeroU64;

use rustc_hash::FxHasher;

use crate::frame::cstr;

/// A shape: equal for equal names, types and type modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape(NonZeroU64);

impl Shape {
    /// The shape that a RowDescription (its body) or NoData (nothing) tells.
    pub fn of(row_description: Option<&[u8]>) -> Self {
        let columns = row_description.map(|body| columns(body).unwrap_or_else(|| vec![body]));
        let hash = BuildHasherDefault::<FxHasher>::default().hash_one(columns);
        Self(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MAX))
    }
}

/// What counts of each column: its name, and its type with length and modifier.
fn columns(body: &[u8]) -> Option<Vec<&[u8]>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut parts = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (name, tail) = cstr(rest)?;
        // Table and column number, type, length and modifier of the type, format.
        let (fixed, next) = tail.split_first_chunk::<18>()?;
        parts.push(name);
        parts.push(&tail[6..16]);
        assert_eq!(fixed.len(), 18, "a column ends in numbers");
        rest = next;
    }
    rest.is_empty().then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(name: &str, table: u32, kind: u32, modifier: i32) -> Shape {
        let mut body = 1u16.to_be_bytes().to_vec();
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body.extend_from_slice(&table.to_be_bytes());
        body.extend_from_slice(&[0, 1]);
        body.extend_from_slice(&kind.to_be_bytes());
        body.extend_from_slice(&[0, 4]);
        body.extend_from_slice(&modifier.to_be_bytes());
        body.extend_from_slice(&[0, 0]);
        Shape::of(Some(&body))
    }

    #[test]
    fn names_types_and_modifiers_make_a_shape_and_tables_do_not() {
        let shape = described("a", 1, 23, -1);
        assert_eq!(shape, described("a", 2, 23, -1));
        for other in [described("b", 1, 23, -1), described("a", 1, 25, -1), Shape::of(None)] {
            assert_ne!(shape, other);
        }
        assert_ne!(shape, described("a", 1, 23, 5));
    }

    #[test]
    fn what_is_no_description_is_a_shape_of_its_own() {
        assert_ne!(Shape::of(Some(b"\0\x02a\0")), Shape::of(Some(b"\0\x02b\0")));
        assert_ne!(Shape::of(Some(b"")), Shape::of(None));
    }
}
