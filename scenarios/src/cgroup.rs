//! A memory cgroup of one's own: version 1 or 2, whichever the machine has.
//!
//! Owns: its folder, its limit, and the kernel's count of kills in it. Refuses: machines without
//! the right to make one. Invariant: the folder is gone when the guard is, as soon as it is empty.
//! Source: Linux Documentation/admin-guide/cgroup-v1/memory and cgroup-v2.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use stent_testkit::wait_until;

const V1: &str = "/sys/fs/cgroup/memory";
const V2: &str = "/sys/fs/cgroup";
/// A process that was killed is out of its cgroup within this.
const EMPTY_MAX: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(crate) struct MemoryCgroup {
    folder: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug)]
enum Version {
    One,
    Two,
}

impl MemoryCgroup {
    /// Makes one that is limited to `limit` bytes, without swap.
    pub(crate) fn create(number: u32, limit: u64) -> Result<Self> {
        let version = if Path::new(V1).join("memory.limit_in_bytes").exists() {
            Version::One
        } else {
            Version::Two
        };
        let above = match version {
            Version::One => V1,
            Version::Two => V2,
        };
        let folder = Path::new(above).join(format!("stent-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder)
            .with_context(|| format!("make {} (needs root)", folder.display()))?;
        let own = Self { folder, version };
        match version {
            Version::One => own.write("memory.limit_in_bytes", limit)?,
            Version::Two => {
                own.write("memory.max", limit)?;
                own.write("memory.swap.max", 0)?;
            }
        }
        Ok(own)
    }

    /// Puts a process into it. What it has taken before is not charged here.
    pub(crate) fn take(&self, pid: u32) -> Result<()> {
        self.write("cgroup.procs", u64::from(pid))
    }

    /// How many processes the kernel has killed in it for want of memory.
    pub(crate) fn oom_kills(&self) -> Result<u64> {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = std::fs::read_to_string(self.folder.join(file)).context("read the kills")?;
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.and_then(|count| count.trim().parse().ok()).context("the cgroup counts no kills")
    }

    fn write(&self, file: &str, value: u64) -> Result<()> {
        let path = self.folder.join(file);
        std::fs::write(&path, value.to_string())
            .with_context(|| format!("write {}", path.display()))
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        let folder = self.folder.clone();
        // Its processes end beside this guard: the kernel refuses until they have.
        let removed = wait_until("the end of a cgroup", EMPTY_MAX, move || {
            std::fs::remove_dir(&folder).is_ok() || !folder.exists()
        });
        if let Err(error) = removed {
            eprintln!("stent-scenarios: {error:#}");
        }
    }
}
