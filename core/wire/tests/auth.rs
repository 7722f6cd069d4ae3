//! Authentication: messages, MD5, stored secrets. (SCRAM is in `scram.rs`.)
//!
//! Owns: the matrix of method and stored secret, and that no secret prints.
//! Invariant: what a builder writes is read back by the reader of the other side.
#![expect(clippy::unwrap_used, reason = "a helper of tests may panic as tests may")]

use proptest::prelude::*;
use stent_wire::auth::md5::{Md5Challenge, Md5Hash};
use stent_wire::auth::scram::{BadVerifier, MockSecret, ScramKeys};
use stent_wire::auth::scram_server::ServerScram;
use stent_wire::auth::secret::{
    AuthType, CannotProve, Demand, Password, Refusal, SECRET_LEN_MAX, Secret, SecretError,
    ServerMethod,
};
use stent_wire::auth::{
    ANSWER_LEN_MAX, Answer, AuthMessageError, AuthRequest, Mechanism, parse_answer, parse_password,
    parse_sasl_initial, put_cleartext_password, put_md5_password, put_ok, put_password, put_sasl,
    put_sasl_continue, put_sasl_final, put_sasl_initial, put_sasl_response,
};
use stent_wire::frame::{Sender, frame_at};

const SERVER_NONCE: [u8; 18] = [2; 18];

/// The beginning of a stored SCRAM secret; the two keys follow.
const STORED: &str = "SCRAM-SHA-256$4096:AAECAwQFBgcICQoLDA0ODw==$";

fn password(text: &str) -> Password {
    Password::new(text.as_bytes()).unwrap()
}

fn request(out: &[u8]) -> &[u8] {
    let frame = frame_at(out, 0, Sender::Backend).unwrap().unwrap();
    assert_eq!((frame.tag, frame.all), (b'R', 0..out.len()));
    &out[frame.body]
}

fn proof(out: &[u8]) -> &[u8] {
    match parse_answer(out) {
        Ok(Answer::Proof { body, consumed }) if consumed == out.len() => body,
        other => panic!("not one answer: {other:?}"),
    }
}

#[test]
fn the_md5_answer_is_postgresqls() {
    // md5(md5("secret" || "alice") || 01020304), computed with another implementation.
    let hash = Md5Hash::of("alice", &password("secret"));
    let answer = hash.answer([1, 2, 3, 4]);
    assert_eq!(answer.as_slice(), MD5_ANSWER.as_bytes());
    assert_eq!(Md5Challenge::new(hash, [1, 2, 3, 4]).verify(&answer), Ok(()));
}

const MD5_ANSWER: &str = "md598a0412b9c31436fc53776e863350083";

#[test]
fn a_stored_md5_hash_is_that_of_password_and_user() {
    let Ok(Secret::Md5(stored)) = Secret::parse(b"md54a0a68b43b6cd5cf266fa02f196e2371") else {
        panic!("not an MD5 secret")
    };
    assert_eq!(stored, Md5Hash::of("alice", &password("secret")));
    assert_ne!(stored, Md5Hash::of("bob", &password("secret")));
}

#[test]
fn a_wrong_md5_answer_is_refused_whatever_its_length() {
    let hash = Md5Hash::of("alice", &password("secret"));
    let right = hash.answer([1, 2, 3, 4]);
    for answer in [&b""[..], b"md5", &right[..34], &[right.as_slice(), b"0"].concat(), b"secret"] {
        let challenge = Md5Challenge::new(hash.clone(), [1, 2, 3, 4]);
        assert_eq!(challenge.verify(answer), Err(Refusal::WrongPassword));
    }
    assert_eq!(Md5Challenge::new(hash, [4, 3, 2, 1]).verify(&right), Err(Refusal::WrongPassword));
}

#[test]
fn a_doomed_md5_challenge_refuses_every_answer() {
    let challenge = Md5Challenge::doomed(Refusal::UnknownUser, [1, 2, 3, 4]);
    assert_eq!(challenge.salt(), [1, 2, 3, 4]);
    // The answer for the hash that stands in for the missing one.
    let Ok(Secret::Md5(zeros)) = Secret::parse(&[&b"md5"[..], &[b'0'; 32]].concat()) else {
        panic!("not an MD5 secret");
    };
    let answer = zeros.answer([1, 2, 3, 4]);
    assert_eq!(challenge.verify(&answer), Err(Refusal::UnknownUser));
}

