//! What else a stored SCRAM secret and its imitation must be able to say.
//!
//! Owns: a password against a stored secret, and the draws of [`MockSecret`].
//! Invariant: a draw says nothing about who exists: it depends on the name and our secret only.

use super::{
    MockSecret, SCRAM_ITERATIONS_MAX, ScramKeys, ScramVerifier, hmac, normalized, salted_password,
    sha256,
};
use crate::auth::secret::Password;
use subtle::ConstantTimeEq as _;

impl ScramVerifier {
    /// The keys of a password, if it is the one behind this secret: thousands of hash rounds.
    pub fn keys_of(&self, password: &Password) -> Option<ScramKeys> {
        let keys = ScramKeys::derive(password, &self.salt, self.iterations);
        assert!(keys.fit(&self.salt, self.iterations), "derived for this very secret");
        (keys.verifier() == *self).then_some(keys)
    }

    /// Whether no password at all is behind this secret, with which nobody may log in: thousands
    /// of hash rounds.
    pub fn is_of_nothing(&self) -> bool {
        let salted = salted_password(&normalized(b""), &self.salt, self.iterations);
        let client_key = hmac(&*salted, &[b"Client Key"]);
        bool::from(sha256(&*client_key).ct_eq(&*self.stored_key))
    }

    /// Its hash rounds.
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }
}

impl MockSecret {
    /// The same secret, for strangers who are asked for so many hash rounds.
    #[must_use]
    pub fn with_iterations(&self, iterations: u32) -> Self {
        assert!((1..=SCRAM_ITERATIONS_MAX).contains(&iterations), "checked where it was read");
        Self { iterations, ..self.clone() }
    }

    /// A number below `end`, always the same for one name.
    pub(crate) fn draw(&self, user: &str, end: u64) -> u64 {
        assert!(end > 0, "there is something to draw from");
        let sum = hmac(&*self.key, &[b"Likeness ", user.as_bytes()]);
        let (first, _) = sum.split_first_chunk().expect("32 bytes hold 8");
        u64::from_be_bytes(*first) % end
    }
}
