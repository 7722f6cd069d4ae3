//! From the client towards the server: finding messages, keeping the book, rewriting names.
//!
//! Invariant: no byte of a message that the protocol does not know reaches a server, and a
//! message that is forwarded is forwarded whole.

use std::io;
use std::task::{Context, Poll};

use stent_wire::effects::Effects;
use stent_wire::frame::{Frame, FrameError, HEADER_LEN, Sender, cstr, frame_at, run_end};
use stent_wire::ledger::Owed;
use stent_wire::limits::WHOLE_MESSAGE_LEN_MAX;
use stent_wire::prepared::{
    ClientStatements, Statement, Statements, Terms, Texts, Translation, drop_unnamed,
};
use stent_wire::report::reply::{TransactionStatus, put_ready_for_query};
use stent_wire::report::{Report, SqlState};
use stent_wire::retry::Sent;
use stent_wire::splice::Splice;

use super::heal::put_stale;
use super::inspect::{Forbidden, note_effects, put_refusal};
use super::{Carried, End, Ended, Fate, Hearing, Moved, Phase, Session, Skip, Step};
use crate::broker::Acquired;
use crate::config::{PoolMode, StatementCache};
use crate::disconnects::Cause;
use crate::link::{Link, Writing};
use crate::pool_stats::add;
use crate::scratch::{self, Scratch};
use crate::stash;
use stent_contract::snapshot::HolderState;

/// What became of one message.
enum Passed {
    /// It went on.
    On,
    /// It is dropped, as PostgreSQL would ignore it.
    Dropped,
    /// More of it is needed first.
    Incomplete,
    /// An answer that is on its way is needed first.
    Undecided,
    /// The client says good-bye.
    Terminate,
    /// It must not go on.
    Refused(Report),
}

