//! Cancel requests: from a client's key to the server that runs its statement.
//!
//! Invariant: a request whose key does not match changes nothing and learns nothing; a server
//! that was sent a cancel is not lent again before the request has been delivered.

use std::sync::Arc;
use std::time::Duration;

use stent_wire::cancel::CancelRequest;

use crate::broker::{Broker, Inner};
use crate::clients::{Client, ClientState};
use crate::config::PoolMode;
use crate::dial::dial;
use crate::facts::Facts;
use crate::link::Link;

/// How long delivering a cancel request may take.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Cancel requests by outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Sent on to a server.
    pub(crate) forwarded: u64,
    /// A client of a proxy that shares the port has that key.
    pub(crate) twin: u64,
    /// No client has that key.
    pub(crate) unknown_key: u64,
    /// The client runs nothing.
    pub(crate) idle: u64,
    /// The server could not be reached.
    pub(crate) failed: u64,
    /// The client was queued: it waits no longer.
    pub(crate) waiting: u64,
    /// No client's: a server is closed, or a hold limit says so.
    pub(crate) own: u64,
}

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// A client has sent it.
    Client,
    /// Nobody has: it is for a server whose client has gone, or holds it for too long.
    Ours,
}

/// What became of a request that was sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Done,
    Failed,
}

impl Counts {
    const fn end(&mut self, whose: Whose, delivery: Delivery) {
        match (whose, delivery) {
            (Whose::Client, Delivery::Done) => self.forwarded += 1,
            (Whose::Client, Delivery::Failed) => self.failed += 1,
            (Whose::Ours, Delivery::Done | Delivery::Failed) => self.own += 1,
        }
    }
}

/// What a matching request finds.
enum Found {
    /// From here on the server is not lent again before the request has been delivered.
    Running(Arc<Facts>),
    Waiting(crate::clients::ClientId),
    Idle,
    Nobody,
}

/// Whether a request's key is a client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyed {
    /// It is.
    Known,
    /// It is not.
    Unknown,
}

/// Acts on a cancel request, or finds the twin that does.
pub(crate) async fn cancel(broker: &Arc<Broker>, request: &CancelRequest) {
    if cancel_here(broker, request).await == Keyed::Known {
        return;
    }
    let elsewhere = match broker.twins.get() {
        Some(twins) => twins.offer(request).await,
        None => Keyed::Unknown,
    };
    let cancels = &mut broker.inner().cancels;
    match elsewhere {
        Keyed::Known => cancels.twin += 1,
        Keyed::Unknown => cancels.unknown_key += 1,
    }
}

/// Acts on a cancel request whose key a client of this proxy has.
pub(crate) async fn cancel_here(broker: &Arc<Broker>, request: &CancelRequest) -> Keyed {
    match find(broker, request) {
        Found::Nobody => return Keyed::Unknown,
        Found::Idle => broker.inner().cancels.idle += 1,
        Found::Waiting(client) => {
            broker.inner().cancels.waiting += 1;
            broker.cancel_wait(client);
        }
        Found::Running(facts) => deliver(broker, &facts, Whose::Client).await,
    }
    Keyed::Known
}

/// Cancels what a server runs whose client has gone.
pub(crate) async fn cancel_running(broker: &Arc<Broker>, link: &Link) {
    link.facts.cancel_begins();
    deliver(broker, &link.facts, Whose::Ours).await;
}

fn find(broker: &Broker, request: &CancelRequest) -> Found {
    let inner = broker.inner();
    // Process ids are real in session mode, else ours; a console's is ours in any mode. Where they
    // meet, the keys tell them apart.
    let ours = inner.clients.by_cancel_pid(request.pid);
    let candidates = match broker.config.pool_mode {
        PoolMode::Session => {
            [by_backend_pid(&inner, request.pid), ours.filter(|client| client.pool.is_none())]
        }
        PoolMode::Transaction | PoolMode::Statement => [ours, None],
    };
    let mut keyed = candidates.into_iter().flatten();
    let Some(client) = keyed.find(|client| client.key.as_ref() == Some(&request.key)) else {
        return Found::Nobody;
    };
    if client.state == ClientState::Waiting {
        return Found::Waiting(client.id);
    }
    match &client.holds {
        Some(facts) => {
            // While the register is held: a moment later the server may be another client's.
            facts.cancel_begins();
            Found::Running(Arc::clone(facts))
        }
        None => Found::Idle,
    }
}

/// The client whose server has that process id: in session mode clients are told the real one.
fn by_backend_pid(inner: &Inner, pid: i32) -> Option<&Client> {
    let facts = inner.servers.iter().flatten().filter_map(|slot| slot.facts.as_ref());
    let mut named = facts.filter(|facts| i32::try_from(facts.backend_pid) == Ok(pid));
    inner.clients.get(named.find_map(|facts| facts.checkout())?.client)
}

/// Sends the request, which has been counted, on a connection of its own and waits until PostgreSQL
/// has read it: it closes the connection when it has.
pub(crate) async fn deliver(broker: &Arc<Broker>, facts: &Facts, whose: Whose) {
    let (Ok(pid), Some(key)) = (i32::try_from(facts.backend_pid), &facts.cancel_key) else {
        facts.cancel_ends();
        return broker.inner().cancels.end(whose, Delivery::Failed);
    };
    let mut packet = Vec::new();
    CancelRequest { pid, key: key.clone() }.put(&mut packet);
    let delivery = async {
        let mut stream =
            dial(broker, &facts.place, facts.cancel_by).await.map_err(std::io::Error::other)?;
        stream.write_whole(&packet).await?;
        let mut nothing = [0; 1];
        match stream.read(&mut nothing).await {
            // TLS that ends without its last word ends all the same.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
            read => read.map(drop),
        }
    };
    let delivered: Result<std::io::Result<()>, _> =
        tokio::time::timeout(DELIVERY_TIMEOUT, delivery).await;
    facts.cancel_ends();
    let delivery = match delivered {
        Ok(Ok(())) => Delivery::Done,
        Ok(Err(_)) | Err(_) => Delivery::Failed,
    };
    broker.inner().cancels.end(whose, delivery);
}
