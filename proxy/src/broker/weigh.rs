//! Servers whose memory has grown are replaced.
//!
//! Owns: asking a server that comes back how much memory its session has, at most once in
//! `server_memory_interval`. Refuses: the replacement, which is `stent_pool`'s, as for lifetimes, and
//! what PostgreSQL's memory contexts do not count (the C library's own, compiled code).
//! Invariant: with `server_max_memory` off no server is asked, and while it answers it is nobody's.
//! A server whose user may not see its memory is not asked for it: PostgreSQL's log has no error of
//! ours.
//!
//! ```text
//!            due, and visible                      its answer is above the limit
//!   Unknown ──────────────────▶ Visible ⟲ asked ─────────────────────────────────▶ given back worn
//!      │ due, and not visible
//!      ▼
//!   Hidden
//! ```
//! Source: PostgreSQL documentation, "pg_backend_memory_contexts".

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stent_pool::{Census, Condition};
use stent_wire::report::reply::parse_data_row;

use super::Broker;
use crate::clock;
use crate::config::Config;
use crate::events;
use crate::exchange::{self, Answer, ExchangeError};
use crate::link::Link;

/// How many intervals longer a server is not asked while its pool needs it.
const CONSIDERATE: u32 = 4;
/// How long it may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the session's user may ask. Names are resolved without an error where there is none.
const MAY_ASK: &[u8] = b"select pg_catalog.has_table_privilege(\
    pg_catalog.to_regclass('pg_catalog.pg_backend_memory_contexts'), 'select') and \
    pg_catalog.has_function_privilege(\
    pg_catalog.to_regprocedure('pg_catalog.pg_get_backend_memory_contexts()'), 'execute')";
const QUESTION: &[u8] =
    b"select pg_catalog.sum(total_bytes) from pg_catalog.pg_backend_memory_contexts";

/// What servers may have: read at each return of one, therefore beside the configuration.
#[derive(Debug)]
pub(super) struct Memory {
    /// In bytes; 0: nobody asks.
    most: AtomicU64,
    /// Whether it has been said that some servers do not tell.
    said: AtomicBool,
}

impl Memory {
    pub(super) fn new(config: &Config) -> Self {
        let memory = Self { most: AtomicU64::new(0), said: AtomicBool::new(false) };
        memory.set(config);
        memory
    }

    /// Another configuration holds from here on.
    pub(super) fn set(&self, config: &Config) {
        let most = config.server_max_memory.map_or(0, NonZeroU64::get);
        self.most.store(most, Ordering::Relaxed);
        self.said.store(false, Ordering::Relaxed);
    }

    fn most(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.most.load(Ordering::Relaxed))
    }
}

/// When a server is asked how much memory it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// When it was asked last, or opened.
    since: Instant,
    sight: Sight,
}

/// Whether a server's user may see its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Unknown,
    Visible,
    Hidden,
}

impl Broker {
    /// That of a server which has just been opened.
    pub(super) fn scale() -> Scale {
        Scale { since: clock::now(), sight: Sight::Unknown }
    }

    fn weighing_interval(&self) -> Duration {
        self.present().config.server_memory_interval
    }

    /// Whether a server that comes back is to be asked before it is lent on.
    pub(super) fn is_to_be_weighed(&self, link: &Link) -> bool {
        if self.memory.most().is_none() {
            return false;
        }
        let (now, interval) = (clock::now(), self.weighing_interval());
        let mut inner = self.inner();
        let scale = inner.slot(link.server).and_then(|slot| slot.scale);
        let Some(Scale { since, sight }) = scale else { return false };
        // By the interval of now: a reload may have made it shorter.
        if sight == Sight::Hidden || now < since + interval {
            return false;
        }
        since + interval * (1 + CONSIDERATE) <= now
            || is_at_leisure(&inner.pools.census(link.pool, now))
    }

    /// Gives a server to the pool, and asks it before if that is due.
    pub(super) async fn hand_back_weighed(
        self: &Arc<Self>,
        mut link: Box<Link>,
        condition: Condition,
    ) {
        let asks = condition == Condition::Clean && link.is_clean() && self.is_to_be_weighed(&link);
        let condition = if asks { self.weighed(&mut link).await } else { condition };
        self.hand_back(link, condition);
    }

    async fn weighed(&self, link: &mut Link) -> Condition {
        let (server, mut scale) = (link.server, Self::scale());
        if let Some(known) = self.inner().slot(server).and_then(|slot| slot.scale) {
            scale.sight = known.sight;
        }
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, ask(link, &mut scale.sight)).await;
        if let Some(slot) = self.inner().slot(server) {
            slot.scale = Some(scale);
        }
        match answer {
            Ok(Ok(bytes)) => self.judge_weight(link, bytes),
            // A statement_timeout of its last client, say: the server is in order.
            Ok(Err(ExchangeError::Refused(_))) => Condition::Clean,
            Ok(Err(ExchangeError::Io(_) | ExchangeError::OutOfStep(_))) | Err(_) => {
                Condition::Doubtful
            }
        }
    }

    /// What follows from so much memory; `None`: it is hidden.
    fn judge_weight(&self, link: &Link, bytes: Option<u64>) -> Condition {
        let Some(most) = self.memory.most() else { return Condition::Clean };
        let (database, user) = self.names(link.pool);
        let (database, user) = (&*database, &*user);
        match bytes {
            None => {
                if !self.memory.said.swap(true, Ordering::Relaxed) {
                    events::MemoryHidden { database, user }.emit();
                }
                Condition::Clean
            }
            Some(bytes) if bytes > most.get() => {
                let (backend_pid, most) = (link.facts.backend_pid, most.get());
                events::Outgrown { database, user, backend_pid, bytes, most }.emit();
                Condition::Worn
            }
            Some(_) => Condition::Clean,
        }
    }
}

/// Whether a pool can do without a server for a moment: nobody waits for it, and whoever comes
/// meanwhile has no other one opened.
const fn is_at_leisure(census: &Census) -> bool {
    let there = census.idle + census.lent + census.tested + census.opening + census.closing;
    census.waiting == 0 && (census.idle > 0 || there >= census.size_max)
}

/// The server's memory in bytes; `None`: its user may not see it.
async fn ask(link: &mut Link, sight: &mut Sight) -> Result<Option<u64>, ExchangeError> {
    if *sight == Sight::Unknown {
        let may = exchange::query(link, MAY_ASK).await?;
        *sight = match value(&may) {
            Some(b"t") => Sight::Visible,
            Some(_) | None => Sight::Hidden,
        };
    }
    if *sight == Sight::Hidden {
        return Ok(None);
    }
    let answer = exchange::query(link, QUESTION).await?;
    let bytes = value(&answer).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    let strange = || ExchangeError::OutOfStep("its memory is not a number".to_owned());
    bytes.map(Some).ok_or_else(strange)
}

/// The one value of an answer.
fn value(answer: &Answer) -> Option<&[u8]> {
    parse_data_row(answer.rows.first()?)?.first().copied().flatten()
}
