//! TLS on both sides. Certificates are made by the tests.

pub(crate) mod authority;
mod cancel;
mod cert_auth;
mod channel_binding;
mod middle;
mod rogue;
mod start;
mod vanish;

use std::io::{Read, Write};
use std::process::Command;

use stent_proxy::config::TlsMode;
use stent_testkit::Postgres;

use super::raw::{Raw, field, startup};
use super::support::{PATIENCE, Proxy, signal};
use authority::{Authority, chmod, program, psql, refusal, server_tls, text};
use cancel::sleeps;

const IN_USE: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

#[test]
fn the_servers_modes_are_libpqs() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let with_tls = ours.postgres();
    let without = Postgres::start().unwrap();
    let bundle = ours.file("bundle.pem");
    let pem = |authority: &Authority| std::fs::read_to_string(authority.file("ca.pem")).unwrap();
    std::fs::write(&bundle, pem(&theirs) + &pem(&ours)).unwrap();
    let (right, wrong) = (Some(bundle.as_path()), theirs.file("ca.pem"));
    for (mode, roots, of_tls, of_plain) in [
        (TlsMode::Disable, None, "f", Some("f")),
        (TlsMode::Allow, None, "f", Some("f")),
        (TlsMode::Prefer, None, "t", Some("f")),
        (TlsMode::Require, None, "t", None),
        (TlsMode::VerifyCa, right, "t", None),
        (TlsMode::VerifyFull, right, "t", None),
        (TlsMode::VerifyFull, Some(wrong.as_path()), "", None),
    ] {
        let proxy = Proxy::start(&with_tls, |config| config.server_tls = server_tls(mode, roots));
        let output = psql(proxy.port, "sslmode=disable", IN_USE);
        if of_tls.is_empty() {
            assert!(refusal(&output).contains("TLS handshake failed"), "{mode:?} {output:?}");
        } else {
            assert_eq!(text(&output), of_tls, "{mode:?}");
        }
        let proxy = Proxy::start(&without, |config| config.server_tls = server_tls(mode, roots));
        let output = psql(proxy.port, "sslmode=disable", IN_USE);
        match of_plain {
            Some(expected) => assert_eq!(text(&output), expected, "{mode:?}"),
            None => assert!(refusal(&output).contains("does not support TLS"), "{output:?}"),
        }
    }
}

#[test]
fn a_certificate_of_another_name_passes_verify_ca_and_not_verify_full() {
    let authority = Authority::new();
    authority.sign("server", &["other.example"]);
    let pg = authority.postgres();
    let ca = authority.file("ca.pem");
    for (mode, passes) in [(TlsMode::VerifyCa, true), (TlsMode::VerifyFull, false)] {
        let proxy = Proxy::start(&pg, |config| config.server_tls = server_tls(mode, Some(&ca)));
        let output = psql(proxy.port, "sslmode=disable", IN_USE);
        assert_eq!(output.status.success(), passes, "{mode:?} {output:?}");
    }
}

#[test]
fn a_check_without_roots_stops_the_start() {
    let pg = Postgres::start().unwrap();
    let mut config = super::support::config(&pg);
    config.server_tls = server_tls(TlsMode::VerifyFull, None);
    let error = Proxy::with(config).err().map(|error| error.to_string()).unwrap();
    assert!(error.contains("server_tls_ca_file"), "{error}");
}

/// Checklist 7: psql's own cancel request, which goes in clear before PostgreSQL 17.
#[test]
fn a_statement_is_cancelled_where_tls_is_required_on_both_sides() {
    let authority = Authority::new();
    let pg = authority.postgres();
    let proxy = Proxy::start(&pg, |config| {
        config.server_tls = server_tls(TlsMode::Require, None);
        config.client_tls = authority.for_clients(TlsMode::Require);
    });
    // psql cancels on SIGINT; statement_timeout is not involved.
    let port = proxy.port.to_string();
    let mut sleeper = Command::new(program())
        .args([
            "-Xc",
            "select pg_sleep(60)",
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
            "postgres",
        ])
        .env("PGSSLMODE", "require")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    stent_testkit::wait_for("the sleep", PATIENCE, || sleeps(&pg).then_some(())).unwrap();
    signal(sleeper.id(), stent_testkit::Signal::INT);
    let mut said = String::new();
    sleeper.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    sleeper.wait().unwrap();
    assert!(said.contains("canceling statement due to user request"), "{said}");
}

