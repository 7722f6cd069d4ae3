//! From the server towards the client: reading replies off the book, passing the rest on.
//!
//! Invariant: every reply that the client gets answers a request of the client; answers to
//! requests of ours are swallowed, and answers that we give in the server's place keep their turn.

use std::task::{Context, Poll};

use stent_wire::effects::Effects;
use stent_wire::frame::{Frame, Sender, frame_at, put_message, run_end};
use stent_wire::ledger::{OutOfStep, Pass};
use stent_wire::limits::WHOLE_MESSAGE_LEN_MAX;
use stent_wire::prepared::{Shape, rename};
use stent_wire::report::reply::{TransactionStatus, parse_parameter_status};
use stent_wire::report::{Fields, Severity, SqlState};
use stent_wire::splice::Splice;

use super::heal::{Hold, Said, as_stale};
use super::leave::gone_end;
use super::mail::Ready;
use super::{End, Ended, Moved, Session};
use crate::broker::is_role;
use crate::config::PoolMode;
use crate::link::{Definitions, Link, Suspicion, Writing};
use crate::pool_stats::add;
use crate::scratch::{self, Scratch};
use crate::stash;

/// Command tags of statements that define something anew, or change who may look up what.
const DEFINES: [&[u8]; 7] =
    [b"ALTER ", b"CREATE ", b"DROP ", b"GRANT", b"REVOKE", b"IMPORT ", b"REASSIGN "];

/// How a look at a message ended.
enum Heard {
    On(Pass),
    Incomplete,
}

