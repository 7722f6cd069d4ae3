//! Which process a name means.
//!
//! Owns: the search through all processes. It is dear (a file of each process is read, and a link
//! where that is not it), so callers search only while they have no process, and seldom.
//! Refuses: reading figures. Invariant: the agent never finds itself; of several matches the one
//! that started first wins: workers come after their parent; at most [`PROCESSES_MAX`] are looked
//! at, one file open at a time.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::kernel_file::Flaw;
use super::proc::Process;
use super::skipped::{Reason, Skips, Source};

/// The most processes that a search looks at.
const PROCESSES_MAX: usize = 100_000;
/// The kernel cuts the name of a command here (TASK_COMM_LEN, with its end).
const COMMAND_MAX: usize = 16;
/// What the kernel adds to the path of an executable that was replaced while it runs.
const REPLACED: &str = " (deleted)";

/// The process whose command (as in `/proc/PID/comm`) or executable has this name and is none of those
/// that are `taken`.
pub(crate) fn find(root: &Path, name: &str, taken: &[u32], skips: &mut Skips) -> Option<Process> {
    let folder = root.join("proc");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) => {
            skips.flaw(Source::Search, &Flaw::of(error), "/proc");
            return None;
        }
    };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut own = OfProcess { path: folder, name };
    let mut first: Option<Process> = None;
    for (seen, pid) in pids.enumerate() {
        if seen >= PROCESSES_MAX {
            skips.count(Source::Search, Reason::TooMany, &"more processes than are looked at");
            break;
        }
        if pid == std::process::id() || taken.contains(&pid) || !own.is_named(pid) {
            continue;
        }
        match Process::open(root, pid) {
            Ok(found) if first.as_ref().is_none_or(|first| started(&found) < started(first)) => {
                first = Some(found);
            }
            Ok(_) => {}
            Err(flaw) => skips.flaw(Source::Process, &flaw, "stat"),
        }
    }
    first
}

fn started(process: &Process) -> (u64, u32) {
    (process.started_ticks(), process.pid())
}

/// Looks at one process after the other, with one buffer for their paths.
struct OfProcess<'a> {
    path: PathBuf,
    name: &'a str,
}

impl OfProcess<'_> {
    /// What may not be looked at, or has ended meanwhile, has another name.
    fn is_named(&mut self, pid: u32) -> bool {
        self.path.push(pid.to_string());
        self.path.push("comm");
        let is_named = self.has_command() || self.has_executable();
        self.path.pop();
        self.path.pop();
        is_named
    }

    fn has_command(&self) -> bool {
        let mut command = [0; COMMAND_MAX];
        let read = File::open(&self.path).and_then(|mut file| file.read(&mut command));
        let Ok(length) = read else { return false };
        command[..length].strip_suffix(b"\n") == Some(self.name.as_bytes())
    }

    fn has_executable(&mut self) -> bool {
        self.path.set_file_name("exe");
        let Ok(path) = std::fs::read_link(&self.path) else { return false };
        let file = path.file_name().map(|file| file.to_string_lossy());
        file.is_some_and(|file| file.strip_suffix(REPLACED).unwrap_or(&file) == self.name)
    }
}
