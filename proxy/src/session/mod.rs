//! A client's session after its login: one future, one owner of both sockets.
//!
//! Owns: the client's socket always, and a server's link while the client has one. Bytes are read
//! into the thread's scratch buffer and written on within the same poll; what a socket does not
//! take is kept here, and nothing more is read until it has gone.
//! Refuses: policy (the broker's) and message semantics (`stent_wire`'s).
//! Invariant: a server is given back exactly when its book is quiet and nothing is half sent.
//!
//! ```text
//!           request                granted              parameters set
//!   Idle ───────────▶ Waiting ───────────▶ Preparing ─────────────────▶ Linked
//!    ▲ ▲    refused      │                                                │
//!    │ └─────────────────┘              ReadyForQuery, book quiet         │
//!    └────────────────────────────────────────────────────────────────────┘
//!   Linked ──▶ Inspecting (state may be left: PostgreSQL is asked) ──▶ Idle, or Linked again
//!   any of them ──▶ Leaving (last words are flushed) ──▶ the end
//! ```

mod downward;
mod heal;
mod inspect;
mod leave;
mod listen;
mod mail;
mod notify;
mod order;
mod prepare;
mod refuse;
mod release;
mod retry;
mod share;
mod upward;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use stent_pool::PoolId;
use stent_wire::effects::Effects;
use stent_wire::params::Params;
use stent_wire::prepared::{ClientStatements, Reading};
use stent_wire::report::Report;

use crate::broker::Broker;
use crate::clients::{ClientId, Outcome};
use crate::clock::InTurn;
use crate::config::PoolMode;
use crate::disconnects::Cause;
use crate::firewall::Firewall;
use crate::flow::Flow;
use crate::link::Link;
use crate::login::Home;
use crate::notify::Listening;
use crate::pool_stats::PoolStats;
use crate::scratch::{self, Scratch};
use crate::stash;
use crate::stream::Stream;

use self::inspect::{Inspected, Verdict};
use self::leave::gone_end;
use self::mail::Ready;
use self::order::Obeyed;
use self::prepare::Prepared;

/// How much of a queued client's further requests is taken in while it waits.
const QUEUED_BYTES_MAX: usize = 64 * 1024;

/// A session. See the module's documentation.
pub(crate) struct Session {
    broker: Arc<Broker>,
    id: ClientId,
    pool: PoolId,
    /// The configuration's, or `session` where it keeps the server that it was given in its login.
    mode: PoolMode,
    stats: Arc<PoolStats>,
    stream: Stream,
    /// The settings in force, wherever the next server is.
    params: Arc<Params>,
    /// Those that it brought: RESET returns to them.
    own: Arc<Params>,
    firewall: Arc<Firewall>,
    names: ClientStatements,
    /// How many of them the register knows of.
    noted: u32,
    /// The number of its settings, once it was asked for.
    reading: Option<Reading>,
    /// What its unnamed statement does when it is executed.
    unnamed: Effects,
    /// What is listened on for it, wherever it has a server.
    listening: Option<Box<Listening>>,
    phase: Phase,
    /// Bytes from the client that could not be used yet.
    carry: Vec<u8>,
    carried: Carried,
    /// How much of a message from the client is still to come, and what becomes of it.
    rest: usize,
    fate: Fate,
    skip: Skip,
    /// Bytes for the client that its socket has not taken yet.
    to_client: Vec<u8>,
    /// The answer that is on its way.
    flow: Flow,
    /// How often its requests were repeated without an answer that it saw.
    repeats: u8,
    hearing: Hearing,
    reachable: Reachable,
    ready: Ready,
}

enum Phase {
    Idle,
    Waiting,
    Preparing(Pin<Box<dyn Future<Output = Prepared>>>),
    Linked(Box<Link>),
    Inspecting(Pin<Box<dyn Future<Output = Inspected>>>),
    Leaving(End),
}

/// Why `carry` holds bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carried {
    /// The rest of the message is needed: read on.
    Partial,
    /// They were not looked at yet: begin with them.
    Unread,
    /// They depend on what the server has yet to say: begin with them when it has.
    Undecided,
}

/// What becomes of the rest of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Forward,
    Drop,
}

/// Whether the client's requests are dropped up to its next Sync, after a refusal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Skip {
    No,
    ToSync,
}

/// Whether the client may say more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hearing {
    Yes,
    /// It said Terminate behind a request: the request is still finished, as PostgreSQL would.
    Terminated,
}

