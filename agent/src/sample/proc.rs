//! One process, read from `/proc`: cheap figures each round, dear ones once a minute.
//!
//! Owns: open descriptors of `/proc/PID/status` and `stat`. They stay bound to the process they
//! were opened for, so that a reused pid can never be read by mistake.
//! Refuses: finding processes ([`super::discover`]) and cgroups ([`super::cgroup`]).
//! Invariant: a process that is gone or a zombie reads as `None`; what the kernel does not let us
//! read is `None`, never zero.
//! Source: proc_pid_status(5), proc_pid_stat(5), proc_pid_smaps(5).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stent_contract::{MemoryReading, ProcessReading};

/// `smaps_rollup` walks every mapping in the kernel: it is read this seldom.
const PSS_INTERVAL: Duration = Duration::from_secs(60);
/// The longest file that is read from `/proc` for a process; `status` has about 1.5 kB.
const FILE_MAX: usize = 16 * 1024;
/// The most descriptors counted: above it the figure stays there.
const DESCRIPTORS_MAX: usize = 1_000_000;

/// A process that is being watched.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    folder: PathBuf,
    status: File,
    stat: File,
    started_ticks: u64,
    started_unix_ms: u64,
    descriptors_max: Option<u64>,
    threads_max: Option<u64>,
    pss: Option<u64>,
    pss_due: Option<Instant>,
    buffer: Vec<u8>,
}

impl Process {
    /// Opens the process; fails where it is not there.
    pub(crate) fn open(root: &Path, pid: u32) -> io::Result<Self> {
        let folder = root.join("proc").join(pid.to_string());
        let status = File::open(folder.join("status"))?;
        let stat = File::open(folder.join("stat"))?;
        let mut buffer = vec![0; FILE_MAX];
        let started_ticks = parse_stat(read_whole(&stat, &mut buffer)?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no start time in stat"))?
            .started_ticks;
        let started_unix_ms = boot_unix_ms(root)? + ticks_to_ms(started_ticks);
        let (pss, pss_due) = (None, None);
        let own = Self {
            pid,
            folder,
            status,
            stat,
            started_ticks,
            started_unix_ms,
            descriptors_max: None,
            threads_max: None,
            pss,
            pss_due,
            buffer,
        };
        Ok(own)
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// When it started, in clock ticks since the boot: tells two processes of one number apart.
    pub(crate) fn started_ticks(&self) -> u64 {
        self.started_ticks
    }

    /// How many descriptors it may have open; `None`: not known, or no limit.
    pub(crate) fn descriptors_max(&self) -> Option<u64> {
        self.descriptors_max
    }

    /// How many threads its user may have; `None`: not known, or no limit.
    pub(crate) fn threads_max(&self) -> Option<u64> {
        self.threads_max
    }

    /// Takes a reading, without the figures of the cgroup. `None`: the process is gone.
    pub(crate) fn read(&mut self, now: Instant, at_unix_ms: u64) -> Option<ProcessReading> {
        let stat = parse_stat(read_whole(&self.stat, &mut self.buffer).ok()?)?;
        if stat.started_ticks != self.started_ticks {
            return None; // another process under the same number
        }
        let (cpu_seconds, command) = (Some(stat.cpu_seconds()), stat.command.to_owned());
        let status = parse_status(read_whole(&self.status, &mut self.buffer).ok()?)?;
        if self.pss_due.is_none_or(|due| now >= due) {
            self.pss = self.read_pss();
            self.read_limits();
            self.pss_due = Some(now + PSS_INTERVAL);
        }
        Some(ProcessReading {
            at_unix_ms,
            pid: self.pid,
            command,
            started_unix_ms: self.started_unix_ms,
            memory: MemoryReading { pss: self.pss, ..status.memory },
            file_descriptors: self.count_descriptors(),
            threads: status.threads,
            cpu_seconds,
            // Said by the target itself, if at all.
            heap: None,
            requests: None,
        })
    }

    /// `None` where the kernel refuses: another user's process, without SYS_PTRACE.
    fn read_pss(&mut self) -> Option<u64> {
        let file = File::open(self.folder.join("smaps_rollup")).ok()?;
        let text = read_whole(&file, &mut self.buffer).ok()?;
        kilobytes(text, "Pss:")
    }

    /// Limits may be changed while a process runs (prlimit).
    /// Source: proc_pid_limits(5); threads count against the processes of their user.
    fn read_limits(&mut self) {
        let text = File::open(self.folder.join("limits")).ok();
        let text = text.as_ref().and_then(|file| read_whole(file, &mut self.buffer).ok());
        let soft = |name: &str| field(text?, name)?.split_ascii_whitespace().next()?.parse().ok();
        (self.descriptors_max, self.threads_max) = (soft("Max open files"), soft("Max processes"));
    }

    fn count_descriptors(&self) -> Option<u32> {
        let entries = std::fs::read_dir(self.folder.join("fd")).ok()?;
        u32::try_from(entries.take(DESCRIPTORS_MAX).count()).ok()
    }
}

/// The CPU time of a process so far, seconds, user and system. `None`: it is gone.
pub(crate) fn cpu_seconds(root: &Path, pid: u32) -> Option<f64> {
    let stat = File::open(root.join("proc").join(pid.to_string()).join("stat")).ok()?;
    let mut buffer = vec![0; FILE_MAX];
    Some(parse_stat(read_whole(&stat, &mut buffer).ok()?)?.cpu_seconds())
}

/// The moment of the boot, from `/proc/stat`. Milliseconds since the Unix epoch.
fn boot_unix_ms(root: &Path) -> io::Result<u64> {
    let text = std::fs::read_to_string(root.join("proc/stat"))?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "));
    let seconds: Option<u64> = seconds.and_then(|value| value.trim().parse().ok());
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "no btime in /proc/stat");
    Ok(seconds.ok_or_else(invalid)?.saturating_mul(1_000))
}

fn ticks_to_ms(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000) / rustix::param::clock_ticks_per_second().max(1)
}

