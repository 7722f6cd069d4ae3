//! Hands libFuzzer's bytes to [`targets::startup_raw`], which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::startup_raw(bytes));
