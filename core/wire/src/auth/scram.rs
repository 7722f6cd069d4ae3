//! What both roles of SCRAM-SHA-256 share: keys, secrets, attributes and errors.
//!
//! Owns: key derivation (RFC 5802 section 3, RFC 7677) and PostgreSQL's stored form; the text of the
//! messages is in `attributes`, channel binding in `channel`, what can go wrong in `error`.
//! Refuses: deriving by itself: it is thousands of hash rounds, so the caller derives once for
//! each password, salt and iteration count, and keeps the [`ScramKeys`].
//! Invariant: keys compare in constant time, never print, and are wiped when dropped.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::secret::Password;

mod attributes;
mod channel;
mod error;
mod stored;

pub(super) use attributes::{Attributes, decode, decode_key, encode, is_nonce, parse_iterations};
pub(super) use channel::ServerBinding;
pub use channel::{BindingPolicy, Channel, ClientBinding};
pub use error::{Sanitized, ScramError};

/// The longest SCRAM message. Source: PostgreSQL, `PG_MAX_SASL_MESSAGE_LENGTH`.
pub const SCRAM_MESSAGE_LEN_MAX: usize = 1024;

/// Random bytes of a nonce. Source: PostgreSQL, `SCRAM_RAW_NONCE_LEN`.
pub const SCRAM_NONCE_LEN: usize = 18;

/// PostgreSQL's default (`scram_iterations`).
pub const SCRAM_ITERATIONS: u32 = 4096;

/// The most iterations that are computed: a server must not be able to keep us busy for minutes.
pub const SCRAM_ITERATIONS_MAX: u32 = 1_000_000;

/// Bytes of a salt of ours. Source: PostgreSQL, `SCRAM_DEFAULT_SALT_LEN`.
const SALT_LEN: usize = 16;

/// Bytes of a key: a SHA-256 sum.
pub(super) const KEY_LEN: usize = 32;

/// A key, wiped when dropped.
pub(super) type Key = Zeroizing<[u8; KEY_LEN]>;

/// All that the client role needs of a password, for one salt and iteration count. As good as
/// the password itself: keep it in memory only.
#[derive(Clone)]
pub struct ScramKeys {
    salt: Box<[u8]>,
    iterations: u32,
    client_key: Key,
    server_key: Key,
}

/// What PostgreSQL stores: enough to check a client's proof, not enough to make one.
#[derive(Clone)]
pub struct ScramVerifier {
    pub(super) salt: Box<[u8]>,
    pub(super) iterations: u32,
    pub(super) stored_key: Key,
    pub(super) server_key: Key,
}

/// A stored secret that is no verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadVerifier {
    /// Not `iterations:salt$StoredKey:ServerKey`.
    #[error("it does not have the form SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey")]
    Form,
    /// Iterations that are no number from 1 to [`SCRAM_ITERATIONS_MAX`].
    #[error("its iterations are not a number from 1 to {SCRAM_ITERATIONS_MAX}")]
    Iterations,
    /// A part that is not base64, or a key that does not have 32 bytes.
    #[error("its {0} is not the base64 it should be")]
    Base64(&'static str),
}

/// 32 unpredictable bytes, one for the life of the program, from which the salts of passwords and
/// of users that do not exist are made: the same user always shows the same salt, and nobody can
/// tell which kind it is. Source: PostgreSQL, `mock_scram_secret`.
#[derive(Clone)]
pub struct MockSecret {
    key: Key,
    /// What a user that does not exist is asked for.
    iterations: u32,
}

impl ScramKeys {
    /// Derives the keys of a password: `iterations` hash rounds. The salt comes from the server's
    /// challenge, or from [`MockSecret::salt`] where we are the server.
    pub fn derive(password: &Password, salt: &[u8], iterations: u32) -> Self {
        assert!(!salt.is_empty(), "a challenge has a salt");
        assert!((1..=SCRAM_ITERATIONS_MAX).contains(&iterations), "checked where it was read");
        let salted = salted_password(&normalized(password.as_bytes()), salt, iterations);
        Self {
            salt: salt.into(),
            iterations,
            client_key: hmac(&*salted, &[b"Client Key"]),
            server_key: hmac(&*salted, &[b"Server Key"]),
        }
    }

    /// The keys that a client has just proved to have.
    pub(super) fn proven(verifier: &ScramVerifier, client_key: Key) -> Self {
        assert!(
            bool::from(sha256(&*client_key).ct_eq(&*verifier.stored_key)),
            "a proof is checked"
        );
        Self {
            salt: verifier.salt.clone(),
            iterations: verifier.iterations,
            client_key,
            server_key: verifier.server_key.clone(),
        }
    }

    /// Whether these are the keys for a challenge.
    pub fn fit(&self, salt: &[u8], iterations: u32) -> bool {
        self.salt.as_ref() == salt && self.iterations == iterations
    }

    /// What checks the proofs that these keys make.
    pub fn verifier(&self) -> ScramVerifier {
        ScramVerifier {
            salt: self.salt.clone(),
            iterations: self.iterations,
            stored_key: sha256(&*self.client_key),
            server_key: self.server_key.clone(),
        }
    }