/// Whether the broker can wake the session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reachable {
    NotYet,
    Yes,
}

/// How a session ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) cause: Cause,
    pub(crate) detail: String,
}

impl End {
    fn because(cause: Cause) -> Self {
        Self { cause, detail: String::new() }
    }
}

/// What a phase came to.
enum Step {
    Again,
    Wait,
    End(End),
}

impl Session {
    /// The session of a client that has logged in.
    pub(crate) fn new(
        broker: Arc<Broker>,
        id: ClientId,
        home: Home,
        stream: Stream,
        unread: Vec<u8>,
    ) -> Self {
        let Home { pool, params, server } = home;
        let (stats, firewall) = (broker.stats(pool), broker.firewall(pool));
        let mode = if server.is_some() { PoolMode::Session } else { broker.config.pool_mode };
        Self {
            broker,
            id,
            pool,
            mode,
            stats,
            stream,
            own: Arc::clone(&params),
            params,
            firewall,
            names: ClientStatements::default(),
            reading: None,
            unnamed: Effects::NONE,
            noted: 0,
            listening: None,
            phase: server.map_or(Phase::Idle, Phase::Linked),
            carry: unread,
            carried: Carried::Unread,
            rest: 0,
            fate: Fate::Forward,
            skip: Skip::No,
            to_client: Vec::new(),
            flow: Flow::default(),
            repeats: 0,
            hearing: Hearing::Yes,
            reachable: Reachable::NotYet,
            ready: Ready::Said,
        }
    }

    /// Tells the broker how to wake this session; a task's waker stays the same for its life.
    fn register(&mut self, cx: &Context<'_>) {
        if self.reachable == Reachable::NotYet {
            self.broker.inner().clients.get_mut(self.id).waker = Some(cx.waker().clone());
            self.reachable = Reachable::Yes;
        }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Step {
        if self.broker.is_dismissed(self.id) {
            return self.leave_for_shutdown();
        }
        match self.flush(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(end)) => return Step::End(end),
            Poll::Pending => return Step::Wait,
        }
        if let Some(step) = self.mail_at_rest() {
            return step;
        }
        scratch::with(|scratch| match self.pull(cx, scratch) {
            Poll::Pending => Step::Wait,
            Poll::Ready(Err(end)) => Step::End(end),
            Poll::Ready(Ok(total)) => self.idle_bytes(scratch, total),
        })
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Step {
        match self.broker.take_outcome(self.id) {
            Some(Outcome::Granted(link)) => {
                self.take(link);
                return Step::Again;
            }
            Some(Outcome::Refused(refusal)) => {
                let report = self.broker.refusal_report(self.pool, refusal);
                self.refuse(&report);
                return Step::Again;
            }
            Some(Outcome::Cancelled) => {
                self.refuse(&refuse::cancelled());
                return Step::Again;
            }
            None => {}
        }
        if self.carry.len() >= QUEUED_BYTES_MAX {
            return Step::Wait;
        }
        scratch::with(|scratch| match self.stream.poll_read(cx, &mut scratch.read) {
            Poll::Pending => Step::Wait,
            Poll::Ready(Ok(n)) if n > 0 => {
                self.carry.extend_from_slice(&scratch.read[..n]);
                Step::Again
            }
            Poll::Ready(gone) => Step::End(gone_end(gone.err())),
        })
    }

    fn poll_preparing(&mut self, cx: &mut Context<'_>) -> Step {
        let Phase::Preparing(future) = &mut self.phase else {
            unreachable!("called in the phase Preparing only")
        };
        let Poll::Ready(prepared) = future.as_mut().poll(cx) else { return Step::Wait };
        self.phase = Phase::Idle;
        self.prepared(prepared)
    }

    fn poll_inspecting(&mut self, cx: &mut Context<'_>) -> Step {
        let Phase::Inspecting(future) = &mut self.phase else {
            unreachable!("called in the phase Inspecting only")
        };
        let Poll::Ready(inspected) = future.as_mut().poll(cx) else { return Step::Wait };
        self.phase = Phase::Idle;
        self.inspected(inspected)
    }

    /// Moves bytes both ways until neither side has any, or the server goes back.
    fn poll_linked(&mut self, cx: &mut Context<'_>) -> Step {
        let Phase::Linked(mut link) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            unreachable!("called in the phase Linked only")
        };
        if self.broker.is_dismissed(self.id) && self.is_at_rest(&link) {
            self.give_back(link);
            return self.leave_for_shutdown();
        }
        #[cfg(test)]
        crate::trap::spring(crate::trap::Place::Session, link.facts.backend_pid);
        link = match self.obey(link) {
            Obeyed::GoOn(link) => link,
            Obeyed::Leave(step) => return step,
        };
        let down = self.move_down(cx, &mut link);
        let up = match down {
            // With the answer that was asked for the server goes back: the client is heard then.
            Moved::Something if self.may_release(&link) => Moved::Nothing,
            Moved::Something | Moved::Nothing => self.move_up(cx, &mut link),
            Moved::Ended(_) => Moved::Nothing,
        };
        match (up, down) {
            (Moved::Ended(end), _) | (_, Moved::Ended(end)) => self.end_linked(link, end),
            (up, down) => {
                if self.may_release(&link) {
                    match self.verdict_at_end(&link) {
                        Verdict::Release => {
                            self.say_ready();
                            self.give_back(link);
                            return self.after_release();
                        }
                        Verdict::Ask => {
                            self.ask(link);
                            return Step::Again;
                        }
                        Verdict::Stay => {}
                    }
                }
                self.rest_linked(link, up, down)
            }
        }
    }

