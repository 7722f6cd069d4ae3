//! A tiny DNS server: the addresses (A) of a few names, over UDP.
//!
//! Owns: one socket, the thread that answers on it, the names. Refuses: everything but a question for
//! one name; others get NXDOMAIN, other types an empty answer, and what is no question none.
//! Invariant: an answer holds what the name was pointed to when the question was read.
//!
//! Source: RFC 1035, sections 4.1 and 3.2.1.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

const HEADER_LEN: usize = 12;
/// What a message over UDP may have without extensions.
const MESSAGE_MAX: usize = 512;
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;
/// An answer from the one who knows, with recursion neither asked for nor had.
const ANSWER: u16 = 0x8400;
const NO_SUCH_NAME: u16 = 3;
/// The question's name, at the place where it stands in each message.
const NAME_ABOVE: u16 = 0xc00c;

/// A running one; dropping it ends it.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// In lower case.
    names: Mutex<BTreeMap<String, Ipv4Addr>>,
    ttl: Duration,
    answered: AtomicU64,
    over: AtomicBool,
}

impl NameServer {
    /// Answers on an address of one's choice; whoever asks may keep an answer for `ttl`.
    pub fn start_at(address: SocketAddr, ttl: Duration) -> Result<Self> {
        let socket = UdpSocket::bind(address).context("bind the DNS server")?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared {
            names: Mutex::default(),
            ttl,
            answered: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("name-server".to_owned())
            .spawn(move || own.serve(&socket))?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where it is asked.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From here on the name is that of this address.
    pub fn point(&self, name: &str, address: Ipv4Addr) {
        let mut names = self.shared.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_ascii_lowercase(), address);
    }

    /// How many questions it has answered.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // It reads this and looks.
        let woken = UdpSocket::bind("127.0.0.1:0")
            .and_then(|socket| socket.send_to(&[], self.address).map(drop));
        if let (Ok(()), Some(thread)) = (woken, self.thread.take()) {
            // A panic there has failed the test by what it no longer did.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, socket: &UdpSocket) {
        let mut message = [0; MESSAGE_MAX];
        while !self.over.load(Ordering::SeqCst) {
            // An error is that of an answer that nobody was there to take.
            let Ok((len, from)) = socket.recv_from(&mut message) else { continue };
            if let Some(answer) = self.answer(&message[..len]) {
                self.answered.fetch_add(1, Ordering::Relaxed);
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    /// The answer to a message, if it is a question.
    fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let header = message.first_chunk::<HEADER_LEN>()?;
        let is_question = header[2] & 0xf8 == 0 && header[4..6] == [0, 1];
        let (name, end) = name(message)?;
        let kind = u16::from_be_bytes(message.get(end..end + 2)?.try_into().ok()?);
        let question = message.get(HEADER_LEN..end + 4).filter(|_| is_question)?;
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let known = names.get(&name).copied();
        let address = known.filter(|_| kind == TYPE_A);
        let code = if known.is_some() { 0 } else { NO_SUCH_NAME };
        // Whether recursion was wished is said back.
        let flags = ANSWER | u16::from(header[2] & 1) << 8 | code;
        let mut answer = header[..2].to_vec();
        let mut put = |number: u16| answer.extend_from_slice(&number.to_be_bytes());
        [flags, 1, u16::from(address.is_some()), 0, 0].into_iter().for_each(&mut put);
        answer.extend_from_slice(question);
        if let Some(address) = address {
            let mut put = |number: u16| answer.extend_from_slice(&number.to_be_bytes());
            [NAME_ABOVE, TYPE_A, CLASS_IN].into_iter().for_each(&mut put);
            let ttl = u32::try_from(self.ttl.as_secs()).unwrap_or(u32::MAX);
            answer.extend_from_slice(&ttl.to_be_bytes());
            answer.extend_from_slice(&4_u16.to_be_bytes());
            answer.extend_from_slice(&address.octets());
        }
        Some(answer)
    }
}

/// The name of the first question, in lower case, and where it ends.
fn name(message: &[u8]) -> Option<(String, usize)> {
    let (mut at, mut labels) = (HEADER_LEN, Vec::new());
    loop {
        let len = usize::from(*message.get(at)?);
        at += 1;
        if len == 0 {
            return Some((labels.join("."), at));
        }
        // Longer than a label is a pointer, which a question has no use for.
        let label = message.get(at..at + len).filter(|_| len < 64)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += len;
    }
}
