//! The listener of a fault proxy and the life of a connection.
//!
//! Invariant: a connection ends in one of three ways: both sides have ended, one of them failed, or
//! a fault says so; its count is taken back in each.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::pump::{Pump, Side};
use super::{Connections, Fault, Over, State};

/// The port is kept while nothing listens on it, and is free at once: only a stranger's connect on
/// the same port can be in the way.
const LISTEN_AGAIN: Duration = Duration::from_millis(10);
/// A descriptor each, two of them.
const CONNECTIONS_MAX: usize = 2_000;

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    Ok(TcpListener::bind(address).await?)
}

/// Serves until told that it is over.
pub(super) async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    mut state: watch::Receiver<State>,
    count: &watch::Sender<Connections>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    let mut accepted = 0;
    loop {
        let now = *state.borrow_and_update();
        if now.over == Over::Yes {
            return;
        }
        if now.fault == Fault::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = listen(address).await.ok();
            if listener.is_none() {
                tokio::time::sleep(LISTEN_AGAIN).await;
                continue;
            }
        }
        let accepts = now.fault != Fault::BlackHole && connections.len() < CONNECTIONS_MAX;
        tokio::select! {
            client = accept(listener.as_ref()), if accepts => {
                // A client that has gone already is no one's business.
                if let Ok(client) = client {
                    accepted += 1;
                    connections.spawn(connection(client, state.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
        count.send_replace(Connections { open: connections.len(), accepted });
    }
}

/// The next client; never where nothing listens.
async fn accept(listener: Option<&TcpListener>) -> std::io::Result<TcpStream> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.0),
        None => std::future::pending().await,
    }
}

async fn connection(mut client: TcpStream, mut state: watch::Receiver<State>) {
    let now = *state.borrow_and_update();
    if now.fault == Fault::Reset {
        let _ = client.set_zero_linger();
        return;
    }
    // Without a server the client sees the end, or an RST if it has sent something.
    let Ok(mut server) = TcpStream::connect(now.target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let end = {
        // Halves that are borrowed: those that are owned would say FIN when they are dropped.
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let mut up = Pump::new(from_client, to_server, state.clone(), Side::ToServer);
        let mut down = Pump::new(from_server, to_client, state.clone(), Side::ToClient);
        let passed = async { tokio::try_join!(up.run(), down.run()) };
        tokio::select! {
            _ = passed => End::Quiet,
            () = told_to_reset(&mut state, now.resets) => End::Reset,
        }
    };
    match end {
        End::Quiet => {}
        End::Reset => {
            // The kernel sends RST in place of FIN, and forgets what is still in its buffers.
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
    }
}

/// How a connection is closed.
enum End {
    Quiet,
    Reset,
}

/// Returns when connections of this age are to end by RST.
async fn told_to_reset(state: &mut watch::Receiver<State>, resets: u64) {
    let told = |state: &State| state.fault == Fault::Reset || state.resets > resets;
    if state.wait_for(told).await.is_err() {
        // The handle is gone: the runtime ends with it, and this task too.
        std::future::pending().await
    }
}
