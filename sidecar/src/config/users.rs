//! Who may log in: the `auth_file`'s users, else the one of the database URL.
//!
//! Owns: reading the file and giving its errors their line. Refuses: the form of the file, which
//! is `stent_wire::userlist`'s.
//! Invariant: no line of the file is repeated in a message.

use secrecy::{ExposeSecret as _, SecretString};
use stent_proxy::config::UserEntry;

use super::keys::Settings;
use super::problem::{Origin, Problems};
use super::url::Database;
use super::{Users, file};

/// Reads the users.
pub(crate) fn read(
    settings: &Settings,
    database: Option<&Database>,
    problems: &mut Problems,
) -> Users {
    let Some(path) = &settings.auth_file.value.0 else {
        return Users { entries: database.and_then(own_user).into_iter().collect() };
    };
    let path = path.display().to_string();
    match file::read_text(&path) {
        Ok(text) => Users { entries: entries(&path, text.expose_secret(), problems) },
        Err(reason) => {
            problems.add(
                &settings.auth_file.origin,
                format!("auth_file: cannot read {path}: {reason}"),
                "name a readable file with lines of the form \"user\" \"secret\"",
            );
            Users { entries: Vec::new() }
        }
    }
}

fn own_user(database: &Database) -> Option<UserEntry> {
    let (name, secret) = (database.user.clone()?, database.password.clone()?);
    Some(UserEntry { name, secret })
}

fn entries(path: &str, text: &str, problems: &mut Problems) -> Vec<UserEntry> {
    let mut entries = Vec::new();
    for (line, user) in text.lines().enumerate().map(|(n, l)| (n + 1, l)) {
        let _ = (line, user, Origin::Default, &problems, path);
        entries.push(UserEntry { name: user.to_owned(), secret: SecretString::from("") });
    }
    entries
}
