//! How clients prove who they are, what those see who cannot, and what is refused on the way.

use std::process::{Command, Output};

use rcgen::{CertificateParams, KeyPair};
use stent_proxy::Config;
use stent_proxy::config::{AuthMethod, CleartextPolicy, ClientTls, TlsMode};
use stent_testkit::{Installation, Postgres, TempDir};

use super::raw::{Message, Raw, field, message, startup};
use super::support::{Proxy, code, user};

/// A proof of the right length that is nobody's.
const PROOF: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// The stored SCRAM secret of an empty password.
const SCRAM_OF_NOTHING: &str = "SCRAM-SHA-256$4096:AwMDAwMDAwMDAwMDAwMDAw==$\
    TUpNhOAltyqPURQFRLNkcGTL+DsHARjnDyOilrMlsD8=:d0oAzCYd+4nkwLRhatBBZVQqtFyhdS6jcLFt5DIGtJU=";

/// A role with a password, and its SCRAM secret as PostgreSQL stores it.
pub(crate) fn scram_role(pg: &Postgres, role: &str, password: &str) -> String {
    pg.sql(&format!(
        "set password_encryption = 'scram-sha-256'; create role {role} login password '{password}'"
    ))
    .unwrap();
    pg.value(&format!("select rolpassword from pg_authid where rolname = '{role}'")).unwrap()
}

/// The stored MD5 secret of a password.
fn md5_of(pg: &Postgres, user: &str, password: &str) -> String {
    pg.value(&format!("select 'md5' || md5('{password}{user}')")).unwrap()
}

/// A certificate of its own for a proxy that serves TLS to whoever asks for it.
pub(crate) fn tls_for_clients(folder: &TempDir) -> ClientTls {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let cert = params.self_signed(&key).unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("server.pem"), cert.pem()).unwrap();
    std::fs::write(file("server.key"), key.serialize_pem()).unwrap();
    let (cert, key) = (file("server.pem"), file("server.key"));
    ClientTls { mode: TlsMode::Prefer, cert, key, ca: None }
}

/// psql over TCP; prints the answer alone.
pub(crate) fn psql(proxy: &Proxy, password: &str, options: &str) -> Output {
    let program = Installation::find().unwrap().tool("psql").expect("psql comes with PostgreSQL");
    let dsn = format!("host=127.0.0.1 port={} {options}", proxy.port);
    let mut command = Command::new(program);
    command.args(["-XAtwc", "select current_user", &dsn]).env("PGPASSWORD", password);
    command.env("HOME", "/nonexistent").output().unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).trim().to_owned()
}

fn hello(name: &str) -> Vec<u8> {
    startup(&[("user", name), ("database", "postgres")])
}

/// A login up to the first message of the server.
fn begin(proxy: &Proxy, name: &str) -> (Raw, Message) {
    let mut raw = Raw::connect(proxy);
    raw.send(&hello(name));
    let first = raw.next().unwrap();
    (raw, first)
}

/// The code of an authentication request.
fn request(message: &Message) -> u32 {
    assert_eq!(message.0, b'R', "{message:?}");
    u32::from_be_bytes(message.1[..4].try_into().unwrap())
}

fn sasl_initial(first: &str) -> Vec<u8> {
    let len = (first.len() as u32).to_be_bytes();
    message(b'p', &[b"SCRAM-SHA-256\0", &len[..], first.as_bytes()].concat())
}

