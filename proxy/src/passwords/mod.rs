//! With which secret we log in to the database in a user's name.
//!
//! Owns: the choice of the source, reading files, and the rule for passwords in the clear. Refuses:
//! AWS's credentials ([`aws`]) and the login itself (`connect`).
//! Invariant: a password is sent as it is only where nobody else can read it: over TLS, over a unix
//! socket, or to this machine.

mod aws;
mod http;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;
use secrecy::{ExposeSecret as _, SecretString};
use stent_wire::auth::secret::{SECRET_LEN_MAX, Secret, SecretError, ServerMethod};
use zeroize::Zeroizing;

use crate::broker::Broker;
use crate::config::Config;
use crate::config::passwords::PasswordSource;
use crate::error::Error;
use crate::stream::Stream;

use aws::{Iam, IamError};

/// The sources of all users.
pub(crate) struct Passwords {
    of_users: FxHashMap<String, Source>,
    of_others: Source,
    iam: Option<Iam>,
}

enum Source {
    Auto,
    Literal(Secret),
    File(PathBuf),
    RdsIam,
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    /// None was given.
    #[error("the server asks for {0}, and no password is configured")]
    None(ServerMethod),
    /// A token proves nothing but itself.
    #[error(
        "the server asks for {0}, and an IAM token serves only where it asks for a cleartext \
         password; GRANT rds_iam to the user"
    )]
    TokenFor(ServerMethod),
    /// Others could read the password.
    #[error(
        "the server asks for the password in the clear, over a connection that others can read"
    )]
    InTheClear,
    /// The file cannot be read.
    #[error("the password file {path} cannot be read: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// What the file holds is no secret.
    #[error("the password file {path}: {why}")]
    FileSecret {
        /// Which.
        path: String,
        /// Why.
        why: SecretError,
    },
    /// No token.
    #[error("no RDS IAM token: {0}")]
    Iam(#[from] IamError),
}

impl PasswordError {
    /// Whether another attempt can only end the same.
    pub(crate) const fn is_permanent(&self) -> bool {
        match self {
            Self::None(_) | Self::TokenFor(_) | Self::InTheClear => true,
            Self::File { .. } | Self::FileSecret { .. } | Self::Iam(_) => false,
        }
    }

    /// What to do.
    pub(crate) const fn hint(&self) -> &'static str {
        match self {
            Self::None(_) => {
                "Give the user's password in DATABASE_URL or auth_file, or name its source in \
                 server_password_source."
            }
            Self::InTheClear => {
                "Use TLS to the server (server_tls_sslmode), or have it ask for scram-sha-256 in \
                 its pg_hba.conf."
            }
            Self::TokenFor(_) | Self::File { .. } | Self::FileSecret { .. } | Self::Iam(_) => {
                "Check what server_password_source names for this user."
            }
        }
    }
}

impl Passwords {
    /// From the configuration. Literals are parsed once.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let passwords = &config.server_passwords;
        let mut of_users = FxHashMap::default();
        for (user, source) in &passwords.of_users {
            of_users.insert(user.clone(), Source::new(user, source)?);
        }
        let iam = passwords.rds_iam.clone();
        Ok(Self {
            of_users,
            of_others: Source::new("", &passwords.of_others)?,
            iam: iam.map(|iam| Iam::new(iam, &config.upstream)),
        })
    }

    /// Whether the keys that clients of this user have proved to have may serve.
    pub(crate) fn is_auto(&self, user: &str) -> bool {
        match self.source(user) {
            Source::Auto => true,
            Source::Literal(_) | Source::File(_) | Source::RdsIam => false,
        }
    }

    fn source(&self, user: &str) -> &Source {
        self.of_users.get(user).unwrap_or(&self.of_others)
    }
}

impl Source {
    fn new(user: &str, source: &PasswordSource) -> Result<Self, Error> {
        Ok(match source {
            PasswordSource::Auto => Self::Auto,
            PasswordSource::Literal(text) => {
                Self::Literal(parse(text).map_err(|error| Error::User {
                    name: user.to_owned(),
                    why: error.to_string(),
                })?)
            }
            PasswordSource::File(path) => Self::File(path.clone()),
            PasswordSource::RdsIam => Self::RdsIam,
        })
    }
}

fn parse(text: &SecretString) -> Result<Secret, SecretError> {
    Secret::parse(text.expose_secret().as_bytes())
}

impl Broker {
    /// The secret with which this user proves itself in this method, over this connection.
    pub(crate) async fn server_secret(
        &self,
        user: &str,
        method: ServerMethod,
        stream: &Stream,
    ) -> Result<Secret, PasswordError> {
        if method == ServerMethod::Cleartext && !may_carry_cleartext(stream) {
            return Err(PasswordError::InTheClear);
        }
        let present = self.present();
        match present.passwords.source(user) {
            Source::Auto => {
                let looked_up = || present.auth_query.as_ref()?.secret(user);
                let secret = present.users.server_secret(user).cloned().or_else(looked_up);
                secret.ok_or(PasswordError::None(method))
            }
            Source::Literal(secret) => Ok(secret.clone()),
            Source::File(path) => read(path).await,
            Source::RdsIam if method != ServerMethod::Cleartext => {
                Err(PasswordError::TokenFor(method))
            }
            Source::RdsIam => {
                let iam = present.passwords.iam.as_ref().ok_or(IamError::NotConfigured)?;
                Ok(Secret::Plain(iam.token(user).await?))
            }
        }
    }
}

/// Reads a file off the runtime's thread: it may be on a slow mount.
async fn read(path: &Path) -> Result<Secret, PasswordError> {
    let shown = path.display().to_string();
    let failed = |why: String| PasswordError::File { path: shown.clone(), why };
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || read_bytes(&path, SECRET_LEN_MAX + 2)).await;
    let bytes = read.map_err(|error| failed(error.to_string()))?;
    let bytes = bytes.map_err(|error| failed(error.to_string()))?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Secret::parse(line).map_err(|why| PasswordError::FileSecret { path: shown, why })
}

/// The content of a small file; of a longer one so much that it shows.
fn read_bytes(path: &Path, max: usize) -> std::io::Result<Zeroizing<Vec<u8>>> {
    use std::io::Read as _;
    // Never grown: a buffer that grew would leave copies behind, not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(max + 1));
    std::fs::File::open(path)?.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a password may go over this connection as it is.
fn may_carry_cleartext(stream: &Stream) -> bool {
    match stream {
        Stream::Tls(_) | Stream::Unix(_) => true,
        Stream::Tcp(socket) => socket.peer_addr().is_ok_and(|peer| is_this_machine(peer.ip())),
        Stream::Gone => false,
    }
}

fn is_this_machine(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_this_machine() {
        for (ip, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("169.254.1.1", false),
            ("0.0.0.0", false),
            ("::", false),
            ("::ffff:10.0.0.1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_this_machine(ip.parse().unwrap()), expected, "{ip}");
        }
    }
}
