//! Maintenance: which databases are paused, and servers that are to be replaced.
//!
//! Owns: what PAUSE, RESUME and RECONNECT mean for pools, those made later too. Refuses: who may ask
//! (that is the console's), and the deeds (`stent_pool`'s).
//! Invariant: a pool is paused exactly while its database is or all are.
//! Source: PgBouncer, doc/usage.md and src/admin.c.

use std::collections::BTreeSet;
use std::sync::Arc;

use stent_pool::{Event, PoolId, ServerId};

use super::{Broker, Inner, Role};
use crate::clients::ClientId;
use crate::clock;
use crate::events::{Maintained, Maintenance};

/// Which databases are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of them, those that nobody has asked for yet too.
    All,
    /// One.
    Database(String),
}

/// What is paused. At most as many names as there are databases.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    all: Everything,
    databases: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Everything {
    #[default]
    Works,
    Paused,
}

/// Why nothing was done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unmaintained {
    /// Everything is paused already.
    #[error("already suspended/paused")]
    Paused,
    /// PAUSE had not been said of everything.
    #[error("pooler is not paused/suspended")]
    NotPaused,
    /// Nor of this database.
    #[error("database {0} is not paused")]
    DatabaseNotPaused(String),
    /// No client has asked for it, and the configuration does not name it.
    #[error("no such database: {0}")]
    Unknown(String),
}

impl Scope {
    fn covers(&self, database: &str) -> bool {
        match self {
            Self::All => true,
            Self::Database(name) => name == database,
        }
    }

    /// As it is written into the log.
    pub(crate) fn shown(&self) -> &str {
        match self {
            Self::All => "all databases",
            Self::Database(name) => name,
        }
    }
}

impl Pauses {
    fn covers(&self, database: &str) -> bool {
        self.all == Everything::Paused || self.databases.contains(database)
    }
}

impl Broker {
    /// Lends no server and opens none from here on. It is done when [`Self::is_at_rest`].
    pub(crate) fn pause(self: &Arc<Self>, scope: &Scope, by: &str) -> Result<(), Unmaintained> {
        self.must_be_known(scope)?;
        let mut inner = self.inner();
        if inner.pauses.all == Everything::Paused {
            return Err(Unmaintained::Paused);
        }
        match scope {
            Scope::All => inner.pauses.all = Everything::Paused,
            Scope::Database(name) => drop(inner.pauses.databases.insert(name.clone())),
        }
        let now = clock::now();
        for pool in inner.pools_of(scope) {
            inner.decide(Event::Pause { pool }, now);
            inner.wake_ear(pool);
        }
        self.leave(inner);
        Maintained { what: Maintenance::Pause, of: scope.shown(), by }.emit();
        Ok(())
    }

    /// Takes a pause back.
    pub(crate) fn resume(self: &Arc<Self>, scope: &Scope, by: &str) -> Result<(), Unmaintained> {
        let mut inner = self.inner();
        match scope {
            Scope::All if inner.pauses.all == Everything::Works => {
                return Err(Unmaintained::NotPaused);
            }
            Scope::All => inner.pauses.all = Everything::Works,
            Scope::Database(name) if !inner.pauses.databases.remove(name) => {
                drop(inner);
                self.must_be_known(scope)?;
                return Err(Unmaintained::DatabaseNotPaused(name.clone()));
            }
            Scope::Database(_) => {}
        }
        let now = clock::now();
        for pool in inner.pools_of(scope) {
            let still = inner.pauses.covers(&inner.entries[pool.index()].database);
            if !still {
                inner.decide(Event::Resume { pool }, now);
            }
        }
        self.leave(inner);
        Maintained { what: Maintenance::Resume, of: scope.shown(), by }.emit();
        Ok(())
    }

    /// Replaces every server, idle ones at once, the others when they are given back.
    pub(crate) fn reconnect(self: &Arc<Self>, scope: &Scope, by: &str) -> Result<(), Unmaintained> {
        self.must_be_known(scope)?;
        let mut inner = self.inner();
        let now = clock::now();
        let mut pools = inner.pools_with_servers();
        pools.retain(|pool| scope.covers(&inner.entries[pool.index()].database));
        for pool in pools {
            inner.retire(pool, now);
        }
        self.leave(inner);
        Maintained { what: Maintenance::Reconnect, of: scope.shown(), by }.emit();
        Ok(())
    }

    /// Whether there is no server any more, in whatever state.
    pub(crate) fn is_at_rest(&self, scope: &Scope) -> bool {
        let inner = self.inner();
        inner.pools_of(scope).into_iter().all(|pool| inner.pools.is_empty(pool))
    }

    /// Whether anything is paused.
    pub(crate) fn is_anything_paused(&self) -> bool {
        let inner = self.inner();
        inner.pauses.all == Everything::Paused || !inner.pauses.databases.is_empty()
    }

    /// Whether a database is paused.
    pub(crate) fn is_database_paused(&self, database: &str) -> bool {
        self.inner().pauses.covers(database)
    }

    /// Whether a client waits for a server that a pause keeps from it.
    pub(crate) fn waits_for_resume(&self, client: ClientId) -> bool {
        use crate::clients::ClientState;
        let inner = self.inner();
        let Some(client) = inner.clients.get(client) else { return false };
        client.state == ClientState::Waiting
            && inner.pools.waits_for_resume(stent_pool::WaiterId(client.id.waiter_key()))
    }

    /// Whether a server that somebody has is to be given back for a pause or a replacement.
    pub(crate) fn is_retired(&self, server: ServerId) -> bool {
        self.inner().pools.is_retired(server)
    }

    fn must_be_known(&self, scope: &Scope) -> Result<(), Unmaintained> {
        let Scope::Database(name) = scope else { return Ok(()) };
        let present = self.present();
        let upstream = &present.config.upstream;
        let named = upstream.database.as_deref().or(upstream.user.as_deref());
        let known = named == Some(name)
            || self.inner().entries.iter().any(|entry| *entry.database == **name);
        known.then_some(()).ok_or_else(|| Unmaintained::Unknown(name.clone()))
    }
}

impl Inner {
    /// A pool that has just been made stands as its database does.
    pub(super) fn settle_in(&mut self, pool: PoolId) {
        if !self.pauses.covers(&self.entries[pool.index()].database) {
            return;
        }
        let mut decisions = Vec::new();
        self.pools.handle(Event::Pause { pool }, clock::now(), &mut decisions);
        assert!(decisions.is_empty(), "a new pool has nothing to close");
    }

    /// Replaces the servers of a pool, the listening one too.
    pub(super) fn retire(&mut self, pool: PoolId, now: std::time::Instant) {
        self.decide(Event::RetireAll { pool }, now);
        if let Role::Listens(hub) = &self.entries[pool.index()].role {
            hub.look_up();
        }
    }

    /// The pools that lend, of these databases.
    fn pools_of(&self, scope: &Scope) -> Vec<PoolId> {
        let covered = self.pools.pools().filter(|(_, database, _)| scope.covers(database));
        covered.map(|(pool, ..)| pool).collect()
    }

    /// The connection that listens for a pool's clients is to look what has become of it.
    fn wake_ear(&self, pool: PoolId) {
        if let Some(hub) = self.entries[pool.index()].hub() {
            hub.look_up();
        }
    }
}
