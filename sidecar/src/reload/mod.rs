//! Reading the configuration anew while everything runs: SIGHUP, `stent reload`, RELOAD on the console.
//!
//! Owns: who may ask (`control`), what is answered, and what only a restart changes. The lone proxy does
//! it itself (`own`); a supervisor does it and tells its proxy (`reins`).
//! Invariant: a configuration with a problem in it changes nothing, anywhere.

mod control;
mod own;
mod reins;

use std::fmt;

use tokio::sync::oneshot;

use crate::config::Loaded;
use crate::config::keys::{Owner, Row};

pub(crate) use control::{ask, listen};
pub(crate) use own::keep;
pub(crate) use reins::{Reins, follow};

/// Keys of the proxy, or of all, that hold from the start of a process to its end. Those of the agent
/// and of the supervisor do so all.
const FIXED: [&str; 18] = [
    "sibling_drain",
    "listen_addr",
    "listen_port",
    "so_reuseport",
    "workers",
    "unix_socket_dir",
    "forbidden_state",
    "pool_mode",
    "fleet_budget",
    "fleet_interval",
    "fleet_minimum",
    "fleet_reserve",
    "max_prepared_statements",
    "statement_cache",
    "admin_listen",
    "agent_listen",
    "log_format",
    "shutdown_timeout",
];

/// What a running process is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Another configuration.
    Reload,
    /// Another process of the proxy, of the program as it is on the disk now.
    Upgrade,
    /// None: the proxy that was started last serves clients from here on.
    Serving,
}

/// A request, and where its answer goes: what has been done, or why nothing has.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) answer: Answer,
}

/// See [`Asked`].
pub(crate) type Answer = oneshot::Sender<Result<String, String>>;

impl Request {
    /// As it is written on the command line and on the control socket.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Upgrade => "upgrade",
            Self::Serving => "serving",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Reload, Self::Upgrade].into_iter().find(|request| request.as_str() == text)
    }
}

/// What another configuration has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Keys whose new value is in force.
    changed: Vec<&'static str>,
    /// Keys whose new value is not.
    waiting: Vec<&'static str>,
}

impl Report {
    /// Of what differs between two configurations.
    pub(crate) fn of(before: &Loaded, now: &Loaded) -> Self {
        let mut report = Self::default();
        for row in before.differences(now) {
            let list = if is_fixed(row) { &mut report.waiting } else { &mut report.changed };
            list.push(row.name);
        }
        report
    }

    /// Logs it.
    pub(crate) fn emit(&self) {
        let (changed, waiting) = (self.changed.join(", "), self.waiting.join(", "));
        match waiting.is_empty() {
            true => tracing::info!(changed, "configuration reloaded"),
            false => tracing::warn!(changed, needs_restart = waiting, "configuration reloaded"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reloaded; users, rules, passwords and certificates were read anew\n")?;
        let changed = if self.changed.is_empty() { "no key" } else { &self.changed.join(", ") };
        write!(f, "changed: {changed}")?;
        if !self.waiting.is_empty() {
            write!(f, "\nneeds a restart: {}", self.waiting.join(", "))?;
        }
        Ok(())
    }
}

/// Whether a key holds from the start of its process to the end.
pub(crate) fn is_fixed(row: &Row) -> bool {
    FIXED.contains(&row.name) || matches!(row.owner, Owner::Agent | Owner::Supervisor)
}

/// Logs that nothing has changed.
pub(crate) fn log_failure(why: &str) {
    tracing::warn!(why, "reload failed: nothing has changed");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::row;

    #[test]
    fn what_is_fixed_is_in_the_table_of_keys() {
        for name in FIXED {
            assert!(row(name).is_some(), "{name}");
        }
    }
}
