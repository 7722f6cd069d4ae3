//! The sampler: one round of readings, judged.
//!
//! Owns: the order of a round: targets, the proxy, the processes behind long holders, PostgreSQL's
//! newest answer, the verdicts. Refuses: publication.
//! Invariant: a part that cannot be read is `None`, and a round always ends: the proxy is given a
//! time box, PostgreSQL is asked by a task of its own.

mod build;
mod cgroup;
mod discover;
mod ecs;
mod heap;
mod host;
mod kernel_file;
mod kinds;
mod moment;
mod peer;
mod postgres;
mod pressure;
mod proc;
mod proxy;
mod skipped;
mod target;
#[cfg(test)]
pub(crate) mod tests;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stent_contract::snapshot::SNAPSHOT_VERSION;
use stent_contract::{AgentSnapshot, EcsTask, ProxySnapshot, Skipped};
use stent_leak::{Surroundings, explain_all};
use tokio::sync::mpsc;

pub(crate) use host::host;
pub(crate) use proc::cpu_seconds;
pub(crate) use target::TargetReading;

use crate::attach::Attacher;
use crate::attach::event::Totals;
use crate::config::{Attribution, Config, PostgresAccess};
use crate::fetch::PageUrl;
use crate::heap_source::{HeapMetrics, HeapWatch, page_of};
use crate::judge::{Judge, Judged};
use crate::told::Told;
use ecs::EcsWatch;
use moment::Clocks;
use peer::PeerFinder;
use postgres::PostgresWatch;
use proxy::{Error as ProxyError, ProxyClient};
use skipped::{Skips, Source};
use target::Watched;

/// The most time that the proxy's answer may take; less where readings are more frequent.
const PROXY_TIME_BOX: Duration = Duration::from_secs(1);

/// What one round saw and concluded.
pub(crate) struct Round {
    /// The agent's side, verdicts included.
    pub snapshot: AgentSnapshot,
    /// The proxy's side, where it answered.
    pub proxy: Option<ProxySnapshot>,
    /// What was done to targets; `None` where that is off.
    pub attaches: Option<Totals>,
}

/// Takes rounds.
pub(crate) struct Sampler {
    clocks: Clocks,
    /// What concerns all targets.
    skips: Skips,
    watched: Vec<Watched>,
    /// What the program around us tells.
    told: Option<mpsc::Receiver<Told>>,
    /// What the targets' runtimes say, in the order of `watched`; `None` before the first round.
    heaps: Option<Vec<HeapWatch>>,
    heap_metrics: Vec<HeapMetrics>,
    ecs_metadata: Option<PageUrl>,
    ecs: Option<EcsWatch>,
    interval: Duration,
    proxy: Option<ProxyClient>,
    /// Whether the proxy answered the last round: each change is logged once.
    proxy_state: ProxyState,
    peers: PeerFinder,
    postgres_access: Option<(PostgresAccess, Duration)>,
    postgres: Option<PostgresWatch>,
    judge: Judge,
    attacher: Option<Attacher>,
}

/// What the last round knew of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProxyState {
    Unknown,
    Answers,
    Silent,
}

impl Sampler {
    /// A sampler of what `config` names. Nothing is opened and nobody asked yet.
    pub(crate) fn new(config: &Config, told: Option<mpsc::Receiver<Told>>) -> Self {
        let time_box = PROXY_TIME_BOX.min(config.sample_interval);
        let endpoint = config.proxy_admin.clone();
        Self {
            clocks: Clocks::new(Instant::now(), unix_ms()),
            skips: Skips::default(),
            watched: target::watch_all(config),
            told,
            heaps: None,
            heap_metrics: config.heap_metrics.clone(),
            ecs_metadata: config.ecs_metadata.clone(),
            ecs: None,
            interval: config.sample_interval,
            proxy: endpoint.map(|endpoint| ProxyClient::new(endpoint, time_box)),
            proxy_state: ProxyState::Unknown,
            peers: PeerFinder::new(config.root.clone()),
            postgres_access: config.postgres.clone().map(|a| (a, config.postgres_interval)),
            postgres: None,
            judge: Judge::new(config.sample_interval),
            attacher: match config.attribution {
                Attribution::On => {
                    Some(Attacher::new(&config.root).with_siblings(config.sibling_drain))
                }
                Attribution::Off => None,
            },
        }
    }

