//! Whole messages from a socket, for the slow paths: logins on either side.
//!
//! Invariant: a message is held whole only up to a limit given by the caller; what came behind it
//! stays in order. Cancelling a read loses nothing but the connection it was on.

use std::io;

use stent_wire::frame::{FrameError, HEADER_LEN, Sender, frame_at};

use crate::stream::Stream;

/// How much a client may say before it is answered.
pub(crate) const EARLY_BYTES_MAX: usize = 64 * 1024;

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The socket failed or ended.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The bytes are no message.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// The message is longer than it may be here.
    #[error("a message of type {tag:#04x} with {len} bytes is too long here")]
    TooLong {
        /// Its type.
        tag: u8,
        /// Its length.
        len: usize,
    },
}

/// Bytes read and not used yet.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// What is there and was not used.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        // Mostly nothing; the room that the login took must not stay with the client.
        self.bytes.shrink_to_fit();
        self.bytes
    }

    /// The next message of a server: its type and body.
    pub(crate) async fn backend(
        &mut self,
        stream: &mut Stream,
        max: usize,
    ) -> Result<(u8, Vec<u8>), ReadError> {
        loop {
            if let Some(frame) = frame_at(&self.bytes, 0, Sender::Backend)? {
                if frame.len() > max {
                    return Err(ReadError::TooLong { tag: frame.tag, len: frame.len() });
                }
                if frame.is_whole() {
                    let body = self.bytes[frame.body].to_vec();
                    self.bytes.drain(..frame.all.end);
                    return Ok((frame.tag, body));
                }
            }
            self.fill(stream).await?;
        }
    }

    /// The next password message (`p`) of a client: its body.
    pub(crate) async fn password(
        &mut self,
        stream: &mut Stream,
        max: usize,
    ) -> Result<Vec<u8>, ReadError> {
        loop {
            if let Some(&tag) = self.bytes.first()
                && tag != b'p'
            {
                return Err(FrameError::UnknownTag { tag }.into());
            }
            if let Some(field) = self.bytes.get(1..HEADER_LEN) {
                let len = u32::from_be_bytes(field.try_into().expect("four bytes"));
                let total = len as usize + 1;
                if len < 4 || total > max {
                    return Err(ReadError::TooLong { tag: b'p', len: total });
                }
                if total <= self.bytes.len() {
                    let body = self.bytes[HEADER_LEN..total].to_vec();
                    self.bytes.drain(..total);
                    return Ok(body);
                }
            }
            self.fill(stream).await?;
        }
    }

    /// Reads once more.
    pub(crate) async fn fill(&mut self, stream: &mut Stream) -> io::Result<()> {
        match stream.read_onto::<1024>(&mut self.bytes).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Reads on while nobody answers, until the client has gone. The end of one that has said
    /// something meanwhile is heard later: it may wait for the answer.
    pub(crate) async fn until_gone(&mut self, stream: &mut Stream) -> io::Error {
        while self.bytes.len() < EARLY_BYTES_MAX {
            match self.fill(stream).await {
                Ok(()) => {}
                Err(error) if self.bytes.is_empty() => return error,
                Err(_) => break,
            }
        }
        std::future::pending().await
    }

    /// The bytes that are there.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Drops bytes off the front.
    pub(crate) fn consume(&mut self, n: usize) {
        self.bytes.drain(..n);
    }
}
