//! What a process's descriptors are, and the sockets of its network namespace.
//!
//! Owns: the meaning of the links in `/proc/PID/fd` and of `/proc/PID/net/sockstat`.
//! Refuses: peers and ports: those tables are walked whole by the kernel.
//! Invariant: at most [`LINKS_MAX`] links are read; where there are more there is no answer, rather
//! than a part of one.
//! Source: proc_pid_fd(5); Linux net/ipv4/proc.c, sockstat_seq_show, and net/ipv6/proc.c.

use std::path::Path;

use stent_contract::{DescriptorKinds, SocketCounts};

use super::kernel_file::{Flaw, field, read_whole};

/// The most links that are read.
const LINKS_MAX: usize = 20_000;

/// Descriptors by kind. `None`: there are too many to look at each.
pub(super) fn descriptor_kinds(process: &Path) -> Result<Option<DescriptorKinds>, Flaw> {
    let entries = std::fs::read_dir(process.join("fd")).map_err(Flaw::of)?;
    let mut kinds = DescriptorKinds::default();
    for (seen, entry) in entries.flatten().enumerate() {
        if seen >= LINKS_MAX {
            return Ok(None);
        }
        // One that was closed meanwhile is none.
        let Ok(link) = std::fs::read_link(entry.path()) else { continue };
        let link = link.to_string_lossy();
        let kind = if link.starts_with("socket:") {
            &mut kinds.sockets
        } else if link.starts_with("pipe:") {
            &mut kinds.pipes
        } else if link.starts_with("anon_inode:") {
            &mut kinds.events
        } else if link.starts_with('/') {
            &mut kinds.files
        } else {
            &mut kinds.others
        };
        *kind += 1;
    }
    Ok(Some(kinds))
}

/// TCP sockets of the network namespace that the process is in: in ECS that is the task's.
pub(super) fn sockets(process: &Path) -> Result<SocketCounts, Flaw> {
    let text = read_whole(&process.join("net/sockstat"))?;
    let version_4 = field(&text, "TCP:").ok_or(Flaw::Malformed("no line of TCP"))?;
    let needed = |key| value(version_4, key).ok_or(Flaw::Malformed("a figure of TCP is missing"));
    let version_6 = match read_whole(&process.join("net/sockstat6")) {
        // A kernel without IPv6.
        Err(Flaw::Absent) => 0,
        text => field(&text?, "TCP6:").and_then(|line| value(line, "inuse")).unwrap_or(0),
    };
    Ok(SocketCounts {
        in_use: needed("inuse")?.saturating_add(version_6),
        orphaned: needed("orphan")?,
        time_wait: needed("tw")?,
    })
}

/// The number after `key` among `inuse 27 orphan 1 tw 12`.
fn value(line: &str, key: &str) -> Option<u32> {
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == key)?;
    words.next()?.parse().ok()
}
