//! The ECS task that the agent runs in: its family and revision, its limits, and the memory of each
//! container, also of those whose processes the agent cannot see.
//!
//! Owns: a task that asks the metadata endpoint. Refuses: delaying a round: the newest answer is
//! taken, or none. Invariant: what the endpoint did not say is absent, never zero; an answer is at
//! most [`BODY_MAX`] bytes.
//! Source: Amazon ECS developer guide, "Task metadata endpoint version 4"; Docker Engine API,
//! "Get container stats"; cgroup v1 `total_rss` and v2 `anon` are the memory that no reclaim frees.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use stent_contract::{EcsContainer, EcsTask};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::fetch::{Fetcher, PageUrl};

/// How often containers are asked for; their figures are a second old anyhow.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// How often the task itself is asked for: containers start and restart.
const TASK_INTERVAL: Duration = Duration::from_secs(60);
/// For how long figures stand in for newer ones.
const FRESH: Duration = Duration::from_secs(20);
/// The most time for one answer.
const TIME_BOX: Duration = Duration::from_secs(2);
/// The longest answer; one of ten containers is about 60 kB.
pub(crate) const BODY_MAX: usize = 2 * 1024 * 1024;
/// The most containers; ECS allows ten.
const CONTAINERS_MAX: usize = 32;
/// The longest name that is taken over.
const NAME_MAX: usize = 255;
/// Docker says "unlimited" with a number near the largest.
const UNLIMITED_FROM: u64 = 0x7FFF_FFFF_FFFF_0000;

/// Asks, in a task of its own that ends with this value.
#[derive(Debug)]
pub(crate) struct EcsWatch {
    latest: watch::Receiver<Option<(Instant, EcsTask)>>,
    task: JoinHandle<()>,
}

impl EcsWatch {
    /// Starts to ask the endpoint at `base`, the value of `ECS_CONTAINER_METADATA_URI_V4`. Asked each `interval`.
    /// Must be called on the runtime.
    pub(crate) fn start(base: &PageUrl, interval: Duration) -> Self {
        let (say, latest) = watch::channel(None);
        Self { latest, task: tokio::spawn(ask(base.clone(), interval, say)) }
    }

    /// The newest answer that is not too old.
    pub(crate) fn latest(&self, now: Instant) -> Option<EcsTask> {
        let latest = self.latest.borrow();
        let (at, task) = latest.as_ref()?;
        (now.saturating_duration_since(*at) <= FRESH).then(|| task.clone())
    }
}

impl Drop for EcsWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(base: PageUrl, interval: Duration, say: watch::Sender<Option<(Instant, EcsTask)>>) {
    let mut of_task = Fetcher::new(base.join("/task"), TIME_BOX, BODY_MAX);
    let mut of_stats = Fetcher::new(base.join("/task/stats"), TIME_BOX, BODY_MAX);
    let mut known: Option<(Instant, Task)> = None;
    let mut failing = false;
    loop {
        let due = known.as_ref().is_none_or(|(at, _)| at.elapsed() >= TASK_INTERVAL);
        if due && let Ok(body) = of_task.fetch().await {
            known = parse_task(&body).map(|task| (Instant::now(), task)).or(known);
        }
        let stats = of_stats.fetch().await;
        let answer = match (&known, stats) {
            (Some((_, task)), Ok(body)) => read(task, &body),
            (None, _) | (_, Err(_)) => None,
        };
        if answer.is_none() != failing {
            failing = answer.is_none();
            if failing {
                tracing::warn!("the ECS task metadata endpoint gives no figures");
            } else {
                tracing::info!("the ECS task metadata endpoint answers");
            }
        }
        if let Some(answer) = answer {
            say.send_replace(Some((Instant::now(), answer)));
        }
        tokio::time::sleep(interval).await;
    }
}

/// What `/task` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    family: String,
    revision: String,
    limit: Option<u64>,
    /// Names, starts and limits by Docker's id.
    containers: BTreeMap<String, Container>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Container {
    name: String,
    started_at: String,
    limit: Option<u64>,
}

/// Reads `/task`. `None`: no JSON of a task.
pub(crate) fn parse_task(body: &str) -> Option<Task> {
    let task: Value = serde_json::from_str(body).ok()?;
    let containers = task.get("Containers").and_then(Value::as_array);
    let containers = containers.into_iter().flatten().take(CONTAINERS_MAX);
    Some(Task {
        family: text(&task, "Family")?,
        revision: text(&task, "Revision").unwrap_or_default(),
        limit: mebibytes(&task),
        containers: containers.filter_map(parse_container).collect(),
    })
}

fn parse_container(container: &Value) -> Option<(String, Container)> {
    let of = Container {
        name: text(container, "Name")?,
        started_at: text(container, "StartedAt").unwrap_or_default(),
        limit: mebibytes(container),
    };
    Some((text(container, "DockerId")?, of))
}

/// `Limits.Memory`, which is in MiB; 0 stands for none.
fn mebibytes(of: &Value) -> Option<u64> {
    let limit = of.get("Limits")?.get("Memory")?.as_u64()?;
    (limit > 0).then(|| limit.saturating_mul(1024 * 1024))
}

fn text(of: &Value, key: &str) -> Option<String> {
    let text = of.get(key)?.as_str().filter(|text| text.len() <= NAME_MAX)?;
    Some(text.to_owned())
}

/// The moment that ECS writes as `2023-11-14T22:13:20.250Z`, milliseconds since the Unix epoch. `None`
/// for anything else: a life whose start is not known is told from the next by its memory alone.
pub(crate) fn unix_ms(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let sound =
        (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !sound || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil: years begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + millis.parse::<u64>().ok()?)
}

/// Joins a task and `/task/stats`. A container that has just started has no figures yet (`null`).
pub(crate) fn read(task: &Task, stats: &str) -> Option<EcsTask> {
    let stats: Value = serde_json::from_str(stats).ok()?;
    let stats = stats.as_object()?;
    let figures = |id: &String| stats.get(id).and_then(|of| of.get("memory_stats"));
    let containers = task.containers.iter().map(|(id, container)| {
        let memory = figures(id);
        let number = |key: &str| memory.and_then(|of| of.get(key)).and_then(Value::as_u64);
        let detail = |key: &str| {
            memory.and_then(|of| of.get("stats")).and_then(|of| of.get(key)).and_then(Value::as_u64)
        };
        let told = number("limit").filter(|limit| *limit < UNLIMITED_FROM);
        EcsContainer {
            name: container.name.clone(),
            started_at: container.started_at.clone(),
            usage: number("usage"),
            anon: detail("anon").or_else(|| detail("total_rss")).or_else(|| detail("rss")),
            limit: [container.limit, told, task.limit].into_iter().flatten().min(),
        }
    });
    let mut containers: Vec<EcsContainer> = containers.collect();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    Some(EcsTask {
        family: task.family.clone(),
        revision: task.revision.clone(),
        limit: task.limit,
        containers,
    })
}
