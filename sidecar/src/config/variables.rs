//! The environment: `STENT_<KEY>` for each key, plain `DATABASE_URL`, and nothing unknown.
//!
//! Refuses: a `STENT_` variable that is no key, because a misspelt one would otherwise be a
//! setting that silently does not hold; but for those that other programs make (Kubernetes and
//! Docker links of a service named "stent").
//! Invariant: no value of an unknown variable enters a message.

use std::ffi::OsStr;

use secrecy::SecretString;

use super::keys::{KEYS, row};
use super::problem::{Origin, Problems};
use super::raw::{Entry, Variables};
use super::suggest;

/// Names the configuration file; empty: none is read.
pub(crate) const CONFIG_VARIABLE: &str = "STENT_CONFIG";
const PREFIX: &str = "STENT_";
/// Variables with our prefix that are for the tests, the demo and the benchmarks around this program.
/// STENT_HEAP is for Python programs, whose environment is this one's under `stent run`.
const FOREIGN: [&str; 5] =
    ["STENT_BIN", "STENT_HEAP", "STENT_PG_BIN", "STENT_PROMTOOL", "STENT_TEST_ENDPOINT"];

/// The texts of `STENT_` variables.
pub(crate) fn entries(variables: &Variables, problems: &mut Problems) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (name, value) in variables {
        let Some(key) = name.strip_prefix(PREFIX) else { continue };
        if name == CONFIG_VARIABLE || FOREIGN.contains(&name.as_str()) {
            continue;
        }
        let origin = Origin::Variable(name.clone());
        match row(&key.to_lowercase()) {
            Some(row) if row.variable() == *name => {
                if let Some(text) = text(&origin, value, problems) {
                    entries.push(Entry { row, text, origin });
                }
            }
            Some(_) | None if made_by_a_link(key, value) => {}
            Some(row) => {
                let mend = format!("write it in capitals: {}", row.variable());
                problems.add(&origin, "is not a variable of stent", mend);
            }
            None => problems.add(&origin, "is not a variable of stent", unknown_mend(key)),
        }
    }
    entries
}

/// `DATABASE_URL`, the weakest source of the database.
pub(crate) fn plain_database_url(variables: &Variables, problems: &mut Problems) -> Option<Entry> {
    let origin = Origin::Variable("DATABASE_URL".to_owned());
    let text = text(&origin, variables.get("DATABASE_URL")?, problems)?;
    Some(Entry { row: row("database_url").expect("a key of the table"), text, origin })
}

fn text(origin: &Origin, value: &OsStr, problems: &mut Problems) -> Option<SecretString> {
    if let Some(text) = value.to_str() {
        return Some(SecretString::from(text));
    }
    problems.add(origin, "its value is not UTF-8", "write it in UTF-8");
    None
}

fn unknown_mend(key: &str) -> String {
    let near = suggest::nearest(&key.to_lowercase(), KEYS.iter().map(|row| row.name));
    match near.and_then(row) {
        Some(row) => format!("did you mean {}? Else unset it", row.variable()),
        None => "unset it; `stent help` lists the keys".to_owned(),
    }
}

/// Whether Kubernetes or Docker made this variable for a service whose name begins with "stent".
/// Source: Kubernetes documentation, "Service", "Environment variables": `{NAME}_SERVICE_HOST`,
/// `{NAME}_SERVICE_PORT`, and Docker's `{NAME}_PORT`, `{NAME}_PORT_<n>_TCP…`.
fn made_by_a_link(key: &str, value: &OsStr) -> bool {
    let linked = value.to_str().is_some_and(|v| v.starts_with("tcp://") || v.starts_with("udp://"));
    let key = format!("_{key}");
    linked
        || key.ends_with("_SERVICE_HOST")
        || key.contains("_SERVICE_PORT")
        || ["_TCP_", "_UDP_"].iter().any(|part| key.contains("_PORT_") && key.contains(part))
}
