//! What PostgreSQL said, and what follows from it: who is there, who has vanished, which
//! connections are nobody's.
//!
//! Owns: the memory from one reading to the next. Refuses: deciding on shares.
//! Invariant: a connection that no proxy has marked as its server counts as somebody else's as soon
//! as growth is at stake ([`Room::sure`]), and within three quarters of an interval in any case.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::claim::{Claim, FleetId};

/// The most connections, and peers, that are remembered; PostgreSQL itself has no more.
pub const CONNECTIONS_MAX: usize = 262_143;

/// A proxy, as PostgreSQL shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The process of its control connection.
    pub pid: u32,
    /// What it publishes.
    pub claim: Claim,
    /// Its servers that exist in PostgreSQL, as far as it has marked them.
    pub alive: u32,
}

/// One reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// `max_connections`.
    pub max_connections: u32,
    /// `superuser_reserved_connections` and, from PostgreSQL 16 on, `reserved_connections`.
    pub reserved: u32,
    /// The process of our own control connection.
    pub own: u32,
    /// The proxies, ourselves included.
    pub peers: Vec<Peer>,
    /// The other connections that nobody has marked, by process.
    pub unmarked: Vec<u32>,
}

impl Seen {
    /// The proxies but ourselves.
    pub(super) fn others(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|peer| peer.pid != self.own)
    }
}

/// Which of two sessions is meant: a proxy that comes back has another process.
type Session = (FleetId, u32);

#[derive(Clone, Copy, Debug)]
struct Ghost {
    weight: u32,
    until: Instant,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Books {
    present: BTreeMap<Session, (u32, Duration)>,
    ghosts: BTreeMap<Session, Ghost>,
    /// Unmarked connections, with when each was first seen.
    unmarked: BTreeMap<u32, Instant>,
}

/// How many servers all proxies together may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// What is certainly there: anything that may be somebody else's is.
    pub(super) sure: i64,
    /// What is probably there: a connection that a proxy may just have opened is a proxy's.
    pub(super) likely: i64,
    /// Connections that are probably strangers'.
    pub(super) others: i64,
}

impl Books {
    /// Enters a reading.
    pub(super) fn enter(&mut self, now: Instant, seen: &Seen) {
        let of =
            |peer: &Peer| ((peer.claim.id, peer.pid), (peer.claim.weight(), peer.claim.silence));
        let present: BTreeMap<Session, (u32, Duration)> =
            seen.others().take(CONNECTIONS_MAX).map(of).collect();
        for (session, &(weight, silence)) in &self.present {
            if !present.contains_key(session)
                && let Some(until) = now.checked_add(silence)
            {
                self.ghosts.insert(*session, Ghost { weight, until });
            }
        }
        self.ghosts.retain(|session, ghost| ghost.until > now && !present.contains_key(session));
        self.present = present;
        let unmarked = seen.unmarked.iter().take(CONNECTIONS_MAX);
        let since = |pid: &u32| self.unmarked.get(pid).copied().unwrap_or(now);
        self.unmarked = unmarked.map(|pid| (*pid, since(pid))).collect();
        assert!(self.present.len() <= seen.peers.len(), "nobody is counted twice");
        assert!(self.unmarked.len() <= seen.unmarked.len(), "a connection is counted once");
    }

    /// How much room the reading leaves, with `reserve` connections kept free, after `silence`
    /// of which a connection that nobody has marked is a stranger's.
    pub(super) fn room(&self, now: Instant, seen: &Seen, reserve: u32, silence: Duration) -> Room {
        let young = |since: &&Instant| now.saturating_duration_since(**since) < silence;
        let fresh = self.unmarked.values().filter(young).count() as i64;
        let old = self.unmarked.len() as i64 - fresh;
        // With each, a place for the control connection with which it may come back.
        let ghosts: i64 = self.ghosts.values().map(|ghost| i64::from(ghost.weight) + 1).sum();
        let unfilled = |peer: &Peer| i64::from(peer.claim.weight().saturating_sub(peer.alive));
        let unfilled: i64 = seen.peers.iter().map(unfilled).sum();
        let kept = i64::from(seen.reserved) + i64::from(reserve) + seen.peers.len() as i64;
        let base = i64::from(seen.max_connections) - kept - old - ghosts;
        let strangers = (fresh - unfilled - ghosts).max(0);
        assert!(fresh >= 0 && old >= 0 && strangers <= fresh, "a connection is fresh or old");
        Room { sure: base - fresh, likely: base - strangers, others: old + strangers }
    }

    /// When the next share that is kept for somebody is free.
    pub(super) fn next_free(&self) -> Option<Instant> {
        self.ghosts.values().map(|ghost| ghost.until).min()
    }

    /// The others' weights that are still kept for them though they have vanished.
    pub(super) fn ghosts(&self) -> usize {
        self.ghosts.len()
    }
}
