//! `pg_doorman`: `$PG_DOORMAN`, on one worker, its clients trusted or checked by its `pg_hba`.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context, Result};
use stent_testkit::TempDir;

use super::{Auth, CLIENTS_MAX, POOL, SERVERS_STAY, Server, Setup, Started, Tls};
use crate::lab::Lab;

pub(super) fn version() -> Result<Option<String>> {
    Ok(program().as_deref().and_then(super::says_version))
}

pub(super) fn command(setup: Setup, port: u16, lab: &Lab) -> Result<Started> {
    let program = program().context("PG_DOORMAN does not name it")?;
    let files = TempDir::new("bench-doorman")?;
    let method = match setup.auth {
        Auth::Trust => "trust",
        Auth::Scram => "scram-sha-256",
    };
    let milliseconds = u64::from(SERVERS_STAY) * 1_000;
    let mut settings = vec![
        "worker_threads = 1".to_owned(),
        format!("max_connections = {CLIENTS_MAX}"),
        "prepared_statements = true".to_owned(),
        format!("server_lifetime = {milliseconds}"),
        format!("idle_timeout = {milliseconds}"),
        format!("pg_hba = {{ content = \"host all all 127.0.0.1/32 {method}\" }}"),
    ];
    let mut file = format!(
        "[general]\nhost = \"127.0.0.1\"\nport = {port}\nadmin_username = \"admin\"\n\
         admin_password = \"admin\"\n"
    );
    if setup.tls == Tls::Require {
        settings.push("tls_mode = \"require\"".to_owned());
        let _ = writeln!(file, "tls_certificate = \"{}\"", lab.certificate().display());
        let _ = writeln!(file, "tls_private_key = \"{}\"", lab.key().display());
    }
    file.push_str(&settings.join("\n"));
    file.push('\n');
    let Server { host, port: server } = setup.server(lab);
    let user = lab.postgres.superuser();
    for number in 0..=setup.databases {
        let name = if number == 0 { "postgres".to_owned() } else { format!("d{number}") };
        let _ = writeln!(
            file,
            "[pools.{name}]\nserver_host = \"{host}\"\nserver_port = {server}\n\
             pool_mode = \"transaction\"\n[pools.{name}.users.0]\nusername = \"{user}\"\n\
             password = \"{}\"\npool_size = {POOL}",
            lab.verifier()
        );
    }
    let path = files.path().join("pg_doorman.toml");
    std::fs::write(&path, file)?;
    let mut command = Command::new(program);
    command.args(["-l", "error"]).arg(&path);
    settings.extend([format!("pool_size = {POOL}"), "-l error".to_owned()]);
    Ok(Started { command, settings, files: Some(files), admin: None })
}

fn program() -> Option<String> {
    std::env::var("PG_DOORMAN").ok().filter(|path| !path.is_empty())
}
