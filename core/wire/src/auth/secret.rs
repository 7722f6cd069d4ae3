//! Stored secrets: what their forms are, and what each can prove in which method.
//!
//! Owns: the three forms of PostgreSQL's `pg_authid.rolpassword` and PgBouncer's `userlist.txt`,
//! and the matrix of method and form.
//! Refuses: storing a secret anywhere, and guessing: what looks like a SCRAM secret and is not
//! well formed is an error, not somebody's odd password.
//! Invariant: a secret never prints, has no NUL, and is wiped when dropped.
//! Source: PgBouncer's documentation, `auth_type` and "Authentication file format".

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::md5::Md5Hash;
use super::scram::{BadVerifier, ScramVerifier};

/// The longest secret: an RDS IAM token, which is a password, has more than 1 KiB.
pub const SECRET_LEN_MAX: usize = 8 * 1024;

/// A password as it is. Its encoding is unknown, as it is to PostgreSQL.
#[derive(Clone)]
pub struct Password(Box<[u8]>);

/// A stored secret.
#[derive(Clone, Debug)]
pub enum Secret {
    /// The password: proves everything.
    Plain(Password),
    /// `md5` and 32 digits: proves MD5 in both roles, and nothing else.
    Md5(Md5Hash),
    /// `SCRAM-SHA-256$...`: checks a client's SCRAM proof. Proves nothing to a server by itself.
    Scram(ScramVerifier),
}

/// How clients prove who they are (`auth_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthType {
    /// No proof is asked.
    Trust,
    /// MD5; SCRAM where the stored secret is a SCRAM one.
    Md5,
    /// SCRAM-SHA-256.
    ScramSha256,
}

/// What a server asks of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerMethod {
    /// The password as it is.
    Cleartext,
    /// MD5.
    Md5,
    /// SCRAM-SHA-256.
    ScramSha256,
}

/// What a client is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Demand<'a> {
    /// Nothing.
    Nothing,
    /// An MD5 answer to this hash.
    Md5(&'a Md5Hash),
    /// An MD5 answer to the hash of this password: [`Md5Hash::of`].
    Md5OfPlain(&'a Password),
    /// A SCRAM proof that this accepts.
    Scram(&'a ScramVerifier),
    /// A SCRAM proof of this password: derive its keys once and keep them,
    /// [`super::scram::ScramKeys::derive`] with [`super::scram::MockSecret::salt`].
    ScramOfPlain(&'a Password),
    /// An MD5 answer, none of which will be right.
    DoomedMd5(Refusal),
    /// A SCRAM proof, none of which will be right.
    DoomedScram(Refusal),
}

/// Why a login was refused: for the log, never for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such user.
    #[error("no such user")]
    UnknownUser,
    /// The user has no password, and may log in under `auth_type = trust` only.
    #[error("the user has no password; give it one, or use auth_type = trust")]
    NoPassword,
    /// The role's VALID UNTIL has passed.
    #[error("the user's password has expired (VALID UNTIL)")]
    Expired,
    /// The role may not log in.
    #[error("the role is not permitted to log in (NOLOGIN)")]
    NoLogin,
    /// What a look-up returned for this user is no secret.
    #[error("what auth_query returned for the user cannot be used")]
    Unusable,
    /// Not the user's password.
    #[error("wrong password")]
    WrongPassword,
    /// An MD5 hash cannot check a SCRAM proof.
    #[error(
        "the user's secret is an MD5 hash, which cannot serve auth_type = scram-sha-256; \
         store the password or its SCRAM-SHA-256$ secret, or use auth_type = md5"
    )]
    Md5SecretUnderScram,
}

/// A stored secret that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Empty: nobody logs in with an empty password.
    #[error("the secret is empty")]
    Empty,
    /// It begins like a SCRAM secret and goes on otherwise.
    #[error("the SCRAM secret is malformed: {0}; copy rolpassword from pg_authid as it is")]
    MalformedScram(#[from] BadVerifier),
    /// A NUL cannot travel in the protocol.
    #[error("the secret contains a NUL")]
    Nul,
    /// More than [`SECRET_LEN_MAX`] bytes.
    #[error("the secret is longer than {SECRET_LEN_MAX} bytes")]
    TooLong,
}

/// A secret that cannot prove what a server asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotProve {
    /// A one-way form: the method needs the password.
    #[error(
        "the server asks for {method}, which needs the password itself; the stored secret is {form}"
    )]
    NeedsPassword {
        /// What the server asks for.
        method: ServerMethod,
        /// What there is.
        form: &'static str,
    },
}

