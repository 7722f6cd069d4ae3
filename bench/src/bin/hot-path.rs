//! `hot-path`: instructions a transaction of the release build, one line a protocol.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use stent_bench::hot_path;

#[derive(Parser)]
#[command(name = "hot-path", about = "Instructions a transaction, counted by callgrind")]
struct Arguments {
    /// Folder for the profiles.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// The program that is measured; else the one beside this.
    #[arg(long)]
    stent: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let stent = match arguments.stent {
        Some(stent) => stent,
        None => std::env::current_exe()?.with_file_name("stent"),
    };
    for protocol in hot_path::PROTOCOLS {
        let keep =
            arguments.keep.as_ref().map(|folder| folder.join(format!("{protocol}.callgrind")));
        println!("{protocol} {:.0}", hot_path::measure(&stent, protocol, keep.as_deref())?);
    }
    Ok(())
}
