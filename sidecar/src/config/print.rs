//! The resolved configuration as text: what `stent check-config` prints.
//!
//! Owns: its form, which is a valid `stent.toml` (the database URL is a comment, as its password
//! is not shown). Refuses: secrets.
//! Invariant: each line says where its value came from.

use std::fmt::Write as _;

use secrecy::{ExposeSecret as _, SecretString};

use super::Loaded;
use super::keys::{KEYS, Row, Secrecy};
use super::value::TomlShape;
use super::{percent, shown};

/// One line a key, and the warnings.
pub(crate) fn report(loaded: &Loaded) -> String {
    let mut lines: Vec<(String, String)> = Vec::new();
    for row in KEYS {
        let (value, origin) = shown::value(loaded, row);
        let line = match row.secrecy {
            Secrecy::Public => format!("{} = {}", row.name, toml(row, &value)),
            Secrecy::Secret => format!("# {} = {value:?}", row.name),
        };
        lines.push((line, origin.to_string()));
    }
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
