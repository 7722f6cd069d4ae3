//! TLS on both sides. Certificates are made by the tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use stent_proxy::config::{ClientTls, Roots, ServerTls, TlsMode};
use stent_testkit::{Installation, Postgres, TempDir};

use super::raw::{Raw, field, query, startup};
use super::support::{PATIENCE, Proxy};

/// An authority with a certificate of its own, and one for `localhost` and 127.0.0.1.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = TempDir::new("tls").unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
        let authority = Self { folder, issuer: Issuer::new(params, key) };
        authority.sign("server", &["localhost", "127.0.0.1"]);
        authority
    }

    /// Signs a certificate and writes `NAME.pem` and `NAME.key`.
    fn sign(&self, file: &str, names: &[&str]) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name.push(DnType::CommonName, &*names[0]);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.file(&format!("{file}.pem")), cert.pem()).unwrap();
        std::fs::write(self.file(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn for_clients(&self, mode: TlsMode) -> ClientTls {
        ClientTls {
            mode,
            cert: self.file("server.pem"),
            key: self.file("server.key"),
            ca: Some(self.file("ca.pem")),
        }
    }

    /// A PostgreSQL that speaks TLS with the certificate.
    fn postgres(&self) -> Postgres {
        let pg = Postgres::start().unwrap();
        for (from, to) in [("server.pem", "server.crt"), ("server.key", "server.key")] {
            let text = std::fs::read_to_string(self.file(from)).unwrap();
            let file = format!("{}/{to}", data(&pg));
            // Written by the server itself, so that the file is its own.
            pg.sql(&format!(
                "copy (select unnest(string_to_array($stent${}$stent$, E'\\n'))) to '{file}'",
                text.trim_end()
            ))
            .unwrap();
        }
        chmod(&format!("{}/server.key", data(&pg)));
        pg.sql("alter system set ssl = on").unwrap();
        pg.sql("select pg_reload_conf()").unwrap();
        let on = || (pg.value("show ssl").is_ok_and(|shown| shown == "on")).then_some(());
        stent_testkit::wait_for("TLS in PostgreSQL", PATIENCE, on).unwrap();
        pg
    }
}

fn data(pg: &Postgres) -> String {
    pg.value("show data_directory").unwrap()
}

fn chmod(file: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn psql(port: u16, options: &str, sql: &str) -> Output {
    let dsn = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres {options}");
    Command::new(program()).args(["-XAtc", sql, &dsn]).env("HOME", "/nonexistent").output().unwrap()
}

fn program() -> PathBuf {
    Installation::find().unwrap().tool("psql").expect("psql comes with PostgreSQL")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn server_tls(mode: TlsMode, roots: Option<&Path>) -> ServerTls {
    ServerTls {
        mode,
        roots: roots.map(|path| Roots::File(path.to_owned())),
        ..ServerTls::default()
    }
}

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

/// Checklist 7.
#[test]
fn cancel_requests_go_over_tls_on_both_sides() {
    let authority = Authority::new();
    let pg = authority.postgres();
    let proxy = Proxy::start(&pg, |config| {
        config.server_tls = server_tls(TlsMode::Require, None);
        config.client_tls = authority.for_clients(TlsMode::Require);
    });
    // psql cancels on SIGINT, over TLS from PostgreSQL 17 on; statement_timeout is not involved.
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
    let runs =
        || proxy.snapshot().holders.iter().any(|holder| holder.last_statement.contains("sleep"));
    stent_testkit::wait_for("the sleep", PATIENCE, || runs().then_some(())).unwrap();
    let pid = rustix::process::Pid::from_child(&sleeper);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
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

/// Checklist 2: what is pushed in behind the request, in clear, is never a request.
#[test]
fn nothing_sent_in_clear_survives_the_handshake() {
    let authority = Authority::new();
    let pg = Postgres::start().unwrap();
    let proxy =
        Proxy::start(&pg, |config| config.client_tls = authority.for_clients(TlsMode::Prefer));
    let mut raw = Raw::connect(&proxy);
    let hello = startup(&[("user", "postgres"), ("database", "postgres")]);
    raw.send(&[&[0, 0, 0, 8, 4, 210, 22, 47][..], &hello].concat());
    let answer = raw.rest();
    assert!(!answer.windows(9).any(|bytes| bytes == b"R\0\0\0\x08\0\0\0\0"), "{answer:?}");
    assert_ne!(answer.first(), Some(&b'S'));
}

/// Checklist 5: PostgreSQL 17's direct TLS, by hand.
#[test]
fn a_handshake_where_none_is_served_is_refused_and_harms_nobody() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut socket = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
    socket.write_all(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let mut raw = Raw::login(&proxy);
    raw.send(&query("select 1"));
    assert_eq!(raw.tags(), "TDCZ");
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
    std::fs::write(authority.file("server.pem"), "rubbish").unwrap();
    let served = || proxy.get("/livez").0 == 200 && trusts(&renewed);
    assert!(served(), "files that cannot be used change nothing");
}
