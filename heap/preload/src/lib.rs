//! `LD_PRELOAD`: jemalloc with heap profiles, for programs that know nothing of it.
//!
//! Owns: nothing itself. `allocator` puts jemalloc in the C library's place, `process` starts the server of
//! `stent-heap`, which does the rest.
//! Refuses: static and setuid programs, which do not load it, and C libraries other than glibc.
//! Invariant: a program under it does what it does without, only with another allocator.
#![allow(unsafe_code, reason = "C's functions, and the C library's, cannot be had without")]

mod allocator;
mod process;
