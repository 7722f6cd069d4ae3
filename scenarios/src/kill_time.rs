//! `stent-scenarios kill-time`: how well the moment of the kernel's kill is predicted.
//!
//! Owns: processes that leak under a real memory cgroup, the real agent beside each, and the table of
//! predicted against real. Refuses: limits that are no cgroup (RLIMIT makes an allocation fail and
//! kills nobody) and a kill that the cgroup did not count.
//! Invariant: cgroups and processes are gone when it ends, however it ends.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use stent_contract::{Verdict, VerdictLevel};
use stent_testkit::{Process, free_port};

use crate::cgroup::MemoryCgroup;
use crate::http::Client;
use crate::rig;

/// Between two looks at the agent.
const LOOK: Duration = Duration::from_secs(1);
/// The agent must answer within this.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// How much longer than computed a process may live before something is wrong.
const PATIENCE: f64 = 1.5;
/// SIGKILL.
const KILLED: i32 = 9;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Processes, all at once, each in a cgroup of its own.
    pub starts: u32,
    /// The limit of a cgroup, bytes.
    pub limit: u64,
    /// What a process has at its start, bytes; later starts have a little more.
    pub ballast: u64,
    /// What it leaks, bytes a minute.
    pub bytes_per_minute: u64,
}

/// A forecast: when it was made, and what it said. Seconds since the start of the leak.
#[derive(Clone, Copy, Debug)]
struct Forecast {
    at_s: f64,
    end_s: f64,
    low_s: f64,
    high_s: f64,
}

/// One start, from the first byte to the kill. Seconds since the start of the leak.
#[derive(Clone, Debug)]
struct Killed {
    at_s: f64,
    /// With the first verdict `leak`.
    first: Option<Forecast>,
    /// The last one made while half of the time between it and the end was still left.
    half_way: Option<Forecast>,
}

