//! The listening connections, as the pools see them: each is the one server of a pool of its own,
//! which is beside its clients' pool and under `max_db_connections`.
//!
//! Invariant: the waiter of such a pool is its hub, under a number that no client has.

use std::sync::Arc;

use stent_pool::{Class, Condition, Event, PoolId, TooManyPools, WaiterId};

use super::{Broker, Inner, PoolEntry, Role};
use crate::link::Link;
use crate::notify::Hub;
use crate::workers;

/// The place in the register that no client ever has: it would be the four-billionth.
const NO_CLIENT: u64 = 0xffff_ffff;

fn waiter(ear: PoolId) -> WaiterId {
    WaiterId((ear.index() as u64) << 32 | NO_CLIENT)
}

impl Broker {
    /// Who listens for the clients of a pool.
    pub(crate) fn hub(&self, pool: PoolId) -> Result<Arc<Hub>, TooManyPools> {
        let nonce = u64::from_ne_bytes(self.entropy.bytes().map_err(|_| TooManyPools)?);
        let mut inner = self.inner();
        if let Role::Lends(Some(hub)) = &inner.entries[pool.index()].role {
            return Ok(Arc::clone(hub));
        }
        let ear = inner.pools.listening(pool)?;
        assert_eq!(ear.index(), inner.entries.len(), "a pool and its entry are made together");
        let hub = Arc::new(Hub::new(pool, ear, nonce));
        let of = &mut inner.entries[pool.index()];
        of.role = Role::Lends(Some(Arc::clone(&hub)));
        let (database, user, firewall) =
            (Arc::clone(&of.database), Arc::clone(&of.user), Arc::clone(&of.firewall));
        let role = Role::Listens(Arc::clone(&hub));
        inner.entries.push(PoolEntry::new(self.config.workers, database, user, firewall, role));
        Ok(hub)
    }

    /// A hub asks for its connection.
    pub(crate) fn acquire_ear(self: &Arc<Self>, ear: PoolId) {
        let (waiter, home, class) = (waiter(ear), workers::home(), Class::USUAL);
        self.handle(Event::Acquire { pool: ear, waiter, home, class });
    }

    /// It needs none any more. One that was granted meanwhile is the hub's to give back.
    pub(crate) fn withdraw_ear(self: &Arc<Self>, ear: PoolId) {
        self.handle(Event::Withdraw { waiter: waiter(ear) });
    }

    /// A hub gives its connection back.
    pub(crate) fn release_ear(self: &Arc<Self>, link: Box<Link>, condition: Condition) {
        self.hand_back(link, condition);
    }
}

impl Inner {
    /// The hub that waits under this number, if it is a hub's.
    pub(super) fn waiting_hub(&self, waiter: WaiterId) -> Option<Arc<Hub>> {
        let index = usize::try_from(waiter.0 >> 32).ok()?;
        if waiter.0 & NO_CLIENT != NO_CLIENT {
            return None;
        }
        match &self.entries.get(index)?.role {
            Role::Listens(hub) => Some(Arc::clone(hub)),
            Role::Lends(_) => None,
        }
    }
}
