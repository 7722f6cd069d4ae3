//! Who may log in, and with which secret we log in to the server in a user's name.
//!
//! Invariant: secrets are parsed once, at the start; what cannot be parsed stops the start.

use secrecy::ExposeSecret;
use stent_wire::auth::secret::{AuthType, Demand, Secret};
use stent_wire::userlist::Users as UserList;

use crate::config::{AuthMethod, Config};
use crate::error::Error;

/// Users and their secrets.
pub(crate) struct Users {
    list: UserList,
    upstream: Option<(String, Secret)>,
    method: AuthType,
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
        let method = match config.auth.method {
            AuthMethod::Trust => AuthType::Trust,
            AuthMethod::Md5 => AuthType::Md5,
            AuthMethod::ScramSha256 => AuthType::ScramSha256,
        };
        Ok(Self { list, upstream, method })
    }

    /// How clients prove who they are.
    pub(crate) const fn method(&self) -> AuthType {
        self.method
    }

    /// Whether the list has this user.
    pub(crate) fn knows(&self, user: &str) -> bool {
        self.list.contains(user)
    }

    /// What a client of that name must prove.
    pub(crate) fn demand(&self, user: &str) -> Demand<'_> {
        self.list.demand(self.method, user)
    }

    /// The secret with which we log in as that user.
    pub(crate) fn server_secret(&self, user: &str) -> Option<&Secret> {
        let of_url = self.upstream.as_ref().filter(|(name, _)| name == user);
        of_url.map(|(_, secret)| secret).or_else(|| self.list.secret(user))
    }
}
