//! A client's LISTEN, as its session sees it: what its server listens on after a transaction
//! becomes the listening connection's to hear, and notifications find their way to the client.
//!
//! A client that is listened for gets its channels on each server that it is lent: so LISTEN,
//! UNLISTEN and DISCARD ALL do there what they do on a connection of its own, by whatever route
//! and whether it is rolled back or not, and afterwards PostgreSQL says what holds.
//! Owns: that round, and which copy of a notification the client gets: from its server what it
//! notifies itself and what it does not share yet, from the listening connection the rest.
//! Refuses: to listen for a client whose session holds other state, or whose encoding is not the
//! listening connection's: then its server stays with it and listens itself.
//! Invariant: of each notification the client gets one copy, and gets it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use stent_pool::PoolId;
use stent_wire::frame::{Sender, frame_at};
use stent_wire::inspect::{Cause, Found};
use stent_wire::listen::{Notification, fence_sql, is_same_encoding, listen_sql};
use stent_wire::report::SqlState;

use super::Session;
use super::notify::put_in_own_terms;
use crate::broker::Broker;
use crate::clients::ClientId;
use crate::exchange::{self, ExchangeError};
use crate::link::Link;
use crate::notify::{CLIENT_CHANNELS_MAX, Channel, Hub, Listening, Mailbox, missed};
use crate::traces::Loaded;

/// How long a client waits for the listening connection before its server listens instead.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// How long UNLISTEN waits for what was notified before it.
const FENCE_PATIENCE: Duration = Duration::from_secs(1);
/// How often a statement is repeated that a late cancel request has hit.
const ATTEMPTS: usize = 3;

/// Whether the listening connection speaks a client's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Shared,
    Own,
}

/// A client's channels, on their way from its server to the listening connection.
pub(super) struct Move {
    broker: Arc<Broker>,
    pool: PoolId,
    client: ClientId,
    encoding: Encoding,
    pub(super) listening: Option<Box<Listening>>,
    /// What the server said meanwhile and is the client's.
    pub(super) heard: Vec<u8>,
}

/// Who listens for the client now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listener {
    /// The listening connection, or nobody: it listens on nothing.
    Hub,
    /// Its server.
    Server,
}

impl Session {
    /// Takes the client's channels along into an inspection.
    pub(super) fn begin_move(&mut self) -> Move {
        Move {
            broker: Arc::clone(&self.broker),
            pool: self.pool,
            client: self.id,
            encoding: self.encoding(),
            listening: self.listening.take(),
            heard: Vec::new(),
        }
    }

    /// Whether the client's encoding has become one that the listening connection does not speak.
    pub(super) fn must_move_back(&self) -> bool {
        self.listening.is_some() && self.encoding() == Encoding::Own
    }

    fn encoding(&self) -> Encoding {
        let Some(own) = self.params.get(b"client_encoding") else { return Encoding::Shared };
        let inner = self.broker.inner();
        let shared = inner.entries[self.pool.index()].welcomes.encoding();
        match shared.is_some_and(|shared| is_same_encoding(own, shared)) {
            true => Encoding::Shared,
            false => Encoding::Own,
        }
    }

    /// What gives a server the client's channels, and the number to note with it.
    pub(super) fn load(&self) -> Option<(Vec<u8>, Option<u64>)> {
        let listening = self.listening.as_ref()?;
        let names = listening.channels().iter().map(|channel| &**channel);
        Some((listen_sql(names), listening.hub().echoing(listening.channels())))
    }

    /// Takes what a server said while we asked it something.
    pub(super) fn take_heard(&mut self, link: &mut Link) {
        let heard = std::mem::take(&mut link.heard);
        sift(&heard, self.listening.as_deref(), link, self.id, &mut self.to_client);
    }
}

impl Move {
    /// Does what follows from the channels that the server was found to listen on, and takes from
    /// the causes to keep it what needs no server any more.
    pub(super) async fn settle(
        &mut self,
        link: &mut Link,
        found: &mut Found,
    ) -> Result<(), ExchangeError> {
        self.take_heard(link);
        if self.encoding == Encoding::Own {
            self.move_back();
        }
        self.keep_only(link, &found.channels).await?;
        let listener = self.hand_over(link, found).await;
        if listener? == Listener::Hub {
            found.causes.remove(Cause::Listen);
        }
        Ok(())
    }

