//! `SHOW MEM`, with PgBouncer's columns: how many of what there are, and what they cost.
//!
//! Invariant: a row counts only what its name says, from sizes and capacities; what the allocator
//! says of the whole is a row of its own, never spread over the others.

use super::show::View;
use super::table::{Column, Table, Value, text, whole};

const COLUMNS: &[Column] =
    &[text("name"), whole("size"), whole("used"), whole("free"), whole("memtotal")];

/// Makes the table.
pub(super) fn table(_: &View<'_>) -> Table {
    let mut table = Table::new(COLUMNS);
    if let Some(heap) = crate::snapshot::heap() {
        for (name, bytes) in [
            ("heap_allocated", heap.allocated),
            ("heap_active", heap.active),
            ("heap_resident", heap.resident),
        ] {
            table.push(vec![
                name.into(),
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Whole(bytes),
            ]);
        }
    }
    table
}
