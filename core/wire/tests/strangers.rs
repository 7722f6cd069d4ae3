//! What those see who cannot log in: strangers, wrong passwords in clear, and the waits.
//!
//! Invariant: nothing that is shown before the proof tells who exists.
#![expect(clippy::unwrap_used, reason = "a helper of tests may panic as tests may")]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use stent_wire::auth::backoff::{
    Backoff, FORGIVEN_AFTER, SUBJECTS_MAX, Source, WAIT_MAX, WAIT_MIN,
};
use stent_wire::auth::cleartext::PasswordCheck;
use stent_wire::auth::md5::Md5Hash;
use stent_wire::auth::scram::{MockSecret, ScramKeys};
use stent_wire::auth::scram_server::{ScramStep, ServerScram};
use stent_wire::auth::secret::{AuthType, Demand, Password, Refusal, Secret};
use stent_wire::auth::stranger::{Likeness, Strangers};
use stent_wire::userlist::Users;

fn password(text: &str) -> Password {
    Password::new(text.as_bytes()).unwrap()
}

fn scram(text: &str, iterations: u32) -> Secret {
    Secret::Scram(ScramKeys::derive(&password(text), &[3; 16], iterations).verifier())
}

fn md5(user: &str, text: &str) -> Secret {
    Secret::Md5(Md5Hash::of(user, &password(text)))
}

#[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn strangers_look_like_users_in_the_users_shares() {
    let mut secrets = vec![md5("a", "x"); 30];
    secrets.extend(vec![scram("x", 64); 60]);
    secrets.extend(vec![scram("x", 128); 10]);
    let strangers = Strangers::among(&secrets);
    let mock = MockSecret::new([7; 32]);
    let seen: Vec<Likeness> =
        (0..4_000).map(|at| strangers.likeness(&mock, &format!("user{at}"))).collect();
    for (likeness, expected) in [
        (Likeness::Md5, 1_200),
        (Likeness::Scram { iterations: 64 }, 2_400),
        (Likeness::Scram { iterations: 128 }, 400),
    ] {
        let count = seen.iter().filter(|seen| **seen == likeness).count();
        assert!(count.abs_diff(expected) < 150, "{likeness:?}: {count} of 4000");
    }
}

#[test]
fn a_stranger_looks_the_same_each_time() {
    let strangers = Strangers::among(&[md5("a", "x"), scram("x", 64)]);
    let mock = MockSecret::new([7; 32]);
    for user in ["amy", "bob", ""] {
        let first = strangers.likeness(&mock, user);
        assert_eq!(strangers.likeness(&mock, user), first);
    }
    assert_eq!(Strangers::default().likeness(&mock, "amy"), Likeness::Plain);
    let likeness = Likeness::Scram { iterations: 4096 };
    assert_eq!(Strangers::all_like(likeness).likeness(&mock, "amy"), likeness);
}

#[test]
fn a_stranger_is_asked_for_as_many_iterations_as_a_user() {
    let mock = MockSecret::new([7; 32]);
    let server = |mock: &MockSecret| {
        let server = ServerScram::start_doomed(mock, "eve", Refusal::UnknownUser, [2; 18]);
        let Ok(ScramStep::Continue { server_first, .. }) = server.handle(b"n,,n=,r=abc") else {
            panic!("a first step")
        };
        server_first
    };
    assert!(server(&mock).ends_with(",i=4096"));
    assert!(server(&mock.with_iterations(8192)).ends_with(",i=8192"));
    let salt = |first: String| first.split(',').nth(1).unwrap().to_owned();
    assert_eq!(salt(server(&mock)), salt(server(&mock.with_iterations(8192))));
}

/// Checklist 23: whatever its form, the secret of an empty password lets nobody in.
#[test]
fn the_hash_of_an_empty_password_is_no_secret() {
    // md5("" || "amy"), and another user's, with which amy has a password (if nobody knows it).
    let empty = "md57771fbb20af6ef10827c593daa3aff7b";
    let mut users = Users::default();
    users.insert("amy", empty).unwrap();
    users.insert("bob", empty).unwrap();
    let demand = users.demand(AuthType::Md5, "amy");
    assert!(matches!(demand, Demand::DoomedMd5(Refusal::NoPassword)), "{demand:?}");
    assert!(matches!(users.demand(AuthType::Md5, "bob"), Demand::Md5(_)));
    let key = "SCRAM-SHA-256$4096:AwMDAwMDAwMDAwMDAwMDAw==";
    let of_nothing =
        format!("{key}$TUpNhOAltyqPURQFRLNkcGTL+DsHARjnDyOilrMlsD8=:{}=", "A".repeat(43));
    let Ok(Secret::Scram(verifier)) = Secret::parse(of_nothing.as_bytes()) else { panic!("SCRAM") };
    assert!(verifier.is_of_nothing());
    let Secret::Scram(other) = scram("x", 64) else { panic!("SCRAM") };
    assert!(!other.is_of_nothing());
}

