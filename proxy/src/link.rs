//! A server connection, logged in: the socket and everything that belongs to it.
//!
//! Invariant: a link has one owner at a time, by value: the broker while it is idle, a session
//! while it is lent, a task of ours while it is tested or prepared. A link that changes
//! its thread goes with its owner.

use std::sync::Arc;

use stent_contract::snapshot::HolderState;
use stent_pool::{Home, PoolId, ServerId, ServerRole};
use stent_wire::ledger::Ledger;
use stent_wire::params::Params;
use stent_wire::prepared::ServerStatements;
use stent_wire::retry::Sent;

use crate::broker::{BaseWelcome, Start};
use crate::clock;
use crate::facts::Facts;
use crate::stream::Stream;
use crate::traces::Traces;
use crate::workers;

/// The longest requests that are kept for a repetition.
const REPLAY_MAX: usize = 16 * 1024;
/// How much room for a client's requests a server keeps for the next client.
const REPLAY_KEPT: usize = 1_024;

/// A server connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// The socket.
    pub(crate) stream: Stream,
    /// Its name in the pool.
    pub(crate) server: ServerId,
    /// Its pool.
    pub(crate) pool: PoolId,
    /// Where its socket is watched.
    pub(crate) home: Home,
    /// What it owes.
    pub(crate) ledger: Ledger,
    /// The statements it knows.
    pub(crate) statements: ServerStatements,
    /// The start-up parameters in force, beyond the server's own defaults.
    pub(crate) applied: Arc<Params>,
    /// Who has it, for the console.
    pub(crate) facts: Arc<Facts>,
    /// What the console was told last that its client does with it.
    pub(crate) shown: HolderState,
    /// The beginning of a message from the server whose rest is needed too.
    pub(crate) carry: Vec<u8>,
    /// How much of a message from the server is still to be passed on.
    pub(crate) rest: usize,
    /// Bytes for the server that its socket has not taken yet.
    pub(crate) to_server: Vec<u8>,
    /// The server's last words, if it ended with a FATAL error.
    pub(crate) last_words: Option<Box<str>>,
    /// Whether the socket still takes bytes.
    pub(crate) writing: Writing,
    /// What its client's statements may have left on it.
    pub(crate) traces: Traces,
    /// Notifications that came while we asked it something: they are its client's, also where it
    /// is only being found out that it listens.
    pub(crate) heard: Vec<u8>,
    /// The client's last words, in case PostgreSQL asks for a statement to be parsed again.
    pub(crate) replay: Replay,
    /// Whether its transaction has changed definitions.
    pub(crate) definitions: Definitions,
    /// What it said at its login of taking writes.
    pub(crate) began_as: ServerRole,
    /// Whether that may have changed.
    pub(crate) suspicion: Suspicion,
    /// With what it was started.
    pub(crate) started: Start,
    /// What it said of itself then, kept where clients are told (session mode).
    pub(crate) greeting: Option<BaseWelcome>,
}

/// Whether a server may have ceased to take writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// Nothing speaks for it.
    None,
    /// It has refused to write, or has said something of its role.
    ReadOnly,
}

/// What a transaction has done to tables, types and functions, by its command tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Definitions {
    /// Nothing.
    #[default]
    Same,
    /// It changed some: others see that at its end.
    Changed,
}

/// A client's requests that can be sent once more, because nothing of their answer has reached it
/// and PostgreSQL has run none of them: a stale plan has kept it from that, or they never arrived, or
/// all they do is open a transaction.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// As the client sent them; empty where they cannot be repeated.
    pub(crate) bytes: Vec<u8>,
    /// How far it is.
    pub(crate) state: Healing,
    /// What the server may have of them.
    pub(crate) sent: Sent,
}

impl Replay {
    /// Keeps requests, where they are not too long for it.
    pub(crate) fn keep(&mut self, requests: &[u8]) {
        self.bytes.clear();
        if requests.len() <= REPLAY_MAX {
            self.bytes.extend_from_slice(requests);
        }
    }

    /// Another client's turn. The room for requests of a usual length is kept.
    pub(crate) fn forget(&mut self) {
        self.state = Healing::No;
        self.sent = Sent::Other;
        self.bytes.clear();
        self.bytes.shrink_to(REPLAY_KEPT);
    }
}

/// See [`Replay`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Healing {
    /// Nothing is wrong.
    #[default]
    No,
    /// The error was swallowed; so will its ReadyForQuery be.
    UntilReady,
    /// The requests are to be read again.
    Due,
}

/// Whether a socket still takes bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// It does.
    Open,
    /// A write failed: what the server has said before that may still be read.
    Failed,
}

impl Link {
    /// It is in the hands of this worker now: here its socket is watched from now on.
    pub(crate) fn come_home(&mut self) {
        let here = workers::home();
        if self.home != here {
            self.stream.come_home();
            self.home = here;
        }
    }

    /// Nobody has it: what was its last client's is put down.
    pub(crate) fn rest(&mut self) {
        self.shown = HolderState::Active;
        self.ledger.shrink();
        self.statements.unnamed.lent();
        self.replay.forget();
        self.heard.clear();
    }

    /// Tells the console what its client does with it, where that has changed.
    pub(crate) fn show(&mut self, state: HolderState) {
        if self.shown != state {
            self.shown = state;
            self.facts.set_state(state, clock::now());
        }
    }

    /// Whether another client may have it: nothing owed, nothing half sent or half received.
    pub(crate) fn is_clean(&self) -> bool {
        self.ledger.is_quiet()
            && self.rest == 0
            && self.carry.is_empty()
            && self.to_server.is_empty()
            && self.writing == Writing::Open
    }
}
