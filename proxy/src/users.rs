//! Who may log in, and with which secret we log in to the server in a user's name.
//!
//! Invariant: secrets are parsed once, at the start; what cannot be parsed stops the start.

use secrecy::ExposeSecret;
use stent_wire::auth::hba::{Method, RuleList};
use stent_wire::auth::scram::SCRAM_ITERATIONS;
use stent_wire::auth::secret::{AuthType, Demand, Secret};
use stent_wire::auth::stranger::{Likeness, Strangers};
use stent_wire::userlist::Users as UserList;

use crate::config::{AuthMethod, Config};
use crate::error::Error;

/// Users and their secrets.
pub(crate) struct Users {
    list: UserList,
    upstream: Option<(String, Secret)>,
    asking: Asking,
    strangers: Strangers,
}

/// What clients are asked for.
pub(crate) enum Asking {
    /// All of them the same.
    Everyone(AuthType),
    /// What the first rule says that fits.
    ByRule(RuleList),
}

impl Users {
    /// Parses the secrets of a configuration.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let mut list = UserList::default();
        for user in &config.auth.users {
            list.insert(&user.name, user.secret.expose_secret())
                .map_err(|fault| Error::User { name: user.name.clone(), why: fault.to_string() })?;
        }
        let upstream = match (&config.upstream.user, &config.upstream.password) {
            (Some(user), Some(password)) => {
                let secret = Secret::parse(password.expose_secret().as_bytes())
                    .map_err(|error| Error::User { name: user.clone(), why: error.to_string() })?;
                Some((user.clone(), secret))
            }
            _ => None,
        };
        let asking = match config.auth.method {
            AuthMethod::Trust => Asking::Everyone(AuthType::Trust),
            AuthMethod::Password => Asking::Everyone(AuthType::Password),
            AuthMethod::Md5 => Asking::Everyone(AuthType::Md5),
            AuthMethod::ScramSha256 => Asking::Everyone(AuthType::ScramSha256),
            AuthMethod::Cert => Asking::Everyone(AuthType::Cert),
            AuthMethod::Hba => Asking::ByRule(config.auth.rules.clone()),
        };
        // Where users are looked up, what most of them look like is not known before.
        let strangers = match &config.auth.query {
            Some(_) => Strangers::all_like(Likeness::Scram { iterations: SCRAM_ITERATIONS }),
            None => Strangers::among(list.iter().filter_map(|(_, secret)| secret)),
        };
        Ok(Self { list, upstream, asking, strangers })
    }

    /// What clients are asked for.
    pub(crate) const fn asking(&self) -> &Asking {
        &self.asking
    }

    /// Whether the list has this user.
    pub(crate) fn knows(&self, user: &str) -> bool {
        self.list.contains(user)
    }

    /// What a client of that name must prove.
    pub(crate) fn demand(&self, auth_type: AuthType, user: &str) -> Demand<'_> {
        self.list.demand(auth_type, user)
    }

    /// What clients look like that are none of the users.
    pub(crate) const fn strangers(&self) -> &Strangers {
        &self.strangers
    }

    /// Names and what they must prove, as far as that is a SCRAM proof.
    pub(crate) fn scram_demands(&self) -> impl Iterator<Item = (&str, Demand<'_>)> {
        let asked: Vec<AuthType> = match &self.asking {
            Asking::Everyone(auth_type) => vec![*auth_type],
            Asking::ByRule(rules) => {
                let asked = rules.iter().filter_map(|rule| match rule.method() {
                    Method::Ask(auth_type) => Some(auth_type),
                    Method::Reject => None,
                });
                asked.collect()
            }
        };
        // What SCRAM asks for includes what MD5 does.
        let strongest = [AuthType::ScramSha256, AuthType::Md5];
        let by = strongest.into_iter().find(|auth_type| asked.contains(auth_type));
        let users = self.list.iter().filter_map(|(name, secret)| Some((name, secret?)));
        users.filter_map(move |(name, secret)| Some((name, by?.demand(Some(secret)))))
    }

    /// The secret with which we log in as that user.
    pub(crate) fn server_secret(&self, user: &str) -> Option<&Secret> {
        let of_url = self.upstream.as_ref().filter(|(name, _)| name == user);
        of_url.map(|(_, secret)| secret).or_else(|| self.list.secret(user))
    }
}
