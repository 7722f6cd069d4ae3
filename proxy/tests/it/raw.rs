//! A client that speaks the protocol byte by byte, for what drivers never send.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::support::{PATIENCE, Proxy};

/// A raw connection: TCP, or TLS over it.
pub(crate) struct Raw<S = TcpStream> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

/// How a stream may end too.
const ENDS: [std::io::ErrorKind; 2] =
    [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::UnexpectedEof];

/// A message: type and body.
pub(crate) type Message = (u8, Vec<u8>);

impl Raw {
    /// A connection on which nothing was said.
    pub(crate) fn connect(proxy: &Proxy) -> Self {
        Self::connect_at(proxy.port)
    }

    /// A connection to any port of this machine on which nothing was said.
    pub(crate) fn connect_at(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// A connection logged in as the superuser under trust.
    pub(crate) fn login(proxy: &Proxy) -> Self {
        Self::login_at(proxy.port)
    }

    /// The same at any port of this machine.
    pub(crate) fn login_at(port: u16) -> Self {
        let mut raw = Self::connect_at(port);
        raw.send(&startup(&[("user", "postgres"), ("database", "postgres")]));
        let said = raw.until_ready();
        assert_eq!(said.first().map(|(tag, _)| *tag), Some(b'R'), "{said:?}");
        raw
    }
}

impl<S: Read + Write> Raw<S> {
    /// On a stream that is there.
    pub(crate) fn on(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next message; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Message> {
        loop {
            if self.buffer.len() >= 5 {
                let len = u32::from_be_bytes(self.buffer[1..5].try_into().unwrap()) as usize;
                if self.buffer.len() > len {
                    let body = self.buffer[5..=len].to_vec();
                    let tag = self.buffer[0];
                    self.buffer.drain(..=len);
                    return Some((tag, body));
                }
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error) if ENDS.contains(&error.kind()) => return None,
                Err(error) => panic!("no answer in time: {error}"),
            }
        }
    }

    /// Messages up to ReadyForQuery, or to the end of the stream.
    pub(crate) fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.next() {
            let ready = message.0 == b'Z';
            messages.push(message);
            if ready {
                break;
            }
        }
        messages
    }

    /// The types of the messages up to ReadyForQuery, as text.
    pub(crate) fn tags(&mut self) -> String {
        self.until_ready().iter().map(|(tag, _)| char::from(*tag)).collect()
    }

    /// Everything up to the end of the stream.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let _ = self.stream.read_to_end(&mut self.buffer);
        std::mem::take(&mut self.buffer)
    }
}

/// A StartupMessage.
pub(crate) fn startup(params: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 196_608u32.to_be_bytes().to_vec();
    for (name, value) in params {
        body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    body.push(0);
    let len = (body.len() + 4) as u32;
    [&len.to_be_bytes()[..], &body].concat()
}

/// A message of the protocol.
pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() + 4) as u32;
    [&[tag][..], &len.to_be_bytes(), body].concat()
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

pub(crate) fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

/// A Bind without parameters.
pub(crate) fn bind(name: &str) -> Vec<u8> {
    message(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes())
}

pub(crate) fn execute() -> Vec<u8> {
    message(b'E', b"\0\0\0\0\0")
}

pub(crate) fn sync() -> Vec<u8> {
    message(b'S', b"")
}

/// A field of an ErrorResponse.
pub(crate) fn field(body: &[u8], kind: u8) -> String {
    body.split(|byte| *byte == 0)
        .find(|field| field.first() == Some(&kind))
        .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
        .unwrap_or_default()
}
