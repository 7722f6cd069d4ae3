//! `stent proxy`, the release build beside this program.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use stent_testkit::{TempDir, free_port};

use super::{
    Auth, CLIENTS_MAX, Kind, POOL, SERVERS_STAY, STATEMENTS_MAX, Server, Setup, Started, Tls,
};
use crate::lab::Lab;

const CACHE: &str = "STENT_STATEMENT_CACHE";

pub(super) fn version(kind: Kind) -> Result<Option<String>> {
    let program = program()?;
    if let Some(cache) = cache(kind) {
        // A build without the key refuses it.
        let mut check = Command::new(&program);
        check.arg("check-config").env("DATABASE_URL", "postgres://a@127.0.0.1/b");
        check.env("STENT_AUTH_TYPE", "trust").env(CACHE, cache);
        if !check.output().is_ok_and(|output| output.status.success()) {
            return Ok(None);
        }
    }
    Ok(super::says_version(&program.to_string_lossy()))
}

pub(super) fn command(kind: Kind, setup: Setup, port: u16, lab: &Lab) -> Result<Started> {
    let program = program()?;
    let Server { host, port: server } = setup.server(lab);
    let files = TempDir::new("bench-stent")?;
    let mut settings: Vec<(&str, String)> = vec![
        ("STENT_AUTH_TYPE", "trust".to_owned()),
        ("STENT_LOG_LEVEL", "error".to_owned()),
        ("STENT_ADMIN_USERS", lab.postgres.superuser().to_owned()),
        ("STENT_DEFAULT_POOL_SIZE", POOL.to_string()),
        ("STENT_MAX_CLIENT_CONN", CLIENTS_MAX.to_string()),
        ("STENT_MAX_PREPARED_STATEMENTS", STATEMENTS_MAX.to_string()),
        ("STENT_SERVER_LIFETIME", SERVERS_STAY.to_string()),
        ("STENT_SERVER_IDLE_TIMEOUT", SERVERS_STAY.to_string()),
    ];
    if setup.auth == Auth::Scram {
        settings[0].1 = "scram-sha-256".to_owned();
    }
    if setup.workers != 1 {
        settings.push(("STENT_WORKERS", setup.workers.to_string()));
    }
    settings.extend(cache(kind).map(|cache| (CACHE, cache.to_owned())));
    let mut command = Command::new(&program);
    if setup.tls == Tls::Require {
        settings.push(("STENT_CLIENT_TLS_SSLMODE", "require".to_owned()));
        command.env("STENT_CLIENT_TLS_CERT_FILE", lab.certificate());
        command.env("STENT_CLIENT_TLS_KEY_FILE", lab.key());
    }
    let admin = free_port()?;
    let user = lab.postgres.superuser();
    let list = files.path().join("userlist.txt");
    std::fs::write(&list, lab.userlist())?;
    command
        .arg("proxy")
        .env("DATABASE_URL", format!("postgres://{user}@{host}:{server}/postgres"))
        .env("STENT_AUTH_FILE", &list)
        .env("STENT_LISTEN_PORT", port.to_string())
        .env("STENT_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
        .envs(settings.iter().map(|(key, value)| (*key, value)));
    let settings = settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Ok(Started { command, settings, files: Some(files), admin: Some(admin) })
}

const fn cache(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::StentNamed => Some("named"),
        Kind::StentAll => Some("all"),
        Kind::Direct
        | Kind::Stent
        | Kind::PgBouncer
        | Kind::PgBouncer64k
        | Kind::PgBouncerDebian
        | Kind::PgDoorman => None,
    }
}

fn program() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("STENT") {
        return Ok(named.into());
    }
    let own = std::env::current_exe()?;
    // A test's program is a folder deeper.
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("stent"))
        .find(|path| path.is_file())
        .context("there is no stent beside this program: build it first")
}
