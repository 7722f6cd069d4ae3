//! Watching idle servers: whatever an idle server says or does, somebody hears it.
//!
//! Invariant: each idle link's socket is registered with the watcher's waker, from the moment it
//! comes back until it is lent. Registering costs no system call and no wake-up.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use stent_pool::{Event, ServerId};
use stent_wire::frame::{Sender, frame_at};
use stent_wire::ledger::Pass;
use stent_wire::report::Fields;

use super::Broker;
use crate::link::Link;
use crate::scratch;

impl Broker {
    /// Runs for ever: looks at every idle server when one of them has something to say.
    pub(crate) async fn watch_idle(self: Arc<Self>) {
        std::future::poll_fn(|cx| {
            WATCHER.with_borrow_mut(|watcher| *watcher = Some(cx.waker().clone()));
            let servers: Vec<ServerId> = {
                let inner = self.inner();
                let idle = inner.servers.iter().flatten().filter(|slot| slot.idle.is_some());
                idle.map(|slot| slot.server).collect()
            };
            for server in servers {
                self.watch(server);
            }
            Poll::<()>::Pending
        })
        .await;
    }

    /// Registers an idle server with the watcher, and hears what it has said already.
    pub(super) fn watch(self: &Arc<Self>, server: ServerId) {
        let Some(mut link) = self.inner().slot(server).and_then(|slot| slot.idle.take()) else {
            return;
        };
        let state = listen(&mut link);
        self.inner().put_idle(link);
        if state == Listening::Lost {
            self.handle(Event::Lost { server });
        }
    }

    /// Whether a link that comes back is as silent as it must be; registers it with the watcher.
    pub(super) fn is_silent(link: &mut Link) -> bool {
        listen(link) == Listening::Quiet
    }
}

thread_local! {
    /// Wakes the watcher of this thread's idle servers.
    static WATCHER: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    Quiet,
    Lost,
}

/// Reads what an idle server says. Notices, notifications and parameter changes are nobody's and
/// are dropped; an error or the end of the stream means that the server is gone.
fn listen(link: &mut Link) -> Listening {
    WATCHER.with_borrow(|watcher| {
        let waker = watcher.as_ref().unwrap_or(Waker::noop());
        hear_all(link, &mut Context::from_waker(waker))
    })
}

fn hear_all(link: &mut Link, cx: &mut Context<'_>) -> Listening {
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
        let heard = link.ledger.backend(frame.tag, body.first().copied());
        if !frame.is_whole() || heard != Ok(Pass::Forward) {
            return Some(Listening::Lost);
        }
        at = frame.all.end;
    }
    None
}
