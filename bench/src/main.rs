//! `stent-bench`: measures, prints the tables, keeps the raw figures.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use stent_bench::cells;
use stent_bench::lab::Lab;
use stent_bench::plan::Plan;
use stent_bench::report::{self, Raw};
use stent_bench::session::Session;

#[derive(Parser)]
#[command(name = "stent-bench", about = "Stent against a direct connection and its peers")]
struct Arguments {
    /// Kinds of cells, commas between them: tps, latency, tls, streaming, connect, syscalls,
    /// memory, storm. All without.
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
    /// Measure nothing: make the tables of --out again, and the README's part.
    #[arg(long)]
    render: bool,
}

/// pgbench's, of a hundred thousand rows each.
const SCALE: u32 = 10;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.render {
        return render(arguments.out.as_deref().unwrap_or(Path::new("bench/results")));
    }
    raise_descriptor_limit();
    let mut plan = Plan::of(&arguments.cells, &arguments.only, &arguments.endpoints)?;
    plan.rounds = arguments.rounds;
    plan.seconds = arguments.seconds;
    plan.retries = arguments.retries;
    plan.idle.clone_from(&arguments.idle);
    let mut session = Session::open(Lab::start(SCALE)?, plan)?;
    cells::run(&mut session)?;
    let said: Vec<String> = std::env::args().skip(1).collect();
    let raw = Raw::of(&session, &said);
    println!("{}", raw.tables());
    if let Some(folder) = &arguments.out {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("raw.json"), raw.text()?)?;
        std::fs::write(folder.join("table.md"), raw.tables())?;
    }
    Ok(())
}

/// What follows from the raw figures, written again.
fn render(folder: &Path) -> Result<()> {
    let raw = Raw::read(&folder.join("raw.json"))?;
    std::fs::write(folder.join("table.md"), raw.tables())?;
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
