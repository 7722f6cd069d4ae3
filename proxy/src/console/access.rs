//! Who may use the admin console.
//!
//! The names in `admin_users` and `stats_users`, with the proof that `auth_type` asks them for; and
//! without proof the proxy's own operating system user over the unix socket, as `stent` or
//! `pgbouncer`. As long as nobody is named the two databases are not reserved: whoever asks for them
//! gets PostgreSQL's.
//! Invariant: over a network nobody gets in who is not named.
//! Source: PgBouncer, doc/config.md (`admin_users`, `stats_users`) and doc/usage.md ("Admin console").

use std::os::unix::fs::MetadataExt;

use stent_wire::startup::{Replication, Startup};

use crate::config::Config;
use crate::stream::Stream;

/// The names of the database, and of the user who needs no proof.
pub(super) const NAMES: [&str; 2] = ["stent", "pgbouncer"];

/// Where a client's start-up leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// To PostgreSQL.
    Database,
    /// To the console, after its proof, with these rights.
    Console(Rights),
    /// To the console, with all rights: it is who runs the proxy.
    Keeper,
    /// Nowhere, after its proof.
    Denied,
}

/// What a user of the console may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Look: `stats_users`.
    Look,
    /// Change things too: `admin_users`.
    Change,
}

impl Access {
    /// Where this start-up leads on this connection.
    pub(crate) fn of(config: &Config, stream: &Stream, startup: &Startup) -> Self {
        let asks = NAMES.contains(&startup.database.as_str());
        if !asks || startup.replication != Replication::Off {
            return Self::Database;
        }
        if NAMES.contains(&startup.user.as_str()) && is_own_user(stream) {
            return Self::Keeper;
        }
        let (admins, stats) = (&config.console_admins, &config.console_users);
        match () {
            () if admins.contains(&startup.user) => Self::Console(Rights::Change),
            () if stats.contains(&startup.user) => Self::Console(Rights::Look),
            () if admins.is_empty() && stats.is_empty() => Self::Database,
            () => Self::Denied,
        }
    }

    /// Whether the client gets in when `max_client_conn` is reached.
    pub(crate) const fn needs_room(self) -> bool {
        match self {
            Self::Database | Self::Denied => true,
            Self::Console(_) | Self::Keeper => false,
        }
    }
}

/// Whether the other end of a unix socket is a process of the user as whom the proxy runs.
fn is_own_user(stream: &Stream) -> bool {
    let Stream::Unix(stream) = stream else { return false };
    let own = std::fs::metadata("/proc/self").map(|own| own.uid());
    matches!((stream.peer_cred(), own), (Ok(peer), Ok(own)) if peer.uid() == own)
}