/// Checklist 1, 4.
#[test]
fn the_clients_modes_are_pgbouncers() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    ours.sign("client", &["postgres"]);
    theirs.sign("client", &["postgres"]);
    for key in [ours.file("client.key"), theirs.file("client.key")] {
        chmod(&key.display().to_string());
    }
    let pg = Postgres::start().unwrap();
    let certificate = |of: &Authority| {
        let (cert, key) = (of.file("client.pem"), of.file("client.key"));
        format!("sslmode=require sslcert={} sslkey={}", cert.display(), key.display())
    };
    let root = ours.file("ca.pem").display().to_string();
    let full = format!("sslmode=verify-full sslrootcert={root}");
    for (mode, plain, tls, own, foreign) in [
        (TlsMode::Disable, true, false, false, false),
        (TlsMode::Prefer, true, true, true, true),
        (TlsMode::Require, false, true, true, true),
        (TlsMode::VerifyCa, false, false, true, false),
    ] {
        let proxy = Proxy::start(&pg, |config| config.client_tls = ours.for_clients(mode));
        for (options, passes) in [
            ("sslmode=disable", plain),
            ("sslmode=require sslcert=/nonexistent", tls),
            (full.as_str(), tls),
            (certificate(&ours).as_str(), own),
            (certificate(&theirs).as_str(), foreign),
        ] {
            let output = psql(proxy.port, options, "select 1");
            assert_eq!(output.status.success(), passes, "{mode:?} {options} {output:?}");
        }
    }
}

/// Checklist 63.
#[test]
fn large_results_pass_over_tls_on_both_sides() {
    let authority = Authority::new();
    let pg = authority.postgres();
    let proxy = Proxy::start(&pg, |config| {
        config.server_tls = server_tls(TlsMode::Require, None);
        config.client_tls = authority.for_clients(TlsMode::Require);
    });
    let sql = "select md5(string_agg(repeat(n::text, 100), '')) from generate_series(1, 50000) n";
    let rows = "select repeat(n::text, 100) from generate_series(1, 50000) n";
    let direct = text(&psql(pg.port(), "sslmode=disable", rows));
    assert!(direct.len() > 20_000_000);
    assert!(text(&psql(proxy.port, "sslmode=require", rows)) == direct, "it arrives as it was");
    let up = format!("select md5('{}')", "x".repeat(3_000_000));
    let mut client = Command::new(program())
        .args([
            "-XAt",
            "-h",
            "127.0.0.1",
            "-p",
            &proxy.port.to_string(),
            "-U",
            "postgres",
            "postgres",
        ])
        .env("PGSSLMODE", "require")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(up.as_bytes()).unwrap();
    let output = client.wait_with_output().unwrap();
    assert_eq!(text(&output).len(), 32);
    assert_eq!(text(&psql(proxy.port, "sslmode=require", sql)).len(), 32);
}

#[test]
fn a_plain_client_is_told_that_tls_is_required() {
    let authority = Authority::new();
    let pg = Postgres::start().unwrap();
    let proxy =
        Proxy::start(&pg, |config| config.client_tls = authority.for_clients(TlsMode::Require));
    let mut raw = Raw::connect(&proxy);
    raw.send(&startup(&[("user", "postgres"), ("database", "postgres")]));
    let said = raw.until_ready();
    assert_eq!(field(&said[0].1, b'C'), "28000");
    assert!(field(&said[0].1, b'H').contains("sslmode=require"));
}

#[test]
fn changed_files_are_used_without_dropping_anyone() {
    let authority = Authority::new();
    let pg = Postgres::start().unwrap();
    let proxy =
        Proxy::start(&pg, |config| config.client_tls = authority.for_clients(TlsMode::Require));
    let renewed = Authority::new();
    let trusts = |of: &Authority| {
        let options = format!("sslmode=verify-ca sslrootcert={}", of.file("ca.pem").display());
        psql(proxy.port, &options, "select 1").status.success()
    };
    assert!(trusts(&authority) && !trusts(&renewed));
    for name in ["server.pem", "server.key"] {
        std::fs::copy(renewed.file(name), authority.file(name)).unwrap();
    }
    stent_testkit::wait_for("the new certificate", PATIENCE, || trusts(&renewed).then_some(()))
        .unwrap();
}

#[test]
fn changed_files_of_the_server_side_are_used_for_the_next_connection() {
    let (authority, other) = (Authority::new(), Authority::new());
    let pg = authority.postgres();
    let roots = authority.file("bundle.pem");
    std::fs::copy(authority.file("ca.pem"), &roots).unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.server_tls = server_tls(TlsMode::VerifyCa, Some(&roots));
        // Each server is used once.
        config.server_lifetime = Some(std::time::Duration::ZERO);
        config.query_wait_timeout = Some(std::time::Duration::from_secs(1));
    });
    let works = || psql(proxy.port, "sslmode=disable", "select 1").status.success();
    assert!(works());
    for (from, expected) in [(&other, false), (&authority, true)] {
        std::fs::copy(from.file("ca.pem"), &roots).unwrap();
        let seen = || (works() == expected).then_some(());
        stent_testkit::wait_for("the new roots", PATIENCE, seen).unwrap();
    }
}
