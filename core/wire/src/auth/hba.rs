//! An ordered list of rules: which proof is asked of a client, by how it comes, from where, to which
//! database and as whom.
//!
//! Owns: the rules and their match; the file's form, which is that of `pg_hba.conf`, is in [`parse`].
//! Refuses: a default: a client that no rule names is refused.
//! Invariant: the first rule that fits decides, and none is looked at behind it.
//! Source: PostgreSQL documentation, "The pg_hba.conf File"; `src/backend/libpq/hba.c`.

use std::net::IpAddr;

use super::secret::AuthType;
use crate::report::{Report, SqlState};
use crate::startup::Replication;

mod address;
mod fault;
mod fields;
mod parse;

pub use fault::{HbaError, HbaFault};
pub use parse::parse;

use address::Addresses;

/// The longest file, in bytes.
pub const HBA_LEN_MAX: usize = 1 << 20;

/// The most rules: each login may have to look at all of them.
pub const RULES_MAX: usize = 10_000;

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// It is not.
    None,
    /// TLS.
    Tls,
}

/// How a client comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Over a unix socket.
    Local,
    /// Over TCP.
    Tcp {
        /// From where. An IPv4 address in IPv6's clothes is taken for what it is.
        address: IpAddr,
        /// How.
        encryption: Encryption,
    },
}

/// What a client wants.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// How it comes.
    pub origin: Origin,
    /// The database that it names.
    pub database: &'a str,
    /// As whom.
    pub user: &'a str,
    /// Whether for replication.
    pub replication: Replication,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The client is refused.
    Reject,
    /// This proof is asked.
    Ask(AuthType),
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    line: usize,
    scope: Scope,
    databases: Vec<Database>,
    users: Vec<User>,
    method: Method,
}

/// The rules of a file, in its order. Without any, everyone is refused.
#[derive(Clone, Debug, Default)]
pub struct RuleList {
    file: String,
    rules: Vec<Rule>,
}

/// The connections that a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    Local,
    Tcp { tls: Tls, from: Addresses },
}

/// `host`, `hostssl`, `hostnossl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    Either,
    Only,
    Never,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Database {
    /// Every one; not physical replication.
    All,
    /// The one that has the user's name.
    SameUser,
    /// Physical replication, which is connected to none.
    Replication,
    Named(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum User {
    All,
    Named(String),
}

impl RuleList {
    /// The rule that decides.
    pub fn find(&self, attempt: &Attempt<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.fits(attempt))
    }

    /// The rules, first to last.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// How a client is told that no rule fits: PostgreSQL's words, and where the rules are.
    pub fn no_rule(&self, attempt: &Attempt<'_>) -> Report {
        assert!(self.find(attempt).is_none(), "said only where it is so");
        let Attempt { origin, database, user, .. } = attempt;
        let (host, encryption) = shown(*origin);
        let message = match attempt.replication {
            Replication::Physical => format!(
                "no pg_hba.conf entry for replication connection from host \"{host}\", \
                 user \"{user}\", {encryption}"
            ),
            Replication::Off | Replication::Logical => format!(
                "no pg_hba.conf entry for host \"{host}\", user \"{user}\", \
                 database \"{database}\", {encryption}"
            ),
        };
        let hint = format!(
            "The rules are Stent's own: those of its auth_hba_file, {}. The first that fits decides.",
            self.file
        );
        Report::fatal(SqlState::INVALID_AUTHORIZATION, message).with_hint(hint)
    }

    /// How a client is told that a rule refuses it: PostgreSQL's words. Which rule is in the log.
    pub fn rejected(&self, attempt: &Attempt<'_>) -> Report {
        let Attempt { origin, database, user, .. } = attempt;
        let (host, encryption) = shown(*origin);
        let message = match attempt.replication {
            Replication::Physical => format!(
                "pg_hba.conf rejects replication connection for host \"{host}\", \
                 user \"{user}\", {encryption}"
            ),
            Replication::Off | Replication::Logical => format!(
                "pg_hba.conf rejects connection for host \"{host}\", user \"{user}\", \
                 database \"{database}\", {encryption}"
            ),
        };
        let hint = format!("The rules are those of Stent's auth_hba_file, {}.", self.file);
        Report::fatal(SqlState::INVALID_AUTHORIZATION, message).with_hint(hint)
    }
}

impl Rule {
    /// Where it stands in its file, from 1.
    pub const fn line(&self) -> usize {
        self.line
    }

    /// What it says.
    pub const fn method(&self) -> Method {
        self.method
    }

    /// Whether it lets passwords come over a network in clear.
    pub fn takes_passwords_in_clear(&self) -> bool {
        let in_clear = match &self.scope {
            Scope::Local | Scope::Tcp { tls: Tls::Only, .. } => false,
            Scope::Tcp { tls: Tls::Either | Tls::Never, .. } => true,
        };
        in_clear && self.method == Method::Ask(AuthType::Password)
    }

    fn fits(&self, attempt: &Attempt<'_>) -> bool {
        self.scope.has(attempt.origin)
            && self.databases.iter().any(|database| database.is(attempt))
            && self.users.iter().any(|user| user.is(attempt.user))
    }
}

impl Scope {
    fn has(&self, origin: Origin) -> bool {
        match (self, origin) {
            (Self::Local, Origin::Local) => true,
            (Self::Tcp { tls, from }, Origin::Tcp { address, encryption }) => {
                tls.is(encryption) && from.contain(address)
            }
            (Self::Local, Origin::Tcp { .. }) | (Self::Tcp { .. }, Origin::Local) => false,
        }
    }
}

impl Tls {
    const fn is(self, encryption: Encryption) -> bool {
        matches!(
            (self, encryption),
            (Self::Either, _) | (Self::Only, Encryption::Tls) | (Self::Never, Encryption::None)
        )
    }
}

impl Database {
    /// Source: PostgreSQL, `check_db`: physical replication is named by its own word only, and that
    /// word means nothing else.
    fn is(&self, attempt: &Attempt<'_>) -> bool {
        match (attempt.replication, self) {
            (Replication::Physical, Self::Replication) => true,
            (Replication::Physical, Self::All | Self::SameUser | Self::Named(_)) => false,
            (Replication::Off | Replication::Logical, Self::Replication) => false,
            (Replication::Off | Replication::Logical, Self::All) => true,
            (Replication::Off | Replication::Logical, Self::SameUser) => {
                attempt.database == attempt.user
            }
            (Replication::Off | Replication::Logical, Self::Named(name)) => {
                attempt.database == name
            }
        }
    }
}

impl User {
    fn is(&self, user: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(name) => user == name,
        }
    }
}

/// Host and encryption, in PostgreSQL's words.
fn shown(origin: Origin) -> (String, &'static str) {
    match origin {
        Origin::Local => ("[local]".to_owned(), "no encryption"),
        Origin::Tcp { address, encryption } => {
            let encryption = match encryption {
                Encryption::None => "no encryption",
                Encryption::Tls => "SSL encryption",
            };
            (address.to_canonical().to_string(), encryption)
        }
    }
}
