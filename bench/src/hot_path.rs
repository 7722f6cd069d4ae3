//! Instructions of a transaction on the hot path: the proxy under callgrind between one client and
//! a server that answers at once.
//!
//! Owns: what is run, how often, and the difference of two runs that leaves start, login and end
//! out. Refuses: time: instructions of user code are the same on a loaded machine.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use stent_testkit::{Process, Signal, TempDir, free_port, wait_until};

use crate::stub::Stub;

/// Transactions of the shorter and of the longer run.
const RUNS: [u32; 2] = [500, 2_500];
/// Under callgrind everything takes fifty times as long.
const PATIENCE: Duration = Duration::from_secs(60);
/// How far a figure may move before somebody has to look, in percent.
const TOLERANCE: u64 = 2;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// pgbench's `-M simple`.
    Simple,
    /// `-M extended`.
    Extended,
    /// `-M prepared`.
    Prepared,
    /// `-M extended` with `statement_cache = all`.
    Kept,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Simple, Self::Extended, Self::Prepared, Self::Kept];

    /// Its name in the committed figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Prepared => "prepared",
            Self::Kept => "extended, statement_cache = all",
        }
    }

    const fn statement_cache(self) -> &'static str {
        match self {
            Self::Simple | Self::Extended | Self::Prepared => "named",
            Self::Kept => "all",
        }
    }
}

/// Instructions a transaction by shape, and what they depend on beside the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// `rustc --version`.
    pub rustc: String,
    /// The processor's kind.
    pub arch: String,
    /// By [`Shape::name`].
    pub instructions: BTreeMap<String, u64>,
}

/// What a comparison came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Compared {
    /// Each figure is within 2 % of the committed one.
    Same,
    /// The figures were made by another compiler or processor: this is the difference.
    OtherMachine(String),
    /// These are not: one line each.
    Moved(Vec<String>),
}

impl Baseline {
    /// Without figures.
    pub fn of_this_machine() -> Result<Self> {
        let rustc = Command::new("rustc").arg("--version").output().context("run rustc")?;
        let rustc = String::from_utf8_lossy(&rustc.stdout).trim().to_owned();
        let arch = std::env::consts::ARCH.to_owned();
        Ok(Self { rustc, arch, instructions: BTreeMap::new() })
    }

    /// The committed figures.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Commits them.
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(self)?))
            .with_context(|| path.display().to_string())
    }

    /// Compares figures with these.
    pub fn compare(&self, measured: &Self) -> Compared {
        if (&self.rustc, &self.arch) != (&measured.rustc, &measured.arch) {
            let why = format!(
                "those are of {} on {}, these of {} on {}",
                self.rustc, self.arch, measured.rustc, measured.arch
            );
            return Compared::OtherMachine(why);
        }
        let moved = |(name, now): (&String, &u64)| {
            let Some(before) = self.instructions.get(name) else {
                return Some(format!(
                    "{name}: {now} instructions a transaction, and no figure before"
                ));
            };
            let text = format!("{name}: {now} instructions a transaction, {before} before");
            let change = 100.0 * (*now as f64 / *before as f64 - 1.0);
            let moved = now.abs_diff(*before) * 100 > before * TOLERANCE;
            moved.then(|| format!("{text} ({change:+.1} %)"))
        };
        let moved: Vec<String> = measured.instructions.iter().filter_map(moved).collect();
        if moved.is_empty() { Compared::Same } else { Compared::Moved(moved) }
    }
}

/// Instructions a transaction of a shape. `keep` gets the longer run's profile.
pub fn measure(stent: &Path, shape: Shape, keep: Option<&Path>) -> Result<f64> {
    let stub = Stub::start()?;
    let files = TempDir::new("hot-path")?;
    let mut totals = [0.0; 2];
    for (total, transactions) in totals.iter_mut().zip(RUNS) {
        let profile = files.path().join(format!("{transactions}.callgrind"));
        *total = run(stent, &stub, shape, transactions, &profile)?;
        if let Some(keep) = keep {
            std::fs::copy(&profile, keep)?;
        }
    }
    Ok((totals[1] - totals[0]) / f64::from(RUNS[1] - RUNS[0]))
}

