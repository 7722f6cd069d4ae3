//! PgBouncer: `$PGBOUNCER`, or the one that is installed.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use stent_testkit::TempDir;

use super::{Auth, CLIENTS_MAX, Kind, NOBODY, POOL, SERVERS_STAY, STATEMENTS_MAX};
use super::{Server, Setup, Started, Tls};
use crate::lab::Lab;

const USUAL: [&str; 3] =
    ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer"];
const WIDE: &str = "65536";

pub(super) fn version(kind: Kind) -> Result<Option<String>> {
    Ok(program(kind).as_deref().and_then(super::says_version))
}

pub(super) fn command(kind: Kind, setup: Setup, port: u16, lab: &Lab) -> Result<Started> {
    let program = program(kind).context("PgBouncer is not installed")?;
    let files = TempDir::new("bench-pgbouncer")?;
    let mut settings = vec![
        "pool_mode = transaction".to_owned(),
        format!("default_pool_size = {POOL}"),
        format!("max_client_conn = {CLIENTS_MAX}"),
        format!("server_lifetime = {SERVERS_STAY}"),
        format!("server_idle_timeout = {SERVERS_STAY}"),
        format!("admin_users = {}", lab.postgres.superuser()),
        "ignore_startup_parameters = extra_float_digits".to_owned(),
    ];
    if knows_statements(&program) {
        settings.push(format!("max_prepared_statements = {STATEMENTS_MAX}"));
    }
    settings.push(match setup.auth {
        Auth::Trust => "auth_type = trust".to_owned(),
        Auth::Scram => "auth_type = scram-sha-256".to_owned(),
    });
    if kind == Kind::PgBouncer64k {
        settings.push(format!("pkt_buf = {WIDE}"));
    }
    let Server { host, port: server } = setup.server(lab);
    let list = files.path().join("userlist.txt");
    std::fs::write(&list, lab.userlist())?;
    let mut ini = format!(
        "[databases]\n* = host={host} port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_file = {}\n",
        list.display()
    );
    if setup.tls == Tls::Require {
        settings.push("client_tls_sslmode = require".to_owned());
        let _ = writeln!(ini, "client_tls_cert_file = {}", lab.certificate().display());
        let _ = writeln!(ini, "client_tls_key_file = {}", lab.key().display());
    }
    ini.push_str(&settings.join("\n"));
    ini.push('\n');
    let path = files.path().join("pgbouncer.ini");
    std::fs::write(&path, ini)?;
    let mut command = Command::new(program);
    command.arg("--quiet");
    if rustix::process::geteuid().is_root() {
        std::fs::set_permissions(files.path(), PermissionsExt::from_mode(0o755))?;
        command.args(["--user", NOBODY]);
    }
    command.arg(&path);
    settings.push("--quiet".to_owned());
    Ok(Started { command, settings, files: Some(files), admin: None })
}

/// Whether it can run a client's named statements in transaction mode.
pub(crate) fn has_statements(kind: Kind) -> bool {
    program(kind).is_some_and(|program| knows_statements(&program))
}

/// `max_prepared_statements` came with 1.21.
fn knows_statements(program: &str) -> bool {
    super::says_version(program).and_then(|line| minor(&line)).is_some_and(|minor| minor >= 21)
}

fn minor(line: &str) -> Option<u32> {
    line.strip_prefix("PgBouncer 1.")?.split('.').next()?.trim().parse().ok()
}

fn program(kind: Kind) -> Option<String> {
    let named = std::env::var("PGBOUNCER").ok().filter(|path| !path.is_empty());
    let installed = USUAL.into_iter().find(|path| Path::new(path).exists()).map(str::to_owned);
    match kind {
        Kind::PgBouncerDebian => installed.filter(|_| named.is_some()),
        Kind::PgBouncer | Kind::PgBouncer64k => named.or(installed),
        Kind::Direct | Kind::Stent | Kind::StentNamed | Kind::StentAll | Kind::PgDoorman => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_decides_on_prepared_statements() {
        assert_eq!(minor("PgBouncer 1.25.2"), Some(25));
        assert_eq!(minor("PgBouncer 1.18.0"), Some(18));
        assert_eq!(minor("something else"), None);
    }
}
