//! LISTEN in transaction mode: one connection of a pool listens for all of its clients.
//!
//! Owns: who listens on which channels ([`Hub`]), what a client has ([`Listening`]), and handing
//! notifications out. The connection itself is in `connection`, a client's queue in `mailbox`.
//! Refuses: what a client's session listens on: PostgreSQL says that after each transaction that
//! may have changed it (`session::listen`).
//! Invariant: a channel is listened on by the connection as long as a client has it, and each
//! client gets what was notified after its fence, once.
//!
//! The fence: when a client's LISTEN has committed on a server, that server listens until the
//! connection does so too. Then the server notifies a channel of ours; what it hears before that
//! is the client's from the server, what the connection hears after that is the client's from
//! the connection. PostgreSQL shows all sessions notifications in one order, so nothing is lost
//! in between and nothing comes twice.
//!
//! ```text
//!             subscribe              server notifies the fence         the fence comes
//!   (none) ─────────────▶ Waiting ───────────────────────────▶ Fence ─────────────────▶ Now
//!                                                                └── connection lost ──▶ Now, warned
//! ```

mod connection;
mod mailbox;
mod unwound;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stent_pool::PoolId;
use stent_wire::listen::Notification;
use tokio::sync::Notify;

use crate::broker::Broker;
use crate::clients::{ClientId, Outcome};
use crate::shared::{Count, Lock};

pub(crate) use mailbox::{Delivery, Handed, Mailbox, missed};

/// The most channels of one client that are listened on for it; with more it keeps its server.
pub(crate) const CLIENT_CHANNELS_MAX: usize = 1_000;
/// The most channels of one pool.
const CHANNELS_MAX: usize = 50_000;
/// The most fences that are waited for: more than clients can have under way.
const FENCES_MAX: usize = 100_000;
/// How many channels change in one statement of ours.
const BATCH: usize = 256;

/// A channel's name.
pub(crate) type Channel = Arc<[u8]>;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Hub {
    /// The pool whose clients it serves.
    pub(crate) pool: PoolId,
    /// The pool of its connection.
    pub(crate) ear: PoolId,
    fence: Box<[u8]>,
    state: Lock<State>,
    /// For the connection's task: there is something to do.
    changed: Notify,
    /// For sessions: the connection has done something.
    settled: Notify,
    /// Counters.
    pub(crate) counts: Counts,
}

/// What a pool's page shows.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Clients that are listened for.
    pub(crate) clients: Count,
    /// Notifications put into mailboxes.
    delivered: Count,
    /// Notifications lost to clients that read too slowly.
    lost: Count,
    /// Ends of a connection that was needed.
    interruptions: Count,
}

/// [`Counts`] at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) interruptions: u64,
}

impl Counts {
    /// The counters.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            delivered: self.delivered.get(),
            lost: self.lost.get(),
            interruptions: self.interruptions.get(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    connection: Connection,
    /// Which connection it is: a number for each.
    epoch: u64,
    channels: BTreeMap<Channel, Entry>,
    /// Channels whose listeners have changed.
    due: BTreeSet<Channel>,
    fences: BTreeMap<u64, (ClientId, Vec<Channel>)>,
    next_fence: u64,
    outcome: Option<Outcome>,
    gap: Gap,
}

/// Whether clients must be told that they may have missed something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Gap {
    #[default]
    None,
    Unsaid,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Connection {
    /// Nobody needs one.
    #[default]
    None,
    /// It comes.
    Opening,
    /// It is there.
    Open,
    /// PostgreSQL or the caps would not have it; it is tried again.
    Refused,
}

#[derive(Debug, Default)]
struct Entry {
    subscribers: Vec<Subscriber>,
    present: Present,
}

/// Whether the connection listens on a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Present {
    #[default]
    No,
    Yes,
}

#[derive(Debug)]
struct Subscriber {
    client: ClientId,
    mailbox: Arc<Mailbox>,
    since: Since,
}

/// From when on a client gets what the connection hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Waiting,
    Fence(u64),
    Now,
}