/// One life of the proxy; all instructions of it.
fn run(stent: &Path, stub: &Stub, shape: Shape, transactions: u32, profile: &Path) -> Result<f64> {
    let port = free_port()?;
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(stent)
        .arg("proxy")
        .env("DATABASE_URL", format!("postgres://app@127.0.0.1:{}/app", stub.port()))
        .env("STENT_AUTH_TYPE", "trust")
        .env("STENT_STATEMENT_CACHE", shape.statement_cache())
        .env("STENT_LISTEN_PORT", port.to_string())
        .env("STENT_ADMIN_LISTEN", format!("127.0.0.1:{}", free_port()?))
        .stdout(Stdio::null());
    let mut process = Process::spawn(&mut command).context("start valgrind: is it installed?")?;
    wait_until("the proxy to listen", PATIENCE, || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    })?;
    Load::login(port)?.run(shape, transactions)?;
    process.signal(Signal::TERM)?;
    let status = process.wait(PATIENCE)?;
    ensure!(status.success(), "the proxy ended with {status}");
    let text = std::fs::read_to_string(profile).context("read the profile")?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.context("a profile has totals")?.trim().parse().context("totals are a number")
}

/// A client with pgbench's messages of `-S`, one transaction at a time.
pub struct Load {
    stream: TcpStream,
}

impl Load {
    /// Logs in under trust.
    pub fn login(port: u16) -> Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        let body = b"\0\x03\0\0user\0app\0database\0app\0\0";
        stream.write_all(&[&(body.len() as u32 + 4).to_be_bytes()[..], body].concat())?;
        let mut load = Self { stream };
        load.until_ready()?;
        Ok(load)
    }

    /// So many transactions.
    pub fn run(&mut self, shape: Shape, transactions: u32) -> Result<()> {
        let sql = "SELECT abalance FROM pgbench_accounts WHERE aid = ";
        if shape == Shape::Prepared {
            let parse = message(b'P', format!("P_0\0{sql}$1;\0\0\0").as_bytes());
            self.stream.write_all(&[parse, message(b'S', b"")].concat())?;
            self.until_ready()?;
        }
        for number in 0..transactions {
            let aid = format!("{:05}", 10_000 + number % 1_000);
            let bind = |name: &str| {
                let len = (aid.len() as u32).to_be_bytes();
                let parts: [&[u8]; 6] =
                    [b"\0", name.as_bytes(), b"\0\0\0\0\x01", &len, aid.as_bytes(), b"\0\x01\0\0"];
                message(b'B', &parts.concat())
            };
            let rest = [message(b'D', b"P\0"), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")];
            let request = match shape {
                Shape::Simple => message(b'Q', format!("{sql}{aid};\0").as_bytes()),
                Shape::Extended | Shape::Kept => {
                    let parse = message(b'P', format!("\0{sql}$1;\0\0\0").as_bytes());
                    [parse, bind(""), rest.concat()].concat()
                }
                Shape::Prepared => [bind("P_0"), rest.concat()].concat(),
            };
            self.stream.write_all(&request)?;
            self.until_ready()?;
        }
        Ok(())
    }

    fn until_ready(&mut self) -> Result<()> {
        let mut said = Vec::new();
        let mut chunk = [0; 4096];
        while !said.ends_with(b"Z\0\0\0\x05I") {
            let n = self.stream.read(&mut chunk)?;
            ensure!(n > 0, "it ended with {:?}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&chunk[..n]);
        }
        Ok(())
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rustc: &str, figures: &[(&str, u64)]) -> Baseline {
        let instructions = figures.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        Baseline { rustc: rustc.to_owned(), arch: "x86_64".to_owned(), instructions }
    }

    #[test]
    fn a_figure_may_move_by_two_percent_either_way() {
        let committed = of("1", &[("simple", 10_000), ("extended", 20_000)]);
        let within = of("1", &[("simple", 10_200), ("extended", 19_600)]);
        assert_eq!(committed.compare(&within), Compared::Same);
        for moved in [("simple", 10_201), ("extended", 19_599), ("new", 1)] {
            let Compared::Moved(lines) = committed.compare(&of("1", &[moved])) else {
                panic!("{moved:?} has moved")
            };
            assert!(lines[0].starts_with(moved.0) && lines.len() == 1, "{lines:?}");
        }
    }

    #[test]
    fn figures_of_another_compiler_are_not_compared() {
        let compared = of("1", &[("simple", 10_000)]).compare(&of("2", &[("simple", 20_000)]));
        assert!(matches!(compared, Compared::OtherMachine(why) if why.contains("those are of 1")));
    }
}
