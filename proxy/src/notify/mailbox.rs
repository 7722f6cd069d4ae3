//! A client's notifications on their way from the listening connection to its session.
//!
//! Owns: the queue and its limits, and telling the two copies of a client's own notification
//! apart: the server on which it was made hears it first, in front of ReadyForQuery, and the
//! listening connection hears it too.
//! Invariant: at most [`QUEUE_COUNT_MAX`] messages and [`QUEUE_LEN_MAX`] bytes wait. What is lost
//! is counted and said: by a warning where nobody can know the number, by the end of the
//! connection where the client reads too slowly.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use stent_wire::frame::HEADER_LEN;
use stent_wire::listen::Notification;
use stent_wire::report::{Report, Severity, SqlState};

use crate::shared::Lock;

/// The most messages that wait for one client.
pub(crate) const QUEUE_COUNT_MAX: usize = 4_096;
/// The most bytes that wait for one client; messages are shared between clients.
pub(crate) const QUEUE_LEN_MAX: usize = 1 << 20;
/// How much goes to a client's socket at a time.
const BATCH_LEN: usize = 64 * 1024;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Mailbox {
    waker: Waker,
    inner: Lock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Arc<[u8]>>,
    queued_len: usize,
    /// Own notifications that the client has, and whose second copy is still to come.
    echoes: VecDeque<Box<[u8]>>,
    hearing: Hearing,
}

/// Whether everything reaches the mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hearing {
    #[default]
    All,
    /// The listening connection is down: what is notified meanwhile is lost.
    Interrupted,
    /// The queue was full: so many are lost, and the connection ends.
    Overflowed(u64),
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It waits for the session.
    Queued,
    /// The client has it already.
    Known,
    /// It is lost, with so many that waited.
    Lost(u64),
}

/// Whether bytes were handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handed {
    /// Some were.
    Some,
    /// There are none.
    None,
}

impl Mailbox {
    /// An empty one; `waker` is the session's.
    pub(crate) fn new(waker: Waker) -> Self {
        Self { waker, inner: Lock::default() }
    }

    /// A whole NotificationResponse comes from the listening connection.
    pub(crate) fn deliver(&self, message: &Arc<[u8]>) -> Delivery {
        let mut inner = self.inner.lock();
        if let Some(at) = inner.echoes.iter().position(|echo| **echo == **message) {
            inner.echoes.remove(at);
            return Delivery::Known;
        }
        let delivery = inner.push(message);
        drop(inner);
        if delivery != Delivery::Queued || self.inner.lock().queue.len() == 1 {
            self.waker.wake_by_ref();
        }
        delivery
    }

    /// The client's own server has said this notification of its own, and the client gets it from
    /// there. The listening connection has said it already, or will.
    pub(crate) fn said_by_server(&self, message: &[u8]) {
        let mut inner = self.inner.lock();
        match inner.queue.iter().position(|queued| **queued == *message) {
            Some(at) => {
                inner.queue.remove(at);
                inner.queued_len -= message.len();
            }
            None => {
                inner.echoes.push_back(message.into());
                if inner.echoes.len() > QUEUE_COUNT_MAX {
                    inner.echoes.pop_front();
                }
            }
        }
    }

    /// The client listens on a channel no longer: no second copy comes over it.
    pub(crate) fn forget(&self, channel: &[u8]) {
        let mut inner = self.inner.lock();
        inner.echoes.retain(|echo| channel_of(echo) != Some(channel));
    }

    /// The listening connection is lost.
    pub(crate) fn interrupt(&self) {
        let mut inner = self.inner.lock();
        inner.echoes.clear();
        if inner.hearing == Hearing::All {
            inner.hearing = Hearing::Interrupted;
        }
    }

    /// Another listens in its place: the client is told that it may have missed something.
    pub(crate) fn resume(&self) {
        let mut inner = self.inner.lock();
        if inner.hearing != Hearing::Interrupted {
            return;
        }
        inner.hearing = Hearing::All;
        let mut warning = Vec::new();
        missed().put(&mut warning);
        inner.push(&warning.into());
        drop(inner);
        self.waker.wake_by_ref();
    }

    /// Appends all that waits.
    pub(crate) fn empty_into(&self, out: &mut Vec<u8>) {
        while self.hand_over(out) == Handed::Some {}
    }

    /// Appends what waits to `out`, as much as goes at a time.
    pub(crate) fn hand_over(&self, out: &mut Vec<u8>) -> Handed {
        let mut inner = self.inner.lock();
        let mut handed = Handed::None;
        let end = out.len() + BATCH_LEN;
        while out.len() < end
            && let Some(message) = inner.queue.pop_front()
        {
            inner.queued_len -= message.len();
            out.extend_from_slice(&message);
            handed = Handed::Some;
        }
        assert!(!inner.queue.is_empty() || inner.queued_len == 0, "an empty queue has no bytes");
        handed
    }

    /// Why the connection must end, if it must.
    pub(crate) fn last_word(&self) -> Option<Report> {
        match self.inner.lock().hearing {
            Hearing::All | Hearing::Interrupted => None,
            Hearing::Overflowed(lost) => Some(too_slow(lost)),
        }
    }
}

