//! `SHOW MEM`, with PgBouncer's columns: how many of what there are, and what they cost.
//!
//! `size` is the cost of one where all are alike, `free` how many more fit into memory that is kept.
//! The last rows are the allocator's own word: what it has given (`heap_allocated`), how much of that
//! no row above explains (`other`), and what it holds of the machine (`heap_resident`).
//! Invariant: `other` and the rows above it add up to `heap_allocated`, where they are less.

use super::show::View;
use super::table::{Column, Table, Value, text, whole};
use crate::memory;

const COLUMNS: &[Column] =
    &[text("name"), whole("size"), whole("used"), whole("free"), whole("memtotal")];

/// Makes the table.
pub(super) fn table(view: &View<'_>) -> Table {
    let mut table = Table::new(COLUMNS);
    let rows = memory::rows(view.broker);
    let mut explained = 0;
    for row in rows {
        explained += row.total as u64;
        let size = row.size.map_or(Value::Null, Value::from);
        let counts = [row.used, row.free, row.total].map(Value::from);
        table.push([row.name.into(), size].into_iter().chain(counts).collect());
    }
    let Some(heap) = crate::snapshot::heap() else { return table };
    for (name, bytes) in [
        ("other", heap.allocated.saturating_sub(explained)),
        ("heap_allocated", heap.allocated),
        ("heap_active", heap.active),
        ("heap_resident", heap.resident),
    ] {
        table.push(vec![name.into(), Value::Null, Value::Null, Value::Null, bytes.into()]);
    }
    table
}