#[test]
fn a_password_in_clear_is_compared_with_every_form_of_secret() {
    for secret in [Secret::Plain(password("right")), md5("amy", "right"), scram("right", 64)] {
        let form = secret.form();
        let check = || PasswordCheck::new(secret.clone());
        let keys = check().verify("amy", b"right").unwrap();
        assert_eq!(keys.is_some(), check().is_slow(), "{form}: keys come from SCRAM secrets");
        for wrong in [&b"wrong"[..], b"righ", b"right ", b"RIGHT", b"", b"r\0", &[b'x'; 9_000]] {
            let refused = check().verify("amy", wrong).unwrap_err();
            assert_eq!(refused, Refusal::WrongPassword, "{form}");
        }
    }
    let refused = PasswordCheck::new(md5("amy", "right")).verify("bob", b"right").unwrap_err();
    assert_eq!(refused, Refusal::WrongPassword, "the user's name is part of the hash");
}

#[test]
fn a_strangers_password_is_always_wrong() {
    let mock = MockSecret::new([7; 32]);
    for likeness in [Likeness::Plain, Likeness::Md5, Likeness::Scram { iterations: 64 }] {
        for given in [&b"x"[..], b"right", &mock.salt("eve")] {
            let check = PasswordCheck::doomed(&mock, "eve", likeness, Refusal::UnknownUser);
            assert_eq!(check.is_slow(), matches!(likeness, Likeness::Scram { .. }));
            assert_eq!(check.verify("eve", given).unwrap_err(), Refusal::UnknownUser);
        }
    }
}

#[test]
fn waits_double_up_to_the_longest_and_are_forgiven_in_time() {
    let (start, mut backoff) = (now(), Backoff::default());
    let from = Source::of(Some("192.0.2.1".parse().unwrap()));
    let waits: Vec<Duration> = (0..9).map(|_| backoff.failed(from, "amy", start)).collect();
    assert_eq!(waits[..4], [WAIT_MIN, WAIT_MIN * 2, WAIT_MIN * 4, WAIT_MIN * 8]);
    assert_eq!(waits[8], WAIT_MAX);
    let later = start + FORGIVEN_AFTER * 20;
    assert_eq!(backoff.failed(from, "amy", later), WAIT_MIN);
}

#[test]
fn failures_count_by_address_and_by_user_each() {
    let (start, mut backoff) = (now(), Backoff::default());
    let source = |text: &str| Source::of(Some(text.parse::<IpAddr>().unwrap()));
    for at in 0..5 {
        backoff.failed(source("192.0.2.1"), &format!("user{at}"), start);
    }
    assert_eq!(backoff.failed(source("192.0.2.2"), "other", start), WAIT_MIN);
    assert!(backoff.failed(source("192.0.2.1"), "fresh", start) > WAIT_MIN * 8);
    for at in 10..15 {
        backoff.failed(source(&format!("192.0.2.{at}")), "victim", start);
    }
    assert!(backoff.failed(source("192.0.2.99"), "victim", start) > WAIT_MIN * 8);
}

#[test]
fn one_network_of_ipv6_is_one_source_and_ipv4_in_its_clothes_is_ipv4() {
    let source = |text: &str| Source::of(Some(text.parse::<IpAddr>().unwrap()));
    assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:2"));
    assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
    assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
    assert!(source("127.0.0.2").is_local() && source("::1").is_local());
    assert!(Source::of(None).is_local() && !source("10.0.0.1").is_local());
}

#[test]
fn the_memory_of_failures_is_bounded_and_forgets_the_oldest() {
    let (start, mut backoff) = (now(), Backoff::default());
    let source = |at: u32| Source::of(Some(IpAddr::V4(at.into())));
    for _ in 0..8 {
        backoff.failed(source(0), "victim", start);
    }
    for at in 1..=SUBJECTS_MAX as u32 {
        let moment = start + Duration::from_micros(u64::from(at));
        backoff.failed(source(at), &format!("user{at}"), moment);
    }
    assert_eq!(backoff.len(), SUBJECTS_MAX);
    assert_eq!(backoff.failed(source(0), "victim", start + Duration::from_secs(1)), WAIT_MIN);
}

proptest! {
    #[test]
    fn a_wait_has_its_bounds_whatever_happens(
        failures in prop::collection::vec((0_u32..4, 0_u32..4, 0_u64..30_000), 1..60),
    ) {
        let (mut moment, mut backoff) = (now(), Backoff::default());
        for (from, user, pause) in failures {
            moment += Duration::from_millis(pause);
            let wait = backoff.failed(
                Source::of(Some(IpAddr::V4(from.into()))), &user.to_string(), moment,
            );
            prop_assert!((WAIT_MIN..=WAIT_MAX).contains(&wait));
        }
        prop_assert!(!backoff.is_empty());
    }
}
