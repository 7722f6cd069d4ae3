//! Who may log in: the `auth_file`'s users, else the one of the database URL.
//!
//! Owns: reading the file and giving its errors their line. Refuses: the form of the file, which
//! is `stent_wire::userlist`'s.
//! Invariant: no secret of the file is repeated in a message.

use secrecy::SecretString;
use stent_proxy::config::UserEntry;
use stent_wire::userlist::{self, USERLIST_LEN_MAX};

use super::file;
use super::keys::Settings;
use super::problem::{Origin, Problems};
use super::url::Database;

/// Someone who may log in, and where that was written.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) entry: UserEntry,
    pub(crate) origin: Origin,
}

/// Reads the users; `url` is where the database was written.
pub(crate) fn read(
    settings: &Settings,
    database: Option<&Database>,
    url: &Origin,
    problems: &mut Problems,
) -> Vec<User> {
    let Some(path) = &settings.auth_file.value.0 else {
        let entry = database.and_then(own_user);
        return entry.map(|entry| User { entry, origin: url.clone() }).into_iter().collect();
    };
    let path = path.display().to_string();
    match file::read_bytes(&path, USERLIST_LEN_MAX) {
        Ok(bytes) => entries(&path, &bytes, problems),
        Err(reason) => {
            problems.add(
                &settings.auth_file.origin,
                format!("auth_file cannot be read: {path}: {reason}"),
                "name a readable file with lines of the form \"user\" \"secret\"",
            );
            Vec::new()
        }
    }
}

fn own_user(database: &Database) -> Option<UserEntry> {
    let (name, secret) = (database.user.clone()?, database.password.clone()?);
    Some(UserEntry { name, secret })
}

fn entries(path: &str, bytes: &[u8], problems: &mut Problems) -> Vec<User> {
    let origin = |line| Origin::File { path: path.to_owned(), line };
    match userlist::parse(bytes) {
        Ok(lines) => lines
            .into_iter()
            .map(|line| User {
                entry: UserEntry {
                    name: line.name,
                    secret: SecretString::from(line.secret.as_str()),
                },
                origin: origin(line.line),
            })
            .collect(),
        Err(error) => {
            let fault = error.fault.to_string();
            // The faults say the mend behind a semicolon, where there is one.
            let form = "write lines of the form \"user\" \"secret\"";
            let (reason, mend) = fault.split_once("; ").unwrap_or((&fault, form));
            problems.add(&origin(error.line), reason, mend);
            Vec::new()
        }
    }
}
