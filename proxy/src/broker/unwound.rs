//! What a task leaves behind that panics.
//!
//! Owns: giving back the client's place in the register and in the queue, and the place of a server
//! whose link has gone with the task. Refuses: saving the link: what is half done with it nobody knows.
//! Invariant: this happens when the frames of the panic are gone, and with them every lock that they
//! held; a panic in here, say of an assertion about what the first one has left, ends in here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::panicking;

use stent_pool::{Condition, Event, OpenFailure, PoolId, ProbeResult, ServerId};

use super::{Broker, Custody};
use crate::clients::{ClientId, ClientState};
use crate::clock;
use crate::disconnects::Cause;
use crate::facts::Facts;
use crate::link::Link;

/// A client's task that is no session: kept in it, so that its panic is noticed.
pub(crate) struct Entrant {
    broker: Arc<Broker>,
    client: ClientId,
}

impl Entrant {
    pub(crate) fn new(broker: &Arc<Broker>, client: ClientId) -> Self {
        Self { broker: Arc::clone(broker), client }
    }
}

impl Drop for Entrant {
    fn drop(&mut self) {
        if panicking() {
            self.broker.client_unwound(self.client);
        }
    }
}

/// What a task of ours does with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// It is made ready for the next client.
    Clean,
    /// It is asked for a sign of life.
    Probe,
    /// It is being opened.
    Open,
    /// It is being closed; its place is free already.
    Close,
}

/// Kept in a task of ours that has a server.
pub(crate) struct Keeper {
    broker: Arc<Broker>,
    server: ServerId,
    pool: PoolId,
    facts: Option<Arc<Facts>>,
    task: Task,
}

impl Keeper {
    pub(crate) fn of(broker: &Arc<Broker>, link: &Link, task: Task) -> Self {
        let facts = Some(Arc::clone(&link.facts));
        Self { broker: Arc::clone(broker), server: link.server, pool: link.pool, facts, task }
    }

    pub(super) fn of_new(broker: &Arc<Broker>, pool: PoolId, server: ServerId) -> Self {
        Self { broker: Arc::clone(broker), server, pool, facts: None, task: Task::Open }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if panicking() {
            let give_up = || self.broker.server_unwound(self);
            // The panic hook has said what there is to say.
            let _ = catch_unwind(AssertUnwindSafe(give_up));
        }
    }
}

impl Broker {
    /// The task of a client has panicked: what it had is everybody's again.
    pub(crate) fn client_unwound(self: &Arc<Self>, client: ClientId) {
        // The panic hook has said what there is to say.
        let _ = catch_unwind(AssertUnwindSafe(|| self.give_up_client(client)));
    }

    fn give_up_client(self: &Arc<Self>, client: ClientId) {
        if self.inner().clients.get(client).is_none() {
            return;
        }
        self.withdraw(client);
        let held = self.inner().clients.get_mut(client).holds.take();
        if let Some(facts) = held {
            self.inner().clients.set_state(client, ClientState::Idle);
            facts.give_back(clock::now());
            let keeper = self.keeper_of_lost(facts);
            keeper.iter().for_each(|keeper| self.server_unwound(keeper));
        }
        self.client_ended(client, Cause::Panicked, "a bug in Stent, see the log");
    }

    /// Finds the server whose link is nowhere any more.
    fn keeper_of_lost(self: &Arc<Self>, facts: Arc<Facts>) -> Option<Keeper> {
        let (server, pool) = {
            let inner = self.inner();
            let mut slots = inner.servers.iter().flatten();
            let is_it = |slot: &&super::Slot| {
                slot.idle.is_none()
                    && slot.facts.as_ref().is_some_and(|known| Arc::ptr_eq(known, &facts))
            };
            slots.find(is_it).map(|slot| (slot.server, slot.pool))?
        };
        let broker = Arc::clone(self);
        Some(Keeper { broker, server, pool, facts: Some(facts), task: Task::Clean })
    }

    /// Gives a server's place back to the pool.
    fn server_unwound(self: &Arc<Self>, keeper: &Keeper) {
        let Keeper { server, pool, facts, task, .. } = keeper;
        let (server, pool) = (*server, *pool);
        let event = match task {
            Task::Clean => Event::Release { server, condition: Condition::Doubtful },
            Task::Probe => Event::Probed { server, healthy: ProbeResult::Failed },
            Task::Open => Event::OpenFailed { server, failure: OpenFailure::Transient },
            // Its end is counted, and nothing of it is in our hands.
            Task::Close => return self.handle(Event::Closed { server }),
        };
        let mut inner = self.inner();
        // A link that is back in its place has outlived the panic.
        let Some(slot) = inner.slot(server).filter(|slot| slot.idle.is_none()) else { return };
        match task {
            Task::Open => inner.servers[server.index()] = None,
            Task::Clean | Task::Probe | Task::Close => slot.custody = Custody::Unwound,
        }
        if let Some(facts) = facts {
            inner.server_ended(pool, facts, Cause::Panicked, "a bug in Stent, see the log");
        }
        inner.decide(event, clock::now());
        self.leave(inner);
    }
}

#[cfg(test)]
mod tests;
