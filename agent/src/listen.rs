//! The listening socket of the pages: TCP, unix, or in Linux's abstract namespace.
//!
//! Owns: binding, a stale socket file, and the file's removal. Refuses: knowing what is spoken.
//! Invariant: a file that is not a socket, or on which somebody answers, is never replaced; a
//! failed accept (no descriptors left) never ends the listener.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::config::Endpoint;
use crate::error::Error;

/// The pause after a failed accept: without it a full descriptor table would be a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound socket.
#[derive(Debug)]
pub(crate) enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix.
    Unix(UnixListener, SocketFile),
}

/// The path of a unix socket; its file goes with the listener.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

/// A connection of either kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Listener {
    /// Listens there.
    pub(crate) fn bind(endpoint: &Endpoint) -> Result<Self, Error> {
        match endpoint {
            Endpoint::Tcp(address) => {
                let bound = std::net::TcpListener::bind(address).and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    TcpListener::from_std(listener)
                });
                bound.map(Self::Tcp).map_err(|error| Error::listen(address.to_string(), error))
            }
            Endpoint::Unix(path) => {
                bind_unix(path).map_err(|error| Error::listen(shown(path), error))
            }
        }
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> Box<dyn Stream> {
        loop {
            let accepted: io::Result<Box<dyn Stream>> = match self {
                Self::Tcp(listener) => {
                    listener.accept().await.map(|(stream, _)| Box::new(stream) as _)
                }
                Self::Unix(listener, _) => {
                    listener.accept().await.map(|(stream, _)| Box::new(stream) as _)
                }
            };
            match accepted {
                Ok(stream) => return stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to the agent's pages");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Where it listens, for people.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map(|address| address.to_string()).unwrap_or_default()
            }
            Self::Unix(_, SocketFile(path)) => shown(path),
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<Listener> {
    let is_stale = !is_abstract(path)
        && std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_stale {
        match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
            }
            Ok(_) | Err(_) => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    Ok(Listener::Unix(UnixListener::bind(path)?, SocketFile(path.to_owned())))
}

fn is_abstract(path: &Path) -> bool {
    path.as_os_str().as_bytes().starts_with(b"\0")
}

fn shown(path: &Path) -> String {
    // A leading @ is how ss(8) and /proc/net/unix show an abstract name.
    path.display().to_string().replace('\0', "@")
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !is_abstract(&self.0) {
            // Gone already is as good.
            let _ = std::fs::remove_file(&self.0);
        }
    }
}
