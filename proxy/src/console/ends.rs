//! `SHOW DISCONNECTS`: connections that have ended, by side and cause, since the start.
//!
//! Invariant: the rows of the sides `client` and `server` are the metric `stent_disconnects_total`, and
//! those of the side `stranger` are `stent_strangers_total`.

use super::show::View;
use super::table::{Column, Table, Value, text, whole};
use crate::strangers::Stranger;

const COLUMNS: &[Column] = &[text("side"), text("cause"), whole("count")];

/// Makes the table.
pub(super) fn table(view: &View<'_>) -> Table {
    let mut table = Table::new(COLUMNS);
    let inner = view.broker.inner();
    for (side, cause, count) in inner.disconnects.counts() {
        table.push(vec![side.as_str().into(), cause.as_str().into(), Value::from(count)]);
    }
    for stranger in Stranger::ALL {
        let count = inner.strangers.of(stranger);
        table.push(vec!["stranger".into(), stranger.as_str().into(), Value::from(count)]);
    }
    table
}
