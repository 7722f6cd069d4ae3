//! `stent healthcheck`: asks the admin endpoint, so that an image needs neither shell nor curl.
//!
//! Invariant: it ends within [`LIMIT`] and a little, with one line that says why.

use std::time::Duration;

use crate::config::Role;
use crate::config::flags::Flags;
use crate::exit::Exit;
use crate::http;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Whether clients are served: `/readyz`.
    Ready,
    /// Whether the process lives: `/livez`.
    Live,
}

/// Under the 5 seconds that are the usual timeout of a health check in ECS.
const LIMIT: Duration = Duration::from_secs(3);
/// The longest reason that is printed.
const REASON_MAX: usize = 300;

/// Asks, prints one line, and says how it went.
pub(crate) fn run(flags: &Flags, probe: Probe) -> Exit {
    match ask(flags, probe) {
        Ok(line) => {
            crate::say(&format!("{line}\n"));
            Exit::Clean
        }
        Err(line) => {
            crate::complain(&line);
            Exit::Negative
        }
    }
}

fn ask(flags: &Flags, probe: Probe) -> Result<String, String> {
    let loaded = crate::config::load(Role::Probe, flags, &crate::environment());
    let loaded = loaded.map_err(|problems| problems.to_string())?;
    let admin = loaded.admin.ok_or("admin_listen is empty: there is nothing to ask")?.reachable();
    let path = match probe {
        Probe::Ready => "/readyz",
        Probe::Live => "/livez",
    };
    let runtime = crate::component::runtime().map_err(|error| error.to_string())?;
    let reply = runtime.block_on(http::get(&admin, path, LIMIT));
    let reply = reply.map_err(|error| format!("{admin}{path}: {error}"))?;
    let body = String::from_utf8_lossy(&reply.body);
    let reason: String = body.lines().next().unwrap_or_default().chars().take(REASON_MAX).collect();
    let line = format!("{path} says {}: {reason}", reply.status.as_u16());
    if reply.status.is_success() { Ok(line) } else { Err(line) }
}
