//! The proxy's `/metrics` page.
//!
//! Owns: turning a snapshot and the pools' distributions into the text format 0.0.4. A recorder is
//! built for each scrape and thrown away, so that a label set that is gone is gone from the page,
//! and nothing grows between scrapes.
//! Invariant: every name and label comes from the metric table.

use std::fmt::Write;

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit as _Unit};
use metrics_exporter_prometheus::PrometheusBuilder;
use stent_contract::metric::{CONNECT_BUCKETS, LATENCY_BUCKETS, MetricId, MetricKind};
use stent_contract::snapshot::ProxySnapshot;
use stent_wire::prepared::Outcome;

use crate::broker::Broker;
use crate::clock;
use crate::histogram::Histogram;
use crate::pool_stats::PoolStats;
use crate::strangers::Stranger;

/// This component's value of the label `component`.
const COMPONENT: &str = "proxy";

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// Renders the page.
pub(crate) fn render(broker: &Broker, snapshot: &ProxySnapshot) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let page = Page { recorder: &recorder };
    page.process(snapshot);
    page.clients(broker, snapshot);
    page.pools(broker, snapshot);
    page.classes(broker);
    let mut text = recorder.handle().render();
    histograms(broker, &mut text);
    text
}

struct Page<'a> {
    recorder: &'a metrics_exporter_prometheus::PrometheusRecorder,
}

