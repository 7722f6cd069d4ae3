//! How a session ends: last words, and what becomes of its server.
//!
//! Invariant: in the middle of a message there is no last word, and a FATAL error of the server's
//! own is the last word. Of a session that panics the broker clears up.

use stent_wire::report::{Report, SqlState};

use super::{End, Ended, Hearing, Phase, Session, Step};
use crate::disconnects::Cause;
use crate::link::Link;

impl Session {
    /// The session ends while it has a server.
    pub(super) fn end_linked(&mut self, link: Box<Link>, end: Ended) -> Step {
        match end {
            Ended::Client(end) => {
                self.give_back(link);
                Step::End(end)
            }
            Ended::Protocol(report) => {
                self.give_back(link);
                let end = End { cause: Cause::ProtocolError, detail: report.message.to_string() };
                self.leave_with(&report, end)
            }
            Ended::Server(detail) => self.server_lost(link, detail),
        }
    }

    pub(super) fn server_lost(&mut self, link: Box<Link>, detail: String) -> Step {
        self.flow.end(&link.stream);
        let mut link = match self.try_another(link) {
            Ok(step) => return step,
            Err(link) => link,
        };
        let end = End { cause: Cause::ServerLost, detail: detail.clone() };
        // In the middle of a message there is no place for a word of ours; and where the server
        // has said FATAL itself, that is the better word.
        let silent = link.rest > 0 || link.ledger.has_ended();
        let pid = link.facts.backend_pid;
        if link.last_words.is_none() {
            link.last_words = Some(detail.into_boxed_str());
        }
        self.broker.release_lost(self.id, link);
        if silent {
            self.phase = Phase::Leaving(end);
            return Step::Again;
        }
        let report = Report::fatal(
            SqlState::CONNECTION_FAILURE,
            "the server closed the connection unexpectedly",
        )
        .with_detail(format!("Backend process {pid} ended: {}.", end.detail));
        self.leave_with(&report, end)
    }

    /// Whether a client that keeps its server is silent outside a transaction.
    pub(super) fn is_at_rest(&self, link: &Link) -> bool {
        let silent = self.carry.is_empty() && self.rest == 0 && self.to_client.is_empty();
        silent && link.is_clean() && self.hearing == Hearing::Yes
    }

    pub(super) fn leave_for_shutdown(&mut self) -> Step {
        let report = Report::fatal(SqlState::ADMIN_SHUTDOWN, "the proxy is shutting down")
            .with_hint("Connect again: another proxy, or this one restarted, will answer.");
        self.leave_with(&report, End::because(Cause::Shutdown))
    }

    /// Says a last word and ends.
    pub(super) fn leave_with(&mut self, report: &Report, end: End) -> Step {
        report.put(&mut self.to_client);
        self.phase = Phase::Leaving(end);
        Step::Again
    }
}

/// The end of a client that closed its socket, or whose socket failed.
pub(super) fn gone_end(error: Option<std::io::Error>) -> End {
    let detail = error.map(|error| error.to_string()).unwrap_or_default();
    End { cause: Cause::Gone, detail }
}

/// Whoever is polled while it panics is dropped by the runtime then, and in no other panic.
impl Drop for Session {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.broker.client_unwound(self.id);
        }
    }
}
