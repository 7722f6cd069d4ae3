//! What a statement may leave behind in its session: the first line of the state firewall.
//!
//! Owns: telling from a statement's text which kinds of session state it may make or take away.
//! Refuses: being sure. PostgreSQL knows what is there; [`crate::inspect`] asks it, and this scan
//! decides when asking can be spared.
//! Invariant: the scan errs to one side only. A statement with no effect here has none in its
//! session, as far as its text and the functions known to be harmless can tell; what it cannot
//! read (an unknown function, a text whose literals have no certain end) is [`Effects::UNKNOWN`].

mod catalog;
mod functions;
mod plain;
mod recent;
mod settings;
mod words;

pub use catalog::{BUILTIN_SQL, DEFINITIONS_SQL};
pub use functions::{Builtin, Called, Definition, Functions, Source};
pub use recent::Recent;
pub use settings::custom_settings;

use std::ops::Range;

use crate::lexer::{Lexer, Token};

/// A set of kinds of effects.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Effects(u32);

impl Effects {
    /// Nothing is left behind.
    pub const NONE: Self = Self(0);
    /// A setting beyond the transaction: SET, RESET, `set_config()`.
    pub const SETTING: Self = Self(1);
    /// SET ROLE, SET SESSION AUTHORIZATION.
    pub const ROLE: Self = Self(1 << 1);
    /// A temporary table, view, sequence ...
    pub const TEMP: Self = Self(1 << 2);
    /// An advisory lock of the session.
    pub const LOCK: Self = Self(1 << 3);
    /// LISTEN.
    pub const LISTEN: Self = Self(1 << 4);
    /// A cursor WITH HOLD.
    pub const CURSOR: Self = Self(1 << 5);
    /// PREPARE as a statement of SQL.
    pub const PREPARE: Self = Self(1 << 6);
    /// LOAD, and whatever no reset takes back.
    pub const LOAD: Self = Self(1 << 7);
    /// Anything: DO, CALL, a function of which nothing is known, DDL.
    pub const UNKNOWN: Self = Self(1 << 8);
    /// Takes state away: RESET, DISCARD, UNLISTEN, CLOSE, DEALLOCATE, DROP, an unlock.
    pub const UNDOES: Self = Self(1 << 9);
    /// Changes what functions do: the known ones must be learnt again.
    pub const DEFINES: Self = Self(1 << 10);
    /// Reads what an earlier `nextval()` of the session left: `currval()`, `lastval()`.
    pub const SEQUENCE: Self = Self(1 << 11);
    /// RESET or DISCARD: the client's own start-up values are in force again.
    pub const RESETS: Self = Self(1 << 12);

    /// Begins a transaction block.
    pub const BLOCK: Self = Self(1 << 13);
    /// Calls a function that people have made, which leaves nothing behind.
    pub const MADE: Self = Self(1 << 14);
    /// Changes a setting in any way, also for no longer than the transaction.
    pub const SETS: Self = Self(1 << 15);
    /// May define something anew by a way that its command tag does not tell.
    pub const HIDES: Self = Self(1 << 16);

    /// After what the rest of a transaction may read a text in another way than others do.
    pub const BENDS: Self = Self(
        Self::SETS.0
            | Self::SETTING.0
            | Self::ROLE.0
            | Self::TEMP.0
            | Self::PREPARE.0
            | Self::LOAD.0
            | Self::UNKNOWN.0
            | Self::UNDOES.0
            | Self::DEFINES.0
            | Self::RESETS.0
            | Self::HIDES.0,
    );

    /// What can make state that must not reach another client.
    pub const MAKES: Self = Self(
        Self::SETTING.0
            | Self::ROLE.0
            | Self::TEMP.0
            | Self::LOCK.0
            | Self::LISTEN.0
            | Self::CURSOR.0
            | Self::PREPARE.0
            | Self::LOAD.0
            | Self::UNKNOWN.0
            | Self::RESETS.0,
    );

