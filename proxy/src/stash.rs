//! Buffers for what must be kept between two polls: the beginning of a message, a request that
//! waits for a server, what a socket has not taken.
//!
//! Such bytes come and go within a transaction. Buffers that were emptied are used again, so that
//! keeping allocates nothing in the steady state, and a client that keeps nothing has no buffer.
//! Owns: the emptied buffers of a thread. Refuses: buffers beyond the limits below, which are freed.
//! Invariant: the stash never holds more than [`SMALL_COUNT_MAX`] buffers of at most [`SMALL_LEN_MAX`]
//! bytes and [`LARGE_COUNT_MAX`] of at most [`LARGE_LEN_MAX`]: under a megabyte a thread. Small content
//! never takes a large buffer.

use std::cell::RefCell;

/// The capacity of small buffers: most requests fit.
const SMALL_LEN_MAX: usize = 1_024;
/// How many of them are kept: as many as clients wait at a time in most places.
const SMALL_COUNT_MAX: usize = 256;
/// The capacity of large buffers: what one read brings.
const LARGE_LEN_MAX: usize = 64 * 1024;
/// How many of them are kept.
const LARGE_COUNT_MAX: usize = 8;

/// The smallest buffer that is made.
const LEN_MIN: usize = 64;

#[derive(Default)]
struct Stash {
    small: Spares,
    large: Spares,
}

/// Emptied buffers of one kind.
#[derive(Default)]
struct Spares {
    buffers: Vec<Vec<u8>>,
    /// How many of them nobody has needed since the last look.
    unneeded: usize,
}

impl Spares {
    fn pop(&mut self) -> Option<Vec<u8>> {
        let buffer = self.buffers.pop();
        self.unneeded = self.unneeded.min(self.buffers.len());
        buffer
    }

    /// Frees those that nobody has needed; from here on the others have to prove themselves.
    fn give_back(&mut self) {
        assert!(self.unneeded <= self.buffers.len(), "what was not needed is there");
        if self.unneeded > 0 {
            self.buffers.drain(..self.unneeded);
            self.buffers.shrink_to_fit();
        }
        self.unneeded = self.buffers.len();
    }
}

thread_local! {
    static STASH: RefCell<Stash> = RefCell::default();
}

/// Keeps a copy of these bytes.
pub(crate) fn keep(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let spare = STASH.with_borrow_mut(|stash| match bytes.len() {
        0..=SMALL_LEN_MAX => stash.small.pop(),
        _ => stash.large.pop(),
    });
    let mut buffer =
        spare.unwrap_or_else(|| Vec::with_capacity(bytes.len().next_power_of_two().max(LEN_MIN)));
    assert!(buffer.is_empty(), "a spare buffer holds nothing");
    buffer.extend_from_slice(bytes);
    buffer
}

/// Empties a buffer and leaves none in its place.
pub(crate) fn empty(buffer: &mut Vec<u8>) {
    if buffer.capacity() > 0 {
        put_by(std::mem::take(buffer));
    }
}

fn put_by(mut buffer: Vec<u8>) {
    buffer.clear();
    STASH.with_borrow_mut(|stash| {
        let (kept, max) = match buffer.capacity() {
            large if large > SMALL_LEN_MAX => (&mut stash.large, LARGE_COUNT_MAX),
            _ => (&mut stash.small, SMALL_COUNT_MAX),
        };
        if kept.buffers.len() < max && buffer.capacity() <= LARGE_LEN_MAX {
            kept.buffers.push(buffer);
        }
    });
}

/// Frees the buffers that were of no use since the last time.
pub(crate) fn give_back() {
    STASH.with_borrow_mut(|stash| {
        stash.small.give_back();
        stash.large.give_back();
    });
}

/// How many buffers there are, and their capacity, in bytes.
pub(crate) fn size() -> (usize, usize) {
    STASH.with_borrow(|stash| {
        let all = stash.small.buffers.iter().chain(&stash.large.buffers);
        (all.clone().count(), all.map(Vec::capacity).sum())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_buffer_is_used_again() {
        let mut buffer = keep(b"select 1");
        let place = buffer.as_ptr();
        empty(&mut buffer);
        assert_eq!((buffer.capacity(), size().0), (0, 1));
        let again = keep(b"select 2");
        assert_eq!((again.as_ptr(), &again[..]), (place, &b"select 2"[..]));
        assert_eq!(size(), (0, 0));
    }

    #[test]
    fn what_is_kept_stays_within_its_limits() {
        let mut buffers: Vec<Vec<u8>> = [100, 10_000, 100_000]
            .iter()
            .flat_map(|len| (0..1_000).map(|_| keep(&vec![0; *len])))
            .collect();
        buffers.iter_mut().for_each(empty);
        let (count, bytes) = size();
        assert_eq!(count, SMALL_COUNT_MAX + LARGE_COUNT_MAX);
        assert!(bytes <= SMALL_COUNT_MAX * SMALL_LEN_MAX + LARGE_COUNT_MAX * LARGE_LEN_MAX);
    }

    #[test]
    fn spare_buffers_that_nobody_needs_are_given_back() {
        let mut buffers: Vec<Vec<u8>> = (0..20).map(|_| keep(b"select 1")).collect();
        buffers.iter_mut().for_each(empty);
        give_back();
        assert_eq!(size().0, 20, "they have just been needed");
        let mut two = [keep(b"select 2"), keep(b"select 3")];
        two.iter_mut().for_each(empty);
        give_back();
        assert_eq!(size().0, 2);
        give_back();
        assert_eq!(size(), (0, 0));
    }

    #[test]
    fn small_content_takes_no_large_buffer() {
        let mut large = keep(&[0; 5_000]);
        empty(&mut large);
        assert!(keep(b"small").capacity() <= SMALL_LEN_MAX);
        assert_eq!(size().0, 1);
    }
}
