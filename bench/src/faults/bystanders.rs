//! Clients that are there when a fault strikes and do not work: idle ones, ones in a transaction that
//! hold every server of a pool of their own, and ones that wait for a server of that pool.
//!
//! Invariant: when [`Bystanders::start`] returns, each is in its state, and none leaves it before it
//! is told to, unless the fault makes it.

use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::client::{Client, Failure, Off};
use crate::endpoint::POOL;

/// Clients that have asked once and are silent.
pub const IDLE: u32 = 20;
/// Clients in a transaction: as many as a pool has servers.
pub const HOLDERS: u32 = POOL;
/// Clients that wait for one of those servers.
pub const WAITERS: u32 = 10;
/// The database of holders and waiters: the one that [`crate::endpoint::Setup::databases`] `= 1` tells poolers of.
pub const DATABASE: &str = "d1";
/// A holder asks something so often, and so learns what has become of its server.
const ASKS: Duration = Duration::from_millis(200);
/// In it a client that does not wait would have its answer.
const WAITS: Duration = Duration::from_millis(300);
/// Of an idle client when all is over.
const LAST_ANSWER: Duration = Duration::from_secs(10);
const READY: Duration = Duration::from_secs(20);

/// Whether there is a queue to wait in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Behind a pooler.
    Pooled,
    /// A direct connection has a server of its own.
    None,
}

/// Those who stand by.
pub struct Bystanders {
    idle: Vec<Client>,
    holders: Vec<JoinHandle<Result<(), Failure>>>,
    waiters: Vec<JoinHandle<Result<(), Failure>>>,
}

/// What they have seen: failures of each kind.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Of clients that were idle.
    pub idle: Vec<Failure>,
    /// Of clients in a transaction.
    pub holders: Vec<Failure>,
    /// Of clients that waited.
    pub waiters: Vec<Failure>,
}

impl Bystanders {
    /// Brings all of them into their states.
    pub fn start(at: SocketAddr, user: &str, queue: Queue, off: &Off) -> Result<Self> {
        let mut idle = Vec::new();
        for number in 0..IDLE {
            let failed = |failure: Failure| anyhow::anyhow!("idle client {number}: {failure}");
            let mut client = Client::login(at, user, "postgres", off).map_err(failed)?;
            client.ask("select 1").map_err(failed)?;
            idle.push(client);
        }
        let (sender, ready) = channel();
        let holders = (0..HOLDERS)
            .map(|number| {
                let (user, off, sender) = (user.to_owned(), off.clone(), sender.clone());
                std::thread::spawn(move || hold(at, &user, number, &off, &sender))
            })
            .collect();
        for _ in 0..HOLDERS {
            ready.recv_timeout(READY).context("a client does not get its transaction")?;
        }
        let waiters = match queue {
            Queue::None => Vec::new(),
            Queue::Pooled => Self::queue_up(at, user, off)?,
        };
        Ok(Self { idle, holders, waiters })
    }

    fn queue_up(
        at: SocketAddr,
        user: &str,
        off: &Off,
    ) -> Result<Vec<JoinHandle<Result<(), Failure>>>> {
        let mut waiters = Vec::new();
        for number in 0..WAITERS {
            let client = Client::login(at, user, DATABASE, off);
            let mut client = client.map_err(|failure| anyhow::anyhow!("waiter: {failure}"))?;
            waiters.push(std::thread::spawn(move || own_answer(&mut client, "q", number)));
        }
        std::thread::sleep(WAITS);
        ensure!(waiters.iter().all(|waiter| !waiter.is_finished()), "a waiter does not wait");
        Ok(waiters)
    }

    /// Whether those in a transaction and those who wait have come to an end.
    pub fn have_finished(&self) -> bool {
        self.holders.iter().chain(&self.waiters).all(JoinHandle::is_finished)
    }

    /// What became of them; the holders have been told to finish.
    pub fn finish(self) -> Result<Seen> {
        let mut seen = Seen::default();
        for (number, mut client) in self.idle.into_iter().enumerate() {
            client.be_patient_for(LAST_ANSWER);
            seen.idle.extend(own_answer(&mut client, "i", number as u32).err());
        }
        for (threads, failures) in
            [(self.holders, &mut seen.holders), (self.waiters, &mut seen.waiters)]
        {
            for thread in threads {
                match thread.join() {
                    Ok(outcome) => failures.extend(outcome.err()),
                    Err(_) => bail!("a client of the load panicked"),
                }
            }
        }
        Ok(seen)
    }
}

/// Stays in one transaction until told to finish.
fn hold(
    at: SocketAddr,
    user: &str,
    number: u32,
    off: &Off,
    ready: &Sender<()>,
) -> Result<(), Failure> {
    let mut client = Client::login(at, user, DATABASE, off)?;
    client.ask("begin")?;
    own_answer(&mut client, "h", number)?;
    // The receiver is gone only when a start has failed, which says so itself.
    let _ = ready.send(());
    while !off.is_finishing() {
        std::thread::sleep(ASKS);
        own_answer(&mut client, "h", number)?;
    }
    client.ask("commit").map(drop)
}

/// Asks for something that only this client asks for.
fn own_answer(client: &mut Client, kind: &str, number: u32) -> Result<(), Failure> {
    let token = format!("{kind}{number}");
    let answer = client.ask(&format!("select '{token}'"))?;
    if answer.value(0) == Some(&token) { Ok(()) } else { Err(Failure::Odd) }
}
