//! `SHOW HOLDERS`: who has the servers, longest first.
//!
//! The same as `holders` of `/snapshot`, for somebody who has psql at hand. Statements are shown with their
//! literals replaced.

use super::show::View;
use super::table::{Column, Table, Value, text, whole};

const COLUMNS: &[Column] = &[
    text("database"),
    text("user"),
    text("application_name"),
    text("client_addr"),
    whole("client_pid"),
    whole("client_id"),
    whole("backend_pid"),
    text("state"),
    whole("held_ms"),
    whole("state_ms"),
    text("pinned_by"),
    text("last_statement"),
];

/// Makes the table.
pub(super) fn table(view: &View<'_>) -> Table {
    let mut table = Table::new(COLUMNS);
    for holder in view.broker.holders(view.now, |_, _| true) {
        table.push(vec![
            holder.database.into(),
            holder.user.into(),
            holder.application_name.into(),
            holder.client_addr.into(),
            holder.client_pid.map_or(Value::Null, Value::from),
            holder.client_id.into(),
            holder.backend_pid.into(),
            holder.state.in_words().into(),
            holder.held_ms.into(),
            holder.state_ms.into(),
            holder.pinned_by.join(" ").into(),
            holder.last_statement.into(),
        ]);
    }
    table
}
