//! A Rust file taken apart as far as the rules need it: tokens with lines, functions, imports, and
//! which lines are tests.
//!
//! Owns: the reading of Rust by tokens. Comments and documentation vanish, strings stay whole, and
//! the inside of macros counts like any other code.
//! Refuses: types and names; what a path means is the compiler's business.
//! Invariant: lines are counted from 1, and a token of a test is never in [`Source::code`].

use std::ops::RangeInclusive;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::finding::Finding;
use crate::uses::imports;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A word: identifier or keyword.
    Word,
    /// One character of punctuation, or a bracket.
    Mark,
    /// A literal as it is spelled, quotes included.
    Literal,
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its spelling.
    pub text: String,
    /// What it is.
    pub kind: Kind,
    /// Where it begins.
    pub line: usize,
}

/// A function with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Where `fn` stands.
    pub line: usize,
    /// Lines between its braces.
    pub body_lines: usize,
}

/// A Rust file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Relative to the root.
    pub path: String,
    /// Lines of the file, all of them.
    pub lines: usize,
    /// Every token outside documentation, tests included.
    pub tokens: Vec<Token>,
    /// Functions with a body, tests included.
    pub functions: Vec<Function>,
    /// Imported paths, groups taken apart, with their line.
    pub uses: Vec<(String, usize)>,
    /// Lines of tests: `#[cfg(test)]` items and test functions. The whole file where it is one.
    pub tests: Vec<RangeInclusive<usize>>,
    /// Modules declared here that exist for tests only: `#[cfg(test)] mod name;`.
    pub test_modules: Vec<String>,
    /// Test functions.
    pub test_count: usize,
}

impl Source {
    /// Takes `text` apart; a file that is no Rust is a finding.
    pub fn parse(path: &str, text: &str) -> Result<Self, Finding> {
        let stream: TokenStream = text.parse().map_err(|error: proc_macro2::LexError| Finding {
            path: path.to_owned(),
            line: error.span().start().line,
            rule: "rust",
            what: format!("not readable as Rust: {error}"),
            mend: "make it compile",
        })?;
        let mut source = Self {
            path: path.to_owned(),
            lines: text.lines().count(),
            tokens: Vec::new(),
            functions: Vec::new(),
            uses: Vec::new(),
            tests: Vec::new(),
            test_modules: Vec::new(),
            test_count: 0,
        };
        source.walk(stream);
        Ok(source)
    }

    /// The tokens that are no test's.
    pub fn code(&self) -> Vec<&Token> {
        self.tokens.iter().filter(|token| !self.is_test(token.line)).collect()
    }

    /// Whether `line` belongs to a test.
    pub fn is_test(&self, line: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&line))
    }

    /// Lines that are no test's.
    pub fn code_lines(&self) -> usize {
        (1..=self.lines).filter(|line| !self.is_test(*line)).count()
    }

    /// Declares the whole file a test.
    pub fn mark_as_test(&mut self) {
        self.tests = vec![1..=self.lines.max(1)];
    }

    fn walk(&mut self, stream: TokenStream) {
        let trees: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while let Some(tree) = trees.get(at) {
            match attribute(&trees, at) {
                Some(group) => {
                    self.note_attribute(&group, &trees, at);
                    if !starts_with_word(&group.stream(), "doc") {
                        self.push(tree);
                        self.push_group(&group);
                    }
                    at += attribute_length(&trees, at);
                }
                None => {
                    self.note_item(&trees, at);
                    self.push(tree);
                    at += 1;
                }
            }
        }
    }

    /// An attribute that makes the item behind it a test.
    fn note_attribute(&mut self, group: &Group, trees: &[TokenTree], at: usize) {
        let is_test_fn = is_test_function(&group.stream());
        if !is_test_fn && !is_cfg_test(&group.stream()) {
            return;
        }
        self.test_count += usize::from(is_test_fn);
        let first = group.span_open().start().line;
        if attribute_length(trees, at) == 3 {
            self.tests.push(1..=self.lines.max(1));
            return;
        }
        let item = &trees[at + 2..];
        let end = item.iter().position(ends_item).map_or(item.len(), |index| index + 1);
        let last = item[..end].last().map_or(first, |tree| tree.span().end().line);
        self.tests.push(first..=last);
        self.test_modules.extend(declared_module(&item[..end]));
    }

    /// A function with a body, or an import.
    fn note_item(&mut self, trees: &[TokenTree], at: usize) {
        match word(&trees[at]).as_deref() {
            Some("fn") => self.functions.extend(function(&trees[at..])),
            Some("use") => self.uses.extend(imports(&trees[at + 1..])),
            Some(_) | None => {}
        }
    }

    fn push(&mut self, tree: &TokenTree) {
        let line = tree.span().start().line;
        let (text, kind) = match tree {
            TokenTree::Group(group) => return self.push_group(group),
            TokenTree::Ident(ident) => (ident.to_string(), Kind::Word),
            TokenTree::Punct(punct) => (punct.as_char().to_string(), Kind::Mark),
            TokenTree::Literal(literal) => (literal.to_string(), Kind::Literal),
        };
        self.tokens.push(Token { text, kind, line });
    }

    fn push_group(&mut self, group: &Group) {
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::None => ("", ""),
        };
        let mark = |text: &str, line| Token { text: text.to_owned(), kind: Kind::Mark, line };
        self.tokens.push(mark(open, group.span_open().start().line));
        self.walk(group.stream());
        self.tokens.push(mark(close, group.span_close().end().line));
    }
}

