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
        let Command::Demo { keep } = command;
        let keep = if *keep { Keep::UntilInterrupted } else { Keep::No };
        let mut say = |line: &str| println!("{line}");
        // Leaving early drops the rig, whose guards end everything.
        tokio::select! {
            answer = demo(keep, &mut say) => Ok(match answer? {
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