    /// Takes one round: reads, asks, judges. Must run on the runtime.
    pub(crate) async fn round(&mut self) -> Round {
        if let Some((access, interval)) = self.postgres_access.take() {
            self.postgres = Some(PostgresWatch::start(access, interval));
        }
        self.hear();
        let now = Instant::now();
        let at_unix_ms = unix_ms();
        let moment = self.clocks.read(now, at_unix_ms, &mut self.skips);
        if let Some(base) = self.ecs_metadata.take() {
            self.ecs = Some(EcsWatch::start(&base, ecs::INTERVAL));
        }
        if self.heaps.is_none() {
            self.start_heaps();
        }
        let task = self.ecs.as_ref().and_then(|ecs| ecs.latest(now));
        let readings = self.read_targets(now, at_unix_ms, task.as_ref());
        let mut proxy = self.ask_proxy().await;
        if let (Some(snapshot), Some(postgres)) = (&proxy, &self.postgres) {
            postgres.leads_through(snapshot.pid);
        }
        if let Some(snapshot) = &mut proxy {
            self.peers.fill(snapshot, &target::pids(&self.watched), now).await;
        }
        let Judged { mut targets, connections, mut diagnoses } =
            self.judge.judge(moment, readings, proxy.as_ref());
        target::look_closely(&mut self.watched, &targets);
        for target in &mut targets {
            let watched = self.watched.iter().find(|watched| watched.name() == target.name);
            target.rejuvenations = watched.and_then(Watched::rejuvenations);
        }
        if let Some(attacher) = &mut self.attacher {
            attacher.round(now, at_unix_ms, &mut targets, &mut diagnoses);
        }
        let postgres = self.postgres.as_ref().and_then(PostgresWatch::latest);
        let explanation = explain_all(&Surroundings {
            now_unix_ms: at_unix_ms,
            diagnoses: &diagnoses,
            targets: &targets,
            proxy: proxy.as_ref(),
            postgres: postgres.as_ref(),
        });
        let set_aside = self.attacher.as_ref().and_then(Attacher::set_aside);
        let snapshot = AgentSnapshot {
            set_aside: set_aside.map(str::to_owned),
            version: SNAPSHOT_VERSION,
            at_unix_ms,
            uptime_ms: self.clocks.uptime_ms(now),
            pid: std::process::id(),
            proxy_reachable: proxy.is_some(),
            targets,
            connections,
            diagnoses,
            explanation,
            task,
            postgres,
            heap: heap::read(),
            skipped: self.skipped(),
        };
        let attaches = self.attacher.as_ref().map(|attacher| attacher.totals().clone());
        Round { snapshot, proxy, attaches }
    }

    fn skipped(&self) -> Vec<Skipped> {
        self.skips.told().chain(self.watched.iter().flat_map(Watched::skipped)).collect()
    }

    /// Takes what has been told since the last round.
    fn hear(&mut self) {
        let Some(told) = &mut self.told else { return };
        while let Ok(Told { target, pid, rejuvenations }) = told.try_recv() {
            match self.watched.iter_mut().find(|watched| watched.name() == target) {
                Some(watched) => watched.follow(pid, rejuvenations),
                None => {
                    tracing::debug!(target_name = target, "told of a target that is not watched")
                }
            }
        }
    }

    fn start_heaps(&mut self) {
        let names: Vec<&str> = self.watched.iter().map(Watched::name).collect();
        let wanted = self.heap_metrics.iter().filter_map(|page| page.target.as_deref());
        for name in wanted.filter(|name| !names.contains(name)) {
            tracing::warn!(target = name, "heap_metrics_url names a target that is not watched");
        }
        let page = |(at, name): (usize, &&str)| page_of(&self.heap_metrics, at, name);
        let pages = names.iter().enumerate().map(page);
        let heaps = pages.map(|page| HeapWatch::start(page, self.interval)).collect();
        self.heaps = Some(heaps);
    }

    fn read_targets(
        &mut self,
        now: Instant,
        at_unix_ms: u64,
        task: Option<&EcsTask>,
    ) -> Vec<TargetReading> {
        let (all, heaps) = (&mut self.watched, self.heaps.as_deref().unwrap_or_default());
        let read = |(at, heap): (usize, &HeapWatch)| {
            target::leave_to_others(all, at);
            let watched = &mut all[at];
            let mut of = watched.read_in(now, at_unix_ms, task);
            let runtime = heap.read(of.reading.as_ref().map(|reading| reading.pid), now);
            if let Some(reading) = &mut of.reading {
                watched.hear(reading, runtime);
            }
            of
        };
        heaps.iter().enumerate().map(read).collect()
    }

    async fn ask_proxy(&mut self) -> Option<ProxySnapshot> {
        let answer = self.proxy.as_mut()?.fetch().await;
        if let Some((reason, error)) = answer.as_ref().err().and_then(ProxyError::broken) {
            self.skips.count(Source::Proxy, reason, error);
        }
        match (&answer, self.proxy_state) {
            (Err(error), ProxyState::Unknown | ProxyState::Answers) => {
                tracing::warn!(%error, "the proxy does not answer the agent");
            }
            (Ok(_), ProxyState::Silent) => tracing::info!("the proxy answers again"),
            (Ok(_), ProxyState::Unknown | ProxyState::Answers) | (Err(_), ProxyState::Silent) => {}
        }
        self.proxy_state = if answer.is_ok() { ProxyState::Answers } else { ProxyState::Silent };
        answer.ok()
    }
}

fn unix_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
