//! `stent-scenarios`: runs scenarios, the demo and the race to the kernel's kill.
//!
//! Invariant: whatever it started has ended when it ends, by Ctrl-C and SIGTERM too.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use stent_scenarios::demo::{Answer, Keep, demo};
use stent_scenarios::footprint;
use stent_scenarios::kill_time::{self, Plan};
use stent_scenarios::leaks::record;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(name = "stent-scenarios", about = "Failures of real APIs with a known right answer")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A real API behind Stent, healthy and then leaking, and what Stent says of both.
    Demo {
        /// Leave the leaking run up until Ctrl-C.
        #[arg(long)]
        keep: bool,
    },
    /// Small servers that leak in known ways, and their healthy twins: verdict and attribution of
    /// each, as a table.
    Leaks {
        /// Only these runtimes (the manifests in scenarios/leaks by name).
        #[arg(long = "runtime")]
        runtimes: Vec<String>,
        /// Only these kinds.
        #[arg(long = "kind")]
        kinds: Vec<String>,
    },
    /// Writes what the kernel says of one of them, once a second, with the right answer, to standard
    /// output: a recording for `stent-traces score-recordings` and `stent replay`.
    Record {
        /// The manifest in scenarios/leaks, by name.
        #[arg(long)]
        runtime: String,
        /// One of its kinds.
        #[arg(long)]
        kind: String,
        /// What a request keeps, kB.
        #[arg(long, default_value_t = 20)]
        kilobytes: u64,
        /// How long at most, seconds.
        #[arg(long, default_value_t = 300)]
        seconds: u64,
    },
    /// Leaks under real memory cgroups until the kernel kills: predicted against real. Needs root.
    KillTime {
        /// Processes, all at once.
        #[arg(long, default_value_t = 5)]
        starts: u32,
        /// The limit of each, MiB.
        #[arg(long, default_value_t = 128)]
        limit: u64,
        /// What each has at its start, MB.
        #[arg(long, default_value_t = 30)]
        ballast: u64,
        /// What each leaks, MB a minute.
        #[arg(long, default_value_t = 2)]
        per_minute: u64,
    },
    /// What the agent takes while it watches, and whether it grows.
    Footprint {
        /// Processes that are watched.
        #[arg(long, default_value_t = 10)]
        targets: u32,
        /// How long, seconds.
        #[arg(long, default_value_t = 600)]
        seconds: u64,
    },
    /// The process that leaks, in `kill-time`.
    #[command(hide = true)]
    Grow { ballast: u64, bytes_per_minute: u64 },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("stent-scenarios: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<ExitCode> {
    if let Command::Grow { ballast, bytes_per_minute } = command {
        kill_time::grow(*ballast, *bytes_per_minute)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        let keep = match command {
            Command::Demo { keep: true } => Keep::UntilInterrupted,
            Command::Demo { keep: false }
            | Command::Leaks { .. }
            | Command::Record { .. }
            | Command::KillTime { .. }
            | Command::Footprint { .. }
            | Command::Grow { .. } => Keep::No,
        };
        // Leaving early drops the rig, whose guards end everything.
        tokio::select! {
            code = shown(command, keep) => code,
            _ = terminated.recv() => Ok(ExitCode::from(143)),
            interrupted = tokio::signal::ctrl_c(), if keep == Keep::No => {
                interrupted?;
                Ok(ExitCode::from(130))
            }
        }
    })
}

async fn shown(command: &Command, keep: Keep) -> Result<ExitCode> {
    let mut say = |line: &str| println!("{line}");
    match command {
        Command::KillTime { starts, limit, ballast, per_minute } => {
            let plan = Plan {
                starts: *starts,
                limit: limit * 1024 * 1024,
                ballast: ballast * 1_000_000,
                bytes_per_minute: per_minute * 1_000_000,
            };
            let table = kill_time::kill_time(&plan, &mut say).await?;
            println!("{table}");
            Ok(ExitCode::SUCCESS)
        }
        Command::Record { runtime, kind, kilobytes, seconds } => {
            let plan = record::Plan {
                runtime: runtime.clone(),
                kind: kind.clone(),
                kilobytes: *kilobytes,
                length: Duration::from_secs(*seconds),
            };
            print!("{}", record::record(&plan).await?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Footprint { targets, seconds } => {
            let length = Duration::from_secs(*seconds);
            let plan = footprint::Plan { targets: *targets, length };
            print!("{}", footprint::footprint(&plan).await?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Leaks { runtimes, kinds } => {
            let rows = stent_scenarios::leaks::leaks(runtimes, kinds, &mut say).await?;
            let right = rows.iter().all(|row| row.faults.is_empty());
            Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Demo { .. } | Command::Grow { .. } => Ok(match demo(keep, &mut say).await? {
            Answer::Right => ExitCode::SUCCESS,
            Answer::Wrong => ExitCode::FAILURE,
        }),
    }
}
