//! The end of a session's use of a server.
//!
//! Owns: when a server is done with, and what goes with it when it is given back.
//! Refuses: in which condition it is (the link's own book says so), and what is asked of it before
//! (`inspect`).
//! Invariant: no server is given back while an answer is on its way, unless its client leaves.

use super::inspect::Verdict;
use super::{End, Hearing, Phase, Session, Step};
use crate::config::PoolMode;
use crate::disconnects::Cause;
use crate::link::Link;

impl Session {
    /// Whether the server is done with: in transaction mode at the end of each transaction.
    pub(super) fn may_release(&self, link: &Link) -> bool {
        let done = match self.hearing {
            // In a replication stream the server would never stop talking.
            Hearing::Terminated => {
                let ledger = &link.ledger;
                ledger.awaits_client() || ledger.streams_both_ways() || ledger.has_ended()
            }
            Hearing::Yes => self.mode != PoolMode::Session && link.is_clean(),
        };
        done && (self.rest == 0 || self.hearing == Hearing::Terminated)
    }

    /// Whether the server can go back as it is. Of a client that leaves nothing is asked: its
    /// server is cleaned of everything.
    pub(super) fn verdict_at_end(&self, link: &Link) -> Verdict {
        match (self.hearing, self.mode) {
            (Hearing::Terminated, _) | (_, PoolMode::Session) => Verdict::Release,
            (Hearing::Yes, PoolMode::Transaction | PoolMode::Statement) => self.verdict(link),
        }
    }

    pub(super) fn after_release(&mut self) -> Step {
        match self.hearing {
            Hearing::Yes => Step::Again,
            Hearing::Terminated => {
                self.phase = Phase::Leaving(End::because(Cause::Terminated));
                Step::Again
            }
        }
    }

    /// A server goes back: with its session's state taken off it where the mode asks for that.
    pub(super) fn give_back(&mut self, mut link: Box<Link>) {
        // Where the client leaves in the middle of an answer.
        self.flow.end(&link.stream);
        self.keep_unnamed(&mut link);
        self.note_statements();
        match self.mode {
            PoolMode::Session if link.is_clean() => self.broker.reset_and_release(self.id, link),
            PoolMode::Session | PoolMode::Transaction | PoolMode::Statement => {
                self.broker.release(self.id, link);
            }
        }
    }

    /// Tells the register how many statements the client has, where that has changed.
    fn note_statements(&mut self) {
        let count = self.names.len() as u32;
        if count != self.noted {
            self.noted = count;
            let len = u32::try_from(self.names.heap_len()).unwrap_or(u32::MAX);
            self.broker.inner().clients.get_mut(self.id).statements = (count, len);
        }
    }
}
