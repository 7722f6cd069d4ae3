//! The broker: the single owner of the pools, the idle servers and the register of clients.
//!
//! Owns: carrying out what `stent_pool` decides, without ever waiting: what takes time becomes a task
//! that reports back with an event. Workers take turns with it, for one synchronous step each.
//! Refuses: policy (that is `stent_pool`'s) and bytes (those are the session's).
//! Invariant: a link is in exactly one place: idle in here, in a session, or in a task of ours;
//! the inside is never held across an `await`.

mod carry_out;
mod classify;
mod decide;
mod dedicate;
mod dismiss;
mod ear;
mod hold;
mod idle;
mod lend;
mod maintain;
mod make_way;
mod present;
mod role;
mod unwound;
mod warm;
mod weigh;
mod welcome;

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stent_pool::{Failover, PoolId, Pools, ServerId, TooManyPools};
use stent_wire::auth::scram::MockSecret;
use stent_wire::prepared::Texts;
use tokio::sync::{Notify, mpsc};

use crate::clients::{ClientId, Clients};
use crate::clock::ms;
use crate::config::Config;
use crate::connect::OpenError;
use crate::disconnects::{Cause, Disconnects, Ended, Who};
use crate::entropy::Entropy;
use crate::error::Error;
use crate::facts::Facts;
use crate::firewall::Firewall;
use crate::fleet;
use crate::hosts::Failed;
use crate::link::Link;
use crate::login::gate::Gate;
use crate::login::keys::KeyCache;
use crate::login::verifiers::Verifiers;
use crate::notify::Hub;
use crate::pool_stats::{PoolStats, Stats};
use crate::shared::{Guard, Lock};
use crate::steering::Wish;
use crate::strangers::Strangers;
use crate::totals::Periods;
use crate::twins::Twins;

use decide::Queues;
use present::Present;

pub(crate) use dedicate::{Lent, Own, Start};
pub(crate) use hold::{HoldCounts, Said};
pub(crate) use lend::Acquired;
pub(crate) use maintain::{Scope, Unmaintained};
pub(crate) use role::{is_role, role_of};
pub(crate) use unwound::{Entrant, Keeper, Task};
pub(crate) use welcome::{BaseWelcome, Welcome, WelcomeCache};

/// See the module's documentation.
pub(crate) struct Broker {
    /// The configuration at the start: for what is fixed for the proxy's life.
    pub(crate) config: Config,
    present: Lock<Arc<Present>>,
    /// When the proxy started.
    pub(crate) started: Instant,
    /// Unpredictable bytes.
    pub(crate) entropy: Entropy,
    /// What strangers are shown in place of a salt.
    pub(crate) mock: MockSecret,
    /// Passwords' derived keys, so that a login does not cost thousands of hash rounds.
    pub(crate) keys: KeyCache,
    /// What clients' SCRAM proofs are checked with.
    pub(crate) verifiers: Verifiers,
    /// How many logins an address has, and how long those wait that fail.
    pub(crate) gate: Arc<Gate>,
    /// Whom the console asks for a new configuration.
    pub(crate) wishes: OnceLock<mpsc::Sender<Wish>>,
    /// Which of the places where the database may be have failed.
    pub(crate) failed_places: Failed,
    /// The other proxies of the port, with `so_reuseport`.
    pub(crate) twins: OnceLock<Twins>,
    inner: Lock<Inner>,
    /// What servers may have of memory, as of the present configuration.
    memory: weigh::Memory,
    /// Statement texts of all clients.
    pub(crate) texts: Lock<Texts>,
    draining: AtomicU8,
    /// While it closes: up to which number clients leave, see [`Broker::dismiss`].
    dismissed: AtomicU64,
    /// What is shown of the fleet budget.
    pub(crate) fleet: Lock<fleet::Shown>,
    /// Tells the janitor that a deadline has come nearer.
    janitor: Notify,
}

const _: () = {
    const fn is_shareable<T: Send + Sync>() {}
    is_shareable::<Broker>();
    is_shareable::<Link>();
};

/// Whether the proxy takes new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draining {
    /// It does.
    No,
    /// It has been told to stop, and serves on: the application beside it may not have finished.
    Serving,
    /// It shuts down: idle clients leave in turn, busy ones may finish their transaction.
    Closing,
}

/// What the broker owns.
pub(crate) struct Inner {
    /// The policy.
    pub(crate) pools: Pools,
    /// By `PoolId::index`.
    pub(crate) entries: Vec<PoolEntry>,
    /// By `ServerId::index`.
    pub(crate) servers: Vec<Option<Slot>>,
    /// The register of clients.
    pub(crate) clients: Clients,
    /// The ends of connections.
    pub(crate) disconnects: Disconnects,
    /// Cancel requests by outcome.
    pub(crate) cancels: crate::cancel::Counts,
    /// Connections that never became clients.
    pub(crate) strangers: Strangers,
    /// How often a client got another server, unnoticed.
    pub(crate) repeated: u64,
    /// What was done to clients that held a server for too long.
    pub(crate) held_too_long: HoldCounts,
    /// Whether the database has moved.
    pub(crate) failover: Failover,
    /// Why PostgreSQL cannot be reached, for any pool; gone when one reaches it.
    pub(crate) unreachable: Option<Arc<OpenError>>,
    /// What is paused.
    pauses: maintain::Pauses,
    /// What pools had done at the last moments that were kept.
    pub(crate) periods: Periods,
    queues: Queues,
}

