//! Many busy clients on one thread: each asks again as soon as it has its answer.
//!
//! Owns: one reactor, and the clients while they run. Refuses: TLS. Invariant: they are logged in
//! before the clock runs, so that logins are in no figure.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::login::Login;
use super::message;
use super::scan::{Scan, Seen};

const CHUNK: usize = 16 * 1024;
/// A run that takes longer will not end.
const DEADLINE: Duration = Duration::from_secs(300);

/// When a run ends for each client.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// With the answer after so long.
    After(Duration),
    /// After so many questions.
    Turns(u64),
}

/// Clients that are logged in.
pub struct Swarm {
    runtime: Runtime,
    clients: Vec<(TcpStream, Scan)>,
}

/// What a client did.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Answers.
    pub transactions: u64,
    /// Answers that were errors, and connections that ended: at most one of those.
    pub errors: u64,
    /// The longest wait for an answer.
    pub longest: Duration,
}

impl Swarm {
    /// Connects and logs all of them in at once, under trust; how long each took.
    pub fn connect(login: &Login, clients: u32) -> Result<(Self, Vec<Duration>)> {
        ensure!(login.tls.is_none() && login.password.is_none(), "a swarm is trusted");
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let startup = message::startup(&login.user, &login.database);
        let port = login.port;
        let all = async {
            let tasks: Vec<_> =
                (0..clients).map(|_| tokio::spawn(log_in(port, startup.clone()))).collect();
            let mut done = Vec::with_capacity(tasks.len());
            for task in tasks {
                done.push(task.await.context("a client of the load panicked")??);
            }
            anyhow::Ok(done)
        };
        let done = runtime.block_on(async { timeout(DEADLINE, all).await });
        let (clients, waits) = done.context("logins take for ever")??.into_iter().unzip();
        Ok((Self { runtime, clients }, waits))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// All ask until `stop`; `request` makes the next question of a client (its number, and how
    /// many it has asked in this run). What each did; those whose connection ended are gone.
    pub fn run(
        &mut self,
        stop: Stop,
        request: impl Fn(usize, u64, &mut Vec<u8>) + Clone + 'static,
    ) -> Result<Vec<Done>> {
        let local = LocalSet::new();
        let began = Instant::now();
        let tasks: Vec<_> = std::mem::take(&mut self.clients)
            .into_iter()
            .enumerate()
            .map(|(number, client)| {
                let request = request.clone();
                let goes_on = move |turns| match stop {
                    Stop::After(length) => began.elapsed() < length,
                    Stop::Turns(most) => turns < most,
                };
                local.spawn_local(async move {
                    ask(client, goes_on, |turn, out| request(number, turn, out)).await
                })
            })
            .collect();
        let all = async {
            let mut finished = Vec::with_capacity(tasks.len());
            for task in tasks {
                finished.push(task.await);
            }
            finished
        };
        let finished =
            self.runtime.block_on(async { timeout(DEADLINE, local.run_until(all)).await });
        let finished = finished.context("clients of the load wait for ever")?;
        let mut dones = Vec::with_capacity(finished.len());
        for outcome in finished {
            let (client, done) = outcome.context("a client of the load panicked")?;
            self.clients.extend(client);
            dones.push(done);
        }
        Ok(dones)
    }
}

async fn log_in(port: u16, startup: Vec<u8>) -> Result<((TcpStream, Scan), Duration)> {
    let began = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut scan = Scan::default();
    answer(&mut stream, &mut scan, &startup, &mut [0; 1024]).await?;
    match scan.take_error() {
        Some(error) => bail!("the login failed: {error}"),
        None => Ok(((stream, scan), began.elapsed())),
    }
}

/// A client's life in a run; `None` for a connection that ended.
async fn ask(
    (mut stream, mut scan): (TcpStream, Scan),
    goes_on: impl Fn(u64) -> bool,
    request: impl Fn(u64, &mut Vec<u8>),
) -> (Option<(TcpStream, Scan)>, Done) {
    let mut done = Done::default();
    let mut out = Vec::new();
    let mut chunk = vec![0; CHUNK];
    let mut turn = 0;
    while goes_on(turn) {
        out.clear();
        request(turn, &mut out);
        turn += 1;
        let began = Instant::now();
        let answer = answer(&mut stream, &mut scan, &out, &mut chunk).await;
        done.longest = done.longest.max(began.elapsed());
        if answer.is_err() {
            done.errors += 1;
            return (None, done);
        }
        match scan.take_error() {
            Some(_) => done.errors += 1,
            None => done.transactions += 1,
        }
    }
    (Some((stream, scan)), done)
}

async fn answer(
    stream: &mut TcpStream,
    scan: &mut Scan,
    request: &[u8],
    chunk: &mut [u8],
) -> Result<()> {
    stream.write_all(request).await?;
    loop {
        let n = stream.read(chunk).await?;
        ensure!(n > 0, "the connection ended");
        if scan.feed(&chunk[..n]) == Seen::Ready {
            return Ok(());
        }
    }
}
