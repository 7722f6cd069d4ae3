//! Readings and the proxy's snapshot in, verdicts and diagnoses out.
//!
//! Owns: one detector of memory, one of descriptors and one of threads for each target, and one detector of held connections for the proxy.
//! Refuses: reading anything, and the clock. Invariant: a diagnosis stands for each verdict above
//! `healthy`, worst first; a target keeps its detector over all its lives.

use std::collections::BTreeMap;
use std::time::Duration;

use stent_contract::snapshot::TargetSnapshot;
use stent_contract::{Diagnosis, ProcessReading, ProxySnapshot, Verdict, VerdictLevel};
use stent_leak::{
    CountDetector, CountSample, Counted, HeldDetector, HeldSettings, MemoryDetector, MemoryFacts,
    MemorySample, MemorySettings, explain_connections, explain_count, explain_memory,
};

use crate::sample::TargetReading;

/// Watches everything that one agent watches. Detectors exist for configured targets only, so
/// their number is bounded by the configuration.
pub(crate) struct Judge {
    interval: Duration,
    memory: BTreeMap<String, MemoryDetector>,
    descriptors: BTreeMap<String, CountDetector>,
    threads: BTreeMap<String, CountDetector>,
    held: HeldDetector,
    /// The proxy's newest count of transactions: the traffic.
    transactions: Option<u64>,
    clients_waiting: u32,
}

/// When a round is, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The wall clock, milliseconds since the Unix epoch: what is published.
    pub(crate) unix_ms: u64,
    /// The same at the agent's start, and from then on by a clock that nobody sets: a series that
    /// went back by a day would be blind for a day.
    pub(crate) steady_ms: u64,
}

/// The conclusions of a round.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) targets: Vec<TargetSnapshot>,
    pub(crate) connections: Vec<Verdict>,
    pub(crate) diagnoses: Vec<Diagnosis>,
}

impl Judge {
    /// A judge that has seen nothing. Readings come each `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            memory: BTreeMap::new(),
            descriptors: BTreeMap::new(),
            threads: BTreeMap::new(),
            held: HeldDetector::new(HeldSettings::default()),
            transactions: None,
            clients_waiting: 0,
        }
    }

    /// Takes a round and says what stands.
    pub(crate) fn judge(
        &mut self,
        now: Moment,
        readings: Vec<TargetReading>,
        proxy: Option<&ProxySnapshot>,
    ) -> Judged {
        if let Some(proxy) = proxy {
            self.observe_proxy(proxy);
        }
        // The proxy stamps its snapshots a moment after the round began.
        let proxy_ms = proxy.map_or(now.unix_ms, |proxy| proxy.at_unix_ms.max(now.unix_ms));
        let connections = self.held.verdicts(proxy_ms);
        let mut diagnoses: Vec<Diagnosis> =
            connections.iter().filter_map(|verdict| self.explain_held(verdict)).collect();
        let held_transactions: usize = diagnoses.iter().map(|held| held.holders.len()).sum();

        let mut targets = Vec::with_capacity(readings.len());
        for reading in readings {
            let verdict = self.judge_memory(now, &reading);
            let facts = MemoryFacts {
                reading: reading.reading.as_ref(),
                clients_waiting: self.clients_waiting,
                held_transactions: u32::try_from(held_transactions).unwrap_or(u32::MAX),
            };
            diagnoses.extend(explain_memory(&verdict, &facts));
            let [descriptors, threads] = self.judge_counts(now, &reading);
            let pid = reading.reading.as_ref().map(|reading| reading.pid);
            let counted = descriptors.iter().chain(&threads);
            diagnoses.extend(counted.filter_map(|verdict| explain_count(verdict, pid)));
            let TargetReading { name, reading, .. } = reading;
            let memory = Some(verdict);
            targets.push(TargetSnapshot {
                name,
                reading,
                memory,
                attribution: None,
                descriptors,
                threads,
            });
        }
        diagnoses.sort_by(|a, b| {
            let (a, b) = (&a.verdict, &b.verdict);
            b.level.cmp(&a.level).then(b.confidence.total_cmp(&a.confidence))
        });
        debug_assert!(diagnoses.iter().all(|d| d.verdict.level > VerdictLevel::Healthy));
        Judged { targets, connections, diagnoses }
    }

    fn observe_proxy(&mut self, proxy: &ProxySnapshot) {
        self.held.observe(proxy);
        self.transactions = Some(proxy.pools.iter().map(|p| p.totals.transactions).sum());
        self.clients_waiting = proxy.pools.iter().map(|pool| pool.clients_waiting).sum();
    }

    fn explain_held(&self, verdict: &Verdict) -> Option<Diagnosis> {
        let pool = self.held.census(&verdict.target)?;
        explain_connections(verdict, self.held.stuck(&verdict.target), pool)
    }

    fn judge_memory(&mut self, now: Moment, target: &TargetReading) -> Verdict {
        let interval = self.interval;
        let detector = self.memory.entry(target.name.clone()).or_insert_with(|| {
            MemoryDetector::new(target.name.clone(), MemorySettings::every(interval))
        });
        if let Some(reading) = &target.reading {
            let memory = &reading.memory;
            detector.observe(&MemorySample {
                at_unix_ms: now.steady_ms,
                pid: reading.pid,
                started_unix_ms: reading.started_unix_ms,
                anon: memory.rss_anon.saturating_add(memory.swap),
                charged: target.charged,
                limit: memory.limit,
                heap: reading.heap,
                transactions: traffic(self.transactions, reading),
            });
        }
        Verdict { at_unix_ms: now.unix_ms, ..detector.verdict(now.steady_ms) }
    }

    /// Descriptors and threads; `None` where they were never counted.
    fn judge_counts(&mut self, now: Moment, target: &TargetReading) -> [Option<Verdict>; 2] {
        let count = |of: fn(&ProcessReading) -> Option<u32>, limit: Option<u64>| {
            let reading = target.reading.as_ref()?;
            Some(CountSample {
                at_unix_ms: now.steady_ms,
                pid: reading.pid,
                started_unix_ms: reading.started_unix_ms,
                count: of(reading)?,
                limit,
                transactions: traffic(self.transactions, reading),
            })
        };
        let descriptors = count(|reading| reading.file_descriptors, target.descriptors_max);
        let threads = count(|reading| reading.threads, target.threads_max);
        let counted = [
            (&mut self.descriptors, Counted::Descriptors, descriptors),
            (&mut self.threads, Counted::Threads, threads),
        ];
        counted.map(|(detectors, what, sample)| {
            if let Some(sample) = sample {
                let new = || CountDetector::new(target.name.clone(), what, self.interval);
                detectors.entry(target.name.clone()).or_insert_with(new).observe(&sample);
            }
            let detector = detectors.get(&target.name)?;
            Some(Verdict { at_unix_ms: now.unix_ms, ..detector.verdict(now.steady_ms) })
        })
    }
}

