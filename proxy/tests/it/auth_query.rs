//! `auth_query`: users whom only PostgreSQL knows.

use stent_proxy::Config;
use stent_proxy::config::{AuthMethod, AuthQuery, PoolMode};
use stent_testkit::{Postgres, Stop};
use stent_wire::auth::lookup::DEFAULT_QUERY;

use super::raw::{Message, Raw, field, message, startup};
use super::support::{Proxy, code, until, user};

/// A proxy that looks users up as the superuser.
fn proxy(pg: &Postgres, method: AuthMethod, change: impl FnOnce(&mut Config)) -> Proxy {
    Proxy::start(pg, |config| {
        config.auth.method = method;
        config.auth.query = Some(AuthQuery {
            user: "postgres".to_owned(),
            database: "postgres".to_owned(),
            sql: DEFAULT_QUERY.to_owned(),
        });
        change(config);
    })
}

fn asks(config: &mut Config, sql: &str) {
    config.auth.query.as_mut().unwrap().sql = sql.to_owned();
}

async fn who(proxy: &Proxy, name: &str, password: &str) -> Result<String, tokio_postgres::Error> {
    let dsn = format!("{} password='{password}'", proxy.dsn(name, "postgres"));
    let client = proxy.connect(&dsn).await?;
    client.query_one("select current_user::text", &[]).await.map(|row| row.get(0))
}

async fn refused(proxy: &Proxy, name: &str, password: &str) -> String {
    code(&who(proxy, name, password).await.unwrap_err())
}

fn role(pg: &Postgres, form: &str, name: &str, rest: &str) {
    pg.sql(&format!("set password_encryption = '{form}'; create role {name} login {rest}"))
        .unwrap();
}

#[tokio::test]
async fn users_of_postgresql_log_in_with_their_own_passwords_in_every_mode() {
    let pg = Postgres::builder().auth("md5").password("s3cret").start().unwrap();
    role(&pg, "md5", "ann", "password 'of ann'");
    role(&pg, "scram-sha-256", "bob", "password 'of bob'");
    for mode in [PoolMode::Session, PoolMode::Transaction, PoolMode::Statement] {
        let proxy = proxy(&pg, AuthMethod::Md5, |config| config.pool_mode = mode);
        assert_eq!(who(&proxy, "ann", "of ann").await.unwrap(), "ann", "{mode:?}");
        assert_eq!(who(&proxy, "bob", "of bob").await.unwrap(), "bob", "{mode:?}");
        assert_eq!(refused(&proxy, "ann", "of bob").await, "28P01");
        assert_eq!(refused(&proxy, "bob", "of ann").await, "28P01");
    }
    let proxy = proxy(&pg, AuthMethod::ScramSha256, |_| {});
    assert_eq!(who(&proxy, "bob", "of bob").await.unwrap(), "bob");
    assert_eq!(refused(&proxy, "ann", "of ann").await, "28P01", "an MD5 secret under SCRAM");
}

#[tokio::test]
async fn the_list_goes_before_the_query() {
    let pg = Postgres::start().unwrap();
    role(&pg, "scram-sha-256", "ann", "password 'of postgresql'");
    let proxy = proxy(&pg, AuthMethod::ScramSha256, |config| {
        config.auth.users = vec![user("ann", "of the list")];
    });
    assert_eq!(who(&proxy, "ann", "of the list").await.unwrap(), "ann");
    assert_eq!(refused(&proxy, "ann", "of postgresql").await, "28P01");
}

/// A whole SCRAM exchange with a proof that is wrong.
fn wrong_proof(proxy: &Proxy, name: &str) -> Vec<Message> {
    let mut raw = Raw::connect(proxy);
    raw.send(&startup(&[("user", name), ("database", "postgres")]));
    let mut said = vec![raw.next().unwrap()];
    let first = b"n,,n=,r=abcdefghijklmnopqrstuvwx";
    let length = (first.len() as u32).to_be_bytes();
    raw.send(&message(b'p', &[&b"SCRAM-SHA-256\0"[..], &length, first].concat()));
    said.push(raw.next().unwrap());
    let server_first = String::from_utf8(said[1].1[4..].to_vec()).unwrap();
    let nonce = server_first.split(',').next().unwrap();
    let proof = "A".repeat(43) + "=";
    raw.send(&message(b'p', format!("c=biws,{nonce},p={proof}").as_bytes()));
    said.push(raw.next().unwrap());
    assert!(raw.next().is_none(), "the connection ends");
    said
}

