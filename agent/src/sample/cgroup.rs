//! The memory cgroup of a process, version 1 and 2: usage, anonymous memory, limit, OOM kills.
//!
//! Owns: finding the process's group under the mounts, and the limit that holds in fact: the
//! smallest one on the way up.
//! Refuses: writing anything, and mounts elsewhere than under `/sys/fs/cgroup`.
//! Invariant: "no limit" is `None` in both spellings, `max` and the largest page-aligned number.
//! Source: cgroups(7); Linux Documentation/admin-guide/cgroup-v2 "Memory Interface Files" and
//! cgroup-v1/memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Deepest nesting that is walked.
const DEPTH_MAX: usize = 64;
/// The longest file that is read; `memory.stat` has about 2 kB.
const FILE_MAX: u64 = 64 * 1024;
/// Version 1 says "unlimited" with the largest number that is a multiple of the page size; with
/// 64 kB pages it is a little smaller. Nothing near it is a real limit.
const UNLIMITED_FROM: u64 = 0x7FFF_FFFF_FFFF_0000;

/// A group of processes that share a memory limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cgroup {
    version: Version,
    folder: PathBuf,
    /// The limit in force, bytes.
    limit: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// One reading. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CgroupReading {
    pub(crate) usage: Option<u64>,
    pub(crate) anon: Option<u64>,
    pub(crate) limit: Option<u64>,
    pub(crate) oom_kills: Option<u64>,
}

impl Cgroup {
    /// Finds the memory cgroup of a process and the limit in force. `None` where there is none.
    pub(crate) fn of(root: &Path, pid: u32) -> Option<Self> {
        let list = read(&root.join("proc").join(pid.to_string()).join("cgroup")).ok()?;
        let base = root.join("sys/fs/cgroup");
        let (version, mount, path) = match membership(&list, "memory") {
            Some(path) => (Version::V1, base.join("memory"), path),
            None if base.join("cgroup.controllers").exists() => {
                (Version::V2, base, membership(&list, "")?)
            }
            None => (Version::V2, base.join("unified"), membership(&list, "")?),
        };
        // The folders from the process's own group up to the mount, those that exist here. In a
        // container the path may be the host's: then the mount itself is the container's group.
        let own = mount.join(path.trim_start_matches('/'));
        let ancestors = own.ancestors().take(DEPTH_MAX).take_while(|at| at.starts_with(&mount));
        let chain: Vec<&Path> = match path.split('/').any(|part| part == "..") {
            true => vec![mount.as_path()],
            false => ancestors.filter(|at| at.join(version.usage()).exists()).collect(),
        };
        let folder = chain.first()?.to_path_buf();
        let limit = chain.iter().filter_map(|at| version.limit(at)).min();
        Some(Self { version, folder, limit })
    }

    /// Reads the group's figures.
    pub(crate) fn read(&self) -> CgroupReading {
        let number = |name: &str| number(&self.folder.join(name));
        let stat = read(&self.folder.join("memory.stat")).unwrap_or_default();
        let events = read(&self.folder.join(self.version.events())).unwrap_or_default();
        CgroupReading {
            usage: number(self.version.usage()),
            anon: value(&stat, self.version.anon()),
            limit: self.limit,
            oom_kills: value(&events, "oom_kill"),
        }
    }
}

impl Version {
    const fn usage(self) -> &'static str {
        match self {
            Self::V1 => "memory.usage_in_bytes",
            Self::V2 => "memory.current",
        }
    }

    const fn events(self) -> &'static str {
        match self {
            Self::V1 => "memory.oom_control",
            Self::V2 => "memory.events",
        }
    }

    /// Anonymous memory with that of the groups below. Version 2 always counts those.
    const fn anon(self) -> &'static str {
        match self {
            Self::V1 => "total_rss",
            Self::V2 => "anon",
        }
    }

    /// The limit set on this very group.
    fn limit(self, folder: &Path) -> Option<u64> {
        let limit = match self {
            Self::V1 => {
                let stat = read(&folder.join("memory.stat")).unwrap_or_default();
                let own = number(&folder.join("memory.limit_in_bytes"));
                // The kernel's own walk to the top, where it could see more than we can.
                [own, value(&stat, "hierarchical_memory_limit")].into_iter().flatten().min()
            }
            Self::V2 => number(&folder.join("memory.max")), // `max` is no number
        };
        limit.filter(|limit| *limit < UNLIMITED_FROM)
    }
}

/// The path of the group in the hierarchy of `controller` (empty: version 2's only one), from
/// `/proc/PID/cgroup`: lines of `number:controllers:path`.
fn membership<'a>(list: &'a str, controller: &str) -> Option<&'a str> {
    list.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        controllers.split(',').any(|name| name == controller).then_some(path)
    })
}

/// The number after `key ` in a file of such lines.
fn value(text: &str, key: &str) -> Option<u64> {
    whole_lines(text)
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The lines that have an end: of one that was cut off, the figure would be a smaller one.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

fn number(path: &Path) -> Option<u64> {
    whole_lines(&read(path).ok()?).next()?.trim().parse().ok()
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// What the machine as a whole has. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) total: u64,
    pub(crate) available: u64,
}

impl Machine {
    /// From `/proc/meminfo`.
    pub(crate) fn read(root: &Path) -> Option<Self> {
        let text = read(&root.join("proc/meminfo")).ok()?;
        let of = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            let kilobytes: u64 = line.trim().trim_end_matches("kB").trim_end().parse().ok()?;
            Some(kilobytes.saturating_mul(1_024))
        };
        Some(Self { total: of("MemTotal:")?, available: of("MemAvailable:")? })
    }
}
