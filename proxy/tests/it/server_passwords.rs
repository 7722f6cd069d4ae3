//! With which passwords the proxy logs in to PostgreSQL, and where they come from.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stent_proxy::Config;
use stent_proxy::config::passwords::{
    Authorization, AwsCredentials, ContainerEndpoint, PasswordSource, RdsIam,
};
use stent_testkit::{Postgres, TempDir};
use stent_wire::auth::lookup::DEFAULT_QUERY;
use stent_wire::iam::{AwsKeys, Target, auth_token};

use super::support::{PATIENCE, Proxy, code};

/// What PostgreSQL's clocks of these tests say.
const NOW: u64 = 1_772_323_199;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

async fn select_one(proxy: &Proxy, user: &str) -> Result<i32, tokio_postgres::Error> {
    let client = proxy.connect(&proxy.dsn(user, "postgres")).await?;
    client.query_one("select 1", &[]).await.map(|row| row.get(0))
}

/// Tries until it succeeds.
async fn eventually(proxy: &Proxy, user: &str) {
    let give_up = std::time::Instant::now() + PATIENCE;
    while let Err(error) = select_one(proxy, user).await {
        assert!(std::time::Instant::now() < give_up, "{error:?}");
    }
}

/// A proxy whose only password is this source's.
fn with_source(pg: &Postgres, source: PasswordSource, change: impl FnOnce(&mut Config)) -> Proxy {
    Proxy::start(pg, |config| {
        config.upstream.password = None;
        config.server_passwords.of_others = source;
        change(config);
    })
}

/// Checklist 27: each kind of request that a server makes, with each kind of source.
#[tokio::test]
async fn every_request_of_a_server_is_answered_from_every_source() {
    let folder = TempDir::new("password").unwrap();
    let file = folder.path().join("password");
    for (line_end, method) in
        [("", "trust"), ("\n", "password"), ("\r\n", "md5"), ("\n", "scram-sha-256")]
    {
        let pg = Postgres::builder().auth(method).password("s3cret").start().unwrap();
        std::fs::write(&file, format!("s3cret{line_end}")).unwrap();
        for source in [PasswordSource::Literal("s3cret".into()), PasswordSource::File(file.clone())]
        {
            let shown = format!("{method} {source:?}");
            let proxy = with_source(&pg, source, |_| {});
            assert_eq!(select_one(&proxy, "postgres").await.unwrap(), 1, "{shown}");
        }
    }
}

#[tokio::test]
async fn a_user_with_a_source_of_its_own_has_it_and_the_others_have_theirs() {
    let pg = Postgres::builder().auth("scram-sha-256").password("s3cret").start().unwrap();
    pg.sql("create role ann login password 'of ann'").unwrap();
    let proxy = Proxy::start(&pg, |config| {
        let of_ann = PasswordSource::Literal("of ann".into());
        config.server_passwords.of_users = vec![("ann".to_owned(), of_ann)];
    });
    assert_eq!(select_one(&proxy, "postgres").await.unwrap(), 1, "from the database URL");
    assert_eq!(select_one(&proxy, "ann").await.unwrap(), 1);
}