/// The word that a token is.
pub(crate) fn word(tree: &TokenTree) -> Option<String> {
    match tree {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => None,
    }
}

pub(crate) fn is_mark(tree: &TokenTree, mark: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == mark)
}

/// The brackets of the attribute that begins at `at`: `#[…]` or `#![…]`.
fn attribute(trees: &[TokenTree], at: usize) -> Option<Group> {
    if !is_mark(&trees[at], '#') {
        return None;
    }
    let inner = trees.get(at + 1).is_some_and(|tree| is_mark(tree, '!'));
    match trees.get(at + 1 + usize::from(inner)) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
            Some(group.clone())
        }
        Some(_) | None => None,
    }
}

/// Tokens of the attribute at `at`: 2, or 3 where it is an inner one.
fn attribute_length(trees: &[TokenTree], at: usize) -> usize {
    if trees.get(at + 1).is_some_and(|tree| is_mark(tree, '!')) { 3 } else { 2 }
}

fn starts_with_word(stream: &TokenStream, expected: &str) -> bool {
    let first = stream.clone().into_iter().next();
    first.as_ref().and_then(word).is_some_and(|first| first == expected)
}

/// `test`, `tokio::test`, `tokio::test(…)`.
fn is_test_function(stream: &TokenStream) -> bool {
    let trees: Vec<TokenTree> = stream.clone().into_iter().collect();
    let path = trees.iter().take_while(|tree| !matches!(tree, TokenTree::Group(_)));
    let words: Vec<String> = path.filter_map(word).collect();
    words.last().is_some_and(|last| last == "test") && !words.contains(&"cfg".to_owned())
}

/// `cfg(test)`, `cfg(all(test, …))`; not `cfg(not(test))`.
fn is_cfg_test(stream: &TokenStream) -> bool {
    let spelled: String = stream.to_string().split_whitespace().collect();
    spelled.starts_with("cfg(")
        && !spelled.contains("not(test")
        && spelled.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "test")
}

fn ends_item(tree: &TokenTree) -> bool {
    let body = matches!(tree, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
    body || is_mark(tree, ';')
}

/// The name in `mod name;`.
fn declared_module(item: &[TokenTree]) -> Option<String> {
    let at = item.iter().position(|tree| word(tree).as_deref() == Some("mod"))?;
    let ends = item.get(at + 2).is_some_and(|tree| is_mark(tree, ';'));
    if ends { item.get(at + 1).and_then(word) } else { None }
}

/// The function whose `fn` is the first of `trees`, where it has a name and a body.
fn function(trees: &[TokenTree]) -> Option<Function> {
    let name = trees.get(1).and_then(word)?;
    let end = trees.iter().find(|tree| ends_item(tree))?;
    let TokenTree::Group(body) = end else { return None };
    let (open, close) = (body.span_open().start().line, body.span_close().end().line);
    let body_lines = (close - open).saturating_sub(1);
    Some(Function { name, line: trees[0].span().start().line, body_lines })
}
