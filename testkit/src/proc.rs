//! What `/proc` says about a process: memory, descriptors, descendants, life.
//!
//! Linux only: elsewhere every reading is an error and every list is empty, and the test that needs
//! one has to say so.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use anyhow::{Context, Result};

/// Resident memory, bytes. Source: proc(5), `/proc/PID/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// `RssAnon`.
    pub anon: u64,
    /// `RssFile`.
    pub file: u64,
    /// `RssShmem`.
    pub shmem: u64,
}

impl Memory {
    /// All resident memory: `VmRSS`.
    pub const fn resident(&self) -> u64 {
        self.anon + self.file + self.shmem
    }
}

/// Resident memory of `pid`.
pub fn memory(pid: u32) -> Result<Memory> {
    let status = status(pid)?;
    let bytes = |key| -> Result<u64> {
        let value = field(&status, key).with_context(|| format!("no {key} of process {pid}"))?;
        let kib: u64 = value.trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    };
    Ok(Memory { anon: bytes("RssAnon")?, file: bytes("RssFile")?, shmem: bytes("RssShmem")? })
}

/// Open file descriptors of `pid`.
pub fn descriptor_count(pid: u32) -> Result<usize> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"));
    Ok(entries.with_context(|| format!("list the descriptors of process {pid}"))?.count())
}

/// Threads of `pid`.
pub fn thread_count(pid: u32) -> Result<usize> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"));
    Ok(entries.with_context(|| format!("list the threads of process {pid}"))?.count())
}

/// Whether `pid` exists and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    status(pid).is_ok_and(|status| {
        field(&status, "State").is_some_and(|state| !state.starts_with(['Z', 'X']))
    })
}

/// The command's name, as the kernel keeps it (at most 15 bytes).
pub fn command(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

/// The processes whose parent is `pid`, in ascending order.
pub fn children(pid: u32) -> Vec<u32> {
    let parent_of = |child: u32| -> Option<u32> {
        let status = status(child).ok()?;
        field(&status, "PPid")?.parse().ok()
    };
    let mut found: Vec<u32> =
        all().into_iter().filter(|child| parent_of(*child) == Some(pid)).collect();
    found.sort_unstable();
    found
}

/// The processes below `pid`: children, their children, and so on.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = BTreeSet::new();
    let mut unvisited = vec![pid];
    while let Some(parent) = unvisited.pop() {
        for child in children(parent) {
            if found.insert(child) {
                unvisited.push(child);
            }
        }
    }
    found.into_iter().collect()
}

/// The processes whose command line contains `text`.
pub fn with_command_line(text: &str) -> Vec<u32> {
    let matches = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " ").contains(text))
    };
    all().into_iter().filter(matches).collect()
}

fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn status(pid: u32) -> io::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/status"))
}

fn field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}
