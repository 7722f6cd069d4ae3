//! PgBouncer's `userlist.txt`: names and secrets of those who may log in.
//!
//! Owns: the file's form, its limits, and the look-up of a user who wants to log in.
//! Refuses: opening the file, and reading on past a line that is not understood: PgBouncer logs it
//! and drops the rest of the file, so that some users cannot log in and nobody knows why.
//! Invariant: an error names the line and never its secret; a name occurs once.
//! Source: PgBouncer's documentation, "Authentication file format".

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::auth::secret::{AuthType, Demand, Secret, SecretError};

/// The longest file, in bytes.
pub const USERLIST_LEN_MAX: usize = 4 << 20;

/// The most users.
pub const USERS_MAX: usize = 10_000;

/// The longest name, in bytes: PostgreSQL cuts names to 63, PgBouncer takes 127.
pub const USER_NAME_LEN_MAX: usize = 127;

/// One user of the file.
pub struct UserLine {
    /// Where it stands, from 1.
    pub line: usize,
    /// The name.
    pub name: String,
    /// The secret as it is written, quotes undone; empty for a user without one. It is well
    /// formed: [`Secret::parse`] takes it.
    pub secret: Zeroizing<String>,
}

/// A file that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct UserListError {
    /// Where, from 1.
    pub line: usize,
    /// What.
    pub fault: UserListFault,
}

/// What is wrong with a line, and the mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserListFault {
    /// The same name as on an earlier line.
    #[error("user \"{name}\" is already on line {first}; remove one of the two")]
    Duplicate {
        /// The name.
        name: String,
        /// The earlier line.
        first: usize,
    },
    /// The name is empty.
    #[error("the user name is empty; write \"name\" \"secret\"")]
    EmptyName,
    /// Something behind the secret.
    #[error(
        "unexpected text behind the secret; write a quote inside a name or secret twice (\"\"), \
         and begin a comment with a semicolon"
    )]
    Garbage,
    /// The name is longer than [`USER_NAME_LEN_MAX`].
    #[error("the user name is longer than {USER_NAME_LEN_MAX} bytes")]
    LongName,
    /// No second quoted string.
    #[error("there is no secret behind the user name; write \"name\" \"secret\"")]
    NoSecret,
    /// The line does not begin with a quote.
    #[error("the line does not begin with a quoted user name; write \"name\" \"secret\"")]
    NotQuoted,
    /// Bytes that are not UTF-8.
    #[error("the line is not UTF-8; convert the file")]
    NotUtf8,
    /// The secret is none.
    #[error("user \"{name}\": {error}")]
    Secret {
        /// Whose.
        name: String,
        /// What.
        error: SecretError,
    },
    /// The file is longer than [`USERLIST_LEN_MAX`].
    #[error("the file is longer than {USERLIST_LEN_MAX} bytes")]
    TooLong,
    /// More users than [`USERS_MAX`].
    #[error("there are more than {USERS_MAX} users")]
    TooMany,
    /// A quote without its end.
    #[error("a quoted string does not end on its line; write a quote inside it twice (\"\")")]
    Unterminated,
}

/// Reads a file. Lines are `"name" "secret"`; empty ones and those that begin with a semicolon
/// are nothing. A third quoted string, which PgBouncer tolerates, is ignored.
pub fn parse(file: &[u8]) -> Result<Vec<UserLine>, UserListError> {
    if USERLIST_LEN_MAX < file.len() {
        return Err(UserListError { line: 1, fault: UserListFault::TooLong });
    }
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let mut users: Vec<UserLine> = Vec::new();
    let mut first_lines = BTreeMap::new();
    for (line, bytes) in (1..).zip(file.split(|&byte| byte == b'\n')) {
        let user = parse_line(line, bytes).map_err(|fault| UserListError { line, fault })?;
        let Some(user) = user else { continue };
        if users.len() == USERS_MAX {
            return Err(UserListError { line, fault: UserListFault::TooMany });
        }
        if let Some(first) = first_lines.insert(user.name.clone(), line) {
            let fault = UserListFault::Duplicate { name: user.name, first };
            return Err(UserListError { line, fault });
        }
        users.push(user);
    }
    assert_eq!(first_lines.len(), users.len(), "a name occurs once");
    Ok(users)
}

