//! How many clients a database and a user may have.
//!
//! Owns: the caps `max_db_client_connections` and `max_user_client_connections`. Refuses: counting where
//! nothing is capped. Clients are walked over, once a login: less than what its proof costs.
//! Invariant: counting and taking the seat are one step, so no two logins take the last one.

use std::num::NonZeroU32;
use std::sync::Arc;

use stent_pool::PoolId;
use stent_wire::params::Params;
use stent_wire::report::{Report, SqlState};

use super::Failed;
use crate::broker::{Broker, Inner, PoolEntry};
use crate::clients::ClientId;
use crate::disconnects::Cause;
use crate::pool_stats::add;

impl Broker {
    /// A client that has proved itself gets its pool, where its database and user have room for it.
    pub(super) fn take_seat(
        &self,
        client: ClientId,
        pool: PoolId,
        params: &Arc<Params>,
    ) -> Result<(), Failed> {
        let present = self.present();
        let config = &present.config;
        let mut inner = self.inner();
        let own = &inner.entries[pool.index()];
        let (database, user) = (&own.database, &own.user);
        let caps = [
            ("database", database, "max_db_client_connections", config.max_db_client_connections),
            ("user", user, "max_user_client_connections", config.max_user_client_connections),
        ];
        let counted = [
            caps[0].3.map_or(0, |_| count(&inner, |entry| entry.database == *database)),
            caps[1].3.map_or(0, |_| count(&inner, |entry| entry.user == *user)),
        ];
        for ((of, name, key, most), there) in caps.into_iter().zip(counted) {
            if let Some(most) = most.filter(|most| there >= most.get() as usize) {
                return Err(too_many(of, name, key, most));
            }
        }
        inner.clients.set_home(client, pool, Arc::clone(params));
        add(&inner.entries[pool.index()].stats.own().logins, 1);
        inner.classify(client, &config.queue_classes);
        Ok(())
    }
}

/// How many clients there are in pools of that kind.
fn count(inner: &Inner, fits: impl Fn(&PoolEntry) -> bool) -> usize {
    let pools = inner.clients.iter().filter_map(|client| client.pool);
    pools.filter(|pool| fits(&inner.entries[pool.index()])).count()
}

fn too_many(of: &str, name: &str, key: &str, most: NonZeroU32) -> Failed {
    let message = format!("no more client connections allowed for {of} {name:?} ({key} is {most})");
    let report = Report::fatal(SqlState::TOO_MANY_CONNECTIONS, message)
        .with_hint(format!("Close idle client connections, or raise {key}."));
    Failed::report(Cause::TooManyClients, report)
}