/// Runs the plan and returns the table.
pub async fn kill_time(plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<String> {
    ensure!(plan.ballast < plan.limit, "the ballast leaves no room under the limit");
    let mut starts = Vec::new();
    for number in 0..plan.starts {
        // A different room for each start, so that five are not one start five times.
        let ballast = plan.ballast + u64::from(number) * (plan.limit - plan.ballast) / 40;
        starts.push(Start::begin(number, ballast, plan)?);
        say(&format!("start {}: ballast of {} MB", number + 1, ballast / 1_000_000));
    }
    while starts.iter().any(|start| start.end.is_none()) {
        tokio::time::sleep(LOOK).await;
        for (index, start) in starts.iter_mut().enumerate() {
            if start.end.is_none() && start.look(plan).await? {
                let seconds = start.end.unwrap_or_default();
                say(&format!("start {}: killed after {seconds:.0} s", index + 1));
            }
        }
    }
    Ok(table(plan, &starts.iter().map(Start::killed).collect::<Vec<_>>()))
}

/// A process on its way to the kill.
struct Start {
    began: Instant,
    forecasts: Vec<(VerdictLevel, Forecast)>,
    /// Seconds until the kill.
    end: Option<f64>,
    client: Client,
    // Fields are dropped in this order: processes before the cgroup that holds them.
    _agent: Process,
    process: Process,
    cgroup: MemoryCgroup,
}

impl Start {
    fn begin(number: u32, ballast: u64, plan: &Plan) -> Result<Self> {
        let cgroup = MemoryCgroup::create(number, plan.limit)?;
        let own = std::env::current_exe().context("find this program")?;
        let mut grow = Command::new(own);
        grow.arg("grow").arg(ballast.to_string()).arg(plan.bytes_per_minute.to_string());
        // It waits for the end of its input, so that all that it ever takes is charged here.
        let mut process = Process::spawn_with_stdin(&mut grow)?;
        cgroup.take(process.pid())?;
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut command = Command::new(rig::stent_program()?);
        rig::without_own_settings(&mut command);
        command.arg("agent").envs([
            ("STENT_CONFIG", String::new()),
            ("STENT_TARGETS", process.pid().to_string()),
            ("STENT_AGENT_LISTEN", admin.to_string()),
            ("STENT_EMF", "off".to_owned()),
        ]);
        let agent = Process::spawn(&mut command)?;
        drop(process.stdin());
        Ok(Self {
            began: Instant::now(),
            forecasts: Vec::new(),
            end: None,
            client: Client::new(admin, ANSWER_MAX),
            _agent: agent,
            process,
            cgroup,
        })
    }

    /// Looks once; true where the process has been killed.
    async fn look(&mut self, plan: &Plan) -> Result<bool> {
        if let Some(status) = self.process.status() {
            let kills = self.cgroup.oom_kills()?;
            ensure!(status.signal() == Some(KILLED), "it was not killed: {status}");
            ensure!(kills > 0, "it was killed, but not for want of memory: its cgroup counts none");
            self.end = Some(self.began.elapsed().as_secs_f64());
            return Ok(true);
        }
        let computed = 60.0 * plan.limit as f64 / plan.bytes_per_minute as f64;
        let waited = self.began.elapsed().as_secs_f64();
        ensure!(waited < PATIENCE * computed, "nothing killed it in {waited:.0} s");
        // An agent that is still starting is asked again.
        if let Ok(seen) = rig::snapshot(&mut self.client).await
            && let Some(agent) = seen.agent
        {
            let at_s = self.began.elapsed().as_secs_f64();
            let verdicts = agent.targets.iter().filter_map(|target| target.memory.as_ref());
            self.forecasts.extend(verdicts.filter_map(|verdict| forecast(verdict, at_s)));
        }
        Ok(false)
    }

    fn killed(&self) -> Killed {
        let at_s = self.end.unwrap_or_default();
        let of = |least: VerdictLevel| {
            self.forecasts.iter().filter(move |(level, _)| *level >= least).map(|(_, made)| *made)
        };
        let first = of(VerdictLevel::Leak).next();
        let middle = first.map(|first| (first.at_s + at_s) / 2.0);
        let half_way =
            middle.and_then(|middle| of(VerdictLevel::Leak).rfind(|made| made.at_s <= middle));
        Killed { at_s, first, half_way }
    }
}

fn forecast(verdict: &Verdict, at_s: f64) -> Option<(VerdictLevel, Forecast)> {
    let (low, high) = verdict.seconds_to_limit_range?;
    let end_s = at_s + verdict.seconds_to_limit?;
    Some((verdict.level, Forecast { at_s, end_s, low_s: at_s + low, high_s: at_s + high }))
}

fn table(plan: &Plan, starts: &[Killed]) -> String {
    let mut text = format!(
        "{} MB a minute under a cgroup of {} MB\n\n\
         | start | killed after | first forecast at | it said | error of what was left | in its 80 % | \
         half-way forecast | error |\n|---|---|---|---|---|---|---|---|\n",
        plan.bytes_per_minute / 1_000_000,
        plan.limit / (1024 * 1024),
    );
    for (index, start) in starts.iter().enumerate() {
        let said = |made: Option<Forecast>| match made {
            None => ("–".to_owned(), "–".to_owned(), "–".to_owned(), "–".to_owned()),
            Some(made) => {
                let left = start.at_s - made.at_s;
                let error = (made.end_s - start.at_s).abs() / left.max(1.0);
                let inside = (made.low_s..=made.high_s).contains(&start.at_s);
                (
                    format!("{:.0} s", made.at_s),
                    format!("{:.0} s", made.end_s),
                    format!("{:.1} %", 100.0 * error),
                    if inside { "yes" } else { "no" }.to_owned(),
                )
            }
        };
        let (at, end, error, inside) = said(start.first);
        let (_, later_end, later_error, _) = said(start.half_way);
        // A String takes whatever is written to it.
        let _ = writeln!(
            text,
            "| {} | {:.0} s | {at} | {end} | {error} | {inside} | {later_end} | {later_error} |",
            index + 1,
            start.at_s,
        );
    }
    text
}

/// The process that leaks: takes its ballast when its input ends, then a page at a time, for ever.
pub fn grow(ballast: u64, bytes_per_minute: u64) -> Result<()> {
    const PAGE: u64 = 4_096;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).context("wait for the start")?;
    let pages = |bytes: u64| (0..bytes / PAGE).map(|_| vec![1_u8; PAGE as usize]);
    let mut kept: Vec<Vec<u8>> = Vec::with_capacity(1 << 20);
    kept.extend(pages(ballast));
    let (began, mut taken) = (Instant::now(), 0);
    loop {
        let due = (began.elapsed().as_secs_f64() * bytes_per_minute as f64 / 60.0) as u64;
        kept.extend(pages(due - taken));
        taken += (due - taken) / PAGE * PAGE;
        std::hint::black_box(&kept);
        std::thread::sleep(Duration::from_millis(50));
    }
}