    /// Both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether anything of `other` is in here.
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is nothing in here.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Adds `other`.
    pub const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// The set as a number, to be kept where only numbers can be.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The set of such a number.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

impl std::fmt::Debug for Effects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMES: [&str; 17] = [
            "SETTING", "ROLE", "TEMP", "LOCK", "LISTEN", "CURSOR", "PREPARE", "LOAD", "UNKNOWN",
            "UNDOES", "DEFINES", "SEQUENCE", "RESETS", "BLOCK", "MADE", "SETS", "HIDES",
        ];
        let named = NAMES.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        f.debug_set().entries(named.map(|(_, name)| name)).finish()
    }
}

/// The longest name that PostgreSQL keeps (`NAMEDATALEN` - 1).
const NAME_MAX: usize = 63;
/// How many words at the head of a statement decide what it is.
const HEAD: usize = 4;

/// The effects of all statements in `sql`, which must be the whole text.
pub fn scan(sql: &[u8], functions: &Functions) -> Effects {
    if plain::is_plain(sql) { Effects::NONE } else { scan_all(sql, functions) }
}

fn scan_all(sql: &[u8], functions: &Functions) -> Effects {
    let mut scan = Scan {
        sql,
        functions,
        effects: Effects::NONE,
        head: Default::default(),
        heads: 0,
        holds: false,
        word: None,
        before: Before::Nothing,
        previous: None,
        latest: None,
        kept: Before::Nothing,
    };
    let mut lexer = Lexer::new(sql);
    for token in &mut lexer {
        scan.take(token);
    }
    scan.end_of_statement();
    if lexer.is_unsure() {
        scan.effects.add(Effects::UNKNOWN);
    }
    assert_eq!(scan.heads, 0, "the last statement was judged too");
    scan.effects
}

struct Scan<'a> {
    sql: &'a [u8],
    functions: &'a Functions,
    effects: Effects,
    /// The first words of the present statement.
    head: [Range<usize>; HEAD],
    heads: usize,
    /// Whether the present statement says HOLD.
    holds: bool,
    /// The word right before this place, white space aside.
    word: Option<Range<usize>>,
    /// What stood before that word.
    before: Before,
    /// The word before that one, if nothing but white space is between them.
    previous: Option<Range<usize>>,
    /// The word just taken, also where it cannot be a call.
    latest: Option<Range<usize>>,
    /// What the last token that was no white space was.
    kept: Before,
}

/// What stands before a word that may be a function's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// A key word behind which a name with a parenthesis is a table, an alias or a type.
    Names,
    /// A colon: the second half of a cast.
    Cast,
    /// A dot: the word is qualified.
    Dot,
    /// The end of an expression, behind which no call begins: `count(*) OVER (...)`.
    Close,
    Other,
}

