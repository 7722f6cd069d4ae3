//! Instructions of a transaction on the hot path: the proxy under callgrind between one client and
//! a server that answers at once.
//!
//! Owns: what is run, how often, and the difference of two runs that leaves start, login and end
//! out. Refuses: time: instructions of user code are the same on a loaded machine.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stent_testkit::{Process, Signal, TempDir, free_port, wait_until};

use crate::stub::Stub;

/// Transactions of the shorter and of the longer run.
const RUNS: [u32; 2] = [500, 2_500];
/// Under callgrind everything takes fifty times as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The protocols, as pgbench names them.
pub const PROTOCOLS: [&str; 3] = ["simple", "extended", "prepared"];

/// Instructions a transaction in a protocol. `keep` gets the longer run's profile.
pub fn measure(stent: &Path, protocol: &str, keep: Option<&Path>) -> Result<f64> {
    let stub = Stub::start()?;
    let files = TempDir::new("hot-path")?;
    let mut totals = [0.0; 2];
    for (total, transactions) in totals.iter_mut().zip(RUNS) {
        let profile = files.path().join(format!("{transactions}.callgrind"));
        *total = run(stent, &stub, protocol, transactions, &profile)?;
        if let Some(keep) = keep {
            std::fs::copy(&profile, keep)?;
        }
    }
    Ok((totals[1] - totals[0]) / f64::from(RUNS[1] - RUNS[0]))
}

/// One life of the proxy; all instructions of it.
fn run(
    stent: &Path,
    stub: &Stub,
    protocol: &str,
    transactions: u32,
    profile: &Path,
) -> Result<f64> {
    let port = free_port()?;
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(stent)
        .arg("proxy")
        .env("DATABASE_URL", format!("postgres://app@127.0.0.1:{}/app", stub.port()))
        .env("STENT_AUTH_TYPE", "trust")
        .env("STENT_LISTEN_PORT", port.to_string())
        .env("STENT_ADMIN_LISTEN", format!("127.0.0.1:{}", free_port()?))
        .stdout(Stdio::null());
    let mut process = Process::spawn(&mut command).context("start valgrind: is it installed?")?;
    wait_until("the proxy to listen", PATIENCE, || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    })?;
    Load::login(port)?.run(protocol, transactions)?;
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
    pub fn run(&mut self, protocol: &str, transactions: u32) -> Result<()> {
        let sql = "SELECT abalance FROM pgbench_accounts WHERE aid = ";
        if protocol == "prepared" {
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
            let request = match protocol {
                "simple" => message(b'Q', format!("{sql}{aid};\0").as_bytes()),
                "extended" => {
                    let parse = message(b'P', format!("\0{sql}$1;\0\0\0").as_bytes());
                    [parse, bind(""), rest.concat()].concat()
                }
                _ => [bind("P_0"), rest.concat()].concat(),
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
