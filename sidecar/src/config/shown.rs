//! Values as they may be shown, canonical and without secrets: to `check-config` and to the admin console.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use stent_proxy::config::{Change, Shown};

use super::keys::{KEYS, Owner, Row, Secrecy, Settings};
use super::problem::Origin;
use super::raw::Raw;
use super::url::{self, Database};
use crate::reload;

/// What the console of a proxy shows: its own keys and those of everybody.
pub(super) fn of_proxy(raw: &Raw, settings: &Settings, database: &Database) -> Vec<Shown> {
    let own = KEYS.iter().filter(|row| matches!(row.owner, Owner::All | Owner::Proxy));
    own.map(|row| {
        let value = match (row.name, connect_timeout(settings, database)) {
            ("server_connect_timeout", Some(time)) => seconds(time),
            _ => match row.secrecy {
                Secrecy::Public => value(row, raw),
                Secrecy::Secret => redacted(database),
            },
        };
        let change = if reload::is_fixed(row) { Change::Restart } else { Change::Reload };
        Shown { key: row.name, value, default: row.default, change }
    })
    .collect()
}

/// The value of a key that is not secret.
pub(super) fn value(row: &Row, raw: &Raw) -> String {
    let text = raw.find(row.name).map_or(row.default, |entry| entry.text.expose_secret());
    (row.canonical)(text).unwrap_or_default()
}

/// The database's URL without its password.
pub(super) fn redacted(database: &Database) -> String {
    let url = url::render(database, &database.hosts(), None);
    url::redacted(url.expose_secret())
}

/// `connect_timeout` of the URL, where it stands in for a key that nobody wrote.
pub(super) fn connect_timeout(settings: &Settings, database: &Database) -> Option<Duration> {
    let unwritten = matches!(settings.server_connect_timeout.origin, Origin::Default);
    database.connect_timeout.filter(|_| unwritten)
}

/// A time as it would be written.
pub(super) fn seconds(time: Duration) -> String {
    time.as_secs_f64().to_string()
}
