//! The names that servers know statements by.
//!
//! Invariant: a name of ours is for one text for ever, and no client reaches one by guessing it.

use super::Statement;

/// The beginning of every statement name that a server gets from us.
pub(super) const PREFIX: &[u8] = b"_stent_";

/// The number of a statement that no client means: a name that is always taken.
pub(super) const DECOY: u64 = u64::MAX;

/// Whether a client asks for a name of our form.
pub(super) fn is_ours(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}

/// The number that a name of ours ends in.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let value = |digit: &u8| char::from(*digit).to_digit(16).map(u64::from);
    digits.iter().rev().try_fold(0, |number, digit| Some(number << 4 | value(digit)?))
}

/// A statement's name on a server, without an allocation in the usual case.
pub(super) enum ServerName {
    Numbered {
        text: [u8; 32],
        len: usize,
    },
    /// A client asks for a name of our form that it has not prepared: one underscore more makes
    /// it a name that no server has.
    Unreachable(Vec<u8>),
}

impl ServerName {
    pub(super) fn of(statement: Option<&Statement>, name: &[u8]) -> Self {
        match statement {
            Some(statement) => Self::numbered(statement.id()),
            None => Self::Unreachable([b"_", name].concat()),
        }
    }

    pub(super) fn numbered(mut id: u64) -> Self {
        let mut text = [0; 32];
        text[..PREFIX.len()].copy_from_slice(PREFIX);
        let mut len = PREFIX.len();
        loop {
            text[len] = b"0123456789abcdef"[(id & 0xf) as usize];
            len += 1;
            id >>= 4;
            if id == 0 {
                break;
            }
        }
        assert!(len <= text.len(), "sixteen digits and the prefix fit");
        Self::Numbered { text, len }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Numbered { text, len } => &text[..*len],
            Self::Unreachable(name) => name,
        }
    }
}
