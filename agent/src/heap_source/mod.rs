//! What a target's own runtime says of its heap, beside what the kernel says of its memory.
//!
//! Owns: one task for each target that has such a source: its page of metrics, where one was
//! configured, else the socket of `stent-heap`, where it serves one.
//! Refuses: delaying a round: the newest answer is taken, or none.
//! Invariant: an answer is used for [`FRESH`] intervals; what was not said is absent, never zero.

mod exposition;

use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use exposition::{Selector, SelectorError};

use crate::attach_heap::{HeapSocket, heap_allocated, is_whole_heap};
use crate::fetch::{FetchError, Fetcher, PageUrl};
use exposition::PageError;

/// For how many intervals an answer is as good as new.
const FRESH: u32 = 3;
/// How often a socket is looked for that was not there.
const SEARCH_INTERVAL: Duration = Duration::from_secs(10);
/// The most time for one answer; less where readings are more frequent.
const TIME_BOX: Duration = Duration::from_secs(2);
/// Gauges that are looked for where none was named, the first that is there: Node's prom-client, Go's
/// and Java's official clients. Python's has none.
const KNOWN_HEAPS: &[&str] = &[
    "nodejs_heap_size_used_bytes",
    "go_memstats_heap_alloc_bytes",
    "jvm_memory_used_bytes{area=\"heap\"}",
    "jvm_memory_bytes_used{area=\"heap\"}",
];
/// Counters of requests that are looked for where none was named.
const KNOWN_REQUESTS: &[&str] = &[
    "http_requests_total",
    "http_server_requests_total",
    "http_request_duration_seconds_count",
    "http_server_request_duration_seconds_count",
    "http_server_requests_seconds_count",
];

/// The longest page of metrics.
const PAGE_MAX: usize = 4 * 1024 * 1024;

/// Why a page of metrics gave no figures. The next reading tries again.
#[derive(Debug, Error)]
enum SourceError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Page(#[from] PageError),
}

/// A target's page of metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeapMetrics {
    /// The target whose page it is; `None`: the first one's.
    pub target: Option<String>,
    /// Where it is.
    pub url: PageUrl,
    /// The gauge of its heap, bytes; `None`: the well-known ones.
    pub heap: Option<Selector>,
    /// The counter of its requests; `None`: the well-known ones.
    pub requests: Option<Selector>,
}

/// The page of the target `name`, which is the `at`th.
pub(crate) fn page_of(pages: &[HeapMetrics], at: usize, name: &str) -> Option<HeapMetrics> {
    let named = pages.iter().find(|page| page.target.as_deref() == Some(name));
    let first = || pages.iter().find(|page| page.target.is_none() && at == 0);
    named.or_else(first).cloned()
}

/// What a runtime said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuntimeReading {
    /// Bytes of heap in use.
    pub(crate) heap: Option<u64>,
    /// Requests served so far.
    pub(crate) requests: Option<u64>,
}

/// Asks one target's runtime, in a task of its own that ends with this value.
#[derive(Debug)]
pub(crate) struct HeapWatch {
    fresh: Duration,
    pid: watch::Sender<Option<u32>>,
    latest: watch::Receiver<Option<(Instant, RuntimeReading)>>,
    task: JoinHandle<()>,
}

impl HeapWatch {
    /// Starts to ask each `interval`. Must be called on the runtime.
    pub(crate) fn start(metrics: Option<HeapMetrics>, interval: Duration) -> Self {
        let (pid, told) = watch::channel(None);
        let (say, latest) = watch::channel(None);
        let time_box = TIME_BOX.min(interval);
        let task = match metrics {
            Some(metrics) => tokio::spawn(scrape(metrics, interval, time_box, say)),
            None => tokio::spawn(ask_socket(told, interval, time_box, say)),
        };
        Self { fresh: interval * FRESH, pid, latest, task }
    }

    /// Says which process the target is now, and takes its runtime's newest answer.
    pub(crate) fn read(&self, pid: Option<u32>, now: Instant) -> RuntimeReading {
        self.pid.send_if_modified(|told| {
            let changed = *told != pid;
            *told = pid;
            changed
        });
        let latest = *self.latest.borrow();
        let fresh = latest.filter(|(at, _)| now.saturating_duration_since(*at) <= self.fresh);
        fresh.filter(|_| pid.is_some()).map(|(_, reading)| reading).unwrap_or_default()
    }
}

impl Drop for HeapWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Say = watch::Sender<Option<(Instant, RuntimeReading)>>;

async fn scrape(metrics: HeapMetrics, interval: Duration, time_box: Duration, say: Say) {
    let mut scraper = Fetcher::new(metrics.url.clone(), time_box, PAGE_MAX);
    let mut failing = false;
    loop {
        let read = read_page(&mut scraper, &metrics).await;
        match &read {
            Ok(_) if failing => tracing::info!(url = %metrics.url, "the metrics answer again"),
            Err(error) if !failing => {
                tracing::warn!(url = %metrics.url, %error, "no heap from the application's metrics");
            }
            Ok(_) | Err(_) => {}
        }
        failing = read.is_err();
        if let Ok(reading) = read {
            say.send_replace(Some((Instant::now(), reading)));
        }
        tokio::time::sleep(interval).await;
    }
}

async fn read_page(
    scraper: &mut Fetcher,
    metrics: &HeapMetrics,
) -> Result<RuntimeReading, SourceError> {
    let page = scraper.fetch().await?;
    let heap = find(&page, metrics.heap.as_ref(), KNOWN_HEAPS)?;
    let requests = find(&page, metrics.requests.as_ref(), KNOWN_REQUESTS)?;
    Ok(RuntimeReading { heap, requests })
}

/// The number that was named, or the first of the well-known ones.
fn find(page: &str, named: Option<&Selector>, known: &[&str]) -> Result<Option<u64>, PageError> {
    let known = known.iter().filter_map(|name| name.parse().ok());
    let wanted: Vec<Selector> = named.map_or_else(|| known.collect(), |one| vec![one.clone()]);
    for selector in &wanted {
        if let Some(value) = exposition::sum(page, selector)? {
            // Beyond these it is no number of bytes or requests.
            return Ok((0.0..=1e18).contains(&value).then_some(value as u64));
        }
    }
    Ok(None)
}

/// The program's own word, else that of a jemalloc that was preloaded, where C's heap is all of its heap.
async fn heap_of(pid: u32, time_box: Duration) -> Option<u64> {
    let own = heap_allocated(pid, &HeapSocket::OfPid, time_box).await;
    if own.is_some() {
        return own;
    }
    let executable = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    if !is_whole_heap(executable.to_str()?) {
        return None;
    }
    heap_allocated(pid, &HeapSocket::NativeOfPid, time_box).await
}

/// The socket of the process that the target is at present; without one it is looked for seldom.
async fn ask_socket(
    mut told: watch::Receiver<Option<u32>>,
    interval: Duration,
    time_box: Duration,
    say: Say,
) {
    loop {
        let pid = *told.borrow_and_update();
        let heap = match pid {
            Some(pid) => heap_of(pid, time_box).await,
            None => None,
        };
        say.send_replace(
            heap.map(|heap| (Instant::now(), RuntimeReading { heap: Some(heap), requests: None })),
        );
        let pause = if heap.is_some() { interval } else { SEARCH_INTERVAL.max(interval) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = told.changed() => if changed.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests;
