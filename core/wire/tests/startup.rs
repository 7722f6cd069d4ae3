//! First packets: what is accepted, what is refused and how it is answered.
//!
//! Owns: the start-up part of the protocol checklist. Invariant: nothing here opens a socket.
#![expect(clippy::unwrap_used, reason = "a helper of tests may panic as tests may")]

use proptest::prelude::*;
use stent_wire::cancel::{CancelKey, CancelRequest};
use stent_wire::frame::{Sender, frame_at};
use stent_wire::params::{Params, ParamsError};
use stent_wire::report::Fields;
use stent_wire::startup::{
    BadStartupRequest, EncryptionAsked, Packet, Parsed, ProtocolVersion, Replication,
    STARTUP_LEN_MAX, Startup, StartupError, StartupRequest, parse, put_ssl_request,
};

const V3: u32 = 196_608;
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
const CANCEL: u32 = 80_877_102;

fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let len = (body.len() + 8) as u32;
    [&len.to_be_bytes(), &code.to_be_bytes(), body].concat()
}

fn startup(code: u32, body: &[u8]) -> Startup {
    match parse(&packet(code, body)) {
        Ok(Parsed::Complete { packet: Packet::Startup(startup), .. }) => *startup,
        other => panic!("not a startup packet: {other:?}"),
    }
}

fn refusal(bytes: &[u8]) -> StartupError {
    parse(bytes).expect_err("refused")
}

/// SQLSTATE and message of the answer as a client would read it.
fn answer(error: &StartupError) -> (String, String) {
    let mut out = Vec::new();
    error.put_answer(&mut out);
    let frame = frame_at(&out, 0, Sender::Backend).unwrap().unwrap();
    assert_eq!((frame.tag, frame.missing), (b'E', 0));
    let fields = Fields::new(&out[frame.body]);
    (fields.code().unwrap().to_string(), fields.message().unwrap().into_owned())
}

#[test]
fn an_ssl_request_is_eight_bytes() {
    let parsed = parse(&packet(SSL, b"")).unwrap();
    assert_eq!(parsed, Parsed::Complete { packet: Packet::SslRequest, consumed: 8 });
}

#[test]
fn a_gss_request_is_eight_bytes() {
    let parsed = parse(&packet(GSS, b"")).unwrap();
    assert_eq!(parsed, Parsed::Complete { packet: Packet::GssEncRequest, consumed: 8 });
}

/// Checklist 2.
#[test]
fn bytes_behind_a_request_for_encryption_are_refused() {
    for code in [SSL, GSS] {
        let injected = [packet(code, b""), packet(V3, b"user\0u\0\0")].concat();
        let error = refusal(&injected);
        assert_eq!(error, StartupError::BytesBehindEncryptionRequest);
        assert_eq!(answer(&error).0, "08P01");
    }
}

/// Checklist 3, 4.
#[test]
fn both_requests_for_encryption_may_come_once_in_either_order() {
    for order in
        [[Packet::SslRequest, Packet::GssEncRequest], [Packet::GssEncRequest, Packet::SslRequest]]
    {
        let mut asked = EncryptionAsked::default();
        for packet in &order {
            assert_eq!(asked.note(packet), Ok(()));
        }
        assert_eq!(asked.note(&order[0]), Err(StartupError::EncryptionAskedTwice));
    }
}

#[test]
fn a_tls_handshake_is_told_by_its_first_byte_and_not_consumed() {
    for bytes in [&b"\x16"[..], b"\x16\x03\x01\x02\x00\x01"] {
        let parsed = parse(bytes).unwrap();
        assert_eq!(parsed, Parsed::Complete { packet: Packet::DirectTls, consumed: 0 });
    }
}

