//! Whether a text means the same whenever it is parsed, settings and definitions being equal.
//!
//! Owns: the kinds of statement that are worth keeping, and the constants that PostgreSQL reads by
//! the clock when it parses (`'now'`, `'today'`; the time zone of a `timetz` is that of its day).
//! Refuses: grammar: what it cannot be sure of is not kept.
//! Invariant: a text that passes may be parsed once for all.
//! Source: PostgreSQL documentation, "Date/Time Input", "Special Values".

use crate::lexer::{Lexer, Token};

/// First words of statements that are worth keeping. Of utility statements only those that begin
/// and end transactions are: PostgreSQL keeps no plan for them, but their Parse is spared.
const HEADS: [&[u8]; 14] = [
    b"select",
    b"insert",
    b"update",
    b"delete",
    b"merge",
    b"with",
    b"values",
    b"table",
    b"begin",
    b"start",
    b"commit",
    b"end",
    b"rollback",
    b"abort",
];

/// Words of date and time constants that depend on the clock.
const CLOCK: [&[u8]; 4] = [b"now", b"today", b"tomorrow", b"yesterday"];

/// See the module's documentation.
pub(super) fn is_constant(sql: &[u8]) -> bool {
    let mut lexer = Lexer::new(sql);
    let (mut at, mut ended) = (0, false);
    let mut last = Last::Nothing;
    let mut words = Words::default();
    while let Some(token) = lexer.next() {
        let (from, to) = (at, lexer.at());
        at = to;
        match token {
            Token::Space => continue,
            _ if ended => return false,
            Token::Symbol(b';') => ended = true,
            // Two literals with nothing but a line's end between them are one.
            Token::Literal if last == Last::Literal => return false,
            Token::Literal if !is_plain(&sql[from..to]) => return false,
            Token::Literal => last = Last::Literal,
            Token::Word(range) if !words.take(&sql[range.clone()]) => return false,
            Token::Word(_) | Token::Symbol(_) | Token::Sign(_) => last = Last::Other,
        }
    }
    assert!(at <= sql.len(), "tokens lie in the text");
    words.count > 0 && !lexer.is_unsure()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Literal,
    Other,
}

#[derive(Default)]
struct Words {
    count: usize,
    after_time: Option<()>,
}

impl Words {
    /// Whether the text may go on with this word.
    fn take(&mut self, word: &[u8]) -> bool {
        let is = |text: &[u8]| word.eq_ignore_ascii_case(text);
        self.count += 1;
        if self.count == 1 {
            return HEADS.iter().any(|head| is(head));
        }
        let zoned = self.after_time.is_some() && is(b"with");
        self.after_time = is(b"time").then_some(());
        !zoned && !is(b"timetz")
    }
}

/// Whether a literal is read without the clock. What a backslash stands for is not looked up.
fn is_plain(literal: &[u8]) -> bool {
    if literal.contains(&b'\\') {
        return false;
    }
    !literal
        .split(|byte| !byte.is_ascii_alphabetic())
        .any(|word| CLOCK.iter().any(|clock| word.eq_ignore_ascii_case(clock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyday_statements_are_kept() {
        for sql in [
            "select abalance from pgbench_accounts where aid = $1",
            "INSERT INTO t (a, b) VALUES ($1, 'known') ON CONFLICT DO NOTHING;",
            "with x as (select 1) table x",
            "select now(), current_date, 'it is nowhere', time '12:00'",
            "select \"time\" from t with_x -- with",
            "BEGIN",
            "commit",
            "select 1 -- 'now'",
        ] {
            assert!(is_constant(sql.as_bytes()), "{sql}");
        }
    }

    #[test]
    fn what_depends_on_the_clock_or_cannot_be_read_is_not() {
        for sql in [
            "",
            "-- nothing",
            "select 'now'::timestamptz",
            "insert into t values ('Today 12:00')",
            "select date $$tomorrow$$",
            "select 'YESTERDAY'",
            "select E'n\\x6fw'::timestamptz",
            "select U&'\\006eow'",
            "select 'no'\n'w'",
            "select '12:00'::timetz",
            "select time with time zone '12:00'",
            "select time (3) with time zone '12:00'",
            "select 1; select 2",
            "set datestyle = 'german'",
            "create table t (a int)",
            "explain select 1",
            "do $$ begin end $$",
        ] {
            assert!(!is_constant(sql.as_bytes()), "{sql}");
        }
    }
}
