//! Programs that know nothing of Stent, under the library that is preloaded: what of theirs grows is named,
//! and they run as they do without.
//!
//! Invariant: each program is a process of its own, compiled here where it is C, that ends with its test.

mod attribution;
mod rig;
mod unharmed;
