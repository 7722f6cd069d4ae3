//! A steady stream of requests to the members API.
//!
//! Owns: the pace and the counts. A request that finds no free worker counts as failed, so that an
//! API that hangs shows in the counts and never slows the stream or fills memory.
//! Invariant: at most [`WORKERS`] requests are under way and [`BACKLOG`] are queued.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use hyper::Method;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::http::Client;
use crate::scenario::Load;

const WORKERS: usize = 24;
const BACKLOG: usize = 24;

/// The stream; dropping it ends it.
#[derive(Debug)]
pub struct Stream {
    counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Counts {
    ok: AtomicU64,
    failed: AtomicU64,
}

/// Requests so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Answered with a status below 400.
    pub ok: u64,
    /// All others: error, late, no free worker.
    pub failed: u64,
}

impl Requests {
    /// The share that succeeded; 0.0 where there were none.
    pub fn ok_share(self) -> f64 {
        let all = self.ok + self.failed;
        if all == 0 { 0.0 } else { self.ok as f64 / all as f64 }
    }

    /// What came after `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self { ok: self.ok - earlier.ok, failed: self.failed - earlier.failed }
    }
}

/// One request.
#[derive(Clone, Debug)]
struct Job {
    method: Method,
    path: String,
    body: String,
}

impl Stream {
    /// Creates the members, then starts the stream. `seed` decides the order of requests.
    pub async fn start(address: SocketAddr, load: &Load, seed: u64) -> Result<Self> {
        let limit = load.request_timeout_seconds.seconds();
        let mut client = Client::new(address, limit);
        for number in 1..=load.members {
            let answer = client.send(Method::POST, "/members", member(number.into())).await?;
            ensure!(answer.status.is_success(), "POST /members gave {}", answer.status);
        }
        let counts = Arc::new(Counts::default());
        let mut tasks = JoinSet::new();
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..WORKERS {
            let client = Client::new(address, limit);
            tasks.spawn(work(client, Arc::clone(&receiver), Arc::clone(&counts)));
        }
        let pace = Duration::from_secs_f64(1.0 / load.requests_per_second.get());
        let jobs = Jobs {
            random: fastrand::Rng::with_seed(seed),
            members: load.members.into(),
            next: 1_000_000,
        };
        tasks.spawn(pace_out(jobs, pace, sender, Arc::clone(&counts)));
        Ok(Self { counts, _tasks: tasks })
    }

    /// Requests so far.
    pub fn requests(&self) -> Requests {
        Requests {
            ok: self.counts.ok.load(Ordering::Relaxed),
            failed: self.counts.failed.load(Ordering::Relaxed),
        }
    }
}

async fn pace_out(mut jobs: Jobs, pace: Duration, out: mpsc::Sender<Job>, counts: Arc<Counts>) {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        if out.try_send(jobs.draw()).is_err() {
            counts.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn work(mut client: Client, jobs: Arc<Mutex<mpsc::Receiver<Job>>>, counts: Arc<Counts>) {
    loop {
        let job = jobs.lock().await.recv().await;
        let Some(Job { method, path, body }) = job else { return };
        let answer = client.send(method, &path, body).await;
        let fine = answer.is_ok_and(|answer| answer.status.as_u16() < 400);
        let count = if fine { &counts.ok } else { &counts.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the API's users do: mostly read, check in now and then, change a name, join.
#[derive(Debug)]
struct Jobs {
    random: fastrand::Rng,
    members: u64,
    next: u64,
}

impl Jobs {
    fn draw(&mut self) -> Job {
        let id = 1 + self.random.u64(0..self.members.max(1));
        let one = format!("/members/{id}");
        let job = |method, path: &str, body| Job { method, path: path.to_owned(), body };
        match self.random.u64(0..100) {
            0..45 => job(Method::GET, &one, String::new()),
            45..65 => job(Method::GET, &format!("{one}/checkins"), String::new()),
            65..70 => job(Method::GET, "/members", String::new()),
            70..92 => job(Method::POST, &format!("{one}/checkins"), String::new()),
            92..98 => job(Method::PUT, &one, member(id)),
            _ => {
                self.next += 1;
                job(Method::POST, "/members", member(self.next))
            }
        }
    }
}

fn member(number: u64) -> String {
    format!(r#"{{"name":"Member {number}","email":"member-{number}@example.test"}}"#)
}
