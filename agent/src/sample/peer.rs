//! Which process is behind a client's address.
//!
//! Owns: address -> socket -> process, remembered for as long as the client holds its server.
//! Refuses: clients on other machines, and clients that give their server back soon: the kernel
//! walks its whole socket table for a question, so it is asked for long holders only.
//! Invariant: one pass answers for all clients asked about; nothing is asked twice within
//! [`RETRY`]; at most [`ASKED_MAX`] are asked about at once.
//! Source: proc_pid_net(5) "/proc/net/tcp", proc_pid_fd(5).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stent_contract::ProxySnapshot;

/// Clients that hold their server for less are not asked about, milliseconds.
const HELD_MIN_MS: u64 = 1_000;
/// A client that was not found is asked about again after this.
const RETRY: Duration = Duration::from_secs(30);
/// Clients asked about in one pass.
const ASKED_MAX: usize = 64;
/// Bytes read of a socket table: about 400,000 sockets.
const TABLE_MAX: u64 = 64 * 1024 * 1024;
/// Processes and descriptors looked at in one pass.
const PROCESSES_MAX: usize = 10_000;
const DESCRIPTORS_MAX: usize = 100_000;

/// Finds and remembers the processes of long holders.
#[derive(Debug)]
pub(crate) struct PeerFinder {
    root: PathBuf,
    proxy_pid: u32,
    known: BTreeMap<u64, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    address: SocketAddr,
    pid: Option<u32>,
    asked: Instant,
}

impl PeerFinder {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, proxy_pid: 0, known: BTreeMap::new() }
    }

    /// Fills in `client_pid` of holders that lack it. `likely` are processes to look at first.
    pub(crate) async fn fill(
        &mut self,
        snapshot: &mut ProxySnapshot,
        likely: &[u32],
        now: Instant,
    ) {
        if self.proxy_pid != snapshot.pid {
            self.known.clear(); // another proxy numbers its clients anew
            self.proxy_pid = snapshot.pid;
        }
        self.forget_all_but(snapshot);
        let asked = self.unanswered(snapshot, now);
        if !asked.is_empty() {
            let (root, likely) = (self.root.clone(), likely.to_vec());
            let addresses: Vec<SocketAddr> = asked.iter().map(|(_, address)| *address).collect();
            let search = move || find(&root, &addresses, &likely);
            // A panic in there leaves the clients unnamed, no more.
            let found = tokio::task::spawn_blocking(search).await.unwrap_or_default();
            for (client, address) in asked {
                let pid = found.get(&address).copied();
                self.known.insert(client, Known { address, pid, asked: now });
            }
        }
        for holder in snapshot.holders.iter_mut().filter(|holder| holder.client_pid.is_none()) {
            holder.client_pid = self.known.get(&holder.client_id).and_then(|known| known.pid);
        }
    }

    fn forget_all_but(&mut self, snapshot: &ProxySnapshot) {
        let present: BTreeMap<u64, Option<SocketAddr>> = snapshot
            .holders
            .iter()
            .map(|holder| (holder.client_id, holder.client_addr.parse().ok()))
            .collect();
        self.known.retain(|client, known| present.get(client) == Some(&Some(known.address)));
    }

    fn unanswered(&self, snapshot: &ProxySnapshot, now: Instant) -> Vec<(u64, SocketAddr)> {
        snapshot
            .holders
            .iter()
            .filter(|holder| holder.client_pid.is_none() && holder.held_ms > HELD_MIN_MS)
            .filter_map(|holder| Some((holder.client_id, holder.client_addr.parse().ok()?)))
            .filter(|(client, _)| match self.known.get(client) {
                Some(known) => known.pid.is_none() && now.duration_since(known.asked) >= RETRY,
                None => true,
            })
            .take(ASKED_MAX)
            .collect()
    }
}

/// The processes that own the sockets bound to these addresses.
fn find(root: &Path, addresses: &[SocketAddr], likely: &[u32]) -> BTreeMap<SocketAddr, u32> {
    let mut inodes = sockets(&root.join("proc/net/tcp"), addresses);
    // A runtime may speak IPv4 through an IPv6 socket. That table is dear: only when needed.
    if inodes.len() < addresses.len() {
        inodes.extend(sockets(&root.join("proc/net/tcp6"), addresses));
    }
    let mut found = BTreeMap::new();
    for pid in likely.iter().copied().chain(processes(root)).take(PROCESSES_MAX) {
        if inodes.is_empty() {
            break;
        }
        let Ok(entries) = std::fs::read_dir(root.join(format!("proc/{pid}/fd"))) else { continue };
        for entry in entries.flatten().take(DESCRIPTORS_MAX) {
            let Ok(link) = std::fs::read_link(entry.path()) else { continue };
            let name = link.to_string_lossy();
            let inode = name.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            let Some(inode) = inode.and_then(|digits| digits.parse::<u64>().ok()) else { continue };
            if let Some(address) = inodes.remove(&inode) {
                found.insert(address, pid);
            }
        }
    }
    found
}

fn processes(root: &Path) -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Socket number by address, for the sockets of a table whose local end is among `addresses`.
fn sockets(table: &Path, addresses: &[SocketAddr]) -> BTreeMap<u64, SocketAddr> {
    let mut found = BTreeMap::new();
    let Ok(file) = File::open(table) else { return found };
    for line in BufReader::new(file.take(TABLE_MAX)).lines().skip(1).map_while(Result::ok) {
        let mut fields = line.split_ascii_whitespace();
        // sl local_address rem_address st tx:rx tr:tm->when retrnsmt uid timeout inode
        let Some(local) = fields.nth(1).and_then(address) else { continue };
        let Some(inode) = fields.nth(7).and_then(|digits| digits.parse::<u64>().ok()) else {
            continue;
        };
        if inode != 0 && addresses.contains(&local) {
            found.insert(inode, local);
        }
    }
    found
}

/// `0100007F:1267`: words of four bytes in the machine's order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(host.get(at..at + 8)?, 16).ok();
    if host.len() == 8 {
        return Some(SocketAddr::new(Ipv4Addr::from(word(0)?.to_ne_bytes()).into(), port));
    }
    let mut bytes = [0; 16];
    for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
        chunk.copy_from_slice(&word(index * 8)?.to_ne_bytes());
    }
    Some(SocketAddr::new(Ipv6Addr::from(bytes).to_canonical(), port))
}