impl Session {
    /// Bytes of a client that has no server: most of them ask for one.
    pub(super) fn idle_bytes(&mut self, scratch: &mut Scratch, total: usize) -> Step {
        let mut at = 0;
        loop {
            let skipped = self.rest.min(total - at);
            self.rest -= skipped;
            at += skipped;
            let frame = match frame_at(&scratch.read[..total], at, Sender::Frontend) {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    self.keep(&scratch.read[at..total], Carried::Partial);
                    return Step::Again;
                }
                Err(error) => {
                    let report = protocol_report(error);
                    let detail = report.message.to_string();
                    return self.leave_with(&report, End { cause: Cause::ProtocolError, detail });
                }
            };
            match frame.tag {
                b'X' => return Step::End(End::because(Cause::Terminated)),
                // Nothing is owed and nothing is open: this Sync has one possible answer.
                b'S' => {
                    self.skip = Skip::No;
                    put_ready_for_query(&mut self.to_client, TransactionStatus::Idle);
                }
                b'H' | b'd' | b'c' | b'f' => {}
                _ if self.skip == Skip::ToSync => {}
                _ => return self.ask_for_server(scratch, at, total),
            }
            at = frame.all.end;
            self.rest = frame.missing;
            self.fate = Fate::Drop;
        }
    }

    fn ask_for_server(&mut self, scratch: &mut Scratch, at: usize, total: usize) -> Step {
        match self.broker.acquire(self.id, self.pool) {
            Acquired::Link(link) if link.applied == self.params && self.listening.is_none() => {
                let mut link = link;
                let moved = self.ingest(&mut link, scratch, at, total);
                self.phase = Phase::Linked(link);
                match moved {
                    Moved::Ended(end) => self.end_now(end),
                    Moved::Something | Moved::Nothing => Step::Again,
                }
            }
            Acquired::Link(link) => {
                self.keep(&scratch.read[at..total], Carried::Unread);
                self.take(link);
                Step::Again
            }
            Acquired::Later => {
                self.keep(&scratch.read[at..total], Carried::Unread);
                self.phase = Phase::Waiting;
                Step::Again
            }
            Acquired::Refused(refusal) => {
                self.keep(&scratch.read[at..total], Carried::Unread);
                let report = self.broker.refusal_report(self.pool, refusal);
                self.refuse(&report);
                Step::Again
            }
        }
    }

    fn end_now(&mut self, end: Ended) -> Step {
        let Phase::Linked(link) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            unreachable!("a server was taken a moment ago")
        };
        self.end_linked(link, end)
    }

    /// Moves what the client has to say, as far as the server takes it.
    pub(super) fn move_up(&mut self, cx: &mut Context<'_>, link: &mut Link) -> Moved {
        match flush_to_server(cx, link) {
            Poll::Pending => return Moved::Nothing,
            Poll::Ready(()) => {}
        }
        let hears = self.hearing == Hearing::Yes && link.writing == Writing::Open;
        let undecided = self.carried == Carried::Undecided
            && (link.ledger.owes_round() || link.ledger.owes_inspection());
        if !hears || undecided || link.ledger.is_full() {
            return Moved::Nothing;
        }
        scratch::with(|scratch| match self.pull(cx, scratch) {
            Poll::Pending => Moved::Nothing,
            Poll::Ready(Err(end)) => Moved::Ended(Ended::Client(end)),
            Poll::Ready(Ok(total)) => self.ingest(link, scratch, 0, total),
        })
    }

    /// Takes messages from `scratch.read[at..total]` and writes them on.
    pub(super) fn ingest(
        &mut self,
        link: &mut Link,
        scratch: &mut Scratch,
        mut at: usize,
        total: usize,
    ) -> Moved {
        let (chunk, from) = (&scratch.read[..total], at);
        let fresh = link.is_clean() && self.rest == 0;
        let mut splice = Splice::new(chunk, &mut scratch.edit);
        let mut outcome = Moved::Something;
        let mut carried = Carried::Partial;
        loop {
            let n = self.rest.min(total - at);
            if self.fate == Fate::Forward {
                splice.keep(at..at + n);
            }
            self.rest -= n;
            at += n;
            if self.rest > 0 || at == total {
                break;
            }
            if link.ledger.is_full() {
                carried = Carried::Unread;
                break;
            }
            let frame = match frame_at(chunk, at, Sender::Frontend) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    outcome = Moved::Ended(Ended::Protocol(protocol_report(error)));
                    break;
                }
            };
            match self.message_up(link, chunk, &frame, &mut splice) {
                Passed::On => self.fate = Fate::Forward,
                Passed::Dropped => self.fate = Fate::Drop,
                Passed::Incomplete => break,
                Passed::Undecided => {
                    carried = Carried::Undecided;
                    break;
                }
                Passed::Terminate => {
                    self.hearing = Hearing::Terminated;
                    at = total;
                    break;
                }
                Passed::Refused(report) => {
                    outcome = Moved::Ended(Ended::Protocol(report));
                    break;
                }
            }
            at = frame.all.end;
            self.rest = frame.missing;
            if frame.tag == b'd' && self.rest == 0 {
                self.rest = run_end(chunk, at, b'd') - at;
            }
        }
        self.undo_skipped(link);
        // Behind them comes what the server says: then they wait for their turn in front of it.
        if link.ledger.owes_only_own() {
            link.ledger.own_replies(&mut self.to_client);
        }
        let repeatable = fresh && self.rest == 0 && self.to_client.is_empty();
        let requests = if repeatable { &chunk[from..at] } else { b"" };
        self.keep_for_replay(link, requests);
        let out = splice.finish();
        add(&self.stats.received, out.len());
        let sent = if out.is_empty() { Sent::Other } else { send_to_server(link, out) };
        self.keep_for_another(link, requests, sent);
        if at < total {
            self.keep(&scratch.read[at..total], carried);
        }
        outcome
    }

    /// One message with its header and as much of its body as is there.
    fn message_up(
        &mut self,
        link: &mut Link,
        chunk: &[u8],
        frame: &Frame,
        splice: &mut Splice<'_>,
    ) -> Passed {
        let body = &chunk[frame.body.clone()];
        match frame.tag {
            b'S' => {
                self.skip = Skip::No;
                link.ledger.sync();
            }
            b'X' => return Passed::Terminate,
            b'd' | b'c' | b'f' if !link.ledger.takes_copy_data() => return Passed::Dropped,
            _ if self.skip == Skip::ToSync => return Passed::Dropped,
            b'Q' => {
                let sql = body.strip_suffix(&[0]).unwrap_or(body);
                link.facts.note_statement(sql);
                self.broker.make_way(self.pool, sql);
                if !frame.is_whole() {
                    link.traces.note(Effects::UNKNOWN, body);
                }
                if let Err(why) = self.suspect(link, sql) {
                    link.ledger.request(Owed::Query);
                    put_refusal(splice.edit(), why);
                    return Passed::Dropped;
                }
                drop_unnamed(&mut self.names, &mut link.statements, &link.ledger);
                link.ledger.request(Owed::Query);
            }
            b'F' => {
                link.traces.note(Effects::UNKNOWN, b"function call");
                link.ledger.request(Owed::Call);
            }
            b'E' => link.ledger.extended(Owed::Execute),
            b'P' | b'B' | b'D' | b'C' => return self.named(link, chunk, frame, splice),
            b'c' | b'f' => link.ledger.copy_end(),
            _ => {}
        }
        splice.keep(frame.all.clone());
        Passed::On
    }

    /// Parse, Bind, Describe, Close: in transaction mode their names are translated.
    fn named(
        &mut self,
        link: &mut Link,
        chunk: &[u8],
        frame: &Frame,
        splice: &mut Splice<'_>,
    ) -> Passed {
        if frame.tag == b'P'
            && let Err(why) = self.suspect_parse(link, &chunk[frame.body.clone()], frame)
        {
            link.ledger.request(Owed::Refusal);
            put_refusal(splice.edit(), why);
            self.skip = Skip::ToSync;
            return Passed::Dropped;
        }
        let kept = self.broker.config.kept_statements();
        if self.mode == PoolMode::Session || kept == StatementCache::Off {
            self.stats.count_named(frame.tag);
            return pass_untranslated(link, frame, splice);
        }
        let terms = self.terms(link);
        let mut texts = self.broker.texts.lock();
        let mut statements = books(&mut texts, &mut self.names, link, terms);
        let translation = match frame.tag {
            b'P' => statements.parse(chunk, frame, splice),
            b'B' => statements.bind(chunk, frame, splice),
            b'D' => statements.describe(chunk, frame, splice),
            _ => statements.close(chunk, frame, splice),
        };
        if let Translation::Done(_) = &translation {
            self.stats.count_named(frame.tag);
        }
        match translation {
            Translation::Done(Some(statement)) => {
                link.facts.note_statement(statement.sql());
                drop(texts);
                self.suspect_bind(link, frame.tag, &statement);
                Passed::On
            }
            Translation::Done(None) => {
                drop(texts);
                self.suspect_unnamed(link, frame.tag, &chunk[frame.body.clone()], terms);
                Passed::On
            }
            Translation::Incomplete if frame.len() > WHOLE_MESSAGE_LEN_MAX && frame.tag == b'P' => {
                Passed::Refused(too_long(frame.len()))
            }
            Translation::Incomplete if frame.body.len() + HEADER_LEN > WHOLE_MESSAGE_LEN_MAX => {
                Passed::Refused(too_long(frame.len()))
            }
            Translation::Incomplete => Passed::Incomplete,
            Translation::Undecided => Passed::Undecided,
            Translation::Stale => {
                drop(texts);
                link.ledger.request(Owed::Refusal);
                put_stale(splice.edit());
                self.skip = Skip::ToSync;
                Passed::Dropped
            }
            Translation::TooManyNames => Passed::Refused(too_many_names()),
        }
    }

    /// A Parse: shown as its client's last statement, and judged; of a named one only whether it is
    /// allowed, for it does nothing before its Bind.
    fn suspect_parse(
        &mut self,
        link: &mut Link,
        body: &[u8],
        frame: &Frame,
    ) -> Result<(), Forbidden> {
        let Some((name, tail)) = cstr(body) else { return Ok(()) };
        let whole = cstr(tail).map(|(sql, _)| sql);
        let sql = whole.unwrap_or(tail);
        link.facts.note_statement(sql);
        self.broker.make_way(self.pool, sql);
        if whole.is_none() && !frame.is_whole() {
            link.traces.note(Effects::UNKNOWN, sql);
        }
        if name.is_empty() && self.mode != PoolMode::Session {
            self.unnamed = self.effects_of(tail, sql);
            return self.suspect_of(link, self.unnamed, sql);
        }
        if name.is_empty() || !self.forbids() {
            return Ok(());
        }
        let before = link.traces.effects();
        let result = self.suspect(link, sql);
        debug_assert!(result.is_ok() || link.traces.effects() == before);
        result
    }

    /// A named statement is bound: now it will do what it does.
    fn suspect_bind(&self, link: &mut Link, tag: u8, statement: &Statement) {
        if tag == b'B' {
            let effects = self.firewall.effects_of(statement);
            // What is forbidden was refused at its Parse.
            note_effects(link, effects, statement.sql());
        }
    }

    fn forbids(&self) -> bool {
        self.mode == PoolMode::Statement || !self.broker.config.forbidden_state.is_empty()
    }

    /// The server goes: the unnamed statement stays the client's.
    pub(super) fn keep_unnamed(&mut self, link: &mut Link) {
        if self.mode == PoolMode::Session {
            return;
        }
        let terms = self.plain_terms();
        let mut texts = self.broker.texts.lock();
        books(&mut texts, &mut self.names, link, terms).keep_unnamed();
    }

    /// Takes back what the server has skipped, if it has.
    pub(super) fn undo_skipped(&mut self, link: &mut Link) {
        if !link.ledger.has_undone() {
            return;
        }
        let terms = self.plain_terms();
        let mut texts = self.broker.texts.lock();
        books(&mut texts, &mut self.names, link, terms).undo();
    }
}