/// Checklist 28: VALID UNTIL and NULL passwords. Checklist 22: strangers are shown no difference.
#[tokio::test]
async fn users_whom_postgresql_would_refuse_are_refused_with_the_exchange_of_a_stranger() {
    let pg = Postgres::start().unwrap();
    let past = "password 'pw' valid until '2001-01-01'";
    role(&pg, "scram-sha-256", "until_past", past);
    role(&pg, "scram-sha-256", "until_soon", "password 'pw' valid until '2999-01-01'");
    role(&pg, "scram-sha-256", "until_ever", "password 'pw' valid until 'infinity'");
    role(&pg, "scram-sha-256", "no_passwrd", "");
    pg.sql("create role no_login_r password 'pw'").unwrap();
    for method in [AuthMethod::ScramSha256, AuthMethod::Md5] {
        let proxy = proxy(&pg, method, |_| {});
        assert_eq!(who(&proxy, "until_soon", "pw").await.unwrap(), "until_soon");
        assert_eq!(who(&proxy, "until_ever", "pw").await.unwrap(), "until_ever");
        let shape = |name: &str| {
            let said = wrong_proof(&proxy, name);
            let (tag, last) = said.last().unwrap();
            assert_eq!((*tag, field(last, b'C').as_str()), (b'E', "28P01"), "{name}");
            let text = format!("password authentication failed for user \"{name}\"");
            assert_eq!((field(last, b'S'), field(last, b'M')), ("FATAL".to_owned(), text));
            said.iter().map(|(tag, body)| (*tag, body.len())).collect::<Vec<_>>()
        };
        let of_a_user = shape("until_soon");
        for name in ["until_past", "no_passwrd", "no_login_r", "no_stanger"] {
            assert_eq!(refused(&proxy, name, "pw").await, "28P01", "{name}");
            assert_eq!(shape(name), of_a_user, "{name}");
        }
    }
}

#[tokio::test]
async fn a_password_that_has_expired_since_the_last_login_is_refused_at_the_next() {
    let pg = Postgres::start().unwrap();
    role(&pg, "scram-sha-256", "ann", "password 'pw'");
    let proxy = proxy(&pg, AuthMethod::ScramSha256, |_| {});
    let before = who(&proxy, "ann", "pw").await;
    assert_eq!(before.unwrap(), "ann");
    pg.sql("alter role ann valid until '2001-01-01'").unwrap();
    let give_up = std::time::Instant::now() + super::support::PATIENCE;
    while who(&proxy, "ann", "pw").await.is_ok() {
        assert!(std::time::Instant::now() < give_up, "the expiry is never noticed");
    }
    assert_eq!(refused(&proxy, "ann", "pw").await, "28P01");
}

#[tokio::test]
async fn a_new_password_is_noticed_and_the_old_one_is_worth_nothing_then() {
    let pg = Postgres::builder().auth("scram-sha-256").password("s3cret").start().unwrap();
    role(&pg, "scram-sha-256", "ann", "password 'first'");
    let proxy = proxy(&pg, AuthMethod::ScramSha256, |_| {});
    assert_eq!(who(&proxy, "ann", "first").await.unwrap(), "ann");
    pg.sql("alter role ann password 'second'").unwrap();
    let give_up = std::time::Instant::now() + super::support::PATIENCE;
    while who(&proxy, "ann", "second").await.is_err() {
        assert!(std::time::Instant::now() < give_up, "the new password is never taken");
    }
    assert_eq!(refused(&proxy, "ann", "first").await, "28P01");
    assert_eq!(who(&proxy, "ann", "second").await.unwrap(), "ann");
}

