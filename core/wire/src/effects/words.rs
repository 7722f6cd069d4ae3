//! The words that a scan for effects knows: key words, statements, and PostgreSQL's own functions
//! that leave something behind.
//!
//! Invariant: every list is lower case. A word that is missing from a list of harmless ones costs
//! an inspection, never a leak.

use super::Effects;

/// Settings whose changes PostgreSQL reports as they happen, and which follow the client anyway.
const FOLLOWED: [&[u8]; 5] = [
    b"application_name",
    b"client_encoding",
    b"datestyle",
    b"standard_conforming_strings",
    b"timezone",
];

/// Whether a word as it is written may be one that tells something wherever it stands: a quick look
/// at its length and first letter that lets most words pass.
pub(super) const fn may_matter(written: &[u8]) -> bool {
    let Some(first) = written.first() else { return false };
    match first.to_ascii_lowercase() {
        b'"' => true,
        b'a' => matches!(written.len(), 2 | 7),
        b'c' | b'h' => written.len() == 4,
        b'i' => matches!(written.len(), 4 | 5),
        b'p' => written.len() >= 7 && written[2] == b'_',
        b'r' => matches!(written.len(), 9 | 10),
        b't' => matches!(written.len(), 4 | 9),
        // Folding leaves what is not ASCII as it is, and a prefix U& behind.
        _ => false,
    }
}

/// The same for words that name a table which may be made, or is there for the session only.
pub(super) const fn may_name_a_table(written: &[u8]) -> bool {
    let Some(first) = written.first() else { return false };
    match first.to_ascii_lowercase() {
        b'i' => written.len() == 4,
        b'p' => written.len() >= 7 && written[2] == b'_',
        b't' => matches!(written.len(), 4 | 9),
        _ => false,
    }
}

/// The schema of temporary tables has a number behind this.
pub(super) fn is_temporary_schema(word: &[u8]) -> bool {
    word.starts_with(b"pg_temp")
}

/// What a cursor says that outlives its transaction.
pub(super) fn holds(word: &[u8]) -> bool {
    word == b"hold"
}

/// Whether a name behind this word, before a parenthesis, is a table, an alias or a type.
pub(super) fn names_something(word: &[u8]) -> bool {
    matches!(word, b"into" | b"as" | b"copy" | b"references" | b"recursive" | b"index" | b"analyze")
}

/// Key words that no unquoted function can have for a name: the reserved ones, and those of types
/// and expressions with a syntax of their own.
/// Source: PostgreSQL documentation, "SQL Key Words".
pub(super) fn is_key_word(word: &[u8]) -> bool {
    matches!(
        word,
        b"in"
            | b"any"
            | b"all"
            | b"some"
            | b"exists"
            | b"values"
            | b"and"
            | b"or"
            | b"not"
            | b"on"
            | b"using"
            | b"when"
            | b"then"
            | b"else"
            | b"case"
            | b"select"
            | b"from"
            | b"where"
            | b"having"
            | b"union"
            | b"except"
            | b"intersect"
            | b"row"
            | b"array"
            | b"cast"
            | b"coalesce"
            | b"nullif"
            | b"greatest"
            | b"least"
            | b"extract"
            | b"overlay"
            | b"position"
            | b"substring"
            | b"trim"
            | b"grouping"
            | b"lateral"
            | b"distinct"
            | b"returning"
            | b"limit"
            | b"offset"
            | b"fetch"
            | b"group"
            | b"interval"
            | b"with"
            | b"window"
            | b"only"
            | b"table"
            | b"numeric"
            | b"decimal"
            | b"varchar"
            | b"char"
            | b"character"
            | b"bit"
            | b"float"
            | b"time"
            | b"timestamp"
            | b"between"
            | b"normalize"
            | b"xmlelement"
            | b"xmlforest"
            | b"xmlconcat"
            | b"xmlparse"
            | b"xmlserialize"
            | b"xmlexists"
            | b"analyze"
            | b"analyse"
    )
}

/// Key words that can be a function's name too, behind the word that tells which they are.
pub(super) fn is_pair(before: &[u8], word: &[u8]) -> bool {
    matches!(
        (before, word),
        (b"group" | b"order" | b"partition", b"by")
            | (b"grouping", b"sets")
            | (b"on", b"conflict")
            | (b"as" | b"not", b"materialized")
            | (b"do", b"update")
    )
}

