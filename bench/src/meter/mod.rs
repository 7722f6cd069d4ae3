//! What a stretch of time cost: CPU of the proxy, of PostgreSQL, of the load, and of everybody else.
//!
//! Owns: the kernel's accounts before and after. Refuses: sampling.
//! Invariant: everything on the machine is in one of the four, so that a disturbed measurement is
//! known by its figures and not by its result.

pub mod cpu;
pub mod machine;
pub mod slow;
pub mod syscalls;

use std::time::Instant;

use anyhow::Result;

/// Whose CPU is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// The proxy, where there is one.
    pub proxy: Option<u32>,
    /// PostgreSQL's postmaster.
    pub postmaster: u32,
}

/// The accounts at a moment.
pub struct Meter {
    watched: Watched,
    began: Instant,
    before: Accounts,
}

/// What was spent between two moments, microseconds of CPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Time that passed, seconds.
    pub seconds: f64,
    /// By the proxy, all of its threads.
    pub proxy_us: f64,
    /// By PostgreSQL, all of its processes.
    pub server_us: f64,
    /// By this program and those that it waited for.
    pub load_us: f64,
    /// By nobody of these, as a share of all cores: interrupts, other programs, a host that took
    /// its processor back.
    pub others: f64,
}

#[derive(Clone, Copy, Debug)]
struct Accounts {
    proxy: f64,
    server: f64,
    load: f64,
    busy: f64,
}

impl Meter {
    /// Reads the accounts.
    pub fn start(watched: Watched) -> Result<Self> {
        cpu::settle(watched.postmaster)?;
        let before = Accounts::read(watched)?;
        Ok(Self { watched, began: Instant::now(), before })
    }

    /// Reads them again.
    pub fn stop(self) -> Result<Spent> {
        let seconds = self.began.elapsed().as_secs_f64();
        cpu::settle(self.watched.postmaster)?;
        let passed = self.began.elapsed().as_secs_f64();
        let after = Accounts::read(self.watched)?;
        let of = |account: fn(&Accounts) -> f64| account(&after) - account(&self.before);
        let known = of(|a| a.proxy) + of(|a| a.server) + of(|a| a.load);
        let whole = passed * 1e6 * machine::cores() as f64;
        Ok(Spent {
            seconds,
            proxy_us: of(|a| a.proxy),
            server_us: of(|a| a.server),
            load_us: of(|a| a.load),
            others: ((of(|a| a.busy) - known) / whole).max(0.0),
        })
    }
}

impl Accounts {
    fn read(watched: Watched) -> Result<Self> {
        let proxy = watched.proxy.map_or(Ok(0.0), cpu::process_us)?;
        // Both are children of this program, but no load.
        let not_load = proxy + cpu::process_us(watched.postmaster)?;
        Ok(Self {
            proxy,
            server: cpu::family_us(watched.postmaster)?,
            load: cpu::family_us(std::process::id())? - not_load,
            busy: machine::busy_us()?,
        })
    }
}
