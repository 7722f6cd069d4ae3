//! One logged-in client on a blocking socket. It owns no buffer: thousands of them are held idle.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use anyhow::{Result, bail, ensure};
use rustls::{ClientConnection, StreamOwned};

use super::message;
use super::scan::{Scan, Seen};

/// Bytes of a read: as many as make the load's own cost small.
pub const CHUNK: usize = 64 * 1024;

const MESSAGES_A_WRITE: usize = 8;

/// A connection.
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A client between two questions.
pub struct Client {
    stream: Stream,
    scan: Scan,
}

impl Client {
    pub(super) fn new(stream: Stream, scan: Scan) -> Self {
        Self { stream, scan }
    }

    /// Asks, and reads the whole answer; the bytes of it. `chunk` is scratch.
    pub fn ask(&mut self, request: &[u8], chunk: &mut [u8]) -> Result<u64> {
        self.stream.write_all(request)?;
        self.stream.flush()?;
        let (seen, bytes) = self.read_answer(chunk)?;
        ensure!(seen == Seen::Ready, "the server waits for data that nobody has");
        Ok(bytes)
    }

    /// COPY FROM STDIN of `rows`, `times` times over; the bytes of it.
    pub fn copy_in(&mut self, sql: &str, rows: &[u8], times: u32, chunk: &mut [u8]) -> Result<u64> {
        self.stream.write_all(&message::query(sql))?;
        let (seen, _) = self.read_answer(chunk)?;
        ensure!(seen == Seen::CopyIn, "not a COPY: {sql}");
        let data = message::message(b'd', rows);
        // Several messages a write, as a client that has much to send does.
        let write = data.repeat(MESSAGES_A_WRITE);
        let mut left = times as usize;
        while left > 0 {
            let now = left.min(MESSAGES_A_WRITE);
            self.stream.write_all(&write[..now * data.len()])?;
            left -= now;
        }
        self.stream.write_all(&message::message(b'c', b""))?;
        self.read_answer(chunk)?;
        Ok(data.len() as u64 * u64::from(times))
    }

    /// Terminate, and the end.
    pub fn close(mut self) -> Result<()> {
        Ok(self.stream.write_all(&message::message(b'X', b""))?)
    }

    /// TLS version and cipher suite, where there is TLS.
    pub fn cipher(&self) -> Option<String> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => {
                let suite = stream.conn.negotiated_cipher_suite()?;
                Some(format!("{:?} {:?}", stream.conn.protocol_version()?, suite.suite()))
            }
        }
    }

    fn read_answer(&mut self, chunk: &mut [u8]) -> Result<(Seen, u64)> {
        let mut bytes = 0;
        loop {
            let n = self.stream.read(chunk)?;
            ensure!(n > 0, "the connection ended within an answer");
            bytes += n as u64;
            let seen = self.scan.feed(&chunk[..n]);
            if seen != Seen::More {
                return match self.scan.take_error() {
                    Some(error) => bail!("the server said: {error}"),
                    None => Ok((seen, bytes)),
                };
            }
        }
    }
}