    /// ClientProof = ClientKey XOR HMAC(StoredKey, AuthMessage).
    pub(super) fn proof(&self, auth_message: &str) -> Key {
        let stored_key = sha256(&*self.client_key);
        xor(&self.client_key, &hmac(&*stored_key, &[auth_message.as_bytes()]))
    }

    /// What the server must answer.
    pub(super) fn server_signature(&self, auth_message: &str) -> Key {
        hmac(&*self.server_key, &[auth_message.as_bytes()])
    }
}

impl ScramVerifier {
    /// Reads what stands behind `SCRAM-SHA-256$`: `iterations:salt$StoredKey:ServerKey`.
    pub(crate) fn parse(stored: &[u8]) -> Result<Self, BadVerifier> {
        let stored = std::str::from_utf8(stored).map_err(|_| BadVerifier::Form)?;
        let (head, keys) = stored.split_once('$').ok_or(BadVerifier::Form)?;
        let (iterations, salt) = head.split_once(':').ok_or(BadVerifier::Form)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(BadVerifier::Form)?;
        let iterations = parse_iterations(iterations)
            .filter(|iterations| *iterations <= SCRAM_ITERATIONS_MAX)
            .ok_or(BadVerifier::Iterations)?;
        let salt = decode(salt).ok_or(BadVerifier::Base64("salt"))?;
        if salt.is_empty() {
            return Err(BadVerifier::Base64("salt"));
        }
        Ok(Self {
            salt: salt.into(),
            iterations,
            stored_key: decode_key(stored_key).ok_or(BadVerifier::Base64("StoredKey"))?,
            server_key: decode_key(server_key).ok_or(BadVerifier::Base64("ServerKey"))?,
        })
    }

    /// The client key behind a proof, if the proof is right.
    pub(super) fn check(&self, proof: &Key, auth_message: &str) -> Option<Key> {
        let signature = hmac(&*self.stored_key, &[auth_message.as_bytes()]);
        let client_key = xor(proof, &signature);
        bool::from(sha256(&*client_key).ct_eq(&*self.stored_key)).then_some(client_key)
    }

    /// Our answer to a right proof.
    pub(super) fn server_signature(&self, auth_message: &str) -> Key {
        hmac(&*self.server_key, &[auth_message.as_bytes()])
    }
}

impl MockSecret {
    /// Takes 32 unpredictable bytes.
    pub fn new(bytes: [u8; KEY_LEN]) -> Self {
        Self { key: Zeroizing::new(bytes), iterations: SCRAM_ITERATIONS }
    }

    /// The salt of a user whose secret has none of its own, or who does not exist.
    pub fn salt(&self, user: &str) -> [u8; SALT_LEN] {
        let sum = hmac(&*self.key, &[user.as_bytes()]);
        let (salt, _) = sum.split_first_chunk().expect("32 bytes hold 16");
        *salt
    }

    /// A verifier that no proof passes: its stored key is not the hash of anything known.
    pub(super) fn verifier(&self, user: &str) -> ScramVerifier {
        ScramVerifier {
            salt: self.salt(user).into(),
            iterations: self.iterations,
            stored_key: hmac(&*self.key, &[b"StoredKey ", user.as_bytes()]),
            server_key: hmac(&*self.key, &[b"ServerKey ", user.as_bytes()]),
        }
    }
}

/// Equality of keys, in constant time.
impl PartialEq for ScramVerifier {
    fn eq(&self, other: &Self) -> bool {
        let keys =
            self.stored_key.ct_eq(&*other.stored_key) & self.server_key.ct_eq(&*other.server_key);
        self.salt == other.salt && self.iterations == other.iterations && bool::from(keys)
    }
}

impl Eq for ScramVerifier {}

impl std::fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScramKeys({} iterations, redacted)", self.iterations)
    }
}

impl std::fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScramVerifier({} iterations, redacted)", self.iterations)
    }
}

impl std::fmt::Debug for MockSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MockSecret(redacted)")
    }
}

/// SASLprep, or the bytes as they are where it cannot be applied (not UTF-8, prohibited
/// characters, nothing left): PostgreSQL does the same on both sides. RFC 4013.
fn normalized(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let prepared = std::str::from_utf8(password)
        .ok()
        .and_then(|text| stringprep::saslprep(text).ok())
        .filter(|prepared| !prepared.is_empty());
    Zeroizing::new(match prepared {
        Some(prepared) => prepared.into_owned().into_bytes(),
        None => password.to_vec(),
    })
}

/// Hi() of RFC 5802: PBKDF2 with HMAC-SHA-256 and one block.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let keyed = keyed(password);
    let block = |parts: &[&[u8]]| {
        let mut mac = keyed.clone();
        parts.iter().for_each(|part| mac.update(part));
        Zeroizing::new(<[u8; KEY_LEN]>::from(mac.finalize().into_bytes()))
    };
    let mut last = block(&[salt, &1_u32.to_be_bytes()]);
    let mut sum = last.clone();
    for _ in 1..iterations {
        last = block(&[&*last]);
        sum = xor(&sum, &last);
    }
    sum
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = keyed(key);
    parts.iter().for_each(|part| mac.update(part));
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn sha256(bytes: &[u8]) -> Key {
    Zeroizing::new(Sha256::digest(bytes).into())
}

fn xor(one: &Key, other: &Key) -> Key {
    Zeroizing::new(std::array::from_fn(|at| one[at] ^ other[at]))
}