impl Page<'_> {
    /// Sets one value of one metric of the table.
    fn set(&self, id: MetricId, labels: &[&str], value: f64) {
        let row = id.row();
        assert_eq!(row.labels.len(), labels.len(), "{} needs its labels", row.name);
        let name = KeyName::from_const_str(row.name);
        let help = SharedString::const_str(row.help);
        let values = labels.iter().map(|value| (*value).to_owned());
        let labels: Vec<Label> =
            row.labels.iter().zip(values).map(|(label, value)| Label::new(*label, value)).collect();
        let key = Key::from_parts(name.clone(), labels);
        match row.kind {
            MetricKind::Counter => {
                self.recorder.describe_counter(name, None::<_Unit>, help);
                // Counters of the table are whole numbers below 2^53.
                self.recorder.register_counter(&key, &METADATA).absolute(value as u64);
            }
            MetricKind::Gauge | MetricKind::Histogram(_) => {
                self.recorder.describe_gauge(name, None, help);
                self.recorder.register_gauge(&key, &METADATA).set(value);
            }
        }
    }

    fn process(&self, snapshot: &ProxySnapshot) {
        self.set(MetricId::BuildInfo, &[COMPONENT, env!("CARGO_PKG_VERSION")], 1.0);
        if let Some(heap) = snapshot.heap {
            self.set(MetricId::HeapAllocated, &[COMPONENT], heap.allocated as f64);
            self.set(MetricId::HeapResident, &[COMPONENT], heap.resident as f64);
        }
    }

    fn clients(&self, broker: &Broker, snapshot: &ProxySnapshot) {
        let clients = snapshot.clients;
        let states = [
            ("login", clients.login),
            ("idle", clients.idle),
            ("active", clients.active),
            ("waiting", clients.waiting),
        ];
        for (state, count) in states {
            self.set(MetricId::Clients, &[state], f64::from(count));
        }
        if let Some(fleet) = &snapshot.fleet {
            self.set(MetricId::FleetShare, &[], f64::from(fleet.share));
            self.set(MetricId::FleetLimit, &[], f64::from(fleet.limit));
            self.set(MetricId::FleetPeers, &[], f64::from(fleet.peers));
        }
        self.set(MetricId::ClientMax, &[], f64::from(clients.max));
        let inner = broker.inner();
        for (side, cause, count) in inner.disconnects.counts() {
            self.set(MetricId::Disconnects, &[side.as_str(), cause.as_str()], count as f64);
        }
        for stranger in Stranger::ALL {
            let count = inner.strangers.of(stranger);
            self.set(MetricId::Strangers, &[stranger.as_str()], count as f64);
        }
        let texts = broker.texts.lock();
        for outcome in Outcome::ALL {
            let count = texts.counts.of(outcome);
            self.set(MetricId::StatementCache, &[outcome.as_str()], count as f64);
        }
        self.set(MetricId::PlansSwitchedOff, &[], texts.counts.switched_off as f64);
        drop(texts);
        self.set(MetricId::Repeated, &[], inner.repeated as f64);
        for (hold, stage, count) in inner.held_too_long.iter() {
            self.set(MetricId::HeldTooLong, &[hold.as_str(), stage.as_str()], count as f64);
        }
        self.set(MetricId::Failovers, &[], inner.failover.count() as f64);
        let cancels = inner.cancels;
        let outcomes = [
            ("forwarded", cancels.forwarded),
            ("twin", cancels.twin),
            ("unknown_key", cancels.unknown_key),
            ("idle", cancels.idle),
            ("waiting", cancels.waiting),
            ("failed", cancels.failed),
            ("own", cancels.own),
        ];
        for (outcome, count) in outcomes {
            self.set(MetricId::CancelRequests, &[outcome], count as f64);
        }
    }

    /// Nothing where nobody waits behind others.
    fn classes(&self, broker: &Broker) {
        for (name, class) in broker.classes(clock::now()) {
            let values = [
                (MetricId::ClassWaiting, f64::from(class.waiting)),
                (MetricId::ClassMaxWait, class.maxwait.as_secs_f64()),
                (MetricId::ClassServed, class.served as f64),
                (MetricId::ClassTimeouts, class.timeouts as f64),
            ];
            for (id, value) in values {
                self.set(id, &[&name], value);
            }
        }
    }

    fn pools(&self, broker: &Broker, snapshot: &ProxySnapshot) {
        for pool in &snapshot.pools {
            let (database, user) = (pool.database.as_str(), pool.user.as_str());
            let held = pool.servers_active + pool.servers_idle_in_transaction;
            let states = [
                ("idle", pool.servers_idle),
                ("active", pool.servers_active),
                ("idle_in_transaction", pool.servers_idle_in_transaction),
                ("opening", pool.servers_opening),
                ("tested", pool.servers_tested),
                ("listening", pool.servers_listening),
            ];
            for (state, count) in states {
                self.set(MetricId::Connections, &[database, user, state], f64::from(count));
            }
            let share = f64::from(held) / f64::from(pool.size_max.max(1));
            let values = [
                (MetricId::ConnectionMax, f64::from(pool.size_max)),
                (MetricId::PoolUtilization, share),
                (MetricId::PendingRequests, f64::from(pool.clients_waiting)),
                (MetricId::MaxWait, pool.maxwait_ms as f64 / 1e3),
                (MetricId::Timeouts, pool.totals.timeouts as f64),
                (MetricId::IdleInTransactionMax, pool.idle_in_transaction_max_ms as f64 / 1e3),
                (MetricId::Transactions, pool.totals.transactions as f64),
                (MetricId::Queries, pool.totals.queries as f64),
                (MetricId::ReceivedBytes, pool.totals.received_bytes as f64),
                (MetricId::SentBytes, pool.totals.sent_bytes as f64),
                (MetricId::Paused, f64::from(u8::from(pool.paused))),
                (MetricId::ServersPinned, f64::from(pool.servers_pinned)),
                (MetricId::ClientsListening, f64::from(pool.clients_listening)),
            ];
            for (id, value) in values {
                self.set(id, &[database, user], value);
            }
        }
        for entry in broker.inner().entries.iter().filter(|entry| entry.lends()) {
            for (sqlstate, count) in &entry.open_failures {
                let labels = [&*entry.database, &*entry.user, sqlstate.as_str()];
                self.set(MetricId::ConnectFailures, &labels, *count as f64);
            }
            let pool = [&*entry.database, &*entry.user];
            let pins = entry.stats.pins.lock();
            self.set(MetricId::Inspections, &pool, pins.inspections() as f64);
            for (cause, count) in pins.by_cause() {
                self.set(MetricId::Pins, &[pool[0], pool[1], cause.as_str()], count as f64);
            }
            let heard = entry.hub().map(|hub| hub.counts.totals()).unwrap_or_default();
            self.set(MetricId::Notifications, &pool, heard.delivered as f64);
            self.set(MetricId::NotificationsLost, &pool, heard.lost as f64);
            self.set(MetricId::ListenInterruptions, &pool, heard.interruptions as f64);
        }
    }
}

/// Picks one distribution of a pool.
type Pick = fn(&PoolStats) -> &Histogram;

/// The distributions, which are counted in place and need no recorder.
fn histograms(broker: &Broker, out: &mut String) {
    let inner = broker.inner();
    let families: [(MetricId, &'static [f64], Pick); 3] = [
        (MetricId::WaitTime, LATENCY_BUCKETS, |stats| &stats.wait),
        (MetricId::UseTime, LATENCY_BUCKETS, |stats| &stats.hold),
        (MetricId::CreateTime, CONNECT_BUCKETS, |stats| &stats.create),
    ];
    for (id, bounds, pick) in families {
        let row = id.row();
        if inner.entries.is_empty() {
            continue;
        }
        let _ = writeln!(out, "# HELP {} {}", row.name, row.help);
        let _ = writeln!(out, "# TYPE {} histogram", row.name);
        for entry in inner.entries.iter().filter(|entry| entry.lends()) {
            let mut labels = String::new();
            for (label, value) in row.labels.iter().zip([&entry.database, &entry.user]) {
                let comma = if labels.is_empty() { "" } else { "," };
                let _ = write!(labels, "{comma}{label}=\"{}\"", escape(value));
            }
            entry.stats.distribution(bounds, pick).render(row.name, &labels, out);
        }
    }
}

/// A label's value in the text format.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
