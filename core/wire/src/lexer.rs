//! Cuts SQL into the few kinds of token that a fingerprint and a look at effects need.
//!
//! Owns: where a literal, a comment and a quoted name end. Refuses: grammar.
//! Invariant: a byte of a literal is never part of another token. Where that cannot be known, or
//! the text ends inside a literal, the rest of the text is the literal's.
//! Source: PostgreSQL documentation, "Lexical Structure"; `src/backend/parser/scan.l`.

use std::ops::Range;

/// A token; the ranges are of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A constant of any kind.
    Literal,
    /// A key word, a name (quoted or not), a `$1`.
    Word(Range<usize>),
    /// A plus or minus right before a number.
    Sign(u8),
    /// Any other byte.
    Symbol(u8),
    /// White space and comments.
    Space,
}

pub(crate) struct Lexer<'a> {
    sql: &'a [u8],
    at: usize,
    /// How far the text is UTF-8, once somebody had to know.
    utf8_end: Option<usize>,
    /// Whether the rest was taken for a literal because its end could not be known.
    in_doubt: bool,
}

impl<'a> Lexer<'a> {
    pub(crate) const fn new(sql: &'a [u8]) -> Self {
        Self { sql, at: 0, utf8_end: None, in_doubt: false }
    }

    /// Whether there may be tokens that were not seen, because the text ends inside a literal or
    /// the end of one could not be known.
    pub(crate) const fn is_unsure(&self) -> bool {
        self.in_doubt
    }

