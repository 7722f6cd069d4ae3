//! What the server answers next.
//!
//! Owns: questions about the request at the head of the book, replies of ours aside.
//! Refuses: changing the book.
//! Invariant: a number that is given is a statement of ours, never 0.

use super::{Ledger, Owed, Pass};

impl Ledger {
    /// The statement of ours whose Bind or Describe is answered next, replies of ours aside.
    pub fn front_statement(&self) -> Option<u64> {
        match self.next_of_server() {
            Some(Owed::Bind(id) | Owed::Describe(id)) if *id > 0 => Some(*id),
            _ => self.front_unnamed(),
        }
    }

    /// The same where the client used it without a name.
    pub fn front_unnamed(&self) -> Option<u64> {
        match self.next_of_server() {
            Some(Owed::BindUnnamed(id) | Owed::DescribeUnnamed(id)) => Some(*id),
            _ => None,
        }
    }

    /// Whether the next request is a Parse that was answered from the book, and what the server says
    /// next is about using that statement: an error may be one that the Parse would have drawn.
    pub fn front_known(&self) -> Option<u64> {
        let Some(Owed::KnownUnnamed(id)) = self.owed.front() else { return None };
        self.front_unnamed().filter(|of| of == id)
    }

    /// The statement of ours that is parsed, planned or described next, replies of ours aside.
    pub fn front_prepared(&self) -> Option<u64> {
        match self.next_of_server() {
            Some(Owed::SharedParse(id)) => Some(*id),
            Some(Owed::InjectedParse(id)) if *id > 0 => Some(*id),
            Some(Owed::Parse(Some(registration))) => Some(registration.statement.id()),
            _ => self.front_unnamed(),
        }
    }

    /// The name of the Parse that is answered next, replies of ours aside, if it was taken.
    pub fn front_taken(&self) -> Option<&[u8]> {
        match self.next_of_server() {
            Some(Owed::Taken(name)) => Some(name),
            _ => None,
        }
    }

    /// The statement of ours whose description comes next, replies of ours aside, and who asked.
    pub fn front_described(&self) -> Option<(u64, Pass)> {
        match self.next_of_server() {
            Some(Owed::Describe(id)) if *id > 0 => Some((*id, Pass::Forward)),
            Some(Owed::InjectedDescribe(id)) => Some((*id, Pass::Swallow)),
            _ => None,
        }
    }
}
