//! SCRAM-SHA-256-PLUS in both roles, and the certificates that it binds to.
//!
//! Owns: certificates as OpenSSL makes them (in `certificates/`, without their keys); the sums are
//! what `openssl dgst` says of the files.
//! Invariant: each way to take the binding away between the two sides is refused by one of them.
#![expect(clippy::unwrap_used, reason = "a helper of tests may panic as tests may")]

use proptest::prelude::*;
use stent_wire::auth::certificate::{EndPoint, common_name};
use stent_wire::auth::scram::{
    BindingPolicy, Channel, ClientBinding, MockSecret, ScramError, ScramKeys,
};
use stent_wire::auth::scram_client;
use stent_wire::auth::scram_server::{ScramStep, ServerScram};
use stent_wire::auth::secret::{Password, Refusal};
use stent_wire::auth::{
    AuthMessageError, AuthRequest, Mechanism, parse_sasl_initial, put_sasl, put_sasl_initial,
};
use stent_wire::report::SqlState;

macro_rules! certificate {
    ($name:literal) => {
        include_bytes!(concat!("certificates/", $name, ".der")).as_slice()
    };
}

fn end_point() -> EndPoint {
    EndPoint::of(certificate!("ecdsa-sha256")).unwrap()
}

fn other_end_point() -> EndPoint {
    EndPoint::of(certificate!("ecdsa-sha384")).unwrap()
}

fn keys() -> ScramKeys {
    ScramKeys::derive(&Password::new(b"x").unwrap(), &[3; 16], 64)
}

/// A server that has offered PLUS, after the client's choice.
fn server(chosen: Mechanism) -> ServerScram {
    let server = ServerScram::start(keys().verifier(), [2; 18]);
    server.choose(chosen, Some(end_point())).unwrap()
}

/// A whole exchange.
fn exchange(server: ServerScram, binding: &ClientBinding) -> Result<(), ScramError> {
    let (client, first) = scram_client::start([1; 18], binding);
    let ScramStep::Continue { next, server_first } = server.handle(first.as_bytes())? else {
        panic!("proven by a first message")
    };
    let need = client.handle(server_first.as_bytes())?;
    let (client, last) = need.answer(&keys())?;
    let ScramStep::Proven(proven) = next.handle(last.as_bytes())? else { panic!("a third step") };
    client.handle(proven.server_final.as_bytes())
}

fn begin(server: ServerScram, header: &str) -> Result<ScramStep, ScramError> {
    server.handle(format!("{header}n=,r=abc").as_bytes())
}

#[test]
fn the_hash_is_that_of_the_signature_and_sha_256_at_least() {
    for (certificate, begins) in [
        (certificate!("ecdsa-sha256"), "88d0573f21fa47a7590b14b1"),
        (certificate!("ecdsa-sha384"), "6061228c72f22350b1b33df9"),
        (certificate!("ecdsa-sha1"), "b5211a0f9453ab1889dbd826"),
        (certificate!("rsa-pss-sha512"), "0bf6129166362e19e5ac734a"),
        (certificate!("rsa-sha1"), "2123090d65f6f4606d7953eb"),
        (certificate!("rsa-sha384"), "bcb49e8a5c2d3d8ec453585c"),
    ] {
        let sum = EndPoint::of(certificate).unwrap();
        let digits: String = sum.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(digits.starts_with(begins), "{digits}");
    }
}

#[test]
fn a_certificate_whose_signature_has_no_hash_binds_nothing() {
    assert_eq!(EndPoint::of(certificate!("ed25519")), None);
    assert_eq!(EndPoint::of(b"no certificate"), None);
    let whole = certificate!("ecdsa-sha256");
    assert_eq!(EndPoint::of(&whole[..whole.len() - 1]), None);
    assert_eq!(EndPoint::of(&[whole, b"\0"].concat()), None);
}

#[test]
fn a_certificate_names_one_user_or_none() {
    assert_eq!(common_name(certificate!("ecdsa-sha256")), Some("app"));
    assert_eq!(common_name(certificate!("utf8-name")), Some("b\u{e4}r"));
    assert_eq!(common_name(certificate!("ed25519")), Some("app"));
    assert_eq!(common_name(certificate!("two-names")), None);
    assert_eq!(common_name(certificate!("no-name")), None);
    assert_eq!(common_name(b""), None);
}

#[test]
fn both_roles_agree_on_a_bound_channel() {
    let bound = ClientBinding::Bound(end_point());
    assert_eq!(exchange(server(Mechanism::ScramPlus), &bound), Ok(()));
}

