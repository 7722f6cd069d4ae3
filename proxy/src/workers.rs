//! Workers: the threads that serve clients, each with a runtime of its own.
//!
//! Owns: which thread a client is with, for its life, and handing it over there. The first worker
//! is the thread that the proxy was started on; it accepts, and it has what there is once: the
//! janitor, the admin pages, the other proxies of the port.
//! Refuses: sharing a client: its session, its buffers and its timers are one worker's. Shared are the
//! pools, which are the broker's.
//! Invariant: a new client goes to the worker with the fewest, and a worker that ends before its time
//! ends the proxy: there is no half of one.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use stent_pool::Home;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, watch};

use crate::broker::Broker;
use crate::clients::ClientId;
use crate::error::Error;
use crate::leftovers;
use crate::listen::Listener;
use crate::login;
use crate::strangers::Stranger;
use crate::stream::Stream;
use crate::totals;

/// The most workers.
pub const WORKERS_MAX: u16 = 64;

/// Sockets beyond `max_client_conn` that may be in their login, to be told that it is full.
const LOGIN_ROOM: usize = 256;
/// Clients on their way to one worker; further ones wait in the kernel.
const ON_THE_WAY_MAX: usize = 128;

thread_local! {
    static HOME: Cell<Home> = const { Cell::new(Home(0)) };
}

/// The worker that this thread is.
pub(crate) fn home() -> Home {
    HOME.get()
}

/// A client that was accepted, on its way to its worker.
struct Newcomer {
    id: ClientId,
    stream: Stream,
}

/// The workers but the first. Dropped, they end.
pub(crate) struct Workers {
    doors: Doors,
    threads: Vec<JoinHandle<()>>,
    /// Says which one has ended before its time.
    ended: mpsc::Receiver<Home>,
    /// Dropped, it ends them.
    stop: watch::Sender<()>,
}

/// Ways to the workers but the first, in their order.
type Doors = Arc<[mpsc::Sender<Newcomer>]>;

impl Workers {
    /// Starts them. What cannot be had (a thread, an event queue) is said before any client comes.
    pub(crate) fn start(broker: &Arc<Broker>) -> Result<Self, Error> {
        HOME.set(Home(0));
        tokio::task::spawn_local(Arc::clone(broker).watch_idle(Home(0)));
        tokio::task::spawn_local(leftovers::give_back(Arc::clone(broker), Home(0)));
        tokio::task::spawn_local(totals::keep(Arc::clone(broker)));
        let (says, ended) = mpsc::channel(usize::from(WORKERS_MAX));
        let (stop, stopped) = watch::channel(());
        let (mut doors, mut threads) = (Vec::new(), Vec::new());
        for home in (1..broker.config.workers.get()).map(Home) {
            let (door, newcomers) = mpsc::channel(ON_THE_WAY_MAX);
            let worker = Worker {
                broker: Arc::clone(broker),
                home,
                newcomers,
                stopped: stopped.clone(),
                _says: Says { home, ended: says.clone() },
            };
            threads.push(worker.start().map_err(Error::Worker)?);
            doors.push(door);
        }
        Ok(Self { doors: doors.into(), threads, ended, stop })
    }

    /// Takes connections until it is told to stop.
    pub(crate) fn accept(
        &self,
        broker: &Arc<Broker>,
        listener: Listener,
        stopped: watch::Receiver<()>,
    ) -> impl Future<Output = ()> + use<> {
        accept(Arc::clone(&self.doors), Arc::clone(broker), listener, stopped)
    }

    /// Waits for a worker that ends before its time; for ever, where none does.
    pub(crate) async fn one_ends(&mut self) -> Error {
        match self.ended.recv().await {
            Some(home) => Error::WorkerEnded { worker: home.0 },
            None => std::future::pending().await,
        }
    }

    /// Ends them and waits until they have.
    pub(crate) fn end(self) {
        let Self { doors: _, threads, ended: _, stop } = self;
        drop(stop);
        for thread in threads {
            // What it panicked with it has said itself.
            let _ = thread.join();
        }
    }
}

