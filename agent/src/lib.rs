//! The agent: readings, verdicts and their publication.

pub mod config;

pub use config::Config;
