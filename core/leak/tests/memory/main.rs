//! The memory detector, fed with series whose answer is known.

mod behaviour;
mod common;
mod explained;
mod families;
mod hidden;
mod siblings;
