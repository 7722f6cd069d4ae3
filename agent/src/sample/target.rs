//! One target over its lives: which process it is now, and its reading with that of its cgroup.
//!
//! Owns: finding the process again after a restart, and the limit that ends it.
//! Refuses: judging. Invariant: a target given by pid is that process and no later one of the same
//! number; a target given by name is searched for at most once in [`SEARCH_INTERVAL`].

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use stent_contract::snapshot::TargetSnapshot;
use stent_contract::{EcsTask, MemoryReading, ProcessReading, Skipped, Verdict, VerdictLevel};

use super::build;
use super::cgroup::{Cgroup, CgroupReading, Machine};
use super::discover;
use super::ecs;
use super::proc::{Look, Missing, Process};
use super::skipped::{Reason, Skips, Source};
use crate::config::{Config, Target};
use crate::event;
use crate::heap_source::RuntimeReading;

/// A search opens every process: it is not done in each round.
const SEARCH_INTERVAL: Duration = Duration::from_secs(5);
/// How often the way from the process to its cgroup, and the limits on it, are looked up again.
const CGROUP_INTERVAL: Duration = Duration::from_secs(30);
/// The most targets that are looked at closely.
const CLOSE_MAX: usize = 4;

/// A reading with what the judge needs beside it.
#[derive(Clone, Debug, Default)]
pub(crate) struct TargetReading {
    /// The target's name.
    pub(crate) name: String,
    /// The name that it was given, which its siblings have too.
    pub(crate) program: String,
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
    /// Its own name, also where several were given the same.
    name: String,
    target: Target,
    /// Processes that others of the name are.
    taken: Vec<u32>,
    root: PathBuf,
    limit: Option<u64>,
    process: Option<Process>,
    build_variable: Option<String>,
    /// The build of the present process.
    build: Option<String>,
    /// The start of the process that a pid first meant.
    first_start: Option<u64>,
    cgroup: Option<Cgroup>,
    cgroup_due: Option<Instant>,
    /// The machine's figures, as they were last read.
    machine: Option<Machine>,
    search_due: Option<Instant>,
    /// The process and its newest count of requests.
    requests: Option<(u32, u64)>,
    look: Look,
    skips: Skips,
    rejuvenations: Option<u64>,
}

impl Watched {
    pub(crate) fn new(target: &Target, config: &Config) -> Self {
        let (Target::Pid { name, .. } | Target::Name(name) | Target::Container(name)) = target;
        Self {
            skips: Skips::of(name),
            name: name.clone(),
            target: target.clone(),
            taken: Vec::new(),
            root: config.root.clone(),
            limit: config.memory_limit,
            process: None,
            build_variable: config.build_variable.clone(),
            build: None,
            first_start: None,
            cgroup: None,
            cgroup_due: None,
            machine: None,
            search_due: None,
            requests: None,
            look: Look::Close,
            rejuvenations: None,
        }
    }

    /// From here on it is this process, where it was given by process id; what was read before was an
    /// earlier life.
    pub(crate) fn follow(&mut self, new: u32, rejuvenations: Option<u64>) {
        self.rejuvenations = rejuvenations;
        match &mut self.target {
            Target::Pid { pid, .. } if *pid != new => *pid = new,
            Target::Pid { .. } | Target::Name(_) | Target::Container(_) => return,
        }
        (self.process, self.first_start, self.cgroup_due) = (None, None, None);
    }

    /// How often it has been restarted before its memory limit.
    pub(crate) fn rejuvenations(&self) -> Option<u64> {
        self.rejuvenations
    }

    /// The target's own name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// It is the `number`-th of several that were given one name.
    fn call(&mut self, number: usize) {
        self.name = format!("{}-{number}", self.program());
        self.skips = Skips::of(&self.name);
    }

    /// These processes are others of the name.
    fn leave(&mut self, taken: Vec<u32>) {
        self.taken = taken;
    }

    /// The name that it was given.
    fn program(&self) -> &str {
        match &self.target {
            Target::Pid { name, .. } | Target::Name(name) | Target::Container(name) => name,
        }
    }

