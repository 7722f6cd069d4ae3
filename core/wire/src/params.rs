//! The parameters that a client brings to its session, and the SQL that gives them to a server.
//!
//! Owns: the list (start-up packet and its `options`) and its limits; the one statement that takes
//! a server from one client's parameters to another's is in `sql`.
//! Refuses: judging names and values: the server does, and its error is the client's.
//! Invariant: no name occurs twice (PostgreSQL compares names without case), no text holds a NUL,
//! and no name is one with which a start-up packet says something else.

use std::borrow::Cow;

use crate::frame::cstr;
use crate::report::{Report, SqlState};

mod encoding;
mod sql;

/// The most parameters of one client. PostgreSQL 17 has 380 in all, most of them the server's.
pub const PARAMS_MAX: usize = 128;

/// The most bytes of all names and values of one client, a NUL after each included.
pub const PARAMS_LEN_MAX: usize = 10_000;

/// What a pooler must keep apart for each client whatever the mode: PgBouncer's five, all of
/// which PostgreSQL reports by ParameterStatus.
pub const TRACKED: [&str; 5] =
    ["client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings", "application_name"];

/// Everything that PostgreSQL up to 18 reports by ParameterStatus.
/// Source: PostgreSQL documentation, "Frontend/Backend Protocol", "Asynchronous Operations".
pub const REPORTED: [&str; 15] = [
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "scram_iterations",
    "search_path",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

/// Names with a meaning of their own in a start-up packet.
const RESERVED: [&[u8]; 4] = [b"user", b"database", b"options", b"replication"];

/// Parameters in the order in which the client gave them; a repeated one keeps its place and
/// takes its last value.
///
/// Two lists are `==` when they are the same list in the same order and spelling, which is one
/// comparison of memory; [`Params::sync_sql`] and [`Params::key`] see through order and case.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Params {
    /// `name NUL value NUL` for each: one allocation for each client, none for most.
    list: Vec<u8>,
    count: usize,
}

/// What two clients share when their parameters have the same effect.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamsKey(Box<[u8]>);

/// Parameters that a client may not bring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// More than [`PARAMS_MAX`].
    #[error("more than {PARAMS_MAX} parameters")]
    TooMany,
    /// More than [`PARAMS_LEN_MAX`].
    #[error("more than {PARAMS_LEN_MAX} bytes of parameters")]
    TooLong,
    /// Not a name that a parameter can have.
    #[error("unrecognized configuration parameter \"{name}\"")]
    BadName {
        /// The name, what is not UTF-8 replaced.
        name: String,
    },
    /// A value with a NUL in it.
    #[error("invalid value for parameter \"{name}\": it contains a NUL")]
    NulInValue {
        /// The parameter.
        name: String,
    },
    /// `-c name` or `--name` without `=value`.
    #[error("{switch} requires a value")]
    NoValue {
        /// The switch as given.
        switch: String,
    },
    /// Something else in `options`.
    #[error("invalid command-line argument for server process: {argument}")]
    BadArgument {
        /// The argument as given.
        argument: String,
    },
}

impl ParamsError {
    /// What the client is told before the connection is closed.
    pub fn report(&self) -> Report {
        let (code, hint) = match self {
            Self::TooMany | Self::TooLong => {
                (SqlState::PROTOCOL_VIOLATION, "Set fewer parameters when connecting.")
            }
            Self::BadName { name } if name.contains('+') => (
                SqlState::UNDEFINED_OBJECT,
                "A \"+\" in a connection URL stands for itself: write a space as \"%20\".",
            ),
            Self::BadName { .. } => (
                SqlState::UNDEFINED_OBJECT,
                "Parameters are those of PostgreSQL's pg_settings, and custom ones with a dot.",
            ),
            Self::NulInValue { .. } => {
                (SqlState::INVALID_PARAMETER_VALUE, "Take the NUL out of the value.")
            }
            Self::NoValue { .. } | Self::BadArgument { .. } => (
                SqlState::SYNTAX_ERROR,
                "Write the options as \"-c name=value\" or \"--name=value\", with a backslash \
                 before each space of a value.",
            ),
        };
        Report::fatal(code, self.to_string()).with_hint(hint)
    }
}