/// The query says what its connection is like: that is the password then.
#[tokio::test]
async fn nothing_that_a_client_brings_reaches_the_connection_that_is_asked() {
    let pg = Postgres::start().unwrap();
    pg.sql("create database other").unwrap();
    pg.sql("create role ann login").unwrap();
    pg.sql("alter role postgres set search_path = public").unwrap();
    for mode in [PoolMode::Session, PoolMode::Transaction] {
        let proxy = proxy(&pg, AuthMethod::ScramSha256, |config| {
            config.pool_mode = mode;
            config.auth.users = vec![user("postgres", "pw")];
            asks(
                config,
                "select $1::text, concat_ws('|', current_setting('search_path'), \
                 current_setting('work_mem'), current_database(), session_user)",
            );
        });
        // The user of the look-ups comes along as a client too, and leaves something behind.
        let own = format!("{} password=pw", proxy.dsn("postgres", "postgres"));
        let own = proxy.connect(&own).await.unwrap();
        own.batch_execute("set search_path = evil; set work_mem = '7MB'").await.unwrap();
        drop(own);
        let dsn = format!(
            "{} options='-c search_path=evil,pg_catalog -c work_mem=9MB' \
             password='pg_catalog, pg_temp|4MB|postgres|postgres'",
            proxy.dsn("ann", "other")
        );
        proxy.connect(&dsn).await.unwrap();
        let pools = proxy.snapshot().pools;
        let asked = pools.iter().find(|pool| pool.user == "postgres (auth_query)").unwrap();
        assert_eq!((asked.database.as_str(), asked.totals.opened), ("postgres", 1));
    }
}

