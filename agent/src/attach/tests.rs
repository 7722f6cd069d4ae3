//! The attacher with real targets. What must never be signalled is proved on the real thing.

use std::process::Command;

use stent_contract::{ProcessReading, Verdict};
use stent_testkit::{Process, TempDir, free_port, wait_until_async};

use super::*;
use crate::tests_support::verdict;

const DEADLINE: Duration = Duration::from_secs(60);

/// Keeps two megabytes a second in one function; `/` says how many records there are.
const LEAKY: &str = "
const store = new Map();
let n = 0;
function rememberSession() {
  n += 1;
  store.set(n, { id: n, payload: ('x'.repeat(20000) + n).split('').length, list: new Array(2500).fill(n) });
}
setInterval(rememberSession, 10);
console.log('ready');
";
const BUFFERS: &str = "
const kept = [];
function keepUpload() { kept.push(Buffer.alloc(200000, 1)); }
setInterval(keepUpload, 20);
console.log('ready');
";

/// A script under Node, with an inspector port of its own.
struct Node {
    process: Process,
    port: u16,
    _folder: TempDir,
}

impl Node {
    fn start(file: &str, script: &str) -> Self {
        let port = free_port().unwrap();
        Self::start_at(port, file, script, "--inspect-port")
    }

    fn start_at(port: u16, file: &str, script: &str, flag: &str) -> Self {
        let folder = TempDir::new("attach").unwrap();
        let path = folder.path().join(file);
        std::fs::write(&path, script).unwrap();
        let mut command = Command::new("node");
        command.env_remove("NODE_OPTIONS").arg(format!("{flag}={port}")).arg(path);
        let mut process = Process::spawn(&mut command).unwrap();
        process.wait_for_line("ready", DEADLINE).unwrap();
        Self { process, port, _folder: folder }
    }

    fn way(&self) -> Way {
        Way::Node { port: self.port }
    }

    async fn look(&self) -> Ended {
        attach(Path::new("/"), self.process.pid(), &self.way(), &quick()).await
    }

    async fn inspector_is_open(&self) -> bool {
        socket::get(self.port, "/json/list").await.is_ok()
    }
}

/// Short windows, and no limit that a busy machine could break.
fn quick() -> Plan {
    Plan {
        sampling: 16 << 10,
        lead: Duration::from_millis(600),
        window: Duration::from_millis(900),
        windows: 3,
        limits: Limits { pause: DEADLINE, cpu_share: 64.0 },
    }
}

fn suspected(pid: u32) -> TargetSnapshot {
    let judged = verdict("api", Resource::Memory);
    let reading = ProcessReading { pid, ..ProcessReading::default() };
    TargetSnapshot {
        name: "api".to_owned(),
        reading: Some(reading),
        memory: Some(Verdict { level: VerdictLevel::Leak, growth_per_hour: 1e9, ..judged }),
        attribution: None,
        descriptors: None,
        threads: None,
        rejuvenations: None,
    }
}

fn round(attacher: &mut Attacher, pid: u32) -> TargetSnapshot {
    let mut targets = [suspected(pid)];
    attacher.round(Instant::now(), 1_700_000_000_000, &mut targets, &mut []);
    let [target] = targets;
    target
}