/// RFC 7677 section 3, the server's side; it names a user, whom we do not look at.
#[test]
fn stored_secrets_are_told_apart_by_their_form() {
    let form = |stored: &str| Secret::parse(stored.as_bytes()).unwrap().form();
    assert_eq!(form("md50123456789abcdef0123456789abcdef"), "an MD5 hash");
    // One digit short, and a capital: PgBouncer takes both for passwords.
    assert_eq!(form("md50123456789abcdef0123456789abcde"), "a password");
    assert_eq!(form("md50123456789ABCDEF0123456789ABCDEF"), "a password");
    let key = format!("{}=", "A".repeat(43));
    assert_eq!(form(&format!("{STORED}{key}:{key}")), "a SCRAM-SHA-256 secret");
    assert_eq!(form("SCRAM-SHA-1$4096:x"), "a password");
}

#[test]
fn malformed_scram_secrets_are_refused_and_not_taken_for_passwords() {
    let key = format!("{}=", "A".repeat(43));
    for (rest, error) in [
        (String::new(), BadVerifier::Form),
        ("4096:AAAA".to_owned(), BadVerifier::Form),
        (format!("4096${key}:{key}"), BadVerifier::Form),
        (format!("4096:AAAA${key}"), BadVerifier::Form),
        (format!("0:AAAA${key}:{key}"), BadVerifier::Iterations),
        (format!("1000001:AAAA${key}:{key}"), BadVerifier::Iterations),
        (format!("x:AAAA${key}:{key}"), BadVerifier::Iterations),
        (format!("4096:AAA${key}:{key}"), BadVerifier::Base64("salt")),
        (format!("4096:${key}:{key}"), BadVerifier::Base64("salt")),
        (format!("4096:AAAA$AAAA:{key}"), BadVerifier::Base64("StoredKey")),
        (format!("4096:AAAA${key}:AAAA"), BadVerifier::Base64("ServerKey")),
    ] {
        let stored = format!("SCRAM-SHA-256${rest}");
        let parsed = Secret::parse(stored.as_bytes());
        assert_eq!(parsed.unwrap_err(), SecretError::MalformedScram(error), "{stored}");
    }
}

#[test]
fn secrets_are_not_empty_have_no_nul_and_a_bounded_length() {
    assert_eq!(Secret::parse(b"").unwrap_err(), SecretError::Empty);
    assert_eq!(Secret::parse(b"a\0b").unwrap_err(), SecretError::Nul);
    let longest = vec![b'x'; SECRET_LEN_MAX];
    assert!(Secret::parse(&longest).is_ok());
    let longer = vec![b'x'; SECRET_LEN_MAX + 1];
    assert_eq!(Secret::parse(&longer).unwrap_err(), SecretError::TooLong);
}

#[test]
fn each_method_asks_for_what_the_stored_secret_can_check() {
    let key = format!("{}=", "A".repeat(43));
    let plain = Secret::parse(b"secret").unwrap();
    let md5 = Secret::parse(b"md50123456789abcdef0123456789abcdef").unwrap();
    let scram = Secret::parse(format!("{STORED}{key}:{key}").as_bytes()).unwrap();
    for secret in [Some(&plain), Some(&md5), Some(&scram), None] {
        assert!(matches!(AuthType::Trust.demand(secret), Demand::Nothing));
    }
    assert!(matches!(AuthType::Md5.demand(Some(&plain)), Demand::Md5OfPlain(_)));
    assert!(matches!(AuthType::Md5.demand(Some(&md5)), Demand::Md5(_)));
    assert!(matches!(AuthType::Md5.demand(Some(&scram)), Demand::Scram(_)));
    assert!(matches!(AuthType::Md5.demand(None), Demand::DoomedMd5(Refusal::NoPassword)));
    let by_scram = AuthType::ScramSha256;
    assert!(matches!(by_scram.demand(Some(&plain)), Demand::ScramOfPlain(_)));
    assert!(matches!(by_scram.demand(Some(&scram)), Demand::Scram(_)));
    let useless = by_scram.demand(Some(&md5));
    assert!(matches!(useless, Demand::DoomedScram(Refusal::Md5SecretUnderScram)));
    assert!(matches!(by_scram.demand(None), Demand::DoomedScram(Refusal::NoPassword)));
    let stranger = Refusal::UnknownUser;
    assert!(matches!(by_scram.demand_of_stranger(), Demand::DoomedScram(why) if why == stranger));
    assert!(
        matches!(AuthType::Md5.demand_of_stranger(), Demand::DoomedMd5(why) if why == stranger)
    );
}

