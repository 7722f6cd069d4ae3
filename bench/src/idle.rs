//! Memory of idle clients: raw connections that log in and say nothing more.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use stent_testkit::{Postgres, proc};

use crate::endpoint::Endpoint;

/// What so many idle clients cost.
#[derive(Clone, Debug, Serialize)]
pub struct IdleCost {
    /// The endpoint's name.
    pub endpoint: &'static str,
    /// How many clients.
    pub clients: u32,
    /// Growth of the pooler's resident memory, bytes a client.
    pub bytes_a_client: f64,
}

/// Logs so many clients in at a pooler and looks at its memory before and after.
pub fn measure(postgres: &Postgres, endpoint: &Endpoint, clients: u32) -> Result<Option<IdleCost>> {
    let Some(pid) = endpoint.pid() else { return Ok(None) };
    let before = proc::memory(pid)?.resident();
    let held: Result<Vec<TcpStream>> =
        (0..clients).map(|_| login(endpoint.port(), postgres.superuser())).collect();
    let held = held.context("log idle clients in")?;
    let after = proc::memory(pid)?.resident();
    drop(held);
    let bytes_a_client = after.saturating_sub(before) as f64 / f64::from(clients);
    Ok(Some(IdleCost { endpoint: endpoint.name(), clients, bytes_a_client }))
}

fn login(port: u16, user: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let body = format!("\0\x03\0\0user\0{user}\0database\0postgres\0\0");
    let len = u32::try_from(body.len() + 4)?.to_be_bytes();
    stream.write_all(&[&len[..], body.as_bytes()].concat())?;
    let mut said = Vec::new();
    let mut chunk = [0; 4096];
    while !said.ends_with(b"Z\0\0\0\x05I") {
        let n = stream.read(&mut chunk)?;
        if n == 0 {
            bail!("the login ended with {:?}", String::from_utf8_lossy(&said));
        }
        said.extend_from_slice(&chunk[..n]);
    }
    Ok(stream)
}
