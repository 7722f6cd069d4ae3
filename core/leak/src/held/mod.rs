//! The detector of held connections: the proxy's holders in, a verdict for each pool out.
//!
//! Owns: who has been silent in an open transaction for too long, and what is too long for this
//! pool. Refuses: judging work. A statement that runs is never held against its client, and a
//! transaction that keeps talking is not either, however long it takes.
//! Invariant: pools and holders are capped ([`POOLS_MAX`], [`HOLDERS_MAX`]); a pause counts as
//! ordinary only when the client itself ended it.
//!
//! A holder is *stuck* when it has been idle in a transaction for longer than
//! `max(stuck_min, think_factor * p99 of the pool's finished pauses)`, at most `stuck_max`.

mod report;

use std::collections::BTreeMap;
use std::time::Duration;

use stent_contract::snapshot::{Disconnect, HOLDERS_MAX};
use stent_contract::{Holder, HolderState, PoolSnapshot, ProxySnapshot, Verdict};

use crate::think::ThinkTimes;

/// The most pools that are watched; a proxy has one for each database and user.
pub const POOLS_MAX: usize = 256;
/// What was seen longer ago than this says nothing about now, milliseconds.
const STALE_MS: u64 = 30_000;
/// A clock set back by more than this starts afresh, milliseconds.
const CLOCK_STEP_MS: u64 = 60_000;
/// The clocks of two snapshots differ by rounding: a hold that moved by less is the same one.
const SAME_HOLD_MS: u64 = 500;

/// What the detector is told once.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldSettings {
    /// No silence shorter than this is ever stuck.
    pub stuck_min: Duration,
    /// No pool's habits raise the threshold above this.
    pub stuck_max: Duration,
    /// The threshold is this many times the pause that 99 in 100 stay within.
    pub think_factor: u32,
    /// A single stuck holder becomes a leak after this.
    pub alone: Duration,
}

impl Default for HeldSettings {
    fn default() -> Self {
        Self {
            stuck_min: Duration::from_secs(5),
            stuck_max: Duration::from_secs(120),
            think_factor: 20,
            alone: Duration::from_secs(60),
        }
    }
}

/// Watches the checkouts of every pool of one proxy.
#[derive(Debug)]
pub struct HeldDetector {
    settings: HeldSettings,
    pools: BTreeMap<(String, String), Pool>,
    /// The proxy's process and the moment of its newest snapshot.
    newest: Option<(u32, u64)>,
}

/// One pool as it was last seen.
#[derive(Debug, Default)]
struct Pool {
    think: ThinkTimes,
    /// Open pauses by client.
    pauses: BTreeMap<u64, Pause>,
    census: PoolSnapshot,
    /// Longest silence first.
    stuck: Vec<Stuck>,
    stuck_after_ms: u64,
}

/// A silence in an open transaction that may still be going on.
#[derive(Clone, Debug)]
struct Pause {
    /// When the client got its server: tells one checkout from the next.
    held_since_ms: u64,
    silent_since_ms: u64,
    silent_ms: u64,
    backend_pid: u32,
    client_addr: String,
}

/// A holder that was silent for too long.
#[derive(Clone, Debug)]
struct Stuck {
    silent_since_ms: u64,
    silent_ms: u64,
    holder: Holder,
}

impl HeldDetector {
    /// A detector that has seen nothing.
    pub fn new(settings: HeldSettings) -> Self {
        assert!(settings.stuck_min <= settings.stuck_max, "a threshold has room");
        Self { settings, pools: BTreeMap::new(), newest: None }
    }

    /// Takes a snapshot of the proxy. One that is not newer than the last is ignored.
    pub fn observe(&mut self, snapshot: &ProxySnapshot) {
        if let Some((pid, at_ms)) = self.newest {
            if pid != snapshot.pid || at_ms.saturating_sub(snapshot.at_unix_ms) > CLOCK_STEP_MS {
                // Another proxy counts its clients from one again; a clock that was set back
                // leaves no moment to compare with.
                self.pools.clear();
            } else if snapshot.at_unix_ms <= at_ms {
                return;
            }
        }
        let since_ms = self.newest.map_or(0, |(_, at_ms)| at_ms.min(snapshot.at_unix_ms));
        self.newest = Some((snapshot.pid, snapshot.at_unix_ms));

        let present = |key: &(String, String)| {
            snapshot.pools.iter().any(|pool| pool.database == key.0 && pool.user == key.1)
        };
        self.pools.retain(|key, _| present(key));
        for census in snapshot.pools.iter().take(POOLS_MAX) {
            let key = (census.database.clone(), census.user.clone());
            let pool = self.pools.entry(key).or_default();
            pool.census = census.clone();
            let holders = snapshot.holders.iter().take(HOLDERS_MAX);
            let own = holders.filter(|h| h.database == census.database && h.user == census.user);
            let ended = snapshot.disconnects.iter().filter(|end| end.at_unix_ms >= since_ms);
            pool.observe(snapshot.at_unix_ms, own, ended, &self.settings);
        }
        assert!(self.pools.len() <= POOLS_MAX, "pools are capped");
    }

