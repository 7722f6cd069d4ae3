//! The listener of the admin endpoint: one request a connection, each time-boxed.
//!
//! Invariant: no more than [`CONNECTIONS_MAX`] connections at a time, none for longer than
//! [`CONNECTION_LIMIT`].

use std::convert::Infallible;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::{Answer, Front};
use crate::config::address::Address;

const CONNECTIONS_MAX: usize = 64;
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
const HEADER_LIMIT: Duration = Duration::from_secs(3);
/// Time before the next try where the system refuses to accept (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound listener.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

/// A unix socket, whose file goes with it. An abstract one has none.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if !is_abstract(&self.path) {
            // Gone already is as good.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn is_abstract(path: &Path) -> bool {
    path.as_os_str().as_bytes().starts_with(b"\0")
}

/// Binds the address. A socket file that nobody listens on is taken over.
pub(crate) async fn bind(address: &Address) -> io::Result<Listener> {
    match address {
        Address::Tcp(address) => Ok(Listener::Tcp(TcpListener::bind(address).await?)),
        Address::Unix(path) => {
            if !is_abstract(path) && path.exists() {
                match UnixStream::connect(path).await {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        std::fs::remove_file(path)?;
                    }
                    Ok(_) | Err(_) => return Err(io::ErrorKind::AddrInUse.into()),
                }
            }
            let listener = UnixListener::bind(path)?;
            Ok(Listener::Unix(UnixSocket { listener, path: path.clone() }))
        }
    }
}

/// Accepts until it is dropped. To be called on a `LocalRuntime`.
pub(crate) async fn serve(listener: Listener, front: Front) {
    let front = Rc::new(front);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        let front = Rc::clone(&front);
        let accepted = match &listener {
            Listener::Tcp(tcp) => tcp.accept().await.map(|(stream, _)| {
                tokio::task::spawn_local(async move {
                    connection(stream, &front).await;
                    drop(place);
                });
            }),
            Listener::Unix(unix) => unix.listener.accept().await.map(|(stream, _)| {
                tokio::task::spawn_local(async move {
                    connection(stream, &front).await;
                    drop(place);
                });
            }),
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "cannot accept on the admin endpoint");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, front: &Front) {
    let service = service_fn(|request: Request<Incoming>| async move {
        let answer = front.answer(request.method(), request.uri().path()).await;
        Ok::<_, Infallible>(response(answer))
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_LIMIT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request to the admin endpoint failed"),
        Err(_) => tracing::debug!("a request to the admin endpoint took too long"),
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    Response::builder()
        .status(answer.status)
        .header(header::CONTENT_TYPE, answer.content_type)
        .body(Full::new(answer.body))
        .expect("a status and a constant header make a response")
}
