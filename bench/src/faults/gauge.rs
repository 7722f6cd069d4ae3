//! From moments of commits to the figures of a fault: the longest gap, and when service was whole.
//!
//! Pure: moments are durations since the load began.

use std::time::Duration;

/// Of the throughput before the fault; below it service is not whole. The machine is shared, and
/// the first seconds after a crash have cold caches.
const WHOLE: f64 = 0.7;
/// Over which throughput is taken after the fault.
const WINDOW: Duration = Duration::from_millis(500);
/// Between two looks.
const STEP: Duration = Duration::from_millis(10);

/// A commit: when, and by which worker.
pub type Commit = (Duration, usize);

/// The longest time without a commit between two moments; the time to the end counts.
/// `commits` in order of time.
pub fn longest_gap(commits: &[Commit], from: Duration, to: Duration) -> Duration {
    let mut last = from;
    let mut longest = Duration::ZERO;
    for (at, _) in commits.iter().filter(|(at, _)| (from..=to).contains(at)) {
        longest = longest.max(*at - last);
        last = *at;
    }
    longest.max(to.saturating_sub(last))
}

/// How long after a moment the first commit came; up to the end where none did.
/// `commits` in order of time.
pub fn first_after(commits: &[Commit], from: Duration, to: Duration) -> Duration {
    let first = commits.iter().map(|(at, _)| *at).find(|at| *at >= from);
    first.unwrap_or(to).saturating_sub(from)
}

/// Commits a second between two moments.
pub fn rate(commits: &[Commit], from: Duration, to: Duration) -> f64 {
    let count = commits.iter().filter(|(at, _)| (from..to).contains(at)).count();
    let seconds = to.saturating_sub(from).as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// How long after `struck` service was whole: every worker has committed since, and the throughput
/// of the half second that begins there is nearly what it was before. `None`: not until `to`.
pub fn full_service(
    commits: &[Commit],
    workers: usize,
    before: f64,
    (struck, from, to): (Duration, Duration, Duration),
) -> Option<Duration> {
    let mut first = vec![None; workers];
    for (at, worker) in commits.iter().filter(|(at, _)| *at >= from) {
        first[*worker].get_or_insert(*at);
    }
    let first: Option<Vec<Duration>> = first.into_iter().collect();
    let mut at = first?.into_iter().max()?;
    while at + WINDOW <= to {
        if rate(commits, at, at + WINDOW) >= WHOLE * before {
            return Some(at - struck);
        }
        at += STEP;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Two workers, a commit each 10 ms, none between two moments.
    fn commits(outage: std::ops::Range<u64>) -> Vec<Commit> {
        (0..500)
            .map(|n| n * 10)
            .filter(|at| !outage.contains(at))
            .map(|at| (ms(at), (at / 10 % 2) as usize))
            .collect()
    }

    #[test]
    fn the_gap_is_between_commits_and_up_to_the_end() {
        let commits = commits(1_000..1_400);
        assert_eq!(longest_gap(&commits, ms(500), ms(4_990)), ms(410));
        assert_eq!(longest_gap(&commits, ms(500), ms(1_200)), ms(210));
        assert_eq!(longest_gap(&[], ms(500), ms(1_200)), ms(700));
    }

    #[test]
    fn the_first_commit_after_a_moment_counts_from_it() {
        let commits = commits(1_000..1_400);
        assert_eq!(first_after(&commits, ms(1_100), ms(4_990)), ms(300));
        assert_eq!(first_after(&[], ms(1_100), ms(2_000)), ms(900));
    }

    #[test]
    fn service_is_whole_when_the_last_worker_has_committed_and_the_rate_is_back() {
        let commits = commits(1_000..1_400);
        let whole = |to| full_service(&commits, 2, 100.0, (ms(1_000), ms(1_000), to));
        assert_eq!(whole(ms(4_990)), Some(ms(410)));
        assert_eq!(whole(ms(1_600)), None, "too early to say");
    }

    #[test]
    fn service_is_not_whole_while_a_worker_is_out_or_the_rate_is_low() {
        let all = commits(1_000..1_400);
        let one: Vec<Commit> =
            all.iter().copied().filter(|(at, worker)| *at < ms(1_000) || *worker == 0).collect();
        assert_eq!(full_service(&one, 2, 100.0, (ms(1_000), ms(1_000), ms(4_990))), None);
        assert_eq!(full_service(&all, 2, 900.0, (ms(1_000), ms(1_000), ms(4_990))), None);
    }
}