#[test]
fn a_one_way_secret_cannot_prove_what_needs_the_password_and_says_so() {
    let md5 = Secret::parse(b"md50123456789abcdef0123456789abcdef").unwrap();
    let error = md5.for_scram().unwrap_err();
    let method = ServerMethod::ScramSha256;
    assert_eq!(error, CannotProve::NeedsPassword { method, form: "an MD5 hash" });
    assert_eq!(
        error.to_string(),
        "the server asks for SCRAM-SHA-256, which needs the password itself; the stored secret is \
         an MD5 hash"
    );
    assert!(md5.for_cleartext().is_err() && md5.for_md5("anyone").is_ok());
    let key = format!("{}=", "A".repeat(43));
    let scram = Secret::parse(format!("{STORED}{key}:{key}").as_bytes()).unwrap();
    assert!(scram.for_scram().is_err() && scram.for_md5("u").is_err());
    assert!(scram.for_cleartext().is_err());
}

#[test]
fn authentication_messages_are_read_as_they_were_written() {
    let write = |put: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        put(&mut out);
        out
    };
    let ok = write(&|out| put_ok(out));
    assert_eq!(AuthRequest::parse(request(&ok)), Ok(AuthRequest::Ok));
    let clear = write(&|out| put_cleartext_password(out));
    let parsed = AuthRequest::parse(request(&clear));
    assert_eq!(parsed, Ok(AuthRequest::CleartextPassword));
    let md5 = write(&|out| put_md5_password(out, [1, 2, 3, 0]));
    let parsed = AuthRequest::parse(request(&md5));
    assert_eq!(parsed, Ok(AuthRequest::Md5Password { salt: [1, 2, 3, 0] }));
    let sasl = write(&|out| put_sasl(out, Mechanism::PLAIN));
    let parsed = AuthRequest::parse(request(&sasl));
    assert_eq!(parsed, Ok(AuthRequest::Sasl { mechanisms: vec!["SCRAM-SHA-256"] }));
    let more = write(&|out| put_sasl_continue(out, "r=x"));
    let parsed = AuthRequest::parse(request(&more));
    assert_eq!(parsed, Ok(AuthRequest::SaslContinue { data: b"r=x" }));
    let end = write(&|out| put_sasl_final(out, "v=x"));
    let parsed = AuthRequest::parse(request(&end));
    assert_eq!(parsed, Ok(AuthRequest::SaslFinal { data: b"v=x" }));
}

