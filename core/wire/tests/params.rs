//! Parameters of clients and the SQL that applies them.
//!
//! Owns: `options`, limits, and quoting. Invariant: the SQL is read back by a small reader of
//! literals that knows nothing of how they were written.
#![expect(clippy::unwrap_used, reason = "a helper of tests may panic as tests may")]

use proptest::prelude::*;
use stent_wire::params::{PARAMS_LEN_MAX, PARAMS_MAX, Params, ParamsError, REPORTED, TRACKED};

fn params(settings: &[(&str, &str)]) -> Params {
    let mut params = Params::default();
    for (name, value) in settings {
        params.set(name.as_bytes(), value.as_bytes()).unwrap();
    }
    params
}

fn options(text: &str) -> Result<Vec<(String, String)>, ParamsError> {
    let mut params = Params::default();
    params.set_options(text.as_bytes())?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ok(params.iter().map(|(name, value)| (text(name), text(value))).collect())
}

fn sync(wanted: &Params, current: &Params) -> Option<String> {
    wanted.sync_sql(current).map(|sql| String::from_utf8(sql).unwrap())
}

#[test]
fn names_are_found_whatever_their_case() {
    let params = params(&[("TimeZone", "UTC"), ("application_name", "api")]);
    assert_eq!(params.get(b"timezone"), Some(&b"UTC"[..]));
    assert_eq!(params.application_name().as_deref(), Some("api"));
    assert_eq!(params.get(b"search_path"), None);
}

#[test]
fn a_repeated_name_keeps_its_place_and_takes_the_last_value() {
    let params = params(&[("a", "1"), ("b", "2"), ("A", "longer")]);
    let entries: Vec<_> = params.iter().collect();
    assert_eq!(entries, [(&b"A"[..], &b"longer"[..]), (b"b", b"2")]);
    assert_eq!(params.len(), 2);
}