async fn accept(
    doors: Doors,
    broker: Arc<Broker>,
    listener: Listener,
    mut stopped: watch::Receiver<()>,
) {
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            // Also where whoever could say so has gone.
            _ = stopped.changed() => return,
            accepted = listener.accept() => accepted,
        };
        let home = broker.inner().clients.emptiest(broker.config.workers);
        // First a place on the way: who is in the register is on the way, or there.
        let place = match usize::from(home.0).checked_sub(1) {
            None => None,
            Some(door) => match doors[door].reserve().await {
                Ok(place) => Some(place),
                // It has ended, and so does the proxy.
                Err(_) => return,
            },
        };
        let clients_max = broker.present().config.max_client_conn.get() as usize + LOGIN_ROOM;
        let mut inner = broker.inner();
        if inner.clients.len() >= clients_max {
            inner.strangers.add(Stranger::TurnedAway);
            continue;
        }
        let id = inner.clients.add(peer, home, Instant::now());
        drop(inner);
        match place {
            Some(place) => place.send(Newcomer { id, stream }),
            None => {
                login::begin(Arc::clone(&broker), id, stream);
            }
        }
    }
}

/// A worker but the first.
struct Worker {
    broker: Arc<Broker>,
    home: Home,
    newcomers: mpsc::Receiver<Newcomer>,
    stopped: watch::Receiver<()>,
    _says: Says,
}

impl Worker {
    /// Returns when it has its thread and its runtime, which can only be made there.
    fn start(self) -> io::Result<JoinHandle<()>> {
        let (says, made) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name(format!("worker-{}", self.home.0));
        let thread = thread.spawn(move || {
            let mut builder = Builder::new_current_thread();
            let (runtime, result) = match builder.enable_all().build_local(LocalOptions::default())
            {
                Ok(runtime) => (Some(runtime), Ok(())),
                Err(error) => (None, Err(error)),
            };
            says.send(result).expect("it is waited for");
            if let Some(runtime) = runtime {
                self.run(&runtime);
            }
        })?;
        made.recv().expect("it is said once")?;
        Ok(thread)
    }

    fn run(mut self, runtime: &LocalRuntime) {
        HOME.set(self.home);
        runtime.block_on(async move {
            tokio::task::spawn_local(Arc::clone(&self.broker).watch_idle(self.home));
            tokio::task::spawn_local(leftovers::give_back(Arc::clone(&self.broker), self.home));
            // A task of its own: what a runtime blocks on is polled at its every turn.
            let serving = tokio::task::spawn_local(async move { self.serve().await });
            // A task of a worker that panics ends that worker: it is the one that takes clients in.
            serving.await.expect("a worker serves until it is told to stop");
        });
    }

    async fn serve(&mut self) {
        loop {
            tokio::select! {
                biased;
                _ = self.stopped.changed() => return,
                newcomer = self.newcomers.recv() => {
                    let Some(Newcomer { id, mut stream }) = newcomer else { return };
                    stream.come_home();
                    login::begin(Arc::clone(&self.broker), id, stream);
                }
            }
        }
    }
}

/// Says that a worker has ended, in whatever way it does.
struct Says {
    home: Home,
    ended: mpsc::Sender<Home>,
}

impl Drop for Says {
    fn drop(&mut self) {
        // Nobody listens where it was told to.
        let _ = self.ended.try_send(self.home);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_panics_is_told_of() {
        let (says, ended) = mpsc::channel(1);
        let (stop, _) = watch::channel(());
        let says = Says { home: Home(3), ended: says };
        let thread = std::thread::spawn(move || {
            let _says = says;
            panic!("as a worker might");
        });
        let (doors, threads) = (Doors::from([]), vec![thread]);
        let mut workers = Workers { doors, threads, ended, stop };
        let error = workers.one_ends().await;
        assert!(matches!(error, Error::WorkerEnded { worker: 3 }), "{error}");
        workers.end();
    }
}
