//! `stent-scenarios`: runs scenarios and the demo.
//!
//! Invariant: whatever it started has ended when it ends, by Ctrl-C and SIGTERM too.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use stent_scenarios::demo::{Answer, Keep, demo};
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        let (keep, leaks) = match command {
            Command::Demo { keep: true } => (Keep::UntilInterrupted, None),
            Command::Demo { keep: false } => (Keep::No, None),
            Command::Leaks { runtimes, kinds } => (Keep::No, Some((runtimes, kinds))),
        };
        let mut say = |line: &str| println!("{line}");
        // Leaving early drops the rig, whose guards end everything.
        tokio::select! {
            answer = run_command(keep, leaks, &mut say) => Ok(match answer? {
                Answer::Right => ExitCode::SUCCESS,
                Answer::Wrong => ExitCode::FAILURE,
            }),
            _ = terminated.recv() => Ok(ExitCode::from(143)),
            interrupted = tokio::signal::ctrl_c(), if keep == Keep::No => {
                interrupted?;
                Ok(ExitCode::from(130))
            }
        }
    })
}

async fn run_command(
    keep: Keep,
    leaks: Option<(&Vec<String>, &Vec<String>)>,
    say: &mut impl FnMut(&str),
) -> Result<Answer> {
    let Some((runtimes, kinds)) = leaks else { return demo(keep, say).await };
    let rows = stent_scenarios::leaks::leaks(runtimes, kinds, say).await?;
    let right = rows.iter().all(|row| row.faults.is_empty());
    Ok(if right { Answer::Right } else { Answer::Wrong })
}
