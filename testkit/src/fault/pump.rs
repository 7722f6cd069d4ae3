//! One direction of a connection through a fault proxy.
//!
//! Invariant: what was read is written whole before more is read, or the connection ends.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Fault, State};

const CHUNK: usize = 16 * 1024;
/// Of what a limited bandwidth lets pass in a second, a piece is this part.
const PIECES_A_SECOND: u32 = 50;

/// Where a pump's bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    ToServer,
    ToClient,
}

/// What may be done with the next bytes.
enum Next {
    /// So many of them, at the most, after a wait.
    Pass { most: usize, wait: Duration },
    /// None for now.
    Hold,
    /// None of these: they are thrown away.
    Drop,
    /// None, and the connection ends.
    End,
}

pub(super) struct Pump<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    state: watch::Receiver<State>,
    side: Side,
    /// Bytes that passed under the truncation that is in force.
    since_truncation: u64,
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        from: ReadHalf<'a>,
        to: WriteHalf<'a>,
        state: watch::Receiver<State>,
        side: Side,
    ) -> Self {
        Self { from, to, state, side, since_truncation: 0 }
    }

    /// Passes bytes until there are no more of them. An error is the connection's end.
    pub(super) async fn run(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = tokio::select! {
                n = self.from.read(&mut chunk) => n?,
                // A half close is seen by a client that nobody sends anything.
                () = half_closed(&mut self.state, self.side) => {
                    self.to.shutdown().await?;
                    return self.throw_away(&mut chunk).await;
                }
            };
            // An end is held by a partition as bytes are.
            self.pass(&chunk[..n]).await?;
            if n == 0 {
                return self.to.shutdown().await;
            }
        }
    }

    /// Writes what was read, as the fault of the moment lets it.
    async fn pass(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            let fault = self.state.borrow_and_update().fault;
            match self.next(fault) {
                Next::Pass { most, wait } => {
                    if !wait.is_zero() {
                        sleep(wait).await;
                    }
                    let (now, later) = bytes.split_at(bytes.len().min(most));
                    self.to.write_all(now).await?;
                    self.since_truncation += now.len() as u64;
                    bytes = later;
                    if bytes.is_empty() && self.left(fault) > 0 {
                        return Ok(());
                    }
                }
                Next::Hold => {
                    let changed = self.state.changed().await;
                    changed.map_err(|_| io::ErrorKind::ConnectionAborted)?;
                }
                Next::Drop => return Ok(()),
                Next::End => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
    }

    fn next(&mut self, fault: Fault) -> Next {
        let most = self.left(fault);
        let pass = |most, wait| Next::Pass { most, wait };
        match (fault, self.side) {
            (Fault::Truncate(_), Side::ToClient) if most == 0 => Next::End,
            (Fault::Stall, Side::ToClient) | (Fault::BlackHole, _) => Next::Hold,
            (Fault::HalfClose, Side::ToClient) => Next::Drop,
            (Fault::Delay(wait), _) => pass(most, wait),
            (Fault::Drip(bytes, wait), _) => pass(bytes.max(1), wait),
            (Fault::Bandwidth(bytes), _) => {
                let piece = (bytes / PIECES_A_SECOND).max(1);
                let wait = f64::from(piece) / f64::from(bytes.max(1));
                pass(piece as usize, Duration::from_secs_f64(wait))
            }
            (Fault::Stall | Fault::HalfClose, Side::ToServer)
            | (Fault::None | Fault::Reset | Fault::Refuse | Fault::Truncate(_), _) => {
                pass(most, Duration::ZERO)
            }
        }
    }

    /// Bytes that a truncation still lets pass; without one there is no end to them.
    fn left(&mut self, fault: Fault) -> usize {
        match (fault, self.side) {
            (Fault::Truncate(most), Side::ToClient) => {
                usize::try_from(most.saturating_sub(self.since_truncation)).unwrap_or(usize::MAX)
            }
            (
                Fault::None
                | Fault::Delay(_)
                | Fault::Stall
                | Fault::BlackHole
                | Fault::HalfClose
                | Fault::Reset
                | Fault::Truncate(_)
                | Fault::Drip(..)
                | Fault::Bandwidth(_)
                | Fault::Refuse,
                Side::ToClient | Side::ToServer,
            ) => {
                self.since_truncation = 0;
                usize::MAX
            }
        }
    }

    /// The sender must not be held up by a reader that is no longer there.
    async fn throw_away(&mut self, chunk: &mut [u8]) -> io::Result<()> {
        while self.from.read(chunk).await? > 0 {}
        Ok(())
    }
}

/// Returns when the bytes to a client are to end.
async fn half_closed(state: &mut watch::Receiver<State>, side: Side) {
    let told = match side {
        Side::ToClient => state.wait_for(|state| state.fault == Fault::HalfClose).await.is_ok(),
        Side::ToServer => false,
    };
    if !told {
        std::future::pending().await
    }
}
