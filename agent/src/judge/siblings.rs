//! Which targets are a control for one another.
//!
//! Owns: who is whose sibling in a round. Refuses: judging.
//! Invariant: siblings are processes of one target (one that is named several times) and of one revision,
//! and one that does hardly any work, such as the parent of workers, is no control for one that does.

use stent_contract::ProcessReading;

use crate::sample::TargetReading;

/// A sibling that takes less than this share of the processor's time does not do the same work.
const WORK_SHARE: f64 = 0.25;

/// The names of each target's siblings, in the order of the targets.
pub(super) fn of(targets: &[TargetReading]) -> Vec<Vec<String>> {
    let all = targets.iter().map(|target| {
        let siblings = targets.iter().filter(|other| is_control(target, other));
        siblings.map(|sibling| sibling.name.clone()).collect()
    });
    all.collect()
}

fn is_control(target: &TargetReading, other: &TargetReading) -> bool {
    let Some((own, others)) = target.reading.as_ref().zip(other.reading.as_ref()) else {
        return false;
    };
    target.name != other.name
        && target.program == other.program
        && own.revision == others.revision
        && works(own).zip(works(others)).is_none_or(|(own, other)| other >= WORK_SHARE * own)
}

/// Its share of a processor over its life.
fn works(reading: &ProcessReading) -> Option<f64> {
    let age_ms = reading.at_unix_ms.saturating_sub(reading.started_unix_ms);
    reading.cpu_seconds.map(|seconds| seconds * 1_000.0 / age_ms.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, program: &str, revision: Option<&str>, cpu: f64) -> TargetReading {
        let reading = ProcessReading {
            at_unix_ms: 100_000,
            started_unix_ms: 0,
            cpu_seconds: Some(cpu),
            revision: revision.map(str::to_owned),
            ..ProcessReading::default()
        };
        TargetReading {
            name: name.to_owned(),
            program: program.to_owned(),
            reading: Some(reading),
            ..TargetReading::default()
        }
    }

    #[test]
    fn processes_of_one_target_and_revision_that_work_are_siblings() {
        let gone = TargetReading { reading: None, ..target("api-5", "api", Some("a"), 9.0) };
        let round = [
            target("api", "api", Some("a"), 10.0),
            target("api-2", "api", Some("a"), 8.0),
            target("api-3", "api", Some("b"), 8.0),
            target("api-4", "api", Some("a"), 0.5),
            target("worker", "worker", Some("a"), 10.0),
            gone,
        ];
        let siblings = of(&round);
        assert_eq!(siblings[0], ["api-2"], "of the same target and build, and at work");
        assert_eq!(siblings[3], ["api", "api-2"], "to an idle one those at work may be compared");
        assert!([2, 4, 5].iter().all(|alone| siblings[*alone].is_empty()), "{siblings:?}");
    }
}
