//! What the admin console can show, and which of it a command means.
//!
//! Owns: the list of SHOW commands. A new one is a line of [`SHOWS`] and a function that makes its
//! table. Refuses: PgBouncer's commands that change something, by name.
//! Invariant: making a table changes nothing.

use std::sync::Arc;
use std::time::Instant;

use stent_wire::report::{Report, SqlState};

use super::table::{Table, text};
use super::{mem, pools, statements};
use crate::broker::Broker;

/// What tables are made from.
pub(crate) struct View<'a> {
    pub(crate) broker: &'a Arc<Broker>,
    pub(crate) now: Instant,
}

/// A command.
pub(crate) struct Show {
    /// The word after SHOW.
    name: &'static str,
    /// What it shows, for SHOW HELP.
    about: &'static str,
    /// Makes the table.
    pub(crate) table: fn(&View<'_>) -> Table,
}

/// Every command.
const SHOWS: &[Show] = &[
    Show { name: "HELP", about: "this list", table: help },
    Show { name: "MEM", about: "memory by what it is for, in bytes", table: mem::table },
    Show { name: "POOLS", about: "clients and servers of each pool", table: pools::table },
    Show {
        name: "STATEMENTS",
        about: "the busiest unnamed statements that servers keep, with statement_cache = all",
        table: statements::table,
    },
    Show { name: "VERSION", about: "the version of Stent", table: version },
];

/// PgBouncer's commands that change something.
const COMMANDS: [&str; 13] = [
    "PAUSE",
    "RESUME",
    "DISABLE",
    "ENABLE",
    "RECONNECT",
    "KILL",
    "KILL_CLIENT",
    "SUSPEND",
    "SHUTDOWN",
    "RELOAD",
    "WAIT_CLOSE",
    "SET",
    "RESET",
];

/// The command that a text means; `None` where it is empty.
pub(crate) fn parse(text: &[u8]) -> Result<Option<&'static Show>, Report> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == ';');
    let mut words = text.split_ascii_whitespace();
    let Some(first) = words.next() else { return Ok(None) };
    let is = |known: &&str| first.eq_ignore_ascii_case(known);
    if COMMANDS.iter().any(is) {
        let message = format!("{} is not supported: this console changes nothing", upper(first));
        return Err(Report::error(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    if !is(&"SHOW") {
        return Err(unknown("the admin console knows SHOW commands only"));
    }
    let (name, rest) = (words.next().unwrap_or("HELP"), words.next());
    let show = SHOWS.iter().find(|show| show.name.eq_ignore_ascii_case(name));
    match (show, rest) {
        (Some(show), None) => Ok(Some(show)),
        (Some(show), Some(_)) => Err(unknown(format!("SHOW {} takes nothing more", show.name))),
        (None, _) => Err(unknown(format!("there is no SHOW {}", upper(name)))),
    }
}

/// A word of the client's, cut short.
fn upper(word: &str) -> String {
    word.chars().take(40).collect::<String>().to_ascii_uppercase()
}

fn unknown(message: impl Into<String>) -> Report {
    let names: Vec<&str> = SHOWS.iter().map(|show| show.name).collect();
    let hint = format!("There is SHOW followed by one of: {}.", names.join(", "));
    Report::error(SqlState::SYNTAX_ERROR, message.into()).with_hint(hint)
}

fn help(_: &View<'_>) -> Table {
    let mut table = Table::new(const { &[text("command"), text("shows")] });
    for show in SHOWS {
        table.push(vec![format!("SHOW {}", show.name).into(), show.about.into()]);
    }
    table
}

fn version(_: &View<'_>) -> Table {
    let mut table = Table::new(const { &[text("version")] });
    table.push(vec![concat!("Stent ", env!("CARGO_PKG_VERSION")).into()]);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Option<&'static str> {
        parse(text.as_bytes()).unwrap().map(|show| show.name)
    }

    #[test]
    fn a_command_is_known_in_any_case_and_with_semicolons() {
        assert_eq!(named("show pools"), Some("POOLS"));
        assert_eq!(named("  SHOW\n POOLS ; "), Some("POOLS"));
        assert_eq!(named("Show"), Some("HELP"));
        assert_eq!(named(" ;; "), None);
    }

    #[test]
    fn what_changes_something_is_refused_by_its_name() {
        for command in COMMANDS {
            let report = parse(command.to_lowercase().as_bytes()).err().unwrap();
            assert_eq!(report.code, SqlState::FEATURE_NOT_SUPPORTED);
            assert!(report.message.starts_with(command), "{}", report.message);
        }
    }

    #[test]
    fn two_commands_in_one_and_what_is_no_command_are_refused() {
        for text in ["show pools; show mem", "select 1", "show nothing", "show pools x", "\u{1f}"] {
            assert_eq!(
                parse(text.as_bytes()).err().unwrap().code,
                SqlState::SYNTAX_ERROR,
                "{text}"
            );
        }
    }

    #[test]
    fn the_list_is_in_the_order_of_the_alphabet() {
        assert!(SHOWS.is_sorted_by_key(|show| show.name));
    }
}
