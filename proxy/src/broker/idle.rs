//! Watching idle servers: whatever an idle server says or does, somebody hears it.
//!
//! Invariant: each idle link's socket is registered with the waker of its worker's watcher, from the
//! moment it comes back until it is lent. Registering costs no system call and no wake-up.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use stent_pool::{Event, Home, ServerId};
use stent_wire::frame::{Sender, frame_at};
use stent_wire::ledger::Pass;
use stent_wire::report::Fields;
use stent_wire::report::reply::parse_parameter_status;

use super::Broker;
use super::role::is_role;
use crate::clock;
use crate::link::{Link, Suspicion};
use crate::scratch;
use crate::workers;

impl Broker {
    /// Runs for ever, on each worker: looks at the worker's idle servers when one of them has
    /// something to say.
    pub(crate) async fn watch_idle(self: Arc<Self>, home: Home) {
        std::future::poll_fn(|cx| {
            WATCHER.set(Some(cx.waker().clone()));
            let servers: Vec<ServerId> = {
                let inner = self.inner();
                let idle = inner.servers.iter().flatten();
                let own = idle.filter(|slot| slot.idle.as_ref().is_some_and(|it| it.home == home));
                own.map(|slot| slot.server).collect()
            };
            for server in servers {
                self.watch(server);
            }
            Poll::<()>::Pending
        })
        .await;
    }

    /// Hears what an idle server has said, and registers it with the watcher again.
    fn watch(self: &Arc<Self>, server: ServerId) {
        let mut inner = self.inner();
        let Some(link) = inner.slot(server).and_then(|slot| slot.idle.as_mut()) else { return };
        if !Self::is_silent(link) {
            let moved = link.suspicion == Suspicion::ReadOnly;
            let (pool, began_as) = (link.pool, link.began_as);
            inner.decide(Event::Lost { server }, clock::now());
            self.leave(inner);
            if moved {
                self.found_read_only(pool, began_as);
            }
        }
    }

    /// Whether a link that comes back is as silent as it must be; registers it with the watcher of
    /// this worker, with which it is.
    pub(super) fn is_silent(link: &mut Link) -> bool {
        debug_assert_eq!(link.home, workers::home(), "who has a link has its socket");
        WATCHER.with_borrow(|watcher| {
            let waker = watcher.as_ref().unwrap_or(Waker::noop());
            listen(link, &mut Context::from_waker(waker)) == Listening::Quiet
        })
    }
}

thread_local! {
    /// Wakes the watcher of this worker's idle servers.
    static WATCHER: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    Quiet,
    Lost,
}

/// Reads what an idle server says. Notices, notifications and parameter changes are nobody's and
/// are dropped; an error or the end of the stream means that the server is gone.
fn listen(link: &mut Link, cx: &mut Context<'_>) -> Listening {
    loop {
        let heard = scratch::with(|scratch| match link.stream.poll_read(cx, &mut scratch.read) {
            Poll::Pending => Some(Listening::Quiet),
            Poll::Ready(Ok(n)) if n > 0 => hear(link, &scratch.read[..n]),
            Poll::Ready(_) => Some(Listening::Lost),
        });
        if let Some(heard) = heard {
            return heard;
        }
    }
}

/// What an idle server may say; `None`: nothing that matters.
fn hear(link: &mut Link, chunk: &[u8]) -> Option<Listening> {
    let mut at = 0;
    while at < chunk.len() {
        let Ok(Some(frame)) = frame_at(chunk, at, Sender::Backend) else {
            return Some(Listening::Lost);
        };
        let body = &chunk[frame.body.clone()];
        if frame.tag == b'E' {
            let fields = Fields::new(body);
            let message = fields.message().unwrap_or_default();
            link.last_words = Some(message.into_owned().into_boxed_str());
            return Some(Listening::Lost);
        }
        if frame.tag == b'S'
            && parse_parameter_status(body).is_ok_and(|(name, on)| is_role(name) && on == b"on")
        {
            // No client has it, so it is nobody's SET.
            link.suspicion = Suspicion::ReadOnly;
            return Some(Listening::Lost);
        }
        let heard = link.ledger.backend(frame.tag, body.first().copied());
        if !frame.is_whole() || heard != Ok(Pass::Forward) {
            return Some(Listening::Lost);
        }
        at = frame.all.end;
    }
    None
}
