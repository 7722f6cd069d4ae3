//! `auth_query`: what the answers mean.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use stent_wire::auth::lookup::{BadLookup, DEFAULT_QUERY, put_question, read_answer};
use stent_wire::auth::secret::{AuthType, Demand, Refusal, Secret};
use stent_wire::frame::{Sender, frame_at};

/// The body of a DataRow.
fn row(fields: &[Option<&str>]) -> Vec<u8> {
    let mut body = (fields.len() as u16).to_be_bytes().to_vec();
    for field in fields {
        match field {
            None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(text) => {
                body.extend_from_slice(&(text.len() as u32).to_be_bytes());
                body.extend_from_slice(text.as_bytes());
            }
        }
    }
    body
}

/// What PostgreSQL says of a role that may log in.
fn sound() -> Vec<u8> {
    row(&[Some("scram-sha-256"), Some("t"), None])
}

fn refusal(rows: &[Vec<u8>]) -> Refusal {
    read_answer(rows, "ann").unwrap().secret.unwrap_err()
}

#[test]
fn the_name_is_a_parameter_and_never_part_of_the_text() {
    let mut question = Vec::new();
    put_question(&mut question, DEFAULT_QUERY, "'; drop table users --");
    let mut at = 0;
    let mut tags = String::new();
    while let Some(frame) = frame_at(&question, at, Sender::Frontend).unwrap() {
        assert!(frame.is_whole());
        let body = &question[frame.body.clone()];
        let has_name = body.windows(10).any(|bytes| bytes == b"drop table");
        assert_eq!(has_name, frame.tag == b'B', "{}", char::from(frame.tag));
        tags.push(char::from(frame.tag));
        at = frame.all.end;
    }
    assert_eq!(tags, "PBEPBES");
}

#[test]
fn each_form_of_secret_is_told_from_the_others() {
    let md5 = format!("md5{}", "0".repeat(32));
    let forms = [("pw", "a password"), (md5.as_str(), "an MD5 hash")];
    for (stored, form) in forms {
        let rows = [row(&[Some("ann"), Some(stored)]), sound()];
        assert_eq!(read_answer(&rows, "ann").unwrap().secret.unwrap().form(), form);
    }
}

#[test]
fn users_whom_postgresql_would_refuse_are_refused_whatever_the_query_says() {
    let found = || row(&[Some("ann"), Some("pw")]);
    for (can_login, seconds, expected) in [
        (Some("f"), None, Some(Refusal::NoLogin)),
        (Some("t"), Some("-0.000001"), Some(Refusal::Expired)),
        (Some("t"), Some("-1"), Some(Refusal::Expired)),
        (Some("t"), Some("0.5"), None),
        (Some("t"), None, None),
        // Not a role: the query reads a table of users.
        (None, None, None),
    ] {
        let rows = [found(), row(&[Some("md5"), can_login, seconds])];
        let looked_up = read_answer(&rows, "ann").unwrap();
        assert_eq!(looked_up.secret.err(), expected, "{can_login:?} {seconds:?}");
        let valid_for = (seconds == Some("0.5")).then_some(Duration::from_millis(500));
        assert_eq!(looked_up.valid_for, valid_for);
    }
}

#[test]
fn no_row_is_a_stranger_and_no_secret_a_user_without_password() {
    assert_eq!(refusal(&[sound()]), Refusal::UnknownUser);
    assert_eq!(refusal(&[row(&[Some("ann"), None]), sound()]), Refusal::NoPassword);
    assert_eq!(refusal(&[row(&[Some("ann"), Some("")]), sound()]), Refusal::NoPassword);
}

#[test]
fn answers_that_are_none_are_told_apart() {
    let ann = || row(&[Some("ann"), Some("pw")]);
    let cases = [
        (vec![], BadLookup::Guard),
        (vec![row(&[None, None, None])], BadLookup::Guard),
        (vec![ann()], BadLookup::Guard),
        (vec![ann(), row(&[Some("md5"), Some("t"), Some("soon")])], BadLookup::Guard),
        (vec![ann(), row(&[Some("md5"), Some("t"), Some("NaN")])], BadLookup::Guard),
        (vec![row(&[Some("ann")]), sound()], BadLookup::Columns { columns: 1 }),
        (vec![ann(), ann(), sound()], BadLookup::Rows),
        (vec![row(&[Some("bob"), Some("pw")]), sound()], BadLookup::OtherUser),
        (vec![row(&[None, Some("pw")]), sound()], BadLookup::OtherUser),
    ];
    for (rows, expected) in cases {
        assert_eq!(read_answer(&rows, "ann").unwrap_err(), expected);
    }
    let rows = [row(&[Some("ann"), Some("SCRAM-SHA-256$nonsense")]), sound()];
    assert!(matches!(read_answer(&rows, "ann"), Err(BadLookup::Secret(_))));
}

#[test]
fn a_stranger_is_asked_for_what_postgresql_would_ask_for() {
    for (encryption, is_scram) in [("scram-sha-256", true), ("md5", false), ("on", false)] {
        let stranger = read_answer(&[row(&[Some(encryption), None, None])], "ann").unwrap();
        let demand = stranger.demand(AuthType::Md5);
        assert_eq!(matches!(demand, Demand::DoomedScram(_)), is_scram, "{demand:?}");
        assert!(matches!(stranger.demand(AuthType::ScramSha256), Demand::DoomedScram(_)));
    }
}

#[test]
fn an_answer_shows_no_secret_when_it_is_printed() {
    let looked_up = read_answer(&[row(&[Some("ann"), Some("canary")]), sound()], "ann").unwrap();
    assert!(matches!(looked_up.secret, Ok(Secret::Plain(_))));
    assert!(!format!("{looked_up:?}").contains("canary"));
}
