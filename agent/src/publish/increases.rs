//! Counters as increases: what CloudWatch and the embedded metric format add up.
//!
//! Owns: the last total of each counter, and what a total means when it is seen first or has
//! fallen. Refuses: gauges, which pass unchanged.
//! Invariant: an increase is never negative, and nothing that was counted before the agent started
//! is ever published as new.

use std::collections::BTreeMap;

use stent_contract::ProxySnapshot;
use stent_contract::metric::{Component, MetricId, MetricKind};

use crate::publish::points::Point;
use crate::sample::Round;

/// The most counters that are remembered; the increases of others are not published.
const COUNTERS_MAX: usize = 10_000;

type Key = (MetricId, Vec<String>);

/// The last totals.
#[derive(Debug, Default)]
pub(crate) struct Increases {
    totals: BTreeMap<Key, f64>,
    proxy: Option<Life>,
}

/// One life of the proxy.
#[derive(Clone, Copy, Debug)]
struct Life {
    pid: u32,
    uptime_ms: u64,
}

/// What a counter that was not seen before started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// It began in our sight: all of it is new.
    Zero,
    /// It may have counted for days: the first total is where we start.
    FirstTotal,
}

impl Increases {
    /// The round's points with each counter's total replaced by its increase since the last round
    /// in which it was read.
    pub(crate) fn of(&mut self, points: &[Point], round: &Round) -> Vec<Point> {
        let start = self.meet(round);
        if round.proxy.is_some() {
            // A pool that is gone and comes back counts from zero.
            self.totals.retain(|key, _| {
                !is_proxys(key.0) || points.iter().any(|p| p.metric == key.0 && p.labels == key.1)
            });
        }
        let mut increases: Vec<Point> =
            points.iter().filter_map(|point| self.increase(point, start)).collect();
        increases.extend(round.proxy.iter().flat_map(connect_failures));
        increases
    }

    /// Notes which life of the proxy the round shows, and forgets the totals of another one.
    fn meet(&mut self, round: &Round) -> Start {
        let Some(now) = round.proxy.as_ref().map(|p| Life { pid: p.pid, uptime_ms: p.uptime_ms })
        else {
            return Start::FirstTotal;
        };
        let before = self.proxy.replace(now);
        if before.is_some_and(|before| before.pid != now.pid || before.uptime_ms > now.uptime_ms) {
            self.totals.retain(|key, _| !is_proxys(key.0));
        }
        let younger = now.uptime_ms <= round.snapshot.uptime_ms;
        if before.is_some() || younger { Start::Zero } else { Start::FirstTotal }
    }

    fn increase(&mut self, point: &Point, proxys_start: Start) -> Option<Point> {
        match point.metric.row().kind {
            MetricKind::Gauge | MetricKind::Histogram(_) => return Some(point.clone()),
            MetricKind::Counter => {}
        }
        let key = (point.metric, point.labels.clone());
        if !self.totals.contains_key(&key) && self.totals.len() >= COUNTERS_MAX {
            return None;
        }
        let start = if is_proxys(point.metric) { proxys_start } else { Start::FirstTotal };
        let value = match (self.totals.insert(key, point.value), start) {
            // Fallen: what counts has started again.
            (Some(before), _) if point.value < before => point.value,
            (Some(before), _) => point.value - before,
            (None, Start::Zero) => point.value,
            (None, Start::FirstTotal) => 0.0,
        };
        assert!(value >= 0.0, "an increase is never negative");
        Some(Point { value, ..point.clone() })
    }
}

fn is_proxys(metric: MetricId) -> bool {
    metric.row().component == Component::Proxy
}

