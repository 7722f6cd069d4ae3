//! The soak: clients that come and go in every way there is, while the way to PostgreSQL fails at
//! random; afterwards nothing may be left of them.
//!
//! Owns: the load and the two readings. Invariant: both readings are taken in the same state: no
//! client, no server, no fault; what differs between them was leaked or was never counted.

mod disturb;
pub mod life;
pub mod reading;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use stent_testkit::{FaultProxy, wait_until};

use crate::endpoint::{Kind, Running, Server, Setup};
use crate::faults::client::{Client, Off};
use crate::lab::Lab;
use life::{LIVES, Life, Way};
use reading::{Check, Reading};

/// Threads of the load: a life takes a second and more while the way is stalled, and the others are to
/// come all the same.
const THREADS: u32 = 256;
/// The database whose clients are answered by the proxy itself.
const CONSOLE: &str = "pgbouncer";
const CALM: Duration = Duration::from_millis(100);
const SETTLED: Duration = Duration::from_secs(60);

/// How a soak goes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Load before the first reading, which fills what fills once.
    pub warm: Duration,
    /// Load between the readings.
    pub length: Duration,
    /// Lives that begin in a second.
    pub rate: u32,
    /// Quiet before each reading: buffers of a storm are given back some time after it.
    pub quiet: Duration,
    /// Decides lives and faults.
    pub seed: u64,
    /// What clients do; one way at least.
    pub ways: Vec<Way>,
    /// What happens to the way to PostgreSQL.
    pub weather: Weather,
}

/// Whether there are faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// At random.
    Faults,
    /// None.
    Calm,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Lives between the readings.
    pub arrivals: u64,
    /// Those of them that became clients: a cancel request or a look at the port is none.
    pub clients: u64,
    /// Lives by kind, and faults by name, in both parts.
    pub lives: Vec<(&'static str, u64)>,
    /// The readings.
    pub readings: [Reading; 2],
    /// What must be true of them.
    pub checks: Vec<Check>,
    /// What Stent has said of panics.
    pub panics: Vec<String>,
}

/// Counts of the load.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Connections that were made and became clients.
    pub(crate) clients: AtomicU64,
    /// Lives, in the order of [`LIVES`].
    pub(crate) lives: [AtomicU64; LIVES.len()],
}

impl Counts {
    /// Lives, and clients.
    fn so_far(&self) -> (u64, u64) {
        let lives = self.lives.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        (lives, self.clients.load(Ordering::Relaxed))
    }
}

/// Soaks Stent.
pub fn run(lab: &Lab, plan: Plan) -> Result<Outcome> {
    let way = FaultProxy::start(([127, 0, 0, 1], lab.postgres.port()).into())?;
    let setup = Setup { server: Some(Server::local(way.port())), ..Setup::PLAIN };
    let stent = Running::start_within(Kind::Stent, setup, lab, exactly)?;
    let counts = Arc::new(Counts::default());
    ensure!(!plan.ways.is_empty(), "no way of a client: there are {:?}", LIVES.map(Way::name));
    let (warm, length, seed) = (plan.warm, plan.length, plan.seed);
    let soak = Soak { lab, way: &way, stent: &stent, plan, counts: Arc::clone(&counts) };
    soak.load(warm, seed)?;
    // The first reading's own console ends after it, and counts.
    let before = counts.so_far();
    let start = soak.settle()?;
    soak.load(length, seed.wrapping_add(1))?;
    let after = counts.so_far();
    let (arrivals, clients) = (after.0 - before.0, after.1 - before.1);
    let end = soak.settle()?;
    // A task that panics takes its server with it, and nothing else shows it.
    let said = stent.output();
    let panics: Vec<String> =
        said.lines().filter(|line| is_of_a_panic(line)).map(shortened).collect();
    let lives = LIVES.iter().zip(&counts.lives);
    Ok(Outcome {
        arrivals,
        clients,
        lives: lives.map(|(life, n)| (life.name(), n.load(Ordering::Relaxed))).collect(),
        checks: reading::checks(&start, &end, clients, panics.len() as u64),
        panics,
        readings: [start, end],
    })
}

/// What jemalloc keeps at hand for a thread counts as allocated and is nobody's: it keeps nothing.
/// Source: jemalloc(3), `opt.tcache`.
fn exactly(mut command: Command) -> Command {
    command.env("_RJEM_MALLOC_CONF", "tcache:false");
    command
}

