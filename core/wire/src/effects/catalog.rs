//! Learning from a database's catalog which functions leave nothing behind.
//!
//! Owns: the two questions and reading their answers.
//! Invariant: the questions name everything with its schema, and are ASCII.
//! Source: PostgreSQL documentation, "System Catalogs".

use super::functions::{Called, Definition, Source};

/// The names of PostgreSQL's own functions, one a row.
/// Objects below this number are made by initdb: `FirstNormalObjectId`.
pub const BUILTIN_SQL: &str = "SELECT DISTINCT p.proname FROM pg_catalog.pg_proc p \
     WHERE p.oid OPERATOR(pg_catalog.<) 16384::pg_catalog.oid";

/// All other functions, one a row: name, kind of source, source, how it is called.
pub const DEFINITIONS_SQL: &str = "SELECT p.proname, \
     CASE WHEN l.lanname OPERATOR(pg_catalog.=) ANY ('{c,internal}'::pg_catalog.name[]) THEN \
       CASE WHEN p.prokind OPERATOR(pg_catalog.=) ANY ('{a,w}'::pg_catalog.\"char\"[]) THEN 't' \
       WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE \
         d.classid OPERATOR(pg_catalog.=) 1255::pg_catalog.oid AND \
         d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e') \
       THEN 'e' ELSE 'o' END \
     ELSE 't' END, \
     CASE WHEN p.prokind OPERATOR(pg_catalog.=) ANY ('{a,w}'::pg_catalog.\"char\"[]) THEN \
       (SELECT pg_catalog.concat_ws(' ', a.aggtransfn, a.aggfinalfn, a.aggcombinefn) FROM \
        pg_catalog.pg_aggregate a WHERE a.aggfnoid OPERATOR(pg_catalog.=) p.oid) \
     WHEN l.lanname OPERATOR(pg_catalog.=) ANY ('{c,internal}'::pg_catalog.name[]) THEN '' \
     WHEN p.prosrc OPERATOR(pg_catalog.=) '' THEN pg_catalog.pg_get_functiondef(p.oid) \
     ELSE p.prosrc END, \
     CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t WHERE \
         t.tgfoid OPERATOR(pg_catalog.=) p.oid) \
       OR EXISTS (SELECT 1 FROM pg_catalog.pg_event_trigger t WHERE \
         t.evtfoid OPERATOR(pg_catalog.=) p.oid) \
       OR EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE \
         d.refclassid OPERATOR(pg_catalog.=) 1255::pg_catalog.oid AND \
         d.refobjid OPERATOR(pg_catalog.=) p.oid AND \
         d.classid OPERATOR(pg_catalog.<>) 1255::pg_catalog.oid) \
     THEN 'u' ELSE 'n' END \
     FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l \
       ON l.oid OPERATOR(pg_catalog.=) p.prolang \
     WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid";

impl Definition {
    /// One row of [`DEFINITIONS_SQL`]; `None` where it is no such row.
    pub fn from_row(row: &[Option<&[u8]>]) -> Option<Self> {
        let [Some(name), Some(kind), text, Some(called)] = row else { return None };
        let source = match *kind {
            b"e" => Source::Extension,
            b"t" => Source::Text(text.unwrap_or_default().to_vec()),
            _ => Source::Opaque,
        };
        let called = if *called == b"n" { Called::ByName } else { Called::Unnamed };
        Some(Self { name: name.to_vec(), source, called })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_definitions_and_doubt_is_opaque() {
        let row = |kind: &'static [u8]| {
            [Some(&b"f"[..]), Some(kind), Some(&b"select 1"[..]), Some(&b"u"[..])]
        };
        let text = Definition::from_row(&row(b"t")).unwrap();
        assert!(matches!(text.source, Source::Text(text) if text == b"select 1"));
        assert_eq!(text.called, Called::Unnamed);
        let odd = Definition::from_row(&row(b"?")).unwrap();
        assert!(matches!(odd.source, Source::Opaque));
        assert!(Definition::from_row(&[None]).is_none());
        assert!(BUILTIN_SQL.is_ascii() && DEFINITIONS_SQL.is_ascii());
    }
}
