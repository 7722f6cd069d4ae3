//! The unnamed statement: each session has one, and a server's may be another client's.
//!
//! Invariant: a Bind or Describe of the unnamed statement reaches a server only when the server's is
//! the one that this client has parsed, or none where the client has none.

/// The longest text that is brought along to another server.
const KEPT_MAX: usize = 64 * 1024;

/// A server's unnamed statement.
#[derive(Debug, Default)]
pub struct Unnamed {
    whose: Whose,
    /// What the client parsed, if it can be parsed again: the Parse message after the name.
    tail: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Whose {
    /// Another client's, or nobody's.
    #[default]
    Foreign,
    /// This client's.
    Own,
}

impl Unnamed {
    /// The server goes to a client that knows nothing of it.
    pub fn lent(&mut self) {
        self.whose = Whose::Foreign;
        self.tail.clear();
    }

    /// Whether it may be another client's.
    pub(super) fn is_foreign(&self) -> bool {
        self.whose == Whose::Foreign
    }

    /// The client parses one; `tail` is empty where it is not all there.
    pub(super) fn parsed(&mut self, tail: &[u8]) {
        self.dropped();
        if tail.len() <= KEPT_MAX {
            self.tail.extend_from_slice(tail);
        }
        assert!(self.tail.len() <= KEPT_MAX, "the limit holds");
    }

    /// The client has none from here on.
    pub(super) fn dropped(&mut self) {
        self.whose = Whose::Own;
        self.tail.clear();
    }

    /// What the client's next server would need, empty where there is nothing.
    pub(super) fn tail(&self) -> &[u8] {
        &self.tail
    }
}
