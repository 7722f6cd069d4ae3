//! Fingerprints of statements.
//!
//! Owns: what is folded and what stays. Invariant: no constant comes out, whatever the text.

use proptest::prelude::*;
use stent_wire::fingerprint::{fingerprint, first_keyword};

fn shape(sql: &str) -> String {
    fingerprint(sql.as_bytes(), 1024)
}

fn check(table: &[(&str, &str)]) {
    for (sql, expected) in table {
        assert_eq!(&shape(sql), expected, "{sql}");
    }
}

#[test]
fn constants_of_every_kind_become_a_question_mark() {
    check(&[
        ("select 'it''s', 42, 4.2e-7, .5, 1_000, 0xFF, 1.", "select ?, ?, ?, ?, ?, ?, ?"),
        (r"select E'a\'b', e'\\', 1", "select ?, ?, ?"),
        ("select x'1f', B'01', N'n', U&'d\\0061t', u&'x'", "select ?, ?, ?, ?, ?"),
        ("select $$a'b$$, $tag$ $$ $tag$, $é$x$é$", "select ?, ?, ?"),
        ("select 1e5, 1E+5, 1e-5-3", "select ?, ?, ?-?"),
        ("select a-1, a -1, -1", "select a-?, a -?, -?"),
        ("select 'a' 'b'", "select ? ?"),
        ("where a='x'and b=1", "where a=?and b=?"),
    ]);
}

#[test]
fn names_placeholders_and_the_case_of_key_words_stay() {
    check(&[
        ("SELECT t1.c2 From \"My \"\"Table\"\" 3\"", "SELECT t1.c2 From \"My \"\"Table\"\" 3\""),
        ("select $1, $23 from t", "select $1, $23 from t"),
        ("select U&\"d\\0061t\" from größe", "select U&\"d\\0061t\" from größe"),
        ("select a$b from e, x", "select a$b from e, x"),
        ("select type'x'", "select type?"),
        ("select a->>'k', b::int[1]", "select a->>?, b::int[?]"),
    ]);
}

#[test]
fn white_space_comments_and_the_last_semicolon_are_folded() {
    check(&[
        ("  select\n\t a -- 'x' 1\n from t ; ", "select a from t"),
        ("/* app='secret', n=7 */select/**/1", "select ?"),
        ("select /* a /* nested 1 */ 2 */ b", "select b"),
        ("begin;select 1;", "begin;select ?"),
        ("select 1 -- end", "select ?"),
        ("select 1 /* never closed 12345", "select ?"),
    ]);
}

#[test]
fn lists_of_constants_are_one_constant() {
    check(&[
        ("where a in (1, 2,3)", "where a in (?)"),
        ("where a in ( 'x' , -1, +2 )", "where a in (?)"),
        ("where a in (1)", "where a in (?)"),
        ("insert into t values (1, 'a'), (2, 'b'), (3, 'c')", "insert into t values (?)"),
        ("insert into t values (1,2),(3,4)", "insert into t values (?)"),
        ("select f(1, a, 2)", "select f(?, a, ?)"),
        ("select f(1, 2, a)", "select f(?, ?, a)"),
        ("select (1 + 2)", "select (? + ?)"),
        ("select (1::int)", "select (?::int)"),
        ("select f( ), g(a), ((1), 2)", "select f(), g(a), ((?), ?)"),
        ("where a in ($1, $2)", "where a in ($1, $2)"),
        ("where a in (1, /* x */ 2)", "where a in (?)"),
    ]);
}

#[test]
fn a_text_cut_inside_a_constant_shows_nothing_of_it() {
    let statements = [
        "select 'secret' ",
        r"select E'sec\'ret' ",
        "select $t$secret$t$ ",
        "select U&'secret' ",
        "select /* secret */ 1 ",
        "select -- secret\n 1 ",
        "select 987654 ",
        "select 98.76e-54 ",
        "in ('secret', 'secret') ",
    ];
    for sql in statements {
        for cut in 0..=sql.len() {
            let shape = shape(&sql[..cut]);
            let leaks = ["sec", "ret", "98", "76", "54"].iter().any(|part| shape.contains(part));
            assert!(!leaks, "{:?} shows {shape:?}", &sql[..cut]);
        }
    }
}

#[test]
fn a_quote_that_a_setting_may_protect_ends_everything() {
    // With standard_conforming_strings off, the literal goes on.
    check(&[
        (r"select 'it\'s secret' from t", "select ?"),
        (r"select 'a\\' from t", "select ? from t"),
        (r"select 'a\b' from t", "select ? from t"),
        (r"select 'a\'' , secret'", "select ?"),
    ]);
}