#[test]
fn http_is_answered_in_http() {
    for request in ["GET / HTTP/1.1\r\n\r\n", "POST /x", "PRI * HTTP/2.0\r\n", "HEAD"] {
        let error = refusal(request.as_bytes());
        assert_eq!(error, StartupError::Http);
        let mut out = Vec::new();
        error.put_answer(&mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        assert!(body.contains("PostgreSQL"), "{body}");
    }
}

/// Checklist 12, 13.
#[test]
fn lengths_out_of_range_are_refused_as_soon_as_they_are_read() {
    for len in [0, 4, 7, STARTUP_LEN_MAX as u32 + 1, 2_000_000_000, 0xffff_ffff] {
        let error = refusal(&len.to_be_bytes());
        assert_eq!(error, StartupError::Length { len });
        let report = error.report();
        let said = (report.code.to_string(), report.message.to_string());
        assert_eq!(said, ("08P01".into(), "invalid length of startup packet".into()));
    }
}

/// Checklist 13.
#[test]
fn terminate_in_place_of_a_first_packet_ends_the_connection_without_a_word() {
    let mut out = Vec::new();
    refusal(b"X\0\0\0\x04").put_answer(&mut out);
    assert!(out.is_empty(), "{out:?}");
}

#[test]
fn the_longest_packet_is_postgresqls() {
    let value = vec![b'x'; STARTUP_LEN_MAX - 8 - b"user\0u\0a.b\0\0\0".len()];
    let body = [b"user\0u\0a.b\0".as_slice(), &value, b"\0\0"].concat();
    let bytes = packet(V3, &body);
    assert_eq!(bytes.len(), 10_004);
    assert!(matches!(parse(&bytes), Ok(Parsed::Complete { consumed: 10_004, .. })));
}

#[test]
fn an_encryption_request_with_another_length_is_refused() {
    for code in [SSL, GSS] {
        assert_eq!(refusal(&packet(code, b"x")), StartupError::Length { len: 9 });
    }
}

/// Checklist 14.
#[test]
fn a_packet_cut_anywhere_is_waited_for_and_says_for_how_much() {
    let bytes = packet(V3, b"user\0u\0\0");
    for cut in 0..bytes.len() {
        let total = if cut < 4 { 4 } else { bytes.len() };
        assert_eq!(parse(&bytes[..cut]), Ok(Parsed::NeedMore { total }), "cut at {cut}");
    }
}

#[test]
fn what_follows_a_startup_packet_is_left_alone() {
    let mut bytes = packet(V3, b"user\0u\0\0");
    let consumed = bytes.len();
    bytes.extend_from_slice(b"Q\0\0\0\x04");
    assert!(matches!(parse(&bytes), Ok(Parsed::Complete { consumed: at, .. }) if at == consumed));
}

/// Checklist 16.
#[test]
fn the_database_defaults_to_the_user() {
    for body in [&b"user\0amy\0\0"[..], b"user\0amy\0database\0\0\0"] {
        let startup = startup(V3, body);
        assert_eq!((startup.user.as_str(), startup.database.as_str()), ("amy", "amy"));
    }
}

/// Checklist 16.
#[test]
fn a_missing_or_empty_user_is_refused_in_postgresqls_words() {
    for body in [&b"\0"[..], b"database\0d\0\0", b"user\0\0\0"] {
        let (code, message) = answer(&refusal(&packet(V3, body)));
        assert_eq!(code, "28000");
        assert_eq!(message, "no PostgreSQL user name specified in startup packet");
    }
}

/// Checklist 15.
#[test]
fn a_layout_that_does_not_end_with_its_last_byte_is_refused() {
    for body in
        [&b""[..], b"user\0u\0", b"user\0u", b"user\0", b"user", b"user\0u\0\0x", b"user\0u\0\0\0"]
    {
        let error = refusal(&packet(V3, body));
        assert_eq!(error, StartupError::Layout, "{body:?}");
        assert_eq!(answer(&error).0, "08P01");
    }
}

#[test]
fn names_that_are_not_utf8_are_refused() {
    assert_eq!(refusal(&packet(V3, b"user\0\xff\0\0")), StartupError::NotUtf8 { of: "user" });
    let error = refusal(&packet(V3, b"user\0u\0database\0\xfe\0\0"));
    assert_eq!(error, StartupError::NotUtf8 { of: "database" });
    assert_eq!(answer(&error).0, "22021");
}

#[test]
fn values_of_parameters_keep_their_bytes() {
    let startup = startup(V3, b"user\0u\0application_name\0caf\xe9\0\0");
    assert_eq!(startup.params.get(b"application_name"), Some(&b"caf\xe9"[..]));
}

#[test]
fn the_last_of_a_repeated_name_counts() {
    let startup = startup(V3, b"user\0a\0TimeZone\0UTC\0user\0b\0timezone\0CET\0\0");
    assert_eq!(startup.user, "b");
    assert_eq!((startup.params.len(), startup.params.get(b"TimeZone")), (1, Some(&b"CET"[..])));
}

#[test]
fn named_parameters_override_those_of_options() {
    let startup = startup(V3, b"user\0u\0work_mem\x001MB\0options\0-c work_mem=2MB -c x.y=z\0\0");
    assert_eq!(startup.params.get(b"work_mem"), Some(&b"1MB"[..]));
    assert_eq!(startup.params.get(b"x.y"), Some(&b"z"[..]));
}

/// Checklist 18.
#[test]
fn options_cannot_smuggle_in_another_user() {
    for name in ["user", "USER", "database", "options", "replication", "_pq_.x"] {
        let body = format!("user\0u\0options\0-c {name}=evil\0\0");
        let error = refusal(&packet(V3, body.as_bytes()));
        assert!(matches!(error, StartupError::Params(ParamsError::BadName { .. })), "{error:?}");
        assert_eq!(answer(&error).0, "42704");
    }
}

/// Checklist 19.
#[test]
fn replication_is_a_boolean_or_database() {
    for (value, expected) in [
        ("true", Replication::Physical),
        ("ON", Replication::Physical),
        ("1", Replication::Physical),
        ("y", Replication::Physical),
        ("database", Replication::Logical),
        ("off", Replication::Off),
        ("f", Replication::Off),
        ("0", Replication::Off),
    ] {
        let body = format!("user\0u\0replication\0{value}\0\0");
        assert_eq!(startup(V3, body.as_bytes()).replication, expected, "{value}");
    }
    for value in ["maybe", "o", "2", "truer"] {
        let body = format!("user\0u\0replication\0{value}\0\0");
        assert_eq!(answer(&refusal(&packet(V3, body.as_bytes()))).0, "22023", "{value}");
    }
}

/// Checklist 8.
#[test]
fn protocol_2_and_unknown_codes_are_refused_before_their_packet_is_whole() {
    for code in [0x0002_0000, 0x0004_0000, 0x0001_0001, 80_877_105, 0] {
        let bytes = packet(code, &[b'x'; 296]);
        let error = refusal(&bytes[..8]);
        assert!(matches!(error, StartupError::Version { .. }), "{error:?}");
        assert_eq!(answer(&error).0, "0A000");
    }
    let (_, message) = answer(&refusal(&packet(0x0002_0000, &[0; 288])));
    assert_eq!(message, "unsupported frontend protocol 2.0: server supports 3.0 to 3.2");
}

#[test]
fn plain_3_0_needs_no_negotiation() {
    let startup = startup(V3, b"user\0u\0\0");
    assert_eq!(startup.version, ProtocolVersion::V3_0);
    assert!(!startup.needs_negotiation());
    let mut out = Vec::new();
    startup.put_negotiation(&mut out);
    assert!(out.is_empty());
}

/// As PostgreSQL 18: what it speaks is taken as asked, 3.1 too, which it does not know either.
/// Checklist 10.
#[test]
fn versions_up_to_3_2_are_spoken_as_asked() {
    for (minor, key_len) in [(0, 4), (1, 4), (2, 32)] {
        let startup = startup(V3 + minor, b"user\0u\0\0");
        assert!(!startup.needs_negotiation(), "3.{minor}");
        assert_eq!(startup.spoken().code(), V3 + minor);
        assert_eq!(startup.cancel_key_len(), key_len);
    }
}

/// Checklist 9.
#[test]
fn newer_minors_are_negotiated_down_to_3_2_and_options_are_listed_back() {
    let body = b"user\0u\0_pq_.compression\0on\0_pq_.test\0\0\0";
    let both = &["_pq_.compression", "_pq_.test"][..];
    for (code, body, spoken, names) in [
        (V3 + 3, &b"user\0u\0\0"[..], V3 + 2, &[][..]),
        (V3 + 9999, body, V3 + 2, both),
        (V3 + 2, body, V3 + 2, both),
        (V3, body, V3, both),
    ] {
        let startup = startup(code, body);
        assert!(startup.needs_negotiation() && startup.params.is_empty());
        let mut expected = [spoken.to_be_bytes(), (names.len() as u32).to_be_bytes()].concat();
        names.iter().for_each(|name| expected.extend([name.as_bytes(), b"\0"].concat()));
        let mut out = Vec::new();
        startup.put_negotiation(&mut out);
        assert_eq!(out[0], b'v');
        assert_eq!(out[1..5], (expected.len() as u32 + 4).to_be_bytes());
        assert_eq!(out[5..], expected);
    }
}

#[test]
fn more_protocol_options_than_are_listed_back_are_refused() {
    let options: String = (0..65).map(|at| format!("_pq_.o{at}\0\0")).collect();
    let body = format!("user\0u\0{options}\0");
    assert_eq!(refusal(&packet(V3, body.as_bytes())), StartupError::TooManyProtocolOptions);
}

/// Checklist 11.
#[test]
fn cancel_keys_of_4_to_256_bytes_are_read() {
    for len in [4, 32, 256] {
        let key = vec![7; len];
        let bytes = packet(CANCEL, &[&(-5_i32).to_be_bytes(), key.as_slice()].concat());
        let key = CancelKey::new(&key).unwrap();
        let expected = Packet::Cancel(CancelRequest { pid: -5, key });
        let parsed = parse(&bytes).unwrap();
        assert_eq!(parsed, Parsed::Complete { packet: expected, consumed: bytes.len() });
    }
}

#[test]
fn other_cancel_keys_are_refused_by_their_length_and_not_answered() {
    for len in [0, 3, 257, 9_000] {
        let bytes = packet(CANCEL, &vec![0; 4 + len]);
        let error = refusal(&bytes[..8]);
        assert!(matches!(error, StartupError::CancelKey(bad) if bad.bytes == len), "{error:?}");
        let mut out = Vec::new();
        error.put_answer(&mut out);
        assert!(out.is_empty());
    }
    assert!(matches!(refusal(&packet(CANCEL, b"")), StartupError::CancelKey(_)));
}

#[test]
fn a_request_of_ours_with_a_nul_is_not_written() {
    let params = Params::default();
    let mut out = b"before".to_vec();
    for (user, database) in [("u\0", "d"), ("u", "d\0x")] {
        let request =
            StartupRequest { user, database, params: &params, replication: Replication::Off };
        assert!(matches!(request.put(&mut out), Err(BadStartupRequest::Nul { .. })));
    }
    assert_eq!(out, b"before");
}

#[test]
fn a_request_of_ours_that_no_server_reads_is_not_written() {
    let params = Params::default();
    let user = "u".repeat(10_000);
    let mut out = b"before".to_vec();
    let request = StartupRequest {
        user: &user,
        database: "d",
        params: &params,
        replication: Replication::Off,
    };
    assert!(matches!(request.put(&mut out), Err(BadStartupRequest::TooLong { .. })));
    assert_eq!(out, b"before");
}

#[test]
fn our_ssl_request_is_read_as_one() {
    let mut out = Vec::new();
    put_ssl_request(&mut out);
    assert_eq!(out, packet(SSL, b""));
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_are_parsed_alike(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            (prop::sample::select(vec![V3, V3 + 2, SSL, GSS, CANCEL]), prop::collection::vec(any::<u8>(), 0..300))
                .prop_map(|(code, body)| packet(code, &body)),
            "[a-z_.=\\\\ \u{0}-]{0,80}".prop_map(|body| packet(V3, format!("user\0u\0{body}\0\0").as_bytes())),
        ],
    ) {
        let whole = parse(&bytes);
        let mut at = 0;
        let streamed = loop {
            match parse(&bytes[..at]) {
                Ok(Parsed::NeedMore { total }) => {
                    prop_assert!(at < total && total <= STARTUP_LEN_MAX);
                    if at == bytes.len() {
                        break Ok(Parsed::NeedMore { total });
                    }
                    at += 1;
                }
                other => break other,
            }
        };
        match (&whole, &streamed) {
            // Bytes behind the request have not arrived yet when it is read byte by byte.
            (Err(StartupError::BytesBehindEncryptionRequest), Ok(Parsed::Complete { .. })) => {}
            _ => prop_assert_eq!(&whole, &streamed),
        }
        if let Ok(Parsed::Complete { consumed, .. }) = whole {
            prop_assert!(consumed <= bytes.len());
        }
    }

    #[test]
    fn our_startup_packet_is_read_as_it_was_meant(
        user in "[^\u{0}]{1,40}",
        database in "[^\u{0}]{1,40}",
        settings in prop::collection::btree_map("[a-z][a-z_]{0,10}\\.[a-z]{1,5}", "[^\u{0}]{0,30}", 0..6),
    ) {
        let mut params = Params::default();
        for (name, value) in &settings {
            params.set(name.as_bytes(), value.as_bytes()).unwrap();
        }
        let mut out = Vec::new();
        StartupRequest { user: &user, database: &database, params: &params , replication: Replication::Off}.put(&mut out).unwrap();
        let Ok(Parsed::Complete { packet: Packet::Startup(startup), consumed }) = parse(&out) else {
            panic!("not a startup packet: {:?}", parse(&out));
        };
        prop_assert_eq!(consumed, out.len());
        prop_assert_eq!((startup.user, startup.database, startup.params), (user, database, params));
    }

    #[test]
    fn our_cancel_request_is_read_as_it_was_meant(pid: i32, key in prop::collection::vec(any::<u8>(), 4..=256)) {
        let request = CancelRequest { pid, key: CancelKey::new(&key).unwrap() };
        let mut out = Vec::new();
        request.put(&mut out);
        let consumed = out.len();
        prop_assert_eq!(parse(&out), Ok(Parsed::Complete { packet: Packet::Cancel(request), consumed }));
    }
}
