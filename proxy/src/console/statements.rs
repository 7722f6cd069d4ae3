//! `SHOW STATEMENTS`: unnamed statements that servers keep, the busiest first.
//!
//! Invariant: a statement is there as a fingerprint, never with a literal.

use stent_wire::fingerprint::fingerprint;
use stent_wire::prepared::Way;

use super::show::View;
use super::table::{Column, Table, Value, text, whole};

/// The most statements that are shown.
const SHOWN_MAX: usize = 100;
/// How long a fingerprint may be.
const FINGERPRINT_MAX: usize = 400;

const COLUMNS: &[Column] = &[
    text("statement"),
    whole("uses"),
    whole("hits"),
    whole("cached_us"),
    whole("uncached_us"),
    text("state"),
];

/// Makes the table.
pub(super) fn table(view: &View<'_>) -> Table {
    let texts = view.broker.texts.lock();
    let mut busiest: Vec<_> = texts.shared().collect();
    busiest.sort_unstable_by_key(|(statement, worth)| {
        (std::cmp::Reverse(worth.uses()), statement.id())
    });
    busiest.truncate(SHOWN_MAX);
    let mut table = Table::new(COLUMNS);
    for (statement, worth) in busiest {
        let median = |way| worth.median_us(way).map_or(Value::Null, Value::from);
        table.push(vec![
            fingerprint(statement.sql(), FINGERPRINT_MAX).into(),
            worth.uses().into(),
            worth.hits().into(),
            median(Way::Kept),
            median(Way::Anew),
            worth.standing().as_str().into(),
        ]);
    }
    table
}