/// What the shell keeps for a pool.
pub(crate) struct PoolEntry {
    /// The database.
    pub(crate) database: Arc<str>,
    /// The user.
    pub(crate) user: Arc<str>,
    /// Counters.
    pub(crate) stats: Stats,
    /// What is known of the database's functions.
    pub(crate) firewall: Arc<Firewall>,
    /// What its servers are for.
    pub(crate) role: Role,
    /// How its servers are started where they are for us and not for clients.
    pub(crate) own: Option<Own>,
    /// How clients that wait in session mode want their servers to be started.
    pub(crate) wanted: VecDeque<Start>,
    /// What a client is told at the end of its login.
    pub(crate) welcomes: WelcomeCache,
    /// Why the newest attempt to open a server failed; gone when one succeeds.
    pub(crate) open_error: Option<Arc<OpenError>>,
    /// Failed attempts by SQLSTATE.
    pub(crate) open_failures: Vec<(String, u64)>,
}

/// What the servers of a pool are for.
pub(crate) enum Role {
    /// To be lent to clients; with who listens for them, once one of them has listened.
    Lends(Option<Arc<Hub>>),
    /// To listen for the clients of another pool.
    Listens(Arc<Hub>),
}

impl PoolEntry {
    fn new(
        workers: NonZeroU16,
        database: Arc<str>,
        user: Arc<str>,
        firewall: Arc<Firewall>,
        role: Role,
    ) -> Self {
        Self {
            database,
            user,
            stats: Stats::new(workers),
            firewall,
            role,
            own: None,
            wanted: VecDeque::new(),
            welcomes: WelcomeCache::default(),
            open_error: None,
            open_failures: Vec::new(),
        }
    }

    /// Whether it lends to clients.
    pub(crate) const fn lends(&self) -> bool {
        match self.role {
            Role::Lends(_) => true,
            Role::Listens(_) => false,
        }
    }

    /// Who listens for its clients, if anybody has ever listened.
    pub(crate) const fn hub(&self) -> Option<&Arc<Hub>> {
        match &self.role {
            Role::Lends(hub) => hub.as_ref(),
            Role::Listens(_) => None,
        }
    }
}

/// What the shell keeps for a server.
pub(crate) struct Slot {
    /// The whole id, to tell a late event from a new server in the same place.
    pub(crate) server: ServerId,
    /// Its pool.
    pub(crate) pool: PoolId,
    /// The connection, while it is idle.
    pub(crate) idle: Option<Box<Link>>,
    /// Who has it; `None` while it is being opened.
    pub(crate) facts: Option<Arc<Facts>>,
    /// Whether its link can come back.
    custody: Custody,
    /// When it is asked how much memory it has; `None` while it is being opened.
    scale: Option<weigh::Scale>,
}

/// Whether somebody has a server's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Custody {
    /// The broker, a session, or a task of ours.
    Kept,
    /// It has gone with a task that has panicked.
    Unwound,
}

impl Broker {
    /// A broker without pools.
    pub(crate) fn new(config: Config) -> Result<Arc<Self>, Error> {
        let present = Present::new(config.clone())?;
        let entropy = Entropy::open().map_err(Error::Entropy)?;
        let mock = MockSecret::new(entropy.bytes().map_err(Error::Entropy)?);
        let seed = u64::from_ne_bytes(entropy.bytes().map_err(Error::Entropy)?);
        let limits = present.limits();
        let memory = weigh::Memory::new(&present.config);
        let started = Instant::now();
        Ok(Arc::new(Self {
            config,
            present: Lock::new(Arc::new(present)),
            failed_places: Failed::default(),
            wishes: OnceLock::new(),
            entropy,
            mock,
            started,
            keys: KeyCache::default(),
            verifiers: Verifiers::default(),
            gate: Arc::default(),
            twins: OnceLock::new(),
            inner: Lock::new(Inner {
                pools: Pools::new(limits, seed),
                entries: Vec::new(),
                servers: Vec::new(),
                clients: Clients::default(),
                disconnects: Disconnects::default(),
                cancels: crate::cancel::Counts::default(),
                strangers: Strangers::default(),
                repeated: 0,
                unreachable: None,
                held_too_long: HoldCounts::default(),
                failover: Failover::default(),
                pauses: maintain::Pauses::default(),
                periods: Periods::begin(started),
                queues: Queues::new(started),
            }),
            memory,
            texts: Lock::default(),
            fleet: Lock::default(),
            draining: AtomicU8::new(0),
            dismissed: AtomicU64::new(0),
            janitor: Notify::new(),
        }))
    }