/// PostgreSQL's own functions that leave something behind; `None` for all others.
pub(super) fn builtin(name: &[u8]) -> Option<Effects> {
    Some(match name {
        b"set_config" => Effects::SETTING.union(Effects::SETS),
        b"pg_advisory_lock"
        | b"pg_advisory_lock_shared"
        | b"pg_try_advisory_lock"
        | b"pg_try_advisory_lock_shared" => Effects::LOCK,
        b"pg_advisory_unlock" | b"pg_advisory_unlock_shared" | b"pg_advisory_unlock_all" => {
            Effects::UNDOES
        }
        b"currval" | b"lastval" => Effects::SEQUENCE,
        b"pg_replication_origin_session_setup" => Effects::LOAD,
        // They run a statement that is hidden in a string.
        b"query_to_xml"
        | b"query_to_xmlschema"
        | b"query_to_xml_and_xmlschema"
        | b"cursor_to_xml"
        | b"ts_stat"
        | b"ts_rewrite" => Effects::UNKNOWN.union(Effects::HIDES),
        _ => return None,
    })
}

/// Whether a statement that begins with this word leaves nothing behind, whatever follows.
pub(super) fn is_harmless(first: &[u8]) -> bool {
    matches!(
        first,
        b"" | b"select"
            | b"insert"
            | b"update"
            | b"delete"
            | b"merge"
            | b"values"
            | b"with"
            | b"table"
            | b"commit"
            | b"end"
            | b"rollback"
            | b"abort"
            | b"savepoint"
            | b"release"
            | b"show"
            | b"fetch"
            | b"move"
            | b"copy"
            | b"lock"
            | b"truncate"
            | b"vacuum"
            | b"analyze"
            | b"reindex"
            | b"cluster"
            | b"checkpoint"
            | b"notify"
            | b"grant"
            | b"revoke"
            | b"comment"
    )
}

/// What the first words of a statement say of it; missing words are empty.
pub(super) fn of_statement(words: [&[u8]; 4]) -> Effects {
    let [first, second, third, fourth] = words;
    match first {
        _ if is_harmless(first) => Effects::NONE,
        b"begin" | b"start" => Effects::BLOCK,
        b"explain" => explained(words),
        b"set" if matches!(second, b"transaction" | b"constraints") => Effects::NONE,
        b"set" => Effects::SETS.union(set(second, third)),
        b"reset" => match second {
            b"role" => Effects::UNDOES,
            b"session" if third == b"authorization" => Effects::UNDOES,
            _ => Effects::SETTING.union(Effects::UNDOES).union(Effects::RESETS),
        },
        b"discard" if second == b"all" => {
            Effects::SETTING.union(Effects::UNDOES).union(Effects::RESETS)
        }
        b"discard" | b"unlisten" | b"close" | b"deallocate" => Effects::UNDOES,
        b"listen" => Effects::LISTEN,
        b"prepare" if second == b"transaction" => Effects::NONE,
        b"prepare" => Effects::PREPARE.union(Effects::UNKNOWN),
        // What can be prepared defines nothing.
        b"execute" => Effects::UNKNOWN,
        // The scan takes it back where the statement does not say HOLD.
        b"declare" => Effects::CURSOR,
        b"load" => Effects::LOAD,
        b"create" if is_temporary(second) || is_temporary(third) || is_temporary(fourth) => {
            Effects::TEMP.union(Effects::UNKNOWN).union(Effects::DEFINES)
        }
        b"create" | b"alter" => Effects::UNKNOWN.union(Effects::DEFINES),
        b"drop" => Effects::UNKNOWN.union(Effects::UNDOES).union(Effects::DEFINES),
        // DO, CALL, IMPORT, what is new, and what is no SQL.
        _ => Effects::UNKNOWN.union(Effects::HIDES),
    }
}

/// EXPLAIN ANALYZE runs what it explains.
fn explained(words: [&[u8]; 4]) -> Effects {
    let runs_more = words.iter().any(|word| matches!(*word, b"execute" | b"create" | b"declare"));
    if runs_more { Effects::UNKNOWN.union(Effects::HIDES) } else { Effects::NONE }
}

fn set(second: &[u8], third: &[u8]) -> Effects {
    let (name, next) = if second == b"session" { (third, &b""[..]) } else { (second, third) };
    match name {
        b"local" => Effects::NONE,
        b"role" | b"authorization" => Effects::ROLE,
        b"time" if next == b"zone" || next.is_empty() => Effects::NONE,
        b"names" => Effects::NONE,
        name if FOLLOWED.contains(&name) => Effects::NONE,
        _ => Effects::SETTING,
    }
}

pub(super) fn is_temporary(word: &[u8]) -> bool {
    matches!(word, b"temp" | b"temporary")
}
