//! What a command of the console means.
//!
//! Owns: taking its text apart. Refuses: several commands in one, and PgBouncer's commands that are
//! not here, by name.
//! Invariant: parsing does nothing.
//! Source: PgBouncer, src/admin.c: a word of letters, digits and underscores, or a quoted one.

use stent_wire::report::{Report, SqlState};

use super::show::{self, Show};
use crate::broker::Scope;

/// A command.
pub(crate) enum Command {
    /// Shows a table.
    Show(&'static Show),
    /// Changes something.
    Change(Change),
}

/// A command that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Gives all servers up and takes none until RESUME.
    Pause(Scope),
    /// Ends a pause.
    Resume(Scope),
    /// Replaces all servers.
    Reconnect(Scope),
    /// Has the configuration read anew.
    Reload,
}

impl Change {
    /// The tag of its CommandComplete.
    pub(crate) const fn tag(&self) -> &'static str {
        match self {
            Self::Pause(_) => "PAUSE",
            Self::Resume(_) => "RESUME",
            Self::Reconnect(_) => "RECONNECT",
            Self::Reload => "RELOAD",
        }
    }
}

/// Commands that change something, with what SHOW HELP says of them.
pub(super) const CHANGES: [(&str, &str); 4] = [
    ("PAUSE [database]", "closes all servers when they are given back, and opens none"),
    ("RECONNECT [database]", "replaces all servers when they are given back"),
    ("RELOAD", "reads the configuration anew"),
    ("RESUME [database]", "ends a PAUSE"),
];

/// PgBouncer's commands that are not here.
const OTHERS: [&str; 9] = [
    "DISABLE",
    "ENABLE",
    "KILL",
    "KILL_CLIENT",
    "SUSPEND",
    "SHUTDOWN",
    "WAIT_CLOSE",
    "SET",
    "RESET",
];

/// The command that a text means; `None` where it is empty.
pub(crate) fn parse(text: &[u8]) -> Result<Option<Command>, Report> {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == ';');
    if text.is_empty() {
        return Ok(None);
    }
    let (verb, rest) = text.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((text, ""));
    let is = |known: &&str| verb.eq_ignore_ascii_case(known);
    if OTHERS.iter().any(is) {
        let message = format!("{} is not supported by this console", upper(verb));
        return Err(Report::error(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    Ok(Some(match () {
        () if is(&"SHOW") => Command::Show(show::named(rest)?),
        () if is(&"PAUSE") => Command::Change(Change::Pause(scope(rest)?)),
        () if is(&"RESUME") => Command::Change(Change::Resume(scope(rest)?)),
        () if is(&"RECONNECT") => Command::Change(Change::Reconnect(scope(rest)?)),
        () if is(&"RELOAD") && rest.trim().is_empty() => Command::Change(Change::Reload),
        () => return Err(unknown("the admin console does not know this command")),
    }))
}

/// All databases, or the one that is named: a word as it is, or a quoted one.
fn scope(rest: &str) -> Result<Scope, Report> {
    let rest = rest.trim();
    if rest.is_empty() {
        return Ok(Scope::All);
    }
    let name = match rest.strip_prefix('"') {
        Some(quoted) => unquoted(quoted),
        None if rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => Some(rest.into()),
        None => None,
    };
    let name = name.ok_or_else(|| {
        let message = "after the command there may be one name of a database";
        Report::error(SqlState::SYNTAX_ERROR, message).with_hint(
            "Quote a name that has more than letters, digits and underscores: \"my-db\".",
        )
    })?;
    if super::access::NAMES.contains(&name.as_str()) {
        let message = format!("the console's own database {name} has no servers");
        return Err(Report::error(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    Ok(Scope::Database(name))
}

/// A name up to its closing quote, which must be the last character; two quotes in it are one.
fn unquoted(quoted: &str) -> Option<String> {
    let inside = quoted.strip_suffix('"')?;
    let name = inside.replace("\"\"", "\u{0}");
    let valid = !name.is_empty() && !name.contains('"') && !inside.contains('\u{0}');
    valid.then(|| name.replace('\u{0}', "\""))
}

/// A word of the client's, cut short.
pub(super) fn upper(word: &str) -> String {
    word.chars().take(40).collect::<String>().to_ascii_uppercase()
}

/// The answer to what is no command.
pub(super) fn unknown(message: impl Into<String>) -> Report {
    let hint = format!(
        "There is SHOW followed by one of: {}; PAUSE, RECONNECT, RELOAD, RESUME.",
        show::list()
    );
    Report::error(SqlState::SYNTAX_ERROR, message.into()).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Change {
        match parse(text.as_bytes()) {
            Ok(Some(Command::Change(change))) => change,
            Ok(Some(Command::Show(_)) | None) | Err(_) => panic!("{text} changes something"),
        }
    }

    fn code(text: &str) -> SqlState {
        parse(text.as_bytes()).err().map(|report| report.code).expect(text)
    }

    fn database(name: &str) -> Scope {
        Scope::Database(name.to_owned())
    }

    #[test]
    fn a_command_is_known_in_any_case_and_with_semicolons() {
        assert_eq!(change("pause"), Change::Pause(Scope::All));
        assert_eq!(change("  RESUME\n Shop ; "), Change::Resume(database("Shop")));
        assert_eq!(change("Reconnect;"), Change::Reconnect(Scope::All));
        assert!(parse(b" ;; ").is_ok_and(|nothing| nothing.is_none()));
    }

    #[test]
    fn a_quoted_name_is_taken_as_it_is() {
        assert_eq!(change("pause \"my-db\""), Change::Pause(database("my-db")));
        assert_eq!(change("pause \"a\"\"b\""), Change::Pause(database("a\"b")));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["pause a b", "pause my-db", "pause \"a", "pause \"\"", "pause \"a\"b\""] {
            assert_eq!(code(text), SqlState::SYNTAX_ERROR, "{text}");
        }
    }

    #[test]
    fn the_consoles_own_database_is_not_paused() {
        assert_eq!(code("pause stent"), SqlState::FEATURE_NOT_SUPPORTED);
        assert_eq!(code("reconnect pgbouncer"), SqlState::FEATURE_NOT_SUPPORTED);
    }

    #[test]
    fn what_is_not_here_is_refused_by_its_name() {
        for command in OTHERS {
            let report = parse(command.to_lowercase().as_bytes()).err().unwrap();
            assert_eq!(report.code, SqlState::FEATURE_NOT_SUPPORTED);
            assert!(report.message.starts_with(command), "{}", report.message);
        }
    }

    #[test]
    fn two_commands_in_one_and_what_is_no_command_are_refused() {
        for text in ["show pools; show mem", "select 1", "show nothing", "show pools x", "\u{1f}"] {
            assert_eq!(code(text), SqlState::SYNTAX_ERROR, "{text}");
        }
    }
}
