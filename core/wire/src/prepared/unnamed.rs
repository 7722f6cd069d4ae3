//! The unnamed statement: each session has one, and a server's may be another client's.
//!
//! Invariant: a Bind or Describe of the unnamed statement reaches a server only when the server's is
//! the one that this client has parsed, or none where the client has none.

use std::sync::Arc;

use super::Statement;
use crate::ledger::Ledger;

/// The longest text that is brought along to another server.
const KEPT_MAX: usize = 64 * 1024;

/// A server's unnamed statement.
#[derive(Debug, Default)]
pub struct Unnamed {
    whose: Whose,
    /// What the client parsed, if it can be parsed again: the Parse message after the name.
    tail: Vec<u8>,
    /// What the client parsed, if it is one of the book: its Binds go to that one's name.
    shared: Option<Arc<Statement>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Whose {
    /// Another client's, or nobody's.
    #[default]
    Foreign,
    /// This client's, if PostgreSQL does not skip the request of that round.
    Own { round: u64 },
}

impl Unnamed {
    /// The server goes to a client that knows nothing of it.
    pub fn lent(&mut self) {
        self.whose = Whose::Foreign;
        self.tail.clear();
        self.shared = None;
    }

    /// The client parses one that is of the book.
    pub(super) fn shared(&mut self, statement: Arc<Statement>, ledger: &Ledger) {
        self.dropped(ledger);
        self.shared = Some(statement);
    }

    /// The number of the client's, if it is one of the book.
    pub fn shared_id(&self) -> Option<u64> {
        self.shared.as_ref().map(|statement| statement.id())
    }

    /// The client's, if it is one of the book.
    pub const fn shared_statement(&self) -> Option<&Arc<Statement>> {
        self.shared.as_ref()
    }

    /// The text of what the client parsed, if it is all there.
    pub(super) fn sql(&self) -> &[u8] {
        let end = memchr::memchr(0, &self.tail).unwrap_or(self.tail.len());
        self.shared.as_ref().map_or(&self.tail[..end], |statement| statement.sql())
    }

    /// The client's, if it is one of the book.
    pub(super) fn take_shared(&mut self) -> Option<Arc<Statement>> {
        self.shared.take()
    }

    /// Whether it may be another client's.
    pub(super) fn is_foreign(&self) -> bool {
        self.whose == Whose::Foreign
    }

    /// Whether it is yet to be seen whose it is.
    pub(super) fn is_undecided(&self, ledger: &Ledger) -> bool {
        matches!(self.whose, Whose::Own { round } if ledger.is_undecided(round))
    }

    /// The client parses one; `tail` is empty where it is not all there.
    pub(super) fn parsed(&mut self, tail: &[u8], ledger: &Ledger) {
        self.dropped(ledger);
        if tail.len() <= KEPT_MAX {
            self.tail.extend_from_slice(tail);
        }
        assert!(self.tail.len() <= KEPT_MAX, "the limit holds");
    }

    /// The client has none from here on.
    pub(super) fn dropped(&mut self, ledger: &Ledger) {
        self.whose = Whose::Own { round: ledger.round() };
        self.tail.clear();
        self.shared = None;
    }

    /// A request that would have made it the client's was skipped. Returns whether no later one
    /// has done so: then it may be anybody's.
    pub(super) fn skipped(&mut self, ledger: &Ledger) -> Claim {
        match self.whose {
            Whose::Own { round } if round > ledger.first_unanswered() => {
                assert!(round <= ledger.round(), "no claim is of a round to come");
                Claim::Stands
            }
            Whose::Own { .. } | Whose::Foreign => {
                self.lent();
                Claim::Lost
            }
        }
    }

    /// The memory behind the text, in bytes.
    pub(super) const fn heap_len(&self) -> usize {
        self.tail.capacity()
    }

    /// What the client's next server would need, empty where there is nothing.
    pub(super) fn tail(&self) -> &[u8] {
        &self.tail
    }
}

/// What is left of a client's claim to the unnamed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Stands,
    Lost,
}
