//! The statement that gives a client's parameters to a server.
//!
//! Owns: quoting. Refuses: SET, which reads a list value in another form than a start-up packet.
//! Invariant: the SQL is pure ASCII, and its literals mean the same whatever
//! `standard_conforming_strings` is: no setting of a session can bend its quotes.

use std::borrow::Cow;

use super::Params;

impl Params {
    /// The statement for a server that was last given `current`, so that it then has `self` and
    /// nothing of `current`; `None` where nothing differs. One SELECT: it succeeds or changes
    /// nothing. Send it outside a transaction; it answers with one row, to be swallowed.
    ///
    /// `set_config` takes a value in the form of the start-up packet, which SET does not (a
    /// quoted list is one element to SET); its NULL is RESET.
    /// Source: PostgreSQL documentation, "System Administration Functions".
    pub fn sync_sql(&self, current: &Self) -> Option<Vec<u8>> {
        if self == current {
            return None;
        }
        let mut sql = b"SELECT ".to_vec();
        let bare = sql.len();
        for (name, _) in current.iter().filter(|(name, _)| self.get(name).is_none()) {
            put_set_config(&mut sql, name, None);
        }
        for (name, value) in self.iter().filter(|(name, value)| current.get(name) != Some(*value)) {
            // DateStyle alone keeps the half that a new value does not mention.
            if name.eq_ignore_ascii_case(b"DateStyle") && current.get(name).is_some() {
                put_set_config(&mut sql, name, None);
            }
            put_set_config(&mut sql, name, Some(&acceptable(name, value)));
        }
        if sql.len() == bare {
            return None;
        }
        sql.truncate(sql.len() - 1);
        assert!(sql.is_ascii(), "no client_encoding may bend the quotes");
        Some(sql)
    }
}

/// PostgreSQL takes any bytes for an `application_name` at start-up and shows what is not ASCII as
/// question marks; in a statement it would refuse bytes that are not in its encoding.
fn acceptable<'a>(name: &[u8], value: &'a [u8]) -> Cow<'a, [u8]> {
    if name.eq_ignore_ascii_case(b"application_name") && !value.is_ascii() {
        value.iter().map(|&byte| if byte.is_ascii() { byte } else { b'?' }).collect()
    } else {
        Cow::Borrowed(value)
    }
}

fn put_set_config(sql: &mut Vec<u8>, name: &[u8], value: Option<&[u8]>) {
    sql.extend_from_slice(b"pg_catalog.set_config(");
    put_literal(sql, name);
    sql.push(b',');
    match value {
        Some(value) => put_literal(sql, value),
        None => sql.extend_from_slice(b"NULL"),
    }
    sql.extend_from_slice(b",false),");
}

/// Appends a string literal that means the same whatever `standard_conforming_strings` and
/// `client_encoding` are: bytes above ASCII are escaped and arrive as they are, which is what
/// happens to the values of a start-up packet.
fn put_literal(sql: &mut Vec<u8>, text: &[u8]) {
    assert!(!text.contains(&0), "checked when it was set");
    if text.iter().any(|&byte| byte == b'\\' || !byte.is_ascii()) {
        sql.push(b'E');
    }
    sql.push(b'\'');
    for &byte in text {
        match byte {
            b'\'' | b'\\' => sql.extend_from_slice(&[byte, byte]),
            0x80.. => sql.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            _ => sql.push(byte),
        }
    }
    sql.push(b'\'');
}