#[tokio::test]
async fn a_password_that_changes_in_its_file_is_used_at_the_next_login() {
    let pg = Postgres::builder().auth("scram-sha-256").password("first").start().unwrap();
    let folder = TempDir::new("password").unwrap();
    let file = folder.path().join("password");
    // Wrong at first, while PostgreSQL's salt stays: keys of the wrong password serve nobody.
    std::fs::write(&file, "wrong").unwrap();
    let proxy = with_source(&pg, PasswordSource::File(file.clone()), |_| {});
    assert_eq!(code(&select_one(&proxy, "postgres").await.unwrap_err()), "28P01");
    std::fs::write(&file, "first").unwrap();
    eventually(&proxy, "postgres").await;
    pg.sql("alter role postgres password 'second'").unwrap();
    std::fs::write(&file, "second").unwrap();
    for pid in pg.backends().unwrap() {
        pg.terminate_backend(pid).unwrap();
    }
    eventually(&proxy, "postgres").await;
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named_and_waited_for() {
    let pg = Postgres::builder().auth("scram-sha-256").password("s3cret").start().unwrap();
    let folder = TempDir::new("password").unwrap();
    let file = folder.path().join("password");
    let proxy = with_source(&pg, PasswordSource::File(file.clone()), |_| {});
    for (content, said) in [(None, "cannot be read"), (Some(""), "is empty")] {
        content.inspect(|content| std::fs::write(&file, content).unwrap());
        let error = select_one(&proxy, "postgres").await.unwrap_err();
        let message = error.as_db_error().unwrap().message();
        assert!(message.contains(said) && message.contains("password"), "{message}");
    }
    std::fs::write(&file, "s3cret").unwrap();
    eventually(&proxy, "postgres").await;
}

#[tokio::test]
async fn a_looked_up_users_servers_are_opened_with_the_source_too() {
    let pg = Postgres::builder().auth("scram-sha-256").password("s3cret").start().unwrap();
    let proxy = with_source(&pg, PasswordSource::Literal("s3cret".into()), |config| {
        config.auth.method = stent_proxy::config::AuthMethod::ScramSha256;
        config.auth.query = Some(stent_proxy::config::AuthQuery {
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
            sql: DEFAULT_QUERY.to_owned(),
        });
    });
    let dsn = format!("{} password=s3cret", proxy.dsn("postgres", "postgres"));
    proxy.connect(&dsn).await.unwrap();
}

fn fixed(session_token: &str) -> AwsCredentials {
    AwsCredentials::Fixed {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "secret".into(),
        session_token: Some(session_token.into()),
    }
}

fn iam(config: &mut Config, credentials: AwsCredentials) {
    let region = "eu-west-1".to_owned();
    config.server_passwords.rds_iam = Some(RdsIam { region, credentials, clock: now });
}

/// The token that the proxy should make. That it is AWS's is a test of the signer's own.
fn token(pg: &Postgres, user: &str, secret: &str, session_token: &str) -> String {
    let keys = AwsKeys {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: secret.to_owned().into(),
        session_token: Some(session_token.to_owned().into()),
    };
    let target = Target { host: pg.host(), port: pg.port(), user, region: "eu-west-1" };
    let token = auth_token(target, &keys, NOW).unwrap();
    String::from_utf8(token.as_bytes().to_vec()).unwrap()
}

fn set_password(pg: &Postgres, user: &str, password: &str) {
    pg.sql(&format!("alter role {user} password '{password}'")).unwrap();
}

/// Checklist 27: an RDS IAM token is a cleartext password of more than a kilobyte.
#[tokio::test]
async fn an_iam_token_of_up_to_eight_kilobytes_logs_in_to_a_real_postgresql() {
    let pg = Postgres::builder().auth("password").start().unwrap();
    pg.sql("create role ann login").unwrap();
    for session_bytes in [900, 1_500, 7_800] {
        let session = "s".repeat(session_bytes);
        for user in ["postgres", "ann"] {
            let token = token(&pg, user, "secret", &session);
            assert!((session_bytes..8 * 1024).contains(&token.len()));
            set_password(&pg, user, &token);
        }
        let proxy = with_source(&pg, PasswordSource::RdsIam, |config| iam(config, fixed(&session)));
        assert_eq!(select_one(&proxy, "postgres").await.unwrap(), 1, "{session_bytes}");
        assert_eq!(select_one(&proxy, "ann").await.unwrap(), 1, "a token of its own");
    }
    let other = with_source(&pg, PasswordSource::RdsIam, |config| iam(config, fixed("other")));
    assert_eq!(code(&select_one(&other, "postgres").await.unwrap_err()), "28P01");
}

#[tokio::test]
async fn a_token_is_no_answer_to_scram_and_md5() {
    for method in ["scram-sha-256", "md5"] {
        let pg = Postgres::builder().auth(method).password("s3cret").start().unwrap();
        let proxy = with_source(&pg, PasswordSource::RdsIam, |config| iam(config, fixed("s")));
        let error = select_one(&proxy, "postgres").await.unwrap_err();
        assert_eq!(code(&error), "28P01");
        let message = error.as_db_error().unwrap().message();
        assert!(message.contains("GRANT rds_iam"), "{message}");
    }
}

/// A container's credentials endpoint.
struct Agent {
    endpoint: ContainerEndpoint,
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<(u16, String)>>,
    last_head: Arc<Mutex<String>>,
}

impl Agent {
    fn start(authorization: Authorization) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(Mutex::new((200, String::new())));
        let last_head = Arc::new(Mutex::new(String::new()));
        let (count, said, head) = (Arc::clone(&asked), Arc::clone(&answer), Arc::clone(&last_head));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut request, mut byte) = (Vec::new(), [0]);
                while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                    request.push(byte[0]);
                }
                if request.is_empty() {
                    continue;
                }
                *head.lock().unwrap() = String::from_utf8_lossy(&request).to_ascii_lowercase();
                count.fetch_add(1, Ordering::SeqCst);
                let (status, body) = said.lock().unwrap().clone();
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
            }
        });
        let endpoint = ContainerEndpoint {
            host: "127.0.0.1".to_owned(),
            port,
            path: "/v2/credentials?role=x".to_owned(),
            authorization,
        };
        Self { endpoint, asked, answer, last_head }
    }

    fn says(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    fn credentials(&self, secret: &str, expiration: &str) {
        let body = format!(
            r#"{{"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"{secret}","Token":"session",
                "Expiration":"{expiration}","RoleArn":"arn:aws:iam::1:role/x"}}"#
        );
        self.says(200, &body);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Closes all servers, so that the next client needs a new login.