/// Failures to open a server. The snapshot carries the newest failure, for as long as it stands,
/// and no total: each round that finds one standing counts as one. So this is the time for which
/// a pool could not grow, in rounds, rather than the number of logins tried; the proxy's own page
/// has that one, by SQLSTATE.
fn connect_failures(proxy: &ProxySnapshot) -> impl Iterator<Item = Point> {
    proxy.pools.iter().map(|pool| Point {
        metric: MetricId::ConnectFailures,
        labels: vec![pool.database.clone(), pool.user.clone(), String::new()],
        value: f64::from(u8::from(pool.connect_error.is_some())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::points::points;
    use crate::tests_support::{config, pool, proxy, round};

    fn timeouts(increases: &mut Increases, round: &Round) -> Vec<f64> {
        let points = points(round, &config());
        let increases = increases.of(&points, round);
        let of = |point: &&Point| point.metric == MetricId::Timeouts;
        increases.iter().filter(of).map(|point| point.value).collect()
    }

    /// A round in which a proxy of that age and process has one pool with that many timeouts.
    fn seen(pid: u32, uptime_ms: u64, count: u64) -> Round {
        let mut pool = pool("app", "api");
        pool.totals.timeouts = count;
        let mut proxy = proxy(vec![pool]);
        (proxy.pid, proxy.uptime_ms) = (pid, uptime_ms);
        Round { proxy: Some(proxy), ..round() }
    }

    #[test]
    fn a_counter_is_published_as_its_increase() {
        let mut increases = Increases::default();
        timeouts(&mut increases, &seen(1, 1_000_000, 5));
        assert_eq!(timeouts(&mut increases, &seen(1, 1_001_000, 8)), [3.0]);
        assert_eq!(timeouts(&mut increases, &seen(1, 1_002_000, 8)), [0.0]);
    }

    #[test]
    fn what_an_older_proxy_had_counted_before_the_agent_started_is_not_new() {
        assert_eq!(timeouts(&mut Increases::default(), &seen(1, 10_000_000, 5)), [0.0]);
    }

    #[test]
    fn what_a_proxy_counted_that_started_after_the_agent_is_new() {
        assert_eq!(timeouts(&mut Increases::default(), &seen(1, 1, 5)), [5.0]);
    }

    #[test]
    fn a_restarted_proxy_counts_from_zero_and_never_backwards() {
        let mut increases = Increases::default();
        timeouts(&mut increases, &seen(1, 1_000_000, 50));
        assert_eq!(timeouts(&mut increases, &seen(2, 500, 4)), [4.0]);
        // The same process id, as in a container of its own, and already past the old total.
        assert_eq!(timeouts(&mut increases, &seen(2, 100, 60)), [60.0]);
    }

    #[test]
    fn a_round_without_the_proxy_loses_no_increase() {
        let mut increases = Increases::default();
        timeouts(&mut increases, &seen(1, 1_000_000, 5));
        assert_eq!(timeouts(&mut increases, &Round { proxy: None, ..round() }), [0.0; 0]);
        assert_eq!(timeouts(&mut increases, &seen(1, 1_002_000, 9)), [4.0]);
    }

    #[test]
    fn a_pool_that_is_new_in_a_known_proxy_counts_from_zero() {
        let mut increases = Increases::default();
        let empty = Round { proxy: Some(proxy(Vec::new())), ..round() };
        timeouts(&mut increases, &empty);
        assert_eq!(timeouts(&mut increases, &seen(empty_pid(&empty), 10_000_000, 2)), [2.0]);
    }

    fn empty_pid(round: &Round) -> u32 {
        round.proxy.as_ref().map_or(0, |proxy| proxy.pid)
    }

    #[test]
    fn oom_kills_of_before_the_agent_are_not_new_and_later_ones_are() {
        let mut increases = Increases::default();
        let mut of = |kills: u64| {
            let mut round = round();
            let reading = round.snapshot.targets[0].reading.as_mut().unwrap();
            reading.memory.oom_kills = Some(kills);
            let all = increases.of(&points(&round, &config()), &round);
            all.iter().find(|p| p.metric == MetricId::OomKills).map(|p| p.value)
        };
        assert_eq!(of(7), Some(0.0));
        assert_eq!(of(8), Some(1.0));
    }

    #[test]
    fn a_standing_connect_error_counts_once_a_round() {
        let mut failing = pool("app", "api");
        failing.connect_error = Some("refused".to_owned());
        let round = Round { proxy: Some(proxy(vec![failing, pool("app", "web")])), ..round() };
        let all = Increases::default().of(&points(&round, &config()), &round);
        let of = |p: &&Point| p.metric == MetricId::ConnectFailures;
        let values: Vec<f64> = all.iter().filter(of).map(|p| p.value).collect();
        assert_eq!(values, [1.0, 0.0]);
    }
}