/// Rounds until the look has ended.
async fn ended(attacher: &mut Attacher, pid: u32) -> Attribution {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(attribution) = round(attacher, pid).attribution {
            return attribution;
        }
        assert!(Instant::now() < deadline, "the look did not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn outcomes(attacher: &Attacher) -> Vec<(&'static str, &'static str, u64)> {
    let looks = attacher.totals().looks.iter();
    looks.map(|((means, outcome), n)| (means.as_str(), outcome.as_str(), *n)).collect()
}

#[tokio::test]
async fn the_leaking_function_of_a_node_is_named_and_its_inspector_closed_again() {
    for file in ["leaky.js", "leaky.mjs"] {
        let mut node = Node::start(file, LEAKY);
        let ended = node.look().await;
        let Attribution { frames, windows, note, .. } = &ended.attribution;
        assert_eq!((ended.outcome, *windows), (Outcome::Named, 3), "{file}: {note}");
        assert_eq!((frames[0].function.as_str(), frames[0].line), ("rememberSession", Some(4)));
        assert!(frames[0].file.ends_with(file), "{frames:?}");
        assert!(frames[0].share > 0.5, "{frames:?}");
        assert_eq!(ended.left_open, None);
        assert!(!node.inspector_is_open().await, "{file}");
        assert!(node.process.status().is_none(), "{file}: the target lives on");
    }
}

#[tokio::test]
async fn buffers_outside_the_heap_are_traced_to_the_function_that_makes_them() {
    let node = Node::start("buffers.js", BUFFERS);
    let ended = node.look().await;
    let attribution = &ended.attribution;
    assert_eq!(ended.outcome, Outcome::Named, "{}", attribution.note);
    assert_eq!(attribution.frames[0].function, "keepUpload");
    assert!(attribution.frames[0].bytes > 1 << 20, "{attribution:?}");
    assert!(attribution.note.contains("buffers outside"), "{}", attribution.note);
}

#[tokio::test]
async fn an_inspector_that_was_open_before_is_used_without_a_signal_and_left_open() {
    let node = Node::start_at(free_port().unwrap(), "leaky.js", LEAKY, "--inspect");
    let ended = node.look().await;
    assert_eq!(ended.outcome, Outcome::Named, "{}", ended.attribution.note);
    assert!(node.inspector_is_open().await);
}

#[tokio::test]
async fn another_node_on_the_port_is_neither_taken_for_the_target_nor_disturbed() {
    let first = Node::start_at(free_port().unwrap(), "leaky.js", LEAKY, "--inspect");
    let mut second = Node::start_at(first.port, "leaky.js", LEAKY, "--inspect-port");
    let ended = second.look().await;
    assert_eq!(ended.outcome, Outcome::Refused);
    assert!(ended.attribution.note.contains("taken by another process"), "{:?}", ended.attribution);
    assert!(first.inspector_is_open().await);
    assert!(second.process.status().is_none());
    assert!(!second.process.stderr().contains("inspector"), "it was not even signalled");
}

#[tokio::test]
async fn a_target_that_is_killed_mid_attach_leaves_the_attacher_ready_for_the_next() {
    let mut node = Node::start("leaky.js", LEAKY);
    let pid = node.process.pid();
    let mut attacher = Attacher::new(Path::new("/"));
    assert_eq!(round(&mut attacher, pid).attribution, None);
    wait_until_async("the inspector to open", DEADLINE, async || node.inspector_is_open().await)
        .await
        .unwrap();
    node.process.kill().unwrap();
    let attribution = ended(&mut attacher, pid).await;
    assert!(attribution.note.contains("the process ended"), "{}", attribution.note);
    assert_eq!(outcomes(&attacher), [("v8_sampling", "failed", 1)]);

    let next = Node::start("leaky.js", LEAKY);
    round(&mut attacher, next.process.pid());
    assert!(attacher.running.is_some(), "the next life is looked into");
}

#[tokio::test]
async fn sigusr1_is_never_sent_to_python_not_even_to_one_that_handles_it() {
    let plain = "print('ready', flush=True)\nimport time\ntime.sleep(600)";
    let handling = "import signal\nsignal.signal(signal.SIGUSR1, lambda *a: print('signalled', \
                    flush=True))\nprint('ready', flush=True)\nwhile True: signal.pause()";
    for script in [plain, handling] {
        let mut command = Command::new("python3");
        let mut python = Process::spawn(command.args(["-c", script])).unwrap();
        python.wait_for_line("ready", DEADLINE).unwrap();
        let mut attacher = Attacher::new(Path::new("/"));
        let target = round(&mut attacher, python.pid());
        let note = target.attribution.unwrap().note;
        assert!(note.contains("not a runtime whose heap can be read"), "{note}");
        assert_eq!(outcomes(&attacher), [("none", "refused", 1)]);
        assert!(attacher.running.is_none(), "and nothing is under way");
        assert!(python.status().is_none());
        // A signal of our own shows that an earlier one would have been seen by now.
        python.signal(stent_testkit::Signal::TERM).unwrap();
        python.wait(DEADLINE).unwrap();
        assert!(!python.output().contains("signalled"));
    }
}

#[tokio::test]
async fn a_python_that_serves_its_heap_is_asked_for_it_and_its_line_named() {
    let script = "import time\nkept = []\ndef remember():\n    kept.append(bytearray(20000))\n\
                  print('ready', flush=True)\nwhile True:\n    remember()\n    time.sleep(0.01)\n";
    let folder = TempDir::new("attach").unwrap();
    let path = folder.path().join("leaky.py");
    std::fs::write(&path, script).unwrap();
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../heap/python");
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", module).env("STENT_HEAP", "on").env("PYTHONDONTWRITEBYTECODE", "1");
    let mut python = Process::spawn(command.arg(&path)).unwrap();
    python.wait_for_line("ready", DEADLINE).unwrap();
    let way = Attacher::new(Path::new("/")).guarded(python.pid(), LeakClass::Leak, None).unwrap();
    assert!(matches!(way, Way::Heap { .. }), "{way:?}");
    let ended = attach(Path::new("/"), python.pid(), &way, &quick()).await;
    assert_eq!(ended.outcome, Outcome::Named, "{ended:?}");
    assert_eq!(ended.attribution.means, AttributionMeans::Tracemalloc);
    let first = &ended.attribution.frames[0];
    assert_eq!((first.function.as_str(), first.line), ("remember", Some(4)), "{ended:?}");
    assert!(python.status().is_none());
}

#[tokio::test]
async fn a_refusal_is_not_repeated_each_round_and_costs_no_budget() {
    let mut command = Command::new("sleep");
    let sleep = Process::spawn(command.arg("600")).unwrap();
    let mut attacher = Attacher::new(Path::new("/"));
    for _ in 0..50 {
        round(&mut attacher, sleep.pid());
    }
    assert_eq!(outcomes(&attacher), [("none", "refused", 1)]);
    assert_eq!(attacher.totals().attached, Duration::ZERO);
}

#[tokio::test]
async fn the_finding_is_evidence_in_the_targets_own_diagnosis_and_in_no_other() {
    let mut command = Command::new("sleep");
    let sleep = Process::spawn(command.arg("600")).unwrap();
    let diagnosis = |target: &str, resource| Diagnosis {
        verdict: verdict(target, resource),
        summary: String::new(),
        causes: Vec::new(),
        holders: Vec::new(),
    };
    let mut diagnoses = [
        diagnosis("api", Resource::Memory),
        diagnosis("worker", Resource::Memory),
        diagnosis("api", Resource::Connections),
    ];
    let mut targets = [suspected(sleep.pid())];
    Attacher::new(Path::new("/")).round(Instant::now(), 0, &mut targets, &mut diagnoses);
    let counts: Vec<usize> = diagnoses.iter().map(|d| d.verdict.evidence.len()).collect();
    assert_eq!(counts, [1, 0, 0]);
    assert!(diagnoses[0].verdict.evidence[0].text.starts_with("whose growth it is could not"));
}

#[tokio::test]
async fn a_healthy_target_is_left_alone() {
    let node = Node::start("leaky.js", LEAKY);
    let mut targets = [suspected(node.process.pid())];
    targets[0].memory = Some(verdict("api", Resource::Memory));
    let mut attacher = Attacher::new(Path::new("/"));
    attacher.round(Instant::now(), 0, &mut targets, &mut []);
    assert!(attacher.running.is_none());
    assert!(!node.inspector_is_open().await);
}

#[test]
fn evidence_names_the_place_or_says_why_there_is_none() {
    let frame = Frame {
        function: "rememberSession".to_owned(),
        file: "/app/server.js".to_owned(),
        line: Some(12),
        bytes: 3 << 20,
        share: 0.81,
        via: vec!["handler /app/server.js:40".to_owned()],
    };
    let blank = blank(AttributionMeans::V8Sampling, "why not".to_owned());
    let named = Attribution { frames: vec![frame], windows: 3, ..blank.clone() };
    assert_eq!(
        evidence(&named).text,
        "what rememberSession /app/server.js:12 allocates grew in each of 3 windows: 3.0 MiB in \
         all, 81 % of the growth seen, by way of handler /app/server.js:40"
    );
    assert_eq!(evidence(&blank).text, "whose growth it is could not be told: why not");
    assert_eq!(evidence(&blank).value, 0.0);
}
