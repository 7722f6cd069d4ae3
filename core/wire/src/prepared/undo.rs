//! Taking back what PostgreSQL has skipped after an error.
//!
//! Owns: the books' way back for each kind of request. Refuses: knowing why one was skipped.
//! Invariant: each skipped request is undone once, the newest first.

use super::unnamed::Claim;
use super::{OnServer, Statements};
use crate::ledger::Owed;

impl Statements<'_> {
    /// Takes back what the server has skipped after an error, newest first.
    pub fn undo(&mut self) {
        let undone: Vec<Owed> = self.ledger.take_undone().collect();
        assert!(!self.ledger.has_undone(), "each skipped request is undone once");
        for owed in undone.into_iter().rev() {
            match owed {
                Owed::Parse(Some(registration)) | Owed::OwnParse(registration) => {
                    let id = registration.statement.id();
                    self.client.remove_if(&registration.name, id);
                    if registration.on_server == OnServer::Sent {
                        self.server.remove(id);
                    }
                }
                Owed::InjectedParse(0) | Owed::InjectedClose(0) => {
                    self.server.unnamed.skipped(self.ledger);
                }
                Owed::InjectedParse(id) => self.server.remove(id),
                Owed::InjectedDescribe(_) => {}
                Owed::InjectedClose(id) => self.server.restore(id),
                // It may have been the unnamed statement's, and whether it failed or was skipped is
                // not known: the client parses again.
                Owed::Parse(None)
                | Owed::SharedParse(_)
                | Owed::KnownUnnamed(_)
                | Owed::Close
                | Owed::Query => {
                    if let Owed::SharedParse(id) = owed {
                        self.server.remove(id);
                    }
                    if self.server.unnamed.skipped(self.ledger) == Claim::Lost {
                        self.client.unnamed = None;
                    }
                }
                Owed::OwnClose(Some(removal)) => {
                    if self.client.get(&removal.name).is_none() {
                        let now = self.texts.tick();
                        self.client.insert(&removal.name, removal.statement, now);
                    }
                }
                Owed::Call
                | Owed::Sync
                | Owed::Bind(_)
                | Owed::BindUnnamed(_)
                | Owed::DescribeUnnamed(_)
                | Owed::Describe(_)
                | Owed::Execute
                | Owed::Taken(_)
                | Owed::OwnClose(None)
                | Owed::Refusal
                | Owed::CopyEnd => {}
            }
        }
    }
}
