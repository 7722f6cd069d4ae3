//! One target over its lives: which process it is now, and its reading with that of its cgroup.
//!
//! Owns: finding the process again after a restart, and the limit that ends it.
//! Refuses: judging. Invariant: a target given by pid is that process and no later one of the same
//! number; a target given by name is searched for at most once in [`SEARCH_INTERVAL`].

use std::path::PathBuf;
use std::time::{Duration, Instant};

use stent_contract::{EcsTask, MemoryReading, ProcessReading};

use super::cgroup::{Cgroup, CgroupReading, Machine};
use super::discover;
use super::ecs;
use super::proc::Process;
use crate::config::{Config, Target};

/// A search opens every process: it is not done in each round.
const SEARCH_INTERVAL: Duration = Duration::from_secs(5);
/// How often the way from the process to its cgroup, and the limits on it, are looked up again.
const CGROUP_INTERVAL: Duration = Duration::from_secs(30);

/// A reading with what the judge needs beside it.
#[derive(Clone, Debug, Default)]
pub(crate) struct TargetReading {
    /// The target's name.
    pub(crate) name: String,
    /// `None` while the process is not there.
    pub(crate) reading: Option<ProcessReading>,
    /// What counts against the limit and cannot be reclaimed, bytes.
    pub(crate) charged: u64,
    /// How many descriptors it may have open.
    pub(crate) descriptors_max: Option<u64>,
    /// How many threads there may be.
    pub(crate) threads_max: Option<u64>,
}

/// A configured target.
#[derive(Debug)]
pub(crate) struct Watched {
    target: Target,
    root: PathBuf,
    limit: Option<u64>,
    process: Option<Process>,
    /// The start of the process that a pid first meant.
    first_start: Option<u64>,
    cgroup: Option<Cgroup>,
    cgroup_due: Option<Instant>,
    search_due: Option<Instant>,
}

impl Watched {
    pub(crate) fn new(target: &Target, config: &Config) -> Self {
        Self {
            target: target.clone(),
            root: config.root.clone(),
            limit: config.memory_limit,
            process: None,
            first_start: None,
            cgroup: None,
            cgroup_due: None,
            search_due: None,
        }
    }

    /// The target's name.
    pub(crate) fn name(&self) -> &str {
        match &self.target {
            Target::Pid { name, .. } | Target::Name(name) | Target::Container(name) => name,
        }
    }

    /// The process that is being read, if there is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Takes a reading; of a container from `task`.
    pub(crate) fn read_in(
        &mut self,
        now: Instant,
        at_unix_ms: u64,
        task: Option<&EcsTask>,
    ) -> TargetReading {
        match &self.target {
            Target::Container(name) => of_container(name.clone(), at_unix_ms, task, self.limit),
            Target::Pid { .. } | Target::Name(_) => self.read(now, at_unix_ms),
        }
    }

    /// Takes a reading of the process.
    pub(crate) fn read(&mut self, now: Instant, at_unix_ms: u64) -> TargetReading {
        let name = self.name().to_owned();
        let Some(mut reading) = self.read_process(now, at_unix_ms) else {
            return TargetReading { name, ..TargetReading::default() };
        };
        let own = reading.memory.rss_anon.saturating_add(reading.memory.swap);
        let cgroup = self.read_cgroup(reading.pid, now);
        let (limit, charged) = self.limit(&cgroup, own);
        reading.memory = MemoryReading {
            cgroup_usage: cgroup.usage,
            cgroup_anon: cgroup.anon,
            oom_kills: cgroup.oom_kills,
            limit,
            ..reading.memory
        };
        TargetReading {
            name,
            reading: Some(reading),
            charged: charged.max(own),
            descriptors_max: self.process.as_ref().and_then(Process::descriptors_max),
            threads_max: self.process.as_ref().and_then(Process::threads_max),
        }
    }

