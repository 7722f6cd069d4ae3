//! The shape of a statement's rows, as a client was told it.
//!
//! A client that has had a statement described decodes rows by that description. On a connection of
//! its own PostgreSQL refuses a plan whose rows have another shape; a server to which the statement
//! is brought after DDL would not know that there was an older one.
//! Invariant: rows of another shape than the client was told never reach it.
//! Source: PostgreSQL, `RevalidateCachedQuery` in `src/backend/utils/cache/plancache.c`.

use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;

use rustc_hash::FxHasher;

use crate::frame::cstr;

/// A shape: equal for equal names, types and type modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape(NonZeroU64);

impl Shape {
    /// The shape that a RowDescription (its body) or NoData (nothing) tells.
    pub fn of(row_description: Option<&[u8]>) -> Self {
        let mut hasher = FxHasher::default();
        match row_description {
            None => 0u8.hash(&mut hasher),
            Some(body) => {
                let mut columns = hasher.clone();
                match hash_columns(body, &mut columns) {
                    Some(()) => hasher = columns,
                    None => (1u8, body).hash(&mut hasher),
                }
            }
        }
        Self(NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MAX))
    }
}

/// Hashes what counts of each column: its name, and its type with length and modifier. `None` where
/// it is no description.
fn hash_columns(body: &[u8], hasher: &mut FxHasher) -> Option<()> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    (2u8, count).hash(hasher);
    for _ in 0..u16::from_be_bytes(*count) {
        let (name, tail) = cstr(rest)?;
        // Table and column number, type, length and modifier of the type, format.
        let (fixed, next) = tail.split_first_chunk::<18>()?;
        (name, &fixed[6..16]).hash(hasher);
        assert!(next.len() < rest.len(), "a column ends in numbers");
        rest = next;
    }
    rest.is_empty().then_some(())
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