#[test]
fn options_are_read_as_postgresql_reads_them() {
    for (text, expected) in [
        ("", vec![]),
        ("  \t\n\u{b} ", vec![]),
        ("-c work_mem=1MB", vec![("work_mem", "1MB")]),
        ("-cwork_mem=1MB", vec![("work_mem", "1MB")]),
        ("--work-mem=1MB", vec![("work_mem", "1MB")]),
        ("-c a=b=c", vec![("a", "b=c")]),
        ("-c a=", vec![("a", "")]),
        ("-c a=--b -c c=-c", vec![("a", "--b"), ("c", "-c")]),
        (r"-c search_path=a,\ b", vec![("search_path", "a, b")]),
        (r"-c a=x\\y", vec![("a", r"x\y")]),
        (r"-c a=x\", vec![("a", "x")]),
        ("-c a=1 --b=2 -cc=3", vec![("a", "1"), ("b", "2"), ("c", "3")]),
        ("-c a=1 -c A=2", vec![("A", "2")]),
        ("-c x.some-name=1", vec![("x.some_name", "1")]),
    ] {
        let expected: Vec<_> =
            expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(options(text), Ok(expected), "{text:?}");
    }
}

#[test]
fn options_without_a_value_are_refused() {
    for text in ["-c", "-c work_mem", "--work_mem", "-cwork_mem"] {
        let error = options(text).unwrap_err();
        assert!(matches!(error, ParamsError::NoValue { .. }), "{text}: {error:?}");
        assert_eq!(error.report().code.as_str(), "42601");
    }
}

#[test]
fn other_switches_and_stray_words_are_refused() {
    for text in ["-e", "-F", "-S 4", "work_mem=1MB", "-c a=1 b", "--", "-"] {
        let error = options(text).unwrap_err();
        assert!(matches!(error, ParamsError::BadArgument { .. }), "{text}: {error:?}");
    }
}

#[test]
fn a_plus_for_a_space_gets_a_hint() {
    let report = options("-c+work_mem=1MB").unwrap_err().report();
    assert_eq!(report.code.as_str(), "42704");
    assert_eq!(report.message, "unrecognized configuration parameter \"+work_mem\"");
    assert!(report.hint.unwrap().contains("%20"));
}

#[test]
fn names_that_no_parameter_has_are_refused() {
    for name in ["", "a b", "1a", "a'", "a.", ".a", "a..b", "a-b", "user", "Replication", "_PQ_.x"]
    {
        let result = Params::default().set(name.as_bytes(), b"x");
        assert_eq!(result, Err(ParamsError::BadName { name: name.to_owned() }));
    }
    assert!(Params::default().set("größe$1.x2".as_bytes(), b"x").is_ok());
}

#[test]
fn a_nul_in_a_value_is_refused() {
    let result = Params::default().set(b"a", b"x\0y");
    assert_eq!(result, Err(ParamsError::NulInValue { name: "a".to_owned() }));
}

#[test]
fn there_is_a_limit_on_their_number() {
    let mut params = Params::default();
    for at in 0..PARAMS_MAX {
        params.set(format!("p{at}").as_bytes(), b"x").unwrap();
    }
    assert_eq!(params.set(b"more", b"x"), Err(ParamsError::TooMany));
    assert_eq!(params.set(b"P0", b"y"), Ok(()));
    assert_eq!(params.len(), PARAMS_MAX);
}

#[test]
fn there_is_a_limit_on_their_length() {
    let mut params = Params::default();
    let longest = vec![b'x'; PARAMS_LEN_MAX - b"a\0\0".len()];
    params.set(b"a", &longest).unwrap();
    assert_eq!(params.set(b"b", b""), Err(ParamsError::TooLong));
    assert_eq!(params.set(b"a", &[longest.as_slice(), b"x"].concat()), Err(ParamsError::TooLong));
    assert_eq!(params.get(b"a"), Some(longest.as_slice()));
    assert_eq!(params.set(b"a", b"short"), Ok(()));
    assert_eq!(params.set(b"b", b""), Ok(()));
}

#[test]
fn the_key_sees_through_order_and_case() {
    let one = params(&[("TimeZone", "UTC"), ("a.b", "1")]);
    assert_eq!(one.key(), params(&[("A.B", "1"), ("timezone", "UTC")]).key());
    assert_ne!(one.key(), params(&[("TimeZone", "utc"), ("a.b", "1")]).key());
    assert_ne!(one.key(), params(&[("TimeZone", "UTC")]).key());
}

#[test]
fn nothing_is_sent_to_a_server_that_has_it_all() {
    let one = params(&[("TimeZone", "UTC"), ("a.b", "1")]);
    assert_eq!(sync(&one, &one), None);
    assert_eq!(sync(&one, &params(&[("A.B", "1"), ("timezone", "UTC")])), None);
    assert_eq!(sync(&Params::default(), &Params::default()), None);
}

#[test]
fn a_server_gets_what_differs_and_loses_what_was_anothers() {
    let wanted = params(&[("application_name", "it's"), ("search_path", "a, \"B\""), ("x.y", "1")]);
    let current = params(&[("X.Y", "1"), ("work_mem", "7MB"), ("application_name", "old")]);
    assert_eq!(
        sync(&wanted, &current).unwrap(),
        "SELECT pg_catalog.set_config('work_mem',NULL,false),\
         pg_catalog.set_config('application_name','it''s',false),\
         pg_catalog.set_config('search_path','a, \"B\"',false)"
    );
}

#[test]
fn date_style_is_reset_before_it_changes() {
    let wanted = params(&[("datestyle", "ISO")]);
    assert_eq!(
        sync(&wanted, &params(&[("DateStyle", "SQL, DMY")])).unwrap(),
        "SELECT pg_catalog.set_config('datestyle',NULL,false),\
         pg_catalog.set_config('datestyle','ISO',false)"
    );
    assert_eq!(
        sync(&wanted, &Params::default()).unwrap(),
        "SELECT pg_catalog.set_config('datestyle','ISO',false)"
    );
}

#[test]
fn quotes_cannot_be_bent_by_backslashes_or_encodings() {
    let mut wanted = Params::default();
    wanted.set(b"a.b", b"\\'; drop table t; --").unwrap();
    wanted.set(b"a.c", b"\x95\x5c'caf\xe9").unwrap();
    assert_eq!(
        sync(&wanted, &Params::default()).unwrap(),
        r"SELECT pg_catalog.set_config('a.b',E'\\''; drop table t; --',false),pg_catalog.set_config('a.c',E'\x95\\''caf\xe9',false)"
    );
}

#[test]
fn an_application_name_that_no_encoding_has_does_not_fail() {
    let mut wanted = Params::default();
    wanted.set(b"Application_Name", b"caf\xe9").unwrap();
    assert_eq!(
        sync(&wanted, &Params::default()).unwrap(),
        "SELECT pg_catalog.set_config('Application_Name','caf?',false)"
    );
    assert_eq!(wanted.sync_sql(&wanted.clone()), None);
}

#[test]
fn the_tracked_parameters_are_all_reported() {
    for name in TRACKED {
        assert!(REPORTED.contains(&name), "{name}");
    }
}

#[test]
fn values_do_not_print() {
    let params = params(&[("app.token", "canary7Secret")]);
    let text = format!("{params:?} {:?}", params.key());
    assert!(text.contains("app.token") && !text.contains("canary7Secret"), "{text}");
}

/// Reads the literals of a statement as PostgreSQL would, with `standard_conforming_strings` on.
fn literals(sql: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < sql.len() {
        if sql[at] != b'\'' {
            at += 1;
            continue;
        }
        let escapes = sql[at - 1] == b'E';
        let mut literal = Vec::new();
        at += 1;
        loop {
            match &sql[at..] {
                [b'\'', b'\'', ..] => (literal.push(b'\''), at += 2).1,
                [b'\'', ..] => break at += 1,
                [b'\\', b'x', high, low, ..] if escapes => {
                    let digits = [*high, *low];
                    let digits = std::str::from_utf8(&digits).unwrap();
                    literal.push(u8::from_str_radix(digits, 16).unwrap());
                    at += 4;
                }
                [b'\\', byte, ..] if escapes => (literal.push(*byte), at += 2).1,
                [b'\\', ..] => panic!("a backslash whose meaning depends on a setting"),
                [byte, ..] => (literal.push(*byte), at += 1).1,
                [] => panic!("an unterminated literal"),
            }
        }
        found.push(literal);
    }
    found
}

proptest! {
    #[test]
    fn any_value_arrives_as_it_is(value in prop::collection::vec(1_u8.., 0..60)) {
        let mut wanted = Params::default();
        wanted.set(b"a.b", &value).unwrap();
        let sql = wanted.sync_sql(&Params::default()).unwrap();
        prop_assert!(sql.is_ascii());
        prop_assert_eq!(literals(&sql), [b"a.b".to_vec(), value]);
    }

    #[test]
    fn any_options_are_read_or_refused(text in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        "[-c= \\\\a.]{0,40}".prop_map(String::into_bytes),
    ]) {
        let mut params = Params::default();
        let _ = params.set_options(&text);
        prop_assert_eq!(params.iter().count(), params.len());
    }

    #[test]
    fn a_value_set_is_the_value_got(
        settings in prop::collection::vec(("[a-cA-C]{1,2}", prop::collection::vec(1_u8.., 0..9)), 0..20),
    ) {
        let mut params = Params::default();
        let mut model = std::collections::BTreeMap::new();
        for (name, value) in &settings {
            params.set(name.as_bytes(), value).unwrap();
            model.insert(name.to_ascii_lowercase(), value.as_slice());
        }
        prop_assert_eq!(params.len(), model.len());
        for (name, value) in model {
            prop_assert_eq!(params.get(name.as_bytes()), Some(value));
        }
    }
}