    /// Reads the process, and looks for a new one at once where the old one is gone.
    fn read_process(&mut self, now: Instant, at_unix_ms: u64) -> Option<ProcessReading> {
        if let Some(reading) = self.process.as_mut().and_then(|p| p.read(now, at_unix_ms)) {
            return Some(reading);
        }
        self.cgroup_due = None;
        self.process = self.find(now);
        self.process.as_mut().and_then(|process| process.read(now, at_unix_ms))
    }

    fn find(&mut self, now: Instant) -> Option<Process> {
        match &self.target {
            Target::Pid { pid, .. } => {
                let process = Process::open(&self.root, *pid).ok()?;
                let start = process.started_ticks();
                let first = *self.first_start.get_or_insert(start);
                (start == first).then_some(process)
            }
            Target::Container(_) => None,
            Target::Name(name) => {
                if self.search_due.is_some_and(|due| now < due) {
                    return None;
                }
                self.search_due = Some(now + SEARCH_INTERVAL);
                Process::open(&self.root, discover::find(name)?).ok()
            }
        }
    }

    fn read_cgroup(&mut self, pid: u32, now: Instant) -> CgroupReading {
        if self.cgroup_due.is_none_or(|due| now >= due) {
            self.cgroup = Cgroup::of(&self.root, pid);
            self.cgroup_due = Some(now + CGROUP_INTERVAL);
        }
        self.cgroup.as_ref().map(Cgroup::read).unwrap_or_default()
    }

    /// The limit that is reached first, and what is charged against it.
    fn limit(&self, cgroup: &CgroupReading, own: u64) -> (Option<u64>, u64) {
        if self.limit.is_some() {
            return (self.limit, own);
        }
        let machine = Machine::read(&self.root);
        match (cgroup.limit, machine) {
            (Some(limit), Some(machine)) if limit > machine.total => Self::of_machine(machine),
            (Some(limit), _) => (Some(limit), cgroup.anon.unwrap_or(own)),
            (None, Some(machine)) => Self::of_machine(machine),
            (None, None) => (None, own),
        }
    }

    fn of_machine(machine: Machine) -> (Option<u64>, u64) {
        (Some(machine.total), machine.total.saturating_sub(machine.available))
    }
}

/// The reading of a container, without a process. `None` while there are no figures of it.
fn of_container(
    name: String,
    at_unix_ms: u64,
    task: Option<&EcsTask>,
    limit: Option<u64>,
) -> TargetReading {
    let container = task.and_then(|task| task.containers.iter().find(|of| of.name == name));
    let Some((container, anon)) = container.and_then(|of| Some((of, of.anon?))) else {
        return TargetReading { name, ..TargetReading::default() };
    };
    let memory = MemoryReading {
        rss_anon: anon,
        cgroup_usage: container.usage,
        cgroup_anon: container.anon,
        limit: limit.or(container.limit),
        ..MemoryReading::default()
    };
    let reading = ProcessReading {
        at_unix_ms,
        command: name.clone(),
        started_unix_ms: ecs::unix_ms(&container.started_at).unwrap_or_default(),
        memory,
        ..ProcessReading::default()
    };
    TargetReading { name, charged: anon, reading: Some(reading), ..TargetReading::default() }
}

/// Makes a watcher for each configured target.
pub(crate) fn watch_all(config: &Config) -> Vec<Watched> {
    config.targets.iter().map(|target| Watched::new(target, config)).collect()
}

/// The processes that are being read.
pub(crate) fn pids(watched: &[Watched]) -> Vec<u32> {
    watched.iter().filter_map(Watched::pid).collect()
}

/// Where a test puts its own `/proc`.
#[cfg(test)]
pub(crate) fn of_pid(name: &str, pid: u32, root: &std::path::Path) -> Watched {
    let mut config = super::tests::config();
    config.root = root.to_owned();
    Watched::new(&Target::Pid { name: name.to_owned(), pid }, &config)
}