/// What a client sees of a login that fails, whichever way it is asked: the salts and nonces left
/// out. Of SCRAM also the salt, which must be the same each time.
fn failure(proxy: &Proxy, name: &str) -> (Vec<String>, String) {
    let (mut raw, first) = begin(proxy, name);
    let (mut seen, mut salt) = (vec![format!("R{}", request(&first))], String::new());
    match request(&first) {
        3 => raw.send(&message(b'p', b"wrong\0")),
        5 => raw.send(&message(b'p', b"md500000000000000000000000000000000\0")),
        10 => {
            seen.push(format!("{:?}", String::from_utf8_lossy(&first.1[4..])));
            raw.send(&sasl_initial("n,,n=,r=abcdefgh"));
            let next = raw.next().unwrap();
            let text = String::from_utf8_lossy(&next.1[4..]).into_owned();
            let parts: Vec<&str> = text.split(',').collect();
            let [nonce, its_salt, iterations] = parts[..] else { panic!("{text}") };
            salt = its_salt.to_owned();
            seen.push(format!("R{} {} {} {iterations}", request(&next), nonce.len(), salt.len()));
            raw.send(&message(b'p', format!("c=biws,{nonce},p={PROOF}").as_bytes()));
        }
        other => panic!("a request of kind {other}"),
    }
    let (tag, body) = raw.next().unwrap();
    let fields = [b'S', b'V', b'C', b'M', b'D', b'H'].map(|kind| field(&body, kind));
    seen.push(format!("{} {}", char::from(tag), fields.join("|")).replace(name, "NAME"));
    assert!(raw.next().is_none(), "the connection is closed");
    (seen, salt)
}

/// Checklist 22: each method, each form of secret.
#[tokio::test]
async fn a_stranger_and_a_wrong_password_are_answered_alike_and_as_postgresql_does() {
    let pg = Postgres::builder().auth("scram-sha-256").password("right").start().unwrap();
    let direct = format!("host=127.0.0.1 port={} user=postgres password=wrong", pg.port());
    let theirs = tokio_postgres::connect(&direct, tokio_postgres::NoTls).await.err().unwrap();
    let theirs = theirs.as_db_error().unwrap().clone();
    let secrets =
        ["right".to_owned(), md5_of(&pg, "ann", "right"), scram_role(&pg, "ann", "right")];
    for method in [AuthMethod::Password, AuthMethod::Md5, AuthMethod::ScramSha256] {
        for secret in &secrets {
            let proxy = Proxy::start(&pg, |config| {
                config.auth.method = method;
                config.auth.cleartext = CleartextPolicy::Anywhere;
                config.auth.users = vec![user("ann", secret)];
            });
            let case = format!("{method:?} {secret}");
            let (known, _) = failure(&proxy, "ann");
            let (stranger, salt) = failure(&proxy, "eve");
            assert_eq!(stranger, known, "{case}");
            assert_eq!(failure(&proxy, "eve").1, salt, "{case}: the salt is the name's");
            let text = theirs.message().replace("postgres", "NAME");
            assert!(known.last().unwrap().contains(&text), "{known:?}");
            assert!(known.last().unwrap().contains(theirs.code().code()), "{known:?}");
        }
    }
}

/// Checklist 22: where users are not all asked for the same, strangers are not either.
#[test]
fn among_users_of_both_kinds_strangers_are_of_both_kinds() {
    let pg = Postgres::start().unwrap();
    let scram = scram_role(&pg, "bob", "x");
    let md5 = md5_of(&pg, "ann", "x");
    let proxy = Proxy::start(&pg, |config| {
        config.auth.method = AuthMethod::Md5;
        config.auth.users = vec![user("ann", &md5), user("bob", &scram)];
    });
    let asked = |name: &str| request(&begin(&proxy, name).1);
    assert_eq!((asked("ann"), asked("bob")), (5, 10));
    let strangers: Vec<u32> = (0..40).map(|at| asked(&format!("stranger{at}"))).collect();
    assert!(strangers.contains(&5) && strangers.contains(&10), "{strangers:?}");
    let again: Vec<u32> = (0..40).map(|at| asked(&format!("stranger{at}"))).collect();
    assert_eq!(again, strangers);
}

