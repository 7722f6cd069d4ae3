//! Verdicts explained: one line for a pager, ranked causes, and what to do next.
//!
//! Owns: the sentences of a diagnosis. Refuses: changing a verdict, and guessing beyond the facts
//! that it was given.
//! Invariant: a diagnosis has a cause and each cause a next step; a healthy verdict has none; the
//! same facts give the same text.

mod connections;
mod counts;
mod joined;
mod memory;

pub use joined::{Surroundings, explain_all};

use stent_contract::{Diagnosis, Holder, PoolSnapshot, ProcessReading, Verdict, VerdictLevel};

/// What is known of a target beside its verdict.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryFacts<'a> {
    /// The newest reading.
    pub reading: Option<&'a ProcessReading>,
    /// Clients that wait for a server connection in all pools of the proxy in front.
    pub clients_waiting: u32,
    /// Transactions held by clients that have forgotten them.
    pub held_transactions: u32,
}

/// Explains growth of memory. `None` while the verdict is healthy.
pub fn explain_memory(verdict: &Verdict, facts: &MemoryFacts<'_>) -> Option<Diagnosis> {
    if verdict.level == VerdictLevel::Healthy {
        return None;
    }
    let mut causes = memory::causes(verdict, facts);
    causes.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    assert!(!causes.is_empty(), "a diagnosis has a cause");
    let summary = memory::summary(verdict);
    Some(Diagnosis { verdict: verdict.clone(), summary, causes, holders: Vec::new() })
}

/// Explains growth of descriptors or threads. `reading` is the newest one of the process, where there
/// is one. `None` while the verdict is healthy.
pub fn explain_count(verdict: &Verdict, reading: Option<&ProcessReading>) -> Option<Diagnosis> {
    if verdict.level == VerdictLevel::Healthy {
        return None;
    }
    let mut causes = counts::causes(verdict, reading);
    causes.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    assert!(!causes.is_empty(), "a diagnosis has a cause");
    let summary = counts::summary(verdict);
    Some(Diagnosis { verdict: verdict.clone(), summary, causes, holders: Vec::new() })
}

/// Explains held connections of one pool. `stuck` are its stuck holders, longest silence first.
/// `None` while the verdict is healthy.
pub fn explain_connections(
    verdict: &Verdict,
    stuck: Vec<Holder>,
    pool: &PoolSnapshot,
) -> Option<Diagnosis> {
    if verdict.level == VerdictLevel::Healthy {
        return None;
    }
    let mut causes = connections::causes(verdict, &stuck, pool);
    causes.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    assert!(!causes.is_empty(), "a diagnosis has a cause");
    let summary = connections::summary(verdict, &stuck, pool);
    Some(Diagnosis { verdict: verdict.clone(), summary, causes, holders: stuck })
}
