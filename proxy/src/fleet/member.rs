//! This proxy as a member of the fleet: the task that owns the control connection.
//!
//! Owns: opening it, asking on it at the times that the core names, and looking, many times an
//! interval, at what the pools need and may have. Refuses: what is asked and what the answer means.
//! Invariant: the share in force is looked at also while an answer is waited for, so it ends on
//! time; an answer that takes longer than an interval is none.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stent_pool::fleet::{COUNT_MAX, Claim, Fleet, FleetId, Next, NoLogin, Rules, Seen};
use stent_pool::{PoolId, ServerId};
use stent_wire::params::Params;
use stent_wire::startup::Replication;

use super::{is_crowded, sql};
use crate::broker::{Broker, Start};
use crate::config::fleet::FleetBudget;
use crate::connect::OpenError;
use crate::events;
use crate::exchange::{self, ExchangeError};
use crate::hosts;
use crate::link::Link;

/// How often an interval the pools are looked at.
const LOOKS: u32 = 10;
/// The pause after a first failed login, and after many.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The longest answer: some 20 bytes for each connection of PostgreSQL, 100 for each proxy.
const ANSWER_MAX: usize = 16 << 20;
/// How often a server must be missing before its mark is taken off: PostgreSQL may still be at
/// ending it.
const MISSING_MAX: u8 = 2;
/// Between the keepalive probes of PostgreSQL, in seconds, and how many may fail.
const KEEPALIVE_EVERY: u64 = 3;
const KEEPALIVE_COUNT: u64 = 3;

/// Why the control connection ended, or there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It was lost, or the question was refused.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// A reload names another database, or there was a failover.
    #[error("the database is elsewhere now")]
    Moved,
    /// The answer makes no sense: a pooler in between, for example.
    #[error("the answer does not show our own connection: PostgreSQL itself must be asked")]
    Senseless,
}

impl ControlError {
    fn reason(&self) -> NoLogin {
        match self {
            Self::Open(error) if is_crowded(error) => NoLogin::Crowded,
            Self::Open(
                OpenError::Refused(_) | OpenError::Proof { .. } | OpenError::Password { .. },
            )
            | Self::Exchange(ExchangeError::Refused(_))
            | Self::Senseless => NoLogin::Refused,
            Self::Open(
                OpenError::Connect { .. }
                | OpenError::Timeout { .. }
                | OpenError::Tls { .. }
                | OpenError::Protocol { .. }
                | OpenError::Misplaced { .. }
                | OpenError::Unwanted { .. },
            )
            | Self::Exchange(ExchangeError::Io(_) | ExchangeError::OutOfStep(_))
            | Self::Late(_)
            | Self::Moved => NoLogin::Unreached,
        }
    }
}

struct Member {
    broker: Arc<Broker>,
    settings: FleetBudget,
    fleet: Fleet,
    /// The highest demand since the last publication.
    peak: u32,
    /// Where the control connection leads: the names, and after how many failovers.
    target: (String, u64),
    /// Our servers that carry a mark, with how often they were missing.
    marked: BTreeMap<u32, u8>,
}