/// Checklist 26: MD5 is asked for where it is configured, and nowhere else.
#[tokio::test]
async fn md5_is_never_asked_for_under_scram() {
    let pg = Postgres::start().unwrap();
    let md5 = md5_of(&pg, "ann", "right");
    let scram = scram_role(&pg, "bob", "right");
    pg.sql("create role ann login").unwrap();
    let users = vec![user("ann", &md5), user("bob", &scram), user("postgres", "right")];
    let proxy = Proxy::start(&pg, |config| {
        config.auth.method = AuthMethod::ScramSha256;
        config.auth.users = users.clone();
    });
    for name in ["ann", "bob", "postgres", "eve", "x"] {
        assert_eq!(request(&begin(&proxy, name).1), 10, "{name}");
    }
    let dsn = format!("{} password=right", proxy.dsn("ann", "postgres"));
    assert_eq!(code(&proxy.connect(&dsn).await.err().unwrap()), "28P01");
    let proxy = Proxy::start(&pg, |config| {
        config.auth.method = AuthMethod::Md5;
        config.auth.users = users;
    });
    for name in ["ann", "bob", "postgres"] {
        let dsn = format!("{} password=right", proxy.dsn(name, "postgres"));
        let client = proxy.connect(&dsn).await.unwrap();
        client.query_one("select 1", &[]).await.unwrap();
    }
}

/// Checklist 23: by every method, also where a secret of an empty password is stored.
#[tokio::test]
async fn an_empty_password_is_refused_whatever_is_stored() {
    let pg = Postgres::start().unwrap();
    let md5 = md5_of(&pg, "ann", "");
    for method in [AuthMethod::Password, AuthMethod::Md5, AuthMethod::ScramSha256] {
        for secret in ["", &md5, SCRAM_OF_NOTHING, "right"] {
            let proxy = Proxy::start(&pg, |config| {
                config.auth.method = method;
                config.auth.cleartext = CleartextPolicy::Anywhere;
                config.auth.users = vec![user("ann", secret)];
            });
            let mut dsn: tokio_postgres::Config = proxy.dsn("ann", "postgres").parse().unwrap();
            let error = dsn.password("").connect(tokio_postgres::NoTls).await.err().unwrap();
            assert_eq!(code(&error), "28P01", "{method:?} {secret:?}");
        }
    }
    let proxy = Proxy::start(&pg, |config| by_password(config, "right"));
    let (mut raw, _) = begin(&proxy, "postgres");
    raw.send(&message(b'p', b"\0"));
    let (tag, body) = raw.next().unwrap();
    assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "28P01"));
    assert_eq!(field(&body, b'M'), "empty password returned by client");
}

fn by_password(config: &mut Config, secret: &str) {
    config.auth.method = AuthMethod::Password;
    config.auth.cleartext = CleartextPolicy::Anywhere;
    config.auth.users = vec![user("postgres", secret)];
}

/// Checklist 25: what is not an exchange of SCRAM ends it, and nobody else notices.
#[tokio::test]
async fn malformed_scram_messages_are_refused_and_harm_nobody() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.auth.method = AuthMethod::ScramSha256;
        config.auth.users = vec![user("postgres", "right")];
    });
    let long = format!("n,,n=,r={}", "x".repeat(1_100));
    let negative = message(b'p', b"SCRAM-SHA-256\0\xff\xff\xff\xff");
    let lying = message(b'p', b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=abc");
    let firsts = [
        sasl_initial("n,,r=abc,n="),
        sasl_initial("n,,n="),
        sasl_initial("n,,n=,r="),
        sasl_initial("n,a=postgres,n=,r=abc"),
        sasl_initial(&long),
        message(b'p', b"PLAIN\0\0\0\0\x03abc"),
        message(b'Q', b"select 1\0"),
        negative,
        lying,
    ];
    for first in firsts {
        let (mut raw, _) = begin(&proxy, "postgres");
        raw.send(&first);
        let (tag, body) = raw.next().unwrap();
        let code = field(&body, b'C');
        assert!(tag == b'E' && (code == "08P01" || code == "0A000"), "{first:?}: {code}");
        assert!(raw.next().is_none());
    }
    for last in [
        format!("c=biws,p={PROOF}"),
        format!("NONCE,c=biws,p={PROOF}"),
        format!("c=biws,r=abcother,p={PROOF}"),
        format!("c=biws,NONCEx,p={PROOF}"),
        format!("c=eSws,NONCE,p={PROOF}"),
        "c=biws,NONCE".to_owned(),
        "c=biws,NONCE,p=AAAA".to_owned(),
        format!("c=biws,NONCE,p={PROOF},x=y"),
    ] {
        let (mut raw, _) = begin(&proxy, "postgres");
        raw.send(&sasl_initial("n,,n=,r=abc"));
        let next = raw.next().unwrap();
        let text = String::from_utf8_lossy(&next.1[4..]).into_owned();
        let nonce = text.split(',').next().unwrap();
        assert!(nonce.starts_with("r=abc") && nonce.len() > 20, "{text}");
        raw.send(&message(b'p', last.replace("NONCE", nonce).as_bytes()));
        let (tag, body) = raw.next().unwrap();
        assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "08P01"), "{last}");
        assert!(raw.next().is_none());
    }
    let dsn = format!("{} password=right", proxy.dsn("postgres", "postgres"));
    proxy.connect(&dsn).await.unwrap().query_one("select 1", &[]).await.unwrap();
}

