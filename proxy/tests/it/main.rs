//! The proxy against a real PostgreSQL, one behaviour a test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod authority;
mod bad_input;
mod cancel;
mod cancel_tls;
mod cert_auth;
mod channel_binding;
mod faults;
mod firewall;
mod login;
mod middle;
mod pages;
mod pgbench;
mod pooling;
mod prepared;
mod raw;
mod replication;
mod session_mode;
mod startup;
mod statements;
mod support;
mod tls;
mod tls_start;
mod vanish;
