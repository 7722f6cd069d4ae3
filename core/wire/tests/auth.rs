//! Authentication in both roles.
//!
//! Owns: published vectors, the matrix of method and stored secret, and what a client can learn.
//! Invariant: the same user and answer give the same refusal whether the user exists or not.

use proptest::prelude::*;
use stent_wire::auth::md5::{Md5Challenge, Md5Hash};
use stent_wire::auth::scram::{
    BadVerifier, MockSecret, SCRAM_ITERATIONS_MAX, ScramError, ScramKeys, ScramVerifier,
};
use stent_wire::auth::scram_client;
use stent_wire::auth::scram_server::{Proven, ScramStep, ServerScram};
use stent_wire::auth::secret::{
    AuthType, CannotProve, Demand, Password, Refusal, SECRET_LEN_MAX, Secret, SecretError,
    ServerMethod,
};
use stent_wire::auth::{
    ANSWER_LEN_MAX, Answer, AuthMessageError, AuthRequest, login_failed, parse_answer,
    parse_password, parse_sasl_initial, put_cleartext_password, put_md5_password, put_ok,
    put_password, put_sasl, put_sasl_continue, put_sasl_final, put_sasl_initial, put_sasl_response,
};
use stent_wire::frame::{Sender, frame_at};

const CLIENT_NONCE: [u8; 18] = [1; 18];
const SERVER_NONCE: [u8; 18] = [2; 18];

/// The beginning of a stored SCRAM secret; the two keys follow.
const STORED: &str = "SCRAM-SHA-256$4096:AAECAwQFBgcICQoLDA0ODw==$";

fn password(text: &str) -> Password {
    Password::new(text.as_bytes()).unwrap()
}

