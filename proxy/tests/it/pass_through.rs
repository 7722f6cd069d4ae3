//! SCRAM passed through: the proxy has PostgreSQL's stored secrets and no password. What a client
//! proves to it is what it proves to PostgreSQL.

use stent_proxy::Config;
use stent_proxy::config::{AuthMethod, PoolMode};
use stent_testkit::Postgres;

use super::auth::scram_role;
use super::support::{Proxy, code, user};

fn verifiers_only(config: &mut Config, secrets: &[(&str, &str)]) {
    config.auth.method = AuthMethod::ScramSha256;
    config.auth.users = secrets.iter().map(|(name, secret)| user(name, secret)).collect();
    config.upstream.user = None;
    config.upstream.password = None;
}

async fn who(proxy: &Proxy, name: &str, password: &str) -> Result<String, tokio_postgres::Error> {
    let dsn = format!("{} password={password}", proxy.dsn(name, "postgres"));
    let client = proxy.connect(&dsn).await?;
    client.query_one("select current_user::text", &[]).await.map(|row| row.get(0))
}

fn postgres() -> Postgres {
    Postgres::builder().auth("scram-sha-256").password("unknown").start().unwrap()
}

#[tokio::test]
async fn each_user_reaches_postgresql_by_its_own_proof_in_every_mode() {
    let pg = postgres();
    let (ann, bob) = (scram_role(&pg, "ann", "annsword"), scram_role(&pg, "bob", "bobsword"));
    for mode in [PoolMode::Session, PoolMode::Transaction, PoolMode::Statement] {
        for method in [AuthMethod::ScramSha256, AuthMethod::Md5] {
            let proxy = Proxy::start(&pg, |config| {
                verifiers_only(config, &[("ann", &ann), ("bob", &bob)]);
                config.auth.method = method;
                config.pool_mode = mode;
            });
            assert_eq!(who(&proxy, "ann", "annsword").await.unwrap(), "ann", "{mode:?}");
            assert_eq!(who(&proxy, "bob", "bobsword").await.unwrap(), "bob", "{mode:?}");
            let error = who(&proxy, "ann", "bobsword").await.unwrap_err();
            assert_eq!(code(&error), "28P01", "what another has proved is of no use");
        }
    }
}

#[tokio::test]
async fn what_was_proved_serves_servers_that_are_opened_later() {
    let mut pg = postgres();
    let ann = scram_role(&pg, "ann", "annsword");
    let proxy = Proxy::start(&pg, |config| verifiers_only(config, &[("ann", &ann)]));
    let dsn = format!("{} password=annsword", proxy.dsn("ann", "postgres"));
    let clients = [proxy.connect(&dsn).await.unwrap(), proxy.connect(&dsn).await.unwrap()];
    // Two servers at a time, then others after PostgreSQL's restart.
    for client in &clients {
        client.batch_execute("begin; select 1").await.unwrap();
    }
    for client in &clients {
        client.batch_execute("rollback").await.unwrap();
    }
    pg.restart().unwrap();
    super::support::until("the lost servers to be noticed", || {
        proxy.snapshot().pools.iter().all(|pool| pool.servers_idle == 0)
    })
    .await;
    for client in &clients {
        let row = client.query_one("select current_user::text", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "ann");
    }
}

/// The salt is another one: what the client proves here is nothing there.
#[tokio::test]
async fn a_secret_that_is_not_postgresqls_is_said_to_be_of_no_use_there() {
    let pg = postgres();
    let before = scram_role(&pg, "ann", "annsword");
    pg.sql("alter role ann password 'annsword'").unwrap();
    let proxy = Proxy::start(&pg, |config| verifiers_only(config, &[("ann", &before)]));
    let error = who(&proxy, "ann", "annsword").await.unwrap_err();
    let report = error.as_db_error().unwrap();
    assert_eq!(report.code().code(), "28P01");
    assert!(report.message().contains("needs the password itself"), "{report:?}");
}
