//! The task metadata endpoint: fixtures, and a server that is late, broken or honest.

use std::time::{Duration, Instant};

use stent_contract::{EcsContainer, EcsTask};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::ecs::{EcsWatch, parse_task, read, unix_ms};
use super::super::target::Watched;
use super::{config, fixture};
use crate::config::Target;
use crate::fetch::PageUrl;

const MIB: u64 = 1024 * 1024;

fn text(name: &str) -> String {
    std::fs::read_to_string(fixture("ecs").join(name)).unwrap()
}

fn joined(stats: &str) -> EcsTask {
    read(&parse_task(&text("task.json")).unwrap(), &text(stats)).unwrap()
}

#[test]
fn family_revision_limits_and_each_containers_memory_are_read() {
    let task = joined("stats-v2.json");
    assert_eq!((task.family.as_str(), task.revision.as_str()), ("shop-api", "41"));
    assert_eq!(task.limit, Some(1024 * MIB));
    let api = EcsContainer {
        name: "api".to_owned(),
        started_at: "2023-11-14T22:13:20.250Z".to_owned(),
        usage: Some(300 * MIB),
        anon: Some(200 * MIB),
        limit: Some(512 * MIB),
    };
    assert_eq!(task.containers[0], api);
    // Its own limit is not set: the task's holds. It has no figures in its first second.
    let migrate = &task.containers[1];
    assert_eq!(
        (migrate.name.as_str(), migrate.anon, migrate.limit),
        ("migrate", None, Some(1024 * MIB))
    );
    assert_eq!(
        (task.containers[2].name.as_str(), task.containers[2].anon),
        ("stent", Some(12 * MIB))
    );
}

#[test]
fn with_version_1_cgroups_the_hierarchys_anonymous_memory_counts() {
    let api = &joined("stats-v1.json").containers[0];
    assert_eq!((api.anon, api.limit), (Some(200 * MIB), Some(512 * MIB)));
}

#[test]
fn an_answer_cut_off_anywhere_is_none() {
    let (task, stats) = (text("task.json"), text("stats-v2.json"));
    for cut in 0..task.trim_end().len() {
        assert_eq!(parse_task(&task[..cut]), None, "cut at {cut}");
    }
    let whole = parse_task(&task).unwrap();
    for cut in 0..stats.trim_end().len() {
        assert_eq!(read(&whole, &stats[..cut]), None, "cut at {cut}");
    }
    for absurd in ["[]", "null", "{\"Family\": 7}", "{\"Family\": \"f\", \"Containers\": 3}"] {
        let containers = parse_task(absurd).and_then(|task| read(&task, "{}"));
        assert!(containers.is_none_or(|task| task.containers.is_empty()), "{absurd}");
    }
}

#[test]
fn a_moment_is_read_as_milliseconds_and_anything_else_as_nothing() {
    assert_eq!(unix_ms("2023-11-14T22:13:20.250999Z"), Some(1_700_000_000_250));
    assert_eq!(unix_ms("2024-02-29T00:00:00Z"), Some(1_709_164_800_000));
    assert_eq!(unix_ms("1970-01-01T00:00:00.5Z"), Some(500));
    for text in [
        "",
        "Z",
        "yesterday",
        "2023-13-01T00:00:00Z",
        "2023-11-14 22:13:20",
        "1-1-1T1:1:1Z",
        "2023-11-14T22:13:20.xZ",
    ] {
        assert_eq!(unix_ms(text), None, "{text}");
    }
}

#[test]
fn a_container_is_a_target_without_a_process() {
    let mut config = config();
    config.targets = vec![Target::Container("api".to_owned())];
    let mut watched = Watched::new(&config.targets[0], &config);
    let now = Instant::now();
    assert_eq!(watched.read_in(now, 5, None).reading, None);
    let target = watched.read_in(now, 5, Some(&joined("stats-v2.json")));
    let reading = target.reading.unwrap();
    assert_eq!((target.charged, reading.memory.rss_anon), (200 * MIB, 200 * MIB));
    assert_eq!(reading.memory.limit, Some(512 * MIB));
    assert_eq!(reading.started_unix_ms, 1_700_000_000_250);
    let mut other = Watched::new(&Target::Container("absent".to_owned()), &config);
    assert_eq!(other.read_in(now, 5, Some(&joined("stats-v2.json"))).reading, None);
}

/// An endpoint whose `/task/stats` fails at first.
async fn endpoint() -> PageUrl {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v4/abc", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let mut failures = 2;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut asked).await.unwrap_or_default() == 0 {
                    break;
                }
            }
            let body = match asked.starts_with(b"GET /v4/abc/task/stats ") {
                true => text("stats-v2.json"),
                false => text("task.json"),
            };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            if failures > 0 {
                failures -= 1;
                continue; // the connection is closed without a word
            }
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    url
}

#[tokio::test]
async fn the_endpoint_is_asked_again_after_it_failed_and_its_figures_grow_old() {
    let watch = EcsWatch::start(&endpoint().await, Duration::from_millis(20));
    assert_eq!(watch.latest(Instant::now()), None);
    let deadline = Instant::now() + Duration::from_secs(20);
    let task = loop {
        if let Some(task) = watch.latest(Instant::now()) {
            break task;
        }
        assert!(Instant::now() < deadline, "no figures");
        tokio::time::sleep(Duration::from_millis(5)).await; // between looks
    };
    assert_eq!(task, joined("stats-v2.json"));
    assert_eq!(watch.latest(Instant::now() + Duration::from_secs(120)), None);
}
