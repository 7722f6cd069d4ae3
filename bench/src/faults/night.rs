//! What an endpoint does while PostgreSQL is away for long.
//!
//! Owns: two looks at it, around the fault. Refuses: lines of an endpoint that has been told to log
//! nothing.

use anyhow::Result;
use stent_testkit::FaultProxy;

use crate::endpoint::{Kind, Running};
use crate::figure::Values;
use crate::meter::cpu;

/// The variable that has Stent say what it would say in production.
pub(super) const LOG_LEVEL: (&str, &str) = ("STENT_LOG_LEVEL", "info");

/// A look at an endpoint.
pub(super) struct Look {
    cpu_us: Option<f64>,
    attempts: u64,
    lines: usize,
}

impl Look {
    pub(super) fn at(endpoint: &Running, way: &FaultProxy) -> Result<Self> {
        let cpu_us = endpoint.pid().map(cpu::process_us).transpose()?;
        Ok(Self { cpu_us, attempts: way.accepted(), lines: endpoint.output().lines().count() })
    }

    /// What lies between two looks.
    pub(super) fn to(&self, later: &Self, kind: Kind) -> Values {
        let mut values = Values::new();
        let mut put = |name: &str, value: f64| values.insert(name.to_owned(), value);
        if let (Some(before), Some(after)) = (self.cpu_us, later.cpu_us) {
            put("away_cpu_s", (after - before) / 1e6);
        }
        put("away_attempts", (later.attempts - self.attempts) as f64);
        if kind == Kind::Stent {
            put("away_lines", later.lines.saturating_sub(self.lines) as f64);
        }
        values
    }
}
