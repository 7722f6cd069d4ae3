//! Cores that are slower than this machine's, one for each worker of a proxy.
//!
//! Where load, server and proxy share two cores, a second worker has no core that is free for it. So each
//! worker's thread gets a bandwidth of its own, a share of a core that is small enough for the others
//! to stay idle: what a second worker adds is then the second worker's.
//! Owns: a cgroup for each thread. Refuses: machines without the right to make one, or without version
//! 1 of the processor's controller (in version 2 threads are bound to their process's place in the tree).
//! Invariant: the folders are gone when the guard is; threads that live are above them again.
//! Source: Linux Documentation/scheduler/sched-bwc.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const CONTROLLER: &str = "/sys/fs/cgroup/cpu";
/// Short, so that a transaction seldom meets the end of one's share.
const PERIOD_US: u64 = 5_000;
/// How the threads of workers are called, but for the first, which is the process's own.
const WORKERS: &str = "worker-";

/// See the module.
#[derive(Debug)]
pub struct SlowCores {
    folders: Vec<PathBuf>,
}

impl SlowCores {
    /// Gives every worker of a proxy a core of its own, at full speed at first.
    pub fn of(pid: u32) -> Result<Self> {
        let mut own = Self { folders: Vec::new() };
        for (number, thread) in workers(pid)?.into_iter().enumerate() {
            let folder = Path::new(CONTROLLER).join(format!("stent-bench-{pid}-{number}"));
            fs::create_dir(&folder).with_context(|| {
                format!("make {} (needs root, and version 1 of the controller)", folder.display())
            })?;
            own.folders.push(folder.clone());
            write(&folder, "cpu.cfs_period_us", &PERIOD_US.to_string())?;
            write(&folder, "tasks", &thread)?;
        }
        Ok(own)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.folders.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    /// All of them get so much of a core from now on: a share of 1, or what they can without.
    pub fn set(&self, share: Option<f64>) -> Result<()> {
        let quota = match share {
            Some(share) => {
                ensure!(share > 0.0 && share < 1.0, "{share} is no share of a core");
                (PERIOD_US as f64 * share).round().to_string()
            }
            None => "-1".to_owned(),
        };
        self.folders.iter().try_for_each(|folder| write(folder, "cpu.cfs_quota_us", &quota))
    }
}

impl Drop for SlowCores {
    fn drop(&mut self) {
        for folder in &self.folders {
            let threads = fs::read_to_string(folder.join("tasks")).unwrap_or_default();
            for thread in threads.lines() {
                let _ = fs::write(Path::new(CONTROLLER).join("tasks"), thread);
            }
            let _ = fs::remove_dir(folder);
        }
    }
}

fn write(folder: &Path, file: &str, value: &str) -> Result<()> {
    let path = folder.join(file);
    fs::write(&path, value).with_context(|| format!("write {}", path.display()))
}

/// The threads that serve clients.
fn workers(pid: u32) -> Result<Vec<String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).context("list a process's threads")?;
    let mut found = Vec::new();
    for task in tasks {
        let path = task?.path();
        let thread = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if thread == pid.to_string() || name.starts_with(WORKERS) {
            found.push(thread);
        }
    }
    Ok(found)
}