/// The connection cannot listen for a client: its server must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable;

/// What is to be said on the connection next.
#[derive(Debug, Default)]
struct Change {
    listen: Vec<Channel>,
    unlisten: Vec<Channel>,
}

impl Hub {
    /// Nobody listens yet.
    pub(crate) fn new(pool: PoolId, ear: PoolId, nonce: u64) -> Self {
        Self {
            pool,
            ear,
            fence: format!("stent {nonce:016x}").into_bytes().into(),
            state: Lock::default(),
            changed: Notify::new(),
            settled: Notify::new(),
            counts: Counts::default(),
        }
    }

    /// The channel of the fences.
    pub(crate) fn fence_channel(&self) -> &[u8] {
        &self.fence
    }

    /// Waits until the connection listens on these channels, which are new to the client.
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        broker: &Arc<Broker>,
        listening: &mut Listening,
        channels: &[Channel],
    ) -> Result<(), Unavailable> {
        if self.state.lock().channels.len() + channels.len() > CHANNELS_MAX {
            return Err(Unavailable);
        }
        for channel in channels {
            self.enter(listening, channel);
        }
        self.wake(broker);
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            match self.stands(channels) {
                Some(result) => return result,
                None => settled.await,
            }
        }
    }

    /// Whether the connection listens on all of these; `None`: not known yet.
    fn stands(&self, channels: &[Channel]) -> Option<Result<(), Unavailable>> {
        let state = self.state.lock();
        let is_present = |channel: &Channel| {
            state.channels.get(channel).is_some_and(|entry| entry.present == Present::Yes)
        };
        match state.connection {
            Connection::Refused => Some(Err(Unavailable)),
            Connection::Open if channels.iter().all(is_present) => Some(Ok(())),
            Connection::None | Connection::Opening | Connection::Open => None,
        }
    }

    fn enter(&self, listening: &mut Listening, channel: &Channel) {
        let mut state = self.state.lock();
        let (client, mailbox) = (listening.client, Arc::clone(&listening.mailbox));
        let entry = state.channels.entry(Arc::clone(channel)).or_default();
        entry.subscribers.push(Subscriber { client, mailbox, since: Since::Waiting });
        if entry.present == Present::No {
            state.due.insert(Arc::clone(channel));
        }
        let is_new = listening.channels.insert(Arc::clone(channel));
        assert!(is_new, "a client has a channel once");
    }

    fn leave(&self, client: ClientId, channel: &Channel) {
        let mut state = self.state.lock();
        let Some(entry) = state.channels.get_mut(channel) else { return };
        entry.subscribers.retain(|subscriber| subscriber.client != client);
        if entry.subscribers.is_empty() {
            state.due.insert(Arc::clone(channel));
            drop(state);
            self.changed.notify_one();
        }
    }

    /// The connection's task has something to do; it begins where there is none.
    fn wake(self: &Arc<Self>, broker: &Arc<Broker>) {
        let mut state = self.state.lock();
        if state.connection == Connection::None {
            state.connection = Connection::Opening;
            let task = connection::run(Arc::clone(broker), Arc::clone(self));
            tokio::task::spawn_local(task);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The server is about to notify the fence: from there on these channels come from here.
    pub(crate) fn set_fence(&self, client: ClientId, channels: &[Channel]) -> u64 {
        let mut state = self.state.lock();
        state.next_fence += 1;
        let number = state.next_fence;
        for channel in channels {
            let entry = state.channels.get_mut(channel).expect("who has subscribed is in there");
            let mut own = entry.subscribers.iter_mut();
            let own = own.find(|subscriber| subscriber.client == client);
            own.expect("who has subscribed is in there").since = Since::Fence(number);
        }
        state.fences.insert(number, (client, channels.to_vec()));
        if state.fences.len() > FENCES_MAX {
            // Its server ended before it notified.
            state.fences.pop_first();
        }
        number
    }

    /// Waits until the connection has heard a fence, or has ended before.
    pub(crate) async fn passed(&self, number: u64) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            let waits = self.state.lock().fences.contains_key(&number);
            if !waits || !self.is_open() {
                return;
            }
            settled.await;
        }
    }

    /// The number of the connection, where it listens on all of a client's channels: a second copy
    /// of what the client notifies now will come over it.
    pub(crate) fn echoing(&self, channels: &BTreeSet<Channel>) -> Option<u64> {
        let state = self.state.lock();
        let is_present = |channel: &Channel| {
            state.channels.get(channel).is_some_and(|entry| entry.present == Present::Yes)
        };
        let all = state.connection == Connection::Open && channels.iter().all(is_present);
        all.then_some(state.epoch)
    }

    /// The number of the present connection.
    pub(crate) fn epoch(&self) -> u64 {
        self.state.lock().epoch
    }

    /// Whether the connection is there.
    pub(crate) fn is_open(&self) -> bool {
        self.state.lock().connection == Connection::Open
    }

    /// The connection may have to go: its task looks.
    pub(crate) fn look_up(&self) {
        self.changed.notify_one();
    }

    /// The connection's server was granted, or refused.
    pub(crate) fn settle(&self, outcome: Outcome) {
        let before = self.state.lock().outcome.replace(outcome);
        assert!(before.is_none(), "the connection is asked for once at a time");
        self.changed.notify_one();
    }

    /// Hands a notification to whom it concerns.
    fn dispatch(&self, message: &[u8], notification: &Notification<'_>) {
        if notification.channel == &*self.fence {
            return self.pass_fence(notification.payload);
        }
        let state = self.state.lock();
        let Some(entry) = state.channels.get(notification.channel) else { return };
        let shared: Arc<[u8]> = message.into();
        for subscriber in entry.subscribers.iter().filter(|of| of.since == Since::Now) {
            match subscriber.mailbox.deliver(&shared) {
                Delivery::Queued => self.counts.delivered.add(1),
                Delivery::Known => {}
                Delivery::Lost(lost) => self.counts.lost.add(lost),
            }
        }
    }

    fn pass_fence(&self, number: &[u8]) {
        let number = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
        let mut state = self.state.lock();
        let Some((client, channels)) = number.and_then(|number| state.fences.remove(&number))
        else {
            return;
        };
        self.settled.notify_waiters();
        for channel in channels {
            let entry = state.channels.get_mut(&channel);
            let mut own = entry.into_iter().flat_map(|entry| &mut entry.subscribers);
            // Who has unsubscribed and come again waits for another fence.
            let reached =
                own.find(|of| of.client == client && Some(of.since) == number.map(Since::Fence));
            if let Some(subscriber) = reached {
                subscriber.since = Since::Now;
            }
        }
    }
}

