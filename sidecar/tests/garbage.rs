//! Garbage in: an agent over a `/proc` of its own that is cut off, absurd, crowded or refused, and
//! histories with broken rows. Nothing ends, nothing is guessed, and what was left out is counted on
//! the pages.
//!
//! Every byte of what may be cut: `agent/src/sample/tests/garbage.rs`.

mod common;
mod replaying;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::http::get;
use replaying::{events, replay, said};
use stent_agent::Config;
use stent_agent::config::{Attribution, Endpoint, Target};
use stent_testkit::{TempDir, free_port, wait_for, wait_until};
use tokio::sync::oneshot;

const DEADLINE: Duration = Duration::from_secs(60);
const MB: u64 = 1_000_000;
/// The process in the trees.
const PID: u32 = 42;

/// An agent over a tree that may be changed.
struct Agent {
    tree: TempDir,
    address: String,
    _end: oneshot::Sender<()>,
}

impl Agent {
    /// Watches `target` over a copy of the agent's fixture of cgroup version 2, after `prepare`.
    fn over(target: Target, prepare: impl Fn(&Path)) -> Self {
        let tree = TempDir::new("garbage").expect("a folder");
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/tests/fixtures");
        copy(&fixtures.join("cgroup-v2"), tree.path());
        prepare(tree.path());
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port().expect("a port")));
        let config = Config {
            targets: vec![target],
            sample_interval: Duration::from_millis(20),
            proxy_admin: None,
            admin: Some(Endpoint::Tcp(address)),
            postgres: None,
            postgres_interval: Duration::from_secs(10),
            root: tree.path().to_owned(),
            cloudwatch: None,
            emf: None,
            memory_limit: None,
            heap_metrics: Vec::new(),
            build_variable: None,
            ecs_metadata: None,
            attribution: Attribution::Off,
            sibling_drain: Duration::ZERO,
        };
        let (end, ended) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let shutdown = async { drop(ended.await) };
            let runtime = runtime.expect("a runtime");
            runtime.block_on(stent_agent::run(config, shutdown)).expect("it listens");
        });
        let agent = Self { tree, address: address.to_string(), _end: end };
        wait_until("a reading", DEADLINE, || !agent.reading().is_null()).expect("a reading");
        agent
    }

    fn snapshot(&self) -> serde_json::Value {
        let page = get(&self.address, "/snapshot").unwrap_or_default();
        let whole: serde_json::Value = serde_json::from_str(&page).unwrap_or_default();
        whole["agent"].clone()
    }

    fn reading(&self) -> serde_json::Value {
        self.snapshot()["targets"][0]["reading"].clone()
    }

    /// How often this was left out so far, on the snapshot; and the page of metrics says it too.
    fn skipped(&self, source: &str, reason: &str) -> Option<u64> {
        let snapshot = self.snapshot();
        let of = |one: &&serde_json::Value| one["source"] == source && one["reason"] == reason;
        let count = snapshot["skipped"].as_array()?.iter().find(of)?["count"].as_u64()?;
        let line = format!(
            "stent_readings_skipped_total{{target=\"api\",source=\"{source}\",reason=\"{reason}\"}} "
        );
        let page = get(&self.address, "/metrics")?;
        let shown: u64 = page.lines().find_map(|at| at.strip_prefix(&line))?.parse().ok()?;
        assert!(shown >= count, "{shown} on the page, {count} on the snapshot before");
        Some(count)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.tree.path().join("proc").join(PID.to_string()).join(name)
    }
}

fn by_pid() -> Target {
    Target::Pid { name: "api".to_owned(), pid: PID }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a fixture") {
        let entry = entry.expect("an entry");
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).expect("copied");
        }
    }
}

#[test]
fn a_proc_file_truncated_in_the_middle_of_a_line_costs_the_readings_of_that_time() {
    let agent = Agent::over(by_pid(), |_| {});
    let text = std::fs::read_to_string(agent.file("status")).unwrap();
    let before = agent.reading()["memory"].clone();
    let cut = text.find("RssAnon:").unwrap() + "RssAnon:\t   2".len();
    std::fs::write(agent.file("status"), &text[..cut]).unwrap();
    let count = wait_for("it is counted", DEADLINE, || agent.skipped("process", "cut_off"));
    assert!(count.unwrap() > 0);
    wait_until("no reading", DEADLINE, || agent.reading().is_null()).unwrap();
    std::fs::write(agent.file("status"), &text).unwrap();
    wait_until("it goes on", DEADLINE, || agent.reading()["memory"] == before).unwrap();
}

