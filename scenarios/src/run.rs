//! One run of a scenario: start, load, switch the leak on, watch, compare.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::Method;
use stent_contract::{Snapshot, VerdictLevel};
use tokio::time::{MissedTickBehavior, interval};

use crate::judge::{self, Check, Words};
use crate::load::{Requests, Stream};
use crate::rig::{Rig, snapshot};
use crate::scenario::Scenario;

/// The moment of one look.
#[derive(Clone, Debug)]
pub struct Tick<'a> {
    /// Since the load began.
    pub at: Duration,
    /// Requests since the last tick.
    pub requests: Requests,
    /// What Stent said.
    pub snapshot: &'a Snapshot,
    /// The scenario.
    pub scenario: &'a Scenario,
}

/// What came of the healthy run.
#[derive(Clone, Debug)]
pub struct TwinOutcome {
    /// How long it was watched.
    pub watched: Duration,
    /// All requests.
    pub requests: Requests,
    /// The worst verdict of all.
    pub worst: VerdictLevel,
    /// What was wrong; empty if the answer was right.
    pub faults: Vec<String>,
}

/// What came of the leaking run.
#[derive(Clone, Debug)]
pub struct LeakOutcome {
    /// From the switch until everything expected had been said; `None` if it never was.
    pub found_after: Option<Duration>,
    /// Requests before the switch.
    pub requests_before: Requests,
    /// Requests after it.
    pub requests_after: Requests,
    /// The expectations, at the last look.
    pub checks: Vec<Check>,
    /// The last look.
    pub snapshot: Snapshot,
    /// How many transactions the application says it has forgotten by then.
    pub forgotten_transactions: u64,
}

/// Runs the healthy twin.
pub async fn twin(
    scenario: &Scenario,
    seed: u64,
    mut on_tick: impl FnMut(&Tick<'_>),
) -> Result<TwinOutcome> {
    let mut rig = Rig::start(scenario)?;
    let stream = Stream::start(rig.app, &scenario.load, seed).await?;
    let mut watch = Watch::new(&rig, &stream);
    let mut worst = VerdictLevel::Healthy;
    let mut faults = Vec::new();
    let mut last = Snapshot::default();
    while watch.elapsed() < scenario.twin.run_seconds.seconds() {
        last = watch.look(&mut rig, scenario, &mut on_tick).await?;
        worst = worst.max(Words::of(&last, &scenario.expect).worst());
        let verdict = judge::healthy(&last, &scenario.expect, scenario.twin.level_at_most);
        if let Err(fault) = verdict {
            faults.push(format!("after {:.0?}: {fault}", watch.elapsed()));
        }
    }
    let words = Words::of(&last, &scenario.expect);
    if words.memory.is_none() {
        faults.push(format!("no verdict on the memory of {}", scenario.expect.target));
    }
    if words.connections.is_none() {
        faults.push(format!("no verdict on the connections of {}", scenario.expect.pool));
    }
    let requests = stream.requests();
    if requests.ok_share() < scenario.twin.requests_ok_at_least {
        faults.push(format!("{} of {} requests failed", requests.failed, requests.ok));
    }
    let watched = watch.elapsed();
    drop(stream);
    rig.stop()?;
    Ok(TwinOutcome { watched, requests, worst, faults })
}

/// Runs the leaking application. Ends `linger` after everything expected has been said, or at the
/// end of the scenario's time. The rig comes back running.
pub async fn leaking(
    scenario: &Scenario,
    seed: u64,
    linger: Duration,
    mut on_tick: impl FnMut(&Tick<'_>),
) -> Result<(LeakOutcome, Rig)> {
    let mut rig = Rig::start(scenario)?;
    let stream = Stream::start(rig.app, &scenario.load, seed).await?;
    let mut watch = Watch::new(&rig, &stream);
    while watch.elapsed() < scenario.leak.after_seconds.seconds() {
        watch.look(&mut rig, scenario, &mut on_tick).await?;
    }
    let requests_before = stream.requests();
    switch_on(&rig, scenario).await?;
    let switched = Instant::now();
    let mut found_after = None;
    let end = scenario.expect.within_seconds.seconds();
    let (checks, snapshot) = loop {
        let snapshot = watch.look(&mut rig, scenario, &mut on_tick).await?;
        let checks = judge::leaking(&snapshot, &scenario.expect, rig.app_pid);
        let since = switched.elapsed();
        if found_after.is_none() && checks.iter().all(Check::is_met) {
            found_after = Some(since);
        }
        if since >= end || found_after.is_some_and(|found| since >= found + linger) {
            break (checks, snapshot);
        }
    };
    let requests_after = stream.requests().since(requests_before);
    let forgotten_transactions = forgotten(&rig).await?;
    let outcome = LeakOutcome {
        found_after,
        requests_before,
        requests_after,
        checks,
        snapshot,
        forgotten_transactions,
    };
    Ok((outcome, rig))
}

impl LeakOutcome {
    /// Whether Stent said everything expected, and in time.
    pub fn is_right(&self) -> bool {
        self.found_after.is_some() && self.checks.iter().all(Check::is_met)
    }
}

/// A look a second.
struct Watch<'a> {
    stream: &'a Stream,
    admin: crate::http::Client,
    ticks: tokio::time::Interval,
    began: Instant,
    before: Requests,
}

impl<'a> Watch<'a> {
    fn new(rig: &Rig, stream: &'a Stream) -> Self {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let began = Instant::now();
        Self { stream, admin: rig.admin_client(), ticks, began, before: Requests::default() }
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    async fn look(
        &mut self,
        rig: &mut Rig,
        scenario: &Scenario,
        on_tick: &mut impl FnMut(&Tick<'_>),
    ) -> Result<Snapshot> {
        self.ticks.tick().await;
        rig.check_alive()?;
        let snapshot = snapshot(&mut self.admin).await.with_context(|| rig.output_tail())?;
        let all = self.stream.requests();
        let requests = all.since(self.before);
        self.before = all;
        on_tick(&Tick { at: self.elapsed(), requests, snapshot: &snapshot, scenario });
        Ok(snapshot)
    }
}

async fn switch_on(rig: &Rig, scenario: &Scenario) -> Result<()> {
    let body = format!(
        r#"{{"transactions_per_second":{},"retained_bytes_per_request":{}}}"#,
        scenario.leak.transactions_per_second.get(),
        scenario.leak.retained_bytes_per_request
    );
    let answer = rig.app_client().send(Method::POST, "/leak", body).await?;
    ensure!(answer.status.is_success(), "POST /leak gave {}", answer.status);
    Ok(())
}

async fn forgotten(rig: &Rig) -> Result<u64> {
    let answer = rig.app_client().get("/leak").await?;
    let state: serde_json::Value = serde_json::from_slice(&answer.body).context("read /leak")?;
    state["forgotten_transactions"].as_u64().context("/leak says no forgotten_transactions")
}
