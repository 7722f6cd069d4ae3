//! Readings and the proxy's snapshot in, verdicts and diagnoses out.
//!
//! Owns: one detector of memory, one of descriptors and one of threads for each target, and one detector of held connections for the proxy.
//! Refuses: reading anything, and the clock. Invariant: a diagnosis stands for each verdict above
//! `healthy`, worst first; a target keeps its detector over all its lives and revisions, and is judged
//! beside its siblings.

mod siblings;

use std::collections::BTreeMap;
use std::time::Duration;

use stent_contract::snapshot::TargetSnapshot;
use stent_contract::{Diagnosis, ProcessReading, ProxySnapshot, Verdict, VerdictLevel};
use stent_leak::{
    CountDetector, CountSample, Counted, HeldDetector, HeldSettings, MemoryDetector, MemoryFacts,
    MemorySample, MemorySettings, explain_connections, explain_count, explain_memory,
};

use crate::event;
use crate::sample::TargetReading;

/// Watches everything that one agent watches. Detectors exist for configured targets only, so
/// their number is bounded by the configuration.
pub(crate) struct Judge {
    interval: Duration,
    memory: BTreeMap<String, MemoryDetector>,
    descriptors: BTreeMap<String, CountDetector>,
    threads: BTreeMap<String, CountDetector>,
    /// The newest revision of each target that is known.
    revisions: BTreeMap<String, String>,
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
            revisions: BTreeMap::new(),
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
        for reading in &readings {
            self.follow_revision(reading);
        }
        let siblings = siblings::of(&readings);
        for (reading, siblings) in readings.into_iter().zip(&siblings) {
            let verdict = self.judge_memory(now, &reading, siblings);
            let facts = MemoryFacts {
                reading: reading.reading.as_ref(),
                clients_waiting: self.clients_waiting,
                held_transactions: u32::try_from(held_transactions).unwrap_or(u32::MAX),
            };
            diagnoses.extend(explain_memory(&verdict, &facts));
            let [descriptors, threads] = self.judge_counts(now, &reading, siblings);
            let newest = reading.reading.as_ref();
            let counted = descriptors.iter().chain(&threads);
            diagnoses.extend(counted.filter_map(|verdict| explain_count(verdict, newest)));
            let TargetReading { name, reading, .. } = reading;
            let memory = Some(verdict);
            targets.push(TargetSnapshot {
                name,
                reading,
                memory,
                attribution: None,
                descriptors,
                threads,
                rejuvenations: None,
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

    /// Where a target is of another revision than before, its detectors are told. One that is not
    /// known is none.
    fn follow_revision(&mut self, target: &TargetReading) {
        let newest = target.reading.as_ref().and_then(|reading| reading.revision.as_ref());
        let Some(newest) = newest else { return };
        let before = self.revisions.insert(target.name.clone(), newest.clone());
        let Some(before) = before.filter(|before| before != newest) else { return };
        event::RevisionChanged { target: &target.name, before: &before, newest }.emit();
        if let Some(memory) = self.memory.get_mut(&target.name) {
            memory.change_revision();
        }
        for counts in [&mut self.descriptors, &mut self.threads] {
            if let Some(count) = counts.get_mut(&target.name) {
                count.change_revision();
            }
        }
    }

    fn judge_memory(
        &mut self,
        now: Moment,
        target: &TargetReading,
        siblings: &[String],
    ) -> Verdict {
        // It is taken out, so that the others can be looked at beside it.
        let settings = MemorySettings::every(self.interval);
        let mut detector = self
            .memory
            .remove(&target.name)
            .unwrap_or_else(|| MemoryDetector::new(target.name.clone(), settings));
        if let Some(reading) = &target.reading {
            let memory = &reading.memory;
            let sample = MemorySample {
                at_unix_ms: now.steady_ms,
                pid: reading.pid,
                started_unix_ms: reading.started_unix_ms,
                anon: memory.rss_anon.saturating_add(memory.swap),
                charged: target.charged,
                limit: memory.limit,
                heap: reading.heap,
                transactions: traffic(self.transactions, reading),
            };
            let siblings = siblings.iter().filter_map(|name| self.memory.get(name));
            detector.observe_beside(&sample, &siblings.collect::<Vec<_>>());
        }
        let verdict = Verdict { at_unix_ms: now.unix_ms, ..detector.verdict(now.steady_ms) };
        self.memory.insert(target.name.clone(), detector);
        verdict
    }

    /// Descriptors and threads; `None` where they were never counted.
    fn judge_counts(
        &mut self,
        now: Moment,
        target: &TargetReading,
        siblings: &[String],
    ) -> [Option<Verdict>; 2] {
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
                let mut detector = detectors.remove(&target.name).unwrap_or_else(new);
                let siblings = siblings.iter().filter_map(|name| detectors.get(name));
                let siblings: Vec<_> = siblings.map(CountDetector::as_sibling).collect();
                detector.observe_beside(&sample, &siblings);
                detectors.insert(target.name.clone(), detector);
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
mod tests;