/// What a client's session listens on here. Dropped, it does so no longer.
#[derive(Debug)]
pub(crate) struct Listening {
    hub: Arc<Hub>,
    client: ClientId,
    channels: BTreeSet<Channel>,
    pub(crate) mailbox: Arc<Mailbox>,
}

impl Listening {
    /// On nothing yet.
    pub(crate) fn new(hub: &Arc<Hub>, client: ClientId, mailbox: Mailbox) -> Self {
        hub.counts.clients.add(1);
        let (hub, mailbox) = (Arc::clone(hub), Arc::new(mailbox));
        Self { hub, client, channels: BTreeSet::new(), mailbox }
    }

    /// Whose client it is.
    pub(crate) const fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// The channels.
    pub(crate) const fn channels(&self) -> &BTreeSet<Channel> {
        &self.channels
    }

    /// Listens no longer on what is not kept. What waits of it stays.
    pub(crate) fn retain(&mut self, mut kept: impl FnMut(&[u8]) -> bool) {
        let Self { hub, client, channels, mailbox } = self;
        channels.retain(|channel| {
            let keep = kept(channel);
            if !keep {
                hub.leave(*client, channel);
                mailbox.forget(channel);
            }
            keep
        });
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        for channel in &self.channels {
            self.hub.leave(self.client, channel);
        }
        self.hub.counts.clients.subtract(1);
    }
}

#[cfg(test)]
mod tests;
