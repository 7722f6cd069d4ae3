//! Taking over from a running proxy without a moment in which nobody listens.
//!
//! The listening sockets go from the old process to the new one, over a socket of Linux's abstract namespace
//! that is named after the user, the port and the admin address. Connections that wait in the kernel's
//! queue stay there for whoever accepts next.
//! ```text
//! new                                   old
//!   ── request ───────────────────────▶  accepts clients
//!   ◀────────── the listening sockets ──  accepts clients
//!   logs in to PostgreSQL, then
//!   ── ready ─────────────────────────▶  accepts nobody any more, serves those that it has
//!   accepts clients
//! ```
//! Owns: that exchange ([`Door`] on the old side, [`Inherited`] on the new one). Refuses: peers of another
//! user, and two successors at a time.
//! Invariant: until the new process is ready the old one does as if nothing was; where the new one ends
//! before, nothing has happened.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{UnixListener, UnixStream};

use crate::broker::Broker;
use crate::config::{AdminAddr, Config};
use crate::error::Error;
use crate::twins::Twins;

/// The most sockets that are handed over.
const SOCKETS_MAX: usize = 32;
/// How long the new process may take to become ready, and the old one to answer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest name of a socket. Source: unix(7).
const NAME_MAX: usize = 100;
/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const REQUEST: u8 = b'T';
const READY: u8 = b'R';

/// The old side.
pub(crate) struct Door {
    listener: UnixListener,
    sockets: Vec<OwnedFd>,
}

/// The new side: sockets that the old process listens on.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    sockets: Vec<socket2::Socket>,
    /// The line to the old process.
    line: Option<UnixStream>,
}

/// Where a proxy with this configuration is found.
fn name(config: &Config) -> String {
    let uid = rustix::process::getuid().as_raw();
    let admin = match &config.admin {
        None => String::new(),
        Some(AdminAddr::Tcp(addr)) => addr.to_string(),
        Some(AdminAddr::Unix(path)) => path.display().to_string().replace(['\0', '/'], "_"),
    };
    let mut name = format!("\0stent-takeover-{uid}-{}-{admin}", config.listen_port);
    while name.len() > NAME_MAX {
        name.pop();
    }
    name
}

impl Door {
    /// Opens it, for a proxy that listens on these sockets; `None` where that cannot be: then nobody
    /// can take over, and all else goes on.
    pub(crate) fn open(
        config: &Config,
        inherited: &mut Inherited,
        listening: Vec<BorrowedFd<'_>>,
    ) -> Option<Self> {
        if !cfg!(target_os = "linux") || listening.len() >= SOCKETS_MAX {
            return None;
        }
        let path = PathBuf::from(name(config));
        let opened = match inherited.unix(&path) {
            Some(listener) => Ok(listener),
            None => UnixListener::bind(&path),
        };
        let opened = opened.and_then(|listener| {
            let all = listening.into_iter().chain([listener.as_fd()]);
            let sockets: io::Result<Vec<OwnedFd>> = all.map(|fd| fd.try_clone_to_owned()).collect();
            Ok(Self { sockets: sockets?, listener })
        });
        opened.inspect_err(|error| tracing::warn!(%error, "nobody will be able to take over")).ok()
    }

    /// Resolves when another process has taken over.
    pub(crate) async fn handed_over(self, broker: &Arc<Broker>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let handed = self.hand_over(broker, stream);
                    let handed = tokio::time::timeout(2 * TIMEOUT, handed).await;
                    match handed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                        Ok(()) => return,
                        Err(error) => tracing::warn!(%error, "a takeover has come to nothing"),
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a successor");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn hand_over(&self, broker: &Arc<Broker>, mut stream: UnixStream) -> io::Result<()> {
        expect_own_user(&stream)?;
        expect(&mut stream, REQUEST).await?;
        if broker.is_anything_paused() {
            return Err(io::Error::other("a successor would not know what is paused"));
        }
        // Cancel requests for our clients go to whoever accepts.
        Twins::meet(broker).map_err(io::Error::other)?;
        stream.async_io(Interest::WRITABLE, || send(stream.as_fd(), &self.sockets)).await?;
        expect(&mut stream, READY).await
    }
}