    /// The inside, for a synchronous look or change.
    pub(crate) fn inner(&self) -> Guard<'_, Inner> {
        self.inner.lock()
    }

    /// The pool of a database and user.
    pub(crate) fn pool(&self, database: &str, user: &str) -> Result<PoolId, TooManyPools> {
        self.pool_of(database, user, None)
    }

    /// A pool for us, under a name that no client can have.
    pub(crate) fn own_pool(
        &self,
        database: &str,
        key: &str,
        own: Own,
    ) -> Result<PoolId, TooManyPools> {
        assert!(key.contains('\0'), "no client can name this pool");
        self.pool_of(database, key, Some(own))
    }

    fn pool_of(&self, database: &str, key: &str, own: Option<Own>) -> Result<PoolId, TooManyPools> {
        let mut inner = self.inner();
        let pool = inner.pools.pool(database, key)?;
        if pool.index() == inner.entries.len() {
            let same = inner.entries.iter().find(|entry| &*entry.database == database);
            let firewall = same.map(|entry| Arc::clone(&entry.firewall));
            let firewall = firewall.unwrap_or_else(|| Arc::new(Firewall::new(self.config.workers)));
            let user = own.as_ref().map_or(key, |own| &own.title).into();
            let role = Role::Lends(None);
            let workers = self.config.workers;
            let entry = PoolEntry::new(workers, database.into(), user, firewall, role);
            inner.entries.push(PoolEntry { own, ..entry });
            inner.settle_in(pool);
        }
        assert!(pool.index() < inner.entries.len(), "a pool has its entry");
        Ok(pool)
    }

    /// The counters of a pool, for the present worker.
    pub(crate) fn stats(&self, pool: PoolId) -> Arc<PoolStats> {
        Arc::clone(self.inner().entries[pool.index()].stats.own())
    }

    /// What is known of the functions of a pool's database.
    pub(crate) fn firewall(&self, pool: PoolId) -> Arc<Firewall> {
        Arc::clone(&self.inner().entries[pool.index()].firewall)
    }

    /// Runs for ever: knowledge of functions grows old.
    pub(crate) async fn age_firewalls(self: Arc<Self>) {
        const STEP: Duration = Duration::from_secs(10);
        loop {
            tokio::time::sleep(STEP).await;
            self.inner().entries.iter().for_each(|entry| entry.firewall.age());
        }
    }

    /// Database and user of a pool.
    pub(crate) fn names(&self, pool: PoolId) -> (Arc<str>, Arc<str>) {
        let inner = self.inner();
        let entry = &inner.entries[pool.index()];
        (Arc::clone(&entry.database), Arc::clone(&entry.user))
    }

    /// Database and user with which a pool's servers log in; beside the pools, those of the URL.
    pub(crate) fn login_names(&self, pool: PoolId) -> (Arc<str>, Arc<str>) {
        if pool == PoolId::BESIDE {
            let present = self.present();
            let upstream = &present.config.upstream;
            let user = upstream.user.as_deref().unwrap_or("postgres");
            return (upstream.database.as_deref().unwrap_or(user).into(), user.into());
        }
        let present = self.present();
        let inner = self.inner();
        let entry = &inner.entries[pool.index()];
        let login = entry.own.as_ref().map_or(&entry.user, |own| &own.login);
        let read = present.config.upstream.read_database(&entry.database);
        (read.map_or_else(|| Arc::clone(&entry.database), Arc::from), Arc::clone(login))
    }

    /// Whether the proxy takes new work.
    pub(crate) fn draining(&self) -> Draining {
        match self.draining.load(Ordering::Acquire) {
            0 => Draining::No,
            1 => Draining::Serving,
            _ => Draining::Closing,
        }
    }

    /// Is told to stop: from here on it is not ready for more, and serves who comes.
    pub(crate) fn serve_on(&self) {
        self.draining.store(1, Ordering::Release);
    }

    /// A client connection ended.
    pub(crate) fn client_ended(&self, client: ClientId, cause: Cause, detail: &str) {
        let left = self.inner().clients.remove(client);
        let (database, user) = match left.pool {
            Some(pool) => self.names(pool),
            None => (Arc::from(""), Arc::from("")),
        };
        let end = Ended {
            who: Who::Client(left.peer),
            cause,
            database,
            user,
            age: left.connected.elapsed(),
            at_unix_ms: unix_ms(),
            detail: detail.into(),
        };
        end.emit(&mut self.inner().disconnects);
    }
}

impl Inner {
    /// A server connection ended.
    pub(super) fn server_ended(&mut self, pool: PoolId, facts: &Facts, cause: Cause, detail: &str) {
        let entry = &self.entries[pool.index()];
        let end = Ended {
            who: Who::Server { backend_pid: facts.backend_pid },
            cause,
            database: Arc::clone(&entry.database),
            user: Arc::clone(&entry.user),
            age: facts.opened.elapsed(),
            at_unix_ms: unix_ms(),
            detail: detail.into(),
        };
        end.emit(&mut self.disconnects);
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    ms(since)
}
