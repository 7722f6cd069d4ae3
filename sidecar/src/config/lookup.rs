//! `auth_query`: the types of its keys, what they mean together, and what comes of them.
//!
//! Refuses: to take the client's database where `auth_dbname` is not written, as PgBouncer does: who
//! wants to log in must not choose where its password is looked up.

use stent_proxy::config::{AuthMethod, AuthQuery};
use stent_wire::auth::lookup::DEFAULT_QUERY;

use super::Upstream;
use super::keys::Settings;
use super::problem::Problems;
use super::url::Database;
use super::value::{KeyType, TomlShape};

/// The name of a role or a database; `None` (written empty) is "none".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionalName(pub Option<String>);

/// PostgreSQL's longest name is 63 bytes long, PgBouncer takes twice as many.
const NAME_LEN_MAX: usize = 127;

impl KeyType for OptionalName {
    const TOML: TomlShape = TomlShape::Text;
    const EXPECTS: &'static str = "a name, or nothing for none";
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("holds a NUL byte".to_owned());
        }
        if text.len() > NAME_LEN_MAX {
            return Err(format!("is longer than {NAME_LEN_MAX} bytes"));
        }
        Ok(Self((!text.is_empty()).then(|| text.to_owned())))
    }
    fn show(&self) -> String {
        self.0.clone().unwrap_or_default()
    }
}

/// The query that finds a user's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupSql(pub String);

impl KeyType for LookupSql {
    const TOML: TomlShape = TomlShape::Text;
    const EXPECTS: &'static str =
        "one SELECT with $1 for the user's name, which gives a row of name and secret";
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("holds a NUL byte".to_owned());
        }
        if !text.contains("$1") {
            return Err("has no $1 for the user's name".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
    fn show(&self) -> String {
        self.0.clone()
    }
}

/// How users are looked up, if they are.
pub(super) fn resolve(settings: &Settings, database: &Database) -> Option<AuthQuery> {
    let user = settings.auth_user.value.0.clone()?;
    let named = settings.auth_dbname.value.0.clone();
    let name = named.or_else(|| database.database.clone()).unwrap_or_else(|| "postgres".to_owned());
    Some(AuthQuery { user, database: name, sql: settings.auth_query.value.0.clone() })
}

/// Every check of these keys.
pub(super) fn check(settings: &Settings, upstream: &Upstream, problems: &mut Problems) {
    let user = &settings.auth_user;
    if !user.is_sound() || upstream.database.is_none() {
        return;
    }
    if user.value.0.is_none() {
        let (query, database) = (&settings.auth_query, &settings.auth_dbname);
        let own = (query.value.0 != DEFAULT_QUERY).then_some(("auth_query", &query.origin));
        let named = database.value.0.is_some().then_some(("auth_dbname", &database.origin));
        for (name, origin) in own.into_iter().chain(named) {
            problems.add(
                origin,
                format!("{name} does nothing without an auth_user, as whom to ask"),
                "set auth_user to a role that may read the secrets",
            );
        }
    } else if settings.auth_type.is_sound() && settings.auth_type.value == AuthMethod::Trust {
        problems.add(
            &user.origin,
            "users are looked up for their secrets, and auth_type trust asks for none",
            "set auth_type scram-sha-256 or md5, or leave auth_user out",
        );
    }
}

/// Whether clients are let in whom no list names.
pub(super) fn is_on(settings: &Settings) -> bool {
    settings.auth_user.value.0.is_some()
}
