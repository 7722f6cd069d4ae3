//! Prepared statements that survive a change of server in transaction mode, named or not.
//!
//! Owns: which statement a client means by a name ([`ClientStatements`]), which statements a
//! server knows ([`ServerStatements`]), the texts behind both ([`Texts`]), and the rewriting of
//! Parse, Bind, Describe and Close between the two ([`translate`]).
//! Refuses: SQL-level PREPARE, which passes as it is.
//! Invariant: a name is a client's exactly from the Parse that PostgreSQL accepted (or would have)
//! until its Close; whatever PostgreSQL skips after an error is undone.

mod client;
mod constant;
mod names;
mod pending;
mod reading;
mod rename;
mod server;
mod shape;
mod share;
mod texts;
pub mod translate;
mod undo;
mod unnamed;
mod worth;

pub use client::ClientStatements;
pub use reading::Reading;
pub use rename::rename;
pub use server::{ServerStatements, Younger};
pub use shape::Shape;
pub use share::{Bent, Counts, Outcome, Terms, Timed, Timing, UnnamedAs};
pub use texts::{Statement, Texts};
pub use translate::{Statements, Translation, drop_unnamed};
pub use unnamed::Unnamed;
pub use worth::{Change, RETRY_AFTER, SAMPLE_EVERY, Standing, Way, Worth};

use std::sync::Arc;

/// A name that came to a client's map with a Parse still unanswered.
#[derive(Debug)]
pub struct Registration {
    /// The client's name for it.
    pub name: Box<[u8]>,
    /// The statement.
    pub statement: Arc<Statement>,
    /// Whether this Parse is also what brings the statement to the server.
    pub on_server: OnServer,
}

/// Whether a Parse was sent to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnServer {
    /// It was: the server knows the statement once it says ParseComplete.
    Sent,
    /// It was not: the server knew the statement already.
    Known,
}

/// A name that left a client's map with a Close still unanswered.
#[derive(Debug)]
pub struct Removal {
    /// The client's name for it.
    pub name: Box<[u8]>,
    /// The statement.
    pub statement: Arc<Statement>,
}
