//! Builds what goes on to the other side: mostly the chunk itself, sometimes with messages
//! changed, dropped or added.
//!
//! Invariant: as long as nothing was changed nothing is copied, and the result is one slice of
//! the chunk; after the first change the result is the edit buffer, in the same order.

use std::ops::Range;

/// What goes on, under construction.
pub struct Splice<'a> {
    chunk: &'a [u8],
    run: Range<usize>,
    edited: &'a mut Vec<u8>,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// `chunk[run]` is all there is.
    Untouched,
    /// `edited` is all there is.
    Edited,
}

impl<'a> Splice<'a> {
    /// Begins with nothing. `edited` is a scratch buffer; what is in it is thrown away.
    pub fn new(chunk: &'a [u8], edited: &'a mut Vec<u8>) -> Self {
        edited.clear();
        Self { chunk, run: 0..0, edited, mode: Mode::Untouched }
    }

    /// Lets a range of the chunk go on.
    pub fn keep(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        if self.mode == Mode::Untouched {
            if self.run.is_empty() {
                self.run = range;
                return;
            }
            if self.run.end == range.start {
                self.run.end = range.end;
                return;
            }
        }
        self.copy(range);
    }

    /// The edit buffer, to append bytes that the chunk does not hold at this place.
    pub fn edit(&mut self) -> &mut Vec<u8> {
        if self.mode == Mode::Untouched {
            debug_assert!(self.edited.is_empty());
            let run = self.run.clone();
            self.edited.extend_from_slice(&self.chunk[run]);
            self.mode = Mode::Edited;
        }
        self.edited
    }

    /// Appends to the edit buffer a range of the chunk (a helper for rewritten messages).
    pub fn copy(&mut self, range: Range<usize>) {
        let chunk = self.chunk;
        self.edit().extend_from_slice(&chunk[range]);
    }

    /// Whether nothing goes on so far.
    pub fn is_empty(&self) -> bool {
        match self.mode {
            Mode::Untouched => self.run.is_empty(),
            Mode::Edited => self.edited.is_empty(),
        }
    }

    /// The bytes that go on.
    pub fn finish(self) -> &'a [u8] {
        match self.mode {
            Mode::Untouched => &self.chunk[self.run],
            Mode::Edited => self.edited,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjoining_ranges_stay_one_slice_of_the_chunk() {
        let (chunk, mut edited) = (b"abcdef".to_vec(), Vec::new());
        let mut splice = Splice::new(&chunk, &mut edited);
        splice.keep(1..3);
        splice.keep(3..5);
        let out = splice.finish();
        assert_eq!(out, b"bcde");
        assert!(std::ptr::eq(out.as_ptr(), chunk[1..].as_ptr()));
    }

    #[test]
    fn gaps_and_insertions_keep_the_order() {
        let (chunk, mut edited) = (b"abcdef".to_vec(), b"stale".to_vec());
        let mut splice = Splice::new(&chunk, &mut edited);
        splice.keep(0..2);
        splice.edit().extend_from_slice(b"XY");
        splice.keep(2..3);
        splice.keep(5..6);
        splice.copy(0..1);
        assert_eq!(splice.finish(), b"abXYcfa");
    }

    #[test]
    fn a_dropped_first_message_copies_nothing() {
        let (chunk, mut edited) = (b"abcdef".to_vec(), Vec::new());
        let mut splice = Splice::new(&chunk, &mut edited);
        assert!(splice.is_empty());
        splice.keep(4..6);
        assert_eq!(splice.finish(), b"ef");
    }
}
