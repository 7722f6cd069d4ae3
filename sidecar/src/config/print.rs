//! The resolved configuration as text: what `stent check-config` prints.
//!
//! Owns: its form, which is a valid `stent.toml` (the database URL is a comment, as its password
//! is not shown). Refuses: secrets.
//! Invariant: each line says where its value came from.

use std::fmt::Write as _;

use secrecy::{ExposeSecret as _, SecretString};

use super::Loaded;
use super::keys::{KEYS, Row, Secrecy};
use super::problem::Origin;
use super::value::TomlShape;
use super::{percent, shown};

/// One line a key, and the warnings.
pub(crate) fn report(loaded: &Loaded) -> String {
    let mut lines: Vec<(String, String)> = Vec::new();
    for row in KEYS {
        let entry = loaded.raw.find(row.name);
        let origin = entry.map_or(Origin::Default, |entry| entry.origin.clone());
        lines.push(match row.secrecy {
            Secrecy::Public => {
                let value = toml(row, &shown::value(row, &loaded.raw));
                (format!("{} = {value}", row.name), origin.to_string())
            }
            Secrecy::Secret => database_line(loaded, row),
        });
    }
    connect_timeout(loaded, &mut lines);
    let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0).min(60);
    let mut out = String::new();
    for (line, origin) in lines {
        writeln!(out, "{line:width$}  # {origin}").expect("a string takes everything");
    }
    for warning in &loaded.warnings {
        writeln!(out, "# warning: {warning}").expect("a string takes everything");
    }
    out
}

fn database_line(loaded: &Loaded, row: &Row) -> (String, String) {
    let url = loaded.database.as_ref().map(shown::redacted);
    let line = format!("# {} = {:?}", row.name, url.unwrap_or_default());
    (line, loaded.database_origin.to_string())
}

/// `connect_timeout` of the URL stands in for a key that nobody wrote.
fn connect_timeout(loaded: &Loaded, lines: &mut [(String, String)]) {
    let database = loaded.database.as_ref();
    let time = database.and_then(|database| shown::connect_timeout(&loaded.settings, database));
    let Some(time) = time else { return };
    let name = "server_connect_timeout = ";
    if let Some(line) = lines.iter_mut().find(|(line, _)| line.starts_with(name)) {
        let part = Origin::UrlPart(Box::new(loaded.database_origin.clone()), "connect_timeout");
        *line = (format!("{name}{}", shown::seconds(time)), part.to_string());
    }
}

fn toml(row: &Row, shown: &str) -> String {
    match row.toml {
        TomlShape::Integer | TomlShape::Number | TomlShape::Size => shown.to_owned(),
        TomlShape::Switch if shown == "on" => "true".to_owned(),
        TomlShape::Switch if shown == "off" => "false".to_owned(),
        TomlShape::Switch | TomlShape::Text | TomlShape::List => {
            toml_edit::Value::from(shown).to_string()
        }
    }
}

/// The secrets as they might turn up in a message: the passwords, as such and percent-encoded,
/// and the URL whole. Texts too short to tell from ordinary words are left out.
pub(crate) fn secrets(loaded: &Loaded) -> Vec<SecretString> {
    let mut secrets = Vec::new();
    for entry in loaded.raw.winners().filter(|entry| entry.row.secrecy == Secrecy::Secret) {
        secrets.push(entry.text.clone());
    }
    let users = loaded.proxy.iter().flat_map(|proxy| proxy.auth.users.iter());
    let passwords = users.map(|user| user.secret.clone());
    let own = loaded.database.iter().filter_map(|database| database.password.clone());
    let sources = loaded.proxy.iter().flat_map(|proxy| proxy.server_passwords.secrets());
    for password in passwords.chain(own).chain(sources) {
        secrets.push(SecretString::from(percent::encoded(password.expose_secret())));
        secrets.push(password);
    }
    secrets.retain(|secret| secret.expose_secret().len() >= SCRUBBED_MIN);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
    secrets
}

/// The shortest secret that is scrubbed from crash messages.
const SCRUBBED_MIN: usize = 4;
