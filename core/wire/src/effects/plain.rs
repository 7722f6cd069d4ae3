//! A quick look that lets most everyday statements pass: one statement, no parenthesis, no comment,
//! no name that is quoted, nothing to be looked up.
//!
//! Invariant: what is plain has no effect by the whole scan either, whatever is known of functions;
//! what is not plain may still have none.

use super::words;

/// Whether `sql`, which must be the whole text, certainly leaves nothing behind.
pub(super) fn is_plain(sql: &[u8]) -> bool {
    let mut word = None;
    let mut first = true;
    let mut at = 0;
    while let Some(&byte) = sql.get(at) {
        let class = CLASSES[byte as usize];
        if class == Class::Name {
            word.get_or_insert(at);
            at += 1;
            continue;
        }
        if let Some(start) = word.take() {
            if tells(&sql[start..at], &mut first) {
                return false;
            }
            // A letter right before a quote changes what the literal is.
            if class == Class::Quote {
                return false;
            }
        }
        match class {
            Class::Between => at += 1,
            Class::Minus if sql.get(at + 1) != Some(&b'-') => at += 1,
            Class::Quote => match literal(&sql[at..]) {
                Some(len) => at += len,
                None => return false,
            },
            Class::End => return !first && sql[at..].iter().all(|byte| b"; \n".contains(byte)),
            Class::Name | Class::Minus | Class::Other => return false,
        }
    }
    word.is_none_or(|start| !tells(&sql[start..], &mut first)) && !first
}

/// Whether a word makes a statement one for the whole scan. The first word must be one of those
/// behind which nothing is left, whatever follows.
fn tells(word: &[u8], first: &mut bool) -> bool {
    if std::mem::take(first) {
        let mut name = super::Name::default();
        return !words::is_harmless(name.fold(word));
    }
    words::may_name_a_table(word)
}

/// The length of the literal that begins here; `None` where its end is not certain.
fn literal(sql: &[u8]) -> Option<usize> {
    assert_eq!(sql[0], b'\'', "a literal begins with its quote");
    let end = memchr::memchr2(b'\'', b'\\', &sql[1..])? + 1;
    (sql[end] == b'\'').then_some(end + 1)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Part of a word or a number.
    Name,
    /// Between words.
    Between,
    /// A sign, or the first half of a comment's beginning.
    Minus,
    Quote,
    /// The end of the statement.
    End,
    Other,
}

static CLASSES: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        let it = byte as u8;
        if it.is_ascii_alphanumeric() || it == b'_' {
            classes[byte] = Class::Name;
        }
        byte += 1;
    }
    let between = b" \t\n\r,.=<>*+%";
    let mut at = 0;
    while at < between.len() {
        classes[between[at] as usize] = Class::Between;
        at += 1;
    }
    classes[b'-' as usize] = Class::Minus;
    classes[b'\'' as usize] = Class::Quote;
    classes[b';' as usize] = Class::End;
    classes
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::effects::{Effects, Functions, scan_all};

    #[test]
    fn everyday_statements_are_plain() {
        for sql in [
            "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;",
            "UPDATE pgbench_tellers SET tbalance = tbalance + -17 WHERE tid = 3;",
            "select a.b, c from t as a where d = 'it''s (not) a call' and e >= -1.5",
            "commit",
            "SELECT 1 ; \n",
        ] {
            assert!(is_plain(sql.as_bytes()), "{sql}");
        }
    }

    #[test]
    fn what_may_do_more_is_for_the_whole_scan() {
        for sql in [
            "",
            " ; ",
            "set a = 1",
            "select f(1)",
            "select 1; set a = 1",
            "select 1 into temp x",
            "select a into b from c",
            "select * from pg_temp.x",
            "select e'\\' , set_config('a', 'b', false) --'",
            "select 'a\\' , 1",
            "select 'a",
            "select $$a$$",
            "select \"a\"",
            "select 1 -- x",
            "select 1 /* x */",
            "select 'a' 'b' ; listen c",
            "begin",
            "wählen",
        ] {
            assert!(!is_plain(sql.as_bytes()), "{sql}");
        }
    }

    proptest! {
        #[test]
        fn what_is_plain_has_no_effect_by_the_whole_scan(
            parts in proptest::collection::vec(
                prop_oneof![
                    proptest::sample::select(vec![
                        "select", "SELECT", "insert", "into", "temp", "TEMPORARY", "pg_temp", "hold",
                        "declare", "set", "begin", "commit", "from", "as", "e'", "E'", "U&'", "n'", "'",
                        "''", "\\", "(", ")", ";", "-", "--", "/*", "*/", "$", "$1", "$$", "\"", ".",
                        ",", "=", "::", "a", "b1", "x_y", "1e", "-5", "listen", "create", "table", "\n",
                        "\t", "\u{e4}", "\0", "values", "copy", "set_config",
                    ]).prop_map(str::to_owned),
                    "[ -~]{0,3}",
                ],
                0..12,
            ),
            glue in proptest::sample::select(vec![" ", ""]),
        ) {
            let sql = parts.join(glue);
            let whole = scan_all(sql.as_bytes(), &Functions::default());
            prop_assert!(!is_plain(sql.as_bytes()) || whole == Effects::NONE, "{sql:?}: {whole:?}");
        }
    }
}
