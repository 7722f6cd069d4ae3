//! Cost against the number of pools: each has a client that has asked once, and its open server.

use anyhow::{Result, ensure};

use super::{BUSY, Bench, simple};
use crate::load::client::Client;
use crate::load::login::Login;
use crate::load::message;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let points = bench.size.pools.clone();
    let most = points.iter().copied().max().unwrap_or(1);
    let endpoint = bench.start(most)?;
    let mut busy = bench.swarm(&endpoint, BUSY)?;
    let user = bench.session.lab.postgres.superuser().to_owned();
    let mut held: Vec<Client> = Vec::new();
    let mut chunk = [0; 1024];
    for pools in points {
        ensure!(pools > 0, "the busy clients have a pool");
        // One pool is the busy clients'.
        while held.len() + 1 < pools as usize {
            let database = format!("d{}", held.len() + 1);
            let mut client = Login::new(endpoint.port(), &user, &database).client()?;
            client.ask(&message::query("SELECT 1"), &mut chunk)?;
            held.push(client);
        }
        bench.point(("pools", u64::from(pools)), &endpoint, &mut busy, simple)?;
    }
    Ok(())
}
