//! `stent-bench`: measures, prints the table, keeps the raw figures.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use serde_json::json;
use stent_bench::endpoint::Endpoint;
use stent_bench::idle::{self, IdleCost};
use stent_bench::meter::{self, Load, Sample};
use stent_bench::table;
use stent_testkit::Postgres;

#[derive(Parser)]
#[command(name = "stent-bench", about = "Stent against a direct connection and PgBouncer")]
struct Arguments {
    /// Seconds a measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Rounds: each measures every load at every endpoint once.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Folder for the raw figures (JSON) and the table (Markdown).
    #[arg(long)]
    out: Option<PathBuf>,
}

const PROTOCOLS: [&str; 3] = ["simple", "extended", "prepared"];
const CLIENTS: [u32; 3] = [1, 16, 64];
const IDLE: [u32; 2] = [1_000, 5_000];
/// Both ends of 5,000 connections are ours.
const DESCRIPTORS: u64 = 20_000;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    raise_descriptor_limit();
    let postgres = Postgres::builder().max_connections(200).start()?;
    let init = postgres.client("pgbench")?.args(["-i", "-q", "-s", "10"]).output()?;
    anyhow::ensure!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    let mut endpoints = vec![Endpoint::direct(&postgres), Endpoint::stent(&postgres)?];
    endpoints.extend(Endpoint::pgbouncer(&postgres)?);
    let mut samples: Vec<Sample> = Vec::new();
    for round in 1..=arguments.rounds {
        for protocol in PROTOCOLS {
            for clients in CLIENTS {
                let load = Load { protocol, clients };
                for endpoint in &endpoints {
                    samples.push(meter::measure(&postgres, endpoint, load, arguments.seconds)?);
                }
                eprintln!("round {round}: {protocol}, {clients} clients");
            }
        }
    }
    let mut idle_costs: Vec<IdleCost> = Vec::new();
    for clients in IDLE {
        for endpoint in &endpoints {
            idle_costs.extend(idle::measure(&postgres, endpoint, clients)?);
        }
    }
    let text = table::markdown(&samples, &idle_costs);
    println!("{text}");
    if let Some(folder) = &arguments.out {
        std::fs::create_dir_all(folder)?;
        let command: Vec<String> = std::env::args().skip(1).collect();
        let raw = json!({
            "command": format!("./x bench {}", command.join(" ")),
            "stent": env!("CARGO_PKG_VERSION"),
            "postgresql": postgres.version().to_string(),
            "cores": std::thread::available_parallelism()?.get(),
            "samples": samples,
            "idle": idle_costs,
        });
        std::fs::write(folder.join("raw.json"), format!("{raw:#}\n"))?;
        std::fs::write(folder.join("table.md"), text)?;
    }
    Ok(())
}

/// As far as the hard limit lets us; where that is too low the idle clients say so.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = now.maximum.map_or(DESCRIPTORS, |most| most.min(DESCRIPTORS));
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum });
}