#[test]
fn a_limit_of_max_is_no_limit_and_nothing_is_left_out_for_it() {
    let agent = Agent::over(by_pid(), |tree| {
        for group in ["ecs", "ecs/task", "ecs/task/app"] {
            std::fs::write(tree.join("sys/fs/cgroup").join(group).join("memory.max"), "max\n")
                .unwrap();
        }
    });
    // The machine's, then.
    assert_eq!(agent.reading()["memory"]["limit"], 8_000_000 * 1_024_u64);
    let skipped = agent.snapshot()["skipped"].clone();
    assert!(!skipped.to_string().contains("cgroup"), "{skipped}");
}

#[test]
fn a_counter_that_goes_back_is_left_out_once_and_everything_else_stands() {
    let agent = Agent::over(by_pid(), |_| {});
    let text = std::fs::read_to_string(agent.file("stat")).unwrap();
    // In one step: a reader sees the one or the other.
    let next = agent.file("next");
    std::fs::write(&next, text.replace(" 250 150 ", " 100 150 ")).unwrap();
    // The agent keeps the old file open, so it is changed in place, by as many bytes.
    std::fs::write(agent.file("stat"), std::fs::read_to_string(&next).unwrap()).unwrap();
    wait_until("it is counted", DEADLINE, || agent.skipped("cpu", "went_back").is_some()).unwrap();
    wait_until("it counts on", DEADLINE, || agent.reading()["cpu_seconds"].is_f64()).unwrap();
    assert_eq!(agent.skipped("cpu", "went_back"), Some(1));
}

#[test]
fn clock_jumps_of_a_day_in_a_history_lose_two_rows_at_most_and_no_leak() {
    const DAY_S: u64 = 86_400;
    for (name, back) in [("forward", false), ("back", true)] {
        let mut text = String::from("t_seconds,rss_bytes,limit_bytes\n");
        for minute in 0..2_000_u64 {
            let set = u64::from(minute >= 700);
            let start = 10 * DAY_S + minute * 60;
            let t = if back { start - set * DAY_S } else { start + set * DAY_S };
            text += &format!("{t},{},1073741824\n", 200 * MB + minute * MB / 4);
        }
        let output = replay(&text, &["--json"]);
        let found = events(&output);
        let leak = found.iter().find(|event| event["verdict"] == "leak");
        assert!(leak.is_some(), "{name}: {found:?}");
        let told = match back {
            true => {
                "1998 rows judged, 1 lives, 2 lines skipped, the first is line 702: t_seconds \
                     goes back, a clock set back 1 times"
            }
            false => "2000 rows judged, 1 lives\n",
        };
        assert!(said(&output).contains(told), "{name}: {}", said(&output));
    }
}

#[test]
fn among_ten_thousand_processes_the_named_one_is_read() {
    let agent = Agent::over(Target::Name("api".to_owned()), |tree| {
        std::fs::write(tree.join("proc/42/comm"), "api\n").unwrap();
        std::fs::create_dir(tree.join("other")).unwrap();
        std::fs::write(tree.join("other/comm"), "garb\0age").unwrap();
        for pid in 200_000..210_000 {
            let folder = tree.join("proc").join(pid.to_string());
            std::os::unix::fs::symlink(tree.join("other"), folder).unwrap();
        }
    });
    assert_eq!(agent.reading()["pid"], PID);
}

#[test]
fn smaps_that_cannot_be_read_costs_its_figure_only_and_is_counted() {
    let agent = Agent::over(by_pid(), |tree| {
        // Nobody can read a folder as a file, not even root.
        let path = tree.join("proc/42/smaps_rollup");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(path).unwrap();
    });
    let memory = agent.reading()["memory"].clone();
    assert!(memory["pss"].is_null() && memory["rss_anon"].as_u64() > Some(0), "{memory}");
    assert_eq!(agent.skipped("pss", "unreadable"), Some(1));
}

#[test]
fn rows_of_a_history_that_are_broken_are_left_out_counted_and_the_first_is_named() {
    let broken = ["much", "", "\"", "-5,1", "1e400,1", "120,NaN", "\u{0}\u{1}", "60,1,2,3,4,5,6"];
    let mut text = String::from("t_seconds,rss_bytes,heap_bytes,requests_total,limit_bytes\n");
    for minute in 0..1_500_u64 {
        let rss = 200 * MB + minute * MB / 4;
        text += &format!("{},{rss},,{},1073741824\n", minute * 60, minute * 600);
        text += broken[minute as usize % broken.len()];
        text.push('\n');
    }
    let output = replay(&text, &["--json"]);
    assert!(events(&output).iter().any(|event| event["verdict"] == "leak"));
    let told = "1500 rows judged, 1 lives, ";
    assert!(said(&output).contains(told), "{}", said(&output));
    assert!(said(&output).contains("lines skipped, the first is line 3: "), "{}", said(&output));
    let strict = replay(&text, &["--strict"]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(said(&strict).contains("line 3: "), "{}", said(&strict));
}
