//! The listening connection: the task that owns it.
//!
//! Owns: asking the pool for it, LISTEN and UNLISTEN as clients come and go, reading what it
//! hears, and another one after its end. The pool's own back-off spaces the attempts.
//! Invariant: there is at most one; it goes back to its pool when nobody listens, clean, and ends
//! there by `server_idle_timeout`; every client that listened is warned after an interruption.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use stent_pool::Condition;
use stent_wire::frame::{HEADER_LEN, Sender, frame_at, put_message};
use stent_wire::ledger::Owed;
use stent_wire::limits::WHOLE_MESSAGE_LEN_MAX;
use stent_wire::listen::{NOTIFICATION_LEN_MAX, Notification, listen_sql, unlisten_sql};
use stent_wire::report::Severity;

use super::unwound::Watch;
use super::{BATCH, Change, Channel, Connection, Entry, Gap, Hub, Present, Since, State};
use crate::broker::{Broker, Keeper, Task};
use crate::clients::Outcome;
use crate::events;
use crate::exchange::{self, ExchangeError, report_of};
use crate::link::{Link, Writing};

/// The pause after PostgreSQL or the caps have refused the connection.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// How much is read at a time.
const READ_LEN: usize = 16 * 1024;

/// Runs as long as somebody listens.
pub(super) async fn run(broker: Arc<Broker>, hub: Arc<Hub>) {
    let _watch = Watch::of(&broker, &hub);
    while hub.goes_on() {
        let Some(mut link) = obtain(&broker, &hub).await else { continue };
        let _keeper = Keeper::of(&broker, &link, Task::Clean);
        match serve(&broker, &hub, &mut link).await {
            Ok(()) => {
                if broker.is_retired(link.server) {
                    hub.interrupted();
                }
                broker.release_ear(link, Condition::Clean);
            }
            Err(error) => {
                hub.interrupted();
                let (database, user) = broker.names(hub.pool);
                let event = events::ListenerLost {
                    database: &database,
                    user: &user,
                    backend_pid: link.facts.backend_pid,
                    error: &error,
                };
                event.emit();
                link.writing = Writing::Failed;
                broker.release_ear(link, Condition::Broken);
            }
        }
    }
}

/// The connection from its pool; `None` where it was refused, or is needed no longer.
async fn obtain(broker: &Arc<Broker>, hub: &Arc<Hub>) -> Option<Box<Link>> {
    broker.acquire_ear(hub.ear);
    loop {
        let outcome = hub.state.lock().outcome.take();
        match outcome {
            Some(Outcome::Granted(mut link)) => {
                link.come_home();
                return Some(link);
            }
            Some(Outcome::Refused(_) | Outcome::Cancelled) => {
                hub.set_connection(Connection::Refused);
                tokio::time::sleep(REFUSED_PAUSE).await;
                hub.set_connection(Connection::Opening);
                return None;
            }
            None if !hub.is_wanted() => {
                broker.withdraw_ear(hub.ear);
                let outcome = hub.state.lock().outcome.take();
                let Some(Outcome::Granted(mut link)) = outcome else { return None };
                link.come_home();
                return Some(link);
            }
            None => hub.changed.notified().await,
        }
    }
}

/// Listens until nobody does any more, or the connection is to be replaced.
async fn serve(broker: &Arc<Broker>, hub: &Arc<Hub>, link: &mut Link) -> Result<(), ExchangeError> {
    let timeout = broker.present().config.server_connect_timeout;
    loop {
        let begin = listen_sql([hub.fence_channel()]);
        within(timeout, exchange::query(link, &begin)).await?;
        hub.opened();
        let mut ear = Ear { broker, hub, link, buffer: Vec::new(), asked: None };
        ear.listen(timeout).await?;
        within(timeout, exchange::query(link, b"UNLISTEN *")).await?;
        link.heard.clear();
        if !hub.is_wanted() || broker.is_retired(link.server) {
            return Ok(());
        }
    }
}

/// The connection while it listens.
struct Ear<'a> {
    broker: &'a Broker,
    hub: &'a Hub,
    link: &'a mut Link,
    buffer: Vec<u8>,
    /// What PostgreSQL was told and has not answered yet.
    asked: Option<Change>,
}

