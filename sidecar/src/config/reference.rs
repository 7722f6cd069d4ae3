//! The reference page of the configuration, rendered from the table of keys.
//!
//! Invariant: `docs/reference/configuration.md` is this text; a test compares them.

use std::fmt::Write as _;

use super::keys::{KEYS, Owner, Row, Secrecy};
use super::value::TomlShape;

const HEAD: &str = "\
# Configuration

<!-- Generated from the table in sidecar/src/config/keys.rs; `UPDATE_EXPECT=1 cargo test -p stent` writes it. -->

Each key below can be written in three places. Of a key that is written in several, the first of
these counts:

1. a flag, `--key value` or `--key=value`, of `stent up`, `run`, `proxy`, `agent`, `healthcheck` and
   `check-config` (secrets have none: everyone can read the arguments of a process);
2. a variable, `STENT_` and the key in capitals;
3. a line of the file: the one named by `--config` (`-c`), else by `STENT_CONFIG` (empty: none), else
   `./stent.toml` if it is there.

`DATABASE_URL=postgres://user:password@host:5432/database` alone is enough to start. Where the name of a
key is PgBouncer's, so are its meaning and its unit.

`stent check-config` prints what results, with the place where each value came from. A key, variable or
flag that does not exist, a value that cannot be read and a combination that cannot work are refused: all
of them at once, each with its place, the reason and the mend.

## The database URL

`postgres://` or `postgresql://`, then user and password (percent-encoded), host (IPv6 in brackets), port
(5432) and database (the user's name). `host` and `port` may also be parameters: `?host=/run/postgresql`
is a unix socket. `connect_timeout` becomes `server_connect_timeout` where that is not written.
`sslmode`, `sslrootcert`, `sslcert` and `sslkey` become the `server_tls_` keys that are not written;
`sslnegotiation=direct` begins with TLS at once (PostgreSQL 17), and `channel_binding` is libpq's. Other
parameters are accepted with a warning, and `stent run` hands them on to its command.

Without any URL, `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`, `PGDATABASE`, `PGSSLMODE`, `PGSSLROOTCERT`,
`PGSSLCERT`, `PGSSLKEY`, `PGSSLNEGOTIATION`, `PGCHANNELBINDING` and `PGCONNECT_TIMEOUT` are read as libpq
reads them, if `PGHOST` is set.

";

/// The whole page.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    let parts = [
        (Owner::All, "Keys of all components"),
        (Owner::Proxy, "Keys of the proxy"),
        (Owner::Agent, "Keys of the agent"),
        (Owner::Supervisor, "Keys of `stent up` and `stent run`"),
    ];
    for (owner, title) in parts {
        writeln!(page, "## {title}\n").expect("a string takes everything");
        for row in KEYS.iter().filter(|row| row.owner == owner) {
            section(&mut page, row);
        }
    }
    page.push_str(&super::super::exit::reference());
    page
}

fn section(page: &mut String, row: &Row) {
    let flag = match row.flag() {
        Some(flag) => format!("`{flag}`"),
        None => "none, it is a secret".to_owned(),
    };
    let default = match (row.secrecy, row.default) {
        (Secrecy::Secret, _) => "none".to_owned(),
        (Secrecy::Public, "") => "empty".to_owned(),
        (Secrecy::Public, default) => format!("`{default}`"),
    };
    let unit = if row.unit.is_empty() { String::new() } else { format!(" {}", row.unit) };
    let example = match row.toml {
        TomlShape::Integer | TomlShape::Number => "number",
        TomlShape::Size => "number or string",
        TomlShape::Text => "string",
        TomlShape::Switch => "boolean or string",
        TomlShape::List => "string or array of strings",
    };
    write!(
        page,
        "### `{}`\n\n{}\n\n- Default: {default}{unit}\n- Takes: {}\n- In the file: {example}\n\
         - Variable: `{}`\n- Flag: {flag}\n\n",
        row.name,
        row.doc,
        row.expects.replace('*', "`*`"),
        row.variable(),
    )
    .expect("a string takes everything");
}

/// The keys as `stent help` lists them.
pub fn help() -> String {
    let width = KEYS.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for row in KEYS {
        let default = if row.default.is_empty() { "" } else { row.default };
        let unit = if row.unit.is_empty() { String::new() } else { format!(" {}", row.unit) };
        let default =
            if default.is_empty() { String::new() } else { format!(" [{default}{unit}]") };
        writeln!(out, "  {:width$}  {}{default}", row.name, row.doc)
            .expect("a string takes everything");
    }
    out
}
