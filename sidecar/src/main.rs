//! The `stent` binary.
fn main() {}
