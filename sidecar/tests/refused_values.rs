//! Values that cannot be read: refused, with the text that says so.

mod common;

use common::{file, variable};
use expect_test::expect;

#[test]
fn a_wrong_type() {
    file(
        "listen_port = \"6432\"\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: listen_port: is a TOML string, which it cannot be
          mend: write without quotes: a port from 1 to 65535"#]],
    );
    file(
        "listen_port = 6432.5\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: listen_port: is a TOML float, which it cannot be
          mend: write without quotes: a port from 1 to 65535"#]],
    );
    file(
        "pool_mode = 1\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: pool_mode: is a TOML integer, which it cannot be
          mend: write in quotes: session, transaction or statement"#]],
    );
    file(
        "emf = 1\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: emf: is a TOML integer, which it cannot be
          mend: write true, false or, in quotes, auto, on or off"#]],
    );
    file(
        "targets = [1]\n",
        expect![[r#"
            1 problem in the configuration:
            stent.toml:1: targets: is an array of something else than strings, which it cannot be
              mend: write in quotes or as an array of strings: process names, process ids, name=id or container:name, with commas between them, such as bun,worker=4711"#]],
    );
    file(
        "server_lifetime = \"1h\"\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: server_lifetime: is a TOML string, which it cannot be
          mend: write without quotes: a number of seconds, such as 30 or 0.5"#]],
    );
}

#[test]
fn a_bad_number() {
    variable(
        "STENT_LISTEN_PORT",
        "70000",
        expect![[r#"
            1 problem in the configuration:
            STENT_LISTEN_PORT: "70000" is not a port
              mend: write a port from 1 to 65535"#]],
    );
    variable(
        "STENT_LISTEN_PORT",
        "",
        expect![[r#"
            1 problem in the configuration:
            STENT_LISTEN_PORT: "" is not a whole number
              mend: write a port from 1 to 65535"#]],
    );
    variable(
        "STENT_DEFAULT_POOL_SIZE",
        "0",
        expect![[r#"
            1 problem in the configuration:
            STENT_DEFAULT_POOL_SIZE: "0" is too small
              mend: write a whole number from 1"#]],
    );
    variable(
        "STENT_MAX_CLIENT_CONN",
        "-1",
        expect![[r#"
            1 problem in the configuration:
            STENT_MAX_CLIENT_CONN: "-1" is not a whole number
              mend: write a whole number from 1"#]],
    );
    variable(
        "STENT_MIN_POOL_SIZE",
        "99999999999",
        expect![[r#"
            1 problem in the configuration:
            STENT_MIN_POOL_SIZE: "99999999999" is more than 4294967295
              mend: write a whole number"#]],
    );
    variable(
        "STENT_MEMORY_LIMIT",
        "half",
        expect![[r#"
            1 problem in the configuration:
            STENT_MEMORY_LIMIT: "half" is not a number of bytes
              mend: write bytes, or a number with KiB, MiB or GiB, such as "512MiB""#]],
    );
}

#[test]
fn a_bad_time() {
    variable(
        "STENT_QUERY_WAIT_TIMEOUT",
        "30s",
        expect![[r#"
            1 problem in the configuration:
            STENT_QUERY_WAIT_TIMEOUT: "30s" is not a number of seconds
              mend: write a number of seconds, such as 30 or 0.5; 0 for never"#]],
    );
    variable(
        "STENT_SERVER_CONNECT_TIMEOUT",
        "0",
        expect![[r#"
            1 problem in the configuration:
            STENT_SERVER_CONNECT_TIMEOUT: "0" is too small
              mend: write a number of seconds above 0, such as 15 or 0.5"#]],
    );
    variable(
        "STENT_SAMPLE_INTERVAL",
        "0.01",
        expect![[r#"
            1 problem in the configuration:
            STENT_SAMPLE_INTERVAL: "0.01" is under 0.1 seconds
              mend: write a number of seconds from 0.1"#]],
    );
    variable(
        "STENT_SERVER_LIFETIME",
        "1e9",
        expect![[r#"
            1 problem in the configuration:
            STENT_SERVER_LIFETIME: "1e9" is not a number of seconds
              mend: write a number of seconds, such as 30 or 0.5"#]],
    );
}

#[test]
fn a_bad_word() {
    variable(
        "STENT_AUTH_TYPE",
        "kerberos",
        expect![[r#"
            1 problem in the configuration:
            STENT_AUTH_TYPE: "kerberos" is not one of its values
              mend: write trust, password (or plain), md5, scram-sha-256, cert or hba"#]],
    );
    variable(
        "STENT_POOL_MODE",
        "query",
        expect![[r#"
            1 problem in the configuration:
            STENT_POOL_MODE: "query" is not one of its values
              mend: write session, transaction or statement"#]],
    );
    variable(
        "STENT_LOG_LEVEL",
        "verbose",
        expect![[r#"
            1 problem in the configuration:
            STENT_LOG_LEVEL: "verbose" is not one of its values
              mend: write error, warn, info, debug or trace"#]],
    );
    variable(
        "STENT_CLOUDWATCH",
        "yes",
        expect![[r#"
            1 problem in the configuration:
            STENT_CLOUDWATCH: "yes" is not one of its values
              mend: write on or off"#]],
    );
}

#[test]
fn a_bad_address() {
    variable(
        "STENT_LISTEN_ADDR",
        "db.internal",
        expect![[r#"
            1 problem in the configuration:
            STENT_LISTEN_ADDR: "db.internal" is not an IP address
              mend: write IP addresses with commas between them, * for every IPv4 address, or nothing for no TCP"#]],
    );
    variable(
        "STENT_LISTEN_ADDR",
        "localhost",
        expect![[r#"
            1 problem in the configuration:
            STENT_LISTEN_ADDR: "localhost" is a host name (its address is 127.0.0.1 or ::1)
              mend: write IP addresses with commas between them, * for every IPv4 address, or nothing for no TCP"#]],
    );
    variable(
        "STENT_ADMIN_LISTEN",
        "127.0.0.1",
        expect![[r#"
            1 problem in the configuration:
            STENT_ADMIN_LISTEN: "127.0.0.1" has no port
              mend: write address:port, unix:/path, unix:@name (Linux), or nothing to turn it off"#]],
    );
    variable(
        "STENT_ADMIN_LISTEN",
        "unix:run/x",
        expect![[r#"
            1 problem in the configuration:
            STENT_ADMIN_LISTEN: "unix:run/x" is not an absolute path
              mend: write address:port, unix:/path, unix:@name (Linux), or nothing to turn it off"#]],
    );
}

#[test]
fn a_bad_list() {
    variable(
        "STENT_TARGETS",
        "bun=x",
        expect![[r#"
            1 problem in the configuration:
            STENT_TARGETS: "bun=x" holds something that is not a process id
              mend: write process names, process ids, name=id or container:name, with commas between them, such as bun,worker=4711"#]],
    );
    variable(
        "STENT_DIMENSIONS",
        "ServiceName",
        expect![[r#"
            1 problem in the configuration:
            STENT_DIMENSIONS: "ServiceName" holds a part without =
              mend: write name=value pairs with commas between them, such as ServiceName=orders,Stage=prod"#]],
    );
    variable(
        "STENT_CLOUDWATCH_NAMESPACE",
        "AWS/RDS",
        expect![[r#"
            1 problem in the configuration:
            STENT_CLOUDWATCH_NAMESPACE: "AWS/RDS" begins with AWS/, which is Amazon's
              mend: write 1 to 255 letters, digits or any of .-_/#: that begin with neither AWS/ nor a colon"#]],
    );
    variable(
        "STENT_CLOUDWATCH_ENDPOINT",
        "https://u:canary@h",
        expect![[r#"
            1 problem in the configuration:
            STENT_CLOUDWATCH_ENDPOINT: a value that looks like a URL (and is not repeated here) holds credentials
              mend: write http://host:port or https://host, or nothing for Amazon's own"#]],
    );
}

#[test]
fn a_folder_without_the_module_for_python() {
    file(
        "heap_python = \"/nowhere\"\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: there is no sitecustomize.py in it
          mend: name the folder of Stent's module for Python (/usr/share/stent/python in the image)"#]],
    );
    file(
        "heap_python = \"/no:where\"\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: has a colon in it
          mend: copy it to a folder without one: PYTHONPATH has colons between its folders"#]],
    );
}

#[test]
fn a_file_that_cannot_be_preloaded() {
    for (value, expected) in [
        (
            "/nowhere.so",
            expect![[r#"
            1 problem in the configuration:
            stent.toml:1: cannot be read: No such file or directory (os error 2)
              mend: name Stent's library (/usr/share/stent/libstent_heap.so in the image)"#]],
        ),
        (
            "/no where.so",
            expect![[r#"
            1 problem in the configuration:
            stent.toml:1: has a colon or a space in it
              mend: copy it to a path without one: LD_PRELOAD has them between its files"#]],
        ),
        (
            "libstent_heap.so",
            expect![[r#"
            1 problem in the configuration:
            stent.toml:1: does not begin with a slash
              mend: write the whole path: programs are started in folders of their own"#]],
        ),
        (
            "/etc/passwd",
            expect![[r#"
            1 problem in the configuration:
            stent.toml:1: is no shared library of this kind of machine
              mend: name Stent's library (/usr/share/stent/libstent_heap.so in the image)"#]],
        ),
    ] {
        file(&format!("heap_native = \"{value}\"\n"), expected);
    }
}
