//! Commands that change something: who may give them, and how they end.
//!
//! Owns: waiting for a PAUSE to be done. Refuses: users who may only look.
//! Invariant: a PAUSE is answered when no server is left. Its client's cancel request takes it back;
//! the client's end does not, as with PgBouncer: whoever pauses must resume.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use stent_wire::frame::put_message;
use stent_wire::report::{Report, SqlState};
use tokio::sync::oneshot;
use tokio::time::interval;

use super::command::Change;
use super::{Console, End, Rights};
use crate::broker::{Draining, Scope, Unmaintained};
use crate::clients::ClientState;
use crate::messages::EARLY_BYTES_MAX;
use crate::steering::Wish;

/// How often a PAUSE looks whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long reading a configuration may take.
const RELOAD_MAX: Duration = Duration::from_secs(30);

/// How the wait for a PAUSE ended.
enum Waited {
    Done,
    Cancelled,
    Shutdown,
}

impl Console {
    /// Does it, and appends the answer.
    pub(super) async fn change(&mut self, change: &Change, out: &mut Vec<u8>) -> Result<(), End> {
        if self.rights == Rights::Look {
            let message = "admin access needed";
            Report::error(SqlState::INSUFFICIENT_PRIVILEGE, message)
                .with_hint("Name the user in admin_users.")
                .put(out);
            return Ok(());
        }
        let done = match change {
            Change::Reload => return self.reload(out).await,
            Change::Pause(scope) => self.broker.pause(scope, &self.user),
            Change::Resume(scope) => self.broker.resume(scope, &self.user),
            Change::Reconnect(scope) => self.broker.reconnect(scope, &self.user),
        };
        match (done, change) {
            (Err(error), _) => report(&error).put(out),
            (Ok(()), Change::Pause(scope)) => self.until_paused(scope, out).await?,
            (Ok(()), Change::Resume(_) | Change::Reconnect(_) | Change::Reload) => {}
        }
        if out.is_empty() {
            put_complete(change, out);
        }
        Ok(())
    }

    /// Has the configuration read anew, by whom that is the business of.
    async fn reload(&self, out: &mut Vec<u8>) -> Result<(), End> {
        let failed = |detail: String| {
            let code = SqlState::parse(b"F0000").expect("five digits are a code");
            Report::error(code, "RELOAD failed: nothing has changed").with_detail(detail)
        };
        let (answer, answered) = oneshot::channel();
        let wished = match self.broker.wishes.get() {
            Some(wishes) => wishes.try_send(Wish::Reload(answer)).is_ok(),
            None => false,
        };
        if !wished {
            failed("Nobody here can read a configuration.".to_owned()).put(out);
            return Ok(());
        }
        match tokio::time::timeout(RELOAD_MAX, answered).await {
            Ok(Ok(Ok(said))) => {
                Report::notice(said).put(out);
                put_complete(&Change::Reload, out);
            }
            Ok(Ok(Err(why))) => failed(why).put(out),
            Ok(Err(_)) | Err(_) => failed("There was no answer.".to_owned()).put(out),
        }
        Ok(())
    }

    /// Waits until nothing is left to close. Appends an error where it is not waited for.
    async fn until_paused(&mut self, scope: &Scope, out: &mut Vec<u8>) -> Result<(), End> {
        let waited = self.wait_until_paused(scope).await;
        // Whatever ended the wait, a cancel request finds nothing to cancel from here on.
        self.broker.end_console_wait(self.id);
        match waited? {
            Waited::Done => {}
            Waited::Cancelled => {
                let _ = self.broker.resume(scope, &self.user);
                let message = "canceling statement due to user request";
                Report::error(SqlState::QUERY_CANCELED, message)
                    .with_detail("The PAUSE was taken back.")
                    .put(out);
            }
            Waited::Shutdown => {
                let message = "the proxy is shutting down";
                Report::error(SqlState::ADMIN_SHUTDOWN, message).put(out);
            }
        }
        Ok(())
    }

    async fn wait_until_paused(&mut self, scope: &Scope) -> Result<Waited, End> {
        self.broker.inner().clients.set_state(self.id, ClientState::Waiting);
        let mut looks = interval(LOOK_EVERY);
        loop {
            let (broker, id) = (&self.broker, self.id);
            // A client that has said much while it waits is heard again when it is answered.
            let listens = self.inbox.bytes().len() < EARLY_BYTES_MAX;
            let mut fill = pin!(self.inbox.fill(&mut self.stream));
            let waited = std::future::poll_fn(|cx| {
                broker.inner().clients.get_mut(id).waker = Some(cx.waker().clone());
                if broker.inner().clients.get_mut(id).outcome.take().is_some() {
                    return Poll::Ready(Ok(Some(Waited::Cancelled)));
                }
                if broker.draining() == Draining::Closing {
                    return Poll::Ready(Ok(Some(Waited::Shutdown)));
                }
                if broker.is_at_rest(scope) {
                    return Poll::Ready(Ok(Some(Waited::Done)));
                }
                if listens && let Poll::Ready(filled) = fill.as_mut().poll(cx) {
                    return Poll::Ready(filled.map(|()| None));
                }
                looks.poll_tick(cx).map(|_| Ok(None))
            });
            if let Some(waited) = waited.await? {
                return Ok(waited);
            }
        }
    }
}

fn put_complete(change: &Change, out: &mut Vec<u8>) {
    put_message(out, b'C', |out| {
        out.extend_from_slice(change.tag().as_bytes());
        out.push(0);
    });
}

fn report(error: &Unmaintained) -> Report {
    let code = match error {
        Unmaintained::Unknown(_) => SqlState::UNDEFINED_DATABASE,
        Unmaintained::Paused | Unmaintained::NotPaused | Unmaintained::DatabaseNotPaused(_) => {
            SqlState::NOT_IN_PREREQUISITE_STATE
        }
    };
    Report::error(code, error.to_string())
}
