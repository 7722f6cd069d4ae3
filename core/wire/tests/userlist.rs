//! The file of users, and who is asked for what.
//!
//! Owns: the file's form and its errors. Invariant: no error shows a secret.
#![expect(clippy::unwrap_used, reason = "a helper of tests may panic as tests may")]

use proptest::prelude::*;
use stent_wire::auth::secret::{AuthType, Demand, Refusal};
use stent_wire::userlist::{
    USER_NAME_LEN_MAX, USERLIST_LEN_MAX, USERS_MAX, UserListFault, Users, parse,
};

fn users(file: &str) -> Vec<(usize, String, String)> {
    let lines = parse(file.as_bytes()).unwrap();
    lines.iter().map(|user| (user.line, user.name.clone(), user.secret.to_string())).collect()
}

fn user(line: usize, name: &str, secret: &str) -> (usize, String, String) {
    (line, name.to_owned(), secret.to_owned())
}

fn error(file: &str) -> String {
    parse(file.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_file_of_pgbouncer_is_read() {
    let file = "; comment\n\n\"amy\" \"secret\"\r\n  \"bob\"\t\"md50123456789abcdef0123456789abcdef\"\n\
                \"two words\" \"a \"\"quoted\"\" one\" ; comment\n\"eve\" \"\"\n\"old\" \"x\" \"\"\n\"p\"\"q\" \"\"\"\"";
    assert_eq!(
        users(file),
        [
            user(3, "amy", "secret"),
            user(4, "bob", "md50123456789abcdef0123456789abcdef"),
            user(5, "two words", "a \"quoted\" one"),
            user(6, "eve", ""),
            user(7, "old", "x"),
            user(8, "p\"q", "\""),
        ]
    );
}

#[test]
fn an_empty_file_has_no_users() {
    assert!(users("").is_empty() && users("\n;x\n  \n").is_empty());
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(users("\u{feff}\"a\" \"b\""), [user(1, "a", "b")]);
}

#[test]
fn errors_name_the_line_and_the_mend_and_no_secret() {
    for (file, message) in [
        ("\"a\" \"b\"\namy secret", "line 2: the line does not begin with a quoted user name"),
        ("\"amy\"", "line 1: there is no secret behind the user name"),
        ("\"amy\" canary", "line 1: there is no secret behind the user name"),
        ("\"amy\" \"canary", "line 1: a quoted string does not end on its line"),
        ("\"amy", "line 1: a quoted string does not end on its line"),
        ("\"amy\" \"canary\"x\"", "line 1: unexpected text behind the secret"),
        ("\"amy\" \"canary\" x", "line 1: unexpected text behind the secret"),
        ("\"\" \"canary\"", "line 1: the user name is empty"),
        ("\"amy\" \"x\"\n\n\"amy\" \"canary\"", "line 3: user \"amy\" is already on line 1"),
        ("\"amy\" \"SCRAM-SHA-256$canary\"", "line 1: user \"amy\": the SCRAM secret is malformed"),
        ("\"amy\" \"canary\0\"", "line 1: user \"amy\": the secret contains a NUL"),
    ] {
        let error = error(file);
        assert!(error.starts_with(message), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
}

#[test]
fn a_line_that_is_not_utf8_is_refused() {
    let error = parse(b"\"a\" \"b\"\n\"\xff\" \"c\"").unwrap_err();
    assert_eq!((error.line, error.fault), (2, UserListFault::NotUtf8));
}

#[test]
fn there_are_limits() {
    let fault = |file: &str| parse(file.as_bytes()).unwrap_err().fault;
    let name = "n".repeat(USER_NAME_LEN_MAX);
    assert_eq!(users(&format!("\"{name}\" \"x\"")).len(), 1);
    assert_eq!(fault(&format!("\"{name}n\" \"x\"")), UserListFault::LongName);
    assert_eq!(fault(&" ".repeat(USERLIST_LEN_MAX + 1)), UserListFault::TooLong);
    let most: String = (0..USERS_MAX).map(|at| format!("\"u{at}\" \"x\"\n")).collect();
    assert_eq!(users(&most).len(), USERS_MAX);
    assert_eq!(fault(&format!("{most}\"more\" \"x\"")), UserListFault::TooMany);
    let secret = "s".repeat(9_000);
    assert!(matches!(fault(&format!("\"a\" \"{secret}\"")), UserListFault::Secret { .. }));
}

#[test]
fn secrets_do_not_print() {
    let lines = parse(b"\"amy\" \"canary\"").unwrap();
    let mut users = Users::default();
    users.insert("amy", "canary").unwrap();
    let text = format!("{lines:?} {users:?}");
    assert!(text.contains("amy") && !text.contains("canary"), "{text}");
}

#[test]
fn known_users_are_asked_for_their_secret_and_strangers_in_vain() {
    let mut users = Users::default();
    users.insert("amy", "secret").unwrap();
    users.insert("eve", "").unwrap();
    let scram = AuthType::ScramSha256;
    assert!(matches!(users.demand(scram, "amy"), Demand::ScramOfPlain(_)));
    assert!(matches!(users.demand(scram, "eve"), Demand::DoomedScram(Refusal::NoPassword)));
    assert!(matches!(users.demand(scram, "bob"), Demand::DoomedScram(Refusal::UnknownUser)));
    assert!(matches!(users.demand(AuthType::Md5, "bob"), Demand::DoomedMd5(Refusal::UnknownUser)));
    assert!(users.contains("eve") && users.secret("eve").is_none() && !users.contains("AMY"));
    assert_eq!(users.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["amy", "eve"]);
}

#[test]
fn a_user_gets_a_new_secret_in_place_of_the_old() {
    let mut users = Users::default();
    users.insert("amy", "secret").unwrap();
    users.insert("amy", "md50123456789abcdef0123456789abcdef").unwrap();
    assert!(matches!(users.demand(AuthType::Md5, "amy"), Demand::Md5(_)));
    assert!(users.insert("amy", "SCRAM-SHA-256$x").is_err());
    assert!(matches!(users.demand(AuthType::Md5, "amy"), Demand::Md5(_)));
}

proptest! {
    #[test]
    fn any_file_is_read_or_refused(file in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[\" ;ab\n]{0,60}".prop_map(String::into_bytes),
    ]) {
        let _ = parse(&file);
    }

    #[test]
    fn what_is_quoted_is_read_back(name in "[^\u{0}\n]{1,30}", secret in "[^\u{0}\n]{0,30}") {
        let quoted = |text: &str| text.replace('"', "\"\"");
        let file = format!("\"{}\" \"{}\"\n", quoted(&name), quoted(&secret));
        prop_assert_eq!(users(&file), [user(1, &name, &secret)]);
    }
}
