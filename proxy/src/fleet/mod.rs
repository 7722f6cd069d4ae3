//! The fleet budget: the control connection, and the share in force.
//!
//! Owns: one connection beside the pools, on which the proxy publishes its claim and reads those of
//! the others; the task that keeps it and applies what `stent_pool::fleet` decides. Refuses:
//! deciding.
//! Invariant: while the budget is on, the pools are never allowed more than the share of that
//! moment: none before the first reading, and what they hold while nothing is heard.

mod member;
mod sql;

use std::sync::Arc;
use std::time::Instant;

use stent_contract::snapshot::FleetSnapshot;
use stent_pool::OpenFailure;
use stent_pool::fleet::{Fleet, Overview, Peer};
use stent_wire::report::SqlState;

use crate::broker::Broker;
use crate::connect::OpenError;

pub(crate) use member::{ControlError, run};

/// What is shown of the budget.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// What the pools may have.
    pub(crate) share: u32,
    /// What they have, and could do with.
    pub(crate) held: u32,
    pub(crate) demand: u32,
    /// Why the control connection is not there.
    pub(crate) error: Option<Arc<str>>,
    /// From the last reading.
    pub(crate) overview: Overview,
    pub(crate) own: u32,
    pub(crate) peers: Vec<Peer>,
}

impl Broker {
    /// Puts the share of this moment in force; what the pools hold, and could do with.
    fn apply(self: &Arc<Self>, fleet: &mut Fleet) -> (u32, u32) {
        let now = Instant::now();
        let mut inner = self.inner();
        let (held, demand) = (inner.pools.held(), inner.pools.demand());
        let share = fleet.limit(now, held);
        inner.allow(share, now);
        self.leave(inner);
        let mut shown = self.fleet.lock();
        (shown.share, shown.held, shown.demand) = (share, held, demand);
        shown.overview = fleet.overview();
        (held, demand)
    }

    /// Nothing before the first reading.
    pub(crate) fn begin_fleet(self: &Arc<Self>) {
        if self.config.fleet.is_some() {
            let mut inner = self.inner();
            inner.allow(0, Instant::now());
            self.leave(inner);
        }
    }

    /// What the pools make of a failure. With a budget, a lack of connections is a matter of
    /// moments, and no client's concern.
    pub(crate) fn failure(&self, error: &OpenError) -> OpenFailure {
        if self.config.fleet.is_some() && is_crowded(error) {
            return OpenFailure::Crowded;
        }
        error.failure()
    }

    /// For the snapshot; `None` where there is no budget.
    pub(crate) fn fleet_snapshot(&self) -> Option<FleetSnapshot> {
        self.config.fleet?;
        let shown = self.fleet.lock();
        Some(FleetSnapshot {
            share: shown.share,
            target: shown.overview.target,
            servers: shown.held,
            demand: shown.demand,
            limit: shown.overview.limit,
            peers: shown.overview.peers,
            others: shown.overview.others,
            error: shown.error.as_deref().map(str::to_owned),
        })
    }
}

fn is_crowded(error: &OpenError) -> bool {
    error.sqlstate() == SqlState::TOO_MANY_CONNECTIONS
}
