//! One process, read from `/proc`: cheap figures each round, dear ones once a minute.
//!
//! Owns: open descriptors of `/proc/PID/status` and `stat`. They stay bound to the process they
//! were opened for, so that a reused pid can never be read by mistake.
//! Refuses: finding processes ([`super::discover`]) and cgroups ([`super::cgroup`]).
//! Invariant: a process that is gone or a zombie reads as [`Missing::Gone`]; what the kernel does not
//! let us read is `None`, never zero, and counted.
//! Source: proc_pid_status(5), proc_pid_stat(5), proc_pid_smaps(5).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stent_contract::{DescriptorKinds, MemoryReading, ProcessReading, SocketCounts};

use super::kernel_file::{Flaw, field, kilobytes, read_again, read_whole};
use super::kinds;
use super::skipped::{Reason, Skips, Source};

/// `smaps_rollup` walks every mapping in the kernel, and each descriptor's link is a question of its
/// own: they are read this seldom, and of few.
const DEAR_INTERVAL: Duration = Duration::from_secs(60);
/// Sockets come and go by the thousand, and their counts are summed over the processors.
const SOCKETS_INTERVAL: Duration = Duration::from_secs(10);
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
    cpu_ticks: u64,
    descriptors_max: Option<u64>,
    threads_max: Option<u64>,
    limits_due: Option<Instant>,
    pss: Option<u64>,
    kinds: Option<DescriptorKinds>,
    dear_due: Option<Instant>,
    sockets: Option<SocketCounts>,
    sockets_due: Option<Instant>,
    buffer: Vec<u8>,
}

/// How closely a process is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Look {
    /// What is cheap.
    Plain,
    /// What is dear too, once a minute.
    #[default]
    Close,
}

/// Why there is no reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The process has ended.
    Gone,
    /// What was read cannot be right: this reading is left out, and the process is still there.
    Skipped,
}

