//! One struct per observable event: the log line and the counter together.
//!
//! Invariant: no secret, no parameter value and no query text is in any of them.

use std::time::Duration;

use tracing::{debug, info, warn};

use stent_pool::DueStage;
use stent_wire::auth::lookup::BadLookup;
use stent_wire::fingerprint::fingerprint;
use stent_wire::prepared::{Change, Statement, Way};

use crate::auth_query::LookupError;
use crate::broker::Said;
use crate::clock::ms;
use crate::connect::OpenError;
use crate::disconnects::{Cause, Disconnects, Ended, Side};
use crate::exchange::ExchangeError;
use crate::fleet::ControlError;

mod memory;

pub(crate) use memory::{MemoryHidden, Outgrown};

/// How long a fingerprint may be.
const FINGERPRINT_MAX: usize = 200;

/// A server stays with its client, because its session holds state.
pub(crate) struct Pinned<'a> {
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
    pub(crate) causes: &'a str,
    pub(crate) statement: &'a str,
    pub(crate) backend_pid: u32,
}

impl Pinned<'_> {
    /// Logs it; the pool's pins count it.
    pub(crate) fn emit(&self) {
        let Self { database, user, causes, statement, backend_pid } = self;
        info!(database, user, causes, statement, backend_pid, "server stays with its client");
    }
}

/// A statement is parsed anew each time from here on, or is not any more.
pub(crate) struct PlanSwitched<'a> {
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
    pub(crate) statement: &'a Statement,
    pub(crate) change: Change,
}

impl PlanSwitched<'_> {
    /// Logs it; the statements' counts count it.
    pub(crate) fn emit(&self) {
        let Self { database, user, statement, change } = self;
        let median = |way| statement.known_worth().and_then(|worth| worth.median_us(way));
        let (kept_us, anew_us) = (median(Way::Kept), median(Way::Anew));
        let statement = fingerprint(statement.sql(), FINGERPRINT_MAX);
        match change {
            Change::None => {}
            Change::SwitchedOff => {
                warn!(
                    database,
                    user, statement, kept_us, anew_us, "kept plan is slower: switched off"
                );
            }
            Change::SwitchedOn => {
                info!(database, user, statement, kept_us, anew_us, "kept plan is tried again");
            }
        }
    }
}

/// The control connection of the fleet budget works.
pub(crate) struct FleetJoined {
    pub(crate) peers: usize,
    pub(crate) limit: u32,
}

impl FleetJoined {
    /// Logs it; the gauges of the fleet count.
    pub(crate) fn emit(&self) {
        let Self { peers, limit } = self;
        info!(peers, limit, "sharing PostgreSQL's connections with the fleet");
    }
}

/// It does not.
pub(crate) struct FleetLost<'a> {
    pub(crate) error: &'a ControlError,
    pub(crate) share: u32,
    pub(crate) pause: Duration,
}

impl FleetLost<'_> {
    /// Logs it, once until it works again.
    pub(crate) fn emit(&self) {
        let Self { error, share, pause } = self;
        let pause_ms = ms(*pause);
        warn!(%error, share, pause_ms, "control connection of the fleet lost: no server beyond those that are open");
    }
}

/// The servers that are there do not take writes any more, and are replaced.
pub(crate) struct DatabaseMoved<'a> {
    pub(crate) target: &'a str,
    pub(crate) servers: usize,
}

impl DatabaseMoved<'_> {
    /// Logs it; the failover counts itself.
    pub(crate) fn emit(&self) {
        let Self { target, servers } = self;
        warn!(target_address = target, servers, "database is read-only: replacing all servers");
    }
}

/// Maintenance that somebody has asked for.
pub(crate) struct Maintained<'a> {
    pub(crate) what: Maintenance,
    pub(crate) of: &'a str,
    pub(crate) by: &'a str,
}

/// See [`Maintained`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maintenance {
    Pause,
    Resume,
    Reconnect,
}

impl Maintained<'_> {
    /// Logs it; pools show whether they are paused.
    pub(crate) fn emit(&self) {
        let Self { what, of, by } = self;
        match what {
            Maintenance::Pause => warn!(of, by, "PAUSE: clients wait until RESUME"),
            Maintenance::Resume => warn!(of, by, "RESUME"),
            Maintenance::Reconnect => info!(of, by, "RECONNECT: all servers are replaced"),
        }
    }
}

/// A client holds a server for longer than it should.
pub(crate) struct HeldTooLong<'a> {
    pub(crate) due: &'a DueStage,
    pub(crate) said: &'a Said,
}

impl HeldTooLong<'_> {
    /// Logs it; the broker counts it.
    pub(crate) fn emit(&self) {
        let Self { due, said } = self;
        let (limit, stage) = (due.hold.as_str(), due.stage.as_str());
        let age_ms = ms(due.age);
        let Said { database, user, client, application_name, backend_pid, statement } = said;
        warn!(
            limit,
            stage,
            age_ms,
            %database,
            %user,
            client,
            application_name,
            backend_pid,
            statement,
            "a client holds a server for too long"
        );
    }
}

