//! The points of a round: what the metric table says of what was read.
//!
//! Owns: the way from the DTOs to (metric, label values, value), for every publisher alike.
//! Refuses: names (the table's) and what a publisher makes of a point.
//! Invariant: a point has as many label values as its row has labels, and its value is finite;
//! what was not read gives no point, never a zero.

use stent_contract::metric::{Component, MetricId};
use stent_contract::snapshot::TargetSnapshot;
use stent_contract::{
    AgentSnapshot, CauseKind, PoolSnapshot, PostgresReading, ProcessReading, ProxySnapshot,
    Resource, Verdict,
};

use crate::attach::event::Totals;
use crate::config::Config;
use crate::sample::Round;

/// This process's value of the label `component`.
const COMPONENT: &str = "agent";

/// The evidence of a verdict on connections that counts the stuck ones (`stent_leak::held`).
const STUCK: &str = "held_transactions";

/// One value of one metric. Counters are totals, as far back as their source counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    /// The row of the table.
    pub(crate) metric: MetricId,
    /// One value for each label of the row, in its order.
    pub(crate) labels: Vec<String>,
    /// In the row's unit.
    pub(crate) value: f64,
}

/// The points of a round: the agent's own, and those that it knows from the proxy's snapshot.
pub(crate) fn points(round: &Round, config: &Config) -> Vec<Point> {
    let mut list = List(Vec::new());
    list.process(&round.snapshot);
    list.causes(&round.snapshot);
    for target in &round.snapshot.targets {
        list.target(target);
    }
    for verdict in &round.snapshot.connections {
        list.verdict(verdict);
    }
    if let Some(totals) = &round.attaches {
        list.attaches(totals);
    }
    if config.postgres.is_some() {
        list.postgres(round.snapshot.postgres.as_ref());
    }
    if let Some(proxy) = &round.proxy {
        list.proxy(proxy);
        for pool in &proxy.pools {
            list.pool(pool);
            list.stuck(pool, &round.snapshot.connections);
        }
    }
    list.0
}

/// Whether the agent's own page shows this metric; the proxy's page shows the others.
pub(crate) fn is_own(metric: MetricId) -> bool {
    match metric.row().component {
        Component::Agent | Component::Each => true,
        Component::Proxy | Component::Supervisor => false,
    }
}

struct List(Vec<Point>);

impl List {
    fn add(&mut self, metric: MetricId, labels: &[&str], value: f64) {
        assert_eq!(metric.row().labels.len(), labels.len(), "{} has its labels", metric.row().name);
        if value.is_finite() {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            self.0.push(Point { metric, labels, value });
        }
    }

    /// As [`Self::add`], where there may be nothing to add.
    fn maybe(&mut self, metric: MetricId, labels: &[&str], value: Option<f64>) {
        if let Some(value) = value {
            self.add(metric, labels, value);
        }
    }

    fn process(&mut self, agent: &AgentSnapshot) {
        self.add(MetricId::BuildInfo, &[COMPONENT, env!("CARGO_PKG_VERSION")], 1.0);
        self.add(MetricId::Heartbeat, &[], seconds(agent.at_unix_ms));
        if let Some(heap) = agent.heap {
            self.add(MetricId::HeapAllocated, &[COMPONENT], heap.allocated as f64);
            self.add(MetricId::HeapResident, &[COMPONENT], heap.resident as f64);
        }
        for skipped in &agent.skipped {
            let labels = [&*skipped.target, &*skipped.source, &*skipped.reason];
            self.add(MetricId::ReadingsSkipped, &labels, skipped.count as f64);
        }
    }

    fn causes(&mut self, agent: &AgentSnapshot) {
        let causes = agent.explanation.as_ref().map_or(&[][..], |explanation| &explanation.causes);
        for kind in CauseKind::ALL {
            let of_kind = causes.iter().filter(|cause| cause.kind == kind);
            let confidence = of_kind.map(|cause| cause.confidence).fold(0.0, f64::max);
            self.add(MetricId::CauseConfidence, &[kind.as_str()], confidence);
        }
    }

    fn target(&mut self, target: &TargetSnapshot) {
        if let Some(reading) = &target.reading {
            self.reading(&target.name, reading);
        }
        let rejuvenations = target.rejuvenations.map(|count| count as f64);
        self.maybe(MetricId::Rejuvenations, &[&target.name], rejuvenations);
        for verdict in target.descriptors.iter().chain(&target.threads) {
            self.verdict(verdict);
        }
        if let Some(verdict) = &target.memory {
            self.verdict(verdict);
            let labels = &[target.name.as_str()];
            self.add(MetricId::MemoryGrowth, labels, verdict.growth_per_hour);
            self.maybe(MetricId::TimeToLimit, labels, verdict.seconds_to_limit);
        }
    }

    fn reading(&mut self, target: &str, reading: &ProcessReading) {
        let memory = &reading.memory;
        let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
        let kinds = [
            ("anon", Some(memory.rss_anon)),
            ("file", Some(memory.rss_file)),
            ("shmem", Some(memory.rss_shmem)),
            ("swap", Some(memory.swap)),
            ("pss", memory.pss),
            ("heap", reading.heap),
        ];
        for (kind, size) in kinds {
            self.maybe(MetricId::ProcessMemory, &[target, kind], bytes(size));
        }
        self.maybe(MetricId::ProcessFds, &[target], reading.file_descriptors.map(f64::from));
        self.maybe(MetricId::ProcessThreads, &[target], reading.threads.map(f64::from));
        self.maybe(MetricId::ProcessCpu, &[target], reading.cpu_seconds);
        self.maybe(MetricId::ContainerMemory, &[target], bytes(memory.cgroup_usage));
        self.maybe(MetricId::ContainerMemoryLimit, &[target], bytes(memory.limit));
        self.maybe(MetricId::ContainerSwap, &[target], bytes(memory.cgroup_swap));
        self.maybe(MetricId::OomKills, &[target], bytes(memory.oom_kills));
        self.kinds(target, reading);
    }

