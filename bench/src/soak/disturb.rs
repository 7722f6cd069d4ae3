//! Faults at random, each for a part of a second.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use stent_testkit::{Fault, FaultProxy, Postgres};

/// Between two faults, at the most; milliseconds.
const PAUSE_MS: u64 = 1_500;
/// A fault, at the most; milliseconds.
const FAULT_MS: u64 = 500;
/// One of so many disturbances kills a backend by SIGKILL, on which PostgreSQL recovers.
const CRASHES: u32 = 20;

/// A pause, and a fault that is over when this returns.
pub(super) fn disturb(
    postgres: &Postgres,
    way: &FaultProxy,
    random: &mut fastrand::Rng,
) -> Result<()> {
    sleep(Duration::from_millis(random.u64(100..PAUSE_MS)));
    let faults = [
        Fault::Delay(Duration::from_millis(20)),
        Fault::Stall,
        Fault::BlackHole,
        Fault::HalfClose,
        Fault::Reset,
        Fault::Truncate(random.u64(1..2_000)),
        Fault::Drip(7, Duration::from_millis(1)),
        Fault::Bandwidth(20_000),
        Fault::Refuse,
    ];
    match random.u32(0..CRASHES) {
        // A server that recovers, or has no backend at this moment, says no: the next one will do.
        0 => drop(postgres.crash_one_backend()),
        1..5 => drop(postgres.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where backend_type = 'client backend' and pid <> pg_backend_pid()",
        )),
        5..7 => way.reset_all(),
        _ => {
            way.set(faults[random.usize(0..faults.len())]);
            sleep(Duration::from_millis(random.u64(10..FAULT_MS)));
            way.set(Fault::None);
        }
    }
    Ok(())
}
