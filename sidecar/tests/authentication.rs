//! The keys of clients' authentication: what works, what is refused, and what is warned of.

mod common;

use common::running::{SOON, Stent, terminated};
use common::{Written, http};
use expect_test::{Expect, expect};
use stent::config::Role;
use stent_proxy::config::{AuthMethod, CleartextPolicy};
use stent_testkit::{Postgres, TempDir, wait_for};
use tokio_postgres::NoTls;

/// A file of rules, and the flags that put it in force.
struct Rules {
    folder: TempDir,
    flag: String,
}

impl Rules {
    fn new(text: &str) -> Self {
        let folder = TempDir::new("rules").expect("a folder");
        let path = folder.path().join("hba.conf");
        std::fs::write(&path, text).expect("written");
        let flag = format!("--auth-hba-file={}", path.display());
        Self { folder, flag }
    }

    fn shown(&self, text: &str) -> String {
        text.replace(&self.folder.path().display().to_string(), "FOLDER")
    }
}

fn refused(text: &str, more: &[&str], expected: Expect) {
    let rules = Rules::new(text);
    let flags = [&["--auth-type=hba", &*rules.flag][..], more].concat();
    let problems = Written { flags: &flags, ..Written::default() }.problems();
    expected.assert_eq(&rules.shown(&problems));
}

fn warnings(flags: &[&str]) -> Vec<String> {
    Written { flags, ..Written::default() }.load().expect("it works").warnings
}

#[test]
fn methods_have_pgbouncers_names() {
    for (word, method) in [
        ("trust", AuthMethod::Trust),
        ("password", AuthMethod::Password),
        ("plain", AuthMethod::Password),
        ("md5", AuthMethod::Md5),
        ("scram-sha-256", AuthMethod::ScramSha256),
    ] {
        let flag = format!("--auth-type={word}");
        let written = Written { flags: &[&flag, "--postgres-sampling=off"], ..Written::default() };
        let auth = written.load().expect(word).proxy.expect("a proxy").auth;
        assert_eq!(auth.method, method, "{word}");
        assert_eq!(auth.cleartext, CleartextPolicy::EncryptedOnly);
    }
}