    /// The process that is being read, if there is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The readings of it that were left out so far.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = Skipped> {
        self.skips.told()
    }

    /// Adds what the target's own runtime said. A count of requests that went back within a life is
    /// left out, and the next one is compared with it.
    pub(crate) fn hear(&mut self, reading: &mut ProcessReading, runtime: RuntimeReading) {
        reading.heap = runtime.heap;
        reading.requests = runtime.requests;
        let Some(requests) = runtime.requests else { return };
        let before = self.requests.replace((reading.pid, requests));
        if let Some((pid, before)) = before
            && pid == reading.pid
            && requests < before
        {
            let what = format_args!("{requests} requests after {before}");
            self.skips.count(Source::Requests, Reason::WentBack, &what);
            reading.requests = None;
        }
    }

    /// Takes a reading; of a container from `task`.
    pub(crate) fn read_in(
        &mut self,
        now: Instant,
        at_unix_ms: u64,
        task: Option<&EcsTask>,
    ) -> TargetReading {
        let mut of = match &self.target {
            Target::Container(name) => {
                of_container(self.unread(), name, at_unix_ms, task, self.limit)
            }
            Target::Pid { .. } | Target::Name(_) => self.read(now, at_unix_ms),
        };
        if let Some(reading) = &mut of.reading {
            let of_task = || task.map(|task| format!("{}:{}", task.family, task.revision));
            reading.revision = self.build.clone().or_else(of_task);
        }
        of
    }

    /// What is known of it without a reading.
    fn unread(&self) -> TargetReading {
        let (name, program) = (self.name().to_owned(), self.program().to_owned());
        TargetReading { name, program, ..TargetReading::default() }
    }

    /// Takes a reading of the process.
    pub(crate) fn read(&mut self, now: Instant, at_unix_ms: u64) -> TargetReading {
        let Some(mut reading) = self.read_process(now, at_unix_ms) else {
            return self.unread();
        };
        let own = reading.memory.rss_anon.saturating_add(reading.memory.swap);
        let cgroup = self.read_cgroup(reading.pid, now);
        let (limit, charged) = self.limit(&cgroup, own);
        reading.memory = MemoryReading {
            cgroup_usage: cgroup.usage,
            cgroup_anon: cgroup.anon,
            cgroup_swap: cgroup.swap,
            oom_kills: cgroup.oom_kills,
            limit,
            ..reading.memory
        };
        reading.pressure = cgroup.pressure;
        TargetReading {
            reading: Some(reading),
            charged: charged.max(own),
            descriptors_max: self.process.as_ref().and_then(Process::descriptors_max),
            threads_max: self.process.as_ref().and_then(Process::threads_max),
            ..self.unread()
        }
    }

    /// Reads the process, and looks for a new one at once where the old one is gone. Where a reading
    /// had to be left out it is still there.
    fn read_process(&mut self, now: Instant, at_unix_ms: u64) -> Option<ProcessReading> {
        let look = self.look;
        match self.process.as_mut().map(|p| p.read(now, at_unix_ms, look, &mut self.skips)) {
            Some(Ok(reading)) => return Some(reading),
            Some(Err(Missing::Skipped)) => return None,
            Some(Err(Missing::Gone)) | None => {}
        }
        self.cgroup_due = None;
        self.process = self.find(now);
        self.build = self.read_build();
        self.process.as_mut()?.read(now, at_unix_ms, look, &mut self.skips).ok()
    }

    fn read_build(&mut self) -> Option<String> {
        let build = build::of(self.process.as_ref()?.folder(), self.build_variable.as_ref()?);
        build.inspect_err(|flaw| self.skips.flaw(Source::Build, flaw, "environ")).ok()?
    }

    fn find(&mut self, now: Instant) -> Option<Process> {
        match &self.target {
            Target::Pid { pid, .. } => {
                let process = Process::open(&self.root, *pid);
                let process = process
                    .inspect_err(|flaw| self.skips.flaw(Source::Process, flaw, "stat"))
                    .ok()?;
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
                discover::find(&self.root, name, &self.taken, &mut self.skips)
            }
        }
    }

    /// Where the way there cannot be read, the group that was known stays.
    fn read_cgroup(&mut self, pid: u32, now: Instant) -> CgroupReading {
        if self.cgroup_due.is_none_or(|due| now >= due) {
            match Cgroup::of(&self.root, pid) {
                Ok(cgroup) => {
                    if let Some(found) = cgroup.as_ref().filter(|_| self.cgroup != cgroup) {
                        let tells_pressure = found.tells_pressure();
                        event::CgroupFound { target: self.skips.target(), tells_pressure }.emit();
                    }
                    self.cgroup = cgroup;
                    self.cgroup_due = Some(now + CGROUP_INTERVAL);
                }
                Err(flaw) => self.skips.flaw(Source::Cgroup, &flaw, "the way to the cgroup"),
            }
        }
        let skips = &mut self.skips;
        self.cgroup.as_ref().map(|cgroup| cgroup.read(skips)).unwrap_or_default()
    }

    /// The limit that is reached first, and what is charged against it.
    fn limit(&mut self, cgroup: &CgroupReading, own: u64) -> (Option<u64>, u64) {
        if self.limit.is_some() {
            return (self.limit, own);
        }
        match Machine::read(&self.root) {
            Ok(machine) => self.machine = machine,
            Err(flaw) => self.skips.flaw(Source::Machine, &flaw, "meminfo"),
        }
        match (cgroup.limit, self.machine) {
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
    unread: TargetReading,
    name: &str,
    at_unix_ms: u64,
    task: Option<&EcsTask>,
    limit: Option<u64>,
) -> TargetReading {
    let container = task.and_then(|task| task.containers.iter().find(|of| of.name == name));
    let Some((container, anon)) = container.and_then(|of| Some((of, of.anon?))) else {
        return unread;
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
        command: name.to_owned(),
        started_unix_ms: ecs::unix_ms(&container.started_at).unwrap_or_default(),
        memory,
        ..ProcessReading::default()
    };
    TargetReading { charged: anon, reading: Some(reading), ..unread }
}

/// Makes a watcher for each configured target. Of several with one name the second is `name-2`.
pub(crate) fn watch_all(config: &Config) -> Vec<Watched> {
    let mut watched: Vec<Watched> =
        config.targets.iter().map(|target| Watched::new(target, config)).collect();
    for at in 1..watched.len() {
        let (earlier, rest) = watched.split_at_mut(at);
        let mut number = 2;
        while earlier.iter().any(|other| other.name == rest[0].name) {
            rest[0].call(number);
            number += 1;
        }
    }
    look_closely(&mut watched, &[]);
    watched
}

/// Chooses the few that are looked at closely: those under suspicion first, then in their order.
pub(crate) fn look_closely(watched: &mut [Watched], judged: &[TargetSnapshot]) {
    let is_suspect = |target: &TargetSnapshot| {
        let verdicts = [&target.memory, &target.descriptors, &target.threads];
        let level = |verdict: &Verdict| verdict.level > VerdictLevel::Healthy;
        verdicts.into_iter().flatten().any(level)
    };
    let suspects: BTreeSet<&str> =
        judged.iter().filter(|target| is_suspect(target)).map(|target| &*target.name).collect();
    let mut order: Vec<&mut Watched> = watched.iter_mut().collect();
    order.sort_by_key(|watched| !suspects.contains(watched.name()));
    for (place, watched) in order.into_iter().enumerate() {
        watched.look = if place < CLOSE_MAX { Look::Close } else { Look::Plain };
    }
}

/// Says to the target at this place which processes others of its name are.
pub(crate) fn leave_to_others(watched: &mut [Watched], at: usize) {
    let of_name = |(place, other): (usize, &Watched)| {
        let is_other = place != at && other.program() == watched[at].program();
        if is_other { other.pid() } else { None }
    };
    let taken = watched.iter().enumerate().filter_map(of_name).collect();
    watched[at].leave(taken);
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