/// Stent's log line of a panic, and the one of a panic that nobody logs.
fn is_of_a_panic(line: &str) -> bool {
    line.contains("\"message\":\"bug: ") || line.contains("panicked at")
}

/// Without the backtrace.
fn shortened(line: &str) -> String {
    line.split(",\"backtrace\"").next().unwrap_or(line).to_owned()
}

struct Soak<'a> {
    lab: &'a Lab,
    way: &'a FaultProxy,
    stent: &'a Running,
    plan: Plan,
    counts: Arc<Counts>,
}

impl Soak<'_> {
    /// Clients come and go, and faults too.
    fn load(&self, length: Duration, seed: u64) -> Result<()> {
        let off = Off::default();
        let began = Instant::now();
        let threads: Vec<JoinHandle<()>> = (0..THREADS)
            .map(|number| {
                let life = Life {
                    port: self.stent.port(),
                    user: self.lab.postgres.superuser(),
                    counts: Arc::clone(&self.counts),
                    off: off.clone(),
                    ways: self.plan.ways.clone(),
                };
                let every = Duration::from_secs(1) * THREADS / self.plan.rate.max(1);
                let random = fastrand::Rng::with_seed(seed ^ (u64::from(number) << 32));
                std::thread::spawn(move || life.live(every, random))
            })
            .collect();
        let mut random = fastrand::Rng::with_seed(seed);
        while began.elapsed() < length {
            match self.plan.weather {
                Weather::Faults => disturb::disturb(&self.lab.postgres, self.way, &mut random)?,
                Weather::Calm => std::thread::sleep(CALM),
            }
        }
        off.finish();
        for thread in threads {
            ensure!(thread.join().is_ok(), "a client of the load panicked");
        }
        Ok(())
    }

    /// Waits until nobody is there and no server is open, and reads.
    fn settle(&self) -> Result<Reading> {
        let port = self.stent.admin_port().context("stent has pages")?;
        let pid = self.stent.pid().context("stent has a process")?;
        let backends = "select count(*) from pg_stat_activity \
                        where backend_type = 'client backend' and pid <> pg_backend_pid()";
        let mut last = None;
        let settled = wait_until("nobody to be left", SETTLED, || {
            let ended = self.lab.postgres.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity \
                 where backend_type = 'client backend' and pid <> pg_backend_pid()",
            );
            let reading = Reading::take(port, pid);
            let left = self.lab.postgres.value(backends);
            if let Err(error) = &reading {
                eprintln!("soak: {error:#}");
            }
            // An end is counted a moment after the client has gone from the register.
            let quiet = reading.as_ref().is_ok_and(|now| {
                now.is_quiet() && last.as_ref().is_some_and(|last: &Reading| now.has_ends_of(last))
            });
            last = reading.ok();
            ended.is_ok() && quiet && left.is_ok_and(|left| left == "0")
        });
        match settled {
            Ok(()) => {}
            // What is left after a minute is what the checks are for.
            Err(error) => eprintln!("soak: {error}"),
        }
        ensure!(last.is_some(), "stent does not answer");
        std::thread::sleep(self.plan.quiet);
        self.with_memory(Reading::take(port, pid)?)
    }

    /// Asks for the memory when all else has been read.
    fn with_memory(&self, reading: Reading) -> Result<Reading> {
        let (port, user) = (self.stent.port(), self.lab.postgres.superuser());
        let console = Client::login(port, user, CONSOLE, &Off::default());
        let mut console = console.map_err(|failure| anyhow!("the console: {failure}"))?;
        self.counts.clients.fetch_add(1, Ordering::Relaxed);
        reading.with_memory(&mut console)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_from_other_errors_and_its_backtrace_is_left_out() {
        let line = r#"{"level":"ERROR","message":"bug: owes nothing","place":"a.rs:1","backtrace":"0: f"}"#;
        assert!(is_of_a_panic(line) && is_of_a_panic("thread 'main' panicked at a.rs:1:2:"));
        assert!(shortened(line).ends_with(r#""place":"a.rs:1""#), "{}", shortened(line));
        assert!(!is_of_a_panic(r#"{"level":"ERROR","message":"the server has gone"}"#));
    }
}
