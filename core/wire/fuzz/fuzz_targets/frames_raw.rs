//! Hands libFuzzer's bytes to [`targets::frames_raw`], which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::frames_raw(bytes));
