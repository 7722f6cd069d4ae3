//! Whose growth it is, of real programs in Rust and Python: named, and twins not accused.
//!
//! Invariant: the programs are processes of their own that end with their test.

mod python;
mod running;
mod rust;
