//! The pooling proxy: sockets, timers and the session loop around the pure cores.

pub mod config;

pub use config::Config;
