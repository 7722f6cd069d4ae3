//! Hands libFuzzer's bytes to [`targets::sessions`], which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::sessions(bytes));
