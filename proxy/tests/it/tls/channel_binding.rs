//! SCRAM-SHA-256-PLUS on both sides, and those who stand in the middle.

use stent_proxy::Config;
use stent_proxy::config::{AuthMethod, TlsMode};
use stent_testkit::Postgres;
use stent_wire::auth::scram::BindingPolicy;

use super::authority::{Authority, psql, refusal, server_tls, text};
use super::middle::{Begins, Behind, Middle, ask_for_password, strip_plus};
use crate::raw::{Raw, field, message, startup};
use crate::support::{Proxy, user};

/// Clients over TLS, with SCRAM.
fn scram(config: &mut Config, authority: &Authority) {
    config.client_tls = authority.for_clients(TlsMode::Prefer);
    config.auth.method = AuthMethod::ScramSha256;
    config.auth.users = vec![user("postgres", "s3cret")];
}

fn binding(config: &mut Config, policy: BindingPolicy) {
    config.server_tls = server_tls(TlsMode::Require, None);
    config.server_tls.channel_binding = policy;
}

fn scram_postgres(authority: &Authority) -> Postgres {
    authority.postgres_of(Postgres::builder().auth("scram-sha-256").password("s3cret"))
}

fn between(own: &Authority, edit: fn(Vec<u8>) -> Vec<u8>) -> Middle {
    Middle { tls: own.server(&[]), begins: Begins::Asked, behind: Behind::Tls, edit }
}

const REQUIRE: &str = "sslmode=require password=s3cret channel_binding=require";
const PREFER: &str = "sslmode=require password=s3cret channel_binding=prefer";

#[test]
fn psql_that_requires_channel_binding_gets_it_and_so_does_postgresql() {
    let authority = Authority::new();
    let pg = scram_postgres(&authority);
    let proxy = Proxy::start(&pg, |config| {
        scram(config, &authority);
        binding(config, BindingPolicy::Require);
    });
    assert_eq!(text(&psql(proxy.port, REQUIRE, "select 1")), "1");
    assert_eq!(text(&psql(proxy.port, PREFER, "select 2")), "2");
    let never = "sslmode=require password=s3cret channel_binding=disable";
    assert_eq!(text(&psql(proxy.port, never, "select 3")), "3");
    let wrong = "sslmode=require password=wrong channel_binding=require";
    assert!(refusal(&psql(proxy.port, wrong, "")).contains("password authentication failed"));
}

/// RFC 5929: the hash is the one of the certificate's signature, as OpenSSL sees it in psql and in
/// PostgreSQL.
#[test]
fn the_hash_is_the_one_that_libpq_and_postgresql_use() {
    for kind in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_RSA_SHA512] {
        let authority = Authority::signing_with(kind);
        let pg = scram_postgres(&authority);
        let proxy = Proxy::start(&pg, |config| {
            scram(config, &authority);
            binding(config, BindingPolicy::Require);
        });
        assert_eq!(text(&psql(proxy.port, REQUIRE, "select 1")), "1", "{kind:?}");
    }
}

/// Ed25519 has no hash of its own, so RFC 5929 names none: what cannot be bound is not offered.
#[test]
fn a_certificate_without_a_hash_serves_those_who_do_not_insist() {
    let authority = Authority::signing_with(&rcgen::PKCS_ED25519);
    let pg = scram_postgres(&authority);
    let proxy = Proxy::start(&pg, |config| {
        scram(config, &authority);
        binding(config, BindingPolicy::Prefer);
    });
    assert_eq!(text(&psql(proxy.port, PREFER, "select 1")), "1");
    let said = refusal(&psql(proxy.port, REQUIRE, "select 1"));
    assert!(said.contains("channel binding is required"), "{said}");
    let proxy = Proxy::start(&pg, |config| binding(config, BindingPolicy::Require));
    let said = refusal(&psql(proxy.port, "sslmode=disable", "select 1"));
    assert!(said.contains("the signature of the server's certificate has no hash"), "{said}");
}

/// Checklist 22: a stranger is bound as a user is, and refused for the password.
#[test]
fn a_stranger_gets_the_whole_exchange() {
    let (authority, pg) = (Authority::new(), Postgres::start().unwrap());
    let proxy = Proxy::start(&pg, |config| scram(config, &authority));
    let stranger = format!("{REQUIRE} user=stranger");
    let said = refusal(&psql(proxy.port, &stranger, "select 1"));
    assert!(said.contains("password authentication failed for user \"stranger\""), "{said}");
}

#[test]
fn a_client_whose_tls_ends_in_the_middle_is_refused() {
    let (authority, theirs) = (Authority::new(), Authority::new());
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| scram(config, &authority));
    let middle = between(&theirs, |bytes| bytes).before(proxy.port);
    let said = refusal(&psql(middle.port, REQUIRE, "select 1"));
    assert!(said.contains("SCRAM channel binding check failed"), "{said}");
    let said = refusal(&psql(middle.port, PREFER, "select 1"));
    assert!(said.contains("SCRAM channel binding check failed"), "{said}");
}

#[test]
fn a_client_from_whom_the_offer_was_kept_is_refused() {
    let (authority, theirs) = (Authority::new(), Authority::new());
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| scram(config, &authority));
    let middle = between(&theirs, strip_plus).before(proxy.port);
    let said = refusal(&psql(middle.port, PREFER, "select 1"));
    assert!(said.contains("SCRAM channel binding negotiation error"), "{said}");
}

