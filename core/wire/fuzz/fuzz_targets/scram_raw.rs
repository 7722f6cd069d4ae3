//! Hands libFuzzer's bytes to [`targets::scram_raw`], which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::scram_raw(bytes));