impl Inherited {
    /// Asks the process that runs with this configuration for its sockets.
    pub(crate) async fn ask_for(config: &Config) -> Result<Self, Error> {
        let name = name(config);
        let asked = tokio::time::timeout(TIMEOUT, ask(Path::new(&name))).await;
        let asked = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        asked.map_err(Error::Takeover)
    }

    /// The socket that listens there, if it is among them.
    pub(crate) fn tcp(&mut self, wanted: SocketAddr) -> Option<tokio::net::TcpListener> {
        let is = |addr: &socket2::SockAddr| addr.as_socket() == Some(wanted);
        let socket = self.take(is)?;
        tokio::net::TcpListener::from_std(socket.into()).ok()
    }

    /// The unix socket of that path, if it is among them.
    pub(crate) fn unix(&mut self, wanted: &Path) -> Option<UnixListener> {
        use std::os::unix::ffi::OsStrExt as _;
        let bytes = wanted.as_os_str().as_bytes();
        let is = |addr: &socket2::SockAddr| match bytes.strip_prefix(b"\0") {
            Some(name) => addr.as_abstract_namespace() == Some(name),
            None => addr.as_pathname() == Some(wanted),
        };
        let socket = self.take(is)?;
        UnixListener::from_std(std::os::unix::net::UnixListener::from(OwnedFd::from(socket))).ok()
    }

    fn take(&mut self, is: impl Fn(&socket2::SockAddr) -> bool) -> Option<socket2::Socket> {
        let named = |socket: &socket2::Socket| socket.local_addr().is_ok_and(|addr| is(&addr));
        let at = self.sockets.iter().position(named)?;
        Some(self.sockets.swap_remove(at))
    }

    /// Whether there is a process to take over from.
    pub(crate) const fn is_takeover(&self) -> bool {
        self.line.is_some()
    }

    /// Tells the old process that we serve from here on.
    pub(crate) async fn ready(self) -> Result<(), Error> {
        let Some(mut line) = self.line else { return Ok(()) };
        // Where the old process has ended meanwhile, its sockets are ours all the more.
        match line.write_all(&[READY]).await {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Takeover(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Door")
    }
}

async fn ask(name: &Path) -> io::Result<Inherited> {
    let mut line = UnixStream::connect(name).await?;
    expect_own_user(&line)?;
    line.write_all(&[REQUEST]).await?;
    let sockets = line.async_io(Interest::READABLE, || receive(line.as_fd())).await?;
    Ok(Inherited { sockets, line: Some(line) })
}

async fn expect(stream: &mut UnixStream, byte: u8) -> io::Result<()> {
    match stream.read_u8().await? == byte {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Whoever is not our own user neither gives nor gets sockets.
fn expect_own_user(stream: &UnixStream) -> io::Result<()> {
    match stream.peer_cred()?.uid() == rustix::process::getuid().as_raw() {
        true => Ok(()),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// Sends descriptors beside one byte. Source: unix(7), SCM_RIGHTS.
fn send(to: BorrowedFd<'_>, sockets: &[OwnedFd]) -> io::Result<()> {
    assert!(sockets.len() <= SOCKETS_MAX, "the door takes no more");
    let borrowed: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let sent = sendmsg(to, &[IoSlice::new(&[REQUEST])], &mut ancillary, SendFlags::NOSIGNAL);
    sent.map(drop).map_err(Into::into)
}

fn receive(from: BorrowedFd<'_>) -> io::Result<Vec<socket2::Socket>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let said = recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, flags)?;
    if said.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut sockets = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            sockets.extend(fds.map(socket2::Socket::from));
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sockets_go_over_and_are_found_by_their_addresses() {
        let (one, other) = UnixStream::pair().unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        tcp.set_nonblocking(true).unwrap();
        let addr = tcp.local_addr().unwrap();
        send(one.as_fd(), &[OwnedFd::from(tcp)]).unwrap();
        let sockets = receive(other.as_fd()).unwrap();
        let mut inherited = Inherited { sockets, line: None };
        assert!(inherited.tcp("127.0.0.2:1".parse().unwrap()).is_none());
        assert!(inherited.unix(Path::new("/nowhere")).is_none());
        let listener = inherited.tcp(addr).expect("it is among them");
        let client = std::net::TcpStream::connect(addr).unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert!(inherited.tcp(addr).is_none(), "it is taken once");
    }
}