    /// The client has changed its encoding: from here on its server speaks to it, and stays.
    fn move_back(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.mailbox.empty_into(&mut self.heard);
            missed().put(&mut self.heard);
        }
    }

    /// Ends the listening on what the server was found to listen on no longer. What was notified
    /// before that is the client's still.
    async fn keep_only(&mut self, link: &mut Link, found: &[Vec<u8>]) -> Result<(), ExchangeError> {
        let Some(listening) = &mut self.listening else { return Ok(()) };
        let kept: BTreeSet<&[u8]> = found.iter().map(Vec::as_slice).collect();
        if listening.channels().iter().all(|channel| kept.contains(&**channel)) {
            return Ok(());
        }
        let hub = Arc::clone(listening.hub());
        if hub.is_open() {
            let number = hub.set_fence(self.client, &[]);
            match insist(link, &fence_sql(hub.fence_channel(), number)).await {
                Ok(()) => drop(tokio::time::timeout(FENCE_PATIENCE, hub.passed(number)).await),
                Err(ExchangeError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let heard = std::mem::take(&mut link.heard);
        sift(&heard, Some(&**listening), link, self.client, &mut self.heard);
        listening.mailbox.empty_into(&mut self.heard);
        listening.retain(|channel| kept.contains(channel));
        self.listening.take_if(|listening| listening.channels().is_empty());
        Ok(())
    }

    async fn hand_over(
        &mut self,
        link: &mut Link,
        found: &Found,
    ) -> Result<Listener, ExchangeError> {
        let known = |name: &Vec<u8>| {
            let mut own = self.listening.iter();
            own.any(|listening| listening.channels().contains(name.as_slice()))
        };
        let new = found.channels.iter().filter(|name| !known(name));
        let new: Vec<Channel> = new.map(|name| Arc::from(name.as_slice())).collect();
        if new.is_empty() {
            return Ok(Listener::Hub);
        }
        let mut others = found.causes;
        others.remove(Cause::Listen);
        let too_many = found.channels.len() > CLIENT_CHANNELS_MAX;
        if !others.is_empty() || too_many || self.encoding == Encoding::Own {
            return Ok(Listener::Server);
        }
        let Ok(hub) = self.broker.hub(self.pool) else { return Ok(Listener::Server) };
        // It was refused before, and nothing says that it is better now.
        if link.traces.pins.has(Cause::Listen) && !hub.is_open() {
            return Ok(Listener::Server);
        }
        match self.subscribe(&hub, &new).await {
            Listener::Hub => self.pass_fence(link, &hub, &new).await,
            Listener::Server => Ok(Listener::Server),
        }
    }

    async fn subscribe(&mut self, hub: &Arc<Hub>, new: &[Channel]) -> Listener {
        let (broker, client) = (&self.broker, self.client);
        let mut listening = self.listening.take().unwrap_or_else(|| {
            let waker = broker.inner().clients.get_mut(client).waker.clone();
            let waker = waker.expect("a session that runs can be woken");
            Box::new(Listening::new(hub, client, Mailbox::new(waker)))
        });
        let subscribed = hub.subscribe(broker, &mut listening, new);
        let subscribed = tokio::time::timeout(PATIENCE, subscribed).await;
        self.listening = Some(listening);
        match subscribed {
            Ok(Ok(())) => Listener::Hub,
            Ok(Err(_)) | Err(_) => {
                self.unsubscribe(new);
                Listener::Server
            }
        }
    }

    fn unsubscribe(&mut self, new: &[Channel]) {
        if let Some(listening) = &mut self.listening {
            listening.retain(|channel| !new.iter().any(|new| **new == *channel));
        }
        self.listening.take_if(|listening| listening.channels().is_empty());
    }

    /// Divides what the server hears from what the listening connection hears, and takes the
    /// channels off the server.
    async fn pass_fence(
        &mut self,
        link: &mut Link,
        hub: &Arc<Hub>,
        new: &[Channel],
    ) -> Result<Listener, ExchangeError> {
        let fence = hub.fence_channel();
        let number = hub.set_fence(self.client, new);
        let notified = async {
            insist(link, &listen_sql([fence])).await?;
            insist(link, &fence_sql(fence, number)).await
        };
        match notified.await {
            Ok(()) => {}
            // The queue of notifications is full: the server has said nothing and listens on.
            Err(ExchangeError::Refused(_)) => {
                self.unsubscribe(new);
                return Ok(Listener::Server);
            }
            Err(error) => return Err(error),
        }
        if !is_passed(&link.heard, fence, number) {
            return Err(ExchangeError::OutOfStep("it does not hear its own NOTIFY".to_owned()));
        }
        // What is new is the server's up to the fence.
        let heard = std::mem::take(&mut link.heard);
        let before = |channel: &[u8]| new.iter().any(|new| **new == *channel);
        let heard = notifications(&heard).take_while(|(_, of)| !of.is_fence(fence, number));
        for (all, _) in heard.filter(|(_, of)| before(of.channel)) {
            put_in_own_terms(&mut self.heard, all, link, self.client);
        }
        // Nothing but its end can keep it from that.
        let silent = insist(link, b"UNLISTEN *").await;
        silent.map_err(|error| ExchangeError::OutOfStep(error.to_string()))?;
        link.heard.clear();
        link.traces.loaded = Loaded::No;
        Ok(Listener::Hub)
    }

    fn take_heard(&mut self, link: &mut Link) {
        let heard = std::mem::take(&mut link.heard);
        sift(&heard, self.listening.as_deref(), link, self.client, &mut self.heard);
    }
}

/// Asks until no late cancel request gets in between.
async fn insist(link: &mut Link, sql: &[u8]) -> Result<(), ExchangeError> {
    let mut attempt = 1;
    loop {
        match exchange::query(link, sql).await {
            Err(ExchangeError::Refused(report))
                if report.code == SqlState::QUERY_CANCELED && attempt < ATTEMPTS =>
            {
                attempt += 1;
            }
            answer => return answer.map(drop),
        }
    }
}

/// Which of the two copies of a notification a server's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copy {
    /// The one that the client gets: its own, as PostgreSQL says it in front of ReadyForQuery, or
    /// on a channel that nobody listens on for it yet.
    First,
    /// The listening connection's is the one that the client gets.
    Second,
}

/// Judges what the client's server says.
pub(super) fn whose(
    notification: &Notification<'_>,
    all: &[u8],
    listening: Option<&Listening>,
    link: &Link,
) -> Copy {
    let shared = listening.filter(|of| of.channels().contains(notification.channel));
    let Some(listening) = shared else { return Copy::First };
    if notification.pid != link.facts.backend_pid {
        return Copy::Second;
    }
    if link.traces.loaded == Loaded::Yes(Some(listening.hub().epoch())) {
        listening.mailbox.said_by_server(all);
    }
    Copy::First
}

/// Lets through what is the client's of what its server said.
fn sift(
    heard: &[u8],
    listening: Option<&Listening>,
    link: &Link,
    client: ClientId,
    out: &mut Vec<u8>,
) {
    for (all, notification) in notifications(heard) {
        if whose(&notification, all, listening, link) == Copy::First {
            put_in_own_terms(out, all, link, client);
        }
    }
}

fn is_passed(heard: &[u8], fence: &[u8], number: u64) -> bool {
    notifications(heard).any(|(_, notification)| notification.is_fence(fence, number))
}

/// Whole NotificationResponses, one behind the other.
fn notifications(heard: &[u8]) -> impl Iterator<Item = (&[u8], Notification<'_>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let frame = frame_at(heard, at, Sender::Backend).ok().flatten()?;
        at = frame.all.end;
        let notification = Notification::parse(&heard[frame.body.clone()])?;
        Some((&heard[frame.all], notification))
    })
}
