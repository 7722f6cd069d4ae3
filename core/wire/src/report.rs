//! Errors and notices, read and written.
//!
//! Owns: the fields of ErrorResponse and NoticeResponse, and reports of our own; SQLSTATEs are in
//! `sqlstate`, the other messages that we write ourselves in [`reply`].
//! Refuses: nothing that a server may send: a report without SQLSTATE, severity or terminator is
//! read as far as it goes.
//! Invariant: what we write is well formed whatever the texts hold: a NUL ends a field early and
//! an overlong text is cut.
//! Source: PostgreSQL documentation, "Message Formats", "Error and Notice Message Fields".

use std::borrow::Cow;

use crate::frame::{cstr, put_message};

pub mod reply;
mod sqlstate;

pub use sqlstate::{SqlState, is_permanent_login_failure};

/// The longest text of a field that we write or keep, in bytes.
pub const FIELD_LEN_MAX: usize = 8 * 1024;

/// How grave a report is, in PostgreSQL's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For developers.
    Debug,
    /// For administrators.
    Log,
    /// Asked for by the client.
    Info,
    /// Of interest.
    Notice,
    /// A likely problem.
    Warning,
    /// The command failed.
    Error,
    /// The session is over.
    Fatal,
    /// All sessions are over.
    Panic,
}

impl Severity {
    const ALL: [Self; 8] = [
        Self::Debug,
        Self::Log,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Fatal,
        Self::Panic,
    ];

    /// PostgreSQL's untranslated word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Log => "LOG",
            Self::Info => "INFO",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Panic => "PANIC",
        }
    }

    /// Reads PostgreSQL's untranslated word.
    pub fn parse(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str().as_bytes() == word)
    }

    /// Whether the server closes the connection after a report of this severity.
    pub const fn ends_session(self) -> bool {
        matches!(self, Self::Fatal | Self::Panic)
    }
}

/// The fields of an ErrorResponse or NoticeResponse body, found when asked for.
///
/// Any field may be missing, SQLSTATE and severity included. A body that breaks off is read up
/// to there.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    body: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads the body of an ErrorResponse or NoticeResponse (without tag and length).
    pub const fn new(body: &'a [u8]) -> Self {
        Self { body }
    }

    /// The first field of type `kind`, raw: its encoding is the session's `client_encoding`.
    pub fn get(&self, kind: u8) -> Option<&'a [u8]> {
        self.iter().find(|&(of, _)| of == kind).map(|(_, value)| value)
    }

    /// All fields with their types, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut rest = self.body;
        std::iter::from_fn(move || {
            let (&kind, after) = rest.split_first()?;
            if kind == 0 {
                return None;
            }
            let (value, after) = cstr(after)?;
            assert!(after.len() < rest.len(), "each field takes bytes");
            rest = after;
            Some((kind, value))
        })
    }

    /// The severity: from `V`, which is never translated, else from `S` where that is English.
    pub fn severity(&self) -> Option<Severity> {
        self.get(b'V').or_else(|| self.get(b'S')).and_then(Severity::parse)
    }

    /// The SQLSTATE.
    pub fn code(&self) -> Option<SqlState> {
        self.get(b'C').and_then(SqlState::parse)
    }

    /// The message, with what is not UTF-8 replaced and at most [`FIELD_LEN_MAX`] bytes.
    pub fn message(&self) -> Option<Cow<'a, str>> {
        self.text(b'M')
    }

    /// The detail, likewise.
    pub fn detail(&self) -> Option<Cow<'a, str>> {
        self.text(b'D')
    }

    /// The hint, likewise.
    pub fn hint(&self) -> Option<Cow<'a, str>> {
        self.text(b'H')
    }

    /// The function of PostgreSQL's source that reported, likewise.
    pub fn routine(&self) -> Option<Cow<'a, str>> {
        self.text(b'R')
    }

    /// Whether a cached plan of a prepared statement no longer fits its tables: 0A000 from
    /// `RevalidateCachedQuery`. The message's text is translated and is not looked at.
    pub fn is_stale_plan(&self) -> bool {
        self.code() == Some(SqlState::FEATURE_NOT_SUPPORTED)
            && self.get(b'R') == Some(b"RevalidateCachedQuery")
    }

    /// Whether it is about names and definitions: class 42.
    pub fn is_of_definitions(&self) -> bool {
        self.get(b'C').is_some_and(|code| code.starts_with(b"42"))
    }

    fn text(&self, kind: u8) -> Option<Cow<'a, str>> {
        let value = self.get(kind)?;
        Some(String::from_utf8_lossy(&value[..value.len().min(FIELD_LEN_MAX)]))
    }
}

impl std::fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fields")
            .field("severity", &self.severity())
            .field("code", &self.code())
            .field("message", &self.message())
            .finish_non_exhaustive()
    }
}

/// A report of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Decides the message too: `Error` and above is an ErrorResponse, less a NoticeResponse.
    pub severity: Severity,
    /// The SQLSTATE.
    pub code: SqlState,
    /// One sentence, PostgreSQL's style: lower case, no full stop.
    pub message: Cow<'static, str>,
    /// The facts behind it.
    pub detail: Option<Cow<'static, str>>,
    /// What to do.
    pub hint: Option<Cow<'static, str>>,
}

impl Report {
    /// A failed command; the session goes on.
    pub fn error(code: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), detail: None, hint: None }
    }

    /// The end of the session.
    pub fn fatal(code: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Fatal, ..Self::error(code, message) }
    }

    /// A notice with the code `00000`.
    pub fn notice(message: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Notice, ..Self::error(SqlState::SUCCESSFUL_COMPLETION, message) }
    }

    /// Adds the facts.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<Cow<'static, str>>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Appends the ErrorResponse or NoticeResponse.
    pub fn put(&self, out: &mut Vec<u8>) {
        let tag = if self.severity < Severity::Error { b'N' } else { b'E' };
        put_message(out, tag, |body| {
            put_field(body, b'S', self.severity.as_str());
            put_field(body, b'V', self.severity.as_str());
            put_field(body, b'C', self.code.as_str());
            put_field(body, b'M', &self.message);
            if let Some(detail) = &self.detail {
                put_field(body, b'D', detail);
            }
            if let Some(hint) = &self.hint {
                put_field(body, b'H', hint);
            }
            body.push(0);
        });
    }
}

fn put_field(body: &mut Vec<u8>, kind: u8, text: &str) {
    assert!(kind != 0, "a zero would end the report");
    let text = text.split('\0').next().unwrap_or_default();
    body.push(kind);
    body.extend_from_slice(&text.as_bytes()[..text.floor_char_boundary(FIELD_LEN_MAX)]);
    body.push(0);
}
