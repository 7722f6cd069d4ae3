//! What was written, before it means anything: texts of known keys with their origins.
//!
//! Owns: the order of precedence (flag, `STENT_` variable, file, plain `DATABASE_URL`, default)
//! and the check of every text against its key's parser, the overruled ones too.
//! Refuses: reading files and variables itself; the caller hands both in.
//! Invariant: every text is held as a secret, so a dump of this type shows none.

use std::collections::BTreeMap;
use std::ffi::OsString;

use secrecy::{ExposeSecret, SecretString};

use super::flags::Flags;
use super::keys::{KEYS, Row, Secrecy};
use super::problem::{Origin, Problem, Problems, shown};
use super::{file, variables};

/// The environment, as a map so that tests can hand in their own.
pub type Variables = BTreeMap<String, OsString>;

/// A configuration file that has been read.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Its name, as it goes into messages.
    pub path: String,
    /// Its text.
    pub text: SecretString,
}

/// One text of a known key.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) row: &'static Row,
    pub(crate) text: SecretString,
    pub(crate) origin: Origin,
}

/// Every text that was written, strongest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Raw {
    entries: Vec<Entry>,
}

impl Raw {
    /// Gathers the texts of all sources and checks each one.
    pub(crate) fn gather(
        flags: &Flags,
        variables: &Variables,
        file: Option<&ConfigFile>,
        problems: &mut Problems,
    ) -> Self {
        let mut raw = Self::default();
        raw.entries.extend(flags.entries(problems));
        raw.entries.extend(variables::entries(variables, problems));
        if let Some(file) = file {
            raw.entries.extend(file::entries(file, problems));
        }
        raw.entries.extend(variables::plain_database_url(variables, problems));
        for entry in &raw.entries {
            if let Err(reason) = (entry.row.canonical)(entry.text.expose_secret()) {
                problems.0.push(refusal(entry, &reason));
            }
        }
        raw
    }

    /// The strongest text of a key.
    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.row.name == name)
    }

    /// The strongest text of each key that was written at all.
    pub(crate) fn winners(&self) -> impl Iterator<Item = &Entry> {
        KEYS.iter().filter_map(|row| self.find(row.name))
    }
}

/// The key's name, where its place does not say it: a flag and a variable do, a line does not.
fn named(row: &Row, origin: &Origin) -> String {
    match origin {
        Origin::File { .. } => format!("{}: ", row.name),
        Origin::Variable(_) | Origin::Flag(_) | Origin::UrlPart(..) | Origin::Default => {
            String::new()
        }
    }
}

fn refusal(entry: &Entry, reason: &str) -> Problem {
    let row = entry.row;
    let value = match row.secrecy {
        Secrecy::Public => shown(entry.text.expose_secret()),
        Secrecy::Secret => "its value".to_owned(),
    };
    let reason = format!("{}{value} {reason}", named(row, &entry.origin));
    Problem::new(&entry.origin, reason, format!("write {}", row.expects))
}