impl Session {
    /// Moves what the server has to say, as far as the client takes it.
    pub(super) fn move_down(&mut self, cx: &mut Context<'_>, link: &mut Link) -> Moved {
        match self.flush(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(end)) => return Moved::Ended(Ended::Client(end)),
            Poll::Pending => return Moved::Nothing,
        }
        scratch::with(|scratch| {
            let have = link.carry.len();
            scratch.make_room(have);
            match link.stream.poll_read(cx, &mut scratch.read[have..]) {
                Poll::Pending => {
                    self.flow.wait(cx, &link.stream);
                    Moved::Nothing
                }
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.flow.add(n, &link.stream);
                    scratch.read[..have].copy_from_slice(&link.carry);
                    stash::empty(&mut link.carry);
                    self.digest(link, scratch, have + n)
                }
                Poll::Ready(Ok(_)) => {
                    Moved::Ended(Ended::Server("it closed the connection".to_owned()))
                }
                Poll::Ready(Err(error)) => Moved::Ended(Ended::Server(error.to_string())),
            }
        })
    }

    fn digest(&mut self, link: &mut Link, scratch: &mut Scratch, total: usize) -> Moved {
        let chunk = &scratch.read[..total];
        let mut splice = Splice::new(chunk, &mut scratch.edit);
        let mut at = 0;
        let mut outcome = Moved::Something;
        loop {
            let n = link.rest.min(total - at);
            splice.keep(at..at + n);
            link.rest -= n;
            at += n;
            let frame = match frame_at(chunk, at, Sender::Backend) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    outcome = Moved::Ended(Ended::Server(error.to_string()));
                    break;
                }
            };
            match self.hold(link, chunk, &frame) {
                Hold::No => {}
                Hold::Wait => break,
                Hold::Drop => {
                    at = frame.all.end;
                    continue;
                }
            }
            let said = if splice.is_empty() { Said::Nothing } else { Said::Something };
            let heard = self.hear(link, chunk, &frame, said, &mut splice);
            match heard {
                Ok(Heard::On(Pass::Forward)) => self.pass_on(link, chunk, &frame, &mut splice),
                Ok(Heard::On(Pass::Swallow)) => {}
                Ok(Heard::Incomplete) => break,
                Err(out_of_step) => {
                    outcome = Moved::Ended(Ended::Server(out_of_step.to_string()));
                    break;
                }
            }
            at = frame.all.end;
            link.rest = frame.missing;
            if matches!(frame.tag, b'D' | b'd') && frame.is_whole() {
                let end = run_end(chunk, at, frame.tag);
                splice.keep(at..end);
                at = end;
            }
        }
        if link.ledger.owes_only_own() {
            link.ledger.own_replies(splice.edit());
        }
        if at < total {
            link.carry = stash::keep(&chunk[at..total]);
        }
        let out = splice.finish();
        if !out.is_empty() {
            link.replay.bytes.clear();
            self.repeats = 0;
        }
        self.repeat(link);
        add(&self.stats.sent, out.len());
        if let Err(end) = self.send_to_client(out) {
            return Moved::Ended(Ended::Client(end));
        }
        if matches!(outcome, Moved::Ended(_)) {
            link.writing = Writing::Failed;
        }
        if link.ledger.awaits_client() {
            self.flow.end(&link.stream);
            self.measured(link);
        }
        outcome
    }

    /// A message that is the client's; ReadyForQuery in its place among notifications.
    fn pass_on(&mut self, link: &Link, chunk: &[u8], frame: &Frame, splice: &mut Splice<'_>) {
        match frame.tag {
            b'A' => return self.notification_down(link, chunk, frame, splice),
            b'Z' if self.withholds(link) => {
                self.ready = Ready::Withheld;
                return;
            }
            b'Z' if self.may_have_mail(link) => drop(self.put_mail(splice.edit())),
            _ => {}
        }
        splice.keep(frame.all.clone());
    }

    /// One message, of which nothing goes on yet but what comes in front of it or in its place.
    fn hear(
        &mut self,
        link: &mut Link,
        chunk: &[u8],
        frame: &Frame,
        said: Said,
        splice: &mut Splice<'_>,
    ) -> Result<Heard, OutOfStep> {
        if self.heals(link, chunk, frame, said) || self.is_replaced(link, chunk, frame, said) {
            return Ok(Heard::On(Pass::Swallow));
        }
        if link.ledger.owes_own_reply() {
            link.ledger.own_replies(splice.edit());
        }
        let Some(renamed) = self.renamed(link, chunk, frame) else {
            return self.message_down(link, chunk, frame);
        };
        put_message(splice.edit(), b'E', |out| out.extend_from_slice(&renamed));
        self.error_down(link, &chunk[frame.body.clone()]);
        Ok(Heard::On(Pass::Swallow))
    }

    fn message_down(
        &mut self,
        link: &mut Link,
        chunk: &[u8],
        frame: &Frame,
    ) -> Result<Heard, OutOfStep> {
        let body = &chunk[frame.body.clone()];
        let described = match frame.tag {
            b'T' | b'n' => link.ledger.front_described(),
            _ => None,
        };
        let needs_whole =
            matches!(frame.tag, b'A' | b'C' | b'E' | b'S' | b'Z') || described.is_some();
        if needs_whole && !frame.is_whole() && frame.len() <= WHOLE_MESSAGE_LEN_MAX {
            return Ok(Heard::Incomplete);
        }
        match frame.tag {
            b'E' => {
                self.error_down(link, body);
                return Ok(Heard::On(Pass::Forward));
            }
            b'S' => self.parameter_down(link, body),
            b'C' if matches!(body.first(), Some(b'A' | b'C' | b'D' | b'G' | b'I' | b'R')) => {
                self.command_down(link, body);
            }
            b'T' | b'n' => {
                if let Some((id, whose)) = described {
                    let shape = Shape::of((frame.tag == b'T').then_some(body));
                    link.statements.described(id, shape);
                    if whose == Pass::Forward {
                        self.names.described(id, shape);
                    }
                }
            }
            b'N' => self.notice_down(link),
            b'1' => add(&self.stats.server_parses, 1),
            _ => {}
        }
        let pass = link.ledger.backend(frame.tag, body.first().copied())?;
        if frame.tag == b'Z' {
            add(&self.stats.queries, 1);
            if link.ledger.status() == TransactionStatus::Idle {
                add(&self.stats.transactions, 1);
                self.redefined_at_end(link);
                if link.ledger.is_settled() {
                    link.traces.ended();
                }
            }
        }
        Ok(Heard::On(pass))
    }

    /// A report that quotes names of ours, with the client's in their place.
    fn renamed(&self, link: &Link, chunk: &[u8], frame: &Frame) -> Option<Vec<u8>> {
        let translates = self.broker.config.pool_mode != PoolMode::Session;
        if frame.tag != b'E' || !frame.is_whole() || !translates {
            return None;
        }
        let body = &chunk[frame.body.clone()];
        if link.ledger.refuses() {
            return as_stale(body);
        }
        let unnamed = link.ledger.front_unnamed();
        rename(body, &self.names, link.ledger.front_taken(), unnamed)
    }

    pub(super) fn error_down(&mut self, link: &mut Link, body: &[u8]) {
        let fields = Fields::new(body);
        let severity = fields.severity().unwrap_or(Severity::Error);
        link.ledger.error(severity);
        if severity.ends_session() {
            let code = fields.code().map(|code| code.to_string()).unwrap_or_default();
            let message = fields.message().unwrap_or_default();
            link.last_words = Some(format!("{code} {message}").into_boxed_str());
        }
        if fields.code() == Some(SqlState::READ_ONLY_TRANSACTION) {
            link.suspicion = Suspicion::ReadOnly;
        }
        self.undo_skipped(link);
    }

    /// A parameter that the client itself brought or changed stays the client's: its next server
    /// gets it too.
    fn parameter_down(&mut self, link: &mut Link, body: &[u8]) {
        let Ok((name, value)) = parse_parameter_status(body) else { return };
        if is_role(name) && value == b"on" {
            link.suspicion = Suspicion::ReadOnly;
        }
        let ours = stent_wire::params::TRACKED
            .iter()
            .any(|tracked| tracked.as_bytes().eq_ignore_ascii_case(name));
        if !(ours || self.params.get(name).is_some()) || self.params.get(name) == Some(value) {
            return;
        }
        let mut params = (*self.params).clone();
        if params.set(name, value).is_err() {
            return;
        }
        self.params = std::sync::Arc::new(params);
        self.reading = None;
        link.applied = std::sync::Arc::clone(&self.params);
        let params = std::sync::Arc::clone(&self.params);
        self.broker.learn_params(self.id, params);
    }

    /// `DEALLOCATE ALL` and `DISCARD ALL`, by whatever route, leave no statement on the server.
    /// What defines anew makes statements that others have parsed too old for the next Parse.
    fn command_down(&mut self, link: &mut Link, body: &[u8]) {
        if DEFINES.iter().any(|tag| body.starts_with(tag)) {
            link.definitions = Definitions::Changed;
            self.broker.texts.lock().redefined();
        }
        if matches!(body, b"DEALLOCATE ALL\0" | b"DISCARD ALL\0") {
            link.statements.clear();
            self.names.clear();
        }
    }

    /// Others see what a transaction has defined from its end on, and have parsed meanwhile.
    fn redefined_at_end(&self, link: &mut Link) {
        let hidden = link.traces.passing().any(Effects::HIDES);
        if hidden || link.definitions == Definitions::Changed {
            link.definitions = Definitions::Same;
            self.broker.texts.lock().redefined();
        }
    }

    /// Writes what the client's socket takes at once and keeps the rest.
    fn send_to_client(&mut self, out: &[u8]) -> Result<(), End> {
        if out.is_empty() {
            return Ok(());
        }
        debug_assert!(self.to_client.is_empty(), "replies are read only when the last have gone");
        match self.stream.try_write(out) {
            Ok(n) => {
                if n < out.len() {
                    self.to_client = stash::keep(&out[n..]);
                }
                Ok(())
            }
            Err(error) => Err(gone_end(Some(error))),
        }
    }
}
