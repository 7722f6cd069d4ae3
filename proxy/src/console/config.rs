//! `SHOW CONFIG`, with PgBouncer's columns: the values in force, under Stent's names.
//!
//! Source: PgBouncer, doc/usage.md ("SHOW CONFIG") and src/admin.c.

use super::show::View;
use super::table::{Column, Table, text};
use crate::config::Change;

const COLUMNS: &[Column] = &[text("key"), text("value"), text("default"), text("changeable")];

/// Makes the table.
pub(super) fn table(view: &View<'_>) -> Table {
    let mut table = Table::new(COLUMNS);
    for shown in &view.broker.present().config.shown {
        let changeable = match shown.change {
            Change::Reload => "yes",
            Change::Restart => "no",
        };
        table.push(vec![
            shown.key.into(),
            shown.value.clone().into(),
            shown.default.into(),
            changeable.into(),
        ]);
    }
    table
}
