//! Labelled memory traces, leaky and healthy, and the scorer of leak detectors.
//!
//! Owns: families of traces with a known answer ([`families`]), the detectors that people use
//! today ([`baselines`]), and how both are scored ([`score`]).
//! Refuses: files, clocks and any randomness but that of a seed.
//! Invariant: the same family and seed give the same trace on each machine, and a detector is
//! shown one row after the other, never a later one.

pub mod baselines;
pub mod count_report;
pub mod counts;
pub mod families;
pub mod group_report;
pub mod groups;
mod healthy;
mod leaky;
mod live;
mod plan;
pub mod recordings;
pub mod report;
pub mod score;
mod stent;
pub mod trace;

pub use count_report::CountScore;
pub use counts::COUNT_FAMILIES;
pub use families::{FAMILIES, Family};
pub use score::{Alarm, Detector, Score};
pub use stent::Stent;
pub use trace::{Row, Trace, Truth};
