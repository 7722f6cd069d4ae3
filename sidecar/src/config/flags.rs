//! Command-line flags: `--key value` and `--key=value` for each public key, and `--config`.
//!
//! Owns: taking the flags of a command apart. Refuses: a flag for a secret, since anyone on the
//! machine can read the arguments of a process.
//! Invariant: no argument that might hold a secret enters a message.

use secrecy::SecretString;

use super::keys::{KEYS, Row, Secrecy, row};
use super::problem::{Origin, Problems, shown};
use super::raw::Entry;
use super::suggest;

/// The flags of one command, as typed.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    given: Vec<(String, Given)>,
    config: Option<String>,
    /// Arguments that are neither a flag nor a flag's value.
    stray: Vec<String>,
}

/// A flag's value.
#[derive(Clone, Debug)]
enum Given {
    Value(SecretString),
    Missing,
}

impl Flags {
    /// Takes arguments apart; whether a flag exists is judged by [`Self::entries`].
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Self {
        let mut flags = Self::default();
        let mut arguments = arguments.into_iter().peekable();
        while let Some(argument) = arguments.next() {
            let name = match argument.strip_prefix("--") {
                Some(name) => name.to_owned(),
                None if argument == "-c" => "config".to_owned(),
                None => {
                    flags.stray.push(argument);
                    continue;
                }
            };
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (name, arguments.next_if(|next| !next.starts_with("--"))),
            };
            flags.add(name.replace('-', "_"), value);
        }
        flags
    }

    fn add(&mut self, name: String, value: Option<String>) {
        match value {
            Some(value) if name == "config" => self.config = Some(value),
            Some(value) => self.given.push((name, Given::Value(SecretString::from(value)))),
            None => self.given.push((name, Given::Missing)),
        }
    }

    /// The file named by `--config`.
    pub(crate) fn config(&self) -> Option<&str> {
        self.config.as_deref()
    }

    /// The texts of known keys; of a flag given twice the last one counts.
    pub(crate) fn entries(&self, problems: &mut Problems) -> Vec<Entry> {
        for stray in &self.stray {
            let origin = Origin::Flag("command line".to_owned());
            problems.add(
                &origin,
                format!("{} is not a flag", shown(stray)),
                "write flags as --key value, and a command of your own after -- (stent run)",
            );
        }
        let mut entries = Vec::new();
        for (name, given) in self.given.iter().rev() {
            entries.extend(entry(name, given, problems));
        }
        entries
    }
}

fn entry(name: &str, given: &Given, problems: &mut Problems) -> Option<Entry> {
    let origin = Origin::Flag(format!("--{}", name.replace('_', "-")));
    let Some(row) = row(name) else {
        let origin = Origin::Flag(shown_name(name));
        problems.add(&origin, "is not a flag of stent", unknown_mend(name));
        return None;
    };
    if row.secrecy == Secrecy::Secret {
        let reason = "is refused: the arguments of a process can be read by everyone";
        problems.add(&origin, reason, format!("set the variable {}", row.variable()));
        return None;
    }
    match given {
        Given::Value(text) => Some(Entry { row, text: text.clone(), origin }),
        Given::Missing => {
            problems.add(&origin, "has no value", format!("write {}", row.expects));
            None
        }
    }
}

fn shown_name(name: &str) -> String {
    let plain = name.len() <= 40 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain { format!("--{}", name.replace('_', "-")) } else { "a flag".to_owned() }
}

fn unknown_mend(name: &str) -> String {
    if name == "config" {
        return "name the file: --config stent.toml".to_owned();
    }
    let near = suggest::nearest(name, KEYS.iter().map(|row| row.name));
    match near.and_then(row).and_then(Row::flag) {
        Some(flag) => format!("did you mean {flag}?"),
        None => "`stent help` lists them".to_owned(),
    }
}
