//! Changes of the books that PostgreSQL has not confirmed.
//!
//! A pipeline is read before its answers are known: a name is registered by a Parse that PostgreSQL
//! may yet skip. Within a round that does no harm, for what follows is skipped too; a later round
//! is executed all the same.
//! Invariant: what depends on an unconfirmed change of an earlier round waits until it is answered.

use std::hash::{BuildHasher, BuildHasherDefault};

use rustc_hash::{FxHashMap, FxHasher};

use crate::ledger::Ledger;

/// How many changes are kept before those long answered are sorted out.
const SORTED_OUT_AT: usize = 4_096;
/// How much room is kept where nothing is pending.
const CAPACITY_KEPT: usize = 64;

/// The round of each change, by name or number of a statement. Two names may share a key: then one
/// waits for the other without need.
#[derive(Debug, Default)]
pub(super) struct Pending {
    rounds: FxHashMap<u64, u64>,
    /// The round of a statement that may change everything.
    all: Option<u64>,
}

impl Pending {
    /// The key of a client's name.
    pub(super) fn name(name: &[u8]) -> u64 {
        BuildHasherDefault::<FxHasher>::default().hash_one(name)
    }

    /// The request that is about to go changes what this key stands for.
    pub(super) fn note(&mut self, key: u64, ledger: &Ledger) {
        if self.rounds.len() >= SORTED_OUT_AT {
            let first = ledger.first_unanswered();
            self.rounds.retain(|_, round| *round >= first);
        }
        self.rounds.insert(key, ledger.round());
        assert!(!self.is_empty(), "a change is pending from here on");
    }

    /// The request that is about to go may make the server forget every statement.
    pub(super) fn note_all(&mut self, ledger: &Ledger) {
        self.all = Some(ledger.round());
    }

    /// Whether there is nothing in here. What has been answered may still be.
    pub(super) fn is_empty(&self) -> bool {
        self.rounds.is_empty() && self.all.is_none()
    }

    /// Whether a request that depends on this key must wait.
    pub(super) fn is_undecided(&mut self, key: u64, ledger: &Ledger) -> bool {
        if self.is_empty() {
            return false;
        }
        if ledger.is_settled() {
            self.rounds.clear();
            self.rounds.shrink_to(CAPACITY_KEPT);
            self.all = None;
            return false;
        }
        assert!(!self.is_empty() && !ledger.is_settled(), "something is unanswered");
        let rounds = [self.rounds.get(&key).copied(), self.all];
        rounds.into_iter().flatten().any(|round| ledger.is_undecided(round))
    }
}
