//! Listening sockets: TCP and unix, for clients and for the admin pages.
//!
//! Owns: binding, a stale socket file, and taking connections at a pace that a flood of them
//! cannot use to starve the rest. Refuses: knowing what is spoken.
//! Invariant: a failed accept (no descriptors left) never ends the listener.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};

use crate::config::{AdminAddr, PortUse};
use crate::error::Error;
use crate::stream::{Peer, Stream, set_options};
use crate::takeover::Inherited;

/// How many connections the kernel may queue.
const BACKLOG: i32 = 1024;
/// The pause after a failed accept: without it a full descriptor table would be a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix, with the file to remove at the end, if there is one.
    Unix(UnixListener, Option<SocketFile>),
}

/// The file of a unix socket, which is removed with this.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    files: Files,
}

/// Whether the files of a proxy's sockets go with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    kept: Arc<AtomicBool>,
}

impl Files {
    /// They are another process's from here on.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.files.kept.load(Ordering::Acquire) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// Listens on a TCP address, or goes on with a socket that does.
    pub(crate) fn tcp(
        addr: SocketAddr,
        port_use: PortUse,
        inherited: &mut Inherited,
    ) -> Result<Self, Error> {
        if let Some(listener) = inherited.tcp(addr) {
            return Ok(Self::Tcp(listener));
        }
        bind_tcp(addr, port_use).map(Self::Tcp).map_err(|error| Error::listen(addr, error))
    }

    /// Listens on a unix socket. A file left behind by a process that is gone is replaced; one
    /// that somebody answers on is not.
    pub(crate) fn unix(
        path: &Path,
        inherited: &mut Inherited,
        files: &Files,
    ) -> Result<Self, Error> {
        let shown = path.display().to_string();
        let is_file = !shown.starts_with('\0');
        let file = || SocketFile { path: path.to_owned(), files: files.clone() };
        if let Some(listener) = inherited.unix(path) {
            return Ok(Self::Unix(listener, is_file.then(file)));
        }
        if is_file && std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(Error::listen(&shown, io::ErrorKind::AddrInUse.into()));
        }
        if is_file && is_socket(path) {
            std::fs::remove_file(path).map_err(|error| Error::listen(&shown, error))?;
        }
        let listener = UnixListener::bind(path).map_err(|error| Error::listen(&shown, error))?;
        Ok(Self::Unix(listener, is_file.then(file)))
    }

    /// Listens where the admin pages are to be.
    pub(crate) fn admin(
        addr: &AdminAddr,
        inherited: &mut Inherited,
        files: &Files,
    ) -> Result<Self, Error> {
        match addr {
            AdminAddr::Tcp(addr) => Self::tcp(*addr, PortUse::Exclusive, inherited),
            AdminAddr::Unix(path) => Self::unix(path, inherited, files),
        }
    }

    /// The socket itself.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
        }
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> (Stream, Peer) {
        loop {
            let accepted = match self {
                Self::Tcp(listener) => {
                    let accepted = listener.accept().await;
                    accepted.map(|(stream, addr)| (Stream::accepted(stream), Peer::Tcp(addr)))
                }
                Self::Unix(listener, _) => {
                    let accepted = listener.accept().await;
                    accepted.map(|(stream, _)| {
                        let peer = Peer::of_unix(&stream);
                        (Stream::Unix(stream), peer)
                    })
                }
            };
            match accepted {
                Ok(accepted) => return accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Where it listens, for people.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map(|addr| addr.to_string()).unwrap_or_default()
            }
            Self::Unix(_, Some(file)) => file.path.display().to_string(),
            Self::Unix(_, None) => "private socket".to_owned(),
        }
    }
}

fn bind_tcp(addr: SocketAddr, port_use: PortUse) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(addr);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if port_use == PortUse::Shared {
        socket.set_reuse_port(true)?;
    }
    set_options(&socket);
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_accepted_socket_has_the_options_that_the_proxy_wants() {
        let (addr, mut nothing) = ("127.0.0.1:0".parse().unwrap(), Inherited::default());
        let listener = Listener::tcp(addr, PortUse::Exclusive, &mut nothing).unwrap();
        let Listener::Tcp(socket) = &listener else { panic!("it listens on TCP") };
        let _client = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        let (Stream::Tcp(accepted), _) = listener.accept().await else {
            panic!("it came over TCP")
        };
        let accepted = socket2::SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert!(accepted.tcp_user_timeout().unwrap().is_some());
    }
}