impl Process {
    /// Opens the process; fails where it is not there.
    pub(crate) fn open(root: &Path, pid: u32) -> Result<Self, Flaw> {
        let folder = root.join("proc").join(pid.to_string());
        let status = File::open(folder.join("status")).map_err(Flaw::of)?;
        let stat = File::open(folder.join("stat")).map_err(Flaw::of)?;
        let mut buffer = vec![0; FILE_MAX];
        let of_stat = parse_stat(read_again(&stat, &mut buffer)?);
        let of_stat = of_stat.ok_or(Flaw::Malformed("no start time in stat"))?;
        let (started_ticks, cpu_ticks) = (of_stat.started_ticks, of_stat.cpu_ticks);
        let started_unix_ms = boot_unix_ms(root)?.saturating_add(ticks_to_ms(started_ticks));
        Ok(Self {
            pid,
            folder,
            status,
            stat,
            started_ticks,
            started_unix_ms,
            cpu_ticks,
            descriptors_max: None,
            threads_max: None,
            limits_due: None,
            pss: None,
            kinds: None,
            dear_due: None,
            sockets: None,
            sockets_due: None,
            buffer,
        })
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// When it started, in clock ticks since the boot: tells two processes of one number apart.
    pub(crate) fn started_ticks(&self) -> u64 {
        self.started_ticks
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many descriptors it may have open; `None`: not known, or no limit.
    pub(crate) fn descriptors_max(&self) -> Option<u64> {
        self.descriptors_max
    }

    /// How many threads its user may have; `None`: not known, or no limit.
    pub(crate) fn threads_max(&self) -> Option<u64> {
        self.threads_max
    }

    /// Takes a reading, without the figures of the cgroup.
    pub(crate) fn read(
        &mut self,
        now: Instant,
        at_unix_ms: u64,
        look: Look,
        skips: &mut Skips,
    ) -> Result<ProcessReading, Missing> {
        let stat = read_again(&self.stat, &mut self.buffer);
        let stat = stat.and_then(|text| parse_stat(text).ok_or(Flaw::Malformed("too few fields")));
        let stat = stat.map_err(|flaw| missing(&flaw, "stat", skips))?;
        if stat.started_ticks != self.started_ticks {
            return Err(Missing::Gone); // another process under the same number
        }
        let (cpu_ticks, command) = (stat.cpu_ticks, stat.command.to_owned());
        let status = read_again(&self.status, &mut self.buffer).and_then(parse_status);
        let status = status.map_err(|flaw| missing(&flaw, "status", skips))?;
        self.read_seldom(now, look, skips);
        Ok(ProcessReading {
            at_unix_ms,
            pid: self.pid,
            command,
            started_unix_ms: self.started_unix_ms,
            revision: None, // the same for a whole life
            memory: MemoryReading { pss: self.pss, ..status.memory },
            file_descriptors: self.count_descriptors(skips),
            threads: status.threads,
            cpu_seconds: self.cpu_seconds(cpu_ticks, skips),
            // Said by the target itself, if at all.
            heap: None,
            requests: None,
            descriptor_kinds: self.kinds,
            sockets: self.sockets,
            // The cgroup's.
            pressure: None,
        })
    }

    fn read_seldom(&mut self, now: Instant, look: Look, skips: &mut Skips) {
        let is_due = |due: &mut Option<Instant>, interval| {
            let is_due = due.is_none_or(|due| now >= due);
            if is_due {
                *due = Some(now + interval);
            }
            is_due
        };
        if is_due(&mut self.limits_due, DEAR_INTERVAL) {
            self.read_limits(skips);
        }
        if is_due(&mut self.sockets_due, SOCKETS_INTERVAL) {
            let sockets = kinds::sockets(&self.folder);
            self.sockets =
                sockets.inspect_err(|flaw| skips.flaw(Source::Sockets, flaw, "net/sockstat")).ok();
        }
        match look {
            Look::Plain => (self.pss, self.kinds, self.dear_due) = (None, None, None),
            Look::Close if is_due(&mut self.dear_due, DEAR_INTERVAL) => {
                self.pss = self.read_pss(skips);
                // That the folder may not be read is counted with the number of descriptors.
                self.kinds = kinds::descriptor_kinds(&self.folder).ok().flatten();
            }
            Look::Close => {}
        }
    }

    /// A time that went back is left out, and the next one is compared with it.
    fn cpu_seconds(&mut self, ticks: u64, skips: &mut Skips) -> Option<f64> {
        let before = std::mem::replace(&mut self.cpu_ticks, ticks);
        if ticks < before {
            let what = format_args!("{ticks} clock ticks after {before}");
            skips.count(Source::Cpu, Reason::WentBack, &what);
            return None;
        }
        Some(cpu_seconds_of(ticks))
    }

    /// `None` where the kernel refuses: another user's process, without SYS_PTRACE.
    fn read_pss(&mut self, skips: &mut Skips) -> Option<u64> {
        self.dear("smaps_rollup", Source::Pss, skips, |text| {
            kilobytes(text, "Pss:").ok_or(Flaw::Malformed("no Pss"))
        })
    }

    /// Limits may be changed while a process runs (prlimit).
    /// Source: proc_pid_limits(5); threads count against the processes of their user.
    fn read_limits(&mut self, skips: &mut Skips) {
        let limits = self.dear("limits", Source::Limits, skips, |text| {
            let soft = |name| field(text, name)?.split_ascii_whitespace().next()?.parse().ok();
            Ok((soft("Max open files"), soft("Max processes"))) // `unlimited` is no number
        });
        (self.descriptors_max, self.threads_max) = limits.unwrap_or_default();
    }

    /// A file that is not kept open.
    fn dear<T>(
        &mut self,
        name: &str,
        source: Source,
        skips: &mut Skips,
        parse: impl Fn(&str) -> Result<T, Flaw>,
    ) -> Option<T> {
        let file = File::open(self.folder.join(name)).map_err(Flaw::of);
        let value = file.and_then(|file| parse(read_again(&file, &mut self.buffer)?));
        value.inspect_err(|flaw| skips.flaw(source, flaw, name)).ok()
    }

    fn count_descriptors(&self, skips: &mut Skips) -> Option<u32> {
        let entries = std::fs::read_dir(self.folder.join("fd")).map_err(Flaw::of);
        let entries = entries.inspect_err(|flaw| skips.flaw(Source::Descriptors, flaw, "fd"));
        u32::try_from(entries.ok()?.take(DESCRIPTORS_MAX).count()).ok()
    }
}

fn missing(flaw: &Flaw, file: &str, skips: &mut Skips) -> Missing {
    skips.flaw(Source::Process, flaw, file);
    match flaw {
        Flaw::Absent => Missing::Gone,
        Flaw::Unreadable(_) | Flaw::CutOff | Flaw::Malformed(_) => Missing::Skipped,
    }
}

/// The CPU time of a process so far, seconds, user and system. `None`: it is gone.
pub(crate) fn cpu_seconds(root: &Path, pid: u32) -> Option<f64> {
    let stat = File::open(root.join("proc").join(pid.to_string()).join("stat")).ok()?;
    let mut buffer = vec![0; FILE_MAX];
    Some(cpu_seconds_of(parse_stat(read_again(&stat, &mut buffer).ok()?)?.cpu_ticks))
}

/// The moment of the boot, from `/proc/stat`. Milliseconds since the Unix epoch.
fn boot_unix_ms(root: &Path) -> Result<u64, Flaw> {
    let text = read_whole(&root.join("proc/stat"))?;
    let seconds: Option<u64> = field(&text, "btime ").and_then(|value| value.parse().ok());
    Ok(seconds.ok_or(Flaw::Malformed("no btime in /proc/stat"))?.saturating_mul(1_000))
}

fn ticks_to_ms(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000) / rustix::param::clock_ticks_per_second().max(1)
}

fn cpu_seconds_of(ticks: u64) -> f64 {
    ticks_to_ms(ticks) as f64 / 1_000.0
}

/// The fields of `/proc/PID/stat` that are used.
struct Stat<'a> {
    command: &'a str,
    cpu_ticks: u64,
    started_ticks: u64,
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

/// Absent is a zombie, which has no memory any more.
fn parse_status(text: &str) -> Result<Status, Flaw> {
    let Some(rss_anon) = kilobytes(text, "RssAnon:") else {
        let ended = field(text, "State:").is_some_and(|state| state.starts_with(['Z', 'X']));
        return Err(if ended { Flaw::Absent } else { Flaw::Malformed("no RssAnon") });
    };
    let memory = MemoryReading {
        rss_anon,
        rss_file: kilobytes(text, "RssFile:").unwrap_or(0),
        rss_shmem: kilobytes(text, "RssShmem:").unwrap_or(0),
        swap: kilobytes(text, "VmSwap:").unwrap_or(0),
        ..MemoryReading::default()
    };
    let threads = field(text, "Threads:").and_then(|value| value.parse().ok());
    Ok(Status { memory, threads })
}
