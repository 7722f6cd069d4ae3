//! Values that cannot work together, and what is missing: refused, with the text that says so.

mod common;

use common::{Written, file, flags, variable};
use expect_test::{Expect, expect};
use stent::config::Role;
use stent_testkit::TempDir;

#[test]
fn pool_sizes_that_contradict_each_other() {
    file(
        "min_pool_size = 30\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: min_pool_size (30) is more than default_pool_size (20)
          mend: lower min_pool_size or raise default_pool_size"#]],
    );
    file(
        "max_db_connections = 10\ndefault_pool_size = 20\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: default_pool_size (20) is more than max_db_connections (10)
          mend: lower default_pool_size or raise max_db_connections"#]],
    );
    file(
        "max_server_connections = 19\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: default_pool_size (20) is more than max_server_connections (19)
          mend: lower default_pool_size or raise max_server_connections"#]],
    );
}

#[test]
fn sizes_of_some_pools_that_cannot_be() {
    file(
        "pool_limits = [\"user=report pool_size=2\", \"user=api min_pool_size=21\"]\nmin_pool_size = 5\n",
        expect![[r#"
            2 problems in the configuration:
            stent.toml:1: the rule "user=report pool_size=2" of pool_limits makes min_pool_size (5) more than pool_size (2)
              mend: write both into the rule, the first no larger than the second
            stent.toml:1: the rule "user=api min_pool_size=21" of pool_limits makes min_pool_size (21) more than pool_size (20)
              mend: write both into the rule, the first no larger than the second"#]],
    );
    file(
        "pool_limits = [\"user=report pool_size=30\"]\nmax_db_connections = 25\n",
        expect![[r#"
            1 problem in the configuration:
            stent.toml:1: the pool_size of the rule "user=report pool_size=30" is more than max_db_connections (25)
              mend: lower it or raise max_db_connections"#]],
    );
    file(
        "pool_limits = [\"user=report size=2\"]\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: pool_limits: "user=report size=2" has "size=2", which is none of database=, user=, pool_size=, min_pool_size= and reserve_pool_size=
          mend: write rules such as "database=shop user=report pool_size=2", with commas between them"#]],
    );
}

#[test]
fn a_memory_of_servers_that_no_server_could_keep_to() {
    file(
        "server_max_memory = \"2MiB\"\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: server_max_memory is under 4 MiB, and a session of PostgreSQL begins with about 2
          mend: write 0, or much more, such as 64MiB"#]],
    );
}

#[test]
fn look_ups_that_cannot_be() {
    file(
        "auth_query = 'select usename, passwd from pg_shadow where usename = $1'\n",
        expect![[r#"
            1 problem in the configuration:
            stent.toml:1: auth_query does nothing without an auth_user, as whom to ask
              mend: set auth_user to a role that may read the secrets"#]],
    );
    file(
        "auth_query = 'select usename, passwd from pg_shadow'\nauth_user = 'stent'\n",
        expect![[r#"
            1 problem in the configuration:
            stent.toml:1: auth_query: "select usename, passwd from pg_shadow" has no $1 for the user's name
              mend: write one SELECT with $1 for the user's name, which gives a row of name and secret"#]],
    );
    file(
        "auth_user = 'stent'\nauth_type = 'trust'\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: users are looked up for their secrets, and auth_type trust asks for none
          mend: set auth_type scram-sha-256 or md5, or leave auth_user out"#]],
    );
}

#[test]
fn two_listeners_in_one_place() {
    flags(
        &["--admin-listen", "127.0.0.1:6432"],
        expect![[r#"
        1 problem in the configuration:
        --admin-listen: admin_listen (127.0.0.1:6432) and listen_port (127.0.0.1:6432) are the same place
          mend: give admin_listen another port"#]],
    );
    flags(
        &["--admin-listen", "0.0.0.0:7000", "--listen-port", "7000"],
        expect![[r#"
        1 problem in the configuration:
        --admin-listen: admin_listen (0.0.0.0:7000) and listen_port (127.0.0.1:7000) are the same place
          mend: give admin_listen another port"#]],
    );
    let written = Written { flags: &["--agent-listen", "127.0.0.1:9187"], ..Written::default() };
    assert!(written.load().is_ok(), "in `up` nobody listens on agent_listen");
    let alone = written.load_as(Role::Agent).expect_err("the agent meets the proxy's endpoint");
    expect![[r#"
        1 problem in the configuration:
        --agent-listen: agent_listen (127.0.0.1:9187) and admin_listen (127.0.0.1:9187) are the same place
          mend: give agent_listen another port"#]].assert_eq(&alone.to_string());
}

#[test]
fn no_listener_at_all() {
    flags(
        &["--listen-addr="],
        expect![[r#"
        1 problem in the configuration:
        --listen-addr: listen_addr is empty and there is no unix_socket_dir: clients could not connect
          mend: set one of them"#]],
    );
}

#[test]
fn a_socket_folder_that_no_socket_fits_into() {
    let folder = format!("/{}", "x".repeat(95));
    flags(
        &["--unix-socket-dir", &folder],
        expect![[r#"
        1 problem in the configuration:
        --unix-socket-dir: unix_socket_dir makes a socket path of 110 bytes, and the system allows 107
          mend: name a folder with a shorter path"#]],
    );
    flags(
        &["--unix-socket-dir", "run"],
        expect![[r#"
        1 problem in the configuration:
        --unix-socket-dir: unix_socket_dir is not an absolute path
          mend: write a path that begins with /"#]],
    );
}

#[test]
fn a_database_that_is_stent_itself() {
    variable(
        "DATABASE_URL",
        "postgres://u:p@localhost:6432/db",
        expect![[r#"
        1 problem in the configuration:
        DATABASE_URL: is the address on which stent itself listens
          mend: name the database's own host and port, or give stent another listen_port"#]],
    );
    variable(
        "DATABASE_URL",
        "postgres://u:p@127.0.0.1:6432/db",
        expect![[r#"
        1 problem in the configuration:
        DATABASE_URL: is the address on which stent itself listens
          mend: name the database's own host and port, or give stent another listen_port"#]],
    );
    let elsewhere = ("DATABASE_URL", "postgres://u:p@127.0.0.2:6432/db");
    assert!(Written { variables: &[elsewhere], ..Written::default() }.load().is_ok());
}

#[test]
fn no_database() {
    let problems = Written::default().load_bare().expect_err("there is no database");
    expect![[r#"
        1 problem in the configuration:
        configuration: there is no database: neither DATABASE_URL nor PGHOST is set
          mend: set DATABASE_URL=postgres://user:password@host:5432/database"#]]
    .assert_eq(&problems.to_string());
    variable(
        "DATABASE_URL",
        "",
        expect![[r#"
        1 problem in the configuration:
        DATABASE_URL: is empty
          mend: unset it, or write postgres://user:password@host:5432/database"#]],
    );
}

#[test]
fn nobody_who_could_log_in() {
    variable(
        "DATABASE_URL",
        "postgres://u@h/db",
        expect![[r#"
        1 problem in the configuration:
        DATABASE_URL: names no password, so with auth_type scram-sha-256 no client could log in
          mend: add it, name an auth_file, or set auth_type trust where only trusted clients can connect"#]],
    );
    variable(
        "DATABASE_URL",
        "postgres://h/db",
        expect![[r#"
        1 problem in the configuration:
        DATABASE_URL: names no user, so with auth_type scram-sha-256 no client could log in
          mend: add it, name an auth_file, or set auth_type trust where only trusted clients can connect"#]],
    );
}

#[test]
fn tls_to_the_database() {
    variable(
        "DATABASE_URL",
        "postgres://u:canary@h/db?sslmode=verify-full",
        expect![[r#"
        1 problem in the configuration:
        DATABASE_URL: the server's certificate is to be verified, and no root certificates are named
          mend: set server_tls_ca_file to the bundle of its authority (for RDS: AWS's global bundle), or to system"#]],
    );
    variable(
        "STENT_SERVER_TLS_CERT_FILE",
        "/cert.pem",
        expect![[r#"
        1 problem in the configuration:
        STENT_SERVER_TLS_CERT_FILE: server_tls_cert_file and server_tls_key_file belong together
          mend: set both, or none"#]],
    );
    let written =
        Written { variables: &[("PGHOST", "h"), ("PGSSLMODE", "always")], ..Written::default() };
    let problems = written.load_bare().expect_err("no such mode");
    expect![[r#"
        1 problem in the configuration:
        PGSSLMODE: has an sslmode or sslnegotiation that PostgreSQL does not know
          mend: write sslmode=disable, allow, prefer, require, verify-ca or verify-full, and sslnegotiation=postgres or direct"#]].assert_eq(&problems.to_string());
}

#[test]
fn direct_tls_where_tls_is_not_asked_for() {
    let url = ("DATABASE_URL", "postgres://u:p@h/db?sslnegotiation=direct&sslmode=require");
    assert!(Written { variables: &[url], ..Written::default() }.load().is_ok());
    variable(
        "DATABASE_URL",
        "postgres://u:canary@h/db?sslnegotiation=direct",
        expect![[r#"
        1 problem in the configuration:
        DATABASE_URL: sslnegotiation=direct begins with TLS, and the sslmode does not ask for it
          mend: write sslmode=require or stronger, or sslnegotiation=postgres"#]],
    );
}

#[test]
fn certificates_that_nobody_is_asked_for() {
    flags(
        &["--auth-type=cert", "--client-tls-sslmode=disable"],
        expect![[r#"
        2 problems in the configuration:
        --auth-type: auth_type cert goes by clients' certificates, and client_tls_sslmode asks for none
          mend: set client_tls_sslmode verify-ca, or another auth_type
        --auth-type: the agent reaches PostgreSQL through the proxy and has no certificate to show there
          mend: set postgres_sampling off, or another auth_type"#]],
    );
    let tls = ["--client-tls-cert-file=/c", "--client-tls-key-file=/k"];
    flags(
        &["--auth-type=cert", "--client-tls-sslmode=require", tls[0], tls[1]],
        expect![[r#"
        2 problems in the configuration:
        --auth-type: auth_type cert goes by clients' certificates, and client_tls_sslmode asks for none
          mend: set client_tls_sslmode verify-ca, or another auth_type
        --auth-type: the agent reaches PostgreSQL through the proxy and has no certificate to show there
          mend: set postgres_sampling off, or another auth_type"#]],
    );
    let verify = ["--client-tls-sslmode=verify-full", "--client-tls-ca-file=/a"];
    let off = "--postgres-sampling=off";
    let all = ["--auth-type=cert", verify[0], verify[1], tls[0], tls[1], off];
    let no_password = ("DATABASE_URL", "postgres://u@h/db");
    let written = Written { flags: &all, variables: &[no_password], ..Written::default() };
    assert!(written.load().is_ok(), "no client needs a password");
}

#[test]
fn tls_for_clients() {
    variable(
        "STENT_CLIENT_TLS_SSLMODE",
        "prefer",
        expect![[r#"
        1 problem in the configuration:
        STENT_CLIENT_TLS_SSLMODE: TLS for clients needs a certificate and its key
          mend: set client_tls_cert_file and client_tls_key_file, or client_tls_sslmode disable"#]],
    );
    variable(
        "STENT_CLIENT_TLS_SSLMODE",
        "verify-ca",
        expect![[r#"
        3 problems in the configuration:
        STENT_CLIENT_TLS_SSLMODE: TLS for clients needs a certificate and its key
          mend: set client_tls_cert_file and client_tls_key_file, or client_tls_sslmode disable
        STENT_CLIENT_TLS_SSLMODE: clients' certificates are to be verified, and no authority is named
          mend: set client_tls_ca_file
        STENT_CLIENT_TLS_SSLMODE: the agent reaches PostgreSQL through the proxy and does not speak TLS there
          mend: set unix_socket_dir, which needs no TLS, or postgres_sampling off"#]],
    );
}

#[test]
fn an_auth_file_with_its_line() {
    let folder = TempDir::new("auth").expect("a folder");
    let path = folder.path().join("userlist.txt");
    let refused = |text: &str, expected: Expect| {
        std::fs::write(&path, text).expect("written");
        let flag = format!("--auth-file={}", path.display());
        let written = Written { flags: &[&flag], ..Written::default() };
        let problems = written.problems().replace(&path.display().to_string(), "USERLIST");
        expected.assert_eq(&problems);
    };
    refused(
        "\"ann\" \"canary\"\nbob canary\n",
        expect![[r#"
        1 problem in the configuration:
        USERLIST:2: the line does not begin with a quoted user name
          mend: write "name" "secret""#]],
    );
    refused(
        "\"ann\" \"canary\"\n\"bob\" \"canary\n",
        expect![[r#"
        1 problem in the configuration:
        USERLIST:2: a quoted string does not end on its line
          mend: write a quote inside it twice ("")"#]],
    );
    let md5 = "\"ann\" \"x\"\n\"bob\" \"md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n";
    refused(
        md5,
        expect![[r#"
        1 problem in the configuration:
        USERLIST:2: the secret of user "bob" is an md5 one, with which nobody can log in under auth_type scram-sha-256
          mend: store the password or its SCRAM-SHA-256 secret, or set auth_type md5"#]],
    );
    std::fs::remove_file(&path).expect("removed");
    let flag = format!("--auth-file={}", path.display());
    let missing = Written { flags: &[&flag], ..Written::default() }.problems();
    expect![[r#"
        1 problem in the configuration:
        --auth-file: auth_file cannot be read: USERLIST: it does not exist
          mend: name a readable file with lines of the form "user" "secret""#]]
    .assert_eq(&missing.replace(&path.display().to_string(), "USERLIST"));
}

#[test]
fn a_fleet_budget_without_a_user_or_with_numbers_that_cannot_be_is_refused() {
    let written = Written {
        flags: &[
            "--fleet-budget=on",
            "--fleet-interval=61",
            "--fleet-minimum=30",
            "--max-server-connections=20",
        ],
        variables: &[("DATABASE_URL", "postgres://db.internal/orders")],
        ..Written::default()
    };
    let problems = written.problems();
    for said in [
        "--fleet-budget: fleet_budget is on, and the database URL names no user",
        "--fleet-interval: fleet_interval is over 60 seconds",
        "--fleet-minimum: fleet_minimum (30) is more than max_server_connections (20)",
    ] {
        assert!(problems.contains(said), "{said} in {problems}");
    }
    let off = ["--fleet-interval=61", "--fleet-minimum=30", "--max-server-connections=20"];
    assert!(Written { flags: &off, ..Written::default() }.load().is_ok(), "nobody asks then");
}
