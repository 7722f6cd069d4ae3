//! The proxy against a real PostgreSQL, one behaviour a test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod as_direct;
mod auth_query;
mod bad_input;
mod cancel;
mod faults;
mod firewall;
mod login;
mod notifications;
mod pages;
mod pgbench;
mod pooling;
mod prepared;
mod raw;
mod replication;
mod server_passwords;
mod session_mode;
mod startup;
mod statements;
mod support;
mod tls;
mod vanish;
