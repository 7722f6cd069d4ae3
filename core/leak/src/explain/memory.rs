//! Why memory grows, as far as figures tell, and where to look next.
//!
//! Owns: ranking and wording. Refuses: naming a line of code; that takes an attached profiler.
//! Invariant: each cause rests on a figure of the verdict or of the facts.

use stent_contract::{Cause, LeakClass, ProcessReading, Verdict, VerdictLevel};

use super::MemoryFacts;
use crate::text;

pub(super) fn summary(verdict: &Verdict) -> String {
    let end = match (verdict.seconds_to_limit, verdict.seconds_to_limit_range) {
        (Some(seconds), Some((early, late))) => format!(
            "; limit in {} ({} to {})",
            text::duration(seconds),
            text::duration(early),
            text::duration(late)
        ),
        (Some(seconds), None) => format!("; limit in {}", text::duration(seconds)),
        (None, _) => "; no limit known".to_owned(),
    };
    let verb = match verdict.level {
        VerdictLevel::Healthy | VerdictLevel::Suspect => "may be leaking",
        VerdictLevel::Leak => "leaks",
    };
    let rate = text::bytes(verdict.growth_per_hour);
    format!("'{}' {verb} memory: {rate}/h{}{end}", verdict.target, manner(verdict))
}

/// How it grows, in the verdict's own class.
fn manner(verdict: &Verdict) -> &'static str {
    match verdict.class {
        LeakClass::Leak => " without slowing down",
        LeakClass::NativeLeak => " outside its heap without slowing down",
        LeakClass::CacheFilling | LeakClass::AllocatorRetention | LeakClass::Fragmentation => {
            ", slowing down, but perhaps not in time"
        }
        LeakClass::WarmUp => " while warming up",
        LeakClass::None
        | LeakClass::PageCache
        | LeakClass::Traffic
        | LeakClass::DescriptorLeak
        | LeakClass::ThreadLeak
        | LeakClass::HeldTransaction => "",
    }
}

pub(super) fn causes(verdict: &Verdict, facts: &MemoryFacts<'_>) -> Vec<Cause> {
    let rate = text::bytes(verdict.growth_per_hour);
    let grows = format!(
        "memory of '{}' grows {rate}/h{}: anonymous memory, not file cache",
        verdict.target,
        manner(verdict)
    );
    let next_step = profiler(facts.reading);
    let mut causes = Vec::new();
    let each = figure(verdict, "bytes_per_transaction");
    let text = match each {
        Some(each) => format!(
            "{grows}; a rise in traffic does not explain it; something that is kept for each \
             request (about {} a transaction) is never released",
            text::bytes(each)
        ),
        None => format!("{grows}; something is kept and never released"),
    };
    causes.push(Cause { text, confidence: share(verdict.confidence, 0.85), next_step });
    causes.extend(pile_up(verdict, facts));
    causes.extend(outside_the_heap(verdict));
    causes.push(Cause {
        text: "a cache without a bound on its size is still filling".to_owned(),
        confidence: share(1.0 - verdict.confidence, 0.5),
        next_step: "look for maps that are only added to; give each a largest size".to_owned(),
    });
    causes.extend(oom_kills(verdict, facts.reading));
    causes
}

/// Requests that wait for a connection keep their memory: a leak of one is a leak of the other.
fn pile_up(verdict: &Verdict, facts: &MemoryFacts<'_>) -> Option<Cause> {
    if facts.clients_waiting == 0 || facts.held_transactions == 0 {
        return None;
    }
    Some(Cause {
        text: format!(
            "requests pile up behind {} held: {} waiting, each with its request in memory",
            text::count(facts.held_transactions as usize, "forgotten transaction"),
            text::count(facts.clients_waiting as usize, "client"),
        ),
        confidence: share(verdict.confidence, 0.5),
        next_step: "mend the connection leak first and see whether memory still grows".to_owned(),
    })
}

fn outside_the_heap(verdict: &Verdict) -> Option<Cause> {
    let heap = figure(verdict, "heap_growth_bytes")?;
    let growth = figure(verdict, "floor_growth_bytes")?;
    if heap >= 0.2 * growth {
        return None;
    }
    Some(Cause {
        text: format!(
            "the runtime's heap grew by {} only: native code, buffers or the allocator keep it",
            text::bytes(heap)
        ),
        confidence: share(verdict.confidence, 0.6),
        next_step: "profile native allocations (LD_PRELOAD of jemalloc with prof:true), not the \
                    script heap"
            .to_owned(),
    })
}

fn oom_kills(verdict: &Verdict, reading: Option<&ProcessReading>) -> Option<Cause> {
    let kills = reading?.memory.oom_kills.filter(|kills| *kills > 0)?;
    Some(Cause {
        text: format!(
            "the kernel has killed in this cgroup before for want of memory ({})",
            text::count(usize::try_from(kills).unwrap_or(usize::MAX), "time")
        ),
        confidence: share(verdict.confidence, 0.3),
        next_step: "compare with the restarts of the service: the same leak may be behind them"
            .to_owned(),
    })
}

/// What to run, by the runtime that the command's name betrays. Only Node has a handler for
/// SIGUSR1: the signal ends Bun and Python.
fn profiler(reading: Option<&ProcessReading>) -> String {
    let command = reading.map_or("", |reading| reading.command.as_str());
    let what = if command.starts_with("bun") {
        "start it with BUN_INSPECT set, take Heap.snapshot twice ten minutes apart and compare the \
         classes (never send it SIGUSR1: that ends Bun)"
    } else if command.starts_with("node") {
        "send SIGUSR1, record a sampling heap profile from the inspector in three windows and look \
         for stacks that grow in each"
    } else if command.starts_with("python") || command.starts_with("uvicorn") {
        "start tracemalloc with one frame, take two snapshots ten minutes apart and compare them \
         by line (never send it SIGUSR1: that ends Python)"
    } else {
        "take two heap profiles ten minutes apart under the same load and compare them"
    };
    format!("{what}; until it is mended, restart it before it reaches the limit")
}

fn figure(verdict: &Verdict, key: &str) -> Option<f64> {
    verdict.evidence.iter().find(|evidence| evidence.key == key).map(|evidence| evidence.value)
}

/// A part of a confidence, in two digits.
fn share(confidence: f64, part: f64) -> f64 {
    ((confidence * part).clamp(0.0, 1.0) * 100.0).round() / 100.0
}
