//! `auth_type = hba`: which rule decides, by what the client is and how it comes.

use stent_proxy::Config;
use stent_proxy::config::{AuthMethod, PoolMode};
use stent_testkit::{Postgres, TempDir, wait_for};
use stent_wire::auth::hba;

use super::auth::{psql, said, scram_role, tls_for_clients};
use super::raw::{Message, Raw, field, startup};
use super::support::{PATIENCE, Proxy, code, user};

fn by_rules(config: &mut Config, rules: &str) {
    config.auth.method = AuthMethod::Hba;
    config.auth.rules = hba::parse("hba.conf", rules.as_bytes()).unwrap();
    config.auth.users = vec![user("postgres", "right"), user("ann", "right")];
}

fn first_word(proxy: &Proxy, params: &[(&str, &str)]) -> Message {
    let mut raw = Raw::connect(proxy);
    raw.send(&startup(params));
    raw.next().unwrap()
}

#[tokio::test]
async fn the_first_rule_that_fits_decides_what_is_asked() {
    let pg = Postgres::start().unwrap();
    pg.sql("create role ann login; create role eve login").unwrap();
    pg.sql("create database ann").unwrap();
    let proxy = Proxy::start(&pg, |config| {
        by_rules(
            config,
            "host all      eve      all           reject\n\
             host postgres postgres 127.0.0.0/8   trust\n\
             host sameuser all      all           scram-sha-256\n\
             host postgres ann      127.0.0.1/32  md5\n",
        );
    });
    let asked = |name: &str, database: &str| {
        let (tag, body) = first_word(&proxy, &[("user", name), ("database", database)]);
        match tag {
            b'R' => u32::from_be_bytes(body[..4].try_into().unwrap()).to_string(),
            _ => format!("{} {}", field(&body, b'C'), field(&body, b'M')),
        }
    };
    assert_eq!(asked("postgres", "postgres"), "0");
    assert_eq!(asked("ann", "ann"), "10");
    assert_eq!(asked("ann", "postgres"), "5");
    let rejected = "28000 pg_hba.conf rejects connection for host \"127.0.0.1\", user \"eve\", \
                    database \"ann\", no encryption";
    assert_eq!(asked("eve", "ann"), rejected);
    let no_rule = "28000 no pg_hba.conf entry for host \"127.0.0.1\", user \"ann\", \
                   database \"template1\", no encryption";
    assert_eq!(asked("ann", "template1"), no_rule);
    for database in ["ann", "postgres"] {
        let dsn = format!("{} password=right", proxy.dsn("ann", database));
        proxy.connect(&dsn).await.unwrap().query_one("select 1", &[]).await.unwrap();
        let dsn = format!("{} password=wrong", proxy.dsn("ann", database));
        assert_eq!(code(&proxy.connect(&dsn).await.err().unwrap()), "28P01");
    }
    let (_, body) = first_word(&proxy, &[("user", "eve")]);
    assert!(field(&body, b'H').contains("hba.conf"), "the rules are ours");
}

/// The texts are PostgreSQL's: the same rules there and here.
#[test]
fn refusals_are_in_postgresqls_words() {
    let pg = Postgres::start().unwrap();
    let rules = "local all postgres trust\nhost template1 all all reject\n";
    let file = pg.value("show hba_file").unwrap();
    let copy = "copy (select unnest(string_to_array($r$RULES$r$, E'\\n'))) to 'FILE'";
    pg.sql(&copy.replace("RULES", rules).replace("FILE", &file)).unwrap();
    pg.sql("select pg_reload_conf()").unwrap();
    let direct = |database: &str, more: &[(&str, &str)]| {
        let stream = std::net::TcpStream::connect((pg.host(), pg.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Raw::on(stream);
        raw.send(&startup(&[&[("user", "postgres"), ("database", database)][..], more].concat()));
        raw.next().unwrap()
    };
    wait_for("the rules in force", PATIENCE, || (direct("x", &[]).0 == b'E').then_some(()))
        .unwrap();
    // It reaches PostgreSQL over the unix socket, for which there is a rule.
    let folder = pg.socket_dir().display().to_string();
    let proxy = Proxy::start(&pg, |config| {
        by_rules(config, rules);
        config.upstream.host = folder;
        config.pool_mode = PoolMode::Session;
    });
    let physical = [("replication", "true")];
    let logical = [("replication", "database")];
    for (database, more) in [
        ("postgres", &[][..]),
        ("template1", &[]),
        ("postgres", &physical),
        ("template1", &physical),
        ("template1", &logical),
    ] {
        let theirs = direct(database, more);
        let params = [&[("user", "postgres"), ("database", database)][..], more].concat();
        let ours = first_word(&proxy, &params);
        for kind in [b'S', b'C', b'M'] {
            let (theirs, ours) = (field(&theirs.1, kind), field(&ours.1, kind));
            assert_eq!(ours, theirs, "{database} {more:?}");
        }
    }
}

#[tokio::test]
async fn tls_the_unix_socket_and_plain_tcp_have_rules_of_their_own() {
    let pg = Postgres::start().unwrap();
    pg.sql("create role ann login").unwrap();
    let folder = TempDir::new("rules").unwrap();
    let path = folder.path().to_owned();
    let proxy = Proxy::start(&pg, |config| {
        by_rules(
            config,
            "hostssl   all ann all password\n\
             hostnossl all ann all reject\n\
             local     all ann     trust\n\
             hostssl   all postgres all cert\n",
        );
        config.unix_socket_dir = Some(path.clone());
        config.client_tls = tls_for_clients(&folder);
    });
    let over = |name: &str, mode: &str, password: &str| {
        let options = format!("user={name} dbname=postgres sslmode={mode}");
        said(&psql(&proxy, password, &options))
    };
    assert_eq!(over("ann", "require", "right"), "ann");
    assert!(over("ann", "require", "wrong").contains("password authentication failed"));
    assert!(over("ann", "disable", "right").contains("pg_hba.conf rejects connection"));
    let dsn = format!("host={} port={} user=ann dbname=postgres", path.display(), proxy.port);
    proxy.connect(&dsn).await.unwrap().query_one("select 1", &[]).await.unwrap();
    let nobody = over("eve", "require", "right");
    assert!(nobody.contains("database \"postgres\", SSL encryption"), "{nobody}");
    // No certificate has been shown.
    let without = over("postgres", "require", "right");
    assert!(without.contains("FATAL") && without.contains("certificate"), "{without}");
}

#[test]
fn without_rules_nobody_comes_in() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| config.auth.method = AuthMethod::Hba);
    let (tag, body) = first_word(&proxy, &[("user", "postgres")]);
    assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "28000"));
}

/// Two networks, one user: what is asked depends on the rule, what is checked on the secret.
#[tokio::test]
async fn a_rule_may_ask_less_than_another_and_the_secret_is_the_same() {
    let pg = Postgres::start().unwrap();
    let secret = scram_role(&pg, "ann", "right");
    let proxy = Proxy::start(&pg, |config| {
        by_rules(config, "host postgres ann all scram-sha-256\nhost all ann all md5");
        config.auth.users = vec![user("ann", &secret)];
    });
    for database in ["postgres", "template1"] {
        let right = format!("{} password=right", proxy.dsn("ann", database));
        proxy.connect(&right).await.unwrap().query_one("select 1", &[]).await.unwrap();
        let wrong = format!("{} password=wrong", proxy.dsn("ann", database));
        assert_eq!(code(&proxy.connect(&wrong).await.err().unwrap()), "28P01");
    }
}
