//! Who forgot which transactions: held connections grouped by the code that left them behind.
//!
//! Owns: grouping and wording. Refuses: statements with literals; holders carry fingerprints.
//! Invariant: the groups cover every stuck holder, the largest first; at most [`GROUPS_MAX`] are
//! spelled out.

use std::collections::BTreeMap;

use stent_contract::{Cause, Holder, HolderState, PoolSnapshot, Verdict, VerdictLevel};

use crate::text;

/// Causes spelled out; the rest is small change.
const GROUPS_MAX: usize = 5;
/// Addresses and backends named in a sentence.
const NAMES_MAX: usize = 4;
/// Length of a quoted statement, characters.
const STATEMENT_MAX: usize = 200;

/// Holders that one piece of code left behind.
struct Group<'a> {
    holders: Vec<&'a Holder>,
}

pub(super) fn summary(verdict: &Verdict, stuck: &[Holder], pool: &PoolSnapshot) -> String {
    let verb = match verdict.level {
        VerdictLevel::Healthy | VerdictLevel::Suspect => "may be leaking",
        VerdictLevel::Leak => "leaks",
    };
    let end = match verdict.seconds_to_limit {
        Some(0.0) => "; none is left".to_owned(),
        Some(seconds) => format!("; all gone in {}", text::duration(seconds)),
        None => String::new(),
    };
    let waiting = match pool.clients_waiting {
        0 => String::new(),
        waiting => format!("; {} waiting", text::count(waiting as usize, "client")),
    };
    let who = groups(stuck).first().map_or_else(String::new, |group| {
        format!(", most by {}", group.who()) // the stuck set of a verdict is never empty
    });
    format!(
        "pool {} {verb} connections: {} of {} held by forgotten transactions{who}{end}{waiting}",
        verdict.target,
        stuck.len(),
        pool.size_max,
    )
}

pub(super) fn causes(verdict: &Verdict, stuck: &[Holder], pool: &PoolSnapshot) -> Vec<Cause> {
    let mut causes: Vec<Cause> = groups(stuck)
        .iter()
        .take(GROUPS_MAX)
        .map(|group| {
            let share = group.holders.len() as f64 / stuck.len() as f64;
            Cause {
                text: group.sentence(),
                confidence: (verdict.confidence * share).clamp(0.0, 1.0),
                next_step: group.next_step(),
            }
        })
        .collect();
    causes.push(Cause {
        text: "the transactions are meant to pause this long (a person or another service is \
               asked in the middle)"
            .to_owned(),
        confidence: ((1.0 - verdict.confidence) / 2.0).clamp(0.0, 1.0),
        next_step: format!(
            "do the slow part before BEGIN or after COMMIT: a paused transaction takes one of \
             {} servers of pool {} from everyone else, and keeps its locks",
            pool.size_max, verdict.target
        ),
    });
    causes
}

/// Holders by application, process and last statement, the largest group first.
fn groups(stuck: &[Holder]) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<(&str, Option<u32>, &str, &str), Vec<&Holder>> = BTreeMap::new();
    for holder in stuck {
        let host = host(&holder.client_addr);
        let statement = holder.last_statement.as_str();
        let key = (holder.application_name.as_str(), holder.client_pid, host, statement);
        groups.entry(key).or_default().push(holder);
    }
    let mut groups: Vec<_> = groups.into_values().map(|holders| Group { holders }).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.holders.len()));
    debug_assert_eq!(groups.iter().map(|g| g.holders.len()).sum::<usize>(), stuck.len());
    groups
}

/// The host of `address:port`.
fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

impl Group<'_> {
    fn first(&self) -> &Holder {
        self.holders[0] // a group exists because a holder was put into it
    }

    fn who(&self) -> String {
        let first = self.first();
        let name = match first.application_name.as_str() {
            "" => "an application without application_name".to_owned(),
            name => format!("application '{name}'"),
        };
        match first.client_pid {
            Some(pid) => format!("{name} (pid {pid})"),
            None => name,
        }
    }

    fn sentence(&self) -> String {
        let first = self.first();
        let silence = self.holders.iter().map(|holder| holder.state_ms).max().unwrap_or(0);
        let statement = match first.last_statement.as_str() {
            "" => "no statement was seen".to_owned(),
            statement => format!("last statement: {}", shortened(statement)),
        };
        let failed = match first.state {
            HolderState::IdleInFailedTransaction => " after a statement failed",
            HolderState::Active | HolderState::IdleInTransaction | HolderState::Idle => "",
        };
        format!(
            "{} opened by {} from {} never ended{failed}, the longest silent for {}; {statement}",
            text::count(self.holders.len(), "transaction"),
            self.who(),
            names(self.holders.iter().map(|holder| holder.client_addr.as_str())),
            text::duration(silence as f64 / 1_000.0),
        )
    }

    fn next_step(&self) -> String {
        let backends: Vec<String> =
            self.holders.iter().map(|holder| holder.backend_pid.to_string()).collect();
        let find = match self.first().state {
            HolderState::IdleInFailedTransaction => {
                "find where this statement's error is caught without ROLLBACK"
            }
            HolderState::Active | HolderState::IdleInTransaction | HolderState::Idle => {
                "find the code that runs this statement last and then leaves without COMMIT or \
                 ROLLBACK: an early return, a thrown error, a missing await"
            }
        };
        let restart = match self.first().client_pid {
            Some(pid) => format!("restart process {pid}, or "),
            None => String::new(),
        };
        format!(
            "{find}. To free the connections now: {restart}run \
             SELECT pg_terminate_backend(pid) for pid in ({})",
            names(backends.iter().map(String::as_str))
        )
    }
}

/// The first few distinct names, and how many more there are.
fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut distinct: Vec<&str> = names.collect();
    distinct.sort_unstable();
    distinct.dedup();
    let shown = distinct.len().min(NAMES_MAX);
    let list = distinct[..shown].join(", ");
    match distinct.len() - shown {
        0 => list,
        more => format!("{list} and {more} more"),
    }
}

fn shortened(statement: &str) -> String {
    if statement.chars().count() <= STATEMENT_MAX {
        return statement.to_owned();
    }
    let kept: String = statement.chars().take(STATEMENT_MAX).collect();
    format!("{kept}...")
}
