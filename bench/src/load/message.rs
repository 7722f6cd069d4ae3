//! The messages of a client, ready to be written.
//!
//! Pure. Source: PostgreSQL documentation, "Message Formats".

/// A message with a tag.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

/// StartupMessage of protocol 3.0.
pub fn startup(user: &str, database: &str) -> Vec<u8> {
    let body = format!("\0\x03\0\0user\0{user}\0database\0{database}\0\0");
    [&(body.len() as u32 + 4).to_be_bytes()[..], body.as_bytes()].concat()
}

/// CancelRequest with the key of a connection: process id and secret.
pub fn cancel(key: [u8; 8]) -> Vec<u8> {
    [&b"\0\0\0\x10\x04\xd2\x16\x2e"[..], &key].concat()
}

/// Query.
pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

/// Parse and Sync of a named statement.
pub fn prepare(name: &str, sql: &str) -> Vec<u8> {
    [message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes()), message(b'S', b"")].concat()
}

/// Bind with one text parameter, Describe, Execute and Sync of a prepared statement.
pub fn execute(name: &str, parameter: &str) -> Vec<u8> {
    let len = (parameter.len() as u32).to_be_bytes();
    let bind: [&[u8]; 6] =
        [b"\0", name.as_bytes(), b"\0\0\0\0\x01", &len, parameter.as_bytes(), b"\0\x01\0\0"];
    [
        message(b'B', &bind.concat()),
        message(b'D', b"P\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
    ]
    .concat()
}

/// The same with a Parse of the unnamed statement before it.
pub fn extended(sql: &str, parameter: &str) -> Vec<u8> {
    let parse = message(b'P', format!("\0{sql}\0\0\0").as_bytes());
    [parse, execute("", parameter)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_counts_itself_and_not_the_tag() {
        assert_eq!(query("select 1"), b"Q\0\0\0\x0dselect 1\0");
        assert_eq!(startup("u", "d"), b"\0\0\0\x1b\0\x03\0\0user\0u\0database\0d\0\0"[..].to_vec());
    }

    #[test]
    fn an_extended_transaction_is_parse_bind_describe_execute_sync() {
        let bytes = extended("select $1", "7");
        let mut tags = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            tags.push(char::from(bytes[at]));
            let len = u32::from_be_bytes(bytes[at + 1..at + 5].try_into().unwrap());
            at += 1 + len as usize;
        }
        assert_eq!(tags, ['P', 'B', 'D', 'E', 'S']);
        assert_eq!(at, bytes.len());
    }
}
