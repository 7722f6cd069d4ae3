//! The agent's own heap, as jemalloc counts it.
//!
//! Owns: asking jemalloc. Refuses: other processes. Invariant: where jemalloc is linked but is not
//! the global allocator its figures are not ours, and the answer is `None`.

use std::hint::black_box;

use stent_contract::snapshot::HeapSnapshot;
use tikv_jemalloc_ctl::{epoch, stats, thread};

/// Bytes allocated, active and resident; `None` where another allocator serves this program.
pub(crate) fn read() -> Option<HeapSnapshot> {
    if !serves_this_program()? {
        return None;
    }
    epoch::advance().ok()?; // the figures are cached until then
    let as_u64 = |bytes: usize| bytes as u64;
    Some(HeapSnapshot {
        allocated: as_u64(stats::allocated::read().ok()?),
        active: as_u64(stats::active::read().ok()?),
        resident: as_u64(stats::resident::read().ok()?),
    })
}

/// Whether an ordinary allocation of this thread is counted by jemalloc.
fn serves_this_program() -> Option<bool> {
    let counter = thread::allocatedp::read().ok()?;
    let before = counter.get();
    drop(black_box(Box::new([0_u8; 64])));
    Some(counter.get() > before)
}