/// Another configuration is in force.
pub(crate) struct Reloaded {
    pub(crate) moved: bool,
}

impl Reloaded {
    /// Logs it.
    pub(crate) fn emit(&self) {
        match self.moved {
            true => info!("another configuration is in force; all servers are replaced"),
            false => info!("another configuration is in force"),
        }
    }
}

/// A server was lost with requests that were sent to another.
pub(crate) struct Repeated<'a> {
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
    pub(crate) backend_pid: u32,
    pub(crate) why: &'a str,
}

impl Repeated<'_> {
    /// Logs it; the broker counts it.
    pub(crate) fn emit(&self) {
        let Self { database, user, backend_pid, why } = self;
        info!(database, user, backend_pid, why, "server lost: its client gets another");
    }
}

impl Ended {
    /// Logs it and counts it.
    pub(crate) fn emit(self, disconnects: &mut Disconnects) {
        let Self { database, user, who, detail, .. } = &self;
        let (database, user, detail) = (&**database, &**user, &**detail);
        let (side, cause, age_ms) = (who.side().as_str(), self.cause.as_str(), ms(self.age));
        if self.is_nobodys_fault() {
            debug!(side, cause, database, user, %who, age_ms, detail, "connection ended");
        } else {
            warn!(side, cause, database, user, %who, age_ms, detail, "connection ended");
        }
        disconnects.add(self);
    }

    /// Such ends are not worth a line in production.
    fn is_nobodys_fault(&self) -> bool {
        match self.cause {
            Cause::Terminated
            | Cause::Lifetime
            | Cause::Memory
            | Cause::IdleTimeout
            | Cause::MakeRoom
            | Cause::Restarted
            | Cause::Reserve
            | Cause::Retired
            | Cause::Shrunk
            | Cause::Shutdown => true,
            Cause::Gone => self.who.side() == Side::Client,
            Cause::ProtocolError
            | Cause::LoginFailed
            | Cause::LoginTimeout
            | Cause::TooManyClients
            | Cause::TooManyLogins
            | Cause::Panicked
            | Cause::TooSlow
            | Cause::HoldLimit
            | Cause::ServerLost
            | Cause::Doubtful
            | Cause::ProbeFailed => false,
        }
    }
}

/// A server connection could not be opened.
pub(crate) struct OpenFailed<'a> {
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
    pub(crate) error: &'a OpenError,
}

impl OpenFailed<'_> {
    /// Logs it; the counter is the pool entry's.
    pub(crate) fn emit(&self) {
        let Self { database, user, error } = self;
        let sqlstate = error.sqlstate().to_string();
        warn!(database, user, sqlstate, %error, "cannot open a server connection");
    }
}

/// The connection that listens for the clients of a pool ended.
pub(crate) struct ListenerLost<'a> {
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
    pub(crate) backend_pid: u32,
    pub(crate) error: &'a ExchangeError,
}

impl ListenerLost<'_> {
    /// Logs it; the counter is the hub's.
    pub(crate) fn emit(&self) {
        let Self { database, user, backend_pid, error } = self;
        warn!(database, user, backend_pid, %error, "the listening connection is lost");
    }
}

/// A user could not be looked up.
pub(crate) struct LookupFailed<'a> {
    pub(crate) user: &'a str,
    pub(crate) why: &'a LookupError,
}

impl LookupFailed<'_> {
    /// Logs it; the client's end is counted where it ends.
    pub(crate) fn emit(&self) {
        let Self { user, why } = self;
        warn!(user, %why, "cannot look up a user");
    }
}

/// What was found for a user is of no use.
pub(crate) struct LookupUnusable<'a> {
    pub(crate) user: &'a str,
    pub(crate) why: &'a BadLookup,
}

impl LookupUnusable<'_> {
    /// Logs it; the client's end is counted where it ends.
    pub(crate) fn emit(&self) {
        let Self { user, why } = self;
        warn!(user, %why, "a user's secret cannot be used");
    }
}

/// The proxy takes clients.
pub(crate) struct Listening<'a> {
    pub(crate) on: &'a [String],
    pub(crate) upstream: &'a str,
}

impl Listening<'_> {
    /// Logs it.
    pub(crate) fn emit(&self) {
        info!(on = self.on.join(", "), upstream = self.upstream, "the proxy takes clients");
    }
}

/// Another process accepts clients from here on.
pub(crate) struct HandedOver {
    pub(crate) clients: usize,
    pub(crate) limit: Duration,
}

impl HandedOver {
    /// Logs it.
    pub(crate) fn emit(&self) {
        let (clients, limit_s) = (self.clients, self.limit.as_secs());
        info!(
            clients,
            limit_s, "another process has taken over: serving the clients that are here"
        );
    }
}

/// The proxy ends.
pub(crate) struct Drained {
    pub(crate) clients_cut: usize,
}

impl Drained {
    /// Logs it.
    pub(crate) fn emit(&self) {
        info!(clients_cut = self.clients_cut, "the proxy has shut down");
    }
}
