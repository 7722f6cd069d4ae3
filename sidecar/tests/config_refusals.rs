//! Every kind of configuration that is refused, with the text that says so.

mod common;

use common::Written;
use expect_test::{Expect, expect};
use stent::config::Role;
use stent_testkit::TempDir;

fn file(text: &str, expected: Expect) {
    expected.assert_eq(&Written { file: text, ..Written::default() }.problems());
}

fn variable(name: &str, value: &str, expected: Expect) {
    let written = Written { variables: &[(name, value)], ..Written::default() };
    expected.assert_eq(&written.problems());
}

fn flags(flags: &[&str], expected: Expect) {
    expected.assert_eq(&Written { flags, ..Written::default() }.problems());
}

#[test]
fn an_unknown_key_with_what_was_meant() {
    file("listen_port = 6432\ndefualt_pool_size = 3\n", expect![[r#"
        1 problem in the configuration:
        stent.toml:2: "defualt_pool_size" is not a key of stent
          mend: did you mean default_pool_size?"#]]);
    file("colour = 3\n", expect![[r#"
        1 problem in the configuration:
        stent.toml:1: "colour" is not a key of stent
          mend: remove it; `stent help` lists the keys"#]]);
}

#[test]
fn a_table() {
    file("[proxy]\nlisten_port = 6432\n", expect![[r#"
        1 problem in the configuration:
        stent.toml:1: "proxy" is not a key of stent
          mend: write the keys without a [table]"#]]);
}

#[test]
fn an_unknown_variable_with_what_was_meant() {
    variable("STENT_POOL_SIZE", "canary", expect![[r#"
        1 problem in the configuration:
        STENT_POOL_SIZE: is not a variable of stent
          mend: did you mean STENT_POOL_MODE? Else unset it"#]]);
    variable("STENT_colour", "canary", expect![[r#"
        1 problem in the configuration:
        STENT_colour: is not a variable of stent
          mend: unset it; `stent help` lists the keys"#]]);
    variable("STENT_listen_port", "1", expect![[r#"
        1 problem in the configuration:
        STENT_listen_port: is not a variable of stent
          mend: write it in capitals: STENT_LISTEN_PORT"#]]);
}

#[test]
fn an_unknown_flag_with_what_was_meant() {
    flags(&["--listen-prot", "1"], expect![[r#"
        1 problem in the configuration:
        --listen-prot: is not a flag of stent
          mend: did you mean --listen-port?"#]]);
    flags(&["--colour"], expect![[r#"
        1 problem in the configuration:
        --colour: is not a flag of stent
          mend: `stent help` lists them"#]]);
    flags(&["now"], expect![[r#"
        1 problem in the configuration:
        command line: "now" is not a flag
          mend: write flags as --key value, and a command of your own after -- (stent run)"#]]);
}

#[test]
fn a_flag_without_a_value() {
    flags(&["--listen-port", "--pool-mode", "session"], expect![[r#"
        1 problem in the configuration:
        --listen-port: has no value
          mend: write a port from 1 to 65535"#]]);
    flags(&["--config"], expect![[r#"
        1 problem in the configuration:
        --config: is not a flag of stent
          mend: name the file: --config stent.toml"#]]);
}

#[test]
fn a_flag_for_a_secret() {
    flags(&["--database-url", "postgres://u:canary@h/db"], expect![[r#"
        1 problem in the configuration:
        --database-url: is refused: the arguments of a process can be read by everyone
          mend: set the variable STENT_DATABASE_URL"#]]);
}

#[test]
fn a_wrong_type() {
    file("listen_port = \"6432\"\n", expect![[r#"
        1 problem in the configuration:
        stent.toml:1: listen_port: is a TOML string, which it cannot be
          mend: write without quotes: a port from 1 to 65535"#]]);
    file("listen_port = 6432.5\n", expect![[r#"
        1 problem in the configuration:
        stent.toml:1: listen_port: is a TOML float, which it cannot be
          mend: write without quotes: a port from 1 to 65535"#]]);
    file("pool_mode = 1\n", expect![[r#"
        1 problem in the configuration:
        stent.toml:1: pool_mode: is a TOML integer, which it cannot be
          mend: write in quotes: session or transaction"#]]);
    file("emf = 1\n", expect![[r#"
        1 problem in the configuration:
        stent.toml:1: emf: is a TOML integer, which it cannot be
          mend: write true, false or, in quotes, auto, on or off"#]]);
    file("targets = [1]\n", expect![[r#"
        1 problem in the configuration:
        stent.toml:1: targets: is an array of something else than strings, which it cannot be
          mend: write in quotes or as an array of strings: process names, process ids or name=id, with commas between them, such as bun,worker=4711"#]]);
    file("server_lifetime = \"1h\"\n", expect![[r#"
        1 problem in the configuration:
        stent.toml:1: server_lifetime: is a TOML string, which it cannot be
          mend: write without quotes: a number of seconds, such as 30 or 0.5"#]]);
}

#[test]
fn what_is_not_toml() {
    file("listen_port = 6432\ndatabase_url = postgres://u:canary@h/db\n", expect![[r#"
        1 problem in the configuration:
        stent.toml:2: is not TOML: string values must be quoted, expected literal string
          mend: write lines of the form key = value"#]]);
    file("listen_port = 1\nlisten_port = 2\n", expect![[r#"
        1 problem in the configuration:
        stent.toml:2: is not TOML: duplicate key
          mend: write lines of the form key = value"#]]);
}

#[test]
fn a_bad_number() {
    variable("STENT_LISTEN_PORT", "70000", expect![[r#"
        1 problem in the configuration:
        STENT_LISTEN_PORT: listen_port: "70000" is not a port
          mend: write a port from 1 to 65535"#]]);
    variable("STENT_LISTEN_PORT", "", expect![[r#"
        1 problem in the configuration:
        STENT_LISTEN_PORT: listen_port: "" is not a whole number
          mend: write a port from 1 to 65535"#]]);
    variable("STENT_DEFAULT_POOL_SIZE", "0", expect![[r#"
        1 problem in the configuration:
        STENT_DEFAULT_POOL_SIZE: default_pool_size: "0" may not be 0
          mend: write a whole number from 1"#]]);
    variable("STENT_MAX_CLIENT_CONN", "-1", expect![[r#"
        1 problem in the configuration:
        STENT_MAX_CLIENT_CONN: max_client_conn: "-1" is not a whole number
          mend: write a whole number from 1"#]]);
    variable("STENT_MIN_POOL_SIZE", "99999999999", expect![[r#"
        1 problem in the configuration:
        STENT_MIN_POOL_SIZE: min_pool_size: "99999999999" is more than 4294967295
          mend: write a whole number"#]]);
    variable("STENT_MEMORY_LIMIT", "half", expect![[r#"
        1 problem in the configuration:
        STENT_MEMORY_LIMIT: memory_limit: "half" is not a number of bytes
          mend: write bytes, or a number with KiB, MiB or GiB, such as "512MiB""#]]);
}

#[test]
fn a_bad_time() {
    variable("STENT_QUERY_WAIT_TIMEOUT", "30s", expect![[r#"
        1 problem in the configuration:
        STENT_QUERY_WAIT_TIMEOUT: query_wait_timeout: "30s" is not a number of seconds
          mend: write a number of seconds, such as 30 or 0.5; 0 for never"#]]);
    variable("STENT_SERVER_CONNECT_TIMEOUT", "0", expect![[r#"
        1 problem in the configuration:
        STENT_SERVER_CONNECT_TIMEOUT: server_connect_timeout: "0" may not be 0
          mend: write a number of seconds above 0, such as 15 or 0.5"#]]);
    variable("STENT_SAMPLE_INTERVAL", "0.01", expect![[r#"
        1 problem in the configuration:
        STENT_SAMPLE_INTERVAL: sample_interval: "0.01" is under 0.1 seconds
          mend: write a number of seconds from 0.1"#]]);
    variable("STENT_SERVER_LIFETIME", "1e9", expect![[r#"
        1 problem in the configuration:
        STENT_SERVER_LIFETIME: server_lifetime: "1e9" is not a number of seconds
          mend: write a number of seconds, such as 30 or 0.5"#]]);
}

#[test]
fn a_bad_word() {
    variable("STENT_AUTH_TYPE", "cert", expect![[r#"
        1 problem in the configuration:
        STENT_AUTH_TYPE: auth_type: "cert" is not one of its values
          mend: write trust, md5 or scram-sha-256"#]]);
    variable("STENT_POOL_MODE", "statement", expect![[r#"
        1 problem in the configuration:
        STENT_POOL_MODE: pool_mode: "statement" is not one of its values
          mend: write session or transaction"#]]);
    variable("STENT_LOG_LEVEL", "verbose", expect![[r#"
        1 problem in the configuration:
        STENT_LOG_LEVEL: log_level: "verbose" is not one of its values
          mend: write error, warn, info, debug or trace"#]]);
    variable("STENT_CLOUDWATCH", "yes", expect![[r#"
        1 problem in the configuration:
        STENT_CLOUDWATCH: cloudwatch: "yes" is not one of its values
          mend: write on or off"#]]);
}

#[test]
fn a_bad_address() {
    variable("STENT_LISTEN_ADDR", "db.internal", expect![[r#"
        1 problem in the configuration:
        STENT_LISTEN_ADDR: listen_addr: "db.internal" is not an IP address
          mend: write IP addresses with commas between them, * for every IPv4 address, or nothing for no TCP"#]]);
    variable("STENT_LISTEN_ADDR", "localhost", expect![[r#"
        1 problem in the configuration:
        STENT_LISTEN_ADDR: listen_addr: "localhost" is a host name (its address is 127.0.0.1 or ::1)
          mend: write IP addresses with commas between them, * for every IPv4 address, or nothing for no TCP"#]]);
    variable("STENT_ADMIN_LISTEN", "127.0.0.1", expect![[r#"
        1 problem in the configuration:
        STENT_ADMIN_LISTEN: admin_listen: "127.0.0.1" has no port
          mend: write address:port, unix:/path, unix:@name (Linux), or nothing to turn it off"#]]);
    variable("STENT_ADMIN_LISTEN", "unix:run/x", expect![[r#"
        1 problem in the configuration:
        STENT_ADMIN_LISTEN: admin_listen: "unix:run/x" is not an absolute path
          mend: write address:port, unix:/path, unix:@name (Linux), or nothing to turn it off"#]]);
}

#[test]
fn a_bad_list() {
    variable("STENT_TARGETS", "bun=x", expect![[r#"
        1 problem in the configuration:
        STENT_TARGETS: targets: "bun=x" holds something that is not a process id
          mend: write process names, process ids or name=id, with commas between them, such as bun,worker=4711"#]]);
    variable("STENT_DIMENSIONS", "ServiceName", expect![[r#"
        1 problem in the configuration:
        STENT_DIMENSIONS: dimensions: "ServiceName" holds a part without =
          mend: write name=value pairs with commas between them, such as ServiceName=orders,Stage=prod"#]]);
    variable("STENT_CLOUDWATCH_NAMESPACE", "AWS/RDS", expect![[r#"
        1 problem in the configuration:
        STENT_CLOUDWATCH_NAMESPACE: cloudwatch_namespace: "AWS/RDS" begins with AWS/, which is Amazon's
          mend: write 1 to 255 letters, digits or any of .-_/#: that begin with neither AWS/ nor a colon"#]]);
    variable("STENT_CLOUDWATCH_ENDPOINT", "https://u:canary@h", expect![[r#"
        1 problem in the configuration:
        STENT_CLOUDWATCH_ENDPOINT: cloudwatch_endpoint: a value that is not repeated here (it looks like a URL) holds credentials
          mend: write http://host:port or https://host, or nothing for Amazon's own"#]]);
}

#[test]
fn pool_sizes_that_contradict_each_other() {
    file("min_pool_size = 30\n", expect![[r#"
        1 problem in the configuration:
        stent.toml:1: min_pool_size (30) is more than default_pool_size (20)
          mend: lower min_pool_size or raise default_pool_size"#]]);
    file("max_db_connections = 10\ndefault_pool_size = 20\n", expect![[r#"
        1 problem in the configuration:
        stent.toml:1: default_pool_size (20) is more than max_db_connections (10)
          mend: lower default_pool_size or raise max_db_connections"#]]);
}

#[test]
fn two_listeners_in_one_place() {
    flags(&["--admin-listen", "127.0.0.1:6432"], expect![[r#"
        1 problem in the configuration:
        --admin-listen: admin_listen (127.0.0.1:6432) and listen_port (127.0.0.1:6432) are the same place
          mend: give admin_listen another port"#]]);
    flags(&["--admin-listen", "0.0.0.0:7000", "--listen-port", "7000"], expect![[r#"
        1 problem in the configuration:
        --admin-listen: admin_listen (0.0.0.0:7000) and listen_port (127.0.0.1:7000) are the same place
          mend: give admin_listen another port"#]]);
    let written =
        Written { flags: &["--agent-listen", "127.0.0.1:9187"], ..Written::default() };
    assert!(written.load().is_ok(), "in `up` nobody listens on agent_listen");
    let alone = written.load_as(Role::Agent).expect_err("the agent meets the proxy's endpoint");
    expect![[r#"
        1 problem in the configuration:
        --agent-listen: agent_listen (127.0.0.1:9187) and admin_listen (127.0.0.1:9187) are the same place
          mend: give agent_listen another port"#]].assert_eq(&alone.to_string());
}

#[test]
fn no_listener_at_all() {
    flags(&["--listen-addr="], expect![[r#"
        1 problem in the configuration:
        --listen-addr: listen_addr is empty and there is no unix_socket_dir: clients could not connect
          mend: set one of them"#]]);
}

#[test]
fn a_socket_folder_that_no_socket_fits_into() {
    let folder = format!("/{}", "x".repeat(95));
    flags(&["--unix-socket-dir", &folder], expect![[r#"
        1 problem in the configuration:
        --unix-socket-dir: unix_socket_dir makes a socket path of 110 bytes, and the system allows 107
          mend: name a folder with a shorter path"#]]);
    flags(&["--unix-socket-dir", "run"], expect![[r#"
        1 problem in the configuration:
        --unix-socket-dir: unix_socket_dir is not an absolute path
          mend: write a path that begins with /"#]]);
}

#[test]
fn a_database_that_is_stent_itself() {
    variable("DATABASE_URL", "postgres://u:p@localhost:6432/db", expect![[r#"
        1 problem in the configuration:
        DATABASE_URL: is the address on which stent itself listens
          mend: name the database's own host and port, or give stent another listen_port"#]]);
    variable("DATABASE_URL", "postgres://u:p@127.0.0.1:6432/db", expect![[r#"
        1 problem in the configuration:
        DATABASE_URL: is the address on which stent itself listens
          mend: name the database's own host and port, or give stent another listen_port"#]]);
    let elsewhere = ("DATABASE_URL", "postgres://u:p@127.0.0.2:6432/db");
    assert!(Written { variables: &[elsewhere], ..Written::default() }.load().is_ok());
}

#[test]
fn no_database() {
    let problems = Written::default().load_bare().expect_err("there is no database");
    expect![[r#"
        1 problem in the configuration:
        configuration: there is no database: neither DATABASE_URL nor PGHOST is set
          mend: set DATABASE_URL=postgres://user:password@host:5432/database"#]].assert_eq(&problems.to_string());
    variable("DATABASE_URL", "", expect![[r#"
        1 problem in the configuration:
        DATABASE_URL: is empty
          mend: unset it, or write postgres://user:password@host:5432/database"#]]);
}

#[test]
fn nobody_who_could_log_in() {
    variable("DATABASE_URL", "postgres://u@h/db", expect![[r#"
        1 problem in the configuration:
        DATABASE_URL: names no password, so with auth_type scram-sha-256 no client could log in
          mend: add it, name an auth_file, or set auth_type trust where only trusted clients can connect"#]]);
    variable("DATABASE_URL", "postgres://h/db", expect![[r#"
        1 problem in the configuration:
        DATABASE_URL: names no user, so with auth_type scram-sha-256 no client could log in
          mend: add it, name an auth_file, or set auth_type trust where only trusted clients can connect"#]]);
}

#[test]
fn tls_to_the_database() {
    variable("DATABASE_URL", "postgres://u:canary@h/db?sslmode=verify-full", expect![[r#"
        1 problem in the configuration:
        DATABASE_URL: asks for TLS to the database, which this version of stent cannot do
          mend: put stent beside the database or in its private network and write sslmode=disable, or connect to it through a TLS tunnel"#]]);
    let written =
        Written { variables: &[("PGHOST", "h"), ("PGSSLMODE", "require")], ..Written::default() };
    let problems = written.load_bare().expect_err("TLS is asked for");
    expect![[r#"
        1 problem in the configuration:
        PGSSLMODE: asks for TLS to the database, which this version of stent cannot do
          mend: put stent beside the database or in its private network and write sslmode=disable, or connect to it through a TLS tunnel"#]].assert_eq(&problems.to_string());
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
    refused("\"ann\" \"canary\"\nbob canary\n", expect![[r#"
        1 problem in the configuration:
        USERLIST:2: the line does not begin with a quoted user name
          mend: write "name" "secret""#]]);
    refused("\"ann\" \"canary\"\n\"bob\" \"canary\n", expect![[r#"
        1 problem in the configuration:
        USERLIST:2: a quoted string does not end on its line
          mend: write a quote inside it twice ("")"#]]);
    let md5 = "\"ann\" \"x\"\n\"bob\" \"md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n";
    refused(md5, expect![[r#"
        1 problem in the configuration:
        USERLIST:2: the secret of user "bob" is an md5 one, with which nobody can log in under auth_type scram-sha-256
          mend: store the password or its SCRAM-SHA-256 secret, or set auth_type md5"#]]);
    std::fs::remove_file(&path).expect("removed");
    let flag = format!("--auth-file={}", path.display());
    let missing = Written { flags: &[&flag], ..Written::default() }.problems();
    expect![[r#"
        1 problem in the configuration:
        --auth-file: auth_file: cannot read USERLIST: it does not exist
          mend: name a readable file with lines of the form "user" "secret""#]].assert_eq(&missing.replace(&path.display().to_string(), "USERLIST"));
}

#[test]
fn all_problems_at_once() {
    let written = Written {
        file: "listen_port = 0\nunknown = 1\npool_mode = \"x\"\n",
        variables: &[("STENT_MIN_POOL_SIZE", "many"), ("DATABASE_URL", "mysql://u:canary@h/db")],
        flags: &["--max-client-conn", "0"],
    };
    expect![[r#"
        6 problems in the configuration:
        stent.toml:2: "unknown" is not a key of stent
          mend: remove it; `stent help` lists the keys
        --max-client-conn: max_client_conn: "0" may not be 0
          mend: write a whole number from 1
        STENT_MIN_POOL_SIZE: min_pool_size: "many" is not a whole number
          mend: write a whole number
        stent.toml:1: listen_port: "0" is not a port
          mend: write a port from 1 to 65535
        stent.toml:3: pool_mode: "x" is not one of its values
          mend: write session or transaction
        DATABASE_URL: does not begin with postgres:// or postgresql://
          mend: write postgres://user:password@host:5432/database"#]].assert_eq(&written.problems());
}