/// The books of a client and of its server.
pub(super) fn books<'a>(
    texts: &'a mut Texts,
    names: &'a mut ClientStatements,
    link: &'a mut Link,
    terms: Terms,
) -> Statements<'a> {
    Statements {
        texts,
        client: names,
        server: &mut link.statements,
        ledger: &mut link.ledger,
        terms,
    }
}

fn pass_untranslated(link: &mut Link, frame: &Frame, splice: &mut Splice<'_>) -> Passed {
    link.ledger.extended(match frame.tag {
        b'P' => Owed::Parse(None),
        b'B' => Owed::Bind(0),
        b'D' => Owed::Describe(0),
        _ => Owed::Close,
    });
    splice.keep(frame.all.clone());
    Passed::On
}

/// Writes to the server what its socket takes at once and keeps the rest. A failure is only
/// noted: the server's last words may still be there to be read.
fn send_to_server(link: &mut Link, out: &[u8]) -> Sent {
    debug_assert!(link.to_server.is_empty(), "requests are read only when the last have gone");
    link.show(HolderState::Active);
    match link.stream.try_write(out) {
        Ok(n) if n < out.len() => link.to_server = stash::keep(&out[n..]),
        Ok(_) => {}
        Err(_) => {
            link.writing = Writing::Failed;
            // Records of TLS may have gone before the one that failed.
            return if link.stream.is_tls() { Sent::Other } else { Sent::Nothing };
        }
    }
    Sent::Other
}

