//! The fleet budget: what must be there for it, and what two proxies could not agree on.
//!
//! Refuses: whether the fleet fits (`stent budget`).
//! Invariant: without `fleet_budget` nothing is said.

use std::time::Duration;

use super::Upstream;
use super::keys::Settings;
use super::problem::Problems;
use super::value::Switch;

/// A longer interval could not be published.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

pub(crate) fn all(settings: &Settings, upstream: &Upstream, problems: &mut Problems) {
    let budget = &settings.fleet_budget;
    if budget.value == Switch::Off {
        return;
    }
    if let Some(database) = &upstream.database
        && database.user.is_none()
    {
        problems.add(
            &budget.origin,
            "fleet_budget is on, and the database URL names no user for its connection",
            "add a user to the database URL, or set fleet_budget off",
        );
    }
    let interval = &settings.fleet_interval;
    if interval.is_sound() && interval.value.0 > INTERVAL_MAX {
        problems.add(
            &interval.origin,
            "fleet_interval is over 60 seconds",
            "write at most 60; a fleet of over 250 proxies lengthens it by itself",
        );
    }
    let (minimum, most) = (&settings.fleet_minimum, &settings.max_server_connections);
    if let (true, true, Some(most)) = (minimum.is_sound(), most.is_sound(), most.value)
        && minimum.value > most.get()
    {
        problems.add(
            &minimum.origin,
            format!(
                "fleet_minimum ({}) is more than max_server_connections ({most})",
                minimum.value
            ),
            "lower fleet_minimum or raise max_server_connections",
        );
    }
}