    fn kinds(&mut self, target: &str, reading: &ProcessReading) {
        if let Some(of) = reading.descriptor_kinds {
            let kinds = [
                ("file", of.files),
                ("socket", of.sockets),
                ("pipe", of.pipes),
                ("event", of.events),
                ("other", of.others),
            ];
            for (kind, count) in kinds {
                self.add(MetricId::DescriptorKinds, &[target, kind], f64::from(count));
            }
        }
        if let Some(of) = reading.sockets {
            let states =
                [("in_use", of.in_use), ("orphaned", of.orphaned), ("time_wait", of.time_wait)];
            for (state, count) in states {
                self.add(MetricId::TargetSockets, &[target, state], f64::from(count));
            }
        }
        if let Some(of) = reading.pressure {
            for (kind, pressure) in [("some", of.some), ("full", of.full)] {
                self.add(MetricId::MemoryPressure, &[target, kind], pressure.share);
                self.add(MetricId::MemoryPressureTime, &[target, kind], pressure.total_seconds);
            }
        }
    }

    fn verdict(&mut self, verdict: &Verdict) {
        let labels = &[verdict.target.as_str(), verdict.resource.as_str()];
        self.add(MetricId::LeakVerdict, labels, f64::from(verdict.level as u8));
        self.add(MetricId::LeakConfidence, labels, verdict.confidence);
    }

    fn attaches(&mut self, totals: &Totals) {
        for ((means, outcome), count) in &totals.looks {
            self.add(MetricId::Attaches, &[means.as_str(), outcome.as_str()], *count as f64);
        }
        self.add(MetricId::AttachedTime, &[], totals.attached.as_secs_f64());
        self.add(MetricId::AttachPauseMax, &[], totals.largest_pause.as_secs_f64());
    }

    fn postgres(&mut self, reading: Option<&PostgresReading>) {
        self.add(MetricId::PostgresUp, &[], f64::from(u8::from(reading.is_some())));
        let Some(reading) = reading else { return };
        self.add(MetricId::PostgresMaxConnections, &[], f64::from(reading.max_connections));
        let idle = seconds(reading.idle_in_transaction_max_ms);
        self.add(MetricId::PostgresIdleInTransactionMax, &[], idle);
        for group in &reading.connections {
            let labels = [&*group.state, &*group.user, &*group.application_name];
            self.add(MetricId::PostgresConnections, &labels, f64::from(group.count));
        }
    }

    fn proxy(&mut self, proxy: &ProxySnapshot) {
        let clients = proxy.clients;
        let states = [
            ("login", clients.login),
            ("idle", clients.idle),
            ("active", clients.active),
            ("waiting", clients.waiting),
        ];
        for (state, count) in states {
            self.add(MetricId::Clients, &[state], f64::from(count));
        }
        self.add(MetricId::ClientMax, &[], f64::from(clients.max));
    }

    fn pool(&mut self, pool: &PoolSnapshot) {
        let states = [
            ("idle", pool.servers_idle),
            ("active", pool.servers_active),
            ("idle_in_transaction", pool.servers_idle_in_transaction),
            ("opening", pool.servers_opening),
            ("tested", pool.servers_tested),
        ];
        let labels = [&*pool.database, &*pool.user];
        for (state, count) in states {
            self.add(MetricId::Connections, &[labels[0], labels[1], state], f64::from(count));
        }
        let held = f64::from(pool.servers_active + pool.servers_idle_in_transaction);
        let values = [
            (MetricId::ConnectionMax, f64::from(pool.size_max)),
            (MetricId::PoolUtilization, held / f64::from(pool.size_max.max(1))),
            (MetricId::PendingRequests, f64::from(pool.clients_waiting)),
            (MetricId::MaxWait, seconds(pool.maxwait_ms)),
            (MetricId::IdleInTransactionMax, seconds(pool.idle_in_transaction_max_ms)),
            (MetricId::Timeouts, pool.totals.timeouts as f64),
            (MetricId::Transactions, pool.totals.transactions as f64),
            (MetricId::Queries, pool.totals.queries as f64),
            (MetricId::ReceivedBytes, pool.totals.received_bytes as f64),
            (MetricId::SentBytes, pool.totals.sent_bytes as f64),
            (MetricId::Paused, f64::from(u8::from(pool.paused))),
        ];
        for (metric, value) in values {
            self.add(metric, &labels, value);
        }
    }

    /// A pool without a verdict has not been judged, and then there is nothing to say.
    fn stuck(&mut self, pool: &PoolSnapshot, verdicts: &[Verdict]) {
        let target = format!("{}/{}", pool.database, pool.user);
        let verdict =
            verdicts.iter().find(|v| v.resource == Resource::Connections && v.target == target);
        let count = verdict.map(|verdict| {
            verdict.evidence.iter().find(|e| e.key == STUCK).map_or(0.0, |evidence| evidence.value)
        });
        self.maybe(MetricId::StuckConnections, &[&pool.database, &pool.user], count);
    }
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1_000.0
}
