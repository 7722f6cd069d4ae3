//! Which functions of a database are known to leave nothing behind in a session.
//!
//! Owns: names, learnt from the database's own catalog, and judging a function by its source.
//! Refuses: overloading and search paths: a name is harmless only if all functions of that name
//! are.
//! Invariant: what was not learnt is [`Effects::UNKNOWN`].

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::Effects;
use crate::memory::{given, table_len};

/// The most names that are kept: far beyond what a database of people has.
const FUNCTIONS_MAX: usize = 100_000;

/// PostgreSQL's own functions: the same in all databases of a server.
#[derive(Debug, Default)]
pub struct Builtin(FxHashSet<Box<[u8]>>);

/// What is known of a database's functions.
#[derive(Debug, Default)]
pub struct Functions {
    builtin: Arc<Builtin>,
    /// With what is to be said of each.
    harmless: FxHashMap<Box<[u8]>, Effects>,
    doubtful: FxHashSet<Box<[u8]>>,
    hidden: bool,
    /// Functions that may define tables, types or functions anew, and those that call them.
    defining: FxHashSet<Box<[u8]>>,
    /// Whether one of them runs without being named.
    defines_hidden: bool,
    /// Tells one state of knowledge from every other, for those who keep what followed from it.
    version: u32,
}

/// A function that people or extensions have made, as the database's catalog describes it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name, without its schema.
    pub name: Vec<u8>,
    /// What it does.
    pub source: Source,
    /// How it is called.
    pub called: Called,
}

/// What a function does.
#[derive(Clone, Debug)]
pub enum Source {
    /// It is compiled, and comes with an extension.
    Extension,
    /// Its text, or the names of the functions that an aggregate is made of.
    Text(Vec<u8>),
    /// It is compiled, and nobody knows where from.
    Opaque,
}

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// By its name.
    ByName,
    /// Also without being named: by a trigger, a view, a rule, an operator, a policy.
    Unnamed,
}

