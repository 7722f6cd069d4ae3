//! The pooling proxy: sockets, timers and the session loop around the pure cores.
//!
//! Owns: one current-thread runtime's worth of tasks. Each client is one task that owns its socket
//! and, while it has one, its server's; the [`broker`] is the single owner of everything shared,
//! and no lock exists because nothing is shared between threads.
//! Refuses: deciding (that is `stent_pool`'s and `stent_wire`'s), and reading configuration.
//! Invariant: a byte goes from the client's socket to the server's within one poll, through one
//! buffer that all clients share.

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
mod histogram;
mod link;
mod listen;
mod login;
mod memory;
mod messages;
mod notify;
mod page;
mod passwords;
mod pins;
mod pool_stats;
mod scratch;
mod session;
mod shared;
mod snapshot;
mod stash;
mod steering;
mod stream;
mod tls;
mod traces;
mod twins;
mod users;
mod workers;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use config::Config;
pub use error::Error;
pub use steering::{ON_THE_WAY_MAX, Order, Steering, Wish};

use crate::admin::Admin;
use crate::broker::Broker;
use crate::config::PortUse;
use crate::listen::Listener;
use crate::twins::Twins;
use crate::workers::Workers;

/// How often the drain looks whether they have.
const DRAIN_STEP: Duration = Duration::from_millis(20);
/// An application without a connection for so long has gone.
const GONE_AFTER: Duration = Duration::from_millis(500);

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
    match tokio::task::spawn_local(serve(config, steering, shutdown)).await {
        Ok(ended) => ended,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => unreachable!("nobody aborts this task"),
        },
    }
}

async fn serve(
    config: Config,
    steering: Option<Steering>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    // First what may be wrong with the configuration: nobody connects to a proxy that cannot start.
    let broker = Broker::new(config)?;
    let listeners = listen_for_clients(&broker.config)?;
    let admin_listener = broker.config.admin.as_ref().map(Listener::admin).transpose()?;
    let on: Arc<[String]> = listeners.iter().map(Listener::shown).collect();
    let mut workers = Workers::start(&broker)?;
    tokio::task::spawn_local(Arc::clone(&broker).janitor());
    tokio::task::spawn_local(Arc::clone(&broker).warm());
    tokio::task::spawn_local(Arc::clone(&broker).watch_holders());
    tokio::task::spawn_local(Arc::clone(&broker).age_firewalls());
    tokio::task::spawn_local(Arc::clone(&broker).make_verifiers_ready());
    if let Some(Steering { orders, wishes }) = steering {
        broker.wishes.set(wishes).expect("it is set once");
        tokio::task::spawn_local(steering::obey(Arc::clone(&broker), orders));
    }
    if let Some(listener) = admin_listener {
        let admin = Admin::new(Arc::clone(&broker), Arc::clone(&on));
        tokio::task::spawn_local(admin.serve(listener));
    }
    if broker.config.so_reuseport == PortUse::Shared {
        let (twins, listener) = Twins::join(broker.config.listen_port, &broker.entropy)?;
        broker.twins.set(twins).expect("they are joined once");
        tokio::task::spawn_local(Twins::serve(Arc::clone(&broker), listener));
    }
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::task::spawn_local(workers.accept(&broker, listener)))
        .collect();
    let upstream = broker.target();
    events::Listening { on: &on, upstream: &upstream }.emit();
    tokio::select! {
        () = shutdown => {}
        error = workers.one_ends() => return Err(error),
    }
    tokio::select! {
        () = serve_on(&broker) => {}
        error = workers.one_ends() => return Err(error),
    }
    for task in accepting {
        task.abort();
    }
    tokio::select! {
        () = drain(&broker) => {}
        error = workers.one_ends() => return Err(error),
    }
    workers.end();
    Ok(())
}

fn listen_for_clients(config: &Config) -> Result<Vec<Listener>, Error> {
    let mut listeners = Vec::new();
    for addr in &config.listen {
        listeners.push(Listener::tcp(*addr, config.so_reuseport)?);
    }
    if let Some(dir) = &config.unix_socket_dir {
        let name = format!(".s.PGSQL.{}", config.listen_port);
        listeners.push(Listener::unix(&dir.join(name))?);
    }
    Ok(listeners)
}

/// Serves as before until the application has gone, up to a limit: it is stopped at the same time, and
/// its last requests need the database.
async fn serve_on(broker: &Arc<Broker>) {
    broker.serve_on();
    let begun = tokio::time::Instant::now();
    let mut last_seen = begun;
    while begun.elapsed() < broker.present().config.drain_serve_timeout
        && last_seen.elapsed() < GONE_AFTER
    {
        if broker.inner().clients.len() > 0 {
            last_seen = tokio::time::Instant::now();
        }
        tokio::time::sleep(DRAIN_STEP).await;
    }
}

/// Lets clients finish, up to a limit, then closes the servers.
async fn drain(broker: &Arc<Broker>) {
    broker.drain();
    let deadline = tokio::time::Instant::now() + broker.present().config.drain_timeout;
    while broker.inner().clients.len() > 0 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(DRAIN_STEP).await;
    }
    let clients_cut = broker.inner().clients.len();
    broker.say_goodbye();
    events::Drained { clients_cut }.emit();
}
