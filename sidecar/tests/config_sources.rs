//! Where configuration values come from, and which one counts.

mod common;

use std::time::Duration;

use common::{URL, Written};
use expect_test::expect;
use secrecy::ExposeSecret as _;
use stent::config::Role;
use stent_agent::config::{Endpoint, Target};
use stent_proxy::config::{AuthMethod, PoolMode};

#[test]
fn a_database_url_alone_is_enough() {
    let loaded = Written::default().load().expect("sound");
    let proxy = loaded.proxy.expect("there is a proxy");
    assert_eq!(proxy.upstream.host, "db.internal");
    assert_eq!(proxy.upstream.port, 5433);
    assert_eq!(proxy.upstream.database.as_deref(), Some("orders"));
    assert_eq!(proxy.listen, ["127.0.0.1:6432".parse().expect("an address")]);
    assert_eq!(proxy.auth.method, AuthMethod::ScramSha256);
    assert_eq!(proxy.pool_mode, PoolMode::Transaction);
    assert_eq!(proxy.default_pool_size.get(), 20);
    assert_eq!(proxy.max_client_conn.get(), 1000);
    assert_eq!(proxy.query_wait_timeout, Some(Duration::from_secs(120)));
    assert!(loaded.warnings.is_empty());
}

#[test]
fn without_an_auth_file_the_user_of_the_url_is_who_may_log_in() {
    let loaded = Written::default().load().expect("sound");
    let users = loaded.proxy.expect("there is a proxy").auth.users;
    let users: Vec<_> = users.iter().map(|u| (u.name.as_str(), u.secret.expose_secret())).collect();
    assert_eq!(users, [("ann", "canary-5d1f")]);
}

#[test]
fn trust_needs_no_user_at_all() {
    let written = Written {
        variables: &[("DATABASE_URL", "postgres://h:5432/db"), ("STENT_AUTH_TYPE", "trust")],
        ..Written::default()
    };
    let proxy = written.load_bare().expect("sound").proxy.expect("there is a proxy");
    assert_eq!(proxy.upstream.user, None);
    assert!(proxy.auth.users.is_empty());
}

