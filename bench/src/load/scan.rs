//! Finds the end of an answer in what a server sends, without keeping it.
//!
//! Owns: the position within the message that is passing by. Refuses: looking into rows.
//! Invariant: bytes may come in any pieces; what is kept of an answer is its first error.

/// Kept of an ErrorResponse.
const ERROR_BYTES_MAX: usize = 512;
const HEAD: usize = 5;

/// Where in the stream of messages we are.
#[derive(Debug, Default)]
pub struct Scan {
    head: [u8; HEAD],
    have: usize,
    body_left: usize,
    error: Vec<u8>,
}

/// What has passed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing that ends an answer.
    More,
    /// CopyInResponse: the server waits for data.
    CopyIn,
    /// ReadyForQuery.
    Ready,
}

impl Scan {
    /// Takes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Seen {
        let mut seen = Seen::More;
        loop {
            if self.have < HEAD {
                let n = bytes.len().min(HEAD - self.have);
                self.head[self.have..self.have + n].copy_from_slice(&bytes[..n]);
                self.have += n;
                bytes = &bytes[n..];
                if self.have < HEAD {
                    return seen;
                }
                let [_, len @ ..] = self.head;
                self.body_left = (u32::from_be_bytes(len) as usize).saturating_sub(4);
            }
            let n = bytes.len().min(self.body_left);
            if self.head[0] == b'E' && self.error.len() < ERROR_BYTES_MAX {
                self.error.extend_from_slice(&bytes[..n]);
            }
            self.body_left -= n;
            bytes = &bytes[n..];
            if self.body_left > 0 {
                return seen;
            }
            self.have = 0;
            match self.head[0] {
                b'Z' => seen = Seen::Ready,
                b'G' => seen = Seen::CopyIn,
                _ => {}
            }
        }
    }

    /// The error of the answer that has ended, taken out: its fields with blanks between them.
    pub fn take_error(&mut self) -> Option<String> {
        let error = std::mem::take(&mut self.error);
        (!error.is_empty()).then(|| String::from_utf8_lossy(&error).replace('\0', " "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";

    #[test]
    fn the_end_is_found_however_the_bytes_are_cut() {
        for cut in 1..ANSWER.len() {
            let mut scan = Scan::default();
            assert_eq!(scan.feed(&ANSWER[..cut]), Seen::More, "cut at {cut}");
            assert_eq!(scan.feed(&ANSWER[cut..]), Seen::Ready, "cut at {cut}");
            assert_eq!(scan.take_error(), None);
        }
    }

    #[test]
    fn a_row_that_looks_like_the_end_is_not_one() {
        let mut scan = Scan::default();
        assert_eq!(scan.feed(b"D\0\0\0\x0aZ\0\0\0\x05I"), Seen::More);
    }

    #[test]
    fn an_error_is_kept_until_it_is_taken() {
        let mut scan = Scan::default();
        assert_eq!(scan.feed(b"E\0\0\0\x0cC42601\0\0Z\0\0\0\x05I"), Seen::Ready);
        assert_eq!(scan.take_error().as_deref(), Some("C42601  "));
        assert_eq!(scan.take_error(), None);
    }

    #[test]
    fn a_server_that_waits_for_data_is_heard() {
        assert_eq!(Scan::default().feed(b"G\0\0\0\x07\0\0\0"), Seen::CopyIn);
    }
}
