//! The two things that an inspector speaks on loopback: one HTTP answer, and WebSocket.
//!
//! Owns: framing, masking, reassembly, and the limits on both. Refuses: TLS, extensions, binary
//! messages, and every address that is not of this machine's loopback.
//! Invariant: a message is at most [`MESSAGE_MAX`] bytes. Reading can be given up at any moment and
//! taken up again (what has come stays in the buffer); after a write that was given up the
//! connection takes no more. Source: RFC 6455. `Sec-WebSocket-Accept` is not checked: it guards
//! against caches in between, and on loopback there are none.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::error::AttachError;

/// The largest message: a profile is some hundred kilobytes, a heap snapshot some megabytes.
pub(crate) const MESSAGE_MAX: usize = 32 << 20;
/// The largest head of an HTTP answer, and the largest list of an inspector's targets.
const HTTP_MAX: usize = 64 << 10;
/// How long connecting or an HTTP answer may take.
const HTTP_LIMIT: Duration = Duration::from_secs(3);
/// What is read at once.
const CHUNK: usize = 64 << 10;

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// The body of `GET path` at a port of loopback.
pub(crate) async fn get(port: u16, path: &str) -> Result<String, AttachError> {
    let exchange = async {
        let mut stream = connect(port).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut buffer = Vec::new();
        let head = read_head(&mut stream, &mut buffer).await?;
        let length = content_length(&head)?;
        while buffer.len() < length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        buffer.truncate(length);
        String::from_utf8(buffer).map_err(|_| AttachError::Nonsense("its list is not text"))
    };
    let outcome = tokio::time::timeout(HTTP_LIMIT, exchange).await;
    outcome.unwrap_or(Err(AttachError::Late("for its list")))
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads until the end of the head; what came after it stays in `buffer`.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<String, AttachError> {
    loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            buffer.drain(..end + 4);
            return Ok(head);
        }
        if buffer.len() > HTTP_MAX {
            return Err(AttachError::TooLarge(HTTP_MAX));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

fn content_length(head: &str) -> Result<usize, AttachError> {
    let mut lines = head.lines();
    if !lines.next().is_some_and(|line| line.contains(" 200")) {
        return Err(AttachError::Nonsense("not an inspector's list"));
    }
    let fields = lines.filter_map(|line| line.split_once(':'));
    let length = fields
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, value)| value.trim().parse().ok())
        .ok_or(AttachError::Nonsense("a list without a length"))?;
    if length > HTTP_MAX { Err(AttachError::TooLarge(HTTP_MAX)) } else { Ok(length) }
}

/// Whether the last write was seen to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Whole,
    Torn,
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The parts of a message whose last part has not come yet.
    message: Vec<u8>,
    writing: Writing,
    masks: fastrand::Rng,
}

impl WebSocket {
    /// Connects to `ws://127.0.0.1:port/path`; `path` begins with a slash.
    pub(crate) async fn open(port: u16, path: &str) -> Result<Self, AttachError> {
        tokio::time::timeout(HTTP_LIMIT, Self::shake_hands(port, path))
            .await
            .unwrap_or(Err(AttachError::Late("the WebSocket's handshake")))
    }

    async fn shake_hands(port: u16, path: &str) -> Result<Self, AttachError> {
        let mut stream = connect(port).await?;
        // Sixteen bytes in base64. Any will do where nothing is cached.
        let key = "c3RlbnQgaW5zcGVjdG9yIQ==";
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut buffer = Vec::new();
        let head = read_head(&mut stream, &mut buffer).await?;
        if !head.lines().next().is_some_and(|line| line.contains(" 101")) {
            return Err(AttachError::Nonsense("no WebSocket there"));
        }
        let (message, masks) = (Vec::new(), fastrand::Rng::new());
        Ok(Self { stream, buffer, message, writing: Writing::Whole, masks })
    }

    /// Sends a text message.
    pub(crate) async fn send(&mut self, text: &str) -> Result<(), AttachError> {
        self.write(TEXT, text.as_bytes()).await
    }

