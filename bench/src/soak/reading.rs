//! What Stent and the kernel say of Stent at a quiet moment, and what two of them must agree on.
//!
//! Refuses: a metric that is missing: zero and absent are not the same.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;
use stent_contract::metric::MetricId;
use stent_testkit::proc;

use crate::faults::client::Client;

/// Of the heap, by which it may differ at the end, in either direction: a start that was
/// too high would hide a leak.
const HEAP_SHARE: f64 = 0.01;
/// The row of `SHOW MEM` that is the allocator's own word.
const HEAP: &str = "heap_allocated";
const LOOKS: u32 = 10;
const LOOK: Duration = Duration::from_millis(20);
const PAGE_MAX: u64 = 4 << 20;

/// A reading.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reading {
    /// Clients in any state.
    pub clients: u64,
    /// Clients that wait for a server.
    pub waiting: u64,
    /// Servers in any state.
    pub servers: u64,
    /// Ends of client connections so far.
    pub client_ends: u64,
    /// Connections so far that were no clients: cancel requests, and who never showed who he is.
    pub others: u64,
    /// Servers opened so far.
    pub opened: u64,
    /// Ends of server connections so far.
    pub server_ends: u64,
    /// Bytes allocated, by the console's word; its table is smaller than a page of metrics and always
    /// of the same size. 0 before it was asked.
    pub heap: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// Bytes of the heap by what they are for, as `SHOW MEM` has them.
    pub memory: BTreeMap<String, u64>,
}

/// Something that must be true, and what was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What.
    pub what: &'static str,
    /// What it should be.
    pub expected: u64,
    /// What it is.
    pub found: u64,
    /// By how much it may differ.
    pub within: u64,
}

impl Check {
    /// Whether it is true.
    pub const fn holds(&self) -> bool {
        self.expected.abs_diff(self.found) <= self.within
    }
}

impl Reading {
    /// Reads the page of metrics on a port, and `/proc` of a process.
    pub fn take(port: u16, pid: u32) -> Result<Self> {
        let page = get(port, "/metrics")?;
        let threads = proc::thread_count(pid)?;
        // The connection that the page came over is closed a moment later.
        let mut descriptors = usize::MAX;
        for _ in 0..LOOKS {
            descriptors = descriptors.min(proc::descriptor_count(pid)?);
            std::thread::sleep(LOOK);
        }
        Self::of_page(&page, descriptors as u64, threads as u64)
    }

    fn of_page(page: &str, descriptors: u64, threads: u64) -> Result<Self> {
        let all = |metric: MetricId| {
            let name = metric.row().name;
            sum(page, name, "").with_context(|| format!("the page has no {name}"))
        };
        // A cause has a sample from its first end on.
        let ends = |side: &str| {
            let label = format!("side=\"{side}\"");
            sum(page, MetricId::Disconnects.row().name, &label).unwrap_or(0)
        };
        // Stent cancels what a server runs whose client has gone.
        let cancels = MetricId::CancelRequests.row().name;
        let own_cancels = sum(page, cancels, "outcome=\"own\"").unwrap_or(0);
        let opened = format!("{}_count", MetricId::CreateTime.row().name);
        Ok(Self {
            clients: all(MetricId::Clients)?,
            waiting: all(MetricId::PendingRequests)?,
            servers: all(MetricId::Connections)?,
            client_ends: ends("client"),
            others: all(MetricId::Strangers)? + all(MetricId::CancelRequests)? - own_cancels,
            opened: sum(page, &opened, "").context("the page has no servers opened")?,
            server_ends: ends("server"),
            heap: 0,
            descriptors,
            threads,
            memory: BTreeMap::new(),
        })
    }

    /// With what the console says of memory. Its client is one of those whose ends are counted.
    pub fn with_memory(self, console: &mut Client) -> Result<Self> {
        let answer = console.ask("SHOW MEM").map_err(|failure| anyhow!("SHOW MEM: {failure}"))?;
        let row = |row: &Vec<Option<String>>| {
            let bytes = row.last()?.as_deref()?.parse().ok()?;
            Some((row.first()?.clone()?, bytes))
        };
        let memory: BTreeMap<String, u64> = answer.rows.iter().filter_map(row).collect();
        let heap = *memory.get(HEAP).context("SHOW MEM has no such row")?;
        Ok(Self { heap, memory, ..self })
    }

