//! Asks a target about its heap over the unix socket that it serves.
//!
//! Owns: one connection and its questions. Refuses: a socket that is another process's than the
//! target's: anyone may bind a name in the abstract namespace.
//! Invariant: an answer is at most [`BODY_MAX`] bytes and comes within the time box, or the
//! connection is not used again.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// The longest answer: 512 stacks with long names are under 1 MB.
const BODY_MAX: u64 = 16 * 1024 * 1024;
/// The longest first line of an answer.
const HEAD_MAX: u64 = 1_024;

/// Where a target serves its heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HeapSocket {
    /// `stent-heap-PID` in the abstract namespace.
    #[default]
    OfPid,
    /// `stent-native-PID` there: what C's `malloc` gives out, served by the library that is preloaded.
    NativeOfPid,
    /// A path.
    Path(PathBuf),
}

impl HeapSocket {
    /// This one of a process that is called `pid_inside` in its own process namespace.
    pub(crate) fn inside(&self, pid_inside: u32) -> Self {
        Self::Path(self.path(pid_inside))
    }

    /// What it is called in the kernel's list of sockets, where it is in the abstract namespace.
    pub(crate) fn listed(&self, pid: u32) -> String {
        self.path(pid).to_string_lossy().replace('\0', "@")
    }

    fn path(&self, pid: u32) -> PathBuf {
        match self {
            // A path that begins with NUL is taken for the abstract namespace.
            Self::OfPid => PathBuf::from(format!("\0stent-heap-{pid}")),
            Self::NativeOfPid => PathBuf::from(format!("\0stent-native-{pid}")),
            Self::Path(path) => path.clone(),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    /// Nobody serves there.
    #[error("no socket of the target's heap: {0}")]
    Connect(#[source] io::Error),
    /// Somebody else does.
    #[error("the socket is served by process {0}, not by the target")]
    Stranger(i32),
    /// The connection broke.
    #[error("the target's heap socket: {0}")]
    Io(#[from] io::Error),
    /// The target says no.
    #[error("the target answered: {0}")]
    Refused(String),
    /// Not our protocol.
    #[error("the target's heap socket does not speak stent-heap's protocol")]
    Protocol,
    /// Too late.
    #[error("no answer from the target's heap socket within {0:?}")]
    Late(Duration),
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    /// For how long the target says that it stood still.
    pub(crate) pause: Duration,
}

/// A connection to a target.
pub(crate) struct Connection {
    stream: BufReader<UnixStream>,
    time_box: Duration,
}

impl Connection {
    /// Connects to the socket of process `pid`, and sees to it that it is that process's.
    pub(crate) async fn open(
        socket: &HeapSocket,
        pid: u32,
        time_box: Duration,
    ) -> Result<Self, SocketError> {
        let connect = UnixStream::connect(socket.path(pid));
        let stream = tokio::time::timeout(time_box, connect)
            .await
            .map_err(|_elapsed| SocketError::Late(time_box))?
            .map_err(SocketError::Connect)?;
        let peer = stream.peer_cred()?.pid().unwrap_or_default();
        if u32::try_from(peer).ok() != Some(pid) {
            return Err(SocketError::Stranger(peer));
        }
        Ok(Self { stream: BufReader::new(stream), time_box })
    }

    /// Asks one question. After an error other than a refusal the connection is of no more use.
    pub(crate) async fn ask(&mut self, question: &str) -> Result<Answer, SocketError> {
        let time_box = self.time_box;
        tokio::time::timeout(time_box, self.exchange(question))
            .await
            .map_err(|_elapsed| SocketError::Late(time_box))?
    }

    async fn exchange(&mut self, question: &str) -> Result<Answer, SocketError> {
        self.stream.get_mut().write_all(format!("{question}\n").as_bytes()).await?;
        let mut head = String::new();
        (&mut self.stream).take(HEAD_MAX).read_line(&mut head).await?;
        let head = head.strip_suffix('\n').ok_or(SocketError::Protocol)?;
        if let Some(why) = head.strip_prefix("error ") {
            return Err(SocketError::Refused(why.to_owned()));
        }
        let mut words = head.split(' ');
        let (Some("ok"), Some(length), Some(pause), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(SocketError::Protocol);
        };
        let length: u64 = length.parse().map_err(|_| SocketError::Protocol)?;
        let pause: u64 = pause.parse().map_err(|_| SocketError::Protocol)?;
        if length > BODY_MAX {
            return Err(SocketError::Protocol);
        }
        // Grows with what arrives, not with what was announced.
        let mut body = Vec::new();
        (&mut self.stream).take(length).read_to_end(&mut body).await?;
        if body.len() as u64 != length {
            return Err(SocketError::Protocol);
        }
        Ok(Answer { body, pause: Duration::from_micros(pause) })
    }
}

/// The value of `KEY VALUE` in an answer to `stats`.
pub(crate) fn stat<'a>(body: &'a str, key: &str) -> Option<&'a str> {
    body.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}
