//! `hot-path`: instructions a transaction of the release build, and the gate that holds them.
//!
//! Exit codes: 0 as the committed figures say, or written; 1 something failed; 2 a figure has moved.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use stent_bench::hot_path::{self, Baseline, Compared, Shape};

#[derive(Parser)]
#[command(name = "hot-path", about = "Instructions a transaction, counted by callgrind")]
struct Arguments {
    /// Folder for the profiles.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// The program that is measured; else the one beside this.
    #[arg(long)]
    stent: Option<PathBuf>,
    /// The committed figures to compare with.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Writes them in place of comparing.
    #[arg(long, requires = "baseline")]
    write: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let stent = match arguments.stent {
        Some(stent) => stent,
        None => std::env::current_exe()?.with_file_name("stent"),
    };
    let mut measured = Baseline::of_this_machine()?;
    for shape in Shape::ALL {
        let name = shape.name();
        let keep = arguments.keep.as_ref().map(|folder| folder.join(format!("{name}.callgrind")));
        let instructions = hot_path::measure(&stent, shape, keep.as_deref())?.round() as u64;
        println!("{name} {instructions}");
        measured.instructions.insert(name.to_owned(), instructions);
    }
    let Some(path) = arguments.baseline else { return Ok(ExitCode::SUCCESS) };
    if arguments.write {
        measured.write(&path)?;
        return Ok(ExitCode::SUCCESS);
    }
    let committed = Baseline::read(&path)?;
    match committed.compare(&measured) {
        Compared::Same => Ok(ExitCode::SUCCESS),
        Compared::OtherMachine(why) => {
            println!("not compared with {}: {why}", path.display());
            Ok(ExitCode::SUCCESS)
        }
        Compared::Moved(lines) => {
            lines.iter().for_each(|line| println!("{line}"));
            println!("If that is meant, ./x instructions --write keeps the new figures.");
            Ok(ExitCode::from(2))
        }
    }
}