#[test]
fn a_client_that_cannot_bind_is_served_without() {
    assert_eq!(exchange(server(Mechanism::Scram), &ClientBinding::Unable), Ok(()));
}

/// Somebody in the middle shows the client a certificate of his own.
#[test]
fn another_certificate_at_the_clients_end_is_refused() {
    let bound = ClientBinding::Bound(other_end_point());
    let error = exchange(server(Mechanism::ScramPlus), &bound).unwrap_err();
    assert_eq!(error, ScramError::ChannelBinding);
    let report = error.report("u");
    assert_eq!(report.code, SqlState::INVALID_AUTHORIZATION);
    assert_eq!(report.message, "SCRAM channel binding check failed");
}

/// Somebody in the middle strikes PLUS off the list.
#[test]
fn a_client_that_was_not_told_of_the_offer_is_refused() {
    let error = exchange(server(Mechanism::Scram), &ClientBinding::NotOffered).unwrap_err();
    assert_eq!(error, ScramError::Downgrade);
    let report = error.report("u");
    assert_eq!(report.code, SqlState::INVALID_AUTHORIZATION);
    assert_eq!(report.message, "SCRAM channel binding negotiation error");
    let detail = "The client supports SCRAM channel binding but thinks the server does not.  \
                  However, this server does support channel binding.";
    assert_eq!(report.detail.as_deref(), Some(detail));
}

/// Checklist 24: `p` without the offer is refused cleanly, `n` and `y` are served; the texts are
/// PostgreSQL's.
#[test]
fn a_header_that_does_not_go_with_the_mechanism_is_refused() {
    let no_tls = || ServerScram::start(keys().verifier(), [2; 18]);
    let without = "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM \
                   message includes channel binding data.";
    let missing = "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include \
                   channel binding data.";
    let (plus, plain) = (Mechanism::ScramPlus, Mechanism::Scram);
    for (server, header, detail) in [
        (no_tls(), "p=tls-server-end-point,,", without),
        (no_tls(), "p,,", without),
        (no_tls(), "nx,,", "Comma expected, but found character \"'x'\"."),
        (no_tls(), "n\u{e4},,", "Comma expected, but found character \"0xc3\"."),
        (no_tls(), "x,,", "Unexpected channel-binding flag \"'x'\"."),
        (no_tls(), "\u{e4},,", "Unexpected channel-binding flag \"0xc3\"."),
        (no_tls(), ",,", "Unexpected channel-binding flag \"','\"."),
        (server(plain), "p=tls-server-end-point,,", without),
        (server(plus), "n,,", missing),
        (server(plus), "y,,", missing),
        (server(plus), "x,,", "Unexpected channel-binding flag \"'x'\"."),
        (server(plus), "p,,", "Expected character \"=\" for attribute \"p\"."),
    ] {
        let report = begin(server, header).unwrap_err().report("u");
        assert_eq!(report.code, SqlState::PROTOCOL_VIOLATION, "{header}");
        assert_eq!(report.message, "malformed SCRAM message", "{header}");
        assert_eq!(report.detail.as_deref(), Some(detail), "{header}");
    }
    assert!(begin(no_tls(), "y,,").is_ok() && begin(no_tls(), "n,,").is_ok());
}

/// Checklist 24.
#[test]
fn another_type_of_binding_is_refused_and_shown_without_its_odd_bytes() {
    let long = "x".repeat(40);
    for (kind, shown) in [
        ("tls-unique", "tls-unique"),
        ("tls-exporter", "tls-exporter"),
        ("", ""),
        ("a b\u{e4}", "a?b??"),
        (&long, &long[..30]),
    ] {
        let refused = begin(server(Mechanism::ScramPlus), &format!("p={kind},,")).unwrap_err();
        let report = refused.report("u");
        let text = format!("unsupported SCRAM channel-binding type \"{shown}\"");
        assert_eq!((report.code, &*report.message), (SqlState::PROTOCOL_VIOLATION, &*text));
    }
}

#[test]
fn the_last_message_repeats_the_first_ones_header() {
    let ScramStep::Continue { next, server_first } =
        begin(server(Mechanism::ScramPlus), "p=tls-server-end-point,,").unwrap()
    else {
        panic!("proven by a first message")
    };
    let nonce = server_first.split_once(',').unwrap().0;
    let proof = "A".repeat(43);
    let last = format!("c=biws,{nonce},p={proof}=");
    assert_eq!(next.handle(last.as_bytes()).unwrap_err(), ScramError::ChannelBinding);
}