    fn poll_leaving(&mut self, cx: &mut Context<'_>) -> Step {
        match self.flush(cx) {
            Poll::Pending => Step::Wait,
            Poll::Ready(_) => {
                let Phase::Leaving(end) = std::mem::replace(&mut self.phase, Phase::Idle) else {
                    unreachable!("called in the phase Leaving only")
                };
                self.stream.shutdown_write();
                Step::End(end)
            }
        }
    }

    /// Writes what the client's socket has not taken yet.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        while !self.to_client.is_empty() {
            match self.stream.poll_write(cx, &self.to_client) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(n)) if n == self.to_client.len() => {
                    stash::empty(&mut self.to_client);
                }
                Poll::Ready(Ok(n)) => drop(self.to_client.drain(..n)),
                Poll::Ready(Err(error)) => {
                    stash::empty(&mut self.to_client);
                    return Poll::Ready(Err(gone_end(Some(error))));
                }
            }
        }
        self.stream.poll_flush(cx).map_err(|error| gone_end(Some(error)))
    }

    /// Brings bytes of the client to the front of the scratch buffer: those kept from before,
    /// then new ones.
    fn pull(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Result<usize, End>> {
        let have = self.carry.len();
        scratch.make_room(have);
        if self.carried != Carried::Partial && have > 0 {
            scratch.read[..have].copy_from_slice(&self.carry);
            stash::empty(&mut self.carry);
            self.carried = Carried::Partial;
            return Poll::Ready(Ok(have));
        }
        match self.stream.poll_read(cx, &mut scratch.read[have..]) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(n)) if n > 0 => {
                scratch.read[..have].copy_from_slice(&self.carry);
                stash::empty(&mut self.carry);
                Poll::Ready(Ok(have + n))
            }
            Poll::Ready(gone) => Poll::Ready(Err(gone_end(gone.err()))),
        }
    }

    /// Keeps bytes of the client for later.
    fn keep(&mut self, bytes: &[u8], carried: Carried) {
        debug_assert!(self.carry.is_empty(), "bytes are kept once");
        self.carry = stash::keep(bytes);
        self.carried = carried;
    }
}

/// What came of moving bytes one way.
enum Moved {
    Something,
    Nothing,
    Ended(Ended),
}

/// How a session ends while it has a server.
enum Ended {
    /// The client left.
    Client(End),
    /// The client broke the protocol.
    Protocol(Report),
    /// The server ended.
    Server(String),
}

/// The session is its own task: nothing is around it that would cost each client memory.
impl Future for Session {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _turn = InTurn::begin();
        self.register(cx);
        loop {
            let step = match &self.phase {
                Phase::Idle => self.poll_idle(cx),
                Phase::Waiting => self.poll_waiting(cx),
                Phase::Preparing(_) => self.poll_preparing(cx),
                Phase::Linked(_) => self.poll_linked(cx),
                Phase::Inspecting(_) => self.poll_inspecting(cx),
                Phase::Leaving(_) => self.poll_leaving(cx),
            };
            match step {
                Step::Again => {}
                Step::Wait => return Poll::Pending,
                Step::End(end) => {
                    self.broker.withdraw(self.id);
                    self.stream = Stream::Gone;
                    self.broker.client_ended(self.id, end.cause, &end.detail);
                    return Poll::Ready(());
                }
            }
        }
    }
}
