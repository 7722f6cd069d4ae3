//! Whether requests whose server was lost may be sent once more, to another.
//!
//! Owns: the decision ([`remedy`]) and recognising requests that only open a transaction
//! ([`opens_transaction`]). Refuses: finding a server, and counting how often.
//! Invariant: nothing that PostgreSQL may have carried out is sent twice. What only opens a
//! transaction leaves nothing behind with the connection that is gone; what was never handed to the
//! kernel cannot have arrived. Of all else nobody knows whether it was carried out, so its client
//! is told.

use crate::frame::{Frame, Sender, cstr, frame_at};

/// What a server may have of the requests of a client that held it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sent {
    /// No byte: the kernel took none.
    Nothing,
    /// Requests that open a transaction, and no others.
    Opening,
    /// Others.
    #[default]
    Other,
}

/// What the client has heard of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// Some of it.
    Something,
}

/// What the server's session was to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// Any other server would do as well.
    Any,
    /// It held state of the client's: temporary tables, locks, a transaction, the whole session.
    Own,
}

/// A server that was lost while a client had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What it may have.
    pub sent: Sent,
    /// What the client knows.
    pub told: Told,
    /// What is lost with it.
    pub session: Session,
    /// How many servers in a row were lost with these requests before.
    pub before: u8,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The requests go to another server.
    Repeat,
    /// The client is told.
    Report,
}

/// How many servers in a row may be lost with the same requests.
pub const REPEATS_MAX: u8 = 5;

/// What is done about a lost server.
pub const fn remedy(loss: Loss) -> Remedy {
    match (loss.sent, loss.told, loss.session) {
        (Sent::Nothing | Sent::Opening, Told::Nothing, Session::Any)
            if loss.before < REPEATS_MAX =>
        {
            Remedy::Repeat
        }
        (Sent::Nothing | Sent::Opening | Sent::Other, Told::Nothing | Told::Something, _) => {
            Remedy::Report
        }
    }
}

/// Whether these requests of a client open a transaction and do nothing else: one Query, or the
/// unnamed statement from its Parse to its Sync.
pub fn opens_transaction(requests: &[u8]) -> bool {
    // A look at two letters lets nearly all requests pass.
    if !may_begin(requests) {
        return false;
    }
    let (mut at, mut opened) = (0, false);
    while at < requests.len() {
        let Ok(Some(frame)) = frame_at(requests, at, Sender::Frontend) else { return false };
        if !frame.is_whole() || !may_open(requests, &frame, opened) {
            return false;
        }
        opened = true;
        at = frame.all.end;
    }
    assert!(at == requests.len() || !opened, "messages end where they end");
    opened
}

/// Whether the first text may begin as those do that open a transaction.
fn may_begin(requests: &[u8]) -> bool {
    let ([b'Q', _, _, _, _, text @ ..] | [b'P', _, _, _, _, 0, text @ ..]) = requests else {
        return false;
    };
    matches!(
        text.trim_ascii_start(),
        [b'b' | b'B', b'e' | b'E', ..] | [b's' | b'S', b't' | b'T', ..]
    )
}

/// Whether a message opens a transaction, or helps one that does.
fn may_open(requests: &[u8], frame: &Frame, opened: bool) -> bool {
    let body = &requests[frame.body.clone()];
    match (frame.tag, opened) {
        (b'Q', false) => is_opening(body.strip_suffix(&[0]).unwrap_or(body)),
        (b'P', false) => {
            let unnamed = cstr(body).filter(|(name, _)| name.is_empty());
            unnamed.and_then(|(_, tail)| cstr(tail)).is_some_and(|(sql, _)| is_opening(sql))
        }
        (b'B' | b'D' | b'E' | b'H' | b'S', true) => true,
        _ => false,
    }
}