/// Checklist 22.
#[test]
fn a_stranger_is_bound_as_a_user_is() {
    let mock = MockSecret::new([7; 32]);
    let stranger = ServerScram::start_doomed(&mock, "s", Refusal::UnknownUser, [2; 18]);
    let stranger = stranger.choose(Mechanism::ScramPlus, Some(end_point())).unwrap();
    let ScramStep::Continue { next, server_first } =
        begin(stranger, "p=tls-server-end-point,,").unwrap()
    else {
        panic!("proven by a first message")
    };
    let nonce = server_first.split_once(',').unwrap().0;
    let last = format!("c=biws,{nonce},p={}=", "A".repeat(43));
    assert_eq!(next.handle(last.as_bytes()).unwrap_err(), ScramError::ChannelBinding);
}

#[test]
fn plus_cannot_be_chosen_where_it_was_not_offered() {
    let server = ServerScram::start(keys().verifier(), [2; 18]);
    let refused = server.choose(Mechanism::ScramPlus, None).unwrap_err();
    assert_eq!(refused, AuthMessageError::Mechanism);
    let mut out = Vec::new();
    put_sasl_initial(&mut out, Mechanism::ScramPlus, "x");
    assert_eq!(parse_sasl_initial(&out[5..], Mechanism::PLAIN), Err(AuthMessageError::Mechanism));
    let chosen = parse_sasl_initial(&out[5..], Mechanism::ON_TLS);
    assert_eq!(chosen, Ok((Mechanism::ScramPlus, &b"x"[..])));
}

#[test]
fn the_offer_names_the_stronger_mechanism_first() {
    let mut out = Vec::new();
    put_sasl(&mut out, Mechanism::ON_TLS);
    let mechanisms = vec!["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
    assert_eq!(AuthRequest::parse(&out[5..]), Ok(AuthRequest::Sasl { mechanisms }));
}

#[test]
fn as_a_client_we_bind_where_both_sides_can() {
    let (plus, scram) = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256");
    let tls = Channel::Tls(Some(end_point()));
    let bound = Ok((Mechanism::ScramPlus, ClientBinding::Bound(end_point())));
    let not_offered = Ok((Mechanism::Scram, ClientBinding::NotOffered));
    let unable = Ok((Mechanism::Scram, ClientBinding::Unable));
    let required = |why| Err(ScramError::BindingRequired(why));
    let no_hash = "the signature of the server's certificate has no hash";
    for (channel, policy, offered, expected) in [
        (&tls, BindingPolicy::Prefer, [plus, scram], bound.clone()),
        (&tls, BindingPolicy::Require, [scram, plus], bound),
        (&tls, BindingPolicy::Disable, [plus, scram], unable.clone()),
        (&tls, BindingPolicy::Prefer, [scram, "X"], not_offered),
        (&tls, BindingPolicy::Disable, [scram, "X"], unable.clone()),
        (&tls, BindingPolicy::Require, [scram, "X"], required("the server does not offer it")),
        (&tls, BindingPolicy::Prefer, ["OAUTHBEARER", "X"], Err(ScramError::NoMechanism)),
        (&tls, BindingPolicy::Disable, [plus, "X"], Err(ScramError::NoMechanism)),
        (&Channel::Tls(None), BindingPolicy::Prefer, [plus, scram], unable.clone()),
        (&Channel::Tls(None), BindingPolicy::Require, [plus, scram], required(no_hash)),
        (&Channel::Plain, BindingPolicy::Prefer, [scram, "X"], unable),
        (
            &Channel::Plain,
            BindingPolicy::Require,
            [scram, "X"],
            required("the connection has no TLS"),
        ),
        (&Channel::Plain, BindingPolicy::Disable, [plus, scram], Err(ScramError::PlusInClear)),
        (&Channel::Plain, BindingPolicy::Prefer, [plus, scram], Err(ScramError::PlusInClear)),
    ] {
        let chosen = ClientBinding::choose(channel, policy, &offered);
        assert_eq!(chosen, expected, "{channel:?} {policy:?} {offered:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_can_be_read_as_a_certificate(
        at in 0_usize..400,
        value in any::<u8>(),
        cut in 0_usize..409,
    ) {
        let mut bytes = certificate!("ecdsa-sha256").to_vec();
        let at = at.min(bytes.len() - 1);
        bytes[at] = value;
        let _ = (EndPoint::of(&bytes), common_name(&bytes));
        bytes.truncate(cut);
        prop_assert!(cut >= 408 || EndPoint::of(&bytes).is_none() || bytes[3] != 148);
        let _ = common_name(&bytes);
    }
}