impl Password {
    /// Takes a password: not empty, no NUL, at most [`SECRET_LEN_MAX`] bytes.
    pub fn new(password: &[u8]) -> Result<Self, SecretError> {
        if password.is_empty() {
            return Err(SecretError::Empty);
        }
        if SECRET_LEN_MAX < password.len() {
            return Err(SecretError::TooLong);
        }
        if password.contains(&0) {
            return Err(SecretError::Nul);
        }
        Ok(Self(password.into()))
    }

    /// The bytes, to be hashed or sent and nothing else.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the same password, in constant time for one length.
    pub fn is(&self, other: &Self) -> bool {
        bool::from(self.0.ct_eq(&other.0))
    }
}

impl Secret {
    /// Reads a stored secret and tells its form as PostgreSQL and PgBouncer do.
    pub fn parse(stored: &[u8]) -> Result<Self, SecretError> {
        let password = Password::new(stored)?;
        if let Some(hash) = Md5Hash::parse(stored) {
            return Ok(Self::Md5(hash));
        }
        if let Some(scram) = stored.strip_prefix(b"SCRAM-SHA-256$") {
            return Ok(Self::Scram(ScramVerifier::parse(scram)?));
        }
        Ok(Self::Plain(password))
    }

    /// The form, as an error may name it.
    pub const fn form(&self) -> &'static str {
        match self {
            Self::Plain(_) => "a password",
            Self::Md5(_) => "an MD5 hash",
            Self::Scram(_) => "a SCRAM-SHA-256 secret",
        }
    }

    /// The password, for a server that asks for it in the clear.
    pub fn for_cleartext(&self) -> Result<&Password, CannotProve> {
        self.password(ServerMethod::Cleartext)
    }

    /// The password, from which SCRAM's keys are derived. A server's SCRAM secret cannot do this;
    /// a client's proof can: [`super::scram_server::Proven::keys`].
    pub fn for_scram(&self) -> Result<&Password, CannotProve> {
        self.password(ServerMethod::ScramSha256)
    }

    /// The hash with which a server's MD5 challenge is answered.
    pub fn for_md5(&self, user: &str) -> Result<Md5Hash, CannotProve> {
        match self {
            Self::Plain(password) => Ok(Md5Hash::of(user, password)),
            Self::Md5(hash) => Ok(hash.clone()),
            Self::Scram(_) => {
                Err(CannotProve::NeedsPassword { method: ServerMethod::Md5, form: self.form() })
            }
        }
    }

    fn password(&self, method: ServerMethod) -> Result<&Password, CannotProve> {
        match self {
            Self::Plain(password) => Ok(password),
            Self::Md5(_) | Self::Scram(_) => {
                Err(CannotProve::NeedsPassword { method, form: self.form() })
            }
        }
    }
}

impl AuthType {
    /// What a known user is asked for; `None` is a user without a password.
    pub const fn demand(self, secret: Option<&Secret>) -> Demand<'_> {
        match (self, secret) {
            (Self::Trust, _) => Demand::Nothing,
            (Self::Md5, Some(Secret::Md5(hash))) => Demand::Md5(hash),
            (Self::Md5, Some(Secret::Plain(password))) => Demand::Md5OfPlain(password),
            (Self::Md5 | Self::ScramSha256, Some(Secret::Scram(verifier))) => {
                Demand::Scram(verifier)
            }
            (Self::ScramSha256, Some(Secret::Plain(password))) => Demand::ScramOfPlain(password),
            (Self::ScramSha256, Some(Secret::Md5(_))) => {
                Demand::DoomedScram(Refusal::Md5SecretUnderScram)
            }
            (Self::Md5 | Self::ScramSha256, None) => self.demand_doomed(Refusal::NoPassword),
        }
    }

    /// What an unknown user is asked for: what a known one is, to no avail. (Under `trust` there
    /// is no proof to fail; whether strangers may pass is the caller's question.)
    pub const fn demand_of_stranger(self) -> Demand<'static> {
        self.demand_doomed(Refusal::UnknownUser)
    }

    const fn demand_doomed(self, why: Refusal) -> Demand<'static> {
        match self {
            Self::Trust => Demand::Nothing,
            Self::Md5 => Demand::DoomedMd5(why),
            Self::ScramSha256 => Demand::DoomedScram(why),
        }
    }
}

impl std::fmt::Display for ServerMethod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cleartext => "a cleartext password",
            Self::Md5 => "MD5",
            Self::ScramSha256 => "SCRAM-SHA-256",
        })
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(redacted)")
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
