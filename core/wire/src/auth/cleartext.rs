//! A password that a client has sent as it is, against what is stored.
//!
//! Refuses: deciding whether a password may travel in clear; that is the caller's.
//! Invariant: a comparison tells nothing of where, or by how much, two passwords differ; one in vain
//! costs what one with a user's secret costs.
//! Source: PostgreSQL, `plain_crypt_verify` in `crypt.c`.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::md5::{Md5Challenge, Md5Hash};
use super::scram::{MockSecret, ScramKeys};
use super::secret::{Password, Refusal, Secret};
use super::stranger::Likeness;

/// What a client's password is compared with.
#[derive(Clone, Debug)]
pub struct PasswordCheck {
    against: Secret,
    /// Set where no password will be right.
    doom: Option<Refusal>,
}

impl PasswordCheck {
    /// For a user who has a secret.
    pub const fn new(secret: Secret) -> Self {
        Self { against: secret, doom: None }
    }

    /// For a client that cannot log in, so that it cannot tell.
    pub fn doomed(mock: &MockSecret, user: &str, likeness: Likeness, why: Refusal) -> Self {
        let stand_in = || Password::new(b"x").expect("one letter is a password");
        let against = match likeness {
            Likeness::Plain => Secret::Plain(stand_in()),
            Likeness::Md5 => Secret::Md5(Md5Hash::of(user, &stand_in())),
            Likeness::Scram { iterations } => {
                Secret::Scram(mock.with_iterations(iterations).verifier(user))
            }
        };
        Self { against, doom: Some(why) }
    }

    /// Whether [`Self::verify`] is thousands of hash rounds.
    pub const fn is_slow(&self) -> bool {
        match self.against {
            Secret::Plain(_) | Secret::Md5(_) => false,
            Secret::Scram(_) => true,
        }
    }

    /// Judges a password. `Ok` has the keys with which we can log in, in the client's name, to a
    /// server that stores the same SCRAM secret, if it is one. Whatever is wrong, the client is told
    /// [`super::login_failed`].
    pub fn verify(self, user: &str, given: &[u8]) -> Result<Option<ScramKeys>, Refusal> {
        let given = Password::new(given).map_err(|_| Refusal::WrongPassword)?;
        let found = match &self.against {
            Secret::Plain(password) => is_same(password, &given).then_some(None),
            Secret::Md5(hash) => {
                let answer = Md5Hash::of(user, &given).answer([0; 4]);
                let challenge = Md5Challenge::new(hash.clone(), [0; 4]);
                challenge.verify(&answer).is_ok().then_some(None)
            }
            Secret::Scram(verifier) => verifier.keys_of(&given).map(Some),
        };
        // Looked at behind the comparison, which has taken its time.
        match self.doom {
            Some(why) => Err(why),
            None => found.ok_or(Refusal::WrongPassword),
        }
    }
}

/// Sums are compared, so that not even the length shows.
fn is_same(one: &Password, other: &Password) -> bool {
    let sum = |password: &Password| Sha256::digest(password.as_bytes());
    bool::from(sum(one).ct_eq(&sum(other)))
}
