//! The sampler: one round of readings, judged.
//!
//! Owns: the order of a round and the time it may take.
//! Refuses: publication. Invariant: a part that cannot be read is `None`; a round always ends.

use stent_contract::{AgentSnapshot, ProxySnapshot};

use crate::config::Config;

/// What one round saw and concluded.
pub(crate) struct Round {
    /// The agent's side, verdicts included.
    pub snapshot: AgentSnapshot,
    /// The proxy's side, where it answered.
    pub proxy: Option<ProxySnapshot>,
}

/// Takes rounds.
pub(crate) struct Sampler {
    config: Config,
}

impl Sampler {
    /// A sampler of what `config` names. Nothing is opened yet.
    pub(crate) fn new(config: &Config) -> Self {
        Self { config: config.clone() }
    }

    /// Takes one round: reads, asks, judges.
    pub(crate) async fn round(&mut self) -> Round {
        unreachable!("being written: {}", self.config.targets.len())
    }
}