/// Reads a file of `/proc` from its beginning: the kernel makes it anew for each such read. One that
/// ends in the middle of a line is an error: its last figure would be a smaller one.
fn read_whole<'a>(file: &File, buffer: &'a mut [u8]) -> io::Result<&'a str> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let text = std::str::from_utf8(&buffer[..length]).map_err(|_| invalid("not text"))?;
    if text.ends_with('\n') { Ok(text) } else { Err(invalid("cut off")) }
}

/// The fields of `/proc/PID/stat` that are used.
struct Stat<'a> {
    command: &'a str,
    cpu_ticks: u64,
    started_ticks: u64,
}

impl Stat<'_> {
    fn cpu_seconds(&self) -> f64 {
        ticks_to_ms(self.cpu_ticks) as f64 / 1_000.0
    }
}

/// The command may hold spaces and parentheses: it ends at the last `)`.
fn parse_stat(text: &str) -> Option<Stat<'_>> {
    let (head, tail) = text.rsplit_once(')')?;
    let command = head.split_once('(')?.1;
    let mut fields = tail.split_ascii_whitespace();
    // The first field after the command is number 3: utime is 14, stime 15, starttime 22.
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let started_ticks = fields.nth(6)?.parse().ok()?;
    Some(Stat { command, cpu_ticks: user.saturating_add(system), started_ticks })
}

/// The fields of `/proc/PID/status` that are used.
struct Status {
    memory: MemoryReading,
    threads: Option<u32>,
}

/// `None` for a zombie, which has no memory any more.
fn parse_status(text: &str) -> Option<Status> {
    let memory = MemoryReading {
        rss_anon: kilobytes(text, "RssAnon:")?,
        rss_file: kilobytes(text, "RssFile:").unwrap_or(0),
        rss_shmem: kilobytes(text, "RssShmem:").unwrap_or(0),
        swap: kilobytes(text, "VmSwap:").unwrap_or(0),
        ..MemoryReading::default()
    };
    let threads = field(text, "Threads:").and_then(|value| value.parse().ok());
    Some(Status { memory, threads })
}

/// The value of `KEY   123 kB`, in bytes.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let value: u64 = field(text, key)?.trim_end_matches("kB").trim_end().parse().ok()?;
    Some(value.saturating_mul(1_024))
}

fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}
