//! A connected socket, TCP or unix, with the few operations that the proxy uses.
//!
//! Owns: socket options and non-blocking reads and writes. Refuses: buffering, and any
//! operation that could be torn by cancellation (no `write_all` here).
//! Invariant: a read asks the kernel only after the reactor has said that there is something, and
//! a write is tried before it is waited for: one system call each way in the steady state.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags};
use stent_wire::auth::certificate::EndPoint;
use stent_wire::auth::scram::Channel;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use crate::low_water;

/// Keepalive of both sides: below the 350 s after which AWS's NAT gateways and network load
/// balancers forget a silent connection.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 4;
/// How long sent bytes may stay unacknowledged before the connection counts as dead.
const USER_TIMEOUT: Duration = Duration::from_secs(120);

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix domain.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// None: it is in a handshake, or the handshake failed.
    Gone,
}

impl Stream {
    /// A TCP socket, with [`set_options`].
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        set_options(&socket2::SockRef::from(&stream));
        Self::Tcp(stream)
    }

    /// The same for a socket that was accepted from a listener with [`set_options`].
    pub(crate) fn accepted(stream: TcpStream) -> Self {
        // Linux hands a listener's options down; six system calls less for each client.
        if cfg!(target_os = "linux") { Self::Tcp(stream) } else { Self::tcp(stream) }
    }

    /// Takes a TCP socket out, for a handshake.
    pub(crate) fn take_tcp(&mut self) -> Option<TcpStream> {
        match std::mem::replace(self, Self::Gone) {
            Self::Tcp(socket) => Some(socket),
            other @ (Self::Unix(_) | Self::Tls(_) | Self::Gone) => {
                *self = other;
                None
            }
        }
    }

    /// Has the socket watched by the runtime of the present thread, wherever it was before. Where
    /// that fails there is no socket any more, and whoever reads or writes is told.
    pub(crate) fn come_home(&mut self) {
        let moved = match std::mem::replace(self, Self::Gone) {
            Self::Tcp(socket) => socket.into_std().and_then(TcpStream::from_std).map(Self::Tcp),
            Self::Unix(socket) => socket.into_std().and_then(UnixStream::from_std).map(Self::Unix),
            Self::Tls(mut stream) => {
                // Out of its session a socket cannot be had, so its double takes its place there.
                let socket = stream.get_mut().0;
                let double = socket2::SockRef::from(&*socket).try_clone();
                let double = double.and_then(|double| TcpStream::from_std(double.into()));
                double.map(|double| *socket = double).map(|()| Self::Tls(stream))
            }
            Self::Gone => return,
        };
        match moved {
            Ok(moved) => *self = moved,
            Err(error) => tracing::warn!(%error, "a connection cannot be moved to its worker"),
        }
    }

    /// Has the kernel say only from so many bytes on that there is something to read.
    pub(crate) fn wait_for(&self, len: usize) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => low_water::set(stream.as_fd(), len),
            Self::Tls(stream) => low_water::set(stream.get_ref().0.as_fd(), len),
            Self::Unix(_) | Self::Gone => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether it is TLS.
    pub(crate) const fn is_tls(&self) -> bool {
        match self {
            Self::Tls(_) => true,
            Self::Tcp(_) | Self::Unix(_) | Self::Gone => false,
        }
    }

    /// What a login to the server at the other end can be bound to.
    pub(crate) fn channel(&self) -> Channel {
        match self {
            Self::Tls(_) => Channel::Tls(self.peer_certificate().and_then(EndPoint::of)),
            Self::Tcp(_) | Self::Unix(_) | Self::Gone => Channel::Plain,
        }
    }

    /// The certificate that the other end has shown, in DER. A server's has been checked as
    /// `server_tls_sslmode` says, a client's always.
    pub(crate) fn peer_certificate(&self) -> Option<&[u8]> {
        match self {
            Self::Tls(stream) => Some(stream.get_ref().1.peer_certificates()?.first()?),
            Self::Tcp(_) | Self::Unix(_) | Self::Gone => None,
        }
    }

    /// Reads into `buf`. `Ready(Ok(0))` is the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        assert!(!buf.is_empty(), "an empty buffer would read as the end of the stream");
        match self {
            Self::Tcp(stream) => poll_receive(stream, cx, buf),
            Self::Unix(stream) => poll_into(stream, cx, buf),
            Self::Tls(stream) => poll_into(stream, cx, buf),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Writes from `bytes`; returns how many were taken.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => std::pin::Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => std::pin::Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => std::pin::Pin::new(stream).poll_write(cx, bytes),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Sends what was taken and is not on its way yet: TLS keeps records that the socket has not
    /// taken, the others keep nothing.
    #[inline]
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Unix(_) | Self::Gone => Poll::Ready(Ok(())),
            Self::Tls(stream) => std::pin::Pin::new(stream).poll_flush(cx),
        }
    }

    /// Writes what the kernel takes at once, and no more. Under TLS some of it may be kept: flush
    /// before writing or waiting.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = match self {
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
            Self::Tls(stream) => {
                // Whoever writes flushes later with a waker of its own.
                let mut cx = Context::from_waker(Waker::noop());
                let taken = match std::pin::Pin::new(&mut *stream).poll_write(&mut cx, bytes) {
                    Poll::Ready(taken) => taken,
                    Poll::Pending => Ok(0),
                };
                if taken.is_ok() {
                    let _ = std::pin::Pin::new(stream).poll_flush(&mut cx);
                }
                taken
            }
            Self::Tcp(stream) => or_at_once(try_send(stream, bytes), &*stream, bytes),
            Self::Unix(stream) => or_at_once(stream.try_write(bytes), &*stream, bytes),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Reads some bytes, waiting for them.
    pub(crate) async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_read(cx, buf)).await
    }

    /// Reads once onto the end of `into`, at most `N` bytes, waiting for them.
    pub(crate) async fn read_onto<const N: usize>(
        &mut self,
        into: &mut Vec<u8>,
    ) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            // On the stack of this poll: a future that waits keeps no buffer, and is no larger for it.
            let mut chunk = [0; N];
            let n = ready!(self.poll_read(cx, &mut chunk))?;
            into.extend_from_slice(&chunk[..n]);
            Poll::Ready(Ok(n))
        })
        .await
    }

    /// Writes all of `bytes`. Cancelled half-way it leaves a torn message: whoever drops this
    /// future must drop the connection too.
    pub(crate) async fn write_whole(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = std::future::poll_fn(|cx| self.poll_write(cx, bytes)).await?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[n..];
        }
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Says that nothing more will be written.
    pub(crate) fn shutdown_write(&mut self) {
        let _ = match self {
            Self::Gone => Ok(()),
            Self::Tls(stream) => {
                let mut cx = Context::from_waker(Waker::noop());
                // Sends close_notify and ends the socket's side, as far as the socket takes it.
                let _ = std::pin::Pin::new(stream).poll_shutdown(&mut cx);
                Ok(())
            }
            Self::Tcp(stream) => {
                socket2::SockRef::from(&*stream).shutdown(std::net::Shutdown::Write)
            }
            Self::Unix(stream) => {
                socket2::SockRef::from(&*stream).shutdown(std::net::Shutdown::Write)
            }
        };
    }
}

