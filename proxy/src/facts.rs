//! What is known of a server connection while a client has it: the answer to "who holds what".
//!
//! Owns: who, since when, in which state, and the last statement. Shared between the session,
//! which writes, and the console, which reads, on one thread.
//! Invariant: writing costs a clock reading and a bounded copy; the statement is kept raw and cut,
//! and leaves this file only as a fingerprint.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use stent_contract::snapshot::HolderState;
use stent_wire::cancel::CancelKey;
use stent_wire::fingerprint::fingerprint;
use stent_wire::inspect::Causes;
use stent_wire::report::reply::TransactionStatus;

use crate::clients::ClientId;
use crate::dial::Wish;

/// How much of a statement is kept.
const STATEMENT_KEPT: usize = 400;
/// How long a fingerprint may be.
const FINGERPRINT_MAX: usize = 200;

/// Facts about one server connection.
#[derive(Debug)]
pub(crate) struct Facts {
    /// When the connection was opened.
    pub(crate) opened: Instant,
    /// The server's process id.
    pub(crate) backend_pid: u32,
    /// What cancels its query; `None` where the server gave no key.
    pub(crate) cancel_key: Option<CancelKey>,
    /// How a cancel request goes: over TLS exactly when the connection does.
    pub(crate) cancel_by: Wish,
    cancels: Cell<Cancels>,
    checkout: Cell<Option<Checkout>>,
    pins: Cell<Causes>,
    statement: RefCell<Vec<u8>>,
}

/// Cancel requests sent to a server during a checkout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cancels {
    /// Not yet delivered.
    pub(crate) on_the_way: u32,
    /// Sent at all.
    pub(crate) sent: u32,
}

/// A server in a client's hands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checkout {
    /// Whose.
    pub(crate) client: ClientId,
    /// Since when.
    pub(crate) since: Instant,
    /// What it is doing.
    pub(crate) state: HolderState,
    /// Since when it has been doing that.
    pub(crate) state_since: Instant,
}

impl Facts {
    /// A connection that has just been opened.
    pub(crate) fn new(
        backend_pid: u32,
        cancel_key: Option<CancelKey>,
        cancel_by: Wish,
        now: Instant,
    ) -> Self {
        Self {
            opened: now,
            backend_pid,
            cancel_key,
            cancel_by,
            cancels: Cell::new(Cancels::default()),
            checkout: Cell::new(None),
            pins: Cell::new(Causes::NONE),
            statement: RefCell::new(Vec::new()),
        }
    }

    /// A client takes the server.
    pub(crate) fn take(&self, client: ClientId, now: Instant) {
        self.statement.borrow_mut().clear();
        let state = HolderState::Active;
        self.checkout.set(Some(Checkout { client, since: now, state, state_since: now }));
    }

    /// A cancel request for the present checkout is on its way.
    pub(crate) fn cancel_begins(&self) {
        let Cancels { on_the_way, sent } = self.cancels.get();
        self.cancels.set(Cancels { on_the_way: on_the_way + 1, sent: sent + 1 });
    }

    /// PostgreSQL has read it, or it could not be delivered.
    pub(crate) fn cancel_ends(&self) {
        let Cancels { on_the_way, sent } = self.cancels.get();
        assert!(on_the_way > 0, "each delivery ends once");
        self.cancels.set(Cancels { on_the_way: on_the_way - 1, sent });
    }

    /// Cancel requests since the server was last proved quiet.
    pub(crate) const fn cancels(&self) -> Cancels {
        self.cancels.get()
    }

    /// The server has been proved quiet.
    pub(crate) fn forget_cancels(&self) {
        let Cancels { on_the_way, .. } = self.cancels.get();
        self.cancels.set(Cancels { on_the_way, sent: on_the_way });
    }

    /// For what the server stays with its client.
    pub(crate) const fn pins(&self) -> Causes {
        self.pins.get()
    }

    /// The server stays with its client for these, or for nothing.
    pub(crate) fn set_pins(&self, pins: Causes) {
        self.pins.set(pins);
    }

    /// The client gives it back; returns the checkout that ends.
    pub(crate) fn give_back(&self) -> Option<Checkout> {
        self.pins.set(Causes::NONE);
        self.checkout.take()
    }

    /// The client's checkout, if a client has the server.
    pub(crate) const fn checkout(&self) -> Option<Checkout> {
        self.checkout.get()
    }

    /// The holder's state changed.
    pub(crate) fn set_state(&self, state: HolderState, now: Instant) {
        if let Some(mut checkout) = self.checkout.get()
            && checkout.state != state
        {
            checkout.state = state;
            checkout.state_since = now;
            self.checkout.set(Some(checkout));
        }
    }

    /// The holder sent a statement (as much of it as is at hand).
    pub(crate) fn note_statement(&self, sql: &[u8]) {
        let mut statement = self.statement.borrow_mut();
        statement.clear();
        statement.extend_from_slice(&sql[..sql.len().min(STATEMENT_KEPT)]);
    }

    /// The last statement with its literals replaced; empty where none was seen.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.statement.borrow(), FINGERPRINT_MAX)
    }
}

/// The state of a holder that waits for nothing from its server.
pub(crate) const fn silent_state(status: TransactionStatus) -> HolderState {
    match status {
        TransactionStatus::Idle => HolderState::Idle,
        TransactionStatus::Open => HolderState::IdleInTransaction,
        TransactionStatus::Failed => HolderState::IdleInFailedTransaction,
    }
}
