//! The lives of a client of the soak: the ways to come, to ask and to go.
//!
//! Refuses: minding what is answered: the way to PostgreSQL is broken on purpose.
//! Invariant: each connection that has said more than an SSLRequest or a CancelRequest is counted,
//! whatever becomes of it: it is a client's, and its end is counted by Stent.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::Counts;
use crate::faults::client::{Client, Failure, Off};
use crate::load::message;

/// The ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Asks and says goodbye.
    Polite,
    /// Asks and goes without a word.
    Silent,
    /// Goes by RST while its statement runs.
    ResetWhileRunning,
    /// Goes in the middle of a transaction.
    InTransaction,
    /// Goes while a large answer is on its way.
    MidAnswer,
    /// Has its statement cancelled.
    Cancelled,
    /// Sends a cancel request with a key that nobody has.
    WrongKey,
    /// Connects and goes.
    Nothing,
    /// Sends half a StartupMessage.
    HalfStartup,
    /// Asks for TLS and goes.
    SslRequest,
    /// Sends what is no protocol.
    Garbage,
    /// Names a database that is not there.
    NoDatabase,
}

/// All of them.
pub const LIVES: [Way; 12] = [
    Way::Polite,
    Way::Silent,
    Way::ResetWhileRunning,
    Way::InTransaction,
    Way::MidAnswer,
    Way::Cancelled,
    Way::WrongKey,
    Way::Nothing,
    Way::HalfStartup,
    Way::SslRequest,
    Way::Garbage,
    Way::NoDatabase,
];

impl Way {
    /// The ways of an option: how their names begin, commas between them; all if it is empty.
    pub fn named(option: &str) -> Vec<Self> {
        let wanted: Vec<&str> = option.split(',').map(str::trim).collect();
        let is = |way: &Self| wanted.iter().any(|name| way.name().starts_with(name));
        LIVES.into_iter().filter(is).collect()
    }

    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Polite => "asks and says goodbye",
            Self::Silent => "asks and goes",
            Self::ResetWhileRunning => "RST while its statement runs",
            Self::InTransaction => "goes in a transaction",
            Self::MidAnswer => "goes while an answer comes",
            Self::Cancelled => "is cancelled",
            Self::WrongKey => "cancels with a wrong key",
            Self::Nothing => "connects and goes",
            Self::HalfStartup => "half a start-up",
            Self::SslRequest => "asks for TLS and goes",
            Self::Garbage => "garbage",
            Self::NoDatabase => "no such database",
        }
    }
}

/// One thread of clients.
pub(super) struct Life {
    pub(super) port: u16,
    pub(super) user: &'static str,
    pub(super) counts: Arc<Counts>,
    pub(super) off: Off,
    /// One at least.
    pub(super) ways: Vec<Way>,
}

/// What follows the bytes of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// It waits for an answer or the end.
    Wait,
    /// It says that there is no more.
    End,
}

/// A life may end anywhere; how is nobody's business.
type Ended = Result<(), Failure>;

impl Life {
    /// A life every so often, until told to finish. One that lasts too long delays the next, and those
    /// after it make up for that.
    pub(super) fn live(&self, every: Duration, mut random: fastrand::Rng) {
        // Not all threads at once.
        let mut next = Instant::now() + every.mul_f64(random.f64());
        loop {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            if self.off.is_finishing() {
                return;
            }
            next += every;
            let way = self.ways[random.usize(0..self.ways.len())];
            self.counts.lives[way as usize].fetch_add(1, Ordering::Relaxed);
            let _ = self.one(way);
        }
    }

    fn one(&self, way: Way) -> Ended {
        match way {
            Way::Polite => {
                let mut client = self.login("postgres")?;
                client.ask("select 1")?;
                client.ask("begin")?;
                client.ask("commit")?;
                client.close().map_err(lost)
            }
            Way::Silent => self.login("postgres")?.ask("select 1").map(drop),
            Way::ResetWhileRunning => {
                let socket = self.login("postgres")?.ask_and_leave("select pg_sleep(0.05)");
                set_socket_linger(socket.map_err(lost)?, Some(Duration::ZERO))
                    .map_err(|error| lost(error.into()))
            }
            Way::InTransaction => {
                let mut client = self.login("postgres")?;
                client.ask("begin; set local work_mem = '1MB'").map(drop)
            }
            Way::MidAnswer => {
                let client = self.login("postgres")?;
                let sql = "select repeat('x', 100) from generate_series(1, 20000)";
                let mut socket = client.ask_and_leave(sql).map_err(lost)?;
                socket.read(&mut [0; 512]).map(drop).map_err(lost)
            }
            Way::Cancelled => self.cancelled(),
            Way::WrongKey => self.send(&message::cancel(*b"\0\0\0\x01none"), After::Wait),
            Way::Nothing => self.send(b"", After::End),
            Way::HalfStartup => {
                self.send_as_client(&message::startup(self.user, "postgres")[..11], After::End)
            }
            Way::SslRequest => self.send(b"\0\0\0\x08\x04\xd2\x16\x2f", After::Wait),
            Way::Garbage => {
                self.send_as_client(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", After::Wait)
            }
            Way::NoDatabase => self.login("nowhere")?.ask("select 1").map(drop),
        }
    }

    fn cancelled(&self) -> Ended {
        let client = self.login("postgres")?;
        let key = client.key().ok_or(Failure::Odd)?;
        let mut socket = client.ask_and_leave("select pg_sleep(1)").map_err(lost)?;
        self.send(&message::cancel(key), After::Wait)?;
        // The error, or what the fault of the moment makes of it.
        socket.read(&mut [0; 512]).map_err(lost)?;
        socket.write_all(&message::message(b'X', b"")).map_err(lost)
    }

    /// Sends bytes on a connection of their own, and waits for its end or for an answer.
    fn send(&self, bytes: &[u8], after: After) -> Ended {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(lost)?;
        socket.set_read_timeout(Some(Duration::from_secs(5))).map_err(lost)?;
        socket.write_all(bytes).map_err(lost)?;
        match after {
            After::Wait => {}
            After::End => socket.shutdown(Shutdown::Write).map_err(lost)?,
        }
        socket.read(&mut [0; 512]).map(drop).map_err(lost)
    }

    /// The same, of bytes that make the connection a client's.
    fn send_as_client(&self, bytes: &[u8], after: After) -> Ended {
        self.counts.clients.fetch_add(1, Ordering::Relaxed);
        self.send(bytes, after)
    }

    fn login(&self, database: &str) -> Result<Client, Failure> {
        let client = Client::login(self.port, self.user, database, &self.off);
        let connected = match &client {
            Err(Failure::Lost(kind)) => {
                !matches!(kind, ErrorKind::ConnectionRefused | ErrorKind::TimedOut)
            }
            Ok(_) | Err(Failure::Said { .. } | Failure::CalledOff | Failure::Odd) => true,
        };
        self.counts.clients.fetch_add(u64::from(connected), Ordering::Relaxed);
        client
    }
}

fn lost(error: std::io::Error) -> Failure {
    Failure::Lost(error.kind())
}