#[test]
fn a_backslash_that_an_encoding_may_own_ends_everything() {
    // SJIS: 0x95 0x5c is one character, so the literal ends at the quote behind it.
    let sql = b"select E'\x95\x5c' , E'secret'";
    assert_eq!(fingerprint(sql, 100), "select ?");
    assert_eq!(shape(r"select E'é\' x', y"), "select ?, y");
}

#[test]
fn bytes_that_are_not_utf8_are_replaced() {
    assert_eq!(fingerprint(b"select caf\xe9, '\xff'", 100), "select caf\u{fffd}, ?");
}

#[test]
fn the_length_is_bounded_and_cut_between_characters() {
    assert_eq!(fingerprint(b"select abc from t", 10), "select abc");
    assert_eq!(fingerprint("select éé".as_bytes(), 8), "select ");
    assert_eq!(fingerprint(b"select 1", 0), "");
    let list = format!("where a in ({}1) and b", "1, ".repeat(10_000));
    assert_eq!(fingerprint(list.as_bytes(), 40), "where a in (?) and b");
    let broken = format!("f({}a)", "1, ".repeat(10_000));
    assert_eq!(fingerprint(broken.as_bytes(), 12), "f(?, ?, ?, ?");
}

#[test]
fn the_first_key_word_is_found_behind_comments_and_parentheses() {
    for (sql, expected) in [
        ("select 1", Some("select")),
        ("  -- x\n/* y */ ;( Begin", Some("Begin")),
        ("COMMIT;", Some("COMMIT")),
        ("", None),
        ("1", None),
        ("$1", None),
        ("\"select\"", None),
        ("'select'", None),
        ("/* select", None),
    ] {
        assert_eq!(first_keyword(sql.as_bytes()), expected, "{sql}");
    }
}

/// A constant whose content is told by a marker that nothing else has.
fn constant() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ,()/*$\"-]{0,6}".prop_map(|text| format!("'{text}QZ{text}'")),
        "[a-z ,()$'-]{0,6}".prop_map(|text| format!("'QZ{}'", text.replace('\'', "''"))),
        "[a-z ,\\\\'-]{0,6}"
            .prop_map(|text| format!("E'QZ{}QZ'", text.replace('\\', "\\\\").replace('\'', "\\'"))),
        "[a-z '\"-]{0,6}".prop_map(|text| format!("$t$QZ{text}$t$")),
        "[a-z '\"-]{0,6}".prop_map(|text| format!("$${text}QZ$$")),
        "[0-9]{0,3}".prop_map(|digits| format!("7{digits}")),
        "[0-9]{1,3}".prop_map(|digits| format!("7.{digits}e-{digits}")),
        "[a-z '-]{0,6}".prop_map(|text| format!("/* QZ{text} */ 7")),
        "[a-z '-]{0,6}".prop_map(|text| format!("-- QZ{text}\n 7")),
    ]
}

fn statement() -> impl Strategy<Value = String> {
    let joint = prop::sample::select(vec![
        " = ", ", ", " (", ") ", " and ", " in (", "::text, ", "\n", ";", " || ", " - ", " $ ",
    ]);
    prop::collection::vec((constant(), joint), 0..8).prop_map(|parts| {
        parts
            .into_iter()
            .fold("select ".to_owned(), |sql, (constant, joint)| sql + &constant + joint)
    })
}

proptest! {
    #[test]
    fn no_part_of_a_constant_comes_out(sql in statement(), cut in 0..200_usize, max in 0..200_usize) {
        let cut = cut.min(sql.len());
        for text in [sql.as_bytes(), &sql.as_bytes()[..cut]] {
            let shape = fingerprint(text, max);
            prop_assert!(shape.len() <= max);
            let leaks = shape.contains("QZ") || shape.bytes().any(|byte| byte.is_ascii_digit());
            prop_assert!(!leaks, "{:?} gives {:?}", String::from_utf8_lossy(text), shape);
        }
    }

    #[test]
    fn any_bytes_have_a_bounded_fingerprint(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "['\"$/*\\\\(),1a eEuU&.;+-]{0,60}".prop_map(String::into_bytes),
        ],
        max in 0..100_usize,
    ) {
        prop_assert!(fingerprint(&bytes, max).len() <= max);
        let _ = first_keyword(&bytes);
    }
}