#[tokio::test]
async fn a_name_is_a_name_and_never_sql() {
    let pg = Postgres::start().unwrap();
    pg.sql("create role \"o'brien; --\" login password 'pw'").unwrap();
    let proxy = proxy(&pg, AuthMethod::ScramSha256, |_| {});
    for (name, code_expected) in
        [("o'brien; --", "in"), ("' or ''='", "28P01"), ("x'; drop role postgres; --", "28P01")]
    {
        let mut raw = Raw::connect(&proxy);
        raw.send(&startup(&[("user", name), ("database", "postgres")]));
        let (tag, body) = raw.next().unwrap();
        assert_eq!((tag, &body[..4]), (b'R', &[0, 0, 0, 10][..]), "{name}: SCRAM is asked for");
        if code_expected != "in" {
            let said = wrong_proof(&proxy, name);
            assert_eq!(field(&said[2].1, b'C'), code_expected);
        }
    }
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(proxy.port).user("o'brien; --").password("pw").dbname("postgres");
    let (_client, _connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
}

#[tokio::test]
async fn many_logins_of_one_user_are_one_question() {
    let pg = Postgres::start().unwrap();
    role(&pg, "scram-sha-256", "ann", "password 'pw'");
    pg.sql("create sequence asked").unwrap();
    let proxy = proxy(&pg, AuthMethod::ScramSha256, |config| {
        asks(
            config,
            "select rolname, rolpassword from pg_authid \
             where rolname = $1 and nextval('public.asked') > 0",
        );
    });
    let dsn = format!("{} password=pw", proxy.dsn("ann", "postgres"));
    let logins: Vec<_> = (0..20)
        .map(|_| {
            let dsn = dsn.clone();
            tokio::spawn(async move { tokio_postgres::connect(&dsn, tokio_postgres::NoTls).await })
        })
        .collect();
    for login in logins {
        assert!(login.await.unwrap().is_ok());
    }
    let asked: u32 = pg.value("select last_value from asked").unwrap().parse().unwrap();
    assert!(asked <= 3, "{asked} questions for 20 logins");
}

#[tokio::test]
async fn a_query_that_fails_lets_nobody_in_says_nothing_and_harms_no_listed_user() {
    let pg = Postgres::start().unwrap();
    role(&pg, "scram-sha-256", "ann", "password 'pw'");
    for sql in ["select usename, passwd from nowhere where $1 = 'x'", "select 1 / 0, $1::text"] {
        let proxy = proxy(&pg, AuthMethod::ScramSha256, |config| {
            config.auth.users = vec![user("postgres", "pw")];
            asks(config, sql);
        });
        let error = who(&proxy, "ann", "pw").await.unwrap_err();
        assert_eq!(code(&error), "XX000");
        let said = error.as_db_error().unwrap();
        assert_eq!(said.message(), "the user cannot be looked up at present");
        assert_eq!(who(&proxy, "postgres", "pw").await.unwrap(), "postgres");
    }
    for sql in ["select $1::text", "select $1::text, 'pw' from generate_series(1, 5)"] {
        let proxy = proxy(&pg, AuthMethod::ScramSha256, |config| asks(config, sql));
        assert_eq!(refused(&proxy, "ann", "pw").await, "28P01", "{sql}");
    }
}

#[tokio::test]
async fn while_postgresql_is_away_nobody_is_looked_up_and_afterwards_everybody_is() {
    let mut pg = Postgres::start().unwrap();
    role(&pg, "scram-sha-256", "ann", "password 'pw'");
    let proxy = proxy(&pg, AuthMethod::ScramSha256, |config| {
        config.client_login_timeout = std::time::Duration::from_secs(2);
    });
    assert_eq!(who(&proxy, "ann", "pw").await.unwrap(), "ann");
    pg.stop(Stop::Fast).unwrap();
    let mut raw = Raw::connect(&proxy);
    raw.send(&startup(&[("user", "bob"), ("database", "postgres")]));
    let (tag, body) = raw.next().unwrap();
    assert_eq!((tag, &field(&body, b'C')[..2]), (b'E', "08"), "{}", field(&body, b'M'));
    pg.resume().unwrap();
    let give_up = std::time::Instant::now() + super::support::PATIENCE;
    while who(&proxy, "ann", "pw").await.is_err() {
        assert!(std::time::Instant::now() < give_up, "nobody gets in any more");
    }
    until("the login's end", || proxy.snapshot().clients.login == 0).await;
}

#[tokio::test]
async fn a_plain_secret_that_changes_is_not_proved_with_the_old_ones_keys() {
    let pg = Postgres::start().unwrap();
    pg.sql("create role ann login; create table secrets (name text, secret text)").unwrap();
    pg.sql("insert into secrets values ('ann', 'first')").unwrap();
    let proxy = proxy(&pg, AuthMethod::ScramSha256, |config| {
        asks(config, "select name, secret from public.secrets where name = $1");
    });
    assert_eq!(who(&proxy, "ann", "first").await.unwrap(), "ann");
    pg.sql("update secrets set secret = 'second'").unwrap();
    let give_up = std::time::Instant::now() + super::support::PATIENCE;
    while who(&proxy, "ann", "second").await.is_err() {
        assert!(std::time::Instant::now() < give_up, "the new secret is never taken");
    }
    assert_eq!(refused(&proxy, "ann", "first").await, "28P01");
}

/// The function of the guide, for a role that may read nothing itself.
#[tokio::test]
async fn a_role_without_rights_looks_users_up_through_a_function() {
    let pg = Postgres::builder().auth("scram-sha-256").password("s3cret").start().unwrap();
    role(&pg, "scram-sha-256", "stent_auth", "password 'of the proxy'");
    role(&pg, "scram-sha-256", "ann", "password 'pw'");
    pg.sql(
        "create schema stent; \
         create function stent.lookup(who name) returns table (name name, secret text) \
         language sql security definer set search_path = pg_catalog, pg_temp as \
         'select rolname, rolpassword from pg_authid where rolname = who and not rolsuper'; \
         revoke all on function stent.lookup(name) from public; \
         grant usage on schema stent to stent_auth; \
         grant execute on function stent.lookup(name) to stent_auth",
    )
    .unwrap();
    let proxy = proxy(&pg, AuthMethod::ScramSha256, |config| {
        config.auth.users = vec![user("stent_auth", "of the proxy")];
        config.auth.query.as_mut().unwrap().user = "stent_auth".to_owned();
        asks(config, "select name, secret from stent.lookup($1)");
    });
    assert_eq!(who(&proxy, "ann", "pw").await.unwrap(), "ann");
    assert_eq!(
        refused(&proxy, "postgres", "s3cret").await,
        "28P01",
        "the function hides superusers"
    );
}