fn parse_line(line: usize, bytes: &[u8]) -> Result<Option<UserLine>, UserListFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| UserListFault::NotUtf8)?.trim();
    if text.is_empty() || text.starts_with(';') {
        return Ok(None);
    }
    let (name, rest) = quoted(text)?.ok_or(UserListFault::NotQuoted)?;
    let (secret, mut rest) = quoted(rest.trim_start())?.ok_or(UserListFault::NoSecret)?;
    if !rest.is_empty() && !rest.starts_with([' ', '\t', ';']) {
        return Err(UserListFault::Garbage);
    }
    while let Some((_, after)) = quoted(rest.trim_start())? {
        rest = after;
    }
    let rest = rest.trim_start();
    if !rest.is_empty() && !rest.starts_with(';') {
        return Err(UserListFault::Garbage);
    }
    if name.is_empty() {
        return Err(UserListFault::EmptyName);
    }
    if USER_NAME_LEN_MAX < name.len() {
        return Err(UserListFault::LongName);
    }
    match Secret::parse(secret.as_bytes()) {
        Ok(_) | Err(SecretError::Empty) => {
            Ok(Some(UserLine { line, name: name.as_str().to_owned(), secret }))
        }
        Err(error) => Err(UserListFault::Secret { name: name.as_str().to_owned(), error }),
    }
}

/// Takes a quoted string off the front; a doubled quote in it is one. `None`: there is no quote.
fn quoted(text: &str) -> Result<Option<(Zeroizing<String>, &str)>, UserListFault> {
    let Some(mut rest) = text.strip_prefix('"') else { return Ok(None) };
    // Never longer than what is left: a string that grew would leave copies behind, not wiped.
    let mut value = Zeroizing::new(String::with_capacity(rest.len()));
    loop {
        let (part, after) = rest.split_once('"').ok_or(UserListFault::Unterminated)?;
        value.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                value.push('"');
                rest = after;
            }
            None => return Ok(Some((value, after))),
        }
    }
}

/// Who may log in, by name.
#[derive(Debug, Default)]
pub struct Users {
    /// `None`: a user without a secret.
    secrets: BTreeMap<Box<str>, Option<Secret>>,
}

impl Users {
    /// Adds a user; `secret` in the form of the file, empty for none. A name that is there already
    /// gets the new secret.
    pub fn insert(&mut self, name: &str, secret: &str) -> Result<(), UserListFault> {
        let is_known = self.secrets.contains_key(name);
        if self.secrets.len() == USERS_MAX && !is_known {
            return Err(UserListFault::TooMany);
        }
        let secret = match Secret::parse(secret.as_bytes()) {
            // The hash of an empty password is none, as an empty password is.
            Ok(Secret::Md5(hash)) if hash.is_of_nothing(name) => None,
            Ok(secret) => Some(secret),
            Err(SecretError::Empty) => None,
            Err(error) => return Err(UserListFault::Secret { name: name.to_owned(), error }),
        };
        self.secrets.insert(name.into(), secret);
        assert!(self.secrets.len() <= USERS_MAX, "the limit holds");
        Ok(())
    }

    /// What a client that says it is `name` is asked for.
    pub fn demand(&self, auth_type: AuthType, name: &str) -> Demand<'_> {
        match self.secrets.get(name) {
            Some(secret) => auth_type.demand(secret.as_ref()),
            None => auth_type.demand_of_stranger(),
        }
    }

    /// The secret of a user who has one.
    pub fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name)?.as_ref()
    }

    /// Whether there is such a user.
    pub fn contains(&self, name: &str) -> bool {
        self.secrets.contains_key(name)
    }

    /// Names with their secrets, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&Secret>)> {
        self.secrets.iter().map(|(name, secret)| (name.as_ref(), secret.as_ref()))
    }
}

impl std::fmt::Debug for UserLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserLine")
            .field("line", &self.line)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
