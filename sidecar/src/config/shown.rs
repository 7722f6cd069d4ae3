//! Values as they may be shown, canonical and without secrets: to `check-config` and to the admin console.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use stent_proxy::config::{Change, Shown};

use super::Loaded;
use super::keys::{KEYS, Owner, Row, Secrecy, Settings};
use super::problem::Origin;
use super::raw::Raw;
use super::url::{self, Database};
use crate::reload;

/// What the console of a proxy shows: its own keys and those of everybody.
pub(super) fn of_proxy(loaded: &Loaded) -> Vec<Shown> {
    let own = KEYS.iter().filter(|row| matches!(row.owner, Owner::All | Owner::Proxy));
    own.map(|row| {
        let (value, _) = value(loaded, row);
        let change = if reload::is_fixed(row) { Change::Restart } else { Change::Reload };
        Shown { key: row.name, value, default: row.default, change }
    })
    .collect()
}

/// The value of a key that is in force, and where it came from.
pub(super) fn value(loaded: &Loaded, row: &Row) -> (String, Origin) {
    let (database, url_origin) = (loaded.database.as_ref(), &loaded.database_origin);
    if row.secrecy == Secrecy::Secret {
        return (database.map(redacted).unwrap_or_default(), url_origin.clone());
    }
    let of_url = database.and_then(|database| connect_timeout(&loaded.settings, database));
    if let ("server_connect_timeout", Some(time)) = (row.name, of_url) {
        let origin = Origin::UrlPart(Box::new(url_origin.clone()), "connect_timeout");
        return (time.as_secs_f64().to_string(), origin);
    }
    let entry = loaded.raw.find(row.name);
    let origin = entry.map_or(Origin::Default, |entry| entry.origin.clone());
    (written(&loaded.raw, row), origin)
}

/// What was written for a key that is not secret, or its default.
pub(super) fn written(raw: &Raw, row: &Row) -> String {
    let text = raw.find(row.name).map_or(row.default, |entry| entry.text.expose_secret());
    (row.canonical)(text).unwrap_or_default()
}

/// `connect_timeout` of the URL, where it stands in for a key that nobody wrote.
pub(super) fn connect_timeout(settings: &Settings, database: &Database) -> Option<Duration> {
    let unwritten = matches!(settings.server_connect_timeout.origin, Origin::Default);
    database.connect_timeout.filter(|_| unwritten)
}

/// The database's URL without its password.
fn redacted(database: &Database) -> String {
    let url = url::render(database, &database.hosts(), None);
    url::redacted(url.expose_secret())
}
