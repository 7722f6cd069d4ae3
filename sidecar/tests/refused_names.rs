//! Names that mean nothing, and files that cannot be read: refused, with the text that says so.

mod common;

use common::{Written, file, flags, variable};
use expect_test::expect;

#[test]
fn an_unknown_key_with_what_was_meant() {
    file(
        "listen_port = 6432\ndefualt_pool_size = 3\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:2: "defualt_pool_size" is not a key of stent
          mend: did you mean default_pool_size?"#]],
    );
    file(
        "colour = 3\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:1: "colour" is not a key of stent
          mend: remove it; `stent help` lists the keys"#]],
    );
}

#[test]
fn a_table() {
    file(
        "[proxy]\nlisten_port = 6432\n",
        expect![[r#"
            1 problem in the configuration:
            stent.toml:1: is a table, and the keys of stent stand in none
              mend: write the keys without a [table]"#]],
    );
}

#[test]
fn an_unknown_variable_with_what_was_meant() {
    variable(
        "STENT_POOL_SIZE",
        "canary",
        expect![[r#"
            1 problem in the configuration:
            STENT_POOL_SIZE: is not a variable of stent
              mend: did you mean STENT_DEFAULT_POOL_SIZE? Else unset it"#]],
    );
    variable(
        "STENT_colour",
        "canary",
        expect![[r#"
        1 problem in the configuration:
        STENT_colour: is not a variable of stent
          mend: unset it; `stent help` lists the keys"#]],
    );
    variable(
        "STENT_listen_port",
        "1",
        expect![[r#"
        1 problem in the configuration:
        STENT_listen_port: is not a variable of stent
          mend: write it in capitals: STENT_LISTEN_PORT"#]],
    );
}

#[test]
fn an_unknown_flag_with_what_was_meant() {
    flags(
        &["--listen-prot", "1"],
        expect![[r#"
        1 problem in the configuration:
        --listen-prot: is not a flag of stent
          mend: did you mean --listen-port?"#]],
    );
    flags(
        &["--colour"],
        expect![[r#"
        1 problem in the configuration:
        --colour: is not a flag of stent
          mend: `stent help` lists them"#]],
    );
    flags(
        &["now"],
        expect![[r#"
        1 problem in the configuration:
        command line: "now" is not a flag
          mend: write flags as --key value, and a command of your own after -- (stent run)"#]],
    );
}

#[test]
fn a_flag_without_a_value() {
    flags(
        &["--listen-port", "--pool-mode", "session"],
        expect![[r#"
        1 problem in the configuration:
        --listen-port: has no value
          mend: write a port from 1 to 65535"#]],
    );
    flags(
        &["--config"],
        expect![[r#"
        1 problem in the configuration:
        --config: is not a flag of stent
          mend: name the file: --config stent.toml"#]],
    );
}

#[test]
fn a_flag_for_a_secret() {
    flags(
        &["--database-url", "postgres://u:canary@h/db"],
        expect![[r#"
        1 problem in the configuration:
        --database-url: is refused: the arguments of a process can be read by everyone
          mend: set the variable STENT_DATABASE_URL"#]],
    );
}

#[test]
fn what_is_not_toml() {
    file(
        "listen_port = 6432\ndatabase_url = postgres://u:canary@h/db\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:2: is not TOML: string values must be quoted, expected literal string
          mend: write lines of the form key = value"#]],
    );
    file(
        "listen_port = 1\nlisten_port = 2\n",
        expect![[r#"
        1 problem in the configuration:
        stent.toml:2: is not TOML: duplicate key
          mend: write lines of the form key = value"#]],
    );
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
        --max-client-conn: "0" is too small
          mend: write a whole number from 1
        STENT_MIN_POOL_SIZE: "many" is not a whole number
          mend: write a whole number
        stent.toml:1: listen_port: "0" is not a port
          mend: write a port from 1 to 65535
        stent.toml:3: pool_mode: "x" is not one of its values
          mend: write session, transaction or statement
        DATABASE_URL: does not begin with postgres:// or postgresql://
          mend: write postgres://user:password@host:5432/database"#]]
    .assert_eq(&written.problems());
}
