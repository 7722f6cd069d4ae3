//! Finds message boundaries in a chunk of bytes, without copying and without decoding payloads.
//!
//! Owns: the shape `tag, length, body` and the limits on length. Refuses: tags that the
//! protocol does not know, so that garbage from a client never reaches a server.
//! Invariant: a [`Frame`] lies inside the chunk it was found in; `missing` counts exactly the
//! bytes of its body that are not there yet.
//! Source: PostgreSQL documentation, "Frontend/Backend Protocol", "Message Formats".

use std::ops::Range;

use crate::limits::{MESSAGE_LEN_MAX, SMALL_MESSAGE_LEN_MAX};

/// Tag and length field.
pub const HEADER_LEN: usize = 5;

/// Who sent the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A client.
    Frontend,
    /// A server.
    Backend,
}

/// A message found in a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The message's type byte.
    pub tag: u8,
    /// The message in the chunk, header included, as far as it is there.
    pub all: Range<usize>,
    /// Its body in the chunk, as far as it is there.
    pub body: Range<usize>,
    /// How many bytes of the body are still to come.
    pub missing: usize,
}

impl Frame {
    /// Whether all of the message is in the chunk.
    pub const fn is_whole(&self) -> bool {
        self.missing == 0
    }

    /// The length of the whole message, header included.
    pub fn len(&self) -> usize {
        self.all.len() + self.missing
    }

    /// Never: a message has a header.
    pub const fn is_empty(&self) -> bool {
        false
    }
}

/// Bytes that are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The type byte is none that this sender may use here.
    #[error("invalid message type {tag:#04x}")]
    UnknownTag {
        /// The byte.
        tag: u8,
    },
    /// The length field is below its own size or above what the type may carry.
    #[error("invalid length {len} of a message of type {tag:#04x}")]
    BadLength {
        /// The type byte.
        tag: u8,
        /// The length field.
        len: u32,
    },
}

/// The message that begins at `at`, or `None` where its header is not whole yet.
pub fn frame_at(chunk: &[u8], at: usize, sender: Sender) -> Result<Option<Frame>, FrameError> {
    assert!(at <= chunk.len(), "a frame is looked for inside its chunk");
    let Some(&tag) = chunk.get(at) else { return Ok(None) };
    let max = match sender {
        Sender::Frontend => frontend_len_max(tag),
        Sender::Backend => backend_len_max(tag),
    };
    let Some(max) = max else { return Err(FrameError::UnknownTag { tag }) };
    let Some(field) = chunk.get(at + 1..at + HEADER_LEN) else { return Ok(None) };
    let len = u32::from_be_bytes(field.try_into().expect("the slice is four bytes long"));
    if len < 4 || len as usize > max {
        return Err(FrameError::BadLength { tag, len });
    }
    let body_len = len as usize - 4;
    let start = at + HEADER_LEN;
    let here = body_len.min(chunk.len() - start);
    let frame =
        Frame { tag, all: at..start + here, body: start..start + here, missing: body_len - here };
    assert!(frame.missing == 0 || frame.all.end == chunk.len());
    Ok(Some(frame))
}

/// Where the run of whole messages of this type that begins at `at` ends: rows and COPY data come in
/// thousands, and to whom one of them belongs the next does too.
pub fn run_end(chunk: &[u8], mut at: usize, tag: u8) -> usize {
    assert!(at <= chunk.len(), "a run is looked for inside its chunk");
    while let Some(header) = chunk.get(at..at + HEADER_LEN) {
        let len = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        // What is not as it should be is for `frame_at` to judge.
        if header[0] != tag || !(4..=MESSAGE_LEN_MAX).contains(&len) || len >= chunk.len() - at {
            break;
        }
        at += 1 + len;
    }
    at
}

/// The longest message of a type that a logged-in client may send; `None`: not such a type.
const fn frontend_len_max(tag: u8) -> Option<usize> {
    match tag {
        b'B' | b'd' | b'F' | b'P' | b'Q' => Some(MESSAGE_LEN_MAX),
        b'C' | b'D' | b'E' | b'f' => Some(SMALL_MESSAGE_LEN_MAX),
        b'c' | b'H' | b'S' | b'X' => Some(4),
        _ => None,
    }
}