#[test]
fn a_server_whose_tls_ends_in_the_middle_refuses_us() {
    let (authority, theirs) = (Authority::new(), Authority::new());
    let pg = scram_postgres(&authority);
    let middle = between(&theirs, |bytes| bytes).before(pg.port());
    let stripping = between(&theirs, strip_plus).before(pg.port());
    for (port, policy, expected) in [
        (middle.port, BindingPolicy::Prefer, "SCRAM channel binding check failed"),
        (middle.port, BindingPolicy::Require, "SCRAM channel binding check failed"),
        (stripping.port, BindingPolicy::Prefer, "SCRAM channel binding negotiation error"),
        (stripping.port, BindingPolicy::Require, "channel_binding=require"),
    ] {
        let proxy = Proxy::start(&pg, |config| {
            binding(config, policy);
            config.upstream.port = port;
        });
        let said = refusal(&psql(proxy.port, "sslmode=disable", "select 1"));
        assert!(said.contains(expected), "{policy:?} {said}");
    }
    let off = Proxy::start(&pg, |config| {
        binding(config, BindingPolicy::Disable);
        config.upstream.port = middle.port;
    });
    assert_eq!(text(&psql(off.port, "sslmode=disable", "select 1")), "1");
}

/// In the middle of the exchange.
#[test]
fn where_channel_binding_is_required_nobody_is_told_the_password() {
    let (authority, theirs) = (Authority::new(), Authority::new());
    let pg = scram_postgres(&authority);
    let middle = between(&theirs, ask_for_password).before(pg.port());
    let proxy = Proxy::start(&pg, |config| {
        binding(config, BindingPolicy::Require);
        config.upstream.port = middle.port;
    });
    let said = refusal(&psql(proxy.port, "sslmode=disable", "select 1"));
    assert!(said.contains("the server asks for a login without it"), "{said}");
}

#[test]
fn where_channel_binding_is_required_no_other_login_will_do() {
    let authority = Authority::new();
    for method in ["trust", "password", "md5"] {
        let pg = authority.postgres_of(Postgres::builder().auth(method).password("s3cret"));
        let proxy = Proxy::start(&pg, |config| binding(config, BindingPolicy::Require));
        let said = refusal(&psql(proxy.port, "sslmode=disable", "select 1"));
        assert!(said.contains("channel_binding=require"), "{method}: {said}");
    }
}

/// Checklist 24: on a connection that cannot be bound.
#[test]
fn plus_without_tls_is_refused_cleanly_and_y_and_n_are_accepted() {
    let (authority, pg) = (Authority::new(), Postgres::start().unwrap());
    let proxy = Proxy::start(&pg, |config| scram(config, &authority));
    let answer = |mechanism: &str, first: &str| {
        let mut raw = Raw::connect(&proxy);
        raw.send(&startup(&[("user", "postgres"), ("database", "postgres")]));
        let (tag, body) = raw.next().unwrap();
        assert_eq!((tag, &body[..]), (b'R', &b"\0\0\0\x0aSCRAM-SHA-256\0\0"[..]));
        let len = u32::try_from(first.len()).unwrap().to_be_bytes();
        let body = [mechanism.as_bytes(), b"\0", &len, first.as_bytes()].concat();
        raw.send(&message(b'p', &body));
        let (tag, body) = raw.next().unwrap();
        (tag, field(&body, b'C'), field(&body, b'M'))
    };
    let refused = |text: &str| (b'E', "08P01".to_owned(), text.to_owned());
    let bound = "p=tls-server-end-point,,n=,r=abc";
    let invalid = refused("client selected an invalid SASL authentication mechanism");
    assert_eq!(answer("SCRAM-SHA-256-PLUS", bound), invalid);
    assert_eq!(answer("SCRAM-SHA-256", bound), refused("malformed SCRAM message"));
    for flag in ["y", "n"] {
        assert_eq!(answer("SCRAM-SHA-256", &format!("{flag},,n=,r=abc")).0, b'R', "{flag}");
    }
}

/// Checklist 25: what a client's messages must be, on a connection that can be bound.
#[test]
fn messages_out_of_order_or_of_another_exchange_are_refused() {
    let (authority, pg) = (Authority::new(), Postgres::start().unwrap());
    let proxy = Proxy::start(&pg, |config| scram(config, &authority));
    for (first, last, expected) in [
        ("n,,r=abc,n=", None, "malformed SCRAM message"),
        ("n,,n=,r=", None, "malformed SCRAM message"),
        ("n,,n=,r=abc", Some("c=biws,r=abc,p=AAAA"), "invalid SCRAM response"),
        ("n,,n=,r=abc", Some("r=abc,c=biws,p=AAAA"), "malformed SCRAM message"),
    ] {
        let mut raw = Raw::connect(&proxy);
        raw.send(&startup(&[("user", "postgres"), ("database", "postgres")]));
        raw.next().unwrap();
        let len = u32::try_from(first.len()).unwrap().to_be_bytes();
        let body = [&b"SCRAM-SHA-256\0"[..], &len, first.as_bytes()].concat();
        raw.send(&message(b'p', &body));
        if let Some(last) = last {
            assert_eq!(raw.next().unwrap().0, b'R', "{first}");
            raw.send(&message(b'p', last.as_bytes()));
        }
        let (tag, body) = raw.next().unwrap();
        let said = (tag, field(&body, b'C'), field(&body, b'M'));
        assert_eq!(said, (b'E', "08P01".to_owned(), expected.to_owned()), "{first} {last:?}");
    }
}
