//! Whether the command is to be restarted before its memory limit, and what the agent says of it.
//!
//! Owns: the decision, a pure function, and the questions to the agent. Refuses: how a restart goes (`renewal`),
//! and judging memory: that is the agent's.
//! Invariant: nothing is decided on a verdict of another process than the one that runs.

use std::time::Duration;

use stent_contract::snapshot::AgentSnapshot;
use stent_contract::{Resource, Snapshot, VerdictLevel};
use tokio::sync::mpsc;

use crate::config::Rejuvenation;
use crate::config::address::Address;
use crate::http;

/// The longest time between two looks.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(5);
/// Time for one answer.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// What the agent says of the command's memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Forecast {
    /// Of which process.
    pub(crate) pid: u32,
    /// How bad.
    pub(crate) level: VerdictLevel,
    /// The early end of the forecast, seconds to the limit.
    pub(crate) low: Option<f64>,
    /// Its middle.
    pub(crate) seconds: Option<f64>,
    /// The evidence, for people.
    pub(crate) evidence: String,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing.
    Leave,
    /// The limit is near, but the command is younger than the shortest life.
    TooYoung,
    /// A restart.
    Restart,
}

/// Decides; `pid` is the command's process, and `age` how long it has been running.
pub(crate) fn decide(
    policy: Rejuvenation,
    pid: u32,
    age: Duration,
    forecast: &Forecast,
) -> Decision {
    let near = forecast.low.is_some_and(|low| low <= policy.margin.as_secs_f64());
    match forecast.level {
        VerdictLevel::Healthy | VerdictLevel::Suspect => Decision::Leave,
        VerdictLevel::Leak if forecast.pid != pid || !near => Decision::Leave,
        VerdictLevel::Leak if age < policy.interval => Decision::TooYoung,
        VerdictLevel::Leak => Decision::Restart,
    }
}

/// Asks the agent again and again, as often as it reads but not more seldom than every few seconds. An agent
/// that does not answer says nothing.
pub(crate) async fn watch(
    agent: Address,
    target: String,
    interval: Duration,
    forecasts: mpsc::Sender<Forecast>,
) {
    let mut looks = tokio::time::interval(interval.min(LOOK_EVERY_MAX));
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Ok(reply) = http::get(&agent, "/snapshot", LOOK_LIMIT).await else { continue };
        let snapshot: Option<Snapshot> = serde_json::from_slice(&reply.body).ok();
        let forecast = snapshot.and_then(|snapshot| forecast(&snapshot.agent?, &target));
        if let Some(forecast) = forecast
            && forecasts.send(forecast).await.is_err()
        {
            return;
        }
    }
}

fn forecast(agent: &AgentSnapshot, name: &str) -> Option<Forecast> {
    let target = agent.targets.iter().find(|target| target.name == name)?;
    let verdict = target.memory.as_ref()?;
    // The diagnosis has what attribution found, too.
    let diagnosed = agent.diagnoses.iter().map(|diagnosis| &diagnosis.verdict);
    let mut diagnosed = diagnosed.filter(|of| of.target == name && of.resource == Resource::Memory);
    let evidence = &diagnosed.next().unwrap_or(verdict).evidence;
    let texts: Vec<&str> = evidence.iter().map(|evidence| evidence.text.as_str()).collect();
    Some(Forecast {
        pid: target.reading.as_ref()?.pid,
        level: verdict.level,
        low: verdict.seconds_to_limit_range.map(|(low, _)| low),
        seconds: verdict.seconds_to_limit,
        evidence: texts.join("; "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use VerdictLevel::{Healthy, Leak, Suspect};

    const POLICY: Rejuvenation =
        Rejuvenation { margin: Duration::from_secs(900), interval: Duration::from_secs(3_600) };

    #[test]
    fn a_command_is_restarted_for_its_own_leak_near_the_limit_and_not_when_it_is_young() {
        let old = Duration::from_secs(3_600);
        let young = Duration::from_secs(3_599);
        for (level, pid, low, age, expected) in [
            (Leak, 7, Some(900.0), old, Decision::Restart),
            (Leak, 7, Some(0.0), old, Decision::Restart),
            (Leak, 7, Some(900.1), old, Decision::Leave),
            (Leak, 7, None, old, Decision::Leave),
            (Leak, 7, Some(f64::NAN), old, Decision::Leave),
            (Leak, 7, Some(10.0), young, Decision::TooYoung),
            (Leak, 7, Some(1_000.0), young, Decision::Leave),
            // The verdict on the life before.
            (Leak, 6, Some(10.0), old, Decision::Leave),
            (Suspect, 7, Some(10.0), old, Decision::Leave),
            (Healthy, 7, Some(10.0), old, Decision::Leave),
        ] {
            let forecast = Forecast { pid, level, low, seconds: low, evidence: String::new() };
            let decided = decide(POLICY, 7, age, &forecast);
            assert_eq!(decided, expected, "{forecast:?} at {age:?}");
        }
    }
}
