//! System calls of a process while a command runs, counted by perf, or by strace where perf may not.

use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stent_testkit::{Process, Signal, TempDir};

const PATIENCE: Duration = Duration::from_secs(20);
const EVENT: &str = "raw_syscalls:sys_enter";

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// A tracepoint: costs next to nothing.
    Perf,
    /// Stops the process at each call, which changes what it finds when it goes on.
    Strace,
}

impl Counter {
    /// The best one that works here.
    pub fn find() -> Option<Self> {
        static FOUND: OnceLock<Option<Counter>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let works = |program: &str, arguments: &[&str]| {
                let mut command = Command::new(program);
                command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
                command.status().is_ok_and(|status| status.success())
            };
            if works("perf", &["stat", "-e", EVENT, "true"]) {
                Some(Self::Perf)
            } else if works("strace", &["-c", "true"]) {
                Some(Self::Strace)
            } else {
                None
            }
        })
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Perf => "perf",
            Self::Strace => "strace",
        }
    }

    /// Calls of a process while `work` runs the command that it is given a wrapper for.
    pub fn count(self, pid: u32, work: impl FnOnce(&[String]) -> Result<()>) -> Result<f64> {
        let files = TempDir::new("syscalls")?;
        let report = files.path().join("report");
        let path = report.to_string_lossy().into_owned();
        let pid = pid.to_string();
        match self {
            Self::Perf => {
                let wrapper = ["perf", "stat", "-x,", "-e", EVENT, "-o", &path, "-p", &pid, "--"];
                work(&wrapper.map(str::to_owned))?;
                perf_count(&std::fs::read_to_string(report)?)
            }
            Self::Strace => {
                let mut command = Command::new("strace");
                command.args(["-c", "-f", "-o", &path, "-p", &pid]);
                let mut strace = Process::spawn(&mut command)?;
                strace.wait_for_line("attached", PATIENCE)?;
                work(&[])?;
                strace.signal(Signal::INT)?;
                strace.wait(PATIENCE)?;
                strace_count(&std::fs::read_to_string(report)?)
            }
        }
    }
}

/// The first field of the event's line, with `-x,`.
fn perf_count(report: &str) -> Result<f64> {
    let line = report.lines().find(|line| line.contains(EVENT)).context("perf counted nothing")?;
    let count = line.split(',').next().unwrap_or_default();
    ensure!(!count.starts_with('<'), "perf could not count: {line}");
    count.parse().with_context(|| format!("perf said {line}"))
}

/// The fourth column of the line `total`.
fn strace_count(report: &str) -> Result<f64> {
    let line = report.lines().find(|line| line.trim_end().ends_with(" total"));
    let line = line.context("strace counted nothing")?;
    let count = line.split_ascii_whitespace().nth(3).context("strace's columns")?;
    count.parse().with_context(|| format!("strace said {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfs_count_is_read() {
        let report = "# started on x\n\n12072,,raw_syscalls:sys_enter,500,100.00,,\n";
        assert_eq!(perf_count(report).unwrap(), 12_072.0);
        assert!(perf_count("<not counted>,,raw_syscalls:sys_enter,0,0.00,,\n").is_err());
    }

    #[test]
    fn straces_total_is_read() {
        let report = "% time     seconds  usecs/call     calls    errors syscall\n\
                      ------ ----------- ----------- --------- --------- ----------------\n\
                      100.00    0.110000          18      6021        12 total\n";
        assert_eq!(strace_count(report).unwrap(), 6_021.0);
    }
}
