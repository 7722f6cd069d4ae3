//! A server that is lost before it has said a word: its client's requests go to another one, where
//! nothing can have come of them.
//!
//! Owns: keeping the requests, and swallowing a last word that the client need not hear.
//! Refuses: deciding (`stent_wire::retry`).
//! Invariant: what is repeated is repeated whole, as the client sent it, in front of what it has
//! said since.

use stent_wire::frame::Frame;
use stent_wire::report::{Fields, SqlState};
use stent_wire::retry::{self, Loss, Remedy, Sent, Told};

use super::heal::Said;
use super::{Phase, Session, Step};
use crate::config::PoolMode;
use crate::events::Repeated;
use crate::link::Link;

impl Session {
    /// Keeps the requests of a client that has just got its server, where another server could have
    /// them too. Empty where they are not all there is.
    pub(super) fn keep_for_another(&self, link: &mut Link, requests: &[u8], sent: Sent) {
        let opens = sent == Sent::Other && retry::opens_transaction(requests);
        link.replay.sent = if opens { Sent::Opening } else { sent };
        if link.replay.sent != Sent::Other {
            link.replay.keep(requests);
        }
    }

    /// What is done when the server is lost now, with so much said to the client.
    fn remedy(&self, link: &Link, said: Said) -> Remedy {
        let owns = self.mode == PoolMode::Session || !link.traces.is_clean();
        if link.replay.bytes.is_empty() || link.rest > 0 || self.rest > 0 {
            return Remedy::Report;
        }
        retry::remedy(Loss {
            sent: link.replay.sent,
            told: if self.is_untold(said) { Told::Nothing } else { Told::Something },
            session: if owns { retry::Session::Own } else { retry::Session::Any },
            before: self.repeats,
        })
    }

    /// Whether a message is the last word of a server that another one takes the place of.
    pub(super) fn is_replaced(
        &mut self,
        link: &mut Link,
        chunk: &[u8],
        frame: &Frame,
        said: Said,
    ) -> bool {
        let reports = matches!(frame.tag, b'E' | b'N') && frame.is_whole();
        if !reports || self.remedy(link, said) == Remedy::Report {
            return false;
        }
        let body = &chunk[frame.body.clone()];
        let fields = Fields::new(body);
        if frame.tag == b'N' {
            // All that a backend says when another one has crashed: a warning, and it is gone.
            return fields.code() == Some(SqlState::CRASH_SHUTDOWN);
        }
        let ends = fields.severity().is_some_and(|severity| severity.ends_session());
        if ends {
            self.error_down(link, body);
        }
        ends
    }

    /// Brings the requests of a lost server back in front of what the client has said since, to be
    /// read for another. The link comes back where its client must be told.
    pub(super) fn try_another(&mut self, mut link: Box<Link>) -> Result<Step, Box<Link>> {
        if self.remedy(&link, Said::Nothing) == Remedy::Report {
            return Err(link);
        }
        self.read_again(&mut link);
        let backend_pid = link.facts.backend_pid;
        let why = link.last_words.as_deref().unwrap_or("it closed the connection").to_owned();
        self.broker.release_lost(self.id, link);
        self.broker.inner().repeated += 1;
        let (database, user) = self.broker.names(self.pool);
        Repeated { database: &database, user: &user, backend_pid, why: &why }.emit();
        self.phase = Phase::Idle;
        Ok(Step::Again)
    }
}
