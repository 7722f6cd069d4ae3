//! The text of SCRAM messages: attributes in their order, numbers, nonces and base64.
//!
//! Owns: the bound on a message's length. Refuses: attributes out of their order, which is fixed.
//! Invariant: what [`Attributes::next`] returns are parts of the message as it stands: signatures
//! are made over its very bytes.
//! Source: RFC 5802 section 7.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::{KEY_LEN, Key, SCRAM_MESSAGE_LEN_MAX, ScramError};

/// Reads the attributes of a SCRAM message from the front: a letter, `=`, a value, a comma.
pub(in crate::auth) struct Attributes<'a> {
    all: &'a str,
    rest: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    /// Bounds a message and makes it text: SCRAM is UTF-8, and what we read of it is ASCII.
    pub(in crate::auth) fn text(message: &'a [u8]) -> Result<&'a str, ScramError> {
        if SCRAM_MESSAGE_LEN_MAX < message.len() {
            return Err(ScramError::Malformed("The message is too long."));
        }
        let all = std::str::from_utf8(message)
            .map_err(|_| ScramError::Malformed("The message is not UTF-8."))?;
        if all.contains('\0') {
            return Err(ScramError::Malformed("The message contains a NUL."));
        }
        Ok(all)
    }

    /// Reads a message, or the part of one that has attributes.
    pub(in crate::auth) const fn of(all: &'a str) -> Self {
        Self { all, rest: Some(all) }
    }

    /// The next attribute, whatever it is: its letter, its value, and what stands before it
    /// (without the comma).
    pub(in crate::auth) fn next(&mut self) -> Result<Option<(char, &'a str, &'a str)>, ScramError> {
        let Some(rest) = self.rest else { return Ok(None) };
        let before = &self.all[..self.all.len() - rest.len()];
        let before = before.strip_suffix(',').unwrap_or(before);
        let (attribute, after) = match rest.split_once(',') {
            Some((attribute, after)) => (attribute, Some(after)),
            None => (rest, None),
        };
        let malformed = ScramError::Malformed("An attribute does not have the form \"a=value\".");
        let (name, value) = attribute.split_once('=').ok_or(malformed)?;
        let mut letters = name.chars();
        let (Some(letter), None) = (letters.next(), letters.next()) else { return Err(malformed) };
        if !letter.is_ascii_alphabetic() {
            return Err(malformed);
        }
        self.rest = after;
        Ok(Some((letter, value, before)))
    }

    /// The value of the next attribute, which must be `letter`.
    pub(in crate::auth) fn expect(
        &mut self,
        letter: char,
        else_say: &'static str,
    ) -> Result<&'a str, ScramError> {
        match self.next()? {
            Some((of, value, _)) if of == letter => Ok(value),
            Some(_) | None => Err(ScramError::Malformed(else_say)),
        }
    }
}

/// Printable ASCII without the comma, at least one. RFC 5802 section 7, `printable`.
pub(in crate::auth) fn is_nonce(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.bytes().all(|byte| matches!(byte, 0x21..=0x2b | 0x2d..=0x7e))
}

/// A positive number as RFC 5802 writes it: no sign, no leading zero.
pub(in crate::auth) fn parse_iterations(digits: &str) -> Option<u32> {
    let is_posit = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    is_posit.then(|| digits.parse().ok()).flatten()
}

pub(in crate::auth) fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

pub(in crate::auth) fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// Decodes exactly one key.
pub(in crate::auth) fn decode_key(text: &str) -> Option<Key> {
    let bytes = Zeroizing::new(decode(text)?);
    let key: [u8; KEY_LEN] = bytes.as_slice().try_into().ok()?;
    Some(Zeroizing::new(key))
}
