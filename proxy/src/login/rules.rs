//! Which proof a client is asked for: `auth_type`, or the first rule of `auth_hba_file` that fits.
//!
//! Invariant: a client that no rule names is refused, and so is a password that would come over a
//! network in clear where that is not allowed: before anything is asked.

use stent_wire::auth::hba::{Attempt, Encryption, Method, Origin};
use stent_wire::auth::secret::AuthType;
use stent_wire::report::{Report, SqlState};
use stent_wire::startup::Startup;

use super::prove::refused;
use super::{Failed, Login};
use crate::config::CleartextPolicy;
use crate::stream::{Peer, Stream};
use crate::users::Asking;

impl Login {
    /// The proof that this client is asked for.
    pub(super) fn asked_for(&self, startup: &Startup) -> Result<AuthType, Failed> {
        let origin = self.origin()?;
        let present = self.broker.present();
        let auth_type = match present.users.asking() {
            Asking::Everyone(auth_type) => *auth_type,
            Asking::ByRule(rules) => {
                let attempt = Attempt {
                    origin,
                    database: &startup.database,
                    user: &startup.user,
                    replication: startup.replication,
                };
                let Some(rule) = rules.find(&attempt) else {
                    return Err(refused(rules.no_rule(&attempt), "no rule fits"));
                };
                match rule.method() {
                    Method::Ask(auth_type) => auth_type,
                    Method::Reject => {
                        let why = format!("the rule of line {}", rule.line());
                        return Err(refused(rules.rejected(&attempt), why));
                    }
                }
            }
        };
        let in_clear = matches!(origin, Origin::Tcp { encryption: Encryption::None, .. });
        match (auth_type, present.config.auth.cleartext) {
            (AuthType::Password, CleartextPolicy::EncryptedOnly) if in_clear => {
                Err(refused(in_clear_refused(), "auth_allow_cleartext is off"))
            }
            _ => Ok(auth_type),
        }
    }

    /// How the client comes.
    fn origin(&self) -> Result<Origin, Failed> {
        let encryption = match &self.stream {
            Stream::Tls(_) => Encryption::Tls,
            Stream::Tcp(_) | Stream::Unix(_) => Encryption::None,
            Stream::Gone => return Err(Failed::gone("there is no connection")),
        };
        Ok(match self.peer() {
            Peer::Unix(_) => Origin::Local,
            Peer::Tcp(address) => Origin::Tcp { address: address.ip(), encryption },
        })
    }

    /// The other end.
    pub(super) fn peer(&self) -> Peer {
        self.broker.inner().clients.get_mut(self.id).peer
    }
}

fn in_clear_refused() -> Report {
    let message = "a password would come over the network in clear: TLS is required";
    Report::fatal(SqlState::INVALID_AUTHORIZATION, message).with_hint(
        "Connect with sslmode=require or stronger. The server may allow it without TLS by \
         auth_allow_cleartext.",
    )
}
