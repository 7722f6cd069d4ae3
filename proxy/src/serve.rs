//! The life of a proxy: its start, its service, and its two ends.
//!
//! Owns: the order of things. Refuses: what each of them is.
//! Invariant: nobody is accepted before the configuration has proved usable, and whoever is here when the
//! end begins may finish.
//!
//! ```text
//! starting ──▶ serving ──SIGTERM──▶ serving on ──▶ closing ──▶ ended
//!                 │                  (the application may still need us)
//!                 └─another has taken over──▶ serving those that it has ──▶ closing ──▶ ended
//! ```

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::admin::Admin;
use crate::broker::Broker;
use crate::config::{Config, PortUse, Takeover};
use crate::error::Error;
use crate::events;
use crate::fleet;
use crate::listen::{Files, Listener};
use crate::steering::{self, Steering, Wish};
use crate::takeover::{Door, Inherited, TIMEOUT};
use crate::twins::Twins;
use crate::workers::Workers;

/// How often the drain looks whether clients have gone.
const DRAIN_STEP: Duration = Duration::from_millis(20);
/// An application without a connection for so long has gone.
const GONE_AFTER: Duration = Duration::from_millis(500);

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// It was told to.
    Told,
    /// Another process serves in its place.
    Replaced,
}

/// What listens.
struct Open {
    clients: Vec<Listener>,
    admin: Option<Listener>,
    files: Files,
    door: Option<Door>,
    inherited: Inherited,
}

/// What ends with the service of newcomers.
#[derive(Default)]
struct Tasks(Vec<JoinHandle<()>>);

impl Tasks {
    fn add(&mut self, task: impl Future<Output = ()> + 'static) {
        self.0.push(tokio::task::spawn_local(task));
    }

