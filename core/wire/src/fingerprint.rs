//! The shape of a statement without its data, for telling who holds a connection.
//!
//! Owns: replacing constants by `?`, and folding what makes the same statement look different:
//! comments, white space, lists of constants. Refuses: grammar, and the case of key words.
//! Invariant: nothing of a literal comes out, also where the text was cut inside one, is not
//! UTF-8, or is not SQL; the output has at most the length asked for.

use std::ops::Range;

use crate::lexer::{Lexer, Token};

/// The shape of `sql` in at most `max` bytes. `sql` may be the beginning of a longer text.
///
/// Constants become `?`; `(?, ?, ?)` becomes `(?)`, and so do rows of them behind VALUES;
/// `$1` and names stay.
pub fn fingerprint(sql: &[u8], max: usize) -> String {
    let mut shape = Shape { sql, out: Vec::new(), max, has_space: false, list: None };
    let mut lexer = Lexer::new(sql);
    while shape.out.len() <= max {
        let Some(token) = lexer.next() else { break };
        shape.take(token);
    }
    shape.finish()
}

/// The first key word, as it is spelled: `None` where the text does not begin with one.
pub fn first_keyword(sql: &[u8]) -> Option<&str> {
    let is_lead = |token: &Token| matches!(token, Token::Space | Token::Symbol(b';' | b'('));
    match Lexer::new(sql).find(|token| !is_lead(token))? {
        Token::Word(word) => {
            let word = std::str::from_utf8(&sql[word]).ok()?;
            word.bytes().all(|byte| byte.is_ascii_alphabetic()).then_some(word)
        }
        Token::Literal | Token::Sign(_) | Token::Symbol(_) | Token::Space => None,
    }
}

struct Shape<'a> {
    sql: &'a [u8],
    out: Vec<u8>,
    max: usize,
    /// White space that the next token puts before itself.
    has_space: bool,
    /// Set behind a parenthesis while nothing but constants and commas follow it: they are
    /// counted, and written when it is known what they are.
    list: Option<List>,
}

#[derive(Clone, Copy, Default)]
struct List {
    constants: usize,
    wants: Wants,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Wants {
    #[default]
    Constant,
    Comma,
}

impl Shape<'_> {
    fn take(&mut self, token: Token) {
        if let Some(list) = self.list {
            match (&token, list.wants) {
                (Token::Space, _) => {
                    self.has_space = true;
                    return;
                }
                (Token::Sign(_), Wants::Constant) => return,
                (Token::Literal, Wants::Constant) => {
                    return self.count(List { constants: list.constants + 1, wants: Wants::Comma });
                }
                (Token::Symbol(b','), Wants::Comma) => {
                    return self.count(List { wants: Wants::Constant, ..list });
                }
                (Token::Symbol(b')'), Wants::Comma) => return self.close_list(),
                (Token::Literal | Token::Word(_) | Token::Sign(_) | Token::Symbol(_), _) => {
                    self.break_list(list)
                }
            }
        }
        match token {
            Token::Space => self.has_space = true,
            Token::Literal => self.put(b"?"),
            Token::Word(word) => self.put_word(word),
            Token::Symbol(b'(') => {
                self.put(b"(");
                self.list = Some(List::default());
            }
            Token::Sign(symbol) | Token::Symbol(symbol) => self.put(&[symbol]),
        }
    }

    fn count(&mut self, list: List) {
        self.list = Some(list);
        self.has_space = false;
    }

    /// All of it was constants: one stands for all, and one row for all rows.
    fn close_list(&mut self) {
        self.list = None;
        self.has_space = false;
        self.out.extend_from_slice(b"?)");
        for rows in [&b"(?), (?)"[..], b"(?),(?)"] {
            if self.out.ends_with(rows) {
                self.out.truncate(self.out.len() - rows.len() + b"(?)".len());
            }
        }
    }

    /// It was not: what was held back is written, up to the limit.
    fn break_list(&mut self, list: List) {
        self.list = None;
        for at in 0..list.constants {
            if self.max < self.out.len() {
                return;
            }
            self.out.extend_from_slice(if at == 0 { b"?" } else { b", ?" });
        }
        match (list.constants, list.wants) {
            (0, _) => self.has_space = false,
            (_, Wants::Comma) => {}
            (_, Wants::Constant) => {
                self.out.push(b',');
                self.has_space = true;
            }
        }
    }

    fn put_word(&mut self, word: Range<usize>) {
        let bytes = &self.sql[word];
        self.put(&bytes[..bytes.len().min(self.max + 1)]);
    }

    fn put(&mut self, token: &[u8]) {
        if std::mem::take(&mut self.has_space) && !self.out.is_empty() {
            self.out.push(b' ');
        }
        self.out.extend_from_slice(token);
    }

    fn finish(mut self) -> String {
        if self.list.take().is_some_and(|list| 0 < list.constants) {
            self.out.push(b'?');
        }
        let mut text = String::from_utf8_lossy(&self.out).into_owned();
        text.truncate(text.trim_end_matches([';', ' ']).len());
        text.truncate(text.floor_char_boundary(self.max));
        assert!(text.len() <= self.max, "the limit holds");
        text
    }
}
