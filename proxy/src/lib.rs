//! The pooling proxy: sockets, timers and the session loop around the pure cores.
//!
//! Owns: one current-thread runtime's worth of tasks. Each client is one task that owns its socket
//! and, while it has one, its server's; the [`broker`] is the single owner of everything shared,
//! and no lock exists because nothing is shared between threads.
//! Refuses: deciding (that is `stent_pool`'s and `stent_wire`'s), and reading configuration.
//! Invariant: a byte goes from the client's socket to the server's within one poll, through one
//! buffer that all clients share.

// Tests within use what tests beside it do.
#[cfg(test)]
extern crate self as stent_proxy;

mod admin;
mod auth_query;
mod broker;
mod cancel;
mod clients;
mod clock;
pub mod config;
mod connect;
mod console;
mod dial;
mod disconnects;
mod entropy;
mod error;
mod events;
mod exchange;
mod facts;
mod firewall;
mod fleet;
mod flow;
mod histogram;
mod hosts;
mod leftovers;
mod link;
mod listen;
mod login;
mod low_water;
mod memory;
mod messages;
mod notify;
mod page;
mod passwords;
mod pins;
mod pool_stats;
mod scratch;
mod serve;
mod session;
mod shared;
mod snapshot;
mod stash;
mod steering;
mod strangers;
mod stream;
mod takeover;
mod tls;
mod totals;
mod traces;
#[cfg(test)]
mod trap;
mod twins;
mod users;
mod workers;

use std::future::Future;

pub use config::Config;
pub use error::Error;
pub use steering::{Held, ON_THE_WAY_MAX, Order, Steering, Wish};

/// Runs the proxy until `shutdown` completes and clients have finished their transactions.
///
/// To be called on a `LocalRuntime`. Fails only at the start: an address that cannot be
/// listened on, a secret that cannot be used.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + 'static,
) -> Result<(), Error> {
    run_steered(config, None, shutdown).await
}

/// The same, told more than to end. See [`Steering`].
pub async fn run_steered(
    config: Config,
    steering: Option<Steering>,
    shutdown: impl Future<Output = ()> + 'static,
) -> Result<(), Error> {
    // A task of its own: what a runtime blocks on is polled at its every turn.
    match tokio::task::spawn_local(serve::serve(config, steering, shutdown)).await {
        Ok(ended) => ended,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => unreachable!("nobody aborts this task"),
        },
    }
}
