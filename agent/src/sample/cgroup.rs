//! The memory cgroup of a process, version 1 and 2: usage, anonymous memory, limit, OOM kills.
//!
//! Owns: finding the process's group under the mounts, and the limit that holds in fact: the
//! smallest one on the way up.
//! Refuses: writing anything, and mounts elsewhere than under `/sys/fs/cgroup`.
//! Invariant: "no limit" is `None` in both spellings, `max` and the largest page-aligned number; of a
//! file that is broken no figure is taken, and that is counted.
//! Source: cgroups(7); Linux Documentation/admin-guide/cgroup-v2 "Memory Interface Files" and
//! cgroup-v1/memory.

use std::path::{Path, PathBuf};

use stent_contract::PressureReading;

use super::kernel_file::{Flaw, is_whole, kilobytes, read, read_whole, whole_lines};
use super::pressure;
use super::skipped::{Skips, Source};

/// Deepest nesting that is walked.
const DEPTH_MAX: usize = 64;
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
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CgroupReading {
    pub(crate) usage: Option<u64>,
    pub(crate) anon: Option<u64>,
    pub(crate) swap: Option<u64>,
    pub(crate) pressure: Option<PressureReading>,
    pub(crate) limit: Option<u64>,
    pub(crate) oom_kills: Option<u64>,
}

impl Cgroup {
    /// Finds the memory cgroup of a process and the limit in force. `None` where there is none.
    /// Fails where a file on the way is broken: a smaller part of the way would be another group.
    pub(crate) fn of(root: &Path, pid: u32) -> Result<Option<Self>, Flaw> {
        let list = match read(&root.join("proc").join(pid.to_string()).join("cgroup")) {
            Err(Flaw::Absent) => return Ok(None),
            list => list?,
        };
        if !list.is_empty() && !is_whole(&list) {
            return Err(Flaw::CutOff);
        }
        let base = root.join("sys/fs/cgroup");
        let (version, mount, path) = match membership(&list, "memory") {
            Some(path) => (Version::V1, base.join("memory"), Some(path)),
            None if base.join("cgroup.controllers").exists() => {
                (Version::V2, base, membership(&list, ""))
            }
            None => (Version::V2, base.join("unified"), membership(&list, "")),
        };
        let Some(path) = path else { return Ok(None) };
        // The folders from the process's own group up to the mount, those that exist here. In a
        // container the path may be the host's: then the mount itself is the container's group.
        let own = mount.join(path.trim_start_matches('/'));
        let ancestors = own.ancestors().take(DEPTH_MAX).take_while(|at| at.starts_with(&mount));
        let chain: Vec<&Path> = match path.split('/').any(|part| part == "..") {
            true => vec![mount.as_path()],
            false => ancestors.filter(|at| at.join(version.usage()).exists()).collect(),
        };
        let Some(folder) = chain.first() else { return Ok(None) };
        let limits = chain.iter().map(|at| version.limit(at)).collect::<Result<Vec<_>, _>>()?;
        let limit = limits.into_iter().flatten().min();
        Ok(Some(Self { version, folder: folder.to_path_buf(), limit }))
    }

    /// Reads the group's figures.
    pub(crate) fn read(&self, skips: &mut Skips) -> CgroupReading {
        let usage = self.number(self.version.usage(), skips);
        let stat = self.lines("memory.stat", skips);
        let events = self.lines(self.version.events(), skips);
        CgroupReading {
            usage,
            anon: value(&stat, self.version.anon()),
            swap: match self.version {
                Version::V1 => value(&stat, "total_swap"),
                Version::V2 => self.number("memory.swap.current", skips),
            },
            pressure: self.pressure(skips),
            limit: self.limit,
            oom_kills: value(&events, "oom_kill"),
        }
    }

    /// Whether the kernel says for how long its tasks stood still for want of memory.
    pub(crate) fn tells_pressure(&self) -> bool {
        match self.version {
            Version::V1 => false,
            Version::V2 => self.folder.join("memory.pressure").exists(),
        }
    }

    fn pressure(&self, skips: &mut Skips) -> Option<PressureReading> {
        let file = match self.version {
            Version::V1 => return None,
            Version::V2 => "memory.pressure",
        };
        let pressure = read_whole(&self.folder.join(file)).and_then(|text| pressure::parse(&text));
        pressure.inspect_err(|flaw| skips.flaw(Source::Pressure, flaw, file)).ok()
    }

    fn number(&self, name: &str, skips: &mut Skips) -> Option<u64> {
        let number = number(&self.folder.join(name));
        number.inspect_err(|flaw| skips.flaw(Source::Cgroup, flaw, name)).ok()?
    }

    /// A file of lines, of which those that are whole can be used.
    fn lines(&self, name: &str, skips: &mut Skips) -> String {
        match read(&self.folder.join(name)) {
            Ok(text) => {
                if !is_whole(&text) {
                    skips.flaw(Source::Cgroup, &Flaw::CutOff, name);
                }
                text
            }
            Err(flaw) => {
                skips.flaw(Source::Cgroup, &flaw, name);
                String::new()
            }
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
    fn limit(self, folder: &Path) -> Result<Option<u64>, Flaw> {
        let limit = match self {
            Self::V1 => {
                let stat = match read_whole(&folder.join("memory.stat")) {
                    Err(Flaw::Absent) => String::new(),
                    stat => stat?,
                };
                let own = number(&folder.join("memory.limit_in_bytes"))?;
                // The kernel's own walk to the top, where it could see more than we can.
                [own, value(&stat, "hierarchical_memory_limit")].into_iter().flatten().min()
            }
            Self::V2 => number(&folder.join("memory.max"))?,
        };
        Ok(limit.filter(|limit| *limit < UNLIMITED_FROM))
    }
}

/// The path of the group in the hierarchy of `controller` (empty: version 2's only one), from
/// `/proc/PID/cgroup`: lines of `number:controllers:path`.
fn membership<'a>(list: &'a str, controller: &str) -> Option<&'a str> {
    whole_lines(list).find_map(|line| {
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

/// A file of one number. `None`: it is not there, or says `max`.
fn number(path: &Path) -> Result<Option<u64>, Flaw> {
    let text = match read_whole(path) {
        Err(Flaw::Absent) => return Ok(None),
        text => text?,
    };
    match text.trim() {
        "max" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| Flaw::Malformed("no number")),
    }
}

/// What the machine as a whole has. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) total: u64,
    pub(crate) available: u64,
}

impl Machine {
    /// From `/proc/meminfo`. `None` where it is not there or has no `MemAvailable` (before Linux 3.14).
    pub(crate) fn read(root: &Path) -> Result<Option<Self>, Flaw> {
        let text = match read_whole(&root.join("proc/meminfo")) {
            Err(Flaw::Absent) => return Ok(None),
            text => text?,
        };
        let of = |key: &str| kilobytes(&text, key);
        let both = of("MemTotal:").zip(of("MemAvailable:"));
        Ok(both.map(|(total, available)| Self { total, available }))
    }
}
