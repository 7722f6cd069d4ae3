//! The rules of the repository as tests, and the generated files.
//!
//! Owns: what a machine can check about the source itself: floors, sizes, headers, purity of the
//! cores, names, and the freshness of what is generated. All of it runs in the ordinary test run.
//! Refuses: what rustc, clippy, rustfmt and cargo-deny check already.
//! Invariant: each rule has a self-test that shows it can fail.

pub mod finding;
pub mod generated;
pub mod lines;
pub mod manifest;
pub mod reference;
pub mod rules;
pub mod source;
pub mod sources;
pub mod tree;
mod uses;
