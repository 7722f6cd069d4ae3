//! When two answers are the same.
//!
//! Left out is what PostgreSQL does not promise: the numbers of tables and types that were made in
//! two databases, where in its source it raised an error, and whether a value that an expression
//! cannot take (class 22, as in `10 / $1`) is found when the portal is planned or when it runs:
//! that depends on the plan that it chooses.
//! Invariant: nothing else is left out.

use super::super::raw::Message;

/// The first number of an object that people have made.
const FIRST_OWN: u32 = 16_384;

/// Messages as text that can be compared and read.
pub(super) fn comparable(messages: &[Message]) -> Vec<String> {
    let text = |(tag, body): &Message| {
        let body = match tag {
            b'E' | b'N' => report(body),
            b'T' => columns(body),
            b't' => types(body),
            _ => body.escape_ascii().to_string(),
        };
        format!("{} {body}", char::from(*tag))
    };
    without_failed_portals(messages).into_iter().map(text).collect()
}

/// Messages without what came of a portal that has then met a value that it cannot take.
fn without_failed_portals(messages: &[Message]) -> Vec<&Message> {
    let mut kept: Vec<&Message> = Vec::new();
    for message in messages {
        let refuses_value = message.0 == b'E' && message.1.windows(4).any(|code| code == b"\0C22");
        if refuses_value {
            let portal = kept.iter().rposition(|(tag, _)| !b"TnD".contains(tag));
            kept.truncate(portal.filter(|at| kept[*at].0 == b'2').unwrap_or(kept.len()));
        }
        kept.push(message);
    }
    kept
}

fn report(body: &[u8]) -> String {
    let fields = body.split(|byte| *byte == 0);
    let kept = fields.filter(|field| !matches!(field.first(), Some(b'F' | b'L' | b'R')));
    kept.map(|field| field.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
}

fn own(number: u32) -> u32 {
    number.min(FIRST_OWN)
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}

fn types(body: &[u8]) -> String {
    let types: Vec<u32> = body[2..].chunks(4).map(|of| own(number(of))).collect();
    format!("{types:?}")
}

fn columns(body: &[u8]) -> String {
    let mut rest = &body[2..];
    let mut columns = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let (name, fixed) = (rest[..end].escape_ascii(), &rest[end + 1..end + 19]);
        let (table, kind) = (own(number(&fixed[..4])), own(number(&fixed[6..10])));
        let others = [&fixed[4..6], &fixed[10..]].concat();
        columns.push(format!("{name}: {table} {kind} {others:?}"));
        rest = &rest[end + 19..];
    }
    columns.join(", ")
}
