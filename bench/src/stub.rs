//! A server that answers at once: PostgreSQL's side of the protocol without a database behind it.
//!
//! Owns: as many connections as are made, a thread each, and the canned answers. Refuses: errors,
//! transactions, SQL: a query that begins with `SELECT` has one row of one number, any other none.
//! Invariant: all that one read has brought is answered with one write, so that a proxy in front of
//! it is measured and not the server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::Result;

/// A running stub. Its threads end with the process, or with their connections.
pub struct Stub {
    port: u16,
}

const BUFFER: usize = 64 * 1024;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

impl Stub {
    /// Listens on a port of 127.0.0.1 that was free.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                thread::spawn(move || drop(serve(stream, number)));
            }
        });
        Ok(Self { port })
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

fn serve(mut stream: TcpStream, number: usize) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    let mut have = 0;
    let mut answer = Vec::new();
    let mut phase = Phase::Startup;
    loop {
        let n = stream.read(&mut buffer[have..])?;
        if n == 0 {
            return Ok(());
        }
        have += n;
        answer.clear();
        let used = match phase {
            Phase::Startup => welcome(&buffer[..have], number, &mut phase, &mut answer),
            Phase::Ready => reply_to_all(&buffer[..have], &mut answer),
        };
        buffer.copy_within(used..have, 0);
        have -= used;
        stream.write_all(&answer)?;
    }
}

enum Phase {
    Startup,
    Ready,
}

/// Answers a start-up packet; the number of bytes that it had.
fn welcome(bytes: &[u8], number: usize, phase: &mut Phase, answer: &mut Vec<u8>) -> usize {
    let (Some(len), Some(code)) = (be32(bytes, 0), be32(bytes, 4)) else { return 0 };
    let len = len as usize;
    if bytes.len() < len {
        return 0;
    }
    if matches!(code, SSL_REQUEST | GSS_REQUEST) {
        answer.push(b'N');
        return len;
    }
    *phase = Phase::Ready;
    put(answer, b'R', &[0, 0, 0, 0]);
    for (name, value) in [
        ("server_version", "15.0"),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "UTC"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("application_name", ""),
    ] {
        put(answer, b'S', format!("{name}\0{value}\0").as_bytes());
    }
    let pid = u32::try_from(number).unwrap_or(0) + 1;
    put(answer, b'K', &[pid.to_be_bytes(), [1, 2, 3, 4]].concat());
    put(answer, b'Z', b"I");
    len
}

/// Answers every whole message; the number of bytes that they had.
fn reply_to_all(bytes: &[u8], answer: &mut Vec<u8>) -> usize {
    let mut at = 0;
    while let Some(len) = be32(bytes, at + 1) {
        let end = at + 1 + len as usize;
        if end > bytes.len() {
            break;
        }
        reply(bytes[at], &bytes[at + 5..end], answer);
        at = end;
    }
    at
}

fn reply(tag: u8, body: &[u8], answer: &mut Vec<u8>) {
    match tag {
        b'Q' if body == b"\0" => {
            put(answer, b'I', b"");
            put(answer, b'Z', b"I");
        }
        b'Q' => {
            if body.get(..6).is_some_and(|word| word.eq_ignore_ascii_case(b"select")) {
                describe(answer);
                row(answer);
            } else {
                put(answer, b'C', b"SET\0");
            }
            put(answer, b'Z', b"I");
        }
        b'P' => put(answer, b'1', b""),
        b'B' => put(answer, b'2', b""),
        b'C' => put(answer, b'3', b""),
        b'D' if body.first() == Some(&b'S') => {
            put(answer, b't', &[0, 0]);
            describe(answer);
        }
        b'D' => describe(answer),
        b'E' => row(answer),
        b'S' => put(answer, b'Z', b"I"),
        _ => {}
    }
}

/// RowDescription of pgbench's `abalance`: one int4.
fn describe(answer: &mut Vec<u8>) {
    let mut body = vec![0, 1];
    body.extend_from_slice(b"abalance\0");
    body.extend_from_slice(&[0, 0, 0x40, 0, 0, 3, 0, 0, 0, 23, 0, 4, 255, 255, 255, 255, 0, 0]);
    put(answer, b'T', &body);
}

fn row(answer: &mut Vec<u8>) {
    put(answer, b'D', &[0, 1, 0, 0, 0, 1, b'0']);
    put(answer, b'C', b"SELECT 1\0");
}

fn put(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    out.extend_from_slice(body);
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}
