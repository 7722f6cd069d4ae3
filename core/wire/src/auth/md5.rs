//! MD5 password authentication, both roles.
//!
//! Owns: the stored hash and the answer to a salt. Refuses: saying that MD5 is safe; it is here
//! because servers and clients of today still ask for it.
//! Invariant: an answer is compared in constant time, and a doomed login costs what a real one does.
//! Source: PostgreSQL documentation, "Message Flow", AuthenticationMD5Password.

use ::md5::{Digest, Md5};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::secret::{Password, Refusal};

/// Hexadecimal digits of an MD5 sum.
const HEX_LEN: usize = 32;

/// What PostgreSQL stores behind `md5`: the hash of password and user name, as 32 hexadecimal
/// digits. Knowing it is as good as knowing the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Md5Hash([u8; HEX_LEN]);

/// A question put to a client: its salt, and what the right answer is made of.
#[derive(Clone, Debug)]
pub struct Md5Challenge {
    salt: [u8; 4],
    expected: Expected,
}

#[derive(Clone, Debug)]
enum Expected {
    Answer(Md5Hash),
    /// No answer is right.
    None(Refusal),
}

impl Md5Hash {
    /// The hash of a password that is at hand.
    pub fn of(user: &str, password: &Password) -> Self {
        Self(hex_md5(password.as_bytes(), user.as_bytes()))
    }

    /// Whether this is the hash of no password at all, with which nobody may log in.
    pub(crate) fn is_of_nothing(&self, user: &str) -> bool {
        bool::from(self.0.ct_eq(&hex_md5(&[], user.as_bytes())))
    }

    /// Reads the stored form: `md5` and 32 lower-case hexadecimal digits. `None`: it is not one.
    pub(crate) fn parse(stored: &[u8]) -> Option<Self> {
        let digits: [u8; HEX_LEN] = stored.strip_prefix(b"md5")?.try_into().ok()?;
        let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        digits.iter().all(is_hex).then_some(Self(digits))
    }

    /// The answer to a salt, as it goes into the PasswordMessage.
    pub fn answer(&self, salt: [u8; 4]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&b"md5"[..], &hex_md5(&self.0, &salt)].concat())
    }
}

impl Md5Challenge {
    /// Asks for the password behind `hash`. `salt`: four unpredictable bytes.
    pub const fn new(hash: Md5Hash, salt: [u8; 4]) -> Self {
        Self { salt, expected: Expected::Answer(hash) }
    }

    /// Asks a client that cannot log in, so that it cannot tell.
    pub const fn doomed(why: Refusal, salt: [u8; 4]) -> Self {
        Self { salt, expected: Expected::None(why) }
    }

    /// The salt, for the AuthenticationMD5Password.
    pub const fn salt(&self) -> [u8; 4] {
        self.salt
    }

    /// Judges an answer. Whatever is wrong, the client is told [`super::login_failed`]; the error
    /// is for the log.
    pub fn verify(self, answer: &[u8]) -> Result<(), Refusal> {
        let (hash, refusal) = match self.expected {
            Expected::Answer(hash) => (hash, None),
            Expected::None(why) => (Md5Hash([b'0'; HEX_LEN]), Some(why)),
        };
        let is_right = bool::from(hash.answer(self.salt).ct_eq(answer));
        match refusal {
            Some(why) => Err(why),
            None if is_right => Ok(()),
            None => Err(Refusal::WrongPassword),
        }
    }
}

impl std::fmt::Debug for Md5Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Md5Hash(redacted)")
    }
}

impl Drop for Md5Hash {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

fn hex_md5(first: &[u8], second: &[u8]) -> [u8; HEX_LEN] {
    let sum = Md5::new().chain_update(first).chain_update(second).finalize();
    let mut hex = [0; HEX_LEN];
    for (digits, byte) in hex.chunks_exact_mut(2).zip(sum) {
        for (digit, nibble) in digits.iter_mut().zip([byte >> 4, byte & 0xf]) {
            *digit = b"0123456789abcdef"[usize::from(nibble)];
        }
    }
    hex
}
