//! `server_password_source`: what it becomes, and what is refused.

mod common;

use common::{Written, file};
use expect_test::expect;
use secrecy::ExposeSecret as _;
use stent_proxy::config::passwords::{AwsCredentials, PasswordSource, ServerPasswords};
use stent_testkit::TempDir;

/// The endpoint of an RDS instance, with its certificate checked.
const RDS: (&str, &str) =
    ("DATABASE_URL", "postgres://app@db.x.eu-west-1.rds.amazonaws.com/orders?sslmode=verify-full");
const TRUST: (&str, &str) = ("STENT_AUTH_TYPE", "trust");
const ROOTS: (&str, &str) = ("STENT_SERVER_TLS_CA_FILE", "system");

fn sources(source: &str, variables: &[(&str, &str)]) -> Result<ServerPasswords, String> {
    let mut all = vec![("STENT_SERVER_PASSWORD_SOURCE", source)];
    all.extend_from_slice(variables);
    let written = Written { variables: &all, ..Written::default() };
    let loaded = written.load().map_err(|problems| problems.to_string())?;
    Ok(loaded.proxy.expect("a proxy").server_passwords)
}

#[test]
fn users_have_sources_of_their_own() {
    let folder = TempDir::new("source").expect("a folder");
    let path = folder.path().join("password");
    std::fs::write(&path, "x").expect("written");
    let text = format!("file:{}, a=b=env:OF_B, auditor=auto", path.display());
    let found = sources(&text, &[("OF_B", "canary-of-b")]).expect("sound");
    assert!(matches!(&found.of_others, PasswordSource::File(file) if *file == path));
    let [(b, of_b), (auditor, PasswordSource::Auto)] = &found.of_users[..] else {
        panic!("{found:?}")
    };
    assert_eq!((b.as_str(), auditor.as_str()), ("a=b", "auditor"));
    assert!(matches!(of_b, PasswordSource::Literal(text) if text.expose_secret() == "canary-of-b"));
    assert!(!format!("{found:?}").contains("canary"));
}

#[test]
fn a_variables_password_is_scrubbed_from_messages() {
    let all = [("STENT_SERVER_PASSWORD_SOURCE", "env:OF_B"), ("OF_B", "canary-of-b")];
    let loaded = Written { variables: &all, ..Written::default() }.load().expect("sound");
    let secrets = loaded.secrets();
    assert!(secrets.iter().any(|secret| secret.expose_secret() == "canary-of-b"));
    assert!(!loaded.report().contains("canary-of-b"));
}

#[test]
fn rds_iam_finds_its_region_and_credentials() {
    let keys = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "canary")];
    let container = [
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/x"),
        ("AWS_REGION", "us-east-1"),
    ];
    let with = |more: &[(&'static str, &'static str)]| {
        let all = [&[RDS, TRUST, ROOTS][..], more].concat();
        sources("rds-iam", &all).expect("sound").rds_iam.expect("credentials")
    };
    let fixed = with(&keys);
    assert_eq!(fixed.region, "eu-west-1", "the endpoint's own");
    assert!(matches!(fixed.credentials, AwsCredentials::Fixed { session_token: None, .. }));
    let fetched = with(&container);
    assert_eq!(fetched.region, "eu-west-1", "the endpoint's own, wherever the task runs");
    assert!(matches!(fetched.credentials, AwsCredentials::Container(_)));
    let both = with(&[keys, container].concat());
    assert!(matches!(both.credentials, AwsCredentials::Fixed { .. }), "as in the SDKs");
}

#[test]
fn sources_that_there_are_not() {
    file(
        "server_password_source = 'vault'\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: server_password_source: "vault" names a source that there is not
          mend: write auto, env:NAME, file:/path or rds-iam for all users, or user=source, with commas between them"#]],
    );
    file(
        "server_password_source = ['auto', 'env:X']\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: server_password_source: "auto,env:X" names two sources for the same users
          mend: write auto, env:NAME, file:/path or rds-iam for all users, or user=source, with commas between them"#]],
    );
    file(
        "server_password_source = 'file:relative'\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: server_password_source: "file:relative" names a source that there is not
          mend: write auto, env:NAME, file:/path or rds-iam for all users, or user=source, with commas between them"#]],
    );
    file(
        "server_password_source = 'env:NOT_THERE'\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: the variable NOT_THERE is not set
          mend: set NOT_THERE to the password"#]],
    );
    file(
        "server_password_source = 'file:/nonexistent/password'\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: the password file /nonexistent/password cannot be read: No such file or directory (os error 2)
          mend: name a readable file that holds the password"#]],
    );
}

#[test]
fn rds_iam_that_cannot_work_or_is_not_safe() {
    let refused = |variables: &[(&str, &str)]| {
        sources("rds-iam", &[&[TRUST][..], variables].concat()).expect_err("refused")
    };
    expect![[r#"
        3 problems in the configuration:
        STENT_SERVER_PASSWORD_SOURCE: rds-iam sends a token that is as good as a password, and the server's certificate is not checked
          mend: set server_tls_sslmode verify-full and server_tls_ca_file to AWS's global bundle
        STENT_SERVER_PASSWORD_SOURCE: rds-iam needs the region of the database, which its host name does not say
          mend: set AWS_REGION
        STENT_SERVER_PASSWORD_SOURCE: rds-iam needs AWS credentials, and there are none in the environment
          mend: give the task a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"#]].assert_eq(&refused(&[]));
    let elsewhere = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/");
    expect![[r#"
        1 problem in the configuration:
        AWS_CONTAINER_CREDENTIALS_FULL_URI: is not an http:// URL of this machine or of a container agent
          mend: write it as ECS or EKS sets it"#]].assert_eq(&refused(&[RDS, ROOTS, elsewhere]));
}
