//! `stent-faults`: plays the fault matrix, prints its table, keeps the raw figures.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Parser;
use stent_bench::faults::bystanders::DATABASE;
use stent_bench::faults::{self, Plan};
use stent_bench::lab::Lab;
use stent_bench::report::Raw;

#[derive(Parser)]
#[command(name = "stent-faults", about = "What clients see of a fault, behind Stent and its peers")]
struct Arguments {
    /// Rows, commas between them; all without. A wrong name lists them.
    #[arg(long, default_value = "")]
    rows: String,
    /// Endpoints: direct, stent, pgbouncer, pg_doorman. PGBOUNCER and PG_DOORMAN name their programs.
    #[arg(long, default_value = "")]
    endpoints: String,
    /// How often each row is played at each endpoint.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Folder for the raw figures (JSON) and the table (Markdown).
    #[arg(long)]
    out: Option<PathBuf>,
    /// Plays nothing: makes the table of --out again.
    #[arg(long, requires = "out")]
    render: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let (true, Some(out)) = (arguments.render, &arguments.out) {
        return write_table(out, &Raw::read(&out.join("faults.json"))?);
    }
    let mut lab = Lab::for_faults(DATABASE)?;
    let plan = Plan::of(&arguments.rows, &arguments.endpoints, arguments.rounds, &lab)?;
    let said: Vec<String> = std::env::args().skip(1).collect();
    let versions = Plan::versions(&plan.kinds, &lab)?;
    let raw = |done: &faults::Done| Raw::of_faults(done, &versions, &said);
    let done = faults::run(&mut lab, &plan, |done| match &arguments.out {
        Some(out) => keep(out, &raw(done)),
        None => Ok(()),
    })?;
    println!("{}", raw(&done).faults());
    Ok(())
}

/// After each cell, so that a run that is cut off has what it had.
fn keep(out: &Path, raw: &Raw) -> Result<()> {
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join("faults.json"), raw.text()?)?;
    write_table(out, raw)
}

fn write_table(out: &Path, raw: &Raw) -> Result<()> {
    Ok(std::fs::write(out.join("faults.md"), raw.faults())?)
}
