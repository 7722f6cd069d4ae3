//! The sampler: one round of readings, judged.
//!
//! Owns: the order of a round: targets, the proxy, the processes behind long holders, PostgreSQL's
//! newest answer, the verdicts. Refuses: publication.
//! Invariant: a part that cannot be read is `None`, and a round always ends: the proxy is given a
//! time box, PostgreSQL is asked by a task of its own.

mod cgroup;
mod discover;
mod heap;
mod peer;
mod postgres;
mod proc;
mod proxy;
mod target;
#[cfg(test)]
pub(crate) mod tests;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stent_contract::snapshot::SNAPSHOT_VERSION;
use stent_contract::{AgentSnapshot, ProxySnapshot};

pub(crate) use target::TargetReading;

use crate::attach::Attacher;
use crate::attach::event::Totals;
use crate::config::{Attribution, Config, PostgresAccess};
use crate::judge::{Judge, Judged};
use peer::PeerFinder;
use postgres::PostgresWatch;
use proxy::ProxyClient;
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
    started: Instant,
    watched: Vec<Watched>,
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
    pub(crate) fn new(config: &Config) -> Self {
        let time_box = PROXY_TIME_BOX.min(config.sample_interval);
        let endpoint = config.proxy_admin.clone();
        Self {
            started: Instant::now(),
            watched: target::watch_all(config),
            proxy: endpoint.map(|endpoint| ProxyClient::new(endpoint, time_box)),
            proxy_state: ProxyState::Unknown,
            peers: PeerFinder::new(config.root.clone()),
            postgres_access: config.postgres.clone().map(|a| (a, config.postgres_interval)),
            postgres: None,
            judge: Judge::new(config.sample_interval),
            attacher: match config.attribution {
                Attribution::On => Some(Attacher::new(&config.root)),
                Attribution::Off => None,
            },
        }
    }

    /// Takes one round: reads, asks, judges. Must run on the runtime.
    pub(crate) async fn round(&mut self) -> Round {
        if let Some((access, interval)) = self.postgres_access.take() {
            self.postgres = Some(PostgresWatch::start(access, interval));
        }
        let now = Instant::now();
        let at_unix_ms = unix_ms();
        let readings: Vec<TargetReading> =
            self.watched.iter_mut().map(|watched| watched.read(now, at_unix_ms)).collect();
        let mut proxy = self.ask_proxy().await;
        if let (Some(snapshot), Some(postgres)) = (&proxy, &self.postgres) {
            postgres.leads_through(snapshot.pid);
        }
        if let Some(snapshot) = &mut proxy {
            self.peers.fill(snapshot, &target::pids(&self.watched), now).await;
        }
        let Judged { mut targets, connections, mut diagnoses } =
            self.judge.judge(at_unix_ms, readings, proxy.as_ref());
        if let Some(attacher) = &mut self.attacher {
            attacher.round(now, at_unix_ms, &mut targets, &mut diagnoses);
        }
        let snapshot = AgentSnapshot {
            version: SNAPSHOT_VERSION,
            at_unix_ms,
            uptime_ms: millis(self.started.elapsed()),
            pid: std::process::id(),
            proxy_reachable: proxy.is_some(),
            targets,
            connections,
            diagnoses,
            postgres: self.postgres.as_ref().and_then(PostgresWatch::latest),
            heap: heap::read(),
        };
        let attaches = self.attacher.as_ref().map(|attacher| attacher.totals().clone());
        Round { snapshot, proxy, attaches }
    }

    async fn ask_proxy(&mut self) -> Option<ProxySnapshot> {
        let answer = self.proxy.as_mut()?.fetch().await;
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
