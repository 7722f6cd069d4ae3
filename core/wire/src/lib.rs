//! The PostgreSQL wire protocol v3, bytes in and decisions out, without sockets.
//!
//! Owns: message boundaries ([`frame`]), start-up and cancel packets ([`startup`], [`cancel`]),
//! both sides of authentication ([`auth`]), the book of what a server owes ([`ledger`]), prepared
//! statements that survive a change of server ([`prepared`]), what a statement may leave behind in
//! its session ([`effects`], [`inspect`]), notifications ([`listen`]), the passwords that are signed
//! requests ([`iam`]), the messages that we write ourselves ([`report`]), requests that may be sent
//! once more ([`retry`]), and what all that costs ([`memory`]).
//! Refuses: sockets, clocks, randomness, and payloads: rows and parameters pass undecoded.
//! Invariant: no function panics on bytes from the network, and none grows past [`limits`].

pub mod auth;
pub mod cancel;
pub mod effects;
pub mod fingerprint;
pub mod frame;
pub mod iam;
pub mod inspect;
pub mod ledger;
mod lexer;
pub mod limits;
pub mod listen;
pub mod memory;
pub mod params;
pub mod prepared;
pub mod report;
pub mod retry;
pub mod splice;
pub mod startup;
pub mod time;
pub mod userlist;