impl Inner {
    fn push(&mut self, message: &Arc<[u8]>) -> Delivery {
        let fits =
            self.queue.len() < QUEUE_COUNT_MAX && self.queued_len + message.len() <= QUEUE_LEN_MAX;
        match &mut self.hearing {
            Hearing::Overflowed(lost) => {
                *lost += 1;
                Delivery::Lost(1)
            }
            Hearing::All | Hearing::Interrupted if fits => {
                self.queue.push_back(Arc::clone(message));
                self.queued_len += message.len();
                Delivery::Queued
            }
            Hearing::All | Hearing::Interrupted => {
                let lost = self.queue.len() as u64 + 1;
                *self = Self { hearing: Hearing::Overflowed(lost), ..Self::default() };
                Delivery::Lost(lost)
            }
        }
    }
}

/// The channel of a whole NotificationResponse; `None` of anything else.
fn channel_of(message: &[u8]) -> Option<&[u8]> {
    let body = message.get(HEADER_LEN..).filter(|_| message.first() == Some(&b'A'))?;
    Notification::parse(body).map(|notification| notification.channel)
}

/// What a client is told whose notifications nobody has heard for a while.
pub(crate) fn missed() -> Report {
    let message = "notifications may have been lost: the listening connection was interrupted";
    let report = Report::notice(message).with_hint(
        "It listens again. Look once at what the notifications tell of, as after connecting.",
    );
    Report { severity: Severity::Warning, code: SqlState::WARNING, ..report }
}

fn too_slow(lost: u64) -> Report {
    Report::fatal(
        SqlState::CONFIGURATION_LIMIT,
        "too many notifications were waiting for this client",
    )
    .with_detail(format!(
        "{lost} notifications are lost: at most {QUEUE_COUNT_MAX} of them and {QUEUE_LEN_MAX} \
         bytes wait for one client."
    ))
    .with_hint("Connect and listen again, and read notifications as they come.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(channel: &str, payload: &str) -> Arc<[u8]> {
        let mut out = Vec::new();
        stent_wire::frame::put_message(&mut out, b'A', |out| {
            out.extend_from_slice(&[0, 0, 0, 7]);
            out.extend_from_slice(format!("{channel}\0{payload}\0").as_bytes());
        });
        out.into()
    }

    fn handed(mailbox: &Mailbox) -> Vec<u8> {
        let mut out = Vec::new();
        while mailbox.hand_over(&mut out) == Handed::Some {}
        out
    }

    #[test]
    fn an_own_notification_is_handed_over_once_whichever_copy_comes_first() {
        let mailbox = Mailbox::new(Waker::noop().clone());
        let own = message("a", "1");
        mailbox.said_by_server(&own);
        assert_eq!(mailbox.deliver(&own), Delivery::Known);
        assert_eq!(mailbox.deliver(&own), Delivery::Queued, "said twice, it was sent twice");
        mailbox.said_by_server(&own);
        assert_eq!(handed(&mailbox), b"");
    }

    #[test]
    fn what_was_said_on_a_channel_is_not_held_against_a_later_listening() {
        let mailbox = Mailbox::new(Waker::noop().clone());
        let (a, b) = (message("a", "1"), message("b", "1"));
        mailbox.said_by_server(&a);
        mailbox.said_by_server(&b);
        mailbox.forget(b"a");
        assert_eq!(mailbox.deliver(&a), Delivery::Queued);
        assert_eq!(mailbox.deliver(&b), Delivery::Known);
        assert_eq!(handed(&mailbox), *a);
    }

    #[test]
    fn a_full_mailbox_counts_everything_that_is_lost() {
        let mailbox = Mailbox::new(Waker::noop().clone());
        for _ in 0..QUEUE_COUNT_MAX {
            assert_eq!(mailbox.deliver(&message("a", "x")), Delivery::Queued);
        }
        assert_eq!(mailbox.last_word(), None);
        let lost = QUEUE_COUNT_MAX as u64 + 1;
        assert_eq!(mailbox.deliver(&message("a", "x")), Delivery::Lost(lost));
        assert_eq!(mailbox.deliver(&message("a", "x")), Delivery::Lost(1));
        let detail = mailbox.last_word().unwrap().detail.unwrap();
        assert!(detail.contains(&(lost + 1).to_string()), "{detail}");
        assert_eq!(handed(&mailbox), b"", "nothing is handed over with a hole in it");
    }

    #[test]
    fn the_bytes_that_wait_are_bounded_too() {
        let mailbox = Mailbox::new(Waker::noop().clone());
        let long = message("a", &"x".repeat(8_000));
        let fits = QUEUE_LEN_MAX / long.len();
        for _ in 0..fits {
            assert_eq!(mailbox.deliver(&long), Delivery::Queued);
        }
        assert_eq!(mailbox.deliver(&long), Delivery::Lost(fits as u64 + 1));
    }

    #[test]
    fn an_interruption_is_said_once_when_it_is_over() {
        let mailbox = Mailbox::new(Waker::noop().clone());
        mailbox.interrupt();
        assert_eq!(handed(&mailbox), b"");
        mailbox.resume();
        mailbox.resume();
        let said = handed(&mailbox);
        assert_eq!((said[0], said.windows(7).filter(|at| at == b"SWARNIN").count()), (b'N', 1));
    }
}
