//! The two buffers that all connections of a worker share: one to read into, one to edit in.
//!
//! Invariant: what is in them is used up within the same poll; nothing in here survives an
//! `await`. That is what makes an idle client cost no buffer at all.

use std::cell::RefCell;

/// Size of the shared read buffer: as much as one system call usually brings.
pub(crate) const READ_LEN: usize = 64 * 1024;

/// The most that the edit buffer may keep between uses.
const EDIT_KEPT_MAX: usize = 256 * 1024;

/// The shared buffers of one thread.
pub(crate) struct Scratch {
    /// Bytes from a socket, carried bytes in front.
    pub(crate) read: Vec<u8>,
    /// What goes on, where it differs from what came.
    pub(crate) edit: Vec<u8>,
}

impl Scratch {
    /// Room for a usual read behind so many bytes kept from before.
    pub(crate) fn make_room(&mut self, kept: usize) {
        let needed = kept + READ_LEN / 2;
        if self.read.len() < needed {
            self.read.resize(needed, 0);
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> =
        RefCell::new(Scratch { read: vec![0; READ_LEN], edit: Vec::new() });
}

/// The memory of both buffers of this thread, in bytes.
pub(crate) fn size() -> usize {
    SCRATCH.with_borrow(|scratch| scratch.read.capacity() + scratch.edit.capacity())
}

/// Frees the buffer in which nothing was edited since the last time.
pub(crate) fn give_back() {
    with(|scratch| {
        // Whoever edits leaves his text in it.
        match scratch.edit.is_empty() {
            true => scratch.edit = Vec::new(),
            false => scratch.edit.clear(),
        }
    });
}

/// Lends the buffers to `work`. Not to be nested.
pub(crate) fn with<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with(|scratch| {
        let mut scratch = scratch.borrow_mut();
        let result = work(&mut scratch);
        if scratch.edit.capacity() > EDIT_KEPT_MAX {
            scratch.edit = Vec::new();
        }
        if scratch.read.len() > READ_LEN {
            scratch.read.truncate(READ_LEN);
            scratch.read.shrink_to_fit();
        }
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_an_edited_text_is_kept_while_texts_are_edited() {
        let edit = |len: usize| {
            with(|scratch| {
                scratch.edit.clear();
                scratch.edit.resize(len, 0);
            });
        };
        let empty = size();
        edit(100_000);
        give_back();
        assert!(size() >= empty + 100_000, "it has just been needed");
        edit(10);
        give_back();
        assert!(size() >= empty + 100_000, "and again");
        give_back();
        assert_eq!(size(), empty);
    }
}