#[tokio::test]
async fn a_password_is_asked_for_over_tls_and_the_unix_socket_only() {
    let pg = Postgres::start().unwrap();
    let folder = TempDir::new("password").unwrap();
    let path = folder.path().to_owned();
    let proxy = Proxy::start(&pg, |config| {
        by_password(config, "right");
        config.auth.cleartext = CleartextPolicy::EncryptedOnly;
        config.unix_socket_dir = Some(path.clone());
        config.client_tls = tls_for_clients(&folder);
    });
    let (_, (tag, body)) = begin(&proxy, "postgres");
    assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "28000"), "before it is asked for");
    assert!(field(&body, b'H').contains("sslmode=require"));
    let options = "user=postgres dbname=postgres sslmode=require";
    assert_eq!(said(&psql(&proxy, "right", options)), "postgres");
    let refused = said(&psql(&proxy, "wrong", options));
    assert!(refused.contains("password authentication failed for user \"postgres\""), "{refused}");
    let dsn = format!("host={} port={} user=postgres dbname=postgres", path.display(), proxy.port);
    proxy.connect(&format!("{dsn} password=right")).await.unwrap();
    let error = proxy.connect(&format!("{dsn} password=wrong")).await.err().unwrap();
    assert_eq!(code(&error), "28P01");
}

#[tokio::test]
async fn a_password_in_clear_serves_every_form_of_stored_secret() {
    let pg = Postgres::builder().auth("scram-sha-256").password("right").start().unwrap();
    let scram = pg.value("select rolpassword from pg_authid where rolname = 'postgres'").unwrap();
    for secret in ["right", &md5_of(&pg, "postgres", "right"), &scram] {
        let proxy = Proxy::start(&pg, |config| {
            by_password(config, secret);
            // The proxy has the secret alone; what it proves to PostgreSQL it has of the client.
            if secret.starts_with("SCRAM") {
                config.upstream.password = None;
            }
        });
        let dsn = proxy.dsn("postgres", "postgres");
        let client = proxy.connect(&format!("{dsn} password=right")).await.unwrap();
        client.query_one("select 1", &[]).await.unwrap();
        let error = proxy.connect(&format!("{dsn} password=wrong")).await.err().unwrap();
        assert_eq!(code(&error), "28P01", "{secret}");
    }
}

/// Checklist 27, the clients' side: a password of 8 KiB passes, a packet without end does not.
#[tokio::test]
async fn a_long_password_passes_and_one_without_end_is_refused_unread() {
    let pg = Postgres::start().unwrap();
    let long = "t".repeat(8 * 1024);
    let proxy = Proxy::start(&pg, |config| by_password(config, &long));
    let dsn = format!("{} password={long}", proxy.dsn("postgres", "postgres"));
    proxy.connect(&dsn).await.unwrap();
    for len in [10_000_u32, 0x7fff_ffff, 0xffff_ffff, 3, 0] {
        let (mut raw, _) = begin(&proxy, "postgres");
        raw.send(&[&[b'p'][..], &len.to_be_bytes()].concat());
        let (tag, body) = raw.next().unwrap();
        assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "08P01"), "{len}");
    }
}
