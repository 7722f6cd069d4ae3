//! Errors, notices and the small messages of a server.
//!
//! Owns: robustness of the readers, well-formedness of the builders.
//! Invariant: what a builder writes is read back through [`frame_at`] and the parser.
#![expect(clippy::unwrap_used, reason = "a helper of tests may panic as tests may")]

use proptest::prelude::*;
use stent_wire::cancel::CancelKey;
use stent_wire::frame::{Sender, frame_at};
use stent_wire::report::reply::{
    BadReply, TransactionStatus, parse_backend_key_data, parse_parameter_status,
    put_backend_key_data, put_empty_query_response, put_parameter_status, put_ready_for_query,
};
use stent_wire::report::{
    FIELD_LEN_MAX, Fields, Report, Severity, SqlState, is_permanent_login_failure,
};

fn body(out: &[u8]) -> (u8, &[u8]) {
    let frame = frame_at(out, 0, Sender::Backend).unwrap().unwrap();
    assert_eq!(frame.all, 0..out.len());
    (frame.tag, &out[frame.body])
}

#[test]
fn the_untranslated_severity_is_preferred() {
    let fields = Fields::new(b"SFEHLER\0VERROR\0C25P02\0Mnein\0\0");
    assert_eq!(fields.severity(), Some(Severity::Error));
    assert_eq!(fields.code(), Some(SqlState::IN_FAILED_TRANSACTION));
    assert_eq!(fields.message().as_deref(), Some("nein"));
}

#[test]
fn the_severity_of_an_old_server_is_read_where_it_is_english() {
    assert_eq!(Fields::new(b"SFATAL\0\0").severity(), Some(Severity::Fatal));
    assert_eq!(Fields::new(b"SFATALE\0\0").severity(), None);
}

#[test]
fn missing_fields_are_missing_and_nothing_else() {
    for bytes in [&b""[..], b"\0", b"M", b"Mcut", b"C\0\0", b"Cxx\0\0", b"Z\0"] {
        let fields = Fields::new(bytes);
        assert_eq!((fields.severity(), fields.code()), (None, None), "{bytes:?}");
        assert_eq!((fields.detail(), fields.hint(), fields.routine()), (None, None, None));
    }
    let fields = Fields::new(b"SERROR\0Mno code here\0\0");
    assert_eq!((fields.code(), fields.message().as_deref()), (None, Some("no code here")));
}

#[test]
fn fields_behind_the_terminator_do_not_count() {
    assert_eq!(Fields::new(b"Ma\0\0C42P05\0").code(), None);
}

#[test]
fn a_long_field_is_cut_and_a_wrong_byte_replaced() {
    let long = [b"M".as_slice(), &vec![b'x'; 2 * FIELD_LEN_MAX], b"\0\0"].concat();
    assert_eq!(Fields::new(&long).message().unwrap().len(), FIELD_LEN_MAX);
    assert_eq!(Fields::new(b"M\xff!\0\0").message().as_deref(), Some("\u{fffd}!"));
}

#[test]
fn a_stale_plan_is_told_by_code_and_routine() {
    assert!(Fields::new(b"C0A000\0Mx\0RRevalidateCachedQuery\0\0").is_stale_plan());
    assert!(!Fields::new(b"C0A000\0Mcached plan must not change result type\0\0").is_stale_plan());
    assert!(!Fields::new(b"C42601\0RRevalidateCachedQuery\0\0").is_stale_plan());
}

#[test]
fn a_report_is_read_as_it_was_written() {
    let report = Report::fatal(SqlState::TOO_MANY_CONNECTIONS, "no server in 5 s")
        .with_detail("4 of 4 are held")
        .with_hint("Look at the holders.");
    let mut out = Vec::new();
    report.put(&mut out);
    let (tag, body) = body(&out);
    let fields = Fields::new(body);
    assert_eq!((tag, fields.severity()), (b'E', Some(Severity::Fatal)));
    assert_eq!((fields.get(b'S'), fields.get(b'V')), (Some(&b"FATAL"[..]), Some(&b"FATAL"[..])));
    assert_eq!(fields.code(), Some(SqlState::TOO_MANY_CONNECTIONS));
    assert_eq!(fields.message().as_deref(), Some("no server in 5 s"));
    assert_eq!(fields.detail().as_deref(), Some("4 of 4 are held"));
    assert_eq!(fields.hint().as_deref(), Some("Look at the holders."));
}

#[test]
fn less_than_an_error_is_a_notice() {
    let mut out = Vec::new();
    Report::notice("waiting for a server").put(&mut out);
    let (tag, body) = body(&out);
    assert_eq!((tag, Fields::new(body).severity()), (b'N', Some(Severity::Notice)));
}

