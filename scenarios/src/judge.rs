//! Compares what Stent says with what the scenario expects.
//!
//! Pure: a snapshot and an expectation in, checks out. Stent is taken at its word only where the word
//! names the right culprit: a verdict on another target or a holder with another process id is none.

use stent_contract::{AgentSnapshot, Diagnosis, Holder, Resource, Snapshot, Verdict, VerdictLevel};

use crate::scenario::Expect;

/// One thing that was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub expected: String,
    /// How it stands.
    pub state: CheckState,
}

/// How an expectation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// It is fulfilled.
    Met,
    /// It is not; with what is there instead.
    Unmet(String),
}

impl Check {
    fn new(expected: String, met: Result<(), String>) -> Self {
        let state = match met {
            Ok(()) => CheckState::Met,
            Err(found) => CheckState::Unmet(found),
        };
        Self { expected, state }
    }

    /// Whether it is fulfilled.
    pub fn is_met(&self) -> bool {
        self.state == CheckState::Met
    }
}

/// What a snapshot says about the scenario's target and pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words<'a> {
    /// The verdict on the target's memory.
    pub memory: Option<&'a Verdict>,
    /// The verdict on the pool's connections.
    pub connections: Option<&'a Verdict>,
    /// The diagnosis of the memory.
    pub memory_diagnosis: Option<&'a Diagnosis>,
    /// The diagnosis of the connections.
    pub connection_diagnosis: Option<&'a Diagnosis>,
}

impl<'a> Words<'a> {
    /// Picks them out.
    pub fn of(snapshot: &'a Snapshot, expect: &Expect) -> Self {
        let Some(agent) = &snapshot.agent else { return Self::default() };
        let target = agent.targets.iter().find(|target| target.name == expect.target);
        let verdict = agent.connections.iter().find(|verdict| verdict.target == expect.pool);
        Self {
            memory: target.and_then(|target| target.memory.as_ref()),
            connections: verdict,
            memory_diagnosis: diagnosis(agent, Resource::Memory, &expect.target),
            connection_diagnosis: diagnosis(agent, Resource::Connections, &expect.pool),
        }
    }

    /// The worse of the two verdicts.
    pub fn worst(&self) -> VerdictLevel {
        let levels = [self.memory, self.connections].map(level);
        levels[0].max(levels[1])
    }
}

fn diagnosis<'a>(agent: &'a AgentSnapshot, what: Resource, target: &str) -> Option<&'a Diagnosis> {
    agent
        .diagnoses
        .iter()
        .find(|diagnosis| diagnosis.verdict.resource == what && diagnosis.verdict.target == target)
}

/// A verdict's level; healthy where there is no verdict.
pub fn level(verdict: Option<&Verdict>) -> VerdictLevel {
    verdict.map_or(VerdictLevel::Healthy, |verdict| verdict.level)
}

/// The checks of the leaking run.
pub fn leaking(snapshot: &Snapshot, expect: &Expect, app_pid: u32) -> Vec<Check> {
    let words = Words::of(snapshot, expect);
    let target = &expect.target;
    let pool = &expect.pool;
    vec![
        Check::new(
            format!("memory of {target}: {}", name(expect.memory)),
            at_level(words.memory, expect.memory),
        ),
        Check::new(format!("when the memory of {target} ends is forecast"), forecast(words.memory)),
        Check::new(
            format!("connections of {pool}: {}", name(expect.connections)),
            at_level(words.connections, expect.connections),
        ),
        Check::new(
            format!(
                "at least {} holders: process {app_pid}, {}, {:?}",
                expect.holders_at_least, expect.application_name, expect.last_statement
            ),
            holders(words.connection_diagnosis, expect, app_pid),
        ),
    ]
}

/// The check of the healthy twin, on one snapshot.
pub fn healthy(snapshot: &Snapshot, expect: &Expect, at_most: VerdictLevel) -> Result<(), String> {
    let words = Words::of(snapshot, expect);
    let judged = [("memory", words.memory), ("connections", words.connections)];
    for (what, verdict) in judged {
        if level(verdict) > at_most {
            return Err(format!("{what}: {}", describe(verdict)));
        }
    }
    Ok(())
}

fn at_level(verdict: Option<&Verdict>, expected: VerdictLevel) -> Result<(), String> {
    if verdict.is_some() && level(verdict) == expected {
        return Ok(());
    }
    Err(describe(verdict))
}

fn forecast(verdict: Option<&Verdict>) -> Result<(), String> {
    match verdict.map(|verdict| verdict.seconds_to_limit) {
        Some(Some(seconds)) if seconds >= 0.0 => Ok(()),
        Some(Some(seconds)) => Err(format!("a forecast of {seconds} s")),
        Some(None) | None => Err("no forecast".to_owned()),
    }
}

fn holders(diagnosis: Option<&Diagnosis>, expect: &Expect, app_pid: u32) -> Result<(), String> {
    let Some(diagnosis) = diagnosis else { return Err("no diagnosis".to_owned()) };
    let right = |holder: &&Holder| {
        holder.client_pid == Some(app_pid)
            && holder.application_name == expect.application_name
            && holder.last_statement.contains(&expect.last_statement)
    };
    let wrong = diagnosis.holders.iter().find(|holder| !right(holder));
    if let Some(holder) = wrong {
        return Err(format!(
            "a holder that is another: process {:?}, {:?}, {:?}",
            holder.client_pid, holder.application_name, holder.last_statement
        ));
    }
    if diagnosis.holders.len() < expect.holders_at_least {
        return Err(format!("{} holders", diagnosis.holders.len()));
    }
    Ok(())
}

fn describe(verdict: Option<&Verdict>) -> String {
    let Some(verdict) = verdict else { return "no verdict".to_owned() };
    let why: Vec<_> = verdict.evidence.iter().map(|evidence| evidence.text.as_str()).collect();
    format!("{} ({:?}) {}", name(verdict.level), verdict.class, why.join("; "))
}

/// A level as people and JSON spell it.
pub const fn name(level: VerdictLevel) -> &'static str {
    match level {
        VerdictLevel::Healthy => "healthy",
        VerdictLevel::Suspect => "suspect",
        VerdictLevel::Leak => "leak",
    }
}
