//! One case: the application, its load, and the real agent beside it.
//!
//! Owns: their processes and what the agent said when. Refuses: judging (`table`).
//! Invariant: whatever was started has ended when the run has.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use stent_contract::snapshot::TargetSnapshot;
use stent_contract::{Attribution, VerdictLevel};
use stent_testkit::{Process, free_port};

use super::load::Pace;
use super::manifest::{Case, Expect, Manifest, PORT};
use crate::app::Installed;
use crate::http::Client;
use crate::rig;

const START_DEADLINE: Duration = Duration::from_secs(60);
const HTTP_LIMIT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(250);
/// The target's name.
const TARGET: &str = "app";

/// What was seen of a case. Times are from `GET /start`.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The first suspicion.
    pub suspect: Option<Duration>,
    /// The first verdict `leak`.
    pub leak: Option<Duration>,
    /// The first attribution.
    pub attributed: Option<Duration>,
    /// The last attribution.
    pub attribution: Option<Attribution>,
    /// The last class.
    pub class: String,
    /// Requests that failed.
    pub failed: u64,
    /// How the application ended, if it did.
    pub ended: Option<String>,
}

/// Runs it.
pub async fn run(manifest: &Manifest, case: &Case) -> Result<Seen> {
    let (mut app, address) = start_app(manifest, case)?;
    let (mut agent, admin) = start_agent(manifest, app.pid())?;
    let load = &manifest.load;
    let period = case.period_seconds.map(|period| period.seconds());
    let pace = Pace::start(address, load.requests_per_second.get(), period);
    let mut snapshots = Client::new(admin, HTTP_LIMIT);
    tokio::time::sleep(load.warm_up_seconds.seconds()).await;
    Client::new(address, HTTP_LIMIT).get("/start").await.context("start the leak")?;
    let started = Instant::now();
    let mut seen = Seen::default();
    while started.elapsed() < load.run_seconds.seconds() && !is_complete(case, &seen) {
        tokio::time::sleep(POLL).await;
        if let Some(status) = agent.status() {
            bail!("the agent ended by itself ({status}):\n{}", agent.output());
        }
        if let Some(status) = app.status() {
            seen.ended = Some(status.to_string());
            break;
        }
        // The agent may be late once; what counts is what it says in the end.
        if let Ok(snapshot) = rig::snapshot(&mut snapshots).await {
            let targets = snapshot.agent.map(|agent| agent.targets).unwrap_or_default();
            if let Some(target) = targets.into_iter().find(|target| target.name == TARGET) {
                note(&mut seen, target, started.elapsed());
            }
        }
    }
    seen.failed = pace.failed();
    drop(pace);
    if seen.ended.is_none() {
        ensure!(app.status().is_none(), "the application ended at the end");
    }
    Ok(seen)
}

/// A leak is complete when it was found and looked into; a twin is watched to its end.
fn is_complete(case: &Case, seen: &Seen) -> bool {
    match case.expect {
        Expect::Healthy => false,
        Expect::Leak => seen.leak.is_some() && (case.names.is_none() || seen.attributed.is_some()),
    }
}

fn note(seen: &mut Seen, target: TargetSnapshot, at: Duration) {
    if let Some(verdict) = target.memory {
        if verdict.level >= VerdictLevel::Suspect {
            seen.suspect.get_or_insert(at);
            seen.class = verdict.class.as_str().to_owned();
        }
        if verdict.level == VerdictLevel::Leak {
            seen.leak.get_or_insert(at);
        }
    }
    if let Some(attribution) = target.attribution {
        seen.attributed.get_or_insert(at);
        seen.attribution = Some(attribution);
    }
}

/// Starts the application of a case and waits until it listens.
pub fn start_app(manifest: &Manifest, case: &Case) -> Result<(Process, SocketAddr)> {
    let folder = super::folder().join(&manifest.app.folder);
    let (name, arguments) = manifest.app.command.split_first().context("an empty command")?;
    let program = if folder.join("package.json").is_file() && name != "node" {
        Installed::ensure(&folder)?.program(name)
    } else if folder.join("Cargo.toml").is_file() {
        rig::beside(name)?
    } else {
        name.into()
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&folder);
    command
        .env_remove("NODE_OPTIONS")
        .env(&manifest.app.kind_variable, &case.kind)
        .env("PORT", "0");
    for (name, value) in &manifest.app.environment {
        let value = match value.contains(PORT) {
            true => value.replace(PORT, &free_port()?.to_string()),
            false => value.clone(),
        };
        command.env(name, value);
    }
    let mut app = Process::spawn(&mut command)?;
    let prefix = manifest.app.ready_line.as_str();
    let address =
        app.wait_for_match(&format!("a line with {prefix:?}"), START_DEADLINE, |line| {
            line.split_once(prefix)?.1.split_whitespace().next()?.parse().ok()
        })?;
    Ok((app, address))
}

/// `stent agent` on one process, with attribution switched on.
pub fn start_agent(manifest: &Manifest, pid: u32) -> Result<(Process, SocketAddr)> {
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let mut command = Command::new(rig::stent_program()?);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["STENT_", "PG", "DATABASE_URL"].iter().any(|own| name.starts_with(own)) {
            command.env_remove(name.as_ref());
        }
    }
    let settings = [
        ("STENT_CONFIG", String::new()),
        ("STENT_TARGETS", format!("{TARGET}={pid}")),
        ("STENT_AGENT_LISTEN", admin.to_string()),
        ("STENT_ADMIN_LISTEN", String::new()),
        ("STENT_SAMPLE_INTERVAL", manifest.limits.sample_interval_seconds.get().to_string()),
        ("STENT_MEMORY_LIMIT", manifest.limits.memory_limit_bytes.to_string()),
        ("STENT_ATTRIBUTION", "on".to_owned()),
        ("STENT_POSTGRES_SAMPLING", "off".to_owned()),
        ("STENT_EMF", "off".to_owned()),
    ];
    let agent = Process::spawn(command.envs(settings).arg("agent"))?;
    Ok((agent, admin))
}
