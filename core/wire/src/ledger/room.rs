//! The memory of the book.
//!
//! Invariant: a server that nobody has keeps room for a usual pipeline and no more.

use super::{Ledger, Owed};
use crate::memory::given;

impl Ledger {
    /// Gives back the memory that an unusually long pipeline has taken.
    pub fn shrink(&mut self) {
        self.owed.shrink_to(16);
        self.undone.shrink_to(0);
    }

    /// The memory behind the book, in bytes.
    pub fn heap_len(&self) -> usize {
        let requests = [self.owed.capacity(), self.undone.capacity()];
        requests.iter().map(|room| given(room * size_of::<Owed>())).sum()
    }
}