fn flush_to_server(cx: &mut Context<'_>, link: &mut Link) -> Poll<()> {
    while !link.to_server.is_empty() && link.writing == Writing::Open {
        let written: Poll<io::Result<usize>> = link.stream.poll_write(cx, &link.to_server);
        match written {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(n)) if n == link.to_server.len() => stash::empty(&mut link.to_server),
            Poll::Ready(Ok(n)) => drop(link.to_server.drain(..n)),
            Poll::Ready(Err(_)) => link.writing = Writing::Failed,
        }
    }
    if link.writing == Writing::Open {
        match link.stream.poll_flush(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => link.writing = Writing::Failed,
        }
    }
    Poll::Ready(())
}

fn protocol_report(error: FrameError) -> Report {
    Report::fatal(SqlState::PROTOCOL_VIOLATION, error.to_string())
}

fn too_long(len: usize) -> Report {
    Report::fatal(
        SqlState::PROTOCOL_VIOLATION,
        format!("a named statement of {len} bytes is longer than the proxy can keep"),
    )
    .with_hint("Use the unnamed statement for very long texts.")
}

fn too_many_names() -> Report {
    Report::fatal(
        SqlState::PROTOCOL_VIOLATION,
        "this connection keeps more prepared statements than the proxy allows",
    )
    .with_hint("Close statements that are not needed, or use fewer distinct texts.")
}
