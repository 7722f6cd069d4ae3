//! A throw-away PostgreSQL for the shell: prints its URL, and its end is the end of standard input.
//!
//! Run it in one terminal and `psql URL` in another; Ctrl-C or Ctrl-D ends it
//! and leaves nothing behind.

use std::io::{Read, Write};

use anyhow::Result;
use stent_testkit::Postgres;

fn main() -> Result<()> {
    let postgres = Postgres::start()?;
    let pid = postgres.pid().map(|pid| pid.to_string()).unwrap_or_default();
    let mut out = std::io::stdout();
    writeln!(out, "{}\npid {pid}\nfolder {}", postgres.url(), postgres.socket_dir().display())?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
