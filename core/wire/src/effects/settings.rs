//! The names of custom settings that a statement sets.
//!
//! PostgreSQL lists its own settings with their source, but a custom one (`app.tenant`) has to be
//! asked for by name.
//! Invariant: a name in here is one that PostgreSQL would take for a custom setting.

use super::{Name, words};
use crate::lexer::{Lexer, Token};

/// The most names that one statement gives.
const NAMES_MAX: usize = 32;

/// The custom settings that `sql` sets by `SET a.b` or `set_config('a.b', ...)`, in lower case.
pub fn custom_settings(sql: &[u8]) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    let mut lexer = Lexer::new(sql);
    let mut name: Option<Vec<u8>> = None;
    let mut called = false;
    let mut at = 0;
    while let Some(token) = lexer.next() {
        let (from, to) = (at, lexer.at());
        at = to;
        match token {
            Token::Space => continue,
            Token::Literal if called => {
                let text = &sql[from..to];
                let text = text.strip_prefix(b"'").and_then(|text| text.strip_suffix(b"'"));
                put(&mut names, text.unwrap_or_default());
                (called, name) = (false, None);
            }
            Token::Word(range) => {
                let mut folded = Name::default();
                let word = folded.fold(&sql[range]);
                match &mut name {
                    Some(name) if name.ends_with(b".") => name.extend_from_slice(word),
                    Some(name) if matches!(word, b"session" | b"local") && name.is_empty() => {}
                    Some(name) if name.is_empty() => name.extend_from_slice(word),
                    _ => name = (word == b"set").then(Vec::new),
                }
                called = words::builtin(word).is_some_and(|of| of.any(super::Effects::SETTING));
            }
            Token::Symbol(b'.') => {
                if let Some(name) = name.as_mut().filter(|name| !name.is_empty()) {
                    name.push(b'.');
                }
            }
            Token::Symbol(b'(') if called => {}
            Token::Symbol(_) | Token::Sign(_) | Token::Literal => called = false,
        }
        if let Some(known) = name.take_if(|name| name.contains(&b'.') && !name.ends_with(b".")) {
            put(&mut names, &known);
        }
    }
    names
}

fn put(names: &mut Vec<Vec<u8>>, name: &[u8]) {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$');
    let fits = name.contains(&b'.') && name.iter().all(is_part);
    if fits && names.len() < NAMES_MAX && !names.iter().any(|known| known == name) {
        names.push(name.to_ascii_lowercase());
    }
    assert!(names.len() <= NAMES_MAX, "the limit holds");
}