/// Runs for ever, where there is a budget.
pub(crate) async fn run(broker: Arc<Broker>) {
    let Some(settings) = broker.config.fleet else { return };
    let Ok(random) = broker.entropy.bytes::<16>() else { return };
    let (id, seed) = random.split_at(8);
    let number = |half: &[u8]| half.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    let most = broker.config.max_server_connections.map_or(COUNT_MAX, |most| most.get());
    let FleetBudget { interval, minimum, reserve } = settings;
    let rules = Rules { minimum, most, reserve, interval };
    let fleet = Fleet::new(FleetId::new(number(id)), rules, number(seed), Instant::now());
    let (target, marked) = (Default::default(), BTreeMap::new());
    let mut member = Member { broker, settings, fleet, peak: 0, target, marked };
    let mut pause = PAUSE_MIN;
    loop {
        let error = match member.connect().await {
            Ok(mut link) => {
                pause = PAUSE_MIN;
                member.serve(&mut link).await
            }
            Err(error) => error,
        };
        member.lost(&error, pause);
        member.rest(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

impl Member {
    async fn connect(&mut self) -> Result<Box<Link>, ControlError> {
        self.marked.clear();
        self.target = self.leads_to();
        let claim = self.publish();
        let start = Start { params: self.params(&claim), replication: Replication::Off };
        let broker = Arc::clone(&self.broker);
        let open =
            async move { hosts::open(&broker, PoolId::BESIDE, ServerId::BESIDE, start).await };
        Ok(self.meanwhile(open).await?.link)
    }

    /// PostgreSQL ends a session of which it hears nothing, but not before we have stopped to use
    /// its share, and given up what we were opening then.
    fn params(&self, claim: &Claim) -> Arc<Params> {
        let config = &self.broker.present().config;
        let places = u32::try_from(config.upstream.endpoints().count()).unwrap_or(u32::MAX);
        let opening = config.server_connect_timeout.saturating_mul(places);
        let silence = (self.fleet.interval() * 2).saturating_add(opening);
        let seconds = |seconds: u64| seconds.to_string();
        let mut params = Params::default();
        for (name, value) in [
            ("application_name", claim.to_string()),
            ("search_path", "pg_catalog, pg_temp".to_owned()),
            ("statement_timeout", "0".to_owned()),
            ("tcp_keepalives_idle", seconds(silence.as_secs() + 1)),
            ("tcp_keepalives_interval", seconds(KEEPALIVE_EVERY)),
            ("tcp_keepalives_count", seconds(KEEPALIVE_COUNT)),
        ] {
            let set = params.set(name.as_bytes(), value.as_bytes());
            set.expect("short names without a NUL");
        }
        Arc::new(params)
    }

    /// Asks and rests until the connection is lost.
    async fn serve(&mut self, link: &mut Link) -> ControlError {
        loop {
            match self.ask(link).await {
                Ok(Next::Again) => {}
                Ok(Next::Rest(pause)) => self.rest(pause).await,
                Err(error) => return error,
            }
        }
    }

    fn leads_to(&self) -> (String, u64) {
        (self.broker.target(), self.broker.inner().failover.count())
    }

    async fn ask(&mut self, link: &mut Link) -> Result<Next, ControlError> {
        if self.target != self.leads_to() {
            return Err(ControlError::Moved);
        }
        let claim = self.publish();
        let (mark, unmark) = self.marks();
        let question = sql::question(&claim, &mark, &unmark);
        let (asked, patience) = (Instant::now(), self.fleet.interval());
        let answer = exchange::query_up_to(link, question.as_bytes(), ANSWER_MAX);
        let answer = self.meanwhile(tokio::time::timeout(patience, answer)).await;
        let answer = answer.map_err(|_| ControlError::Late(patience))??;
        let seen = sql::read(&answer.rows).ok_or(ControlError::Senseless)?;
        let next = self.fleet.hear(asked, Instant::now(), &seen);
        self.show(seen);
        self.look();
        Ok(next)
    }

    fn publish(&mut self) -> Claim {
        self.look();
        let (held, demand) = {
            let inner = self.broker.inner();
            (inner.pools.held(), inner.pools.demand())
        };
        let peak = std::mem::take(&mut self.peak).max(demand);
        self.fleet.publish(Instant::now(), held, peak)
    }

    /// Which servers are to be marked, and which marks are to be taken off.
    fn marks(&mut self) -> (Vec<u32>, Vec<u32>) {
        let present = self.broker.inner().backends();
        let mark: Vec<u32> =
            present.iter().copied().filter(|pid| !self.marked.contains_key(pid)).collect();
        let mut unmark = Vec::new();
        self.marked.retain(|pid, missing| {
            *missing = if present.binary_search(pid).is_ok() { 0 } else { *missing + 1 };
            let keeps = *missing < MISSING_MAX;
            unmark.extend((!keeps).then_some(*pid));
            keeps
        });
        self.marked.extend(mark.iter().map(|&pid| (pid, 0)));
        (mark, unmark)
    }

    fn show(&self, seen: Seen) {
        let mut shown = self.broker.fleet.lock();
        if shown.error.take().is_some() || shown.peers.is_empty() {
            let (peers, limit) = (seen.peers.len(), self.fleet.overview().limit);
            events::FleetJoined { peers, limit }.emit();
        }
        (shown.own, shown.peers) = (seen.own, seen.peers);
    }

    fn lost(&mut self, error: &ControlError, pause: Duration) {
        let held = self.broker.inner().pools.held();
        self.fleet.lost(Instant::now(), held);
        self.fleet.no_login(error.reason());
        self.look();
        let mut shown = self.broker.fleet.lock();
        if shown.error.is_none() {
            events::FleetLost { error, share: shown.share, pause }.emit();
        }
        shown.error = Some(error.to_string().into());
    }

    /// Waits, and looks at the pools meanwhile.
    async fn rest(&mut self, pause: Duration) {
        self.meanwhile(tokio::time::sleep(pause)).await;
    }

    async fn meanwhile<T>(&mut self, what: impl Future<Output = T>) -> T {
        let mut what = pin!(what);
        loop {
            let look = tokio::time::sleep(self.settings.interval / LOOKS);
            tokio::select! {
                done = &mut what => return done,
                () = look => self.look(),
            }
        }
    }

    fn look(&mut self) {
        let (_, demand) = self.broker.apply(&mut self.fleet);
        self.peak = self.peak.max(demand);
    }
}