    /// How many bytes have been taken.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.sql.get(self.at + ahead).copied()
    }

    /// Whether a number begins here, or right behind a dot.
    fn is_number(&self, ahead: usize) -> bool {
        let ahead = ahead + usize::from(self.peek(ahead) == Some(b'.'));
        self.peek(ahead).is_some_and(|byte| byte.is_ascii_digit())
    }

    fn skip_while(&mut self, is_part: impl Fn(u8) -> bool) {
        while self.at < self.sql.len() && is_part(self.sql[self.at]) {
            self.at += 1;
        }
    }

    fn skip_to_end(&mut self) {
        self.in_doubt = true;
        self.at = self.sql.len();
    }

    fn token(&mut self, first: u8) -> Token {
        // Most of a statement is words and blanks between them.
        if is_name_start(first) {
            return self.word();
        }
        if first == b' ' && self.peek(1).is_some_and(is_name_start) {
            self.at += 1;
            return Token::Space;
        }
        match first {
            b'-' if self.peek(1) == Some(b'-') => {
                self.skip_while(|byte| byte != b'\n');
                Token::Space
            }
            b'/' if self.peek(1) == Some(b'*') => {
                self.block_comment();
                Token::Space
            }
            0..=b' ' => {
                self.skip_while(|byte| byte <= b' ');
                Token::Space
            }
            b'\'' => self.plain_literal(),
            b'"' => self.quoted_name(self.at),
            b'$' => self.dollar(),
            _ if self.is_number(0) => self.number(),
            b'-' | b'+' if self.is_number(1) => {
                self.at += 1;
                Token::Sign(first)
            }
            _ => {
                self.at += 1;
                Token::Symbol(first)
            }
        }
    }

    /// Comments nest.
    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.sql.len() {
            match (self.peek(0), self.peek(1)) {
                (Some(b'/'), Some(b'*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (Some(b'*'), Some(b'/')) => {
                    assert!(0 < depth, "an end without a beginning is not looked for");
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// A literal whose backslashes mean nothing, unless `standard_conforming_strings` is off: that
    /// cannot be known here. A quote behind an odd number of them may or may not be the end.
    fn plain_literal(&mut self) -> Token {
        assert_eq!(self.peek(0), Some(b'\''), "a literal begins with its quote");
        self.at += 1;
        let mut backslashes = 0_usize;
        while let Some(byte) = self.peek(0) {
            self.at += 1;
            match byte {
                b'\\' => backslashes += 1,
                b'\'' if backslashes % 2 == 1 => self.skip_to_end(),
                b'\'' if self.peek(0) == Some(b'\'') => self.at += 1,
                b'\'' => return Token::Literal,
                _ => {}
            }
            if byte != b'\\' {
                backslashes = 0;
            }
        }
        Token::Literal
    }

    /// A literal in which a backslash protects the next byte.
    fn escaped_literal(&mut self) -> Token {
        assert_eq!(self.peek(0), Some(b'\''), "a literal begins with its quote");
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            self.at += 1;
            match byte {
                // In SJIS, BIG5 and GBK this byte may be the second half of a character.
                b'\\' if self.is_in_doubt() => self.skip_to_end(),
                b'\\' => self.at = (self.at + 1).min(self.sql.len()),
                b'\'' if self.peek(0) == Some(b'\'') => self.at += 1,
                b'\'' => return Token::Literal,
                _ => {}
            }
        }
        Token::Literal
    }

    /// Whether the byte just taken stands behind one that is not ASCII, in a text that is not
    /// UTF-8.
    fn is_in_doubt(&mut self) -> bool {
        assert!(2 <= self.at, "a quote and a backslash have been taken");
        if self.sql[self.at - 2].is_ascii() {
            return false;
        }
        let end = *self.utf8_end.get_or_insert_with(|| match std::str::from_utf8(self.sql) {
            Ok(_) => self.sql.len(),
            Err(error) => error.valid_up_to(),
        });
        end < self.at
    }

    fn quoted_name(&mut self, start: usize) -> Token {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            self.at += 1;
            if byte == b'"' {
                if self.peek(0) != Some(b'"') {
                    break;
                }
                self.at += 1;
            }
        }
        Token::Word(start..self.at)
    }

    /// `$1`, `$tag$...$tag$`, or a lone dollar.
    fn dollar(&mut self) -> Token {
        let start = self.at;
        self.at += 1;
        if self.peek(0).is_some_and(|byte| byte.is_ascii_digit()) {
            self.skip_while(|byte| byte.is_ascii_digit());
            return Token::Word(start..self.at);
        }
        if self.peek(0).is_some_and(is_name_start) {
            self.skip_while(|byte| is_name_start(byte) || byte.is_ascii_digit());
        }
        match self.peek(0) {
            Some(b'$') => {
                self.at += 1;
                let tag = &self.sql[start..self.at];
                match memchr::memmem::find(&self.sql[self.at..], tag) {
                    Some(end) => self.at += end + tag.len(),
                    None => self.skip_to_end(),
                }
                Token::Literal
            }
            // The text ends inside what may be a tag.
            None => Token::Literal,
            Some(_) => {
                self.at = start + 1;
                Token::Symbol(b'$')
            }
        }
    }

    /// A number in any notation, and whatever is glued to it: better too much than a digit left.
    fn number(&mut self) -> Token {
        loop {
            let is_part = |byte: u8| byte == b'.' || is_name_part(byte);
            self.skip_while(is_part);
            let is_exponent = matches!(self.sql[self.at - 1], b'e' | b'E')
                && matches!(self.peek(0), Some(b'+' | b'-'))
                && self.peek(1).is_none_or(|byte| byte.is_ascii_digit());
            if !is_exponent {
                return Token::Literal;
            }
            self.at += 1;
        }
    }

    /// A name or key word, or the letter before a literal.
    fn word(&mut self) -> Token {
        let start = self.at;
        self.skip_while(is_name_part);
        let word = start..self.at;
        let prefix = match &self.sql[word.clone()] {
            [letter] => letter.to_ascii_lowercase(),
            _ => return Token::Word(word),
        };
        match (prefix, self.peek(0), self.peek(1)) {
            (b'e', Some(b'\''), _) => self.escaped_literal(),
            (b'b' | b'n' | b'x', Some(b'\''), _) => self.plain_literal(),
            (b'u', Some(b'&'), Some(b'\'')) => {
                self.at += 1;
                self.plain_literal()
            }
            (b'u', Some(b'&'), Some(b'"')) => {
                self.at += 1;
                self.quoted_name(start)
            }
            _ => Token::Word(word),
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let before = self.at;
        let token = self.token(self.peek(0)?);
        assert!(before < self.at && self.at <= self.sql.len(), "each token takes bytes");
        Some(token)
    }
}

const fn is_name_start(byte: u8) -> bool {
    CLASSES[byte as usize] & NAME_START != 0
}

const fn is_name_part(byte: u8) -> bool {
    CLASSES[byte as usize] & NAME_PART != 0
}

const NAME_START: u8 = 1;
const NAME_PART: u8 = 2;

/// What each byte may be in a name.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let it = byte as u8;
        if it.is_ascii_alphabetic() || it == b'_' || !it.is_ascii() {
            classes[byte] = NAME_START | NAME_PART;
        } else if it.is_ascii_digit() || it == b'$' {
            classes[byte] = NAME_PART;
        }
        byte += 1;
    }
    classes
};
