//! Why descriptors or threads pile up, as far as counts tell, and where to look next.
//!
//! Owns: wording. Refuses: naming a line of code: the kernel counts them and does not say who
//! opened them.
//! Invariant: each cause rests on the verdict, and the next step harms no process.

use stent_contract::{Cause, Resource, Verdict, VerdictLevel};

use crate::text;

pub(super) fn summary(verdict: &Verdict) -> String {
    let verb = match verdict.level {
        VerdictLevel::Healthy | VerdictLevel::Suspect => "may be leaking",
        VerdictLevel::Leak => "leaks",
    };
    let end = match verdict.seconds_to_limit {
        Some(seconds) => format!("; limit in {}", text::duration(seconds)),
        None => "; no limit known".to_owned(),
    };
    let (what, rate) = (verdict.resource.as_str(), verdict.growth_per_hour);
    format!("'{}' {verb} {what}: {rate:.1}/h without slowing down{end}", verdict.target)
}

pub(super) fn causes(verdict: &Verdict, pid: Option<u32>) -> Vec<Cause> {
    let pid = pid.map_or_else(|| "PID".to_owned(), |pid| pid.to_string());
    let (leaked, bounded) = match verdict.resource {
        Resource::Threads => (
            (
                "threads are started and do not end: a pool made for each request, a worker that \
                 waits for an answer without a deadline, a timer that is never cancelled",
                format!(
                    "compare the names of its threads ten minutes apart: sort \
                     /proc/{pid}/task/*/comm | uniq -c; the name that multiplies names the pool"
                ),
            ),
            (
                "a pool of workers without a bound is still growing",
                "give each pool of threads a largest size",
            ),
        ),
        Resource::Descriptors | Resource::Memory | Resource::Connections => (
            (
                "descriptors are opened and not closed: a response whose body is not read to its \
                 end, a file or socket left open when an error is returned, a watcher for each \
                 request",
                format!(
                    "compare what its descriptors are ten minutes apart: ls -l /proc/{pid}/fd; \
                     sockets that multiply have a peer (ss -tnp), files have a path"
                ),
            ),
            (
                "a pool of connections without a bound is still growing",
                "give each pool of connections a largest size and an idle timeout",
            ),
        ),
    };
    let share = |confidence: f64, part: f64| ((confidence * part) * 100.0).round() / 100.0;
    let (text, next_step) = leaked;
    let leak = Cause {
        text: text.to_owned(),
        confidence: share(verdict.confidence, 0.85),
        next_step: format!("{next_step}; until it is mended, restart it before the limit"),
    };
    let (text, next_step) = bounded;
    let pool = Cause {
        text: text.to_owned(),
        confidence: share(1.0 - verdict.confidence, 0.5),
        next_step: next_step.to_owned(),
    };
    vec![leak, pool]
}