impl Params {
    /// Sets `name` to `value`. An encoding is kept as PostgreSQL spells it.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), ParamsError> {
        check(name, value)?;
        let spelt = match name.eq_ignore_ascii_case(b"client_encoding") {
            true => encoding::canonical(value),
            false => None,
        };
        let value = spelt.unwrap_or(value);
        let old = self.span(name);
        let replaced = old.as_ref().map_or(0, std::ops::Range::len);
        let kept = self.list.len() - replaced;
        if PARAMS_LEN_MAX < kept + name.len() + value.len() + 2 {
            return Err(ParamsError::TooLong);
        }
        if let Some(span) = old {
            let entry = [name, b"\0", value, b"\0"].concat();
            self.list.splice(span, entry);
        } else {
            if self.count == PARAMS_MAX {
                return Err(ParamsError::TooMany);
            }
            self.count += 1;
            self.list.reserve_exact(name.len() + value.len() + 2);
            for part in [name, b"\0", value, b"\0"] {
                self.list.extend_from_slice(part);
            }
        }
        assert!(self.list.len() <= PARAMS_LEN_MAX && self.count <= PARAMS_MAX);
        debug_assert_eq!(self.iter().count(), self.count);
        Ok(())
    }

    /// Sets what the start-up parameter `options` says: `-c name=value` and `--name=value`,
    /// separated by white space that a backslash protects.
    /// Source: PostgreSQL, `pg_split_opts` and `process_postgres_switches`.
    pub fn set_options(&mut self, options: &[u8]) -> Result<(), ParamsError> {
        let mut arguments = split_options(options).into_iter();
        while let Some(argument) = arguments.next() {
            let setting = match argument.as_slice() {
                b"-c" => arguments.next().ok_or_else(|| no_value(&argument))?,
                [b'-', b'c' | b'-', setting @ ..] if !setting.is_empty() => setting.to_vec(),
                _ => return Err(ParamsError::BadArgument { argument: lossy(&argument) }),
            };
            let Some(equals) = memchr::memchr(b'=', &setting) else {
                return Err(no_value(&setting));
            };
            let mut name = setting[..equals].to_vec();
            name.iter_mut().filter(|byte| **byte == b'-').for_each(|byte| *byte = b'_');
            self.set(&name, &setting[equals + 1..])?;
        }
        Ok(())
    }

    /// The value of `name`, in whatever encoding the client uses.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The client's name for itself, what is not UTF-8 replaced.
    pub fn application_name(&self) -> Option<Cow<'_, str>> {
        self.get(b"application_name").map(String::from_utf8_lossy)
    }

    /// The memory behind this list, in bytes.
    pub const fn heap_len(&self) -> usize {
        self.list.capacity()
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.list.as_slice();
        std::iter::from_fn(move || {
            let (name, after) = cstr(rest)?;
            let (value, after) = cstr(after)?;
            rest = after;
            Some((name, value))
        })
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The same for all clients whose parameters have the same effect.
    pub fn key(&self) -> ParamsKey {
        let mut entries: Vec<Vec<u8>> = self
            .iter()
            .map(|(name, value)| [&name.to_ascii_lowercase(), &b"\0"[..], value, b"\0"].concat())
            .collect();
        entries.sort_unstable();
        ParamsKey(entries.concat().into())
    }

    /// Where the entry of `name` lies.
    fn span(&self, name: &[u8]) -> Option<std::ops::Range<usize>> {
        let mut at = 0;
        for (of, value) in self.iter() {
            let end = at + of.len() + value.len() + 2;
            if of.eq_ignore_ascii_case(name) {
                return Some(at..end);
            }
            at = end;
        }
        None
    }
}

/// Names only: a custom parameter may carry a token.
impl std::fmt::Debug for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(|(name, _)| lossy(name))).finish()
    }
}

impl std::fmt::Debug for ParamsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ParamsKey({} bytes)", self.0.len())
    }
}

/// Names are what PostgreSQL takes for a custom parameter, which no built-in name breaks. The
/// start-up packet's own are none: `options=-c user=...` must not become a second user.
/// Source: PostgreSQL, `valid_custom_variable_name`.
fn check(name: &[u8], value: &[u8]) -> Result<(), ParamsError> {
    let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii();
    let is_part = |part: &[u8]| {
        part.first().is_some_and(|&byte| is_start(byte))
            && part.iter().all(|&byte| is_start(byte) || byte.is_ascii_digit() || byte == b'$')
    };
    let is_reserved = RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
        || name.get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"_pq_."));
    if is_reserved || !name.split(|&byte| byte == b'.').all(is_part) {
        return Err(ParamsError::BadName { name: lossy(name) });
    }
    if value.contains(&0) {
        return Err(ParamsError::NulInValue { name: lossy(name) });
    }
    Ok(())
}

fn split_options(options: &[u8]) -> Vec<Vec<u8>> {
    // C's isspace, which has the vertical tab that Rust's has not.
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let mut arguments = Vec::new();
    let mut rest = options.iter().copied().peekable();
    loop {
        while rest.next_if(|&byte| is_space(byte)).is_some() {}
        if rest.peek().is_none() {
            return arguments;
        }
        let mut argument = Vec::new();
        while let Some(byte) = rest.next_if(|&byte| !is_space(byte)) {
            let literal = if byte == b'\\' { rest.next() } else { Some(byte) };
            argument.extend(literal);
        }
        arguments.push(argument);
    }
}

fn no_value(switch: &[u8]) -> ParamsError {
    ParamsError::NoValue { switch: lossy(switch) }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
