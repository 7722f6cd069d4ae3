//! The way to PostgreSQL: tried at the start, and judged for `/readyz`.
//!
//! Invariant: readiness speaks of the data path. A listening port alone proves nothing: a stopped
//! postmaster still accepts connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stent_pool::PoolId;
use stent_wire::params::Params;

use super::Broker;
use crate::stream::Peer;
use crate::workers;

/// The pause between attempts at the start.
const RETRY: Duration = Duration::from_secs(1);

impl Broker {
    /// Opens one server of the pool that `DATABASE_URL` names, so that the proxy knows whether it
    /// can before the first client asks.
    pub(crate) async fn warm(self: Arc<Self>) {
        let Some(pool) = self.primary() else { return };
        let params = Arc::new(Params::default());
        loop {
            let peer = Peer::Unix(Some(std::process::id()));
            let client = self.inner().clients.add(peer, workers::home(), Instant::now());
            let welcome = self.welcome(client, pool, &params).await;
            self.withdraw(client);
            self.inner().clients.remove(client);
            if welcome.is_ok() {
                return;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Why the way to PostgreSQL is closed, if it is.
    pub(crate) fn closed_way(&self) -> Option<String> {
        let primary = self.primary();
        let inner = self.inner();
        if let Some(pool) = primary
            && !inner.pools.census(pool, Instant::now()).ever_opened
        {
            let error = inner.entries[pool.index()].open_error.as_ref();
            return Some(match error {
                Some(error) => error.to_string(),
                None => "PostgreSQL has not answered yet".to_owned(),
            });
        }
        // A client's typo in a database name fails for good and says nothing about the way.
        inner.pools.pools().find_map(|(pool, ..)| {
            let census = inner.pools.census(pool, Instant::now());
            let error = inner.entries[pool.index()].open_error.as_ref()?;
            let matters = !error.is_permanent() || Some(pool) == primary;
            let paused = inner.pools.is_paused(pool);
            (matters && !paused && census.idle + census.lent == 0).then(|| error.to_string())
        })
    }

    /// The pool that `DATABASE_URL` names.
    fn primary(&self) -> Option<PoolId> {
        let present = self.present();
        let upstream = &present.config.upstream;
        let user = upstream.user.as_deref()?;
        self.pool(upstream.database.as_deref().unwrap_or(user), user).ok()
    }
}