impl Builtin {
    /// From their names.
    pub fn new(names: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let names = names.into_iter().take(FUNCTIONS_MAX);
        Self(names.map(Vec::into_boxed_slice).collect())
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Functions {
    /// What the catalog says. `version` must differ from that of any other state of knowledge.
    pub fn learn(builtin: Arc<Builtin>, definitions: &[Definition], version: u32) -> Self {
        assert!(version > 0, "zero is the version of knowing nothing");
        let doubtful = doubtful(definitions);
        let hidden = definitions
            .iter()
            .any(|of| of.called == Called::Unnamed && doubtful.contains(&*of.name));
        let defining = defining(definitions);
        let defines_hidden = definitions
            .iter()
            .any(|of| of.called == Called::Unnamed && defining.contains(&*of.name));
        let own = definitions.iter().filter(|of| !matches!(of.source, Source::Extension));
        let made: FxHashSet<_> = own.map(|of| of.name.clone().into_boxed_slice()).collect();
        let names = definitions.iter().map(|of| of.name.clone().into_boxed_slice());
        let harmless = names.filter(|name| !doubtful.contains(name)).take(FUNCTIONS_MAX);
        let harmless: FxHashMap<_, _> = harmless
            .map(|name| {
                let effects = if made.contains(&name) { Effects::MADE } else { Effects::NONE };
                (name, effects)
            })
            .collect();
        assert!(harmless.len() <= FUNCTIONS_MAX, "the limit holds");
        Self { builtin, harmless, doubtful, hidden, defining, defines_hidden, version }
    }

    /// The effects of calling a function of this name, in lower case unless it was quoted.
    pub(super) fn effects(&self, name: &[u8]) -> Effects {
        if self.doubtful.contains(name) {
            let hides = self.defining.contains(name);
            return Effects::UNKNOWN.union(if hides { Effects::HIDES } else { Effects::NONE });
        }
        match self.harmless.get(name) {
            Some(_) if self.defining.contains(name) => Effects::HIDES.union(Effects::MADE),
            Some(effects) => *effects,
            None if self.builtin.0.contains(name) => Effects::NONE,
            None => Effects::UNKNOWN.union(Effects::HIDES),
        }
    }

    /// Whether any statement of this database may define something anew, whatever it says.
    pub const fn defines_hidden(&self) -> bool {
        self.defines_hidden
    }

    /// What each statement may do whatever it says: nothing, unless a function that touches the
    /// session runs without being named.
    pub const fn hidden_effects(&self) -> Effects {
        if self.hidden { Effects::UNKNOWN } else { Effects::NONE }
    }

    /// The memory behind the names, in bytes: of all databases together, and of this one. Looks at
    /// each.
    #[expect(clippy::disallowed_methods, reason = "the sum does not depend on the order")]
    pub fn heap_len(&self) -> (usize, usize) {
        let of = |names: &FxHashSet<Box<[u8]>>| {
            table_len::<Box<[u8]>>(names.capacity())
                + names.iter().map(|name| given(name.len())).sum::<usize>()
        };
        let harmless = table_len::<(Box<[u8]>, Effects)>(self.harmless.capacity())
            + self.harmless.keys().map(|name| given(name.len())).sum::<usize>();
        (of(&self.builtin.0), harmless + of(&self.doubtful) + of(&self.defining))
    }

    /// Different for each state of knowledge.
    pub const fn version(&self) -> u32 {
        self.version
    }
}

/// The names of functions that may touch the session, and of those that call them.
fn doubtful(definitions: &[Definition]) -> FxHashSet<Box<[u8]>> {
    closure(definitions, |_, text| touches_session(text))
}

/// The names of functions that may define something anew, and of those that call them.
fn defining(definitions: &[Definition]) -> FxHashSet<Box<[u8]>> {
    closure(definitions, may_define)
}

/// The names of the functions of which `is_one` says so, and of those that call them.
fn closure(
    definitions: &[Definition],
    is_one: impl Fn(Called, &[u8]) -> bool,
) -> FxHashSet<Box<[u8]>> {
    let mut doubtful: FxHashSet<Box<[u8]>> = FxHashSet::default();
    let mut sources = Vec::new();
    for Definition { name, source, called } in definitions {
        match source {
            Source::Extension => {}
            Source::Opaque => drop(doubtful.insert(name.as_slice().into())),
            Source::Text(text) if is_one(*called, text) => {
                doubtful.insert(name.as_slice().into());
            }
            Source::Text(text) => sources.push((name, text)),
        }
    }
    loop {
        let before = doubtful.len();
        for (name, text) in &sources {
            if words(text).any(|word| doubtful.contains(&*word.to_ascii_lowercase())) {
                doubtful.insert(name.as_slice().into());
            }
        }
        assert!(before <= doubtful.len(), "doubt only grows, so the loop ends");
        if doubtful.len() == before {
            return doubtful;
        }
    }
}

/// Whether a function's source holds a word with which session state could be made, literals and
/// comments included: a statement may be put together from them.
fn touches_session(source: &[u8]) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
    let mut before: &[u8] = b"";
    let mut rest = source;
    loop {
        let gap = rest.iter().position(|&byte| is_part(byte)).unwrap_or(rest.len());
        let (gap, tail) = rest.split_at(gap);
        let len = tail.iter().position(|&byte| !is_part(byte)).unwrap_or(tail.len());
        let (word, tail) = tail.split_at(len);
        if word.is_empty() {
            return false;
        }
        if is_suspicious(word, before, gap) {
            return true;
        }
        (before, rest) = (word, tail);
    }
}

fn is_suspicious(word: &[u8], before: &[u8], gap: &[u8]) -> bool {
    let is = |text: &str| word.eq_ignore_ascii_case(text.as_bytes());
    // UPDATE ... SET is everywhere; SET as a statement stands at the beginning of one.
    if is("set") {
        let begins = ["begin", "then", "else", "loop", "execute"];
        return before.is_empty()
            || gap.iter().any(|byte| matches!(byte, b';' | b'\'' | b'"' | b'$' | b'>'))
            || begins.iter().any(|begin| before.eq_ignore_ascii_case(begin.as_bytes()));
    }
    const WORDS: [&str; 19] = [
        "set_config",
        "pg_advisory_lock",
        "pg_advisory_lock_shared",
        "pg_try_advisory_lock",
        "pg_try_advisory_lock_shared",
        "temp",
        "temporary",
        "reset",
        "discard",
        "listen",
        "unlisten",
        "prepare",
        "load",
        "role",
        "hold",
        "query_to_xml",
        "ts_stat",
        "cursor_to_xml",
        "pg_replication_origin_session_setup",
    ];
    WORDS.iter().any(|text| is(text))
        || word.get(..7).is_some_and(|head| head.eq_ignore_ascii_case(b"pg_temp"))
}

/// Whether a function's source holds a word of DDL, literals and comments included. One that runs
/// what it is given may define too; a trigger is not given statements.
fn may_define(called: Called, source: &[u8]) -> bool {
    const WORDS: [&str; 8] =
        ["create", "alter", "drop", "import", "grant", "revoke", "reassign", "rename"];
    words(source).any(|word| {
        WORDS.iter().any(|text| word.eq_ignore_ascii_case(text.as_bytes()))
            || called == Called::ByName && word.eq_ignore_ascii_case(b"execute")
    })
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
    text.split(move |byte| !is_part(byte)).filter(|word| !word.is_empty())
}