#[test]
fn each_value_says_where_it_came_from() {
    let written = Written {
        file: "\n# pools\ndefault_pool_size = 7\nlisten_port = 7000\nserver_idle_timeout = 2.5\n",
        variables: &[("STENT_LISTEN_PORT", "7001"), ("STENT_POOL_MODE", "session")],
        flags: &["--listen-port=7002", "--max_client_conn", "50"],
    };
    let report = written.load().expect("sound").report();
    let interesting =
        ["size", "listen_port", "pool_mode", "max_client", "idle_t", "url", "lifetime"];
    let lines = report.lines().filter(|line| interesting.iter().any(|word| line.contains(word)));
    expect![[r##"
        # database_url = "postgres://ann:********@db.internal:5433/orders"  # DATABASE_URL
        listen_port = 7002                                            # --listen-port
        max_client_conn = 50                                          # --max-client-conn
        max_client_conn_per_address = 0                               # default
        pool_mode = "session"                                         # STENT_POOL_MODE
        default_pool_size = 7                                         # stent.toml:3
        min_pool_size = 0                                             # default
        reserve_pool_size = 0                                         # default
        idle_transaction_timeout = 0                                  # default
        server_lifetime = 3600                                        # default
        server_idle_timeout = 2.5                                     # stent.toml:5
        heap_metrics_url = ""                                         # default"##]]
    .assert_eq(&lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_report_is_a_configuration_file_that_gives_the_same_report() {
    let written = Written {
        file: "listen_addr = [\"127.0.0.1\", \"::1\"]\ntargets = \"bun,worker=12\"\nemf = true\n\
               memory_limit = \"512MiB\"\ncloudwatch = false\nquery_wait_timeout = 0.25",
        ..Written::default()
    };
    let values = |report: &str| -> Vec<String> {
        let value = |line: &str| line.split("  #").next().map(|v| v.trim().to_owned());
        report.lines().filter_map(value).collect()
    };
    let first = written.load().expect("sound").report();
    let second = Written { file: &first, ..Written::default() }.load().expect("sound").report();
    assert_eq!(values(&first), values(&second));
}

#[test]
fn a_stent_variable_overrules_the_file_and_the_file_the_plain_database_url() {
    let file = "database_url = \"postgres://file:p@file/db\"";
    let both = Written { file, ..Written::default() };
    let host = |written: &Written<'_>| {
        written.load().expect("sound").proxy.expect("there is a proxy").upstream.host
    };
    assert_eq!(host(&both), "file");
    let all = Written {
        variables: &[("STENT_DATABASE_URL", "postgres://variable:p@variable/db")],
        ..both
    };
    assert_eq!(host(&all), "variable");
}

#[test]
fn libpq_variables_are_read_where_there_is_no_url() {
    let written = Written {
        variables: &[
            ("PGHOST", "pg.internal"),
            ("PGPORT", "5555"),
            ("PGUSER", "bob"),
            ("PGPASSWORD", "word"),
            ("PGCONNECT_TIMEOUT", "4"),
            ("PGSSLMODE", ""),
        ],
        ..Written::default()
    };
    let loaded = written.load_bare().expect("sound");
    let proxy = loaded.proxy.as_ref().expect("there is a proxy");
    assert_eq!((proxy.upstream.host.as_str(), proxy.upstream.port), ("pg.internal", 5555));
    assert_eq!(proxy.upstream.database.as_deref(), Some("bob"), "libpq's default");
    assert_eq!(proxy.server_connect_timeout, Duration::from_secs(4));
    assert!(loaded.report().contains("\"postgres://bob:********@pg.internal:5555/bob\""));
}

#[test]
fn connect_timeout_of_the_url_counts_until_the_key_is_written() {
    let url = ("DATABASE_URL", "postgres://u:p@h/db?connect_timeout=3");
    let written = Written { variables: &[url], ..Written::default() };
    let timeout = |written: &Written<'_>| {
        let proxy = written.load_bare().expect("sound").proxy;
        proxy.expect("there is a proxy").server_connect_timeout
    };
    assert_eq!(timeout(&written), Duration::from_secs(3));
    let report = written.load_bare().expect("sound").report();
    assert!(report.contains("server_connect_timeout = 3 "), "{report}");
    assert!(report.contains("# DATABASE_URL (connect_timeout)"), "{report}");
    let own = Written { flags: &["--server-connect-timeout", "9"], ..written };
    assert_eq!(timeout(&own), Duration::from_secs(9));
}

#[test]
fn zero_means_what_it_means_in_pgbouncer() {
    let zeroes = "query_wait_timeout = 0\nserver_lifetime = 0\nserver_idle_timeout = 0\n\
                  server_check_delay = 0\nmax_db_connections = 0\nmax_prepared_statements = 0";
    let written = Written { file: zeroes, ..Written::default() };
    let proxy = written.load().expect("sound").proxy.expect("there is a proxy");
    assert_eq!(proxy.query_wait_timeout, None, "for ever");
    assert_eq!(proxy.server_lifetime, Some(Duration::ZERO), "each server is used once");
    assert_eq!(proxy.server_idle_timeout, None, "never");
    assert_eq!(proxy.server_check_delay, Duration::ZERO, "always");
    assert_eq!(proxy.max_db_connections, None, "no limit");
    assert_eq!(proxy.max_prepared_statements, 0, "off");
}

#[test]
fn a_star_listens_on_every_address_and_nothing_on_none() {
    let every = Written { flags: &["--listen-addr", "*"], ..Written::default() };
    let proxy = every.load().expect("sound").proxy.expect("there is a proxy");
    assert_eq!(proxy.listen, ["0.0.0.0:6432".parse().expect("an address")]);
    let none = Written {
        flags: &["--listen-addr", "", "--unix-socket-dir", "/run/stent", "--admin-listen="],
        ..Written::default()
    };
    let loaded = none.load().expect("sound");
    assert!(loaded.admin.is_none());
    let proxy = loaded.proxy.expect("there is a proxy");
    assert!(proxy.listen.is_empty());
    assert_eq!(proxy.unix_socket_dir.as_deref(), Some("/run/stent".as_ref()));
    assert_eq!(loaded.agent.proxy_admin, None);
}

#[test]
fn the_agent_reaches_postgres_through_the_proxy() {
    let written = Written { flags: &["--listen-addr", "0.0.0.0"], ..Written::default() };
    let agent = written.load_as(Role::Agent).expect("sound").agent;
    let postgres = agent.postgres.expect("it samples");
    assert_eq!((postgres.host.as_str(), postgres.port), ("127.0.0.1", 6432));
    assert_eq!((postgres.user.as_str(), postgres.database.as_str()), ("ann", "orders"));
    let admin = "127.0.0.1:9187".parse().expect("an address");
    assert_eq!(agent.proxy_admin, Some(Endpoint::Tcp(admin)));
}

#[test]
fn a_lone_agent_needs_no_database() {
    let written = Written {
        variables: &[("STENT_TARGETS", "bun, 4711,worker=12"), ("DATABASE_URL", URL)],
        flags: &["--postgres-sampling=off"],
        ..Written::default()
    };
    let agent = written.load_as(Role::Agent).expect("sound").agent;
    assert!(agent.postgres.is_none());
    assert_eq!(
        agent.targets,
        [
            Target::Name("bun".to_owned()),
            Target::Pid { name: "pid-4711".to_owned(), pid: 4711 },
            Target::Pid { name: "worker".to_owned(), pid: 12 },
        ]
    );
}

#[test]
fn embedded_metrics_are_on_by_themselves_inside_an_ecs_task_only() {
    let outside = Written::default().load().expect("sound").agent;
    assert!(outside.emf.is_none());
    let metadata = ("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4/x");
    let inside = Written { variables: &[metadata], ..Written::default() };
    let emf = inside.load().expect("sound").agent.emf.expect("it is on");
    assert_eq!(emf.namespace, "Stent");
    assert_eq!(emf.dimensions, [("ServiceName".to_owned(), "stent".to_owned())]);
}

#[test]
fn parameters_that_the_proxy_does_not_act_on_are_accepted_with_a_warning() {
    let url = "postgres://u:p@h/db?schema=canary&application_name=x&sslmode=prefer";
    let written = Written { variables: &[("DATABASE_URL", url)], ..Written::default() };
    let warnings = written.load_bare().expect("sound").warnings;
    assert_eq!(warnings, ["DATABASE_URL: the proxy does not act on the parameter schema"]);
}

#[test]
fn a_child_gets_the_same_configuration_whatever_becomes_of_the_file() {
    let written = Written {
        file: "default_pool_size = 7\ndatabase_url = \"postgres://u:p@h/db\"",
        flags: &["--listen-port=7002"],
        ..Written::default()
    };
    let variables = written.load().expect("sound").child_variables();
    let pairs: Vec<(&str, &str)> =
        variables.iter().map(|(n, v)| (n.as_str(), v.expose_secret())).collect();
    assert_eq!(
        pairs,
        [
            ("STENT_DATABASE_URL", "postgres://u:p@h/db"),
            ("STENT_LISTEN_PORT", "7002"),
            ("STENT_DEFAULT_POOL_SIZE", "7"),
            ("STENT_CONFIG", ""),
        ]
    );
    let child = Written { variables: &pairs[..3], ..Written::default() };
    let child = child.load_as(Role::Proxy).expect("sound").proxy.expect("there is a proxy");
    assert_eq!((child.listen_port, child.default_pool_size.get()), (7002, 7));
}

#[test]
fn variables_that_kubernetes_makes_for_a_service_named_stent_are_no_mistake() {
    let written = Written {
        variables: &[
            ("STENT_SERVICE_HOST", "10.0.0.11"),
            ("STENT_SERVICE_PORT", "6432"),
            ("STENT_PORT", "tcp://10.0.0.11:6432"),
            ("STENT_PORT_6432_TCP", "tcp://10.0.0.11:6432"),
            ("STENT_PORT_6432_TCP_PROTO", "tcp"),
            ("STENT_PORT_6432_TCP_ADDR", "10.0.0.11"),
        ],
        ..Written::default()
    };
    assert!(written.load().is_ok());
}
