//! Reports about prepared statements, in the client's words.
//!
//! A server knows a client's statement by a name of ours, and PostgreSQL's reports quote it.
//! Invariant: nothing but a quoted name of ours is changed, and it becomes the name that the client
//! used, so that a report reads as it does without a proxy.

use super::ClientStatements;
use super::names::{DECOY, PREFIX, number};

/// The body of a report with the client's names in it; `None` where it quotes no name of ours.
/// `taken` is the name of the Parse that the report answers, if that one was taken, and `unnamed`
/// the number of the statement that it is about, if the client used that without a name.
pub fn rename(
    body: &[u8],
    client: &ClientStatements,
    taken: Option<&[u8]>,
    unnamed: Option<u64>,
) -> Option<Vec<u8>> {
    let mut renamed = None;
    let mut rest = body;
    while let Some(at) = memchr::memmem::find(rest, PREFIX) {
        let behind = &rest[at + PREFIX.len()..];
        let digits = behind.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let end = at + PREFIX.len() + digits;
        let (before, quoted) = (&rest[..at], rest.get(end) == Some(&b'"'));
        let out = renamed.get_or_insert_with(Vec::new);
        let name = number(&behind[..digits]).and_then(|id| match id {
            DECOY => taken,
            id if Some(id) == unnamed => Some(&b""[..]),
            id => client.name_of(id),
        });
        if quoted && before.ends_with(b"\"_") {
            // A client asked for a name of our form: it went with one underscore more.
            out.extend_from_slice(&before[..before.len() - 1]);
            out.extend_from_slice(&rest[at..end]);
        } else if let (true, true, Some(name)) = (quoted, before.ends_with(b"\""), name) {
            out.extend_from_slice(before);
            out.extend_from_slice(name);
        } else {
            out.extend_from_slice(&rest[..end]);
        }
        rest = &rest[end..];
    }
    let mut renamed = renamed?;
    assert!(rest.len() < body.len(), "a name of ours was met");
    renamed.extend_from_slice(rest);
    Some(renamed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::prepared::{Reading, Texts};

    fn renamed(text: &str) -> Option<String> {
        let (mut client, mut texts) = (ClientStatements::default(), Texts::default());
        for name in ["first", "second"] {
            let statement = texts.intern(Reading::PLAIN, format!("{name}\0\0\0").as_bytes());
            client.insert(name.as_bytes(), Arc::clone(&statement), texts.tick());
        }
        rename(text.as_bytes(), &client, Some(b"twice"), Some(7))
            .map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_report_speaks_of_the_clients_names() {
        for (theirs, ours) in [
            ("statement \"_stent_2\" is gone", "statement \"second\" is gone"),
            ("\"_stent_1\" and \"_stent_2\"", "\"first\" and \"second\""),
            ("\"_stent_ffffffffffffffff\" already exists", "\"twice\" already exists"),
            ("statement \"_stent_7\" requires 1", "statement \"\" requires 1"),
            ("\"__stent_1\" does not exist", "\"_stent_1\" does not exist"),
        ] {
            assert_eq!(renamed(theirs).as_deref(), Some(ours));
        }
    }

    #[test]
    fn what_is_no_name_of_ours_stays() {
        assert_eq!(renamed("relation \"t\" does not exist"), None);
        for text in ["_stent_1", "\"_stent_1", "\"_stent_9\"", "\"_stent_\"", "\"x_stent_1\""] {
            assert_eq!(renamed(text).as_deref(), Some(text));
        }
    }
}
