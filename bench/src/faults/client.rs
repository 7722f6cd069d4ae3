//! A client that looks at every answer: rows, command tag, SQLSTATE.
//!
//! Owns: one blocking socket under trust, the simple protocol. Refuses: waiting for ever: an answer
//! that has not come after [`PATIENCE`] is lost.
//! Invariant: an answer belongs to the question before it; after an end nothing more is asked.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::load::message;

/// Longer than any fault and a peer's pause after one.
pub const PATIENCE: Duration = Duration::from_secs(90);
const CONNECT: Duration = Duration::from_secs(5);
/// How often a client that waits looks whether it has been called off.
const LOOK: Duration = Duration::from_millis(200);
const MESSAGE_MAX: usize = 1 << 20;

/// How clients of a load are ended, in two steps.
#[derive(Clone, Debug, Default)]
pub struct Off(Arc<AtomicU8>);

const FINISH: u8 = 1;
const CALLED_OFF: u8 = 2;

impl Off {
    /// Nothing new is begun.
    pub fn finish(&self) {
        self.0.store(FINISH, Ordering::Relaxed);
    }

    /// Who still waits gives up.
    pub fn call_off(&self) {
        self.0.store(CALLED_OFF, Ordering::Relaxed);
    }

    /// Whether nothing new is to be begun.
    pub fn is_finishing(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= FINISH
    }

    fn is_called_off(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= CALLED_OFF
    }
}

/// What the server said to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Values as text.
    pub rows: Vec<Vec<Option<String>>>,
    /// The last command tag.
    pub tag: String,
}

impl Answer {
    /// A value of the first row.
    pub fn value(&self, column: usize) -> Option<&str> {
        self.rows.first()?.get(column)?.as_deref()
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An ErrorResponse.
    Said {
        /// Its SQLSTATE.
        code: String,
        /// Its message.
        text: String,
    },
    /// The connection ended or could not be made.
    Lost(ErrorKind),
    /// Called off while it waited.
    CalledOff,
    /// The server said what PostgreSQL does not say.
    Odd,
}

impl Failure {
    /// SQLSTATE, or a word.
    pub fn code(&self) -> &str {
        match self {
            Self::Said { code, .. } => code,
            Self::Lost(_) => "lost",
            Self::CalledOff => "hung",
            Self::Odd => "odd",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said { code, text } => write!(out, "{code} {text}"),
            Self::Lost(kind) => write!(out, "lost: {kind}"),
            Self::CalledOff => write!(out, "no answer"),
            Self::Odd => write!(out, "not PostgreSQL's protocol"),
        }
    }
}

/// A logged-in client.
pub struct Client {
    stream: TcpStream,
    off: Off,
    patience: Duration,
    key: Option<[u8; 8]>,
    buffer: Vec<u8>,
    ended: Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    No,
    Yes,
}

impl Client {
    /// Logs in. `off` is looked at while it waits, then and later.
    pub fn login(at: SocketAddr, user: &str, database: &str, off: &Off) -> Result<Self, Failure> {
        let stream = TcpStream::connect_timeout(&at, CONNECT);
        let stream = stream.map_err(|error| Failure::Lost(error.kind()))?;
        let set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(LOOK)));
        set.map_err(|error| Failure::Lost(error.kind()))?;
        let mut client = Self {
            stream,
            off: off.clone(),
            patience: PATIENCE,
            key: None,
            buffer: Vec::new(),
            ended: Ended::No,
        };
        client.exchange(&message::startup(user, database))?;
        Ok(client)
    }

    /// Whether the connection has ended.
    pub fn is_over(&self) -> bool {
        self.ended == Ended::Yes
    }

    /// How long it waits for an answer from now on.
    pub fn be_patient_for(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Asks and reads the answer to its end.
    pub fn ask(&mut self, sql: &str) -> Result<Answer, Failure> {
        if self.is_over() {
            return Err(Failure::Lost(ErrorKind::NotConnected));
        }
        self.exchange(&message::query(sql))
    }

    /// Asks, and leaves the answer where it is; the socket, to be ended as one likes.
    pub fn ask_and_leave(mut self, sql: &str) -> std::io::Result<TcpStream> {
        self.stream.write_all(&message::query(sql))?;
        Ok(self.stream)
    }

    /// Terminate, and the end.
    pub fn close(mut self) -> std::io::Result<()> {
        self.stream.write_all(&message::message(b'X', b""))
    }

    /// Process id and secret, with which its statement can be cancelled.
    pub const fn key(&self) -> Option<[u8; 8]> {
        self.key
    }

    fn exchange(&mut self, request: &[u8]) -> Result<Answer, Failure> {
        let outcome = match self.stream.write_all(request) {
            Ok(()) => self.answer(),
            // What the server has said before it closed may still be there to be read.
            Err(error) => self.answer().and_then(|_| Err(Failure::Lost(error.kind()))),
        };
        if matches!(outcome, Err(Failure::Lost(_) | Failure::CalledOff | Failure::Odd)) {
            self.ended = Ended::Yes;
        }
        outcome
    }

    fn answer(&mut self) -> Result<Answer, Failure> {
        let end = Instant::now() + self.patience;
        let mut answer = Answer::default();
        let mut error = None;
        loop {
            let (tag, body) = match self.message(end) {
                Ok(message) => message,
                Err(lost) => {
                    self.ended = Ended::Yes;
                    return Err(error.unwrap_or(lost));
                }
            };
            match tag {
                b'Z' => return error.map_or(Ok(answer), Err),
                b'E' => error = error.or_else(|| Some(said(&body))),
                b'D' => answer.rows.push(row(&body).ok_or(Failure::Odd)?),
                b'C' => answer.tag = text(body.split(|byte| *byte == 0).next().unwrap_or(&[])),
                // Authentication, parameters, notices, row descriptions, an empty query.
                b'K' => self.key = body.as_slice().try_into().ok(),
                b'R' | b'S' | b'N' | b'T' | b'I' => {}
                _ => return Err(Failure::Odd),
            }
        }
    }

    fn message(&mut self, end: Instant) -> Result<(u8, Vec<u8>), Failure> {
        loop {
            if let Some(head) = self.buffer.first_chunk::<5>() {
                let [tag, len @ ..] = *head;
                let len = u32::from_be_bytes(len) as usize;
                if !(4..=MESSAGE_MAX).contains(&len) {
                    return Err(Failure::Odd);
                }
                if self.buffer.len() > len {
                    let body = self.buffer[5..=len].to_vec();
                    self.buffer.drain(..=len);
                    return Ok((tag, body));
                }
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Failure::Lost(ErrorKind::UnexpectedEof)),
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if Instant::now() >= end || self.off.is_called_off() {
                        return Err(Failure::CalledOff);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::Lost(error.kind())),
            }
        }
    }
}

fn said(body: &[u8]) -> Failure {
    let field = |wanted: u8| {
        let mut fields = body.split(|byte| *byte == 0);
        fields.find_map(|field| field.strip_prefix(&[wanted])).map(text).unwrap_or_default()
    };
    Failure::Said { code: field(b'C'), text: field(b'M') }
}

fn row(mut body: &[u8]) -> Option<Vec<Option<String>>> {
    let columns = u16::from_be_bytes(take(&mut body)?);
    (0..columns)
        .map(|_| {
            let len = i32::from_be_bytes(take(&mut body)?);
            let Ok(len) = usize::try_from(len) else { return Some(None) };
            let (value, rest) = body.split_at_checked(len)?;
            body = rest;
            Some(Some(text(value)))
        })
        .collect()
}

fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = body.split_first_chunk::<N>()?;
    *body = rest;
    Some(*head)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