fn keys(text: &str) -> ScramKeys {
    ScramKeys::derive(&password(text), &[3; 16], 64)
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

/// Runs the first step of the server and gives the state and server-first.
fn first(server: ServerScram, message: &str) -> Result<(ServerScram, String), ScramError> {
    match server.handle(message.as_bytes())? {
        ScramStep::Continue { next, server_first } => Ok((next, server_first)),
        ScramStep::Proven(proven) => panic!("proven by a first message: {proven:?}"),
    }
}

fn last(server: ServerScram, message: &str) -> Result<Proven, ScramError> {
    match server.handle(message.as_bytes())? {
        ScramStep::Proven(proven) => Ok(proven),
        ScramStep::Continue { .. } => panic!("a third step"),
    }
}

/// A whole exchange between our two roles.
fn exchange(verifier: ScramVerifier, client: &str) -> Result<(), ScramError> {
    let (state, client_first) = scram_client::start(CLIENT_NONCE);
    let (server, server_first) = first(ServerScram::start(verifier, SERVER_NONCE), &client_first)?;
    let need = state.handle(server_first.as_bytes())?;
    let keys = ScramKeys::derive(&password(client), need.salt(), need.iterations());
    let (state, client_final) = need.answer(&keys)?;
    state.handle(last(server, &client_final)?.server_final.as_bytes())
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
fn the_server_signature_of_rfc_7677_is_that_of_its_keys() {
    let salt = [
        0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa,
        0x81,
    ];
    let keys = ScramKeys::derive(&password("pencil"), &salt, 4096);
    let stored = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                  WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    let Ok(Secret::Scram(stored)) = Secret::parse(stored.as_bytes()) else { panic!("not SCRAM") };
    assert_eq!(keys.verifier(), stored);
}

#[test]
fn both_roles_agree_on_a_right_password() {
    assert_eq!(exchange(keys("p\u{e4}ss").verifier(), "p\u{e4}ss"), Ok(()));
}

#[test]
fn a_wrong_password_is_refused() {
    let refused = Err(ScramError::Refused(Refusal::WrongPassword));
    assert_eq!(exchange(keys("right").verifier(), "wrong"), refused);
}

#[test]
fn passwords_are_compared_after_saslprep() {
    // A no-break space is a space, a soft hyphen is nothing, the Roman numeral nine is "IX".
    for (stored, typed) in [("a b", "a\u{a0}b"), ("IX", "I\u{ad}X"), ("IX", "\u{2168}")] {
        assert_eq!(exchange(keys(stored).verifier(), typed), Ok(()), "{typed:?}");
    }
}

#[test]
fn a_password_that_saslprep_prohibits_is_used_as_it_is() {
    assert_eq!(exchange(keys("tab\there").verifier(), "tab\there"), Ok(()));
    assert_eq!(exchange(keys("\u{ad}").verifier(), "\u{ad}"), Ok(()));
    let raw = Password::new(b"\xff\xfe").unwrap();
    let same = ScramKeys::derive(&raw, &[3; 16], 64).verifier();
    assert_eq!(
        same,
        ScramKeys::derive(&Password::new(b"\xff\xfe").unwrap(), &[3; 16], 64).verifier()
    );
    assert_ne!(same, keys("\u{fffd}\u{fffd}").verifier());
}

#[test]
fn proven_keys_log_in_to_a_server_with_the_same_secret() {
    let verifier = keys("secret").verifier();
    let (state, client_first) = scram_client::start(CLIENT_NONCE);
    let (server, server_first) =
        first(ServerScram::start(verifier.clone(), SERVER_NONCE), &client_first).unwrap();
    let (_, client_final) =
        state.handle(server_first.as_bytes()).unwrap().answer(&keys("secret")).unwrap();
    let proven = last(server, &client_final).unwrap().keys;

    let (state, client_first) = scram_client::start([9; 18]);
    let (upstream, server_first) =
        first(ServerScram::start(verifier, [8; 18]), &client_first).unwrap();
    let need = state.handle(server_first.as_bytes()).unwrap();
    assert!(proven.fit(need.salt(), need.iterations()));
    let (state, client_final) = need.answer(&proven).unwrap();
    let server_final = last(upstream, &client_final).unwrap().server_final;
    assert_eq!(state.handle(server_final.as_bytes()), Ok(()));
}

#[test]
fn keys_for_another_salt_are_not_used() {
    let (state, client_first) = scram_client::start(CLIENT_NONCE);
    let (_, server_first) =
        first(ServerScram::start(keys("x").verifier(), SERVER_NONCE), &client_first).unwrap();
    let other = ScramKeys::derive(&password("x"), &[4; 16], 64);
    let need = state.handle(server_first.as_bytes()).unwrap();
    assert_eq!(need.answer(&other).unwrap_err(), ScramError::OtherSalt);
}

#[test]
fn a_client_that_could_bind_the_channel_is_served_without() {
    let server = ServerScram::start(keys("x").verifier(), SERVER_NONCE);
    let (server, server_first) = first(server, "y,,n=,r=abc").unwrap();
    let nonce = server_first.split_once(',').unwrap().0;
    // A wrong proof gets as far as a right one: its channel binding was accepted.
    let proof = "A".repeat(43);
    let refused = last(server, &format!("c=eSws,{nonce},p={proof}=")).unwrap_err();
    assert_eq!(refused, ScramError::Refused(Refusal::WrongPassword));
}

#[test]
fn malformed_first_messages_of_a_client_are_refused() {
    let long = format!("n,,n=,r={}", "x".repeat(1024));
    for message in [
        "",
        "n",
        "n,",
        "n,,",
        "x,,n=,r=abc",
        "n,x,n=,r=abc",
        "n,,r=abc",
        "n,,r=abc,n=",
        "n,,n=",
        "n,,n=,r=",
        "n,,n=,r=a\u{e9}",
        "n,,n=,r=a b",
        "n,,n=,r=abc,",
        "n,,n=,r=abc,xx=y",
        "n,,n=,r=abc,1=y",
        "n,,n=,r=a\0c",
        "N,,n=,r=abc",
        "nn,,n=,r=abc",
        &long,
    ] {
        let server = ServerScram::start(keys("x").verifier(), SERVER_NONCE);
        let error = server.handle(message.as_bytes()).unwrap_err();
        assert!(matches!(error, ScramError::Malformed(_)), "{message:?}: {error:?}");
        assert_eq!(error.report("u").code.as_str(), "08P01");
    }
    let server = ServerScram::start(keys("x").verifier(), SERVER_NONCE);
    assert!(server.handle(b"n,,n=,r=\xff").is_err());
}

#[test]
fn what_is_not_spoken_is_refused_as_such() {
    for (message, code) in [
        ("n,a=admin,n=,r=abc", "0A000"),
        ("n,,m=ext,n=,r=abc", "0A000"),
        ("p=tls-server-end-point,,n=,r=abc", "08P01"),
        ("p=x,,n=,r=abc", "08P01"),
    ] {
        let server = ServerScram::start(keys("x").verifier(), SERVER_NONCE);
        let error = server.handle(message.as_bytes()).unwrap_err();
        assert_eq!(error.report("u").code.as_str(), code, "{message}");
    }
}

#[test]
fn extensions_that_need_not_be_understood_are_passed_over() {
    let server = ServerScram::start(keys("x").verifier(), SERVER_NONCE);
    assert!(first(server, "n,,n=someone,r=abc,x=1,Y=2").is_ok());
}

#[test]
fn malformed_final_messages_of_a_client_are_refused() {
    let proof = format!("{}=", "A".repeat(43));
    let nonce = "abcAgICAgICAgICAgICAgICAgIC";
    for message in [
        String::new(),
        format!("c=biws,r={nonce}"),
        format!("r={nonce},c=biws,p={proof}"),
        format!("c=eSws,r={nonce},p={proof}"),
        format!("c=cD0=,r={nonce},p={proof}"),
        format!("c=biws,r={nonce},p=AAAA"),
        format!("c=biws,r={nonce},p={proof}AAAA"),
        format!("c=biws,r={nonce},p=!"),
        format!("c=biws,r={nonce},p={proof},x=y"),
        format!("c=biws,r={nonce},p={proof},"),
        format!("c=biws,p={proof}"),
        format!("c=biws,r={nonce},,p={proof}"),
    ] {
        let server = ServerScram::start(keys("x").verifier(), SERVER_NONCE);
        let (server, _) = first(server, "n,,n=,r=abc").unwrap();
        let error = server.handle(message.as_bytes()).unwrap_err();
        assert!(matches!(error, ScramError::Malformed(_)), "{message:?}: {error:?}");
    }
}

#[test]
fn a_nonce_of_another_exchange_is_refused() {
    let proof = format!("{}=", "A".repeat(43));
    for nonce in ["abc", "abcAgICAgICAgICAgICAgICAgICX", "AgICAgICAgICAgICAgICAgIC"] {
        let server = ServerScram::start(keys("x").verifier(), SERVER_NONCE);
        let (server, server_first) = first(server, "n,,n=,r=abc").unwrap();
        assert!(server_first.starts_with("r=abcAgICAgICAgICAgICAgICAgIC,s="), "{server_first}");
        let error = server.handle(format!("c=biws,r={nonce},p={proof}").as_bytes()).unwrap_err();
        assert_eq!(error, ScramError::Nonce);
    }
}

#[test]
fn a_stranger_sees_what_a_user_with_a_plain_password_sees() {
    let mock = MockSecret::new([5; 32]);
    let known = ScramKeys::derive(&password("x"), &mock.salt("amy"), 4096).verifier();
    let known = first(ServerScram::start(known, SERVER_NONCE), "n,,n=,r=abc").unwrap().1;
    let doomed = |user| ServerScram::start_doomed(&mock, user, Refusal::UnknownUser, SERVER_NONCE);
    let (_, as_stranger) = first(doomed("amy"), "n,,n=,r=abc").unwrap();
    assert_eq!(as_stranger, known);
    let (server, other) = first(doomed("bob"), "n,,n=,r=abc").unwrap();
    assert_ne!(other, known);
    let nonce = other.split_once(',').unwrap().0.to_owned();
    let error = last(server, &format!("c=biws,{nonce},p={}=", "A".repeat(43))).unwrap_err();
    assert_eq!(error, ScramError::Refused(Refusal::UnknownUser));
    let wrong = ScramError::Refused(Refusal::WrongPassword);
    assert_eq!(error.report("bob"), wrong.report("bob"));
    assert_eq!(error.report("bob"), login_failed("bob"));
}

#[test]
fn the_salt_of_a_user_depends_on_the_programs_secret() {
    let salt = MockSecret::new([5; 32]).salt("amy");
    assert_eq!(salt, MockSecret::new([5; 32]).salt("amy"));
    assert_ne!(salt, MockSecret::new([6; 32]).salt("amy"));
}

#[test]
fn malformed_challenges_of_a_server_are_refused() {
    // The client's nonce is the base64 of eighteen ones.
    let nonce = "AQEBAQEBAQEBAQEBAQEBAQEBserver";
    let long = format!("r={nonce}{},s=AAAA,i=4096", "x".repeat(1024));
    for message in [
        String::new(),
        format!("s=AAAA,r={nonce},i=4096"),
        format!("r={nonce},s=,i=4096"),
        format!("r={nonce},s=!,i=4096"),
        format!("r={nonce},s=AAAA"),
        format!("r={nonce},s=AAAA,i="),
        format!("r={nonce},s=AAAA,i=0"),
        format!("r={nonce},s=AAAA,i=-1"),
        format!("r={nonce},s=AAAA,i=+1"),
        format!("r={nonce},s=AAAA,i=04096"),
        format!("r={nonce},s=AAAA,i=99999999999"),
        format!("r={nonce},s=AAAA,i=4096,x=y"),
        long,
    ] {
        let (state, _) = scram_client::start(CLIENT_NONCE);
        let error = state.handle(message.as_bytes()).unwrap_err();
        assert!(matches!(error, ScramError::Malformed(_)), "{message:?}: {error:?}");
    }
    let (state, _) = scram_client::start(CLIENT_NONCE);
    assert!(state.handle(format!("r={nonce},s=AAAA,i=4096").as_bytes()).is_ok());
}

#[test]
fn a_server_must_continue_our_nonce() {
    for nonce in ["AQEBAQEBAQEBAQEBAQEBAQEB", "", "other", "AQEBAQEBAQEBAQEBAQEBAQEBa b"] {
        let (state, _) = scram_client::start(CLIENT_NONCE);
        let error = state.handle(format!("r={nonce},s=AAAA,i=4096").as_bytes()).unwrap_err();
        assert_eq!(error, ScramError::Nonce, "{nonce}");
    }
}

#[test]
fn a_server_cannot_make_us_compute_for_minutes() {
    let (state, _) = scram_client::start(CLIENT_NONCE);
    let iterations = SCRAM_ITERATIONS_MAX + 1;
    let challenge = format!("r=AQEBAQEBAQEBAQEBAQEBAQEBx,s=AAAA,i={iterations}");
    let error = state.handle(challenge.as_bytes()).unwrap_err();
    assert_eq!(error, ScramError::Iterations { iterations });
}

#[test]
fn a_server_that_does_not_know_the_password_is_found_out() {
    let answers = [
        (format!("v={}=", "A".repeat(43)), ScramError::ServerSignature),
        ("e=invalid-proof".to_owned(), ScramError::ServerRefused),
        ("v=AAAA".to_owned(), ScramError::Malformed("The server's signature is not a key.")),
        (String::new(), ScramError::Malformed("An attribute does not have the form \"a=value\".")),
        ("r=x".to_owned(), ScramError::Malformed("Expected the server's signature.")),
    ];
    for (server_final, expected) in answers {
        let (state, _) = scram_client::start(CLIENT_NONCE);
        let need = state.handle(b"r=AQEBAQEBAQEBAQEBAQEBAQEBx,s=AwMDAwMDAwMDAwMDAwMDAw==,i=64");
        let (state, _) = need.unwrap().answer(&keys("x")).unwrap();
        assert_eq!(state.handle(server_final.as_bytes()), Err(expected));
    }
}

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
    let sasl = write(&|out| put_sasl(out));
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
    put_sasl_initial(&mut out, "n,,n=,r=x");
    assert_eq!(parse_sasl_initial(proof(&out)), Ok(&b"n,,n=,r=x"[..]));
    let mut out = Vec::new();
    put_sasl_response(&mut out, "c=biws");
    assert_eq!(proof(&out), b"c=biws");
}

#[test]
fn an_initial_response_whose_length_lies_is_refused() {
    let mechanism = b"SCRAM-SHA-256\0";
    for len in [-1_i32, 0, 3, 5, i32::MAX, i32::MIN] {
        let bytes = [mechanism.as_slice(), &len.to_be_bytes(), b"data"].concat();
        assert_eq!(parse_sasl_initial(&bytes), Err(AuthMessageError::SaslInitial), "{len}");
    }
    for bytes in [&b""[..], b"SCRAM-SHA-256", b"SCRAM-SHA-256\0", b"SCRAM-SHA-256\0\0\0"] {
        assert_eq!(parse_sasl_initial(bytes), Err(AuthMessageError::SaslInitial));
    }
}

#[test]
fn a_mechanism_that_was_not_offered_is_refused() {
    for mechanism in ["SCRAM-SHA-256-PLUS", "scram-sha-256", "PLAIN", ""] {
        let bytes = [mechanism.as_bytes(), b"\0\0\0\0\x04data"].concat();
        assert_eq!(parse_sasl_initial(&bytes), Err(AuthMessageError::Mechanism));
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

proptest! {
    #[test]
    fn any_bytes_can_be_handed_to_every_reader(bytes in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[a-z]?,?[nrscpvemi=,A-Za-z0-9+/]{0,80}".prop_map(String::into_bytes),
    ]) {
        let server = ServerScram::start(keys("x").verifier(), SERVER_NONCE);
        prop_assert!(!matches!(server.handle(&bytes), Ok(ScramStep::Proven(_))));
        let server = ServerScram::start(keys("x").verifier(), SERVER_NONCE);
        let (server, _) = first(server, "n,,n=,r=abc").unwrap();
        prop_assert!(server.handle(&bytes).is_err());
        let _ = scram_client::start(CLIENT_NONCE).0.handle(&bytes);
        let _ = (AuthRequest::parse(&bytes), parse_password(&bytes), parse_sasl_initial(&bytes));
        let _ = parse_answer(&bytes);
        let _ = Secret::parse(&bytes);
        let _ = Secret::parse(&[b"SCRAM-SHA-256$", bytes.as_slice()].concat());
    }

    #[test]
    fn any_password_logs_in(password in "[^\u{0}]{1,12}") {
        prop_assert_eq!(exchange(keys(&password).verifier(), &password), Ok(()));
    }

    #[test]
    fn another_password_does_not_log_in(one in "[!-~]{1,12}", other in "[!-~]{1,12}") {
        prop_assume!(one != other);
        let refused = Err(ScramError::Refused(Refusal::WrongPassword));
        prop_assert_eq!(exchange(keys(&one).verifier(), &other), refused);
    }
}
