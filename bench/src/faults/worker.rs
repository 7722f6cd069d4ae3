//! A worker of the bank: transfers one after another, and believes nothing that it has not read.
//!
//! Owns: one connection at a time, and its own record. Refuses: repeating a transfer: each has a
//! number of its own, so that one that was run twice is found (23505).
//! Invariant: a transfer is acknowledged, in doubt (its COMMIT was sent and no word came), or failed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bank::{ACCOUNTS, Believed, TOTAL};
use super::client::{Answer, Client, Failure, Off};

/// Between two transactions: the machine is not to be full.
const THINK: Duration = Duration::from_millis(20);
/// After a failure.
const PAUSE: Duration = Duration::from_millis(10);
/// One of so many transactions looks at the whole bank.
const LOOKS: u64 = 8;
/// Transfers of a worker are numbered from a multiple of it.
const NUMBERS: u64 = 1_000_000;
/// Kept of a worker's failures; further ones are counted by nobody, and no run comes near.
const FAILURES_MAX: usize = 20_000;

/// Where in its transaction a worker was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connecting and logging in.
    Login,
    /// BEGIN was sent: it may be waiting for a server.
    Begin,
    /// Within.
    Transaction,
    /// COMMIT was sent.
    Commit,
}

/// A failure.
#[derive(Clone, Debug)]
pub struct Failed {
    /// When its transaction or login began, since the load began.
    pub began: Duration,
    /// When it failed.
    pub at: Duration,
    /// Where.
    pub phase: Phase,
    /// With what.
    pub failure: Failure,
}

/// What a worker has seen.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Moments of acknowledged commits, since the load began.
    pub commits: Vec<Duration>,
    /// Failures.
    pub failures: Vec<Failed>,
    /// What it believes about its transfers.
    pub believed: Believed,
    /// Answers that were not to its own question.
    pub wrong: u64,
    /// Snapshots in which the money did not add up.
    pub torn: u64,
}

/// What a worker does when it is told that the database is read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOnly {
    /// Goes on with its connection, as through a pooler.
    Stay,
    /// Connects anew, as an application does whose own pool knows 25006.
    Reconnect,
}

/// How a worker is set up.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its number, from 0.
    pub number: usize,
    /// Where it connects.
    pub at: SocketAddr,
    /// As whom.
    pub user: String,
    /// On 25006.
    pub read_only: ReadOnly,
    /// When the load began.
    pub began: Instant,
    /// What it has seen, so far.
    pub record: Arc<Mutex<Record>>,
    /// When it ends.
    pub off: Off,
}

/// What a transaction came to.
type Outcome = Result<(), (Phase, Failure)>;

impl Worker {
    /// Works until told to finish.
    pub fn run(&self) {
        let mut random = fastrand::Rng::with_seed(self.number as u64);
        let mut client = None;
        let mut turn = 0;
        while !self.off.is_finishing() {
            let began = self.began.elapsed();
            let Some(connected) = client.as_mut() else {
                match Client::login(self.at, &self.user, "postgres", &self.off) {
                    Ok(connected) => client = Some(connected),
                    Err(failure) => self.failed(began, Phase::Login, failure),
                }
                continue;
            };
            turn += 1;
            let outcome = if turn % LOOKS == 0 {
                self.look(connected, turn)
            } else {
                self.transfer(connected, turn, &mut random)
            };
            match outcome {
                Ok(()) => std::thread::sleep(THINK),
                Err((phase, failure)) => {
                    let leaves = failure.code() == "25006" && self.read_only == ReadOnly::Reconnect;
                    let poisoned = failure == Failure::Odd;
                    self.failed(began, phase, failure);
                    if leaves
                        || poisoned
                        || connected.is_over()
                        || connected.ask("rollback").is_err()
                    {
                        client = None;
                    }
                }
            }
        }
    }

    /// Moves money; the COMMIT decides.
    fn transfer(&self, client: &mut Client, turn: u64, random: &mut fastrand::Rng) -> Outcome {
        let id = self.number as u64 * NUMBERS + turn;
        let token = format!("w{id}");
        let first = random.u32(1..ACCOUNTS);
        let second = random.u32(first + 1..=ACCOUNTS);
        let amount = random.i64(-50..50);
        let number = self.number;
        self.ask(client, Phase::Begin, "begin", None)?;
        // In the order of their numbers, so that no two workers wait for each other.
        for (account, change) in [(first, -amount), (second, amount)] {
            let sql = format!(
                "update accounts set balance = balance + {change} where id = {account} \
                 returning '{token}'"
            );
            self.ask(client, Phase::Transaction, &sql, Some(&token))?;
        }
        let sql = format!(
            "insert into transfers values ({id}, {number}, {first}, {second}, {amount}) \
             returning '{token}'"
        );
        self.ask(client, Phase::Transaction, &sql, Some(&token))?;
        self.lock().believed.in_doubt.insert(id);
        let outcome = self.ask(client, Phase::Commit, "commit", None);
        let mut record = self.lock();
        match outcome {
            Ok(answer) if answer.tag == "COMMIT" => {
                record.believed.in_doubt.remove(&id);
                record.believed.acknowledged.insert(id);
                record.commits.push(self.began.elapsed());
                Ok(())
            }
            Ok(_) => {
                record.believed.in_doubt.remove(&id);
                Err((Phase::Commit, Failure::Odd))
            }
            Err(failed) => Err(failed),
        }
    }

    /// Adds the balances up, in two statements of one snapshot.
    fn look(&self, client: &mut Client, turn: u64) -> Outcome {
        let token = format!("l{}-{turn}", self.number);
        self.ask(client, Phase::Begin, "begin isolation level repeatable read read only", None)?;
        let mut sum = 0;
        for half in ["<=", ">"] {
            let sql = format!(
                "select '{token}', sum(balance) from accounts where id {half} {}",
                ACCOUNTS / 2
            );
            let answer = self.ask(client, Phase::Transaction, &sql, Some(&token))?;
            let part = answer.value(1).and_then(|part| part.parse::<i64>().ok());
            sum += part.ok_or((Phase::Transaction, Failure::Odd))?;
        }
        if sum != TOTAL {
            self.lock().torn += 1;
        }
        self.ask(client, Phase::Commit, "commit", None).map(drop)
    }

    fn ask(
        &self,
        client: &mut Client,
        phase: Phase,
        sql: &str,
        token: Option<&str>,
    ) -> Result<Answer, (Phase, Failure)> {
        let answer = client.ask(sql).map_err(|failure| (phase, failure))?;
        if token.is_some() && answer.value(0) != token {
            self.lock().wrong += 1;
            return Err((phase, Failure::Odd));
        }
        Ok(answer)
    }

    fn failed(&self, began: Duration, phase: Phase, failure: Failure) {
        let at = self.began.elapsed();
        {
            let mut record = self.lock();
            if record.failures.len() < FAILURES_MAX {
                record.failures.push(Failed { began, at, phase, failure });
            }
        }
        std::thread::sleep(PAUSE);
    }

    /// A worker that panicked left whole entries behind.
    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