async fn new_login(pg: &Postgres, proxy: &Proxy) {
    for pid in pg.backends().unwrap() {
        pg.terminate_backend(pid).unwrap();
    }
    eventually(proxy, "postgres").await;
}

/// Read by [`ticking`], a clock without arguments: nextest runs each test in a process of its own.
static CLOCK: AtomicU64 = AtomicU64::new(NOW);

fn ticking() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(CLOCK.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_containers_credentials_are_kept_until_shortly_before_their_end() {
    let pg = Postgres::builder().auth("password").start().unwrap();
    let folder = TempDir::new("token").unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "Bearer of-the-file\n").unwrap();
    let agent = Agent::start(Authorization::File(file));
    // NOW is 2026-02-28T23:59:59Z.
    agent.credentials("first", "2026-03-01T01:00:00.123Z");
    set_password(&pg, "postgres", &token(&pg, "postgres", "first", "session"));
    let proxy = with_source(&pg, PasswordSource::RdsIam, |config| {
        iam(config, AwsCredentials::Container(agent.endpoint.clone()));
        config.server_passwords.rds_iam.as_mut().unwrap().clock = ticking;
    });
    assert_eq!(select_one(&proxy, "postgres").await.unwrap(), 1);
    assert_eq!(agent.asked(), 1);
    let head = agent.last_head.lock().unwrap().clone();
    assert!(head.starts_with("get /v2/credentials?role=x http/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: bearer of-the-file\r\n"), "{head}");
    agent.credentials("second", "2026-03-01T06:00:00Z");
    new_login(&pg, &proxy).await;
    assert_eq!(agent.asked(), 1, "the credentials are good for an hour");
    // Four minutes before their end they are renewed; the token is of that time.
    CLOCK.store(NOW + 3_600 - 240, Ordering::SeqCst);
    let keys = AwsKeys {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "second".to_owned().into(),
        session_token: Some("session".to_owned().into()),
    };
    let (host, port) = (pg.host(), pg.port());
    let target = Target { host, port, user: "postgres", region: "eu-west-1" };
    let later = auth_token(target, &keys, NOW + 3_600 - 240).unwrap();
    set_password(&pg, "postgres", std::str::from_utf8(later.as_bytes()).unwrap());
    new_login(&pg, &proxy).await;
    assert_eq!(agent.asked(), 2);
}

#[tokio::test]
async fn while_the_endpoint_fails_credentials_serve_to_their_end_and_then_its_error_is_shown() {
    let pg = Postgres::builder().auth("password").start().unwrap();
    let agent = Agent::start(Authorization::Value("of-the-variable".into()));
    set_password(&pg, "postgres", &token(&pg, "postgres", "secret", "session"));
    for (status, body, said) in [
        (500, "", "the status 500"),
        (200, "no json", "without a usable JSON"),
        (200, "{}", "without a usable Expiration"),
        (200, r#"{"Expiration":"2026-03-01T06:00:00Z"}"#, "without a usable AccessKeyId"),
    ] {
        agent.says(status, body);
        let proxy = with_source(&pg, PasswordSource::RdsIam, |config| {
            iam(config, AwsCredentials::Container(agent.endpoint.clone()));
        });
        let error = select_one(&proxy, "postgres").await.unwrap_err();
        let message = error.as_db_error().unwrap().message().to_owned();
        assert!(message.contains(said), "{message}");
    }
    assert!(agent.last_head.lock().unwrap().contains("authorization: of-the-variable\r\n"));
    // Two minutes before their end, and no others to be had.
    agent.credentials("secret", "2026-03-01T00:02:00Z");
    let proxy = with_source(&pg, PasswordSource::RdsIam, |config| {
        iam(config, AwsCredentials::Container(agent.endpoint.clone()));
    });
    eventually(&proxy, "postgres").await;
    agent.says(503, "");
    new_login(&pg, &proxy).await;
}
