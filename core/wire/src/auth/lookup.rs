//! `auth_query`: asking PostgreSQL for a user's secret.
//!
//! Owns: the messages of the question, and what the answer means. Refuses: sockets and caches.
//! Invariant: the user's name is a parameter of the query and never part of its text; a user who
//! could not log in to PostgreSQL (no such role, no password, an expired one, NOLOGIN) is doomed
//! here too, whatever the query says; no error repeats a secret.
//! Source: PgBouncer's documentation, `auth_query`; PostgreSQL, `get_role_password`.

use std::time::Duration;

use super::secret::{AuthType, Demand, Refusal, Secret, SecretError};
use crate::frame::put_message;
use crate::ledger::{Ledger, Owed};
use crate::report::reply::parse_data_row;

/// Asks PostgreSQL itself. It takes a superuser; for others write a function (SECURITY DEFINER).
pub const DEFAULT_QUERY: &str =
    "SELECT rolname, rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1";

/// Goes with every query, so that none can forget it: what PostgreSQL shows strangers, and whether
/// the role of this name may log in, and for how many seconds yet (NULL: for ever). Both are NULL
/// where there is no such role.
const GUARD_QUERY: &str = "SELECT pg_catalog.current_setting('password_encryption'), \
     r.rolcanlogin, CASE WHEN r.rolvaliduntil = '-infinity' THEN -1 \
     WHEN r.rolvaliduntil <> 'infinity' THEN \
     extract(epoch FROM r.rolvaliduntil - pg_catalog.clock_timestamp()) END \
     FROM (VALUES (1)) AS one(n) LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname = $1";

/// The rows that are asked for: a second one is a mistake in the query.
const ROWS_MAX: u32 = 2;

/// What PostgreSQL says of a user.
#[derive(Debug)]
pub struct LookedUp {
    /// The secret; else why nobody logs in under this name.
    pub secret: Result<Secret, Refusal>,
    /// What a stranger is asked for under `auth_type = md5`: as in PostgreSQL, what its
    /// `password_encryption` says.
    pub strangers: AuthType,
    /// How long the secret is valid yet, counted from the question; `None`: without end.
    pub valid_for: Option<Duration>,
}

/// An answer that the query should not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLookup {
    /// Our own question was not answered.
    #[error("PostgreSQL gives no answer about the role")]
    Guard,
    /// Not two columns.
    #[error("auth_query gives {columns} columns; it has to give two, user name and secret")]
    Columns {
        /// How many.
        columns: usize,
    },
    /// More than one row.
    #[error("auth_query gives more than one row for a user")]
    Rows,
    /// The first column is not the name that was asked for.
    #[error("auth_query gives another user than it was asked for")]
    OtherUser,
    /// The secret is none.
    #[error("auth_query gives a secret that cannot be used: {0}")]
    Secret(SecretError),
}

/// Appends the whole question: `query` and the guard, each with the name as its one parameter, and
/// a Sync. The caller tells the server's book: [`note_question`].
pub fn put_question(out: &mut Vec<u8>, query: &str, user: &str) {
    assert!(!query.contains('\0') && !user.contains('\0'), "a string of the protocol has no NUL");
    for sql in [query, GUARD_QUERY] {
        put_message(out, b'P', |body| {
            body.push(0);
            body.extend_from_slice(sql.as_bytes());
            // The end of the text, and no types: PostgreSQL finds the parameter's.
            body.extend_from_slice(&[0, 0, 0]);
        });
        put_message(out, b'B', |body| {
            // No portal name, no statement name, parameters as text, one parameter.
            body.extend_from_slice(&[0, 0, 0, 0, 0, 1]);
            body.extend_from_slice(&(user.len() as u32).to_be_bytes());
            body.extend_from_slice(user.as_bytes());
            // Results as text.
            body.extend_from_slice(&[0, 0]);
        });
        put_message(out, b'E', |body| {
            body.push(0);
            body.extend_from_slice(&ROWS_MAX.to_be_bytes());
        });
    }
    put_message(out, b'S', |_| {});
}

/// Enters a question in the book of the server that gets it.
pub fn note_question(ledger: &mut Ledger) {
    for _ in 0..2 {
        ledger.extended(Owed::Parse(None));
        ledger.extended(Owed::Bind(0));
        ledger.extended(Owed::Execute);
    }
    ledger.sync();
    assert!(!ledger.is_settled(), "a question is owed an answer");
}

/// Reads the bodies of all DataRows of the answer.
pub fn read_answer(rows: &[Vec<u8>], user: &str) -> Result<LookedUp, BadLookup> {
    let (guard, rows) = rows.split_last().ok_or(BadLookup::Guard)?;
    let guard = parse_data_row(guard).ok_or(BadLookup::Guard)?;
    let [Some(encryption), can_login, seconds] = guard[..] else { return Err(BadLookup::Guard) };
    let seconds = seconds.map(seconds_of).transpose()?;
    let strangers = match encryption {
        b"scram-sha-256" => AuthType::ScramSha256,
        // `on` and `md5`.
        _ => AuthType::Md5,
    };
    let refusal = match seconds {
        _ if can_login == Some(b"f") => Some(Refusal::NoLogin),
        Some(seconds) if seconds < 0.0 => Some(Refusal::Expired),
        Some(_) | None => None,
    };
    let secret = match rows {
        [] => Err(Refusal::UnknownUser),
        [row] => secret_of(row, user)?.and_then(|secret| refusal.map_or(Ok(secret), Err)),
        [_, _, ..] => return Err(BadLookup::Rows),
    };
    // What is too long for a Duration is for ever.
    let valid_for = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(LookedUp { secret, strangers, valid_for })
}

fn seconds_of(text: &[u8]) -> Result<f64, BadLookup> {
    let text = std::str::from_utf8(text).map_err(|_| BadLookup::Guard)?;
    text.parse().ok().filter(|seconds: &f64| seconds.is_finite()).ok_or(BadLookup::Guard)
}

/// The secret in a row; `Err` inside where the user has none.
fn secret_of(row: &[u8], user: &str) -> Result<Result<Secret, Refusal>, BadLookup> {
    let fields = parse_data_row(row).ok_or(BadLookup::Columns { columns: 0 })?;
    let [name, secret] = fields[..] else {
        return Err(BadLookup::Columns { columns: fields.len() });
    };
    if name != Some(user.as_bytes()) {
        return Err(BadLookup::OtherUser);
    }
    match secret.map(Secret::parse) {
        Some(Ok(secret)) => Ok(Ok(secret)),
        None | Some(Err(SecretError::Empty)) => Ok(Err(Refusal::NoPassword)),
        Some(Err(error)) => Err(BadLookup::Secret(error)),
    }
}

impl LookedUp {
    /// A name under which nobody logs in.
    pub const fn nobody(why: Refusal) -> Self {
        Self { secret: Err(why), strangers: AuthType::ScramSha256, valid_for: None }
    }

    /// What a client of that name is asked for.
    pub const fn demand(&self, method: AuthType) -> Demand<'_> {
        match &self.secret {
            Ok(secret) => method.demand(Some(secret)),
            Err(why) => match (method, self.strangers) {
                (AuthType::Trust, _) => Demand::Nothing,
                (AuthType::Md5, AuthType::Md5) => Demand::DoomedMd5(*why),
                (AuthType::Md5, AuthType::ScramSha256 | AuthType::Trust)
                | (AuthType::ScramSha256, _) => Demand::DoomedScram(*why),
            },
        }
    }
}