#[test]
fn rules_are_read_and_reach_the_proxy() {
    let rules = Rules::new("local all all md5\nhost all all 127.0.0.0/8 scram-sha-256\n");
    let written = Written { flags: &["--auth-type=hba", &rules.flag], ..Written::default() };
    let loaded = written.load().expect("it works");
    let auth = loaded.proxy.expect("a proxy").auth;
    assert_eq!((auth.method, auth.rules.iter().count()), (AuthMethod::Hba, 2));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn rules_that_are_not_understood_are_refused_with_their_line() {
    refused(
        "# x\nhost all all 10.0.0.1 md5\n",
        &[],
        expect![[r#"
            1 problem in the configuration:
            FOLDER/hba.conf:2: 10.0.0.1 has no mask
              mend: write 10.0.0.1/32 for this address alone"#]],
    );
    refused(
        "hostssl all \"a; b\",+c all cert\n",
        &[],
        expect![[r#"
            1 problem in the configuration:
            FOLDER/hba.conf:1: "+c" is a group, and the proxy does not know who is in it
              mend: list the users, or write the name in quotes if it begins with a plus"#]],
    );
    refused(
        "hostssl all all all cert\n",
        &[],
        expect![[r#"
            1 problem in the configuration:
            --auth-hba-file: the rule of line 1 goes by clients' certificates, and client_tls_sslmode asks for none
              mend: set client_tls_sslmode verify-ca, or another method in the rule"#]],
    );
}

#[test]
fn rules_that_are_not_in_force_or_not_there_are_refused() {
    let rules = Rules::new("local all all md5\n");
    let written = Written { flags: &[&rules.flag], ..Written::default() };
    expect![[r#"
        1 problem in the configuration:
        --auth-hba-file: the rules of auth_hba_file are not in force: auth_type is not hba
          mend: set auth_type hba, or remove auth_hba_file"#]]
    .assert_eq(&written.problems());
    let written = Written { flags: &["--auth-type=hba"], ..Written::default() };
    expect![[r#"
        1 problem in the configuration:
        --auth-type: auth_type hba goes by rules, and there are none
          mend: name their file in auth_hba_file, or set another auth_type"#]]
    .assert_eq(&written.problems());
    let flags = ["--auth-type=hba", "--auth-hba-file=/nonexistent/hba.conf"];
    expect![[r#"
        1 problem in the configuration:
        --auth-hba-file: auth_hba_file cannot be read: /nonexistent/hba.conf: it does not exist
          mend: name a readable file with rules in the form of pg_hba.conf"#]]
    .assert_eq(&Written { flags: &flags, ..Written::default() }.problems());
}

#[test]
fn a_rule_that_asks_for_a_password_needs_somebody_who_has_one() {
    let rules = Rules::new("local all all trust\nhost all all all md5\n");
    let flags = ["--auth-type=hba", &*rules.flag];
    let url = [("DATABASE_URL", "postgres://ann@db.internal/orders")];
    let problems = Written { flags: &flags, variables: &url, ..Written::default() }.problems();
    expect![[r#"
        1 problem in the configuration:
        --auth-hba-file: the rule of line 2 asks for a password, and no user has one: there is no auth_file, and the database URL names no user with a password
          mend: name an auth_file, or add user and password to the database URL"#]]
    .assert_eq(&problems);
    let rules = Rules::new("local all all trust\nhost all all all reject\n");
    let flags = ["--auth-type=hba", &*rules.flag];
    assert!(Written { flags: &flags, variables: &url, ..Written::default() }.load().is_ok());
}

#[test]
fn passwords_in_clear_are_warned_of() {
    let base = ["--auth-type=password", "--postgres-sampling=off"];
    let refused = "auth_type password: clients over TCP without TLS are refused: a password would \
                   come in clear (client_tls_sslmode, auth_allow_cleartext)";
    assert_eq!(warnings(&base), [refused]);
    let on = [&base[..], &["--auth-allow-cleartext=on"]].concat();
    let allowed = "auth_type password: passwords may come over the network in clear: \
                   auth_allow_cleartext is on, and client_tls_sslmode does not insist on TLS";
    assert_eq!(warnings(&on), [allowed]);
    let socket = [&base[..], &["--listen-addr=", "--unix-socket-dir=/run/stent"]].concat();
    assert!(warnings(&socket).is_empty());
    let tls =
        ["--client-tls-sslmode=require", "--client-tls-cert-file=/c", "--client-tls-key-file=/k"];
    assert!(warnings(&[&base[..], &tls].concat()).is_empty());
    let rules = Rules::new("hostssl all all all password\nhost all all all password\n");
    let flags = ["--auth-type=hba", &*rules.flag];
    let said = warnings(&flags);
    assert!(said.len() == 1 && said[0].starts_with("auth_hba_file, line 2: "), "{said:?}");
}

#[test]
fn the_agent_must_be_able_to_log_in_too() {
    let written = Written { flags: &["--auth-type=password"], ..Written::default() };
    expect![[r#"
        1 problem in the configuration:
        --auth-type: the agent reaches PostgreSQL through the proxy, and its password would come in clear
          mend: set unix_socket_dir, auth_allow_cleartext on, postgres_sampling off or another auth_type"#]]
    .assert_eq(&written.problems());
    assert!(written.load_as(Role::Proxy).is_ok(), "a lone proxy has no agent");
    let flags = ["--auth-type=password", "--unix-socket-dir=/run/stent"];
    let loaded = Written { flags: &flags, ..Written::default() }.load().expect("it works");
    assert_eq!(loaded.agent.postgres.expect("it asks PostgreSQL").host, "/run/stent");
    let rules = Rules::new("host orders report all md5\n");
    let said = warnings(&["--auth-type=hba", &*rules.flag]);
    expect![[r#"the agent's own connection through the proxy is refused (no pg_hba.conf entry for host "127.0.0.1", user "ann", database "orders", no encryption): add a rule for it, or set postgres_sampling off"#]]
    .assert_eq(&said.join("\n"));
}

/// The real binary: its rules decide, and neither a right nor a wrong password is in its log.
#[tokio::test]
async fn the_binary_goes_by_its_rules_and_logs_no_password() {
    let postgres = Postgres::builder().auth("scram-sha-256").password("canary5right").start();
    let postgres = postgres.expect("a PostgreSQL");
    let rules = Rules::new("host postgres postgres 127.0.0.1/32 password\n");
    let mut stent = Stent::new(&postgres.url());
    stent.command.env("STENT_AUTH_TYPE", "hba").env("STENT_LOG_LEVEL", "trace");
    stent.command.env("STENT_AUTH_ALLOW_CLEARTEXT", "on");
    let mut proxy = stent.start(&["proxy", &rules.flag]);
    wait_for("readiness", SOON, || http::get(&stent.admin, "/readyz")).expect("ready");
    let login = async |password: &str, database: &str| {
        let port = &stent.listen_port;
        let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/{database}");
        let (_client, connection) = tokio_postgres::connect(&url, NoTls).await?;
        drop(connection);
        Ok::<(), tokio_postgres::Error>(())
    };
    login("canary5right", "postgres").await.expect("a client");
    let code = |error: tokio_postgres::Error| error.code().map(|code| code.code().to_owned());
    let wrong = login("canary5wrong", "postgres").await.expect_err("a wrong password");
    assert_eq!(code(wrong).as_deref(), Some("28P01"));
    let nobody = login("canary5right", "template1").await.expect_err("no rule");
    assert_eq!(code(nobody).as_deref(), Some("28000"));
    assert_eq!(terminated(&mut proxy), Some(0));
    let log = proxy.output();
    assert!(log.contains("wrong password") && log.contains("no rule fits"), "{log}");
    assert!(log.contains("passwords may come over the network in clear"), "{log}");
    assert!(!log.contains("canary5"), "{log}");
}
