//! The fleet budget, resolved.
//!
//! Owns: what the proxy is told of the fleet that it belongs to. Refuses: who else is in it: that
//! PostgreSQL shows.
//! Invariant: a number that is in here is the same for all proxies of a fleet, or costs only its own.

use std::time::Duration;

/// Sharing PostgreSQL's connections with the other proxies (`fleet_budget`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetBudget {
    /// `fleet_interval`: shares settle within two.
    pub interval: Duration,
    /// `fleet_minimum`: servers that this proxy has in any case.
    pub minimum: u32,
    /// `fleet_reserve`: connections that are left to others.
    pub reserve: u32,
}
