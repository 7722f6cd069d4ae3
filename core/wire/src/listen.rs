//! LISTEN and NOTIFY: notifications read, and the statements of ours about channels.
//!
//! Owns: the body of NotificationResponse, quoting of channel names, and which spellings of an
//! encoding are the same. Refuses: who gets a notification.
//! Invariant: a channel's name goes into a statement only between quotes that it cannot leave.
//! Source: PostgreSQL documentation, "NOTIFY", "LISTEN", "Message Formats".

use crate::frame::cstr;

/// The longest notification that is taken in, header included. PostgreSQL's own limit is a
/// payload of 8,000 bytes and a name of 63; builds with larger pages allow more.
pub const NOTIFICATION_LEN_MAX: usize = 64 * 1024;

/// The body of a NotificationResponse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification<'a> {
    /// The process id of the backend that notified.
    pub pid: u32,
    /// The channel, in the session's encoding.
    pub channel: &'a [u8],
    /// The payload, likewise; empty where none was given.
    pub payload: &'a [u8],
}

impl<'a> Notification<'a> {
    /// Whether it is the fence of this number.
    pub fn is_fence(&self, channel: &[u8], number: u64) -> bool {
        self.channel == channel && self.payload == number.to_string().as_bytes()
    }

    /// Reads the body; `None` where it is not one.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (pid, rest) = body.split_first_chunk::<4>()?;
        let (channel, rest) = cstr(rest)?;
        let (payload, rest) = cstr(rest)?;
        let pid = u32::from_be_bytes(*pid);
        rest.is_empty().then_some(Self { pid, channel, payload })
    }
}

/// `LISTEN` for each channel, as one simple query.
pub fn listen_sql<'a>(channels: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut sql = Vec::new();
    channels.into_iter().for_each(|channel| put(&mut sql, b"LISTEN ", channel));
    sql
}

/// `UNLISTEN` for each channel, as one simple query.
pub fn unlisten_sql<'a>(channels: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut sql = Vec::new();
    channels.into_iter().for_each(|channel| put(&mut sql, b"UNLISTEN ", channel));
    sql
}

/// A notification of ours: it divides what was notified before it from what comes after it, in
/// every session that listens on `channel`.
pub fn fence_sql(channel: &[u8], number: u64) -> Vec<u8> {
    let mut sql = b"NOTIFY ".to_vec();
    put_quoted(&mut sql, channel);
    sql.extend_from_slice(format!(",'{number}'").as_bytes());
    sql
}

fn put(sql: &mut Vec<u8>, command: &[u8], channel: &[u8]) {
    sql.extend_from_slice(command);
    put_quoted(sql, channel);
    sql.push(b';');
}

/// A quoted identifier. In every encoding that a server can have, a byte of ASCII is itself.
fn put_quoted(sql: &mut Vec<u8>, name: &[u8]) {
    assert!(!name.is_empty() && !name.contains(&0), "PostgreSQL has no such channel");
    sql.push(b'"');
    for &byte in name {
        if byte == b'"' {
            sql.push(byte);
        }
        sql.push(byte);
    }
    sql.push(b'"');
}

/// Whether two names of encodings surely mean the same: letters and digits count, in any case.
pub fn is_same_encoding(one: &[u8], other: &[u8]) -> bool {
    let plain = |name: &[u8]| -> Vec<u8> {
        let kept = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
        kept.map(u8::to_ascii_lowercase).collect()
    };
    let known = |name: Vec<u8>| if name == b"unicode" { b"utf8".to_vec() } else { name };
    known(plain(one)) == known(plain(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_read_whole_or_not_at_all() {
        let body = b"\0\0\x12\x34jobs\0{\"id\":1}\0";
        let read = Notification::parse(body).unwrap();
        assert_eq!(
            (read.pid, read.channel, read.payload),
            (0x1234, &b"jobs"[..], &b"{\"id\":1}"[..])
        );
        for cut in 0..body.len() {
            assert_eq!(Notification::parse(&body[..cut]), None, "{cut}");
        }
        assert_eq!(Notification::parse(&[&body[..], b"x"].concat()), None);
    }

    #[test]
    fn no_name_leaves_its_quotes() {
        let sql = listen_sql([&b"Jobs"[..], b"a\"; DROP TABLE t; --"]);
        assert_eq!(sql, b"LISTEN \"Jobs\";LISTEN \"a\"\"; DROP TABLE t; --\";");
        assert_eq!(unlisten_sql([&b"a"[..]]), b"UNLISTEN \"a\";");
        assert_eq!(fence_sql(b"f", 7), b"NOTIFY \"f\",'7'");
    }

    #[test]
    fn encodings_are_compared_by_what_they_mean() {
        assert!(is_same_encoding(b"UTF8", b"utf-8") && is_same_encoding(b"unicode", b"UTF8"));
        assert!(!is_same_encoding(b"UTF8", b"LATIN1") && !is_same_encoding(b"UTF8", b""));
    }
}