    /// Whether nobody and nothing is connected.
    pub const fn is_quiet(&self) -> bool {
        self.clients == 0 && self.waiting == 0 && self.servers == 0
    }

    /// Whether no connection has ended since another reading.
    pub const fn has_ends_of(&self, other: &Self) -> bool {
        self.client_ends == other.client_ends
            && self.others == other.others
            && self.server_ends == other.server_ends
    }
}

/// Connections between two readings, by the load's own word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Came {
    /// Clients.
    pub clients: u64,
    /// Cancel requests, and those that never said who they are.
    pub others: u64,
}

/// What must be true of two readings between which so many came.
pub fn checks(start: &Reading, end: &Reading, came: Came, panics: u64) -> Vec<Check> {
    let exact = |what, expected, found| Check { what, expected, found, within: 0 };
    let ends = end.client_ends - start.client_ends;
    vec![
        exact("panics", 0, panics),
        exact("clients left", 0, end.clients),
        exact("clients left in the queue", 0, end.waiting),
        exact("servers left", 0, end.servers),
        exact("descriptors", start.descriptors, end.descriptors),
        exact("threads", start.threads, end.threads),
        exact("clients that came, and ends of clients counted", came.clients, ends),
        exact(
            "others that came, and were counted as no clients",
            came.others,
            end.others - start.others,
        ),
        exact(
            "servers opened, and ends of servers counted",
            end.opened - start.opened,
            end.server_ends - start.server_ends,
        ),
        Check {
            what: "heap, bytes",
            expected: start.heap,
            found: end.heap,
            within: (start.heap as f64 * HEAP_SHARE) as u64,
        },
    ]
}

/// The sum of a metric's samples whose labels contain a text; `None` where there is no sample.
fn sum(page: &str, name: &str, label: &str) -> Option<u64> {
    let samples = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        let own = labels.is_empty() || labels.starts_with('{');
        (own && labels.contains(label)).then(|| value.parse::<f64>().ok()).flatten()
    });
    let values: Vec<f64> = samples.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() as u64)
}

fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(PAGE_MAX).read_to_string(&mut answer)?;
    let (head, page) = answer.split_once("\r\n\r\n").context("no HTTP")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    Ok(page.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# TYPE stent_clients gauge\n\
        stent_clients{state=\"idle\"} 3\nstent_clients{state=\"active\"} 4\nstent_clients_max 1000\n\
        stent_disconnects_total{side=\"client\",cause=\"gone\"} 5\n\
        stent_disconnects_total{side=\"server\",cause=\"gone\"} 6\nstent_heap 7\n";

    fn reading() -> Reading {
        Reading {
            clients: 0,
            waiting: 0,
            servers: 0,
            client_ends: 10,
            others: 4,
            opened: 5,
            server_ends: 5,
            heap: 1_000_000,
            descriptors: 12,
            threads: 4,
            memory: BTreeMap::new(),
        }
    }

    #[test]
    fn samples_of_one_metric_are_added_up_and_of_no_other() {
        assert_eq!(sum(PAGE, "stent_clients", ""), Some(7));
        assert_eq!(sum(PAGE, "stent_disconnects_total", "side=\"server\""), Some(6));
        assert_eq!(sum(PAGE, "stent_heap", ""), Some(7));
        assert_eq!(sum(PAGE, "stent_waiters", ""), None);
    }

    #[test]
    fn what_is_left_or_not_counted_breaks_a_check() {
        let (start, mut end) = (reading(), reading());
        end.client_ends += 7;
        end.others += 2;
        let came = Came { clients: 7, others: 2 };
        assert!(checks(&start, &end, came, 0).iter().all(Check::holds));
        end.descriptors += 1;
        end.heap -= 10_001;
        let broken: Vec<&str> = checks(&start, &end, Came { clients: 8, others: 3 }, 0)
            .iter()
            .filter(|check| !check.holds())
            .map(|check| check.what)
            .collect();
        assert_eq!(broken.len(), 4, "{broken:?}");
    }
}
