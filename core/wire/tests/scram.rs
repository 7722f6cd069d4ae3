//! SCRAM-SHA-256 in both roles.
//!
//! Owns: published vectors, the fixed order of attributes, and what a client or server can learn.
//! Invariant: the same user and answer give the same refusal whether the user exists or not.
#![expect(clippy::unwrap_used, reason = "a helper of tests may panic as tests may")]

use proptest::prelude::*;
use stent_wire::auth::login_failed;
use stent_wire::auth::scram::{
    ClientBinding, MockSecret, SCRAM_ITERATIONS_MAX, ScramError, ScramKeys, ScramVerifier,
};
use stent_wire::auth::scram_client;
use stent_wire::auth::scram_server::{Proven, ScramStep, ServerScram};
use stent_wire::auth::secret::{Password, Refusal, Secret};

const CLIENT_NONCE: [u8; 18] = [1; 18];
const SERVER_NONCE: [u8; 18] = [2; 18];

fn password(text: &str) -> Password {
    Password::new(text.as_bytes()).unwrap()
}

fn keys(text: &str) -> ScramKeys {
    ScramKeys::derive(&password(text), &[3; 16], 64)
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
    let (state, client_first) = scram_client::start(CLIENT_NONCE, &ClientBinding::Unable);
    let (server, server_first) = first(ServerScram::start(verifier, SERVER_NONCE), &client_first)?;
    let need = state.handle(server_first.as_bytes())?;
    let keys = ScramKeys::derive(&password(client), need.salt(), need.iterations());
    let (state, client_final) = need.answer(&keys)?;
    state.handle(last(server, &client_final)?.server_final.as_bytes())
}

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
    let (state, client_first) = scram_client::start(CLIENT_NONCE, &ClientBinding::Unable);
    let (server, server_first) =
        first(ServerScram::start(verifier.clone(), SERVER_NONCE), &client_first).unwrap();
    let (_, client_final) =
        state.handle(server_first.as_bytes()).unwrap().answer(&keys("secret")).unwrap();
    let proven = last(server, &client_final).unwrap().keys;

    let (state, client_first) = scram_client::start([9; 18], &ClientBinding::Unable);
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
    let (state, client_first) = scram_client::start(CLIENT_NONCE, &ClientBinding::Unable);
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

/// Checklist 25.
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
        let is_malformed = matches!(error, ScramError::Malformed(_) | ScramError::Header { .. });
        assert!(is_malformed, "{message:?}: {error:?}");
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

/// Checklist 25: attributes, their order and lengths.
#[test]
fn malformed_final_messages_of_a_client_are_refused() {
    let proof = format!("{}=", "A".repeat(43));
    let nonce = "abcAgICAgICAgICAgICAgICAgIC";
    for message in [
        String::new(),
        format!("c=biws,r={nonce}"),
        format!("r={nonce},c=biws,p={proof}"),
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

/// Checklist 25.
#[test]
fn a_last_message_that_does_not_repeat_the_header_is_refused() {
    let proof = format!("{}=", "A".repeat(43));
    for binding in ["eSws", "cD0=", "", "biws "] {
        let server = ServerScram::start(keys("x").verifier(), SERVER_NONCE);
        let (server, _) = first(server, "n,,n=,r=abc").unwrap();
        let message = format!("c={binding},r=abcAgICAgICAgICAgICAgICAgIC,p={proof}");
        let error = server.handle(message.as_bytes()).unwrap_err();
        assert_eq!(error, ScramError::BindingAttribute, "{binding:?}");
        assert_eq!(error.report("u").code.as_str(), "08P01");
    }
}

/// Checklist 25: the nonce.
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

/// Checklist 22.
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

/// Checklist 25.
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
        let (state, _) = scram_client::start(CLIENT_NONCE, &ClientBinding::Unable);
        let error = state.handle(message.as_bytes()).unwrap_err();
        assert!(matches!(error, ScramError::Malformed(_)), "{message:?}: {error:?}");
    }
    let (state, _) = scram_client::start(CLIENT_NONCE, &ClientBinding::Unable);
    assert!(state.handle(format!("r={nonce},s=AAAA,i=4096").as_bytes()).is_ok());
}

/// Checklist 25.
#[test]
fn a_server_must_continue_our_nonce() {
    for nonce in ["AQEBAQEBAQEBAQEBAQEBAQEB", "", "other", "AQEBAQEBAQEBAQEBAQEBAQEBa b"] {
        let (state, _) = scram_client::start(CLIENT_NONCE, &ClientBinding::Unable);
        let error = state.handle(format!("r={nonce},s=AAAA,i=4096").as_bytes()).unwrap_err();
        assert_eq!(error, ScramError::Nonce, "{nonce}");
    }
}

#[test]
fn a_server_cannot_make_us_compute_for_minutes() {
    let (state, _) = scram_client::start(CLIENT_NONCE, &ClientBinding::Unable);
    let iterations = SCRAM_ITERATIONS_MAX + 1;
    let challenge = format!("r=AQEBAQEBAQEBAQEBAQEBAQEBx,s=AAAA,i={iterations}");
    let error = state.handle(challenge.as_bytes()).unwrap_err();
    assert_eq!(error, ScramError::Iterations { iterations });
}

/// Checklist 25: the server's signature.
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
        let (state, _) = scram_client::start(CLIENT_NONCE, &ClientBinding::Unable);
        let need = state.handle(b"r=AQEBAQEBAQEBAQEBAQEBAQEBx,s=AwMDAwMDAwMDAwMDAwMDAw==,i=64");
        let (state, _) = need.unwrap().answer(&keys("x")).unwrap();
        assert_eq!(state.handle(server_final.as_bytes()), Err(expected));
    }
}

#[test]
fn a_secret_that_postgresql_stored_is_that_of_its_password() {
    let stored = "SCRAM-SHA-256$4096:biJ3McaW2W5NQGhArCGxoA==$\
                  91gOM+JmrNcyVmeVxK7BMC8qaU/ZhGWmxojRtLg4vIA=:\
                  Eo6D6/nkZ/eFzLlET4Tx/W/Bqiz8eGqbvwYeIiZkJJE=";
    let Ok(Secret::Scram(verifier)) = Secret::parse(stored.as_bytes()) else { panic!("not SCRAM") };
    assert_eq!(exchange(verifier.clone(), "p w"), Ok(()));
    let refused = Err(ScramError::Refused(Refusal::WrongPassword));
    assert_eq!(exchange(verifier, "pw"), refused);
}

proptest! {
    #[test]
    fn any_bytes_can_be_handed_to_both_roles(bytes in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[a-z]?,?[nrscpvemi=,A-Za-z0-9+/]{0,80}".prop_map(String::into_bytes),
    ]) {
        let server = ServerScram::start(keys("x").verifier(), SERVER_NONCE);
        prop_assert!(!matches!(server.handle(&bytes), Ok(ScramStep::Proven(_))));
        let server = ServerScram::start(keys("x").verifier(), SERVER_NONCE);
        let (server, _) = first(server, "n,,n=,r=abc").unwrap();
        prop_assert!(server.handle(&bytes).is_err());
        let _ = scram_client::start(CLIENT_NONCE, &ClientBinding::Unable).0.handle(&bytes);
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
