//! Unpredictable bytes for nonces, salts and cancel keys.
//!
//! Owns: a small store of them, so that not each login asks the kernel.
//! Invariant: the bytes come from the operating system's generator, or the proxy does not start;
//! each is given out once, and is not in the store after that.

use std::fs::File;
use std::io::{self, Read};

use zeroize::Zeroize;

use crate::shared::Lock;

/// A login with SCRAM takes 22.
const STORE_LEN: usize = 512;

/// The operating system's generator, kept open, and what was read from it ahead.
#[derive(Debug)]
pub(crate) struct Entropy {
    source: File,
    store: Lock<Store>,
}

struct Store {
    bytes: [u8; STORE_LEN],
    /// How many of them, at the end, were not given out.
    left: usize,
}

impl Entropy {
    /// Opens the generator.
    pub(crate) fn open() -> io::Result<Self> {
        let store = Lock::new(Store { bytes: [0; STORE_LEN], left: 0 });
        Ok(Self { source: File::open("/dev/urandom")?, store })
    }

    /// So many unpredictable bytes.
    pub(crate) fn bytes<const N: usize>(&self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Puts unpredictable bytes into all of `out`, at most as many as the store has room for.
    pub(crate) fn fill(&self, out: &mut [u8]) -> io::Result<()> {
        assert!(out.len() <= STORE_LEN, "no nonce is so long");
        let store = &mut *self.store.lock();
        if store.left < out.len() {
            // A read that fails half-way leaves bytes that were given out before: none of them counts.
            store.left = 0;
            (&self.source).read_exact(&mut store.bytes)?;
            store.left = STORE_LEN;
        }
        let from = STORE_LEN - store.left;
        let given = &mut store.bytes[from..from + out.len()];
        out.copy_from_slice(given);
        given.zeroize();
        store.left -= out.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_byte_is_given_out_twice() {
        let entropy = Entropy::open().unwrap();
        let all: HashSet<[u8; 18]> = (0..1_000).map(|_| entropy.bytes().unwrap()).collect();
        assert_eq!(all.len(), 1_000);
        assert!(!all.contains(&[0; 18]));
    }

    #[test]
    fn what_was_given_out_is_not_in_the_store() {
        let entropy = Entropy::open().unwrap();
        let given: [u8; 32] = entropy.bytes().unwrap();
        let store = entropy.store.lock();
        assert_eq!(store.bytes[..32], [0; 32]);
        assert!(!store.bytes.windows(32).any(|window| window == given));
        assert_eq!(store.left, STORE_LEN - 32);
    }

    #[test]
    fn a_store_that_is_too_small_for_the_next_is_filled_anew() {
        let entropy = Entropy::open().unwrap();
        let _: [u8; STORE_LEN - 1] = entropy.bytes().unwrap();
        let next: [u8; 8] = entropy.bytes().unwrap();
        assert_ne!(next, [0; 8]);
        assert_eq!(entropy.store.lock().left, STORE_LEN - 8);
    }
}