#[test]
fn a_server_may_offer_several_mechanisms() {
    let parsed = AuthRequest::parse(b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    let mechanisms = vec!["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
    assert_eq!(parsed, Ok(AuthRequest::Sasl { mechanisms }));
}

#[test]
fn malformed_authentication_messages_are_refused() {
    for bytes in [
        &b""[..],
        b"\0\0\0",
        b"\0\0\0\0x",
        b"\0\0\0\x03x",
        b"\0\0\0\x05abc",
        b"\0\0\0\x05abcde",
        b"\0\0\0\x0a",
        b"\0\0\0\x0a\0",
        b"\0\0\0\x0aSCRAM\0",
        b"\0\0\0\x0aSCRAM\0\0x",
        b"\0\0\0\x0a\xff\0\0",
    ] {
        let error = AuthRequest::parse(bytes).unwrap_err();
        assert!(matches!(error, AuthMessageError::Request { .. }), "{bytes:?}");
    }
    let flood = [b"\0\0\0\x0a".as_slice(), &b"X\0".repeat(33), b"\0"].concat();
    assert!(AuthRequest::parse(&flood).is_err());
}

#[test]
fn requests_that_are_not_spoken_are_named_by_their_code() {
    for code in [2, 6, 7, 8, 9, 13, -1] {
        let body = i32::to_be_bytes(code);
        assert_eq!(AuthRequest::parse(&body), Ok(AuthRequest::Unsupported { code }));
    }
}

#[test]
fn a_long_cleartext_password_travels() {
    let token = vec![b't'; 4_000];
    let mut out = Vec::new();
    put_password(&mut out, &token);
    assert_eq!(parse_password(proof(&out)), Ok(token.as_slice()));
}

#[test]
fn empty_and_malformed_passwords_are_refused() {
    assert_eq!(parse_password(b"\0"), Err(AuthMessageError::EmptyPassword));
    for bytes in [&b""[..], b"x", b"x\0y", b"x\0\0"] {
        assert_eq!(parse_password(bytes), Err(AuthMessageError::Password), "{bytes:?}");
    }
    assert_eq!(AuthMessageError::EmptyPassword.report().code.as_str(), "28P01");
    assert_eq!(AuthMessageError::Password.report().code.as_str(), "08P01");
}

#[test]
fn an_answer_cut_anywhere_is_waited_for() {
    let mut out = Vec::new();
    put_password(&mut out, b"secret");
    for cut in 0..out.len() {
        let total = if cut < 5 { 5 } else { out.len() };
        assert_eq!(parse_answer(&out[..cut]), Ok(Answer::NeedMore { total }), "cut at {cut}");
    }
}

#[test]
fn a_client_may_give_up_when_asked() {
    assert_eq!(parse_answer(b"X\0\0\0\x04"), Ok(Answer::Terminate));
}

#[test]
fn other_messages_and_lengths_are_refused_before_the_login() {
    let error = AuthMessageError::Unexpected { tag: b'Q' };
    assert_eq!(parse_answer(b"Q"), Err(error));
    assert_eq!(error.report().code.as_str(), "08P01");
    for len in [0, 3, ANSWER_LEN_MAX as u32, 0x7fff_ffff, 0xffff_ffff] {
        let bytes = [&b"p"[..], &len.to_be_bytes()].concat();
        assert_eq!(parse_answer(&bytes), Err(AuthMessageError::AnswerLength { len }));
    }
}

#[test]
fn sasl_responses_are_read_as_they_were_written() {
    let mut out = Vec::new();
    put_sasl_initial(&mut out, Mechanism::Scram, "n,,n=,r=x");
    assert_eq!(
        parse_sasl_initial(proof(&out), Mechanism::PLAIN),
        Ok((Mechanism::Scram, &b"n,,n=,r=x"[..]))
    );
    let mut out = Vec::new();
    put_sasl_response(&mut out, "c=biws");
    assert_eq!(proof(&out), b"c=biws");
}

#[test]
fn an_initial_response_whose_length_lies_is_refused() {
    let mechanism = b"SCRAM-SHA-256\0";
    for len in [-1_i32, 0, 3, 5, i32::MAX, i32::MIN] {
        let bytes = [mechanism.as_slice(), &len.to_be_bytes(), b"data"].concat();
        assert_eq!(
            parse_sasl_initial(&bytes, Mechanism::PLAIN),
            Err(AuthMessageError::SaslInitial),
            "{len}"
        );
    }
    for bytes in [&b""[..], b"SCRAM-SHA-256", b"SCRAM-SHA-256\0", b"SCRAM-SHA-256\0\0\0"] {
        assert_eq!(parse_sasl_initial(bytes, Mechanism::PLAIN), Err(AuthMessageError::SaslInitial));
    }
}

#[test]
fn a_mechanism_that_was_not_offered_is_refused() {
    for mechanism in ["SCRAM-SHA-256-PLUS", "scram-sha-256", "PLAIN", ""] {
        let bytes = [mechanism.as_bytes(), b"\0\0\0\0\x04data"].concat();
        assert_eq!(parse_sasl_initial(&bytes, Mechanism::PLAIN), Err(AuthMessageError::Mechanism));
    }
}

#[test]
fn no_secret_prints() {
    let canary = "canary7Secret";
    let plain = Secret::parse(canary.as_bytes()).unwrap();
    let md5 = Md5Hash::of("u", &password(canary));
    let keys = ScramKeys::derive(&password(canary), &[3; 16], 64);
    let server = ServerScram::start(keys.verifier(), SERVER_NONCE);
    let texts = [
        format!("{plain:?}"),
        format!("{:?} {:?}", Secret::Md5(md5.clone()), Md5Challenge::new(md5.clone(), [0; 4])),
        format!("{keys:?} {:?}", keys.verifier()),
        format!("{server:?} {:?}", MockSecret::new([5; 32])),
        format!("{:?}", AuthType::Md5.demand(Some(&plain))),
    ];
    let digits = String::from_utf8(md5.answer([0; 4]).to_vec()).unwrap();
    for text in texts {
        assert!(!text.contains(canary) && !text.contains(&digits), "{text}");
        assert!(text.contains("redacted"), "{text}");
    }
}

#[test]
fn an_md5_secret_that_postgresql_stored_is_that_of_its_password() {
    let Ok(Secret::Md5(stored)) = Secret::parse(b"md521f3163f8f86fa10bdefbfbd502a8f06") else {
        panic!("not an MD5 secret");
    };
    assert_eq!(stored, Md5Hash::of("bob", &password("secret")));
}

proptest! {
    #[test]
    fn any_bytes_can_be_handed_to_every_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (AuthRequest::parse(&bytes), parse_password(&bytes), parse_sasl_initial(&bytes, Mechanism::PLAIN));
        let _ = (parse_answer(&bytes), Secret::parse(&bytes));
        let _ = Secret::parse(&[b"SCRAM-SHA-256$", bytes.as_slice()].concat());
    }
}
