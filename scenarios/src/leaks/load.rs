//! GET / at a pace, steady or swinging; one request at a time.
//!
//! Invariant: a request that fails is counted and changes nothing; the pace is made up for after a
//! pause of at most a second, so that a target which stands still for a moment gets its load all the
//! same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::http::Client;

const LIMIT: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(10);
/// The most that is made up for.
const DEBT_MAX: Duration = Duration::from_secs(1);

/// The stream; dropping it ends it.
#[derive(Debug)]
pub struct Pace {
    served: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Pace {
    /// Starts it.
    pub fn start(address: SocketAddr, per_second: f64, period: Option<Duration>) -> Self {
        let (served, failed) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let counts = [Arc::clone(&served), Arc::clone(&failed)];
        let task = tokio::spawn(pace(address, per_second, period, counts));
        Self { served, failed, task }
    }

    /// Requests that were answered.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pace(
    address: SocketAddr,
    rate: f64,
    period: Option<Duration>,
    [served, failed]: [Arc<AtomicU64>; 2],
) {
    let mut client = Client::new(address, LIMIT);
    let started = Instant::now();
    let (mut last, mut owed) = (started, 0.0);
    loop {
        tokio::time::sleep(STEP).await;
        let now = Instant::now();
        let elapsed = (now - last).min(DEBT_MAX).as_secs_f64();
        last = now;
        owed += elapsed * rate * swing(now - started, period);
        while owed >= 1.0 {
            owed -= 1.0;
            let count = if client.get("/").await.is_ok() { &served } else { &failed };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A factor between 0 and 2 with a mean of 1.
fn swing(since: Duration, period: Option<Duration>) -> f64 {
    let Some(period) = period else { return 1.0 };
    let turns = since.as_secs_f64() / period.as_secs_f64().max(f64::EPSILON);
    1.0 - (turns * std::f64::consts::TAU).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swing_is_as_much_as_a_steady_load_in_the_mean() {
        let period = Duration::from_secs(40);
        let mean = (0..400).map(|n| swing(period / 400 * n, Some(period))).sum::<f64>() / 400.0;
        assert!((mean - 1.0).abs() < 1e-9);
        assert!(swing(Duration::ZERO, Some(period)) < 1e-9);
        assert!((swing(period / 2, Some(period)) - 2.0).abs() < 1e-9);
        assert!((swing(period, None) - 1.0).abs() < 1e-9);
    }
}