    /// The next text message. Can be given up at any moment without loss.
    pub(crate) async fn receive(&mut self) -> Result<Vec<u8>, AttachError> {
        loop {
            let Some(frame) = take_frame(&mut self.buffer)? else {
                self.buffer.reserve(CHUNK);
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                continue;
            };
            match frame.opcode {
                TEXT | CONTINUATION => {
                    if self.message.len() + frame.payload.len() > MESSAGE_MAX {
                        return Err(AttachError::TooLarge(MESSAGE_MAX));
                    }
                    self.message.extend_from_slice(&frame.payload);
                    if frame.is_final {
                        return Ok(std::mem::take(&mut self.message));
                    }
                }
                PING => self.write(PONG, &frame.payload).await?,
                PONG => {}
                CLOSE => return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into()),
                _ => return Err(AttachError::Nonsense("an unknown kind of frame")),
            }
        }
    }

    async fn write(&mut self, opcode: u8, payload: &[u8]) -> Result<(), AttachError> {
        if self.writing == Writing::Torn {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        }
        let frame = masked(opcode, payload, self.masks.u32(..).to_ne_bytes());
        self.writing = Writing::Torn; // until it is known to be whole
        self.stream.write_all(&frame).await?;
        self.writing = Writing::Whole;
        Ok(())
    }
}

/// A frame of a client's.
fn masked(opcode: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    frame.push(FINAL | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => frame.push(MASKED | short),
        (_, Ok(middle)) => {
            frame.push(MASKED | 126);
            frame.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            frame.push(MASKED | 127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[derive(Debug, PartialEq, Eq)]
struct Frame {
    is_final: bool,
    opcode: u8,
    payload: Vec<u8>,
}

/// Takes a server's frame off the front; `None`: it has not come whole.
fn take_frame(buffer: &mut Vec<u8>) -> Result<Option<Frame>, AttachError> {
    let [first, second, ..] = buffer[..] else { return Ok(None) };
    if second & MASKED != 0 {
        return Err(AttachError::Nonsense("a masked frame from a server"));
    }
    let (start, length) = match second {
        126 => match buffer.get(2..4).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => (4, u64::from(u16::from_be_bytes(bytes))),
            None => return Ok(None),
        },
        127 => match buffer.get(2..10).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => (10, u64::from_be_bytes(bytes)),
            None => return Ok(None),
        },
        short => (2, u64::from(short)),
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MESSAGE_MAX {
        return Err(AttachError::TooLarge(MESSAGE_MAX));
    }
    if buffer.len() < start + length {
        return Ok(None);
    }
    let payload = buffer[start..start + length].to_vec();
    buffer.drain(..start + length);
    Ok(Some(Frame { is_final: first & FINAL != 0, opcode: first & 0x0F, payload }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmasked(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = masked(opcode, payload, [0; 4]);
        frame[1] &= !MASKED;
        let head = match frame[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        frame.drain(head..head + 4);
        frame
    }

    #[test]
    fn frames_of_every_length_come_out_as_they_went_in_however_they_are_cut() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let frame = unmasked(TEXT, &payload);
            let mut buffer = frame[..frame.len() - 1].to_vec();
            assert_eq!(
                take_frame(&mut buffer).unwrap(),
                None,
                "{length}: the last byte is missing"
            );
            buffer.extend_from_slice(&frame[frame.len() - 1..]);
            buffer.push(0x81);
            let taken = take_frame(&mut buffer).unwrap().unwrap();
            assert_eq!((taken.opcode, taken.payload.len()), (TEXT, length));
            assert_eq!(buffer, [0x81], "what follows stays");
        }
    }

    #[test]
    fn a_mask_is_taken_off_by_the_same_mask() {
        let frame = masked(TEXT, b"hello", [1, 2, 3, 4]);
        let back: Vec<u8> =
            frame[6..].iter().zip([1, 2, 3, 4].iter().cycle()).map(|(b, m)| b ^ m).collect();
        assert_eq!(back, b"hello");
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_kept() {
        let mut buffer = vec![FINAL | TEXT, 127];
        buffer.extend_from_slice(&u64::MAX.to_be_bytes());
        assert!(matches!(take_frame(&mut buffer), Err(AttachError::TooLarge(_))));
    }

    #[test]
    fn a_server_that_masks_is_no_server() {
        assert!(take_frame(&mut masked(TEXT, b"x", [9; 4])).is_err());
    }

    #[test]
    fn the_length_of_a_list_is_read_and_limited() {
        let head = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\ncontent-length: 12";
        assert_eq!(content_length(head).unwrap(), 12);
        assert!(content_length("HTTP/1.0 404 Not Found\r\nContent-Length: 1").is_err());
        assert!(content_length("HTTP/1.0 200 OK\r\nContent-Length: 99999999").is_err());
        assert!(content_length("HTTP/1.0 200 OK").is_err());
    }
}
