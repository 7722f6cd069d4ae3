//! `auth_user`, `auth_query` and `auth_dbname`: what they become, and the whole way with the binary.

mod common;

use common::running::{SOON, Stent};
use common::{Written, http};
use stent_testkit::{Postgres, wait_for};

/// In no log, page or title.
const CANARY: &str = "kanarienvogel9753";

#[test]
fn users_are_looked_up_in_the_urls_database_unless_another_is_named() {
    let resolve = |file: &str| {
        let loaded = Written { file, ..Written::default() }.load().expect("sound");
        loaded.proxy.expect("a proxy").auth.query
    };
    assert!(resolve("").is_none());
    let default = resolve("auth_user = 'asker'\n").expect("a query");
    assert_eq!((default.user.as_str(), default.database.as_str()), ("asker", "orders"));
    assert_eq!(default.sql, stent_wire::auth::lookup::DEFAULT_QUERY);
    let own = "auth_user = 'asker'\nauth_dbname = 'users'\nauth_query = 'select $1, 1'\n";
    let own = resolve(own).expect("a query");
    assert_eq!((own.database.as_str(), own.sql.as_str()), ("users", "select $1, 1"));
}

#[test]
fn a_url_without_a_password_is_enough_where_users_are_looked_up() {
    let url = [("DATABASE_URL", "postgres://asker@db/orders")];
    let loaded = |file| Written { file, variables: &url, ..Written::default() }.load();
    assert!(loaded("").is_err(), "nobody could log in");
    assert!(loaded("auth_user = 'asker'\n").is_ok());
}

/// The proxy's own password comes from a variable, its clients' from PostgreSQL.
#[tokio::test]
async fn no_password_is_in_the_configuration_and_everybody_gets_in() {
    let postgres = Postgres::builder().auth("scram-sha-256").password(CANARY).start();
    let postgres = postgres.expect("a PostgreSQL");
    postgres.sql(&format!("create role ann login password 'a{CANARY}'")).expect("a role");
    let url = postgres.url_for("postgres", "postgres");
    let mut stent = Stent::new(&url);
    stent.command.env("STENT_LOG_LEVEL", "trace").env("STENT_POSTGRES_SAMPLING", "off");
    stent.command.env("STENT_AUTH_USER", "postgres").env("DB_PASSWORD", CANARY);
    stent.command.env("STENT_SERVER_PASSWORD_SOURCE", "postgres=env:DB_PASSWORD");
    let mut up = stent.up();
    wait_for("readiness", SOON, || http::get(&stent.admin, "/readyz")).expect("ready");
    for (user, password) in [("postgres", CANARY.to_owned()), ("ann", format!("a{CANARY}"))] {
        let dsn = format!(
            "host=127.0.0.1 port={} user={user} password={password} dbname=postgres",
            stent.listen_port
        );
        let (client, connection) =
            tokio_postgres::connect(&dsn, tokio_postgres::NoTls).await.expect("a client");
        tokio::spawn(connection);
        let row = client.query_one("select current_user::text", &[]).await.expect("a row");
        assert_eq!(row.get::<_, String>(0), user);
        let wrong = dsn.replace(&password, "wrong");
        let error = tokio_postgres::connect(&wrong, tokio_postgres::NoTls).await.err();
        let code = error.as_ref().and_then(|error| error.code()).map(|code| code.code());
        assert_eq!(code, Some("28P01"), "{error:?}");
    }
    let pages =
        ["/metrics", "/snapshot"].map(|page| http::get(&stent.admin, page).expect("a page"));
    assert_eq!(common::running::terminated(&mut up), Some(0), "{}", up.output());
    for text in pages.iter().chain([&up.output()]) {
        assert!(!text.contains(CANARY), "the canary sings:\n{text}");
    }
}