/// What came first.
enum Next {
    Read(usize),
    Changed,
    Late,
}

impl Ear<'_> {
    async fn listen(&mut self, timeout: Duration) -> Result<(), ExchangeError> {
        let mut chunk = vec![0; READ_LEN];
        let mut deadline = tokio::time::Instant::now();
        loop {
            if self.asked.is_none() {
                match self.hub.next_change() {
                    Some(change) => {
                        self.tell(change).await?;
                        deadline = tokio::time::Instant::now() + timeout;
                    }
                    None if !self.hub.is_wanted() || self.is_retired() => return Ok(()),
                    None => {}
                }
            }
            let waits = self.asked.is_some();
            let next = tokio::select! {
                read = self.link.stream.read(&mut chunk) => Next::Read(read?),
                () = self.hub.changed.notified(), if !waits => Next::Changed,
                () = tokio::time::sleep_until(deadline), if waits => Next::Late,
            };
            match next {
                Next::Read(0) => return Err(self.ended()),
                Next::Read(n) => {
                    self.buffer.extend_from_slice(&chunk[..n]);
                    self.digest()?;
                    // A burst must not fill the mailboxes of clients that read: it is their turn.
                    tokio::task::yield_now().await;
                }
                Next::Changed => {}
                Next::Late => return Err(out_of_step("no answer to LISTEN in time")),
            }
        }
    }

    /// Sends a statement; its answer is read with everything else. It is shorter than what the
    /// kernel keeps for a socket, so it is written even where PostgreSQL waits for us to read.
    async fn tell(&mut self, change: Change) -> Result<(), ExchangeError> {
        let mut message = Vec::new();
        put_message(&mut message, b'Q', |out| {
            out.append(&mut unlisten_sql(change.unlisten.iter().map(|channel| &**channel)));
            out.append(&mut listen_sql(change.listen.iter().map(|channel| &**channel)));
            out.push(0);
        });
        self.link.ledger.request(Owed::Query);
        self.link.stream.write_whole(&message).await?;
        self.asked = Some(change);
        Ok(())
    }

    fn digest(&mut self) -> Result<(), ExchangeError> {
        let buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
        loop {
            let frame = frame_at(&buffer, at, Sender::Backend).map_err(out_of_step)?;
            let Some(frame) = frame else { break };
            let max = if frame.tag == b'A' { NOTIFICATION_LEN_MAX } else { WHOLE_MESSAGE_LEN_MAX };
            if frame.len() > max {
                return Err(out_of_step("a message that is too long"));
            }
            if !frame.is_whole() {
                break;
            }
            let (all, body) = (&buffer[frame.all.clone()], &buffer[frame.body.clone()]);
            self.hear(frame.tag, all, body)?;
            at = frame.all.end;
        }
        self.buffer = buffer[at..].to_vec();
        Ok(())
    }

    fn hear(&mut self, tag: u8, all: &[u8], body: &[u8]) -> Result<(), ExchangeError> {
        if tag == b'E' {
            let report = report_of(body);
            self.link.ledger.error(report.severity);
            if report.severity >= Severity::Error {
                self.link.last_words = Some(report.message.to_string().into_boxed_str());
                return Err(ExchangeError::Refused(Box::new(report)));
            }
            return Ok(());
        }
        self.link.ledger.backend(tag, body.first().copied()).map_err(out_of_step)?;
        match tag {
            b'A' => {
                #[cfg(test)]
                crate::trap::spring(crate::trap::Place::Ear, self.link.facts.backend_pid);
                assert_eq!(all.len(), HEADER_LEN + body.len(), "a whole message");
                let notification = Notification::parse(body);
                let notification =
                    notification.ok_or_else(|| out_of_step("a malformed notification"))?;
                self.hub.dispatch(all, &notification);
            }
            b'Z' => {
                let done = self.asked.take();
                self.hub.changed_to(&done.unwrap_or_default());
            }
            _ => {}
        }
        Ok(())
    }

    fn is_retired(&self) -> bool {
        self.broker.is_retired(self.link.server)
    }

    fn ended(&self) -> ExchangeError {
        ExchangeError::Io(std::io::ErrorKind::UnexpectedEof.into())
    }
}

