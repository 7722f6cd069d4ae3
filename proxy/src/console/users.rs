//! `SHOW USERS`, with PgBouncer's columns.
//!
//! A row is a user that has asked for a pool, or that the configuration names. Sizes are those of a rule
//! for the user in every database; where there is none, the column is null, for the database has them.
//! Source: PgBouncer, doc/usage.md ("SHOW USERS") and src/admin.c.

use std::collections::BTreeMap;

use stent_pool::SizeRule;

use super::counts::{self, Counts};
use super::show::View;
use super::table::{Column, Table, Value, text, whole};

const COLUMNS: &[Column] = &[
    text("name"),
    whole("pool_size"),
    whole("reserve_pool_size"),
    text("pool_mode"),
    whole("max_user_connections"),
    whole("current_connections"),
    whole("max_user_client_connections"),
    whole("current_client_connections"),
];

/// Makes the table.
pub(super) fn table(view: &View<'_>) -> Table {
    let present = view.broker.present();
    let config = &present.config;
    let mut table = Table::new(COLUMNS);
    for (name, counts) in users(view) {
        let rule = config.pool_limits.iter().find(|rule| is_everywhere(rule, &name));
        table.push(vec![
            name.into(),
            own(rule.and_then(|rule| rule.pool_size).map(|size| size.get())),
            own(rule.and_then(|rule| rule.reserve_pool_size)),
            config.pool_mode.as_str().into(),
            config.max_user_connections.map_or(0, |most| most.get()).into(),
            counts.servers.into(),
            config.max_user_client_connections.map_or(0, |most| most.get()).into(),
            counts.clients.into(),
        ]);
    }
    table
}

/// Whether a rule is for this user by name, whatever the database.
fn is_everywhere(rule: &SizeRule, name: &str) -> bool {
    rule.whom.database.is_none() && rule.whom.user.as_deref() == Some(name)
}

fn own(size: Option<u32>) -> Value {
    size.map_or(Value::Null, Value::from)
}

fn users(view: &View<'_>) -> BTreeMap<String, Counts> {
    let present = view.broker.present();
    let named = present.config.auth.users.iter().map(|user| user.name.clone());
    counts::by(&view.broker.inner(), |entry| &entry.user, named)
}