/// `BEGIN` or `START TRANSACTION` with whatever modes, and nothing behind them.
fn is_opening(sql: &[u8]) -> bool {
    let sql = sql.trim_ascii();
    let sql = sql.strip_suffix(b";").unwrap_or(sql);
    // Modes are words with commas between them: nothing else can hide among these.
    let plain = |byte: &u8| byte.is_ascii_alphabetic() || b" ,\n\t".contains(byte);
    let mut words = sql.split(|byte| b" ,\n\t".contains(byte)).filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    let opens = first.eq_ignore_ascii_case(b"begin")
        || first.eq_ignore_ascii_case(b"start")
            && words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"transaction"));
    opens && sql.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::put_message;

    #[test]
    fn each_row_of_the_table() {
        use Remedy::{Repeat, Report};
        use Sent::{Nothing, Opening, Other};
        let rows = [
            (Nothing, Told::Nothing, Session::Any, 0, Repeat),
            (Opening, Told::Nothing, Session::Any, 0, Repeat),
            (Other, Told::Nothing, Session::Any, 0, Report),
            (Nothing, Told::Something, Session::Any, 0, Report),
            (Opening, Told::Something, Session::Any, 0, Report),
            (Other, Told::Something, Session::Any, 0, Report),
            (Nothing, Told::Nothing, Session::Own, 0, Report),
            (Opening, Told::Nothing, Session::Own, 0, Report),
            (Other, Told::Nothing, Session::Own, 0, Report),
            (Nothing, Told::Nothing, Session::Any, REPEATS_MAX - 1, Repeat),
            (Nothing, Told::Nothing, Session::Any, REPEATS_MAX, Report),
            (Opening, Told::Nothing, Session::Any, REPEATS_MAX, Report),
        ];
        for (sent, told, session, before, expected) in rows {
            let loss = Loss { sent, told, session, before };
            assert_eq!(remedy(loss), expected, "{loss:?}");
        }
    }

    fn query(sql: &str) -> Vec<u8> {
        let mut out = Vec::new();
        put_message(&mut out, b'Q', |out| out.extend([sql.as_bytes(), b"\0"].concat()));
        out
    }

    fn extended(name: &str, sql: &str, behind: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        let body = format!("{name}\0{sql}\0\0\0");
        put_message(&mut out, b'P', |out| out.extend(body.as_bytes()));
        for (tag, body) in behind {
            put_message(&mut out, *tag, |out| out.extend(*body));
        }
        out
    }

    const REST: [(u8, &[u8]); 3] =
        [(b'B', b"\0\0\0\0\0\0\0\0"), (b'E', b"\0\0\0\0\0"), (b'S', b"")];

    #[test]
    fn what_opens_a_transaction_is_known() {
        for sql in [
            "begin",
            "BEGIN;",
            " Begin Work ;",
            "begin isolation level repeatable read, read only",
            "START  TRANSACTION\nISOLATION LEVEL SERIALIZABLE READ WRITE",
        ] {
            assert!(opens_transaction(&query(sql)), "{sql}");
            assert!(opens_transaction(&extended("", sql, &REST)), "{sql}");
        }
    }

    #[test]
    fn what_does_more_does_not_only_open() {
        for sql in [
            "",
            ";",
            "start",
            "beginning",
            "select 1",
            "commit",
            "begin; commit",
            "begin;;",
            "begin--",
            "begin; insert into t values (1); commit",
            "begin 'x'",
            "begin/**/",
            "start replication",
            "b\u{e9}gin",
        ] {
            assert!(!opens_transaction(&query(sql)), "{sql}");
            assert!(!opens_transaction(&extended("", sql, &REST)), "{sql}");
        }
        assert!(!opens_transaction(b""));
        assert!(!opens_transaction(&extended("named", "begin", &REST)));
        let more = [extended("", "begin", &REST), query("select 1")].concat();
        assert!(!opens_transaction(&more));
        assert!(!opens_transaction(&[query("begin"), query("begin")].concat()));
        assert!(!opens_transaction(&query("begin")[..6]), "the beginning of a message");
    }
}
