//! The memory pressure of a cgroup of version 2: for how long its tasks stood still for want of memory.
//!
//! Owns: the meaning of `memory.pressure`. Refuses: version 1, which has no such file:
//! `memory.pressure_level` can only be waited on, and `/proc/pressure/memory` is the machine's.
//! Invariant: a share is from 0 to 1.
//! Source: Linux Documentation/accounting/psi.

use stent_contract::{MemoryPressure, PressureReading};

use super::kernel_file::{Flaw, field};

/// Reads lines of `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
pub(super) fn parse(text: &str) -> Result<PressureReading, Flaw> {
    let line = |name| field(text, name).and_then(of_line).ok_or(Flaw::Malformed("no pressure"));
    Ok(PressureReading { some: line("some ")?, full: line("full ")? })
}

fn of_line(line: &str) -> Option<MemoryPressure> {
    let value = |key: &str| {
        line.split_ascii_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    };
    let percent: f64 = value("avg10")?.parse().ok()?;
    let micros: u64 = value("total")?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(MemoryPressure {
        share: percent / 100.0,
        total_seconds: micros as f64 / 1_000_000.0,
    })
}