impl Scan<'_> {
    fn take(&mut self, token: Token) {
        let word = match token {
            Token::Space => return,
            Token::Word(range) => return self.take_word(range),
            Token::Symbol(_) | Token::Sign(_) | Token::Literal => self.word.take(),
        };
        self.latest = None;
        self.kept = match token {
            Token::Symbol(b';') => {
                self.end_of_statement();
                Before::Nothing
            }
            Token::Symbol(b'(') => {
                if let Some(word) = word {
                    self.call(&word);
                }
                Before::Other
            }
            // A qualified name is as much behind its key word as its first half.
            Token::Symbol(b'.') if self.before == Before::Names => Before::Names,
            Token::Symbol(b'.') => Before::Dot,
            Token::Symbol(b':') => Before::Cast,
            Token::Symbol(b')') => Before::Close,
            Token::Symbol(_) | Token::Sign(_) | Token::Literal | Token::Space | Token::Word(_) => {
                Before::Other
            }
        };
    }

    fn take_word(&mut self, range: Range<usize>) {
        if self.heads < HEAD {
            self.head[self.heads] = range.clone();
            self.heads += 1;
        }
        self.previous = self.latest.replace(range.clone());
        if words::may_matter(&self.sql[range.clone()]) && self.take_telling(&range) {
            (self.before, self.kept, self.word) = (Before::Other, Before::Names, None);
            return;
        }
        (self.before, self.kept, self.word) = (self.kept, Before::Other, Some(range));
    }

    /// Whether INTO behind this word names a table that is there.
    fn takes_rows(&self, before: Range<usize>) -> bool {
        let mut name = Name::default();
        matches!(name.fold(&self.sql[before]), b"insert" | b"merge")
    }

    /// A word that may tell something wherever it stands; whether it names what follows.
    fn take_telling(&mut self, range: &Range<usize>) -> bool {
        let mut name = Name::default();
        let lower = name.fold(&self.sql[range.clone()]);
        if words::is_temporary_schema(lower)
            || self.kept == Before::Names && words::is_temporary(lower)
        {
            self.effects.add(Effects::TEMP);
        }
        self.holds |= words::holds(lower);
        if lower == b"into" && !self.previous.clone().is_some_and(|before| self.takes_rows(before))
        {
            // SELECT INTO: a table, with the command tag of a SELECT.
            self.effects.add(Effects::HIDES);
        }
        words::names_something(lower)
    }

    /// A word before an opening parenthesis.
    fn call(&mut self, range: &Range<usize>) {
        if matches!(self.before, Before::Names | Before::Cast | Before::Close) {
            return;
        }
        let mut name = Name::default();
        let lower = name.fold(&self.sql[range.clone()]);
        if self.before != Before::Dot && words::is_key_word(lower) {
            return;
        }
        if let Some(previous) = self.previous.clone() {
            let mut before = Name::default();
            if words::is_pair(before.fold(&self.sql[previous]), lower) {
                return;
            }
        }
        let effects = words::builtin(lower).unwrap_or_else(|| self.functions.effects(lower));
        self.effects.add(effects);
    }

    /// What the words at its head make of a statement.
    fn end_of_statement(&mut self) {
        let heads = std::mem::take(&mut self.heads);
        let held = std::mem::take(&mut self.holds);
        if heads > 0 && self.is_told_by_its_first_word() {
            return;
        }
        let head: [Name; HEAD] = std::array::from_fn(|at| {
            let mut name = Name::default();
            if at < heads {
                name.fold(&self.sql[self.head[at].clone()]);
            }
            name
        });
        let words = [head[0].get(), head[1].get(), head[2].get(), head[3].get()];
        match words::of_statement(words) {
            Effects::CURSOR if !held => {}
            effects => self.effects.add(effects),
        }
    }

    /// Whether the first word alone says that a statement leaves nothing behind.
    fn is_told_by_its_first_word(&self) -> bool {
        let mut name = Name::default();
        words::is_harmless(name.fold(&self.sql[self.head[0].clone()]))
    }
}

/// A name folded to lower case, as PostgreSQL compares it.
struct Name {
    bytes: [u8; NAME_MAX],
    len: usize,
}

impl Default for Name {
    fn default() -> Self {
        Self { bytes: [0; NAME_MAX], len: 0 }
    }
}

impl Name {
    /// Takes a name as it is written: quotes away, what is not quoted in lower case, cut to length.
    fn fold(&mut self, written: &[u8]) -> &[u8] {
        let quoted =
            written.strip_prefix(b"\"").map(|rest| rest.strip_suffix(b"\"").unwrap_or(rest));
        let bytes = quoted.unwrap_or(written);
        self.len = bytes.len().min(NAME_MAX);
        assert!(self.len <= NAME_MAX, "a name is cut as PostgreSQL cuts it");
        self.bytes[..self.len].copy_from_slice(&bytes[..self.len]);
        if quoted.is_none() {
            self.bytes[..self.len].make_ascii_lowercase();
        }
        self.get()
    }

    fn get(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests;