    /// What stands at `now_ms`: one verdict for each pool, in the order of database and user.
    pub fn verdicts(&self, now_ms: u64) -> Vec<Verdict> {
        let silent_ms = self.newest.map_or(0, |(_, at_ms)| now_ms.saturating_sub(at_ms));
        let stale = silent_ms > STALE_MS;
        self.pools
            .iter()
            .map(|((database, user), pool)| {
                let target = target(database, user);
                if stale {
                    report::silent(target, now_ms, silent_ms)
                } else {
                    report::verdict(target, now_ms, pool, &self.settings)
                }
            })
            .collect()
    }

    /// The stuck holders of the pool whose verdict has this target, longest silence first.
    pub fn stuck(&self, target_name: &str) -> Vec<Holder> {
        let pool = self.pools.iter().find(|((db, user), _)| target(db, user) == target_name);
        pool.map_or_else(Vec::new, |(_, pool)| {
            pool.stuck.iter().map(|stuck| stuck.holder.clone()).collect()
        })
    }

    /// The newest census of the pool whose verdict has this target.
    pub fn census(&self, target_name: &str) -> Option<&PoolSnapshot> {
        let pool = self.pools.iter().find(|((db, user), _)| target(db, user) == target_name);
        pool.map(|(_, pool)| &pool.census)
    }
}

/// The target of a pool's verdict.
fn target(database: &str, user: &str) -> String {
    format!("{database}/{user}")
}

impl Pool {
    fn observe<'a>(
        &mut self,
        now_ms: u64,
        holders: impl Iterator<Item = &'a Holder>,
        ended: impl Iterator<Item = &'a Disconnect> + Clone,
        settings: &HeldSettings,
    ) {
        let mut before = std::mem::take(&mut self.pauses);
        let mut silent = Vec::new();
        for holder in holders {
            let pause = Pause::of(holder, now_ms);
            if let Some(old) = before.remove(&holder.client_id) {
                let goes_on = pause.as_ref().is_some_and(|new| new.continues(&old));
                if !goes_on {
                    self.think.record(old.silent_ms); // the client spoke, or checked out anew
                }
            }
            // A client has one checkout: a second row of the same client is not counted.
            if let Some(pause) = pause.filter(|_| !self.pauses.contains_key(&holder.client_id)) {
                silent.push((pause.silent_since_ms, pause.silent_ms, holder));
                self.pauses.insert(holder.client_id, pause);
            }
        }
        for gone in before.values().filter(|gone| !gone.cut_off(ended.clone())) {
            self.think.record(gone.silent_ms); // it committed or rolled back
        }

        self.stuck_after_ms = stuck_after_ms(&self.think, settings);
        self.stuck = silent
            .into_iter()
            .filter(|(_, silent_ms, _)| *silent_ms > self.stuck_after_ms)
            .map(|(silent_since_ms, silent_ms, holder)| Stuck {
                silent_since_ms,
                silent_ms,
                holder: holder.clone(),
            })
            .collect();
        self.stuck.sort_by_key(|stuck| (stuck.silent_since_ms, stuck.holder.client_id));
        assert!(self.pauses.len() <= HOLDERS_MAX, "holders are capped");
        assert!(self.stuck.len() <= self.pauses.len(), "the stuck are among the silent");
    }
}

impl Pause {
    /// The pause that `holder` is in; `None` while it works or holds no transaction.
    fn of(holder: &Holder, now_ms: u64) -> Option<Self> {
        match holder.state {
            HolderState::IdleInTransaction | HolderState::IdleInFailedTransaction => Some(Self {
                held_since_ms: now_ms.saturating_sub(holder.held_ms),
                silent_since_ms: now_ms.saturating_sub(holder.state_ms),
                silent_ms: holder.state_ms,
                backend_pid: holder.backend_pid,
                client_addr: holder.client_addr.clone(),
            }),
            HolderState::Active | HolderState::Idle => None,
        }
    }

    /// Whether this is the same silence, seen later.
    fn continues(&self, earlier: &Self) -> bool {
        self.silent_ms >= earlier.silent_ms
            && self.held_since_ms.abs_diff(earlier.held_since_ms) <= SAME_HOLD_MS
            && self.silent_since_ms.abs_diff(earlier.silent_since_ms) <= SAME_HOLD_MS
    }

    /// Whether it ended because the client or its server went away: that is no ordinary pause.
    fn cut_off<'a>(&self, mut ended: impl Iterator<Item = &'a Disconnect>) -> bool {
        let backend = self.backend_pid.to_string();
        ended.any(|end| end.who == self.client_addr || end.who == backend)
    }
}

fn stuck_after_ms(think: &ThinkTimes, settings: &HeldSettings) -> u64 {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let usual = think.typical_ms().unwrap_or(0).saturating_mul(u64::from(settings.think_factor));
    usual.clamp(millis(settings.stuck_min), millis(settings.stuck_max))
}