/// The longest message of a type that a server may send; `None`: not such a type.
const fn backend_len_max(tag: u8) -> Option<usize> {
    match tag {
        b'A' | b'C' | b'd' | b'D' | b'E' | b'G' | b'H' | b'N' | b'R' | b'S' | b't' | b'T'
        | b'v' | b'V' | b'W' => Some(MESSAGE_LEN_MAX),
        b'K' => Some(4 + 4 + 256),
        b'Z' => Some(5),
        b'1' | b'2' | b'3' | b'c' | b'I' | b'n' | b's' => Some(4),
        _ => None,
    }
}

/// Splits a NUL-terminated string off the front; `None` where the NUL is not there.
#[inline]
pub fn cstr(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    // Names are empty more often than not.
    if let [0, rest @ ..] = bytes {
        return Some((&[], rest));
    }
    let end = memchr::memchr(0, bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// Appends a message of type `tag` whose body `fill` writes.
pub fn put_message(out: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    fill(out);
    let len = out.len() - at;
    assert!(len <= MESSAGE_LEN_MAX, "a message of ours stays below the protocol's limit");
    out[at..at + 4].copy_from_slice(&(len as u32).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_cut_anywhere_is_waited_for() {
        let message = [b'Q', 0, 0, 0, 6, b'x', 0];
        for cut in 0..HEADER_LEN {
            assert_eq!(frame_at(&message[..cut], 0, Sender::Frontend), Ok(None));
        }
        let frame = frame_at(&message, 0, Sender::Frontend).unwrap().unwrap();
        assert!(frame.is_whole());
        assert_eq!((frame.body, frame.all), (5..7, 0..7));
    }

    proptest::proptest! {
        #[test]
        fn a_run_ends_where_walking_message_by_message_ends(
            lens in proptest::collection::vec(0_u32..12, 0..8),
            tags in proptest::collection::vec(proptest::sample::select(vec![b'D', b'd', b'C']), 8),
            cut in 0_usize..80,
        ) {
            let mut chunk = Vec::new();
            for (len, tag) in lens.iter().zip(&tags) {
                chunk.push(*tag);
                chunk.extend_from_slice(&(len + 3).to_be_bytes());
                chunk.resize(chunk.len() + len.saturating_sub(1) as usize, 0);
            }
            chunk.truncate(cut);
            for tag in [b'D', b'd'] {
                let mut at = 0;
                while let Ok(Some(frame)) = frame_at(&chunk, at, Sender::Backend) {
                    if frame.tag != tag || !frame.is_whole() {
                        break;
                    }
                    at = frame.all.end;
                }
                proptest::prop_assert_eq!(run_end(&chunk, 0, tag), at);
            }
        }
    }

    #[test]
    fn what_is_missing_of_a_body_is_counted() {
        let frame = frame_at(b"Q\0\0\0\x0aab", 0, Sender::Frontend).unwrap().unwrap();
        assert_eq!((frame.missing, frame.len()), (4, 11));
    }

    #[test]
    fn lengths_below_four_and_above_the_limit_of_the_type_are_refused() {
        for bytes in [b"Q\0\0\0\x03", b"Q\xff\xff\xff\xff", b"S\0\0\0\x05", b"E\0\0\x27\x11"] {
            assert!(matches!(
                frame_at(bytes, 0, Sender::Frontend),
                Err(FrameError::BadLength { .. })
            ));
        }
    }

    #[test]
    fn unknown_types_are_refused_before_their_length_is_there() {
        assert_eq!(frame_at(b"m", 0, Sender::Frontend), Err(FrameError::UnknownTag { tag: b'm' }));
        assert_eq!(frame_at(b"Q", 0, Sender::Backend), Err(FrameError::UnknownTag { tag: b'Q' }));
    }
}
