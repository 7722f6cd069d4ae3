//! What is known of a server connection while a client has it: the answer to "who holds what".
//!
//! Owns: who, since when, in which state, and the last statement. Shared between the session,
//! which writes, and the console, which reads.
//! Invariant: writing costs a clock reading and a bounded copy; the statement is kept raw and cut,
//! and leaves this file only as a fingerprint.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use stent_contract::snapshot::HolderState;
use stent_wire::cancel::CancelKey;
use stent_wire::fingerprint::fingerprint;
use stent_wire::inspect::Causes;
use stent_wire::report::Report;
use stent_wire::report::reply::TransactionStatus;
use stent_wire::startup::Replication;

use crate::clients::ClientId;
use crate::config::Endpoint;
use crate::dial::Wish;
use crate::shared::Lock;

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
    /// Where it is.
    pub(crate) place: Endpoint,
    /// Whether it was opened to stream changes.
    pub(crate) replication: Replication,
    held: Lock<Held>,
    cancels: Lock<Cancels>,
    /// `cancels.sent`, to be looked at without taking a turn.
    sent: AtomicU32,
    /// Whether there is an order for the session that has it, to be looked at in the same way.
    ordered: AtomicBool,
}

/// What the session of a holder is told to do.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Tell the client.
    Notice(Report),
    /// End, with this last word.
    Close(Report),
}

/// What changes while a client has it.
#[derive(Debug, Default)]
struct Held {
    checkout: Option<Checkout>,
    pins: Causes,
    order: Option<Order>,
    statement: Vec<u8>,
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
    /// When its transaction began, as far as it is known to be in one: a client may keep a server
    /// for several.
    pub(crate) transaction_since: Instant,
    /// How long it has been at work in states before this one.
    pub(crate) worked: Duration,
    /// How long it has been in transactions before this one.
    pub(crate) in_transactions: Duration,
}

impl Checkout {
    /// Adds what has passed in the present state to the times.
    fn add_up(&mut self, now: Instant) {
        match self.state {
            HolderState::Active => self.worked += now.saturating_duration_since(self.state_since),
            HolderState::IdleInTransaction
            | HolderState::IdleInFailedTransaction
            | HolderState::Idle => {}
        }
    }

    /// Adds the present transaction, which ends.
    fn end_transaction(&mut self, now: Instant) {
        self.in_transactions += now.saturating_duration_since(self.transaction_since);
    }

    /// Adds what has passed until the end, and says how long that was.
    fn end(&mut self, now: Instant) -> Duration {
        let held = now.saturating_duration_since(self.since);
        if self.state_since == self.since {
            // The usual one: a transaction and nothing else.
            (self.worked, self.in_transactions) = (held, held);
        } else {
            self.add_up(now);
            if self.state != HolderState::Idle {
                self.end_transaction(now);
            }
        }
        held
    }
}

impl Facts {
    /// A connection that has just been opened.
    pub(crate) fn new(
        backend_pid: u32,
        cancel_key: Option<CancelKey>,
        (place, cancel_by): (Endpoint, Wish),
        replication: Replication,
        now: Instant,
    ) -> Self {
        Self {
            opened: now,
            backend_pid,
            cancel_key,
            cancel_by,
            place,
            replication,
            held: Lock::default(),
            cancels: Lock::default(),
            sent: AtomicU32::new(0),
            ordered: AtomicBool::new(false),
        }
    }

    /// A client takes the server.
    pub(crate) fn take(&self, client: ClientId, now: Instant) {
        let mut held = self.held.lock();
        held.statement.clear();
        held.checkout = Some(Checkout {
            client,
            since: now,
            state: HolderState::Active,
            state_since: now,
            transaction_since: now,
            worked: Duration::ZERO,
            in_transactions: Duration::ZERO,
        });
    }

    /// Tells the session of that checkout to do something; the caller wakes it. An order that it
    /// has not carried out yet is replaced by a graver one.
    pub(crate) fn give_order(&self, checkout: &Checkout, order: Order) {
        let mut held = self.held.lock();
        let same = held
            .checkout
            .is_some_and(|now| (now.client, now.since) == (checkout.client, checkout.since));
        if same && !matches!(held.order, Some(Order::Close(_))) {
            held.order = Some(order);
            self.ordered.store(true, Ordering::Release);
        }
    }

    /// The order for the session that has the server.
    pub(crate) fn order(&self) -> Option<Order> {
        if !self.ordered.load(Ordering::Acquire) {
            return None;
        }
        self.held.lock().order.clone()
    }

    /// The order has been carried out.
    pub(crate) fn forget_order(&self) {
        self.held.lock().order = None;
        self.ordered.store(false, Ordering::Release);
    }

    /// A cancel request for the present checkout is on its way.
    pub(crate) fn cancel_begins(&self) {
        let mut cancels = self.cancels.lock();
        cancels.on_the_way += 1;
        cancels.sent += 1;
        self.sent.store(cancels.sent, Ordering::Release);
    }

    /// PostgreSQL has read it, or it could not be delivered.
    pub(crate) fn cancel_ends(&self) {
        let mut cancels = self.cancels.lock();
        assert!(cancels.on_the_way > 0, "each delivery ends once");
        cancels.on_the_way -= 1;
    }

    /// Cancel requests since the server was last proved quiet.
    pub(crate) fn cancels(&self) -> Cancels {
        self.cancels.get()
    }

    /// Whether there were any.
    pub(crate) fn was_cancelled(&self) -> bool {
        self.sent.load(Ordering::Acquire) > 0
    }

    /// The server has been proved quiet.
    pub(crate) fn forget_cancels(&self) {
        let mut cancels = self.cancels.lock();
        cancels.sent = cancels.on_the_way;
        self.sent.store(cancels.sent, Ordering::Release);
    }

    /// For what the server stays with its client.
    pub(crate) fn pins(&self) -> Causes {
        self.held.lock().pins
    }

    /// The server stays with its client for these, or for nothing.
    pub(crate) fn set_pins(&self, pins: Causes) {
        self.held.lock().pins = pins;
    }

    /// The client gives it back; returns the checkout that ends, with its times added up, and how long
    /// it was.
    pub(crate) fn give_back(&self, now: Instant) -> Option<(Checkout, Duration)> {
        let mut held = self.held.lock();
        held.pins = Causes::NONE;
        if held.order.take().is_some() {
            self.ordered.store(false, Ordering::Release);
        }
        let mut checkout = held.checkout.take()?;
        let length = checkout.end(now);
        Some((checkout, length))
    }

    /// The client's checkout, if a client has the server.
    pub(crate) fn checkout(&self) -> Option<Checkout> {
        self.held.lock().checkout
    }

    /// The holder's state changed.
    pub(crate) fn set_state(&self, state: HolderState, now: Instant) {
        if let Some(checkout) = &mut self.held.lock().checkout
            && checkout.state != state
        {
            checkout.add_up(now);
            match (checkout.state, state) {
                (HolderState::Idle, _) => checkout.transaction_since = now,
                (_, HolderState::Idle) => checkout.end_transaction(now),
                (_, _) => {}
            }
            checkout.state = state;
            checkout.state_since = now;
        }
    }

    /// The holder sent a statement (as much of it as is at hand).
    pub(crate) fn note_statement(&self, sql: &[u8]) {
        let statement = &mut self.held.lock().statement;
        statement.clear();
        statement.extend_from_slice(&sql[..sql.len().min(STATEMENT_KEPT)]);
    }

    /// The last statement with its literals replaced; empty where none was seen.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.held.lock().statement, FINGERPRINT_MAX)
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
