//! `SHOW LISTS`, with PgBouncer's columns and rows: how many there are of everything.
//!
//! Where Stent has no such thing the number is 0: it has no peers, and asks the system for names.
//! Source: PgBouncer, doc/usage.md ("SHOW LISTS") and src/admin.c.

use std::collections::BTreeSet;

use super::show::View;
use super::table::{Column, Table, Value, text, whole};

const COLUMNS: &[Column] = &[text("list"), whole("items")];

/// Makes the table.
pub(super) fn table(view: &View<'_>) -> Table {
    let config_max = view.broker.present().config.max_client_conn.get();
    let inner = view.broker.inner();
    let names = inner.entries.iter();
    let databases: BTreeSet<&str> = names.clone().map(|entry| &*entry.database).collect();
    let users: BTreeSet<&str> = names.map(|entry| &*entry.user).collect();
    let counts = inner.clients.counts(config_max);
    let used_clients = counts.idle + counts.active + counts.waiting;
    let servers = || inner.servers.iter().flatten();
    let idle = servers().filter(|slot| slot.idle.is_some()).count();
    let rows: [(&'static str, Value); 14] = [
        ("databases", databases.len().into()),
        ("users", users.len().into()),
        ("peers", Value::Whole(0)),
        ("pools", inner.pools.pools().count().into()),
        ("peer_pools", Value::Whole(0)),
        ("free_clients", inner.clients.room().into()),
        ("used_clients", used_clients.into()),
        ("login_clients", counts.login.into()),
        ("free_servers", idle.into()),
        ("used_servers", (servers().count() - idle).into()),
        ("dns_names", Value::Whole(0)),
        ("dns_zones", Value::Whole(0)),
        ("dns_queries", Value::Whole(0)),
        ("dns_pending", Value::Whole(0)),
    ];
    let mut table = Table::new(COLUMNS);
    for (list, items) in rows {
        table.push(vec![list.into(), items]);
    }
    table
}
