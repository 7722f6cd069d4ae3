//! `auth_type = cert`: the certificate is the proof.

use stent_proxy::config::{AuthMethod, TlsMode};
use stent_testkit::{Postgres, TempDir};
use stent_wire::auth::hba;

use super::authority::{Authority, chmod, psql, refusal, text};
use crate::support::{Proxy, code};

fn shows(authority: &Authority, file: &str, user: &str) -> String {
    let (cert, key) =
        (authority.file(&format!("{file}.pem")), authority.file(&format!("{file}.key")));
    chmod(&key.display().to_string());
    format!("sslmode=require user={user} sslcert={} sslkey={}", cert.display(), key.display())
}

#[test]
fn a_certificate_is_good_for_the_user_that_it_names_and_no_other() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    ours.sign("amy", &["amy"]);
    ours.sign("bob", &["bob"]);
    theirs.sign("amy", &["amy"]);
    let pg = Postgres::start().unwrap();
    pg.sql("create role amy login").unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.auth.method = AuthMethod::Cert;
        config.client_tls = ours.for_clients(TlsMode::VerifyFull);
    });
    let who = |options: &str| psql(proxy.port, options, "select current_user");
    assert_eq!(text(&who(&shows(&ours, "amy", "amy"))), "amy");
    let said = refusal(&who(&shows(&ours, "bob", "amy")));
    let failed = "FATAL:  certificate authentication failed for user \"amy\"";
    assert!(said.contains(failed), "{said}");
    // Of an authority that we do not know, and none at all: the handshake ends it.
    refusal(&who(&shows(&theirs, "amy", "amy")));
    refusal(&who("sslmode=require user=amy sslcert=/nonexistent"));
    let said = refusal(&who("sslmode=disable user=amy"));
    assert!(said.contains("TLS is required"), "{said}");
}

#[test]
fn a_rule_may_ask_for_a_certificate() {
    let authority = Authority::new();
    authority.sign("amy", &["amy"]);
    let pg = Postgres::start().unwrap();
    pg.sql("create role amy login").unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.auth.method = AuthMethod::Hba;
        config.auth.rules = hba::parse("a test's", b"hostssl all all all cert\n").unwrap();
        config.client_tls = authority.for_clients(TlsMode::VerifyCa);
    });
    let who = |user| psql(proxy.port, &shows(&authority, "amy", user), "select current_user");
    assert_eq!(text(&who("amy")), "amy");
    let said = refusal(&who("postgres"));
    assert!(said.contains("certificate authentication failed for user \"postgres\""), "{said}");
}

#[tokio::test]
async fn where_no_certificate_can_be_shown_nobody_logs_in() {
    let authority = Authority::new();
    let pg = Postgres::start().unwrap();
    let folder = TempDir::new("cert-socket").unwrap();
    let path = folder.path().to_owned();
    for mode in [TlsMode::VerifyCa, TlsMode::Require, TlsMode::Disable] {
        let proxy = Proxy::start(&pg, |config| {
            config.auth.method = AuthMethod::Cert;
            config.client_tls = authority.for_clients(mode);
            config.unix_socket_dir = Some(path.clone());
        });
        let dsn =
            format!("host={} port={} user=postgres dbname=postgres", path.display(), proxy.port);
        let error = proxy.connect(&dsn).await.err().unwrap();
        assert_eq!(code(&error), "28000", "{mode:?}");
        let said = error.as_db_error().unwrap().message();
        assert_eq!(said, "connection requires a valid client certificate", "{mode:?}");
    }
}
