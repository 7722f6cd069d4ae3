//! Unpredictable bytes for nonces, salts and cancel keys.
//!
//! Invariant: the bytes come from the operating system's generator, or the proxy does not start.

use std::fs::File;
use std::io::{self, Read};

/// The operating system's generator, kept open.
#[derive(Debug)]
pub(crate) struct Entropy(File);

impl Entropy {
    /// Opens the generator.
    pub(crate) fn open() -> io::Result<Self> {
        File::open("/dev/urandom").map(Self)
    }

    /// So many unpredictable bytes.
    pub(crate) fn bytes<const N: usize>(&self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        (&self.0).read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
