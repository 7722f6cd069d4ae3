//! Cancel keys.
//!
//! Owns: their limits, equality and silence. Invariant: no key appears in a message of a test.

use stent_wire::cancel::{BadCancelKey, CancelKey};

/// Checklist 11.
#[test]
fn keys_have_4_to_256_bytes() {
    for bytes in [4, 5, 32, 256] {
        assert_eq!(CancelKey::new(&vec![1; bytes]).unwrap().as_bytes().len(), bytes);
    }
    for bytes in [0, 3, 257] {
        assert_eq!(CancelKey::new(&vec![1; bytes]), Err(BadCancelKey { bytes }));
    }
}

#[test]
fn keys_are_equal_when_all_bytes_and_the_length_are() {
    let key = CancelKey::new(&[1, 2, 3, 4]).unwrap();
    assert_eq!(key, CancelKey::new(&[1, 2, 3, 4]).unwrap());
    assert_ne!(key, CancelKey::new(&[1, 2, 3, 5]).unwrap());
    assert_ne!(key, CancelKey::new(&[1, 2, 3, 4, 0]).unwrap());
}

#[test]
fn a_key_does_not_print() {
    let key = CancelKey::new(&[201, 202, 203, 204]).unwrap();
    assert_eq!(format!("{key:?}"), "CancelKey(4 bytes)");
}