#[test]
fn a_nul_ends_a_text_of_ours_early_and_an_overlong_one_is_cut_between_characters() {
    let mut out = Vec::new();
    Report::error(SqlState::INTERNAL_ERROR, "a\0Cb")
        .with_detail("é".repeat(FIELD_LEN_MAX))
        .put(&mut out);
    let (_, body) = body(&out);
    let fields = Fields::new(body);
    assert_eq!(fields.message().as_deref(), Some("a"));
    assert_eq!(fields.code(), Some(SqlState::INTERNAL_ERROR));
    assert_eq!(fields.detail().unwrap(), "é".repeat(FIELD_LEN_MAX / 2));
}

#[test]
fn sqlstates_are_five_digits_and_capitals() {
    assert_eq!(SqlState::parse(b"57P01"), Some(SqlState::ADMIN_SHUTDOWN));
    for code in [&b"57p01"[..], b"57P0", b"57P011", b"57P0 ", b""] {
        assert_eq!(SqlState::parse(code), None, "{code:?}");
    }
    assert_eq!(SqlState::INVALID_PASSWORD.to_string(), "28P01");
}

#[test]
fn logins_fail_for_good_when_somebody_must_change_something() {
    for code in ["28P01", "28000", "3D000", "42501", "42704"] {
        assert!(is_permanent_login_failure(SqlState::parse(code.as_bytes()).unwrap()), "{code}");
    }
    for code in ["53300", "57P03", "57P01", "08006", "XX000", "55000"] {
        assert!(!is_permanent_login_failure(SqlState::parse(code.as_bytes()).unwrap()), "{code}");
    }
}

#[test]
fn fatal_and_panic_end_the_session() {
    assert!(Severity::Fatal.ends_session() && Severity::Panic.ends_session());
    assert!(!Severity::Error.ends_session() && !Severity::Log.ends_session());
}

#[test]
fn ready_for_query_has_the_status_in_its_one_byte() {
    for status in [TransactionStatus::Idle, TransactionStatus::Open, TransactionStatus::Failed] {
        let mut out = Vec::new();
        put_ready_for_query(&mut out, status);
        assert_eq!(body(&out), (b'Z', &[status.byte()][..]));
        assert_eq!(TransactionStatus::parse(status.byte()), Some(status));
    }
    assert_eq!(TransactionStatus::parse(b'X'), None);
}

#[test]
fn empty_query_response_is_empty() {
    let mut out = Vec::new();
    put_empty_query_response(&mut out);
    assert_eq!(body(&out), (b'I', &b""[..]));
}

#[test]
fn a_parameter_status_is_read_as_it_was_written() {
    let mut out = Vec::new();
    put_parameter_status(&mut out, b"TimeZone", b"");
    let (tag, body) = body(&out);
    assert_eq!((tag, parse_parameter_status(body)), (b'S', Ok((&b"TimeZone"[..], &b""[..]))));
}

#[test]
fn a_parameter_status_of_other_than_two_strings_is_refused() {
    for body in [&b""[..], b"a", b"a\0", b"a\0b", b"a\0b\0c", b"\0b\0"] {
        assert_eq!(parse_parameter_status(body), Err(BadReply::ParameterStatus), "{body:?}");
    }
}

#[test]
fn backend_key_data_is_read_as_it_was_written() {
    for len in [4, 32, 256] {
        let key = CancelKey::new(&vec![9; len]).unwrap();
        let mut out = Vec::new();
        put_backend_key_data(&mut out, -7, &key);
        let (tag, body) = body(&out);
        assert_eq!((tag, parse_backend_key_data(body)), (b'K', Ok((-7, key))));
    }
}

#[test]
fn backend_key_data_with_an_impossible_key_is_refused() {
    assert_eq!(parse_backend_key_data(b"abc"), Err(BadReply::ShortKeyData { bytes: 3 }));
    for len in [0, 3, 257] {
        assert!(matches!(parse_backend_key_data(&vec![0; 4 + len]), Err(BadReply::Key(_))));
    }
}

proptest! {
    #[test]
    fn any_bytes_can_be_read_as_a_report(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let fields = Fields::new(&bytes);
        let _ = (fields.severity(), fields.code(), fields.is_stale_plan(), format!("{fields:?}"));
        let kept: usize = fields.iter().map(|(_, value)| value.len() + 2).sum();
        prop_assert!(kept <= bytes.len());
        let _ = (parse_parameter_status(&bytes), parse_backend_key_data(&bytes));
    }
}