/// Work done so far: the proxy's transactions, or what the target itself counts. Of a proxy that
/// nobody uses, nothing can be learnt about the traffic.
fn traffic(transactions: Option<u64>, reading: &ProcessReading) -> Option<u64> {
    transactions.filter(|n| *n > 0).or(reading.requests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stent_contract::{LeakClass, MemoryReading, Resource};

    const START_MS: u64 = 1_700_000_000_000;

    /// A target that grows by a megabyte a second.
    fn leaking(second: u64) -> TargetReading {
        let memory = MemoryReading {
            rss_anon: 40_000_000 + second * 1_000_000,
            limit: Some(1_000_000_000),
            ..MemoryReading::default()
        };
        let reading = ProcessReading {
            at_unix_ms: START_MS + second * 1_000,
            pid: 7,
            command: "bun".to_owned(),
            started_unix_ms: START_MS,
            memory,
            ..ProcessReading::default()
        };
        let charged = memory.rss_anon;
        let reading = Some(reading);
        TargetReading { name: "api".to_owned(), charged, reading, ..TargetReading::default() }
    }

    fn at(unix_ms: u64) -> Moment {
        Moment { unix_ms, steady_ms: unix_ms }
    }

    #[test]
    fn a_clock_set_by_a_day_in_the_middle_of_a_leak_changes_nothing_but_the_date() {
        const DAY_MS: u64 = 86_400_000;
        for set in [|ms: u64| ms + DAY_MS, |ms: u64| ms - DAY_MS] {
            let mut judge = Judge::new(Duration::from_secs(1));
            let mut last = None;
            for second in 0..300 {
                let steady_ms = START_MS + second * 1_000;
                let unix_ms = if second < 150 { steady_ms } else { set(steady_ms) };
                let mut target = leaking(second);
                target.reading.as_mut().unwrap().at_unix_ms = unix_ms;
                last = Some(judge.judge(Moment { unix_ms, steady_ms }, vec![target], None));
            }
            let verdict = last.unwrap().targets.remove(0).memory.unwrap();
            assert_eq!(verdict.level, VerdictLevel::Leak);
            assert_eq!(verdict.at_unix_ms, set(START_MS + 299_000));
            assert!((3.4e9..3.8e9).contains(&verdict.growth_per_hour), "{verdict:?}");
        }
    }

    #[test]
    fn counters_that_go_back_are_a_new_beginning_and_no_traffic_of_their_own() {
        let mut judge = Judge::new(Duration::from_secs(1));
        let mut last = None;
        for second in 0..300 {
            let now = START_MS + second * 1_000;
            let mut proxy = crate::sample::tests::proxy_snapshot(now, Vec::new());
            // The proxy is restarted again and again.
            proxy.pools[0].totals.transactions = (second % 50) * 100;
            let mut target = leaking(second);
            let reading = target.reading.as_mut().unwrap();
            reading.cpu_seconds = Some(50.0 - (second % 7) as f64);
            reading.memory.oom_kills = Some(9 - second % 9);
            last = Some(judge.judge(at(now), vec![target], Some(&proxy)));
        }
        let verdict = last.unwrap().targets.remove(0).memory.unwrap();
        assert_eq!(verdict.level, VerdictLevel::Leak);
        let each = verdict.evidence.iter().find(|e| e.key == "bytes_per_transaction");
        // 100 transactions a second of a megabyte.
        assert!(each.is_none_or(|each| (9e3..2e4).contains(&each.value)), "{each:?}");
    }

    #[test]
    fn each_target_has_its_own_verdict_and_only_the_leaking_one_a_diagnosis() {
        let mut judge = Judge::new(Duration::from_secs(1));
        let mut last = None;
        for second in 0..300 {
            let absent = TargetReading { name: "worker".to_owned(), ..TargetReading::default() };
            let round = vec![absent, leaking(second)];
            last = Some(judge.judge(at(START_MS + second * 1_000), round, None));
        }
        let judged = last.unwrap();
        let levels: Vec<_> = judged
            .targets
            .iter()
            .map(|target| (target.name.as_str(), target.memory.as_ref().unwrap().level))
            .collect();
        assert_eq!(levels, [("worker", VerdictLevel::Healthy), ("api", VerdictLevel::Leak)]);
        assert_eq!(judged.diagnoses.len(), 1);
        assert_eq!(judged.diagnoses[0].verdict.resource, Resource::Memory);
        assert!(judged.diagnoses[0].summary.starts_with("'api' leaks memory: 3.60 GB/h"));
    }

    #[test]
    fn the_worst_diagnosis_comes_first_and_transactions_are_the_traffic() {
        let mut judge = Judge::new(Duration::from_secs(1));
        let mut last = None;
        for second in 0..300 {
            let now = START_MS + second * 1_000;
            // In the end one transaction is silent for seven seconds: a suspect beside the leak.
            let silence = (second > 292).then(|| (second - 292) * 1_000);
            let holder = silence.map(|ms| crate::sample::tests::silent_holder(1, "unix", ms));
            let holders = holder.into_iter().collect();
            let mut proxy = crate::sample::tests::proxy_snapshot(now, holders);
            proxy.pools[0].totals.transactions = second * 100;
            last = Some(judge.judge(at(now), vec![leaking(second)], Some(&proxy)));
        }
        let judged = last.unwrap();
        let levels: Vec<_> = judged.diagnoses.iter().map(|d| d.verdict.level).collect();
        assert_eq!(levels, [VerdictLevel::Leak, VerdictLevel::Suspect]);
        let keys: Vec<_> =
            judged.diagnoses[0].verdict.evidence.iter().map(|e| e.key.as_str()).collect();
        assert!(keys.contains(&"bytes_per_transaction"), "{keys:?}");
    }

    #[test]
    fn descriptors_that_are_never_closed_are_a_leak_with_the_way_to_their_limit() {
        let mut judge = Judge::new(Duration::from_secs(1));
        let mut last = None;
        for second in 0..250 {
            let mut target = leaking(0);
            let reading = target.reading.as_mut().unwrap();
            reading.at_unix_ms = START_MS + second * 1_000;
            reading.file_descriptors = Some(30 + 3 * second as u32);
            reading.threads = Some(12);
            target.descriptors_max = Some(1_024);
            last = Some(judge.judge(at(START_MS + second * 1_000), vec![target], None));
        }
        let judged = last.unwrap();
        let target = &judged.targets[0];
        let (descriptors, threads) = (target.descriptors.as_ref(), target.threads.as_ref());
        let descriptors = descriptors.unwrap();
        assert_eq!(descriptors.resource, Resource::Descriptors);
        assert_eq!(
            (descriptors.level, descriptors.class),
            (VerdictLevel::Leak, LeakClass::DescriptorLeak)
        );
        let left = descriptors.seconds_to_limit.unwrap();
        assert!((60.0..110.0).contains(&left), "82 s are left: {left}");
        assert_eq!(threads.unwrap().level, VerdictLevel::Healthy);
        let said: Vec<_> = judged.diagnoses.iter().map(|d| d.summary.as_str()).collect();
        assert!(said[0].starts_with("'api' leaks descriptors: 10"), "{said:?}");
        assert_eq!(said.len(), 1);
    }
}
