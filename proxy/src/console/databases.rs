//! `SHOW DATABASES`, with PgBouncer's columns.
//!
//! A row is a database that clients have asked for, or that the configuration names. Where Stent has
//! no such setting the column is null, or 0 where PgBouncer says "none" by it.
//! Source: PgBouncer, doc/usage.md ("SHOW DATABASES") and src/admin.c.

use std::collections::BTreeMap;

use crate::config::Endpoint;

use super::counts::{self, Counts};
use super::show::View;
use super::table::{Column, Table, Value, text, whole};

const COLUMNS: &[Column] = &[
    text("name"),
    text("host"),
    whole("port"),
    text("database"),
    text("force_user"),
    whole("pool_size"),
    whole("min_pool_size"),
    whole("reserve_pool_size"),
    whole("server_lifetime"),
    text("pool_mode"),
    text("load_balance_hosts"),
    whole("max_connections"),
    whole("current_connections"),
    whole("max_client_connections"),
    whole("current_client_connections"),
    whole("paused"),
    whole("disabled"),
];

/// Makes the table.
pub(super) fn table(view: &View<'_>) -> Table {
    let present = view.broker.present();
    let config = &present.config;
    let limits = view.broker.inner().pools.limits().clone();
    let places: Vec<Endpoint> = config.upstream.endpoints().collect();
    let mut table = Table::new(COLUMNS);
    for (name, counts) in databases(view) {
        let paused = u64::from(view.broker.is_database_paused(&name));
        // Those of a user for whom there is no rule of its own.
        let sizes = limits.sizes(&name, "");
        let read = config.upstream.readers.as_ref().zip(config.upstream.read_database(&name));
        let (hosts, port, database) = match read {
            Some((readers, database)) => {
                (joined(readers.places.iter()), readers.places[0].port, database.to_owned())
            }
            None => (joined(places.iter()), config.upstream.port, name.clone()),
        };
        table.push(vec![
            name.into(),
            hosts.into(),
            u64::from(port).into(),
            database.into(),
            Value::Null,
            sizes.pool_size.get().into(),
            sizes.min_pool_size.into(),
            sizes.reserve_pool_size.into(),
            limits.server_lifetime.map_or(0, |life| life.as_secs()).into(),
            config.pool_mode.as_str().into(),
            Value::Null,
            limits.max_db_connections.map_or(0, |most| most.get()).into(),
            counts.servers.into(),
            config.max_db_client_connections.map_or(0, |most| most.get()).into(),
            counts.clients.into(),
            paused.into(),
            Value::Whole(0),
        ]);
    }
    table
}

fn joined<'a>(places: impl Iterator<Item = &'a Endpoint>) -> String {
    places.map(|place| &*place.host).collect::<Vec<_>>().join(",")
}

fn databases(view: &View<'_>) -> BTreeMap<String, Counts> {
    let present = view.broker.present();
    let upstream = &present.config.upstream;
    let named = upstream.database.as_ref().or(upstream.user.as_ref());
    counts::by(&view.broker.inner(), |entry| &entry.database, named.into_iter().cloned())
}
