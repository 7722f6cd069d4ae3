//! Why descriptors or threads pile up, as far as counts tell, and where to look next.
//!
//! Owns: wording. Refuses: naming a line of code: the kernel counts them and does not say who
//! opened them.
//! Invariant: each cause rests on the verdict, and the next step harms no process.

use stent_contract::{Cause, DescriptorKinds, ProcessReading, Resource, Verdict, VerdictLevel};

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

pub(super) fn causes(verdict: &Verdict, reading: Option<&ProcessReading>) -> Vec<Cause> {
    let pid = reading.map(|reading| reading.pid).filter(|pid| *pid > 0);
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
    let kinds = match verdict.resource {
        Resource::Descriptors => reading.and_then(|reading| reading.descriptor_kinds),
        Resource::Threads | Resource::Memory | Resource::Connections => None,
    };
    let leak = Cause {
        text: format!("{text}{}", kinds.and_then(mostly).unwrap_or_default()),
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

/// What more than half of them are, where that tells anything.
fn mostly(kinds: DescriptorKinds) -> Option<String> {
    let DescriptorKinds { files, sockets, pipes, events, others } = kinds;
    let all = [files, sockets, pipes, events, others].map(u64::from).iter().sum::<u64>();
    let named = [
        (files, "files"),
        (sockets, "sockets"),
        (pipes, "pipes"),
        (events, "epolls, timers and other objects of the kernel's"),
    ];
    let (count, what) = named.into_iter().find(|(count, _)| 2 * u64::from(*count) > all)?;
    Some(format!("; {count} of {all} are {what}"))
}
