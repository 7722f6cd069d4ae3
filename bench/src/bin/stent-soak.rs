//! `stent-soak`: clients that come and go in every way, faults at random, and nothing left of them.
//!
//! Exit codes: 0 nothing is left and the counters agree; 1 something failed; 2 a check does not hold.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use stent_bench::faults::bystanders::DATABASE;
use stent_bench::lab::Lab;
use stent_bench::soak::life::Way;
use stent_bench::soak::{self, Plan, Weather};

#[derive(Parser)]
#[command(name = "stent-soak", about = "Clients that come and go while the database fails")]
struct Arguments {
    /// Minutes between the two readings.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Seconds of load before the first of them.
    #[arg(long, default_value_t = 60)]
    warm: u64,
    /// Seconds of quiet before each reading.
    #[arg(long, default_value_t = 40)]
    quiet: u64,
    /// Arrivals a second.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Ways of clients, by how their names begin, commas between them; all without.
    #[arg(long, default_value = "")]
    ways: String,
    /// No faults.
    #[arg(long)]
    calm: bool,
    /// Decides lives and faults; printed.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let plan = Plan {
        warm: Duration::from_secs(arguments.warm),
        length: Duration::from_secs_f64(arguments.minutes * 60.0),
        quiet: Duration::from_secs(arguments.quiet),
        rate: arguments.rate,
        ways: Way::named(&arguments.ways),
        weather: if arguments.calm { Weather::Calm } else { Weather::Faults },
        seed: arguments.seed.unwrap_or_else(|| fastrand::u64(..)),
    };
    println!("seed {}", plan.seed);
    let seconds = plan.length.as_secs_f64();
    let outcome = soak::run(&Lab::for_faults(DATABASE)?, plan)?;
    let (arrivals, clients) = (outcome.arrivals, outcome.clients);
    println!("{arrivals} arrivals, {:.0} a second; {clients} clients", arrivals as f64 / seconds);
    for (life, count) in &outcome.lives {
        println!("{count:8} {life}");
    }
    for reading in &outcome.readings {
        println!("{}", serde_json::to_string(reading)?);
    }
    for panic in &outcome.panics {
        println!("{panic}");
    }
    println!("\n| | expected | found | holds |\n|---|---|---|---|");
    for check in &outcome.checks {
        let holds = if check.holds() { "yes" } else { "**no**" };
        println!("| {} | {} | {} | {holds} |", check.what, check.expected, check.found);
    }
    let all = outcome.checks.iter().all(|check| check.holds());
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
