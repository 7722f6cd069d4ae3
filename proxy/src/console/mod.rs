//! The admin console: a database of our own, `stent` or `pgbouncer`, that answers SHOW commands and
//! obeys a few others.
//!
//! Owns: the session of a client that asks for it, in the simple query protocol. Who may is said in
//! `access`, what there is to see in `show`, what there is to do in `command` and `act`.
//! Refuses: the extended protocol, and more than one command at a time.
//! Invariant: a console needs no server and no room in `max_client_conn`, so an engineer gets in
//! when nobody else does; what it shows is a table made at one moment, without a secret or a
//! literal of a statement.

mod access;
mod act;
mod classes;
mod command;
mod config;
mod connections;
mod counts;
mod databases;
mod ends;
mod fleet;
mod holders;
mod lists;
mod mem;
mod pools;
mod show;
mod statements;
mod stats;
mod table;
mod users;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use stent_wire::auth::put_ok;
use stent_wire::cancel::CancelKey;
use stent_wire::frame::{Sender, frame_at};
use stent_wire::report::reply::{
    TransactionStatus, put_backend_key_data, put_empty_query_response, put_parameter_status,
    put_ready_for_query,
};
use stent_wire::report::{Report, SqlState};

use crate::broker::{Broker, Draining, Entrant};
use crate::clients::{ClientId, ClientState};
use crate::disconnects::Cause;
use crate::messages::Inbox;
use crate::stream::Stream;

pub(crate) use access::{Access, Rights};
use command::Command;
use show::View;
use table::Table;

/// The longest command.
const COMMAND_LEN_MAX: usize = 16 * 1024;
/// How long a client may take to read an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What drivers want to know at the end of a login.
const PARAMETERS: [(&str, &str); 7] = [
    ("server_version", concat!(env!("CARGO_PKG_VERSION"), "/stent")),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("TimeZone", "GMT"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
];

/// A client of the console, logged in.
pub(crate) struct Console {
    pub(crate) broker: Arc<Broker>,
    pub(crate) id: ClientId,
    /// Who it is, for the log.
    pub(crate) user: String,
    pub(crate) rights: Rights,
    pub(crate) stream: Stream,
    pub(crate) inbox: Inbox,
    /// Whether requests are dropped up to the next Sync.
    pub(crate) skip: Skip,
}

/// See [`Console::skip`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Skip {
    #[default]
    No,
    ToSync,
}

/// What came from the client.
enum Heard {
    Message(u8, Vec<u8>),
    Shutdown,
}

/// Why a session ends.
struct End {
    cause: Cause,
    detail: String,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self { cause: Cause::Gone, detail: error.to_string() }
    }
}

/// The last words of a login.
pub(crate) fn put_welcome(out: &mut Vec<u8>, id: ClientId, key: &CancelKey) {
    put_ok(out);
    for (name, value) in PARAMETERS {
        put_parameter_status(out, name.as_bytes(), value.as_bytes());
    }
    put_backend_key_data(out, id.cancel_pid(), key);
    put_ready_for_query(out, TransactionStatus::Idle);
}

impl Console {
    /// Runs to the end of the connection.
    pub(crate) async fn serve(mut self) {
        let _entrant = Entrant::new(&self.broker, self.id);
        self.broker.inner().clients.set_state(self.id, ClientState::Idle);
        let Err(end) = self.run().await;
        self.stream.shutdown_write();
        self.broker.client_ended(self.id, end.cause, &end.detail);
    }

    async fn run(&mut self) -> Result<std::convert::Infallible, End> {
        loop {
            match self.next().await? {
                Heard::Message(b'X', _) => {
                    return Err(End { cause: Cause::Terminated, detail: String::new() });
                }
                Heard::Message(tag, body) => {
                    let answer = self.answer(tag, &body).await?;
                    self.say(&answer).await?;
                }
                Heard::Shutdown => {
                    let report =
                        Report::fatal(SqlState::ADMIN_SHUTDOWN, "the proxy is shutting down");
                    return Err(self.last_word(&report, Cause::Shutdown).await);
                }
            }
        }
    }

    /// The next message, or the beginning of the shutdown.
    async fn next(&mut self) -> Result<Heard, End> {
        loop {
            match frame_at(self.inbox.bytes(), 0, Sender::Frontend) {
                Ok(Some(frame)) if frame.len() > COMMAND_LEN_MAX => {
                    let message = format!("a message of {} bytes is no command", frame.len());
                    let report = Report::fatal(SqlState::PROTOCOL_VIOLATION, message);
                    return Err(self.last_word(&report, Cause::ProtocolError).await);
                }
                Ok(Some(frame)) if frame.is_whole() => {
                    let body = self.inbox.bytes()[frame.body].to_vec();
                    self.inbox.consume(frame.all.end);
                    return Ok(Heard::Message(frame.tag, body));
                }
                Ok(_) => {}
                Err(error) => {
                    let report = Report::fatal(SqlState::PROTOCOL_VIOLATION, error.to_string());
                    return Err(self.last_word(&report, Cause::ProtocolError).await);
                }
            }
            let (broker, id) = (&self.broker, self.id);
            let mut fill = pin!(self.inbox.fill(&mut self.stream));
            let filled = std::future::poll_fn(|cx| {
                // First the waker: the drain begins on another thread, and wakes whom it can.
                broker.inner().clients.get_mut(id).waker = Some(cx.waker().clone());
                if broker.draining() == Draining::Closing {
                    return Poll::Ready(None);
                }
                fill.as_mut().poll(cx).map(Some)
            });
            match filled.await {
                Some(filled) => filled?,
                None => return Ok(Heard::Shutdown),
            }
        }
    }

    /// What is said to a message.
    async fn answer(&mut self, tag: u8, body: &[u8]) -> Result<Vec<u8>, End> {
        let mut out = Vec::new();
        match (tag, self.skip) {
            (b'S', _) => {
                self.skip = Skip::No;
                put_ready_for_query(&mut out, TransactionStatus::Idle);
            }
            (_, Skip::ToSync) => {}
            (b'Q', Skip::No) => {
                self.command(body.strip_suffix(&[0]).unwrap_or(body), &mut out).await?;
                put_ready_for_query(&mut out, TransactionStatus::Idle);
            }
            // A flush, and COPY data that nobody has asked for.
            (b'H' | b'd' | b'c' | b'f', Skip::No) => {}
            (_, Skip::No) => {
                self.skip = Skip::ToSync;
                let message = "the admin console speaks the simple query protocol only";
                let hint = "Use psql, or the simple query mode of the driver.";
                Report::error(SqlState::FEATURE_NOT_SUPPORTED, message)
                    .with_hint(hint)
                    .put(&mut out);
            }
        }
        Ok(out)
    }

    async fn command(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), End> {
        match command::parse(text) {
            Ok(None) => put_empty_query_response(out),
            Ok(Some(Command::Show(show))) => {
                let view = View { broker: &self.broker, now: Instant::now() };
                let table: Table = (show.table)(&view);
                table.put(out);
            }
            Ok(Some(Command::Change(change))) => self.change(&change, out).await?,
            Err(report) => report.put(out),
        }
        Ok(())
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<(), End> {
        let said = tokio::time::timeout(ANSWER_TIMEOUT, self.stream.write_whole(bytes)).await;
        Ok(said.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?)
    }

    async fn last_word(&mut self, report: &Report, cause: Cause) -> End {
        let mut out = Vec::new();
        report.put(&mut out);
        // A client that does not even read its last word does not get it.
        let _ = self.say(&out).await;
        End { cause, detail: report.message.to_string() }
    }
}
