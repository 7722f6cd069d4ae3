//! Logins: every method on both sides, and every way in which one fails.

use stent_proxy::config::AuthMethod;
use stent_testkit::Postgres;

use super::raw::{Raw, field, startup};
use super::support::{Proxy, code, user};

async fn select_one(proxy: &Proxy, dsn: &str) -> Result<i32, tokio_postgres::Error> {
    let client = proxy.connect(dsn).await?;
    client.query_one("select 1", &[]).await.map(|row| row.get(0))
}

#[tokio::test]
async fn trust_lets_a_client_in_without_a_password() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    assert_eq!(select_one(&proxy, &proxy.dsn("postgres", "postgres")).await.unwrap(), 1);
}

#[tokio::test]
async fn scram_and_md5_are_served_to_clients_whatever_the_server_asks() {
    for server in ["scram-sha-256", "md5", "password"] {
        let pg = Postgres::builder().auth(server).password("s3cret").start().unwrap();
        for method in [AuthMethod::ScramSha256, AuthMethod::Md5] {
            let proxy = Proxy::start(&pg, |config| {
                config.auth.method = method;
                config.auth.users = vec![user("postgres", "s3cret")];
            });
            let dsn = format!("{} password=s3cret", proxy.dsn("postgres", "postgres"));
            assert_eq!(select_one(&proxy, &dsn).await.unwrap(), 1, "{server} {method:?}");
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_with_postgresqls_code_and_harms_nobody() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.auth.method = AuthMethod::ScramSha256;
        config.auth.users = vec![user("postgres", "right")];
    });
    let good = format!("{} password=right", proxy.dsn("postgres", "postgres"));
    let client = proxy.connect(&good).await.unwrap();
    for wrong in ["postgres", "nobody"] {
        let dsn = format!("{} password=wrong", proxy.dsn(wrong, "postgres"));
        let error = proxy.connect(&dsn).await.err().unwrap();
        assert_eq!(code(&error), "28P01", "{wrong}");
    }
    assert_eq!(client.query_one("select 2", &[]).await.unwrap().get::<_, i32>(0), 2);
}

#[tokio::test]
async fn a_stored_scram_secret_serves_clients_and_logs_in_to_the_server_too() {
    let pg = Postgres::builder().auth("scram-sha-256").password("s3cret").start().unwrap();
    let secret = pg.value("select rolpassword from pg_authid where rolname = 'postgres'").unwrap();
    assert!(secret.starts_with("SCRAM-SHA-256$"));
    let proxy = Proxy::start(&pg, |config| {
        config.auth.method = AuthMethod::ScramSha256;
        config.auth.users = vec![user("postgres", &secret)];
        config.upstream.user = None;
        config.upstream.password = None;
    });
    let dsn = format!("{} password=s3cret", proxy.dsn("postgres", "postgres"));
    assert_eq!(select_one(&proxy, &dsn).await.unwrap(), 1);
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_said_at_once_with_3d000() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let error = proxy.connect(&proxy.dsn("postgres", "nope")).await.err().unwrap();
    assert_eq!(code(&error), "3D000");
    assert_eq!(proxy.get("/readyz").0, 200, "a client's typo is not an outage");
}

#[tokio::test]
async fn a_password_that_the_server_refuses_comes_back_as_28p01() {
    let pg = Postgres::builder().auth("scram-sha-256").password("right").start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.upstream.password = Some("wrong".into());
    });
    let error = proxy.connect(&proxy.dsn("postgres", "postgres")).await.err().unwrap();
    assert_eq!(code(&error), "28P01");
}

/// Checklist 20.
#[tokio::test]
async fn start_up_parameters_reach_each_server_the_client_gets() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let dsn = format!(
        "{} application_name=billing options='-c statement_timeout=54321 -c search_path=a,b'",
        proxy.dsn("postgres", "postgres")
    );
    let billing = proxy.connect(&dsn).await.unwrap();
    let other = proxy.client().await;
    for _ in 0..3 {
        for (name, value) in [
            ("application_name", "billing"),
            ("statement_timeout", "54321ms"),
            ("search_path", "a, b"),
        ] {
            let row = billing.query_one(&format!("show {name}"), &[]).await.unwrap();
            assert_eq!(row.get::<_, String>(0).replace(',', ", ").replace("  ", " "), value);
        }
        let row = other.query_one("show statement_timeout", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "0", "another client's setting");
    }
}

#[test]
fn a_parameter_that_postgresql_refuses_fails_the_login_with_its_own_error() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut raw = Raw::connect(&proxy);
    raw.send(&startup(&[("user", "postgres"), ("database", "postgres"), ("work_mem", "lots")]));
    let (tag, body) = raw.next().unwrap();
    assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "22023"));
    assert_eq!(field(&body, b'S'), "FATAL");
}

#[tokio::test]
async fn more_clients_than_max_client_conn_are_told_so() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.max_client_conn = std::num::NonZeroU32::new(2).unwrap();
    });
    let first = proxy.client().await;
    let _second = proxy.client().await;
    let error = proxy.connect(&proxy.dsn("postgres", "postgres")).await.err().unwrap();
    assert_eq!(code(&error), "53300");
    drop(first);
    super::support::until("a place to be free", || proxy.snapshot().clients.idle == 1).await;
    proxy.client().await;
}

#[tokio::test]
async fn one_address_cannot_take_all_places() {
    let pg = Postgres::start().unwrap();
    let dir = stent_testkit::TempDir::new("proxy-socket").unwrap();
    let path = dir.path().to_owned();
    let proxy = Proxy::start(&pg, |config| {
        config.max_client_conn_per_address = std::num::NonZeroU32::new(2);
        config.unix_socket_dir = Some(path.clone());
    });
    let first = proxy.client().await;
    let _second = proxy.client().await;
    let error = proxy.connect(&proxy.dsn("postgres", "postgres")).await.err().unwrap();
    assert_eq!(code(&error), "53300");
    assert!(error.as_db_error().unwrap().message().contains("max_client_conn_per_address is 2"));
    let dsn = format!("host={} port={} user=postgres dbname=postgres", path.display(), proxy.port);
    assert_eq!(select_one(&proxy, &dsn).await.unwrap(), 1, "the unix socket has no address");
    drop(first);
    super::support::until("a place to be free", || proxy.snapshot().clients.idle == 1).await;
    proxy.client().await;
}

#[tokio::test]
async fn clients_log_in_over_the_unix_socket() {
    let pg = Postgres::start().unwrap();
    let dir = stent_testkit::TempDir::new("proxy-socket").unwrap();
    let path = dir.path().to_owned();
    let proxy = Proxy::start(&pg, |config| config.unix_socket_dir = Some(path.clone()));
    let dsn = format!("host={} port={} user=postgres dbname=postgres", path.display(), proxy.port);
    assert_eq!(select_one(&proxy, &dsn).await.unwrap(), 1);
    let client = proxy.connect(&dsn).await.unwrap();
    client.batch_execute("begin").await.unwrap();
    let holder = &proxy.snapshot().holders[0];
    assert_eq!(holder.client_pid, Some(std::process::id()));
    drop(proxy);
    assert!(std::fs::read_dir(&path).unwrap().next().is_none(), "the socket's file is removed");
}
