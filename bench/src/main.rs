//! `stent-bench`: measures, prints the tables, keeps the raw figures.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use stent_bench::lab::Lab;
use stent_bench::plan::Plan;
use stent_bench::report::{self, Raw};
use stent_bench::session::Session;
use stent_bench::{cells, curves};

#[derive(Parser)]
#[command(name = "stent-bench", about = "Stent against a direct connection and its peers")]
struct Arguments {
    /// Kinds of cells, commas between them: tps, join, latency, tls, streaming, connect, syscalls,
    /// memory, storm, workers. All without.
    #[arg(long, default_value = "")]
    cells: String,
    /// Cases, by how they begin: simple/16, extended, TLS.
    #[arg(long, default_value = "")]
    only: String,
    /// Endpoints: direct, stent, stent-named, stent-all, pgbouncer, pgbouncer-64k,
    /// pgbouncer-debian, pg_doorman. PGBOUNCER and PG_DOORMAN name their programs.
    #[arg(long, default_value = "")]
    endpoints: String,
    /// Seconds a measurement of throughput; others are shorter.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds: each measures every case at every endpoint once.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// How often a measurement that others disturbed is repeated.
    #[arg(long, default_value_t = 2)]
    retries: u32,
    /// Numbers of idle clients.
    #[arg(long, default_value = "1000,5000,10000", value_delimiter = ',')]
    idle: Vec<u32>,
    /// Folder for the raw figures (JSON) and the tables (Markdown).
    #[arg(long)]
    out: Option<PathBuf>,
    /// Measure what a transaction costs as clients, pools, statements and age grow, and no cells.
    #[arg(long)]
    curves: bool,
    /// Measure nothing: make the tables of --out again, and the README's part.
    #[arg(long)]
    render: bool,
}

/// pgbench's, of a hundred thousand rows each.
const SCALE: u32 = 10;
/// What is committed; a run that writes there writes the README's part too.
const RESULTS: &str = "bench/results";

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.render {
        return render(arguments.out.as_deref().unwrap_or_else(|| Path::new(RESULTS)));
    }
    raise_descriptor_limit();
    let mut plan = Plan::of(&arguments.cells, &arguments.only, &arguments.endpoints)?;
    plan.rounds = arguments.rounds;
    plan.seconds = arguments.seconds;
    plan.retries = arguments.retries;
    plan.idle.clone_from(&arguments.idle);
    let mut session = Session::open(Lab::start(SCALE)?, plan)?;
    let said: Vec<String> = std::env::args().skip(1).collect();
    if arguments.curves {
        curves::run(&mut session, &curves::Size::whole())?;
        let raw = Raw::of(&session, &said);
        let page = raw.curves();
        return keep(arguments.out.as_deref(), "curves", &raw, &page);
    }
    cells::run(&mut session)?;
    let raw = Raw::of(&session, &said);
    let page = raw.tables();
    keep(arguments.out.as_deref(), "raw", &raw, &page)?;
    match arguments.out {
        Some(out) if out == Path::new(RESULTS) => render(&out),
        Some(_) | None => Ok(()),
    }
}

/// Prints a page, and writes it beside the figures that it was made of.
fn keep(folder: Option<&Path>, name: &str, raw: &Raw, page: &str) -> Result<()> {
    println!("{page}");
    let Some(folder) = folder else { return Ok(()) };
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join(format!("{name}.json")), raw.text()?)?;
    std::fs::write(folder.join(page_of(name)), page)?;
    Ok(())
}

fn page_of(name: &str) -> &'static str {
    match name {
        "curves" => "curves.md",
        _ => "table.md",
    }
}

/// What follows from the raw figures, written again.
fn render(folder: &Path) -> Result<()> {
    let raw = Raw::read(&folder.join("raw.json"))?;
    std::fs::write(folder.join(page_of("raw")), raw.tables())?;
    let curves = folder.join("curves.json");
    if curves.exists() {
        std::fs::write(folder.join(page_of("curves")), Raw::read(&curves)?.curves())?;
    }
    let readme = std::fs::read_to_string("README.md").context("run it where the README is")?;
    std::fs::write("README.md", report::spliced(&readme, &raw.summary())?)?;
    Ok(())
}

/// As far as the hard limit lets us; where that is too low the idle clients say so.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let most = rustix::process::Rlimit { current: now.maximum, maximum: now.maximum };
    let _ = setrlimit(Resource::Nofile, most);
}
