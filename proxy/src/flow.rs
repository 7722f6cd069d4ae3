//! Long answers are read in large pieces.
//!
//! PostgreSQL writes eight kilobytes at a time, and each of them would wake this worker: an
//! `epoll_wait`, a `recv` and a `send` for each. Of an answer that has become long the kernel is
//! asked to wait for more before it says that there is something (`SO_RCVLOWAT`).
//! Owns: when an answer is long, and that its last piece, which is smaller than what is waited for,
//! is not waited for.
//! Refuses: reading.
//! Invariant: a socket waits for more only while an answer is on its way to a session, and no
//! byte that has come waits for longer than [`PATIENCE`], as well as the timers can tell.
//! Source: socket(7), tcp(7); Linux from 4.18 on says at once what there is when less is waited for.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::scratch::READ_LEN;
use crate::stream::Stream;

/// From so many bytes on an answer is long: shorter ones are never held up.
const LONG: u32 = 1 << 20;
/// How much is waited for. More may come before it is read: it should fit one read.
const MARK: usize = READ_LEN / 4 * 3;
/// How long at the most.
const PATIENCE: Duration = Duration::from_millis(1);

/// An answer of a server. The default is one that has not begun.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// How much of it came while nothing more was waited for.
    come: u32,
    /// There while the kernel waits for more: when it is to stop.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Flow {
    /// So much has come.
    pub(crate) fn add(&mut self, len: usize, stream: &Stream) {
        if let Some(patience) = &mut self.patience {
            patience.as_mut().reset(Instant::now() + PATIENCE);
            return;
        }
        self.come = self.come.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        // Where the socket has no such option everything stays as it is.
        if self.come >= LONG && stream.wait_for(MARK).is_ok() {
            self.patience = Some(Box::pin(sleep(PATIENCE)));
        }
    }

    /// There is nothing to read: if that has been so for long enough, whatever there is will be
    /// said from here on. Else the task is woken when it is.
    pub(crate) fn wait(&mut self, cx: &mut Context<'_>, stream: &Stream) {
        let patience = self.patience.as_mut();
        if patience.is_some_and(|patience| patience.as_mut().poll(cx).is_ready()) {
            self.end(stream);
        }
    }

    /// It has ended, or is not long any more.
    pub(crate) fn end(&mut self, stream: &Stream) {
        self.come = 0;
        if self.patience.take().is_some() {
            // What it was set on it can be set back on; a socket that has gone needs it no more.
            let _ = stream.wait_for(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::task::Poll;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    impl Flow {
        const fn is_long(&self) -> bool {
            self.patience.is_some()
        }
    }

    /// Two ends of a connection; the second is the one that is read, as a server's.
    async fn pair() -> (std::net::TcpStream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let reader = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let writer = listener.accept().await.unwrap().0.into_std().unwrap();
        (writer, Stream::tcp(reader))
    }

    /// A flow that has become long, on a socket of its own.
    async fn long() -> (std::net::TcpStream, Stream, Flow) {
        let (writer, stream) = pair().await;
        let mut flow = Flow::default();
        flow.add(LONG as usize - 1, &stream);
        assert!(!flow.is_long());
        flow.add(1, &stream);
        assert!(flow.is_long());
        (writer, stream, flow)
    }

    async fn read(stream: &mut Stream) -> usize {
        stream.read(&mut [0; READ_LEN]).await.unwrap()
    }

    /// Whether the reactor says that there is something, once it has heard of everything until now.
    async fn is_readable(stream: &mut Stream) -> bool {
        let (mut writer, mut witness) = pair().await;
        writer.write_all(b"x").unwrap();
        assert_eq!(read(&mut witness).await, 1);
        let mut buffer = [0; READ_LEN];
        std::future::poll_fn(|cx| Poll::Ready(stream.poll_read(cx, &mut buffer).is_ready())).await
    }

    #[tokio::test]
    async fn less_than_the_mark_is_not_said_and_the_mark_is() {
        let (mut writer, mut stream, _flow) = long().await;
        // Of a socket that is new the reactor knows nothing.
        assert!(!is_readable(&mut stream).await);
        writer.write_all(&[0; MARK / 2]).unwrap();
        assert!(!is_readable(&mut stream).await);
        writer.write_all(&[0; MARK / 2]).unwrap();
        assert_eq!(read(&mut stream).await, MARK);
    }

    #[tokio::test]
    async fn what_is_there_at_the_end_is_said_at_once() {
        let (mut writer, mut stream, mut flow) = long().await;
        assert!(!is_readable(&mut stream).await);
        writer.write_all(b"last").unwrap();
        assert!(!is_readable(&mut stream).await);
        flow.end(&stream);
        assert!(!flow.is_long());
        assert_eq!(read(&mut stream).await, 4);
    }

    #[tokio::test]
    async fn the_end_of_the_stream_is_said_whatever_is_waited_for() {
        let (writer, mut stream, _flow) = long().await;
        drop(writer);
        assert_eq!(read(&mut stream).await, 0);
    }

    #[tokio::test]
    async fn patience_ends_and_begins_again_with_what_comes() {
        let (_writer, stream, mut flow) = long().await;
        let mut waits = 0;
        std::future::poll_fn(|cx| {
            flow.add(1, &stream);
            flow.wait(cx, &stream);
            waits += 1;
            cx.waker().wake_by_ref();
            if waits == 100 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        std::future::poll_fn(|cx| {
            flow.wait(cx, &stream);
            if flow.is_long() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        flow.add(1, &stream);
        assert!(!flow.is_long(), "it has to become long again");
    }

    #[tokio::test]
    async fn a_socket_without_the_option_stays_as_it_is() {
        let stream = Stream::Unix(tokio::net::UnixStream::pair().unwrap().0);
        let mut flow = Flow::default();
        flow.add(LONG as usize, &stream);
        assert!(!flow.is_long());
    }
}
