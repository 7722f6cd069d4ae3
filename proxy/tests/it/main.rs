//! The proxy against a real PostgreSQL, one behaviour a test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod as_direct;
mod auth;
mod auth_query;
mod auth_rules;
mod auth_waits;
mod bad_input;
mod cancel;
mod caps;
mod classes;
mod console;
mod console_pause;
mod differential;
mod drain;
mod faults;
mod firewall;
mod fleet;
mod hold;
mod hosts;
mod listen;
mod listen_faults;
mod login;
mod matrix;
mod notifications;
mod pages;
mod pass_through;
mod pgbench;
mod pooling;
mod prepared;
mod raw;
mod replication;
mod server_passwords;
mod session_mode;
mod startup;
mod statement_cache;
mod statements;
mod streaming;
mod support;
mod takeover;
mod tls;
mod twins;
mod unasked;
mod vanish;
mod workers;