impl Hub {
    /// Whether anybody listens.
    fn is_wanted(&self) -> bool {
        self.state.lock().is_wanted()
    }

    /// Whether the connection's task goes on. Where it does not, whoever listens next begins
    /// another: both in one step, for a client may come at this moment.
    fn goes_on(&self) -> bool {
        let mut state = self.state.lock();
        let wanted = state.is_wanted();
        if !wanted {
            state.connection = Connection::None;
        }
        wanted
    }

    fn set_connection(&self, connection: Connection) {
        self.state.lock().connection = connection;
        self.settled.notify_waiters();
    }

    /// A connection is there, and listens on nothing yet.
    pub(super) fn opened(&self) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.connection = Connection::Open;
        state.epoch += 1;
        state.fences.clear();
        state.channels.retain(|_, entry| !entry.subscribers.is_empty());
        state.channels.values_mut().for_each(|entry| entry.present = Present::No);
        state.due = state.channels.keys().cloned().collect();
    }

    /// It is lost. Those who were listened for are told when another listens.
    pub(super) fn interrupted(&self) {
        let mut state = self.state.lock();
        state.connection = Connection::Opening;
        state.gap = Gap::Unsaid;
        state.fences.clear();
        for entry in state.channels.values_mut() {
            entry.present = Present::No;
            for subscriber in &mut entry.subscribers {
                if subscriber.since != Since::Waiting {
                    subscriber.since = Since::Now;
                    subscriber.mailbox.interrupt();
                }
            }
        }
        self.counts.interruptions.add(1);
        self.settled.notify_waiters();
    }

    /// What the connection is to be told next, if anything.
    pub(super) fn next_change(&self) -> Option<Change> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut change = Change::default();
        while change.listen.len() + change.unlisten.len() < BATCH
            && let Some(channel) = state.due.pop_first()
        {
            let Some(entry) = state.channels.get_mut(&channel) else { continue };
            match (entry.subscribers.is_empty(), entry.present) {
                (false, Present::No) => change.listen.push(channel),
                (true, Present::Yes) => {
                    // From here on, not only when PostgreSQL has done it: who comes meanwhile
                    // needs another LISTEN.
                    entry.present = Present::No;
                    change.unlisten.push(channel);
                }
                (true, Present::No) => drop(state.channels.remove(&channel)),
                (false, Present::Yes) => {}
            }
        }
        (!change.listen.is_empty() || !change.unlisten.is_empty()).then_some(change)
    }

    /// PostgreSQL has done it.
    pub(super) fn changed_to(&self, change: &Change) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut set = |channels: &[Channel], present| {
            for channel in channels {
                let Some(entry) = state.channels.get_mut(channel) else { continue };
                entry.present = present;
                // Who came or went meanwhile is another change.
                state.due.insert(Arc::clone(channel));
            }
        };
        set(&change.unlisten, Present::No);
        set(&change.listen, Present::Yes);
        let is_settled =
            |entry: &Entry| entry.present == Present::Yes || entry.subscribers.is_empty();
        if state.gap == Gap::Unsaid && state.channels.values().all(is_settled) {
            state.gap = Gap::None;
            let subscribers = state.channels.values().flat_map(|entry| &entry.subscribers);
            subscribers.for_each(|subscriber| subscriber.mailbox.resume());
        }
        self.settled.notify_waiters();
    }
}

impl State {
    fn is_wanted(&self) -> bool {
        self.channels.values().any(|entry| !entry.subscribers.is_empty())
    }
}

async fn within<T>(
    timeout: Duration,
    exchange: impl Future<Output = Result<T, ExchangeError>>,
) -> Result<T, ExchangeError> {
    let answer = tokio::time::timeout(timeout, exchange).await;
    answer.unwrap_or_else(|_| Err(out_of_step("no answer in time")))
}

fn out_of_step(why: impl ToString) -> ExchangeError {
    ExchangeError::OutOfStep(why.to_string())
}
