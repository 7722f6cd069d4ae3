//! What an alarmed metric's roll-up is in a snapshot.
//!
//! Owns: the way from the snapshot's fields to the figure that the agent would publish for an alarm.
//! Refuses: thresholds, and figures that a snapshot does not hold.
//! Invariant: what is unknown is `None`, never zero.

use stent_contract::alarm::{Aggregation, Alarm};
use stent_contract::{
    AgentSnapshot, MetricId, PoolSnapshot, ProxySnapshot, Resource, Snapshot, Verdict,
};

/// Where an alarm's figure comes from, and how it behaves from one snapshot to the next.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// A value of the moment.
    Gauge(fn(&Alarm, &Snapshot) -> Option<f64>),
    /// A total; its increase is the figure.
    Total(fn(&Snapshot) -> Option<f64>),
    /// Events that a snapshot shows as long as they are the newest: one each time it is looked at.
    Standing(fn(&Snapshot) -> Option<f64>),
    /// 1 while there; 0 once it is not there any more; `None` where nobody can tell.
    Presence(fn(&Snapshot) -> Option<bool>),
    /// A moment; one point whenever it has moved on.
    Beat(fn(&Snapshot) -> Option<u64>),
}

/// The source of each alarmed metric.
const SOURCES: &[(MetricId, Source)] = &[
    (MetricId::PoolUtilization, Source::Gauge(|_, now| worst_pool(now, utilization))),
    (MetricId::MaxWait, Source::Gauge(|_, now| worst_pool(now, |p| seconds(p.maxwait_ms)))),
    (
        MetricId::IdleInTransactionMax,
        Source::Gauge(|_, now| worst_pool(now, |p| seconds(p.idle_in_transaction_max_ms))),
    ),
    (MetricId::Timeouts, Source::Total(timeouts)),
    (MetricId::ConnectFailures, Source::Standing(connect_errors)),
    (MetricId::Clients, Source::Beat(|now| now.proxy.as_ref().map(|proxy| proxy.at_unix_ms))),
    (MetricId::Heartbeat, Source::Beat(|now| now.agent.as_ref().map(|agent| agent.at_unix_ms))),
    (MetricId::LeakVerdict, Source::Gauge(verdict)),
    (MetricId::TimeToLimit, Source::Gauge(|_, now| time_to_limit(now))),
    (MetricId::OomKills, Source::Total(oom_kills)),
    (MetricId::Rejuvenations, Source::Total(rejuvenations)),
    (MetricId::PostgresConnections, Source::Gauge(|_, now| postgres_connections(now))),
    (
        MetricId::PostgresUp,
        Source::Presence(|now| now.agent.as_ref().map(|agent| agent.postgres.is_some())),
    ),
];

/// The source of an alarm's figure, `None` where a snapshot does not hold it.
pub(crate) fn source(alarm: &Alarm) -> Option<Source> {
    SOURCES.iter().find(|(metric, _)| *metric == alarm.metric).map(|(_, source)| *source)
}

fn worst_pool(now: &Snapshot, figure: fn(&PoolSnapshot) -> f64) -> Option<f64> {
    Aggregation::Max.fold(now.proxy.iter().flat_map(|proxy| &proxy.pools).map(figure))
}

fn utilization(pool: &PoolSnapshot) -> f64 {
    let held = pool.servers_active + pool.servers_idle_in_transaction;
    f64::from(held) / f64::from(pool.size_max.max(1))
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1_000.0
}

fn timeouts(now: &Snapshot) -> Option<f64> {
    let of = |proxy: &ProxySnapshot| proxy.pools.iter().map(|p| p.totals.timeouts).sum::<u64>();
    now.proxy.as_ref().map(|proxy| of(proxy) as f64)
}

fn connect_errors(now: &Snapshot) -> Option<f64> {
    let of = |proxy: &ProxySnapshot| {
        proxy.pools.iter().filter(|pool| pool.connect_error.is_some()).count()
    };
    now.proxy.as_ref().map(|proxy| of(proxy) as f64)
}

fn verdict(alarm: &Alarm, now: &Snapshot) -> Option<f64> {
    let agent = now.agent.as_ref()?;
    let asked = |verdict: &&Verdict| {
        let resource = verdict.resource.as_str();
        alarm.selector.iter().all(|(_, value)| *value == resource)
    };
    let levels = verdicts(agent).filter(asked).map(|verdict| f64::from(verdict.level as u8));
    Aggregation::Max.fold(levels)
}

fn verdicts(agent: &AgentSnapshot) -> impl Iterator<Item = &Verdict> {
    let of_targets = agent
        .targets
        .iter()
        .flat_map(|target| target.memory.iter().chain(&target.descriptors).chain(&target.threads));
    of_targets.chain(&agent.connections)
}

fn time_to_limit(now: &Snapshot) -> Option<f64> {
    let agent = now.agent.as_ref()?;
    let memory = verdicts(agent).filter(|verdict| verdict.resource == Resource::Memory);
    Aggregation::Min.fold(memory.filter_map(|verdict| verdict.seconds_to_limit))
}

fn oom_kills(now: &Snapshot) -> Option<f64> {
    let readings = now.agent.iter().flat_map(|agent| &agent.targets);
    let kills = readings.filter_map(|target| target.reading.as_ref()?.memory.oom_kills);
    Aggregation::Sum.fold(kills.map(|kills| kills as f64))
}

fn rejuvenations(now: &Snapshot) -> Option<f64> {
    let targets = now.agent.iter().flat_map(|agent| &agent.targets);
    let restarts = targets.filter_map(|target| target.rejuvenations);
    Aggregation::Sum.fold(restarts.map(|restarts| restarts as f64))
}

fn postgres_connections(now: &Snapshot) -> Option<f64> {
    let reading = now.agent.as_ref()?.postgres.as_ref()?;
    Some(reading.connections.iter().map(|group| f64::from(group.count)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stent_contract::alarm::ALARMS;

    #[test]
    fn every_alarm_has_a_figure_in_the_snapshot() {
        for alarm in ALARMS {
            assert!(source(alarm).is_some(), "{} cannot be observed", alarm.name);
        }
    }
}
