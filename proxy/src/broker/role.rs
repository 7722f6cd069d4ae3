//! Servers that do not take writes any more: the database has moved, and the pools follow.
//!
//! Owns: asking a server that is suspected, and replacing all servers when it is so. Refuses: the
//! decision (`stent_pool::Failover`).
//! Invariant: a client's own doing (SET, BEGIN READ ONLY) replaces nothing: what counts is what a
//! server says of itself when no client has it.

use std::sync::Arc;
use std::time::Duration;

use stent_pool::{Condition, Fitness, Found, PoolId, ServerRole};
use stent_wire::report::reply::parse_data_row;

use super::Broker;
use super::unwound::{Keeper, Task};
use crate::clients::ClientId;
use crate::clock;
use crate::events::DatabaseMoved;
use crate::exchange;
use crate::link::{Link, Suspicion};

/// How long a server may take to say what it is.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether it takes writes by itself: what a client has set in its session is not asked for.
const QUESTION: &[u8] = b"select pg_catalog.pg_is_in_recovery() or reset_val = 'on' \
    from pg_catalog.pg_settings where name = 'default_transaction_read_only'";

/// What a server's own parameters say of it.
pub(crate) fn role_of(parameters: &[(Vec<u8>, Vec<u8>)]) -> ServerRole {
    let mut role = ServerRole::Unknown;
    for (name, value) in parameters {
        match is_role(name) {
            true if value == b"on" => return ServerRole::ReadOnly,
            true => role = ServerRole::ReadWrite,
            false => {}
        }
    }
    role
}

/// Whether a parameter tells the role of a server. Reported since PostgreSQL 14.
pub(crate) fn is_role(name: &[u8]) -> bool {
    matches!(name, b"in_hot_standby" | b"default_transaction_read_only")
}

impl Broker {
    /// Whether the servers of a pool are for reading only.
    pub(crate) fn is_read_pool(&self, pool: PoolId) -> bool {
        let present = self.present();
        let upstream = &present.config.upstream;
        if upstream.readers.is_none() || pool == PoolId::BESIDE {
            return false;
        }
        upstream.read_database(&self.inner().entries[pool.index()].database).is_some()
    }

    /// A server has logged in and said what it is.
    pub(crate) fn fits(&self, role: ServerRole) -> Fitness {
        self.inner().failover.opened(role, clock::now())
    }

    /// A client has given a server back that has refused to write: is it the server's doing?
    pub(super) fn ask_role(self: &Arc<Self>, client: ClientId, mut link: Box<Link>) {
        self.client_lets_go(client, &link);
        let broker = Arc::clone(self);
        let keeper = Keeper::of(self, &link, Task::Clean);
        tokio::task::spawn_local(async move {
            let _keeper = keeper;
            link.suspicion = Suspicion::None;
            let answer = exchange::query(&mut link, QUESTION);
            let condition = match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
                Ok(Ok(answer)) => {
                    let row = answer.rows.first().and_then(|row| parse_data_row(row));
                    let says = row.and_then(|row| row.first().copied().flatten());
                    if says == Some(b"t") {
                        broker.found_read_only(link.pool, link.began_as);
                    }
                    Condition::Clean
                }
                Ok(Err(_)) | Err(_) => Condition::Doubtful,
            };
            broker.hand_back(link, condition);
        });
    }

    /// A server does not take writes, by its own word. Of a read-only pool nothing else is expected.
    pub(super) fn found_read_only(self: &Arc<Self>, pool: PoolId, began_as: ServerRole) {
        if self.is_read_pool(pool) {
            return;
        }
        let mut inner = self.inner();
        let now = clock::now();
        if inner.failover.found_read_only(began_as, now) == Found::Nothing {
            return;
        }
        let servers = inner.servers.iter().flatten().count();
        for pool in inner.pools_with_servers() {
            inner.retire(pool, now);
        }
        self.leave(inner);
        let target = self.target();
        DatabaseMoved { target: &target, servers }.emit();
    }
}