    fn abort(&self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Runs from the start to the end.
pub(crate) async fn serve(
    config: Config,
    steering: Option<Steering>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    // First what may be wrong with the configuration: nobody connects to a proxy that cannot start.
    let broker = Broker::new(config)?;
    let Open { clients, admin, files, door, inherited } = open(&broker.config).await?;
    let mut workers = Workers::start(&broker)?;
    begin(&broker, &inherited)?;
    if inherited.is_takeover() {
        until_open(&broker).await?;
    }
    inherited.ready().await?;
    let mut tasks = Tasks::default();
    let wishes = steer(&broker, steering, &mut tasks);
    let (stop, stopped) = watch::channel(());
    welcome(&broker, &workers, clients, admin, &stopped, &mut tasks);
    if let Some(wishes) = wishes {
        // Whoever does not listen does not want to know.
        let _ = wishes.try_send(Wish::Serving);
    }
    let mut shutdown = pin!(shutdown);
    let ending = tokio::select! {
        () = shutdown.as_mut() => Ending::Told,
        () = handed_over(door, &broker) => Ending::Replaced,
        error = workers.one_ends() => return Err(error),
    };
    let mut stop = Some(stop);
    let leaving = async {
        match ending {
            Ending::Told => serve_on(&broker).await,
            Ending::Replaced => {
                files.keep();
                drop(stop.take());
                tasks.abort();
                serve_the_rest(&broker, shutdown).await;
            }
        }
    };
    tokio::select! {
        () = leaving => {}
        error = workers.one_ends() => return Err(error),
    }
    drop(stop);
    tokio::select! {
        () = drain(&broker) => {}
        error = workers.one_ends() => return Err(error),
    }
    workers.end();
    Ok(())
}

/// Listens, on sockets of the process before us where we take over from it.
async fn open(config: &Config) -> Result<Open, Error> {
    let mut inherited = match config.takeover {
        Takeover::No => Inherited::default(),
        Takeover::Yes => Inherited::ask_for(config).await?,
    };
    let files = Files::default();
    let mut clients = Vec::new();
    for addr in &config.listen {
        clients.push(Listener::tcp(*addr, config.so_reuseport, &mut inherited)?);
    }
    if let Some(dir) = &config.unix_socket_dir {
        let path = dir.join(format!(".s.PGSQL.{}", config.listen_port));
        clients.push(Listener::unix(&path, &mut inherited, &files)?);
    }
    let admin = config.admin.as_ref();
    let admin = admin.map(|addr| Listener::admin(addr, &mut inherited, &files)).transpose()?;
    let sockets = clients.iter().chain(&admin).map(Listener::as_fd).collect();
    let door = Door::open(config, &mut inherited, sockets);
    Ok(Open { clients, admin, files, door, inherited })
}

/// What runs from the start to the end.
fn begin(broker: &Arc<Broker>, inherited: &Inherited) -> Result<(), Error> {
    tokio::task::spawn_local(Arc::clone(broker).janitor());
    tokio::task::spawn_local(Arc::clone(broker).warm());
    tokio::task::spawn_local(Arc::clone(broker).watch_holders());
    tokio::task::spawn_local(Arc::clone(broker).age_firewalls());
    broker.begin_fleet();
    tokio::task::spawn_local(fleet::run(Arc::clone(broker)));
    tokio::task::spawn_local(Arc::clone(broker).make_verifiers_ready());
    if broker.config.so_reuseport == PortUse::Shared || inherited.is_takeover() {
        Twins::meet(broker)?;
    }
    Ok(())
}

/// Obeys whoever is around the proxy; to whom wishes go.
fn steer(
    broker: &Arc<Broker>,
    steering: Option<Steering>,
    tasks: &mut Tasks,
) -> Option<mpsc::Sender<Wish>> {
    let Steering { orders, wishes } = steering?;
    broker.wishes.set(wishes.clone()).expect("it is set once");
    tasks.add(steering::obey(Arc::clone(broker), orders));
    Some(wishes)
}

/// Takes clients, and answers on the admin pages.
fn welcome(
    broker: &Arc<Broker>,
    workers: &Workers,
    clients: Vec<Listener>,
    admin: Option<Listener>,
    stopped: &watch::Receiver<()>,
    tasks: &mut Tasks,
) {
    let on: Arc<[String]> = clients.iter().map(Listener::shown).collect();
    if let Some(listener) = admin {
        let admin = Admin::new(Arc::clone(broker), Arc::clone(&on));
        tasks.add(admin.serve(listener));
    }
    for listener in clients {
        // Not aborted: it might have a client in its hands.
        drop(tokio::task::spawn_local(workers.accept(broker, listener, stopped.clone())));
    }
    events::Listening { on: &on, upstream: &broker.target() }.emit();
}

/// Resolves when another process has taken over.
async fn handed_over(door: Option<Door>, broker: &Arc<Broker>) {
    match door {
        Some(door) => door.handed_over(broker).await,
        None => std::future::pending().await,
    }
}

/// Waits until the way to PostgreSQL is open: before that nothing is taken over from one that works.
async fn until_open(broker: &Arc<Broker>) -> Result<(), Error> {
    let begun = Instant::now();
    while let Some(why) = broker.closed_way() {
        if begun.elapsed() > TIMEOUT {
            return Err(Error::Takeover(io::Error::new(io::ErrorKind::TimedOut, why)));
        }
        tokio::time::sleep(DRAIN_STEP).await;
    }
    Ok(())
}

/// Serves as before until the application has gone, up to a limit: it is stopped at the same time, and
/// its last requests need the database.
async fn serve_on(broker: &Arc<Broker>) {
    broker.serve_on();
    let begun = Instant::now();
    let mut last_seen = begun;
    let limit = broker.present().config.drain_serve_timeout;
    while begun.elapsed() < limit && last_seen.elapsed() < GONE_AFTER {
        if broker.inner().clients.len() > 0 {
            last_seen = Instant::now();
        }
        tokio::time::sleep(DRAIN_STEP).await;
    }
}

/// Serves the clients that are here until they have gone, up to a limit; newcomers are another's.
async fn serve_the_rest(broker: &Arc<Broker>, told: impl Future<Output = ()>) {
    broker.serve_on();
    broker.give_servers_up();
    let clients = broker.inner().clients.len();
    let limit = broker.present().config.upgrade_drain_timeout;
    events::HandedOver { clients, limit }.emit();
    let begun = Instant::now();
    let gone = async {
        while broker.inner().clients.len() > 0 && begun.elapsed() < limit {
            tokio::time::sleep(DRAIN_STEP).await;
        }
    };
    tokio::select! {
        () = gone => {}
        () = told => {}
    }
}

/// Lets clients finish and leave in turn, up to a limit, then closes the servers.
async fn drain(broker: &Arc<Broker>) {
    let (begun, limit) = (Instant::now(), broker.present().config.drain_timeout);
    let turns = broker.drain(limit);
    while broker.inner().clients.len() > 0 && begun.elapsed() < limit {
        broker.dismiss(&turns, begun.elapsed());
        tokio::time::sleep(DRAIN_STEP).await;
    }
    let clients_cut = broker.inner().clients.len();
    broker.say_goodbye();
    events::Drained { clients_cut }.emit();
}
