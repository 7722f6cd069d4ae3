//! Cancel keys: the secret that lets a client cancel its own query, and nobody else's.
//!
//! Owns: the key's length limits, its comparison in constant time, and the CancelRequest packet.
//! Refuses: knowing which key belongs to which connection.
//! Invariant: a [`CancelKey`] has 4 to 256 bytes, never prints, and is wiped when dropped.
//! Source: PostgreSQL documentation, "Message Formats", BackendKeyData and CancelRequest
//! (protocol 3.0: exactly 4 bytes; 3.2: 4 to 256).

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// The shortest key, and the only length of protocol 3.0.
pub const CANCEL_KEY_LEN_MIN: usize = 4;

/// The longest key of protocol 3.2.
pub const CANCEL_KEY_LEN_MAX: usize = 256;

/// The code that stands where a start-up packet has its protocol version.
pub(crate) const CANCEL_REQUEST_CODE: u32 = 80_877_102;

/// The secret half of a cancel key; the process id is the other.
///
/// Equality takes the same time wherever the keys differ (their lengths are no secret).
#[derive(Clone)]
pub struct CancelKey(Box<[u8]>);

/// Bytes that cannot be a cancel key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a cancel key has {CANCEL_KEY_LEN_MIN} to {CANCEL_KEY_LEN_MAX} bytes, this one has {bytes}"
)]
pub struct BadCancelKey {
    /// How many there were.
    pub bytes: usize,
}

/// What a client sends on a connection of its own to cancel the query of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelRequest {
    /// The process id of the BackendKeyData that the client was given.
    pub pid: i32,
    /// The key that came with it.
    pub key: CancelKey,
}

impl CancelKey {
    /// Takes a key of 4 to 256 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, BadCancelKey> {
        Self::check_len(bytes.len())?;
        Ok(Self(bytes.into()))
    }

    /// Whether a key may have so many bytes: known before they are there.
    pub(crate) fn check_len(bytes: usize) -> Result<(), BadCancelKey> {
        if (CANCEL_KEY_LEN_MIN..=CANCEL_KEY_LEN_MAX).contains(&bytes) {
            Ok(())
        } else {
            Err(BadCancelKey { bytes })
        }
    }

    /// The bytes, to be put into a message and nowhere else.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl CancelRequest {
    /// Appends the packet. It has no type byte: it is the first packet of its connection.
    pub fn put(&self, out: &mut Vec<u8>) {
        let len = 12 + self.key.as_bytes().len();
        assert!((16..=12 + CANCEL_KEY_LEN_MAX).contains(&len), "a cancel key keeps its limits");
        out.extend_from_slice(&(len as u32).to_be_bytes());
        out.extend_from_slice(&CANCEL_REQUEST_CODE.to_be_bytes());
        out.extend_from_slice(&self.pid.to_be_bytes());
        out.extend_from_slice(self.key.as_bytes());
    }
}

impl PartialEq for CancelKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for CancelKey {}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelKey({} bytes)", self.0.len())
    }
}

impl Drop for CancelKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
