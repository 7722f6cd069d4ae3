//! How many logins come from one address at a time, and how long those wait that fail.
//!
//! Owns: places by address. Who fails keeps its place until its answer has been sent, so an address
//! tries no more passwords in a time than places and waits allow, however often it hangs up.
//! Refuses: touching other addresses, and logins that succeed.
//! Invariant: an address is remembered only while it has a login; its failures are bounded elsewhere
//! ([`Backoff`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use stent_wire::auth::backoff::{Backoff, Source};
use stent_wire::report::{Report, SqlState};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Failed, Login};
use crate::broker::{Broker, Draining};
use crate::clients::ClientId;
use crate::disconnects::Cause;
use crate::shared::Lock;
use crate::stream::Peer;

/// Proofs of one address that are judged at a time; further ones wait for their turn.
const PROOFS_MAX: usize = 64;
/// Logins of one address that have begun and not ended, of which none is taken beyond. Not for this
/// machine itself: a start of its applications is no attack.
const UNFINISHED_MAX: u32 = 200;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Gate {
    addresses: Lock<BTreeMap<Source, Address>>,
    backoff: Lock<Backoff>,
}

/// The logins of an address.
struct Address {
    unfinished: u32,
    proofs: Arc<Semaphore>,
}

/// A login that has begun; its end is the end of this.
pub(crate) struct Arrival {
    gate: Arc<Gate>,
    source: Source,
    proofs: Arc<Semaphore>,
}

/// More logins of one address than may be.
#[derive(Debug)]
pub(crate) struct TooMany;

impl Arrival {
    /// Takes a login in.
    fn new(gate: &Arc<Gate>, source: Source) -> Result<Self, TooMany> {
        let mut addresses = gate.addresses.lock();
        let address = addresses.entry(source).or_insert_with(|| Address {
            unfinished: 0,
            proofs: Arc::new(Semaphore::new(PROOFS_MAX)),
        });
        if address.unfinished >= UNFINISHED_MAX && !source.is_local() {
            return Err(TooMany);
        }
        address.unfinished += 1;
        let proofs = Arc::clone(&address.proofs);
        Ok(Self { gate: Arc::clone(gate), source, proofs })
    }

    /// Waits for the turn of its proof, which ends when what this returns is dropped.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, Failed> {
        self.proofs.acquire().await.map_err(Failed::gone)
    }

    /// How long the answer to a failure waits.
    pub(crate) fn failed(&self, user: &str) -> Duration {
        self.gate.backoff.lock().failed(self.source, user, Instant::now())
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let mut addresses = self.gate.addresses.lock();
        let address = addresses.get_mut(&self.source).expect("there as long as its logins are");
        address.unfinished -= 1;
        if address.unfinished == 0 {
            addresses.remove(&self.source);
        }
    }
}

impl Login {
    /// Counts this login among those of its address.
    pub(super) fn arrive(&self) -> Result<Arrival, Failed> {
        let source = match self.peer() {
            Peer::Tcp(address) => Source::of(Some(address.ip())),
            Peer::Unix(_) => Source::of(None),
        };
        Arrival::new(&self.broker.gate, source).map_err(|TooMany| {
            let message =
                format!("too many logins from this address have not ended yet ({UNFINISHED_MAX})");
            let report = Report::fatal(SqlState::TOO_MANY_CONNECTIONS, message)
                .with_hint("Try again when some have.");
            Failed::report(Cause::TooManyLogins, report)
        })
    }
}

impl Broker {
    /// Lets a client that has failed wait, but neither the proxy's end nor its own time limit.
    pub(crate) async fn penalty(&self, client: ClientId, wait: Duration) {
        let wait = wait.min(self.present().config.client_login_timeout / 2);
        let draining = std::future::poll_fn(|context| {
            // First the waker: the drain begins on another thread, and wakes whom it can.
            self.inner().clients.get_mut(client).waker = Some(context.waker().clone());
            match self.draining() {
                Draining::Closing => Poll::Ready(()),
                Draining::No | Draining::Serving => Poll::Pending,
            }
        });
        tokio::select! {
            () = draining => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn source(address: &str) -> Source {
        Source::of(Some(address.parse().unwrap()))
    }

    fn has_its_turn(arrival: &Arrival) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(arrival.turn()).poll(&mut context).is_ready()
    }

    #[test]
    fn an_address_has_so_many_logins_at_a_time_and_others_have_theirs() {
        let gate = Arc::new(Gate::default());
        let one = source("192.0.2.1");
        let mut logins: Vec<Arrival> =
            (0..UNFINISHED_MAX).map(|_| Arrival::new(&gate, one).unwrap()).collect();
        assert!(Arrival::new(&gate, one).is_err());
        assert!(Arrival::new(&gate, source("192.0.2.2")).is_ok());
        logins.pop();
        logins.push(Arrival::new(&gate, one).unwrap());
        drop(logins);
        assert!(gate.addresses.lock().is_empty(), "who has gone is forgotten");
    }

    #[test]
    fn the_start_of_this_machines_own_applications_is_no_attack() {
        let gate = Arc::new(Gate::default());
        for local in [Source::Local, source("127.0.0.1"), source("::1")] {
            let logins = (0..2 * UNFINISHED_MAX).map(|_| Arrival::new(&gate, local));
            assert!(logins.collect::<Vec<_>>().iter().all(Result::is_ok), "{local:?}");
        }
    }

    #[tokio::test]
    async fn proofs_of_an_address_are_judged_so_many_at_a_time() {
        let gate = Arc::new(Gate::default());
        let one = Arrival::new(&gate, source("192.0.2.1")).unwrap();
        let other = Arrival::new(&gate, source("192.0.2.2")).unwrap();
        let mut turns = Vec::new();
        for _ in 0..PROOFS_MAX {
            turns.push(one.turn().await.ok().unwrap());
        }
        assert!(!has_its_turn(&one) && has_its_turn(&other));
        turns.pop();
        assert!(has_its_turn(&one));
    }
}
