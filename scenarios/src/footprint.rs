//! `stent-scenarios footprint`: what the agent itself takes, and whether it grows.
//!
//! Owns: processes to watch, the real agent beside them, and a second agent whose target is the
//! first. Refuses: any look inside: processor time and memory are the kernel's figures, live bytes
//! the allocator's own count. Invariant: all of them have ended when it ends.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use stent_contract::{AgentSnapshot, Verdict};
use stent_testkit::{Process, free_port};

use crate::http::Client;
use crate::rig;

const LOOK: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Processes that are watched, each second.
    pub targets: u32,
    /// How long.
    pub length: Duration,
}

/// One look at the agent.
#[derive(Clone, Copy, Debug)]
struct Look {
    at_s: f64,
    cpu_s: f64,
    rss: u64,
    allocated: Option<u64>,
}

/// Runs the plan and returns what was seen.
pub async fn footprint(plan: &Plan) -> Result<String> {
    let mut targets = Vec::new();
    for _ in 0..plan.targets {
        targets.push(Process::spawn(Command::new("sleep").arg("1000000"))?);
    }
    let names: Vec<String> = targets.iter().enumerate().map(named).collect();
    let (agent, mut client) = start(&names.join(","))?;
    let (_watcher, mut beside) = start(&format!("agent={}", agent.pid()))?;
    let began = Instant::now();
    let mut looks = Vec::new();
    let mut verdict = None;
    while began.elapsed() < plan.length {
        tokio::time::sleep(LOOK).await;
        let Ok(own) = snapshot(&mut client).await else { continue };
        let (cpu_s, rss) = of_process(agent.pid())?;
        let allocated = own.heap.map(|heap| heap.allocated);
        looks.push(Look { at_s: began.elapsed().as_secs_f64(), cpu_s, rss, allocated });
        if let Ok(seen) = snapshot(&mut beside).await {
            verdict = seen.targets.into_iter().next().and_then(|target| target.memory);
        }
    }
    told(plan, &looks, verdict.as_ref())
}

fn named((index, process): (usize, &Process)) -> String {
    format!("t{index}={}", process.pid())
}

fn start(targets: &str) -> Result<(Process, Client)> {
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let mut command = Command::new(rig::stent_program()?);
    rig::without_own_settings(&mut command);
    command.arg("agent").envs([
        ("STENT_CONFIG", String::new()),
        ("STENT_TARGETS", targets.to_owned()),
        ("STENT_AGENT_LISTEN", admin.to_string()),
        ("STENT_EMF", "off".to_owned()),
    ]);
    Ok((Process::spawn(&mut command)?, Client::new(admin, ANSWER_MAX)))
}

async fn snapshot(client: &mut Client) -> Result<AgentSnapshot> {
    rig::snapshot(client).await?.agent.context("the agent says nothing of itself")
}

/// Processor time in seconds and resident bytes. Source: proc_pid_stat(5), proc_pid_status(5).
fn of_process(pid: u32) -> Result<(f64, u64)> {
    /// USER_HZ is 100 on every architecture that Stent is built for.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("read stat")?;
    let after = stat.rsplit_once(')').context("a command in stat")?.1;
    let mut fields = after.split_ascii_whitespace().skip(11);
    let mut tick = || fields.next().and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    let cpu_s = (tick() + tick()) / TICKS;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("read status")?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = rss.and_then(|text| text.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    Ok((cpu_s, kb.context("VmRSS in status")? * 1_024))
}

fn told(plan: &Plan, looks: &[Look], verdict: Option<&Verdict>) -> Result<String> {
    let (first, last) = looks.first().zip(looks.last()).context("the agent never answered")?;
    let settled = &looks[looks.len() / 4];
    let cpu = 100.0 * (last.cpu_s - first.cpu_s) / (last.at_s - first.at_s).max(1.0);
    let most = looks.iter().map(|look| look.rss).max().unwrap_or_default();
    let mb = |bytes: u64| format!("{:.2} MB", bytes as f64 / 1e6);
    let live = |look: &Look| look.allocated.map_or_else(|| "–".to_owned(), mb);
    let mut text = format!(
        "{} targets at 1 s, {:.0} s: {cpu:.2} % of a core, resident {} at most\n",
        plan.targets,
        last.at_s,
        mb(most),
    );
    // A String takes whatever is written to it.
    let _ = writeln!(
        text,
        "live bytes after {:.0} s: {}, at the end: {}; resident {} and {}",
        settled.at_s,
        live(settled),
        live(last),
        mb(settled.rss),
        mb(last.rss),
    );
    let said = verdict.map(|verdict| format!("{:?}, {}", verdict.level, verdict.class.as_str()));
    let _ = writeln!(text, "a second agent says of it: {}", said.as_deref().unwrap_or("nothing"));
    Ok(text)
}