/// Reads from a TCP socket of which the reactor says that it has something.
///
/// The kernel is asked without libc, whose calls can be cancelled by `pthread_cancel`: in a process
/// with threads that is two atomic operations around each.
fn poll_receive(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    buf: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_read_ready(cx))?;
        let mut short = None;
        let read = stream.try_io(Interest::READABLE, || {
            let (_, n) = rustix::net::recv(stream, &mut *buf, RecvFlags::empty())?;
            if 0 < n && n < buf.len() {
                // The socket is empty, and the reactor is told so.
                short = Some(n);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(n)
        });
        match (read, short) {
            (_, Some(n)) => return Poll::Ready(Ok(n)),
            (Err(error), None) if error.kind() == io::ErrorKind::WouldBlock => {}
            (read, None) => return Poll::Ready(read),
        }
    }
}

/// Reads by the runtime's own means.
fn poll_into(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    buf: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buf = ReadBuf::new(buf);
    ready!(std::pin::Pin::new(stream).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(buf.filled().len()))
}

/// Writes to a TCP socket what it takes at once.
fn try_send(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let send = || Ok(rustix::net::send(stream, bytes, SendFlags::NOSIGNAL)?);
    stream.try_io(Interest::WRITABLE, send)
}

/// A write that the reactor knows nothing of yet: of a socket that has just come to its worker it
/// says that it takes nothing, until the kernel has been heard. The kernel is asked itself.
fn or_at_once(written: io::Result<usize>, socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            socket2::SockRef::from(socket).send(bytes)
        }
        written => written,
    }
}

/// Sets the options that the proxy wants on TCP sockets of both sides. Those that the system refuses
/// are left as they are: none of them is needed for correctness.
pub(crate) fn set_options(socket: &socket2::Socket) {
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(USER_TIMEOUT));
}

/// The other end of a client's connection, as far as it can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// TCP.
    Tcp(SocketAddr),
    /// Unix domain, with the process where the system tells it.
    Unix(Option<u32>),
}

impl Peer {
    /// The other end of a unix socket.
    pub(crate) fn of_unix(stream: &UnixStream) -> Self {
        let pid = stream.peer_cred().ok().and_then(|cred| cred.pid());
        Self::Unix(pid.and_then(|pid| u32::try_from(pid).ok()))
    }

    /// The address, where it has one.
    pub(crate) const fn address(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(addr) => Some(addr.ip()),
            Self::Unix(_) => None,
        }
    }

    /// The process, where it is known without a search.
    pub(crate) const fn pid(self) -> Option<u32> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(pid) => pid,
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(addr) => write!(f, "{addr}"),
            Self::Unix(Some(pid)) => write!(f, "unix:pid={pid}"),
            Self::Unix(None) => f.write_str("unix"),
        }
    }
}
