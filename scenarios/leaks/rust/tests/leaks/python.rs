//! The leaking line of a Python program is named by the module that Stent ships, on demand only.
//!
//! Invariant: the program is a process of its own; nothing is sent to it but questions over its
//! socket, and when nobody asks it does not measure.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::running::{Running, quick, runtime};
use stent_agent::{HeapSocket, Pace, attribute};
use stent_contract::AttributionMeans;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn start(leak: &str) -> Running {
    let mut command = Command::new("python3");
    command
        .arg(repository().join("scenarios/leaks/python/app.py"))
        .env("PYTHONPATH", repository().join("heap/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("STENT_HEAP", "on")
        .env("KILOBYTES", "4")
        .env("CACHE_MAX", "500");
    Running::start(&mut command, leak)
}

fn named(leak: &str, function: &str) {
    let running = start(leak);
    let found = running.look(&quick());
    assert_eq!(found.means, AttributionMeans::Tracemalloc, "{found:#?}");
    assert_eq!(found.windows, 3, "{found:#?}");
    let first = found.frames.first().unwrap_or_else(|| panic!("nothing named: {found:#?}"));
    assert_eq!(first.function, function, "{found:#?}");
    assert!(first.file.ends_with("leaks/python/app.py"), "{found:#?}");
    let source = std::fs::read_to_string(repository().join("scenarios/leaks/python/app.py"));
    let line = first.line.and_then(|line| {
        source.expect("the source is there").lines().nth(line as usize - 1).map(str::to_owned)
    });
    assert!(line.as_ref().is_some_and(|line| line.contains("bytearray")), "{line:?} {found:#?}");
    println!(
        "{leak}: {function} {:?}, share {}, pause {} ms, cpu {:?} s",
        line, first.share, found.largest_pause_ms, found.cpu_seconds
    );
}

#[test]
fn a_python_leak_for_each_request_is_named_with_its_line() {
    named("per_request", "remember_session");
}

#[test]
fn a_python_leak_of_a_timer_is_named_with_its_line() {
    named("timer", "watch_upload");
}

#[test]
fn a_python_leak_of_buffers_is_named_with_its_line() {
    named("buffer", "keep_upload");
}

#[test]
fn a_python_leak_of_what_closures_hold_is_named_with_its_line() {
    named("listener", "subscribe");
}

#[test]
fn what_a_library_allocates_in_python_is_put_down_to_the_programs_line_that_called_it() {
    let found = start("handler").look(&quick());
    let first = found.frames.first().unwrap_or_else(|| panic!("nothing named: {found:#?}"));
    assert_eq!(first.function, "add_handler", "{found:#?}");
    assert!(first.via.iter().any(|via| via.contains("/logging/__init__.py")), "{found:#?}");
}

#[test]
fn where_python_allocates_many_small_objects_the_windows_are_short_and_the_leak_is_named() {
    let running = start("records");
    let long = Duration::from_secs(30);
    let found = running.look(&Pace { window: long, ..quick() });
    let first = found.frames.first().unwrap_or_else(|| panic!("nothing named: {found:#?}"));
    assert_eq!(first.function, "keep_records", "{found:#?}");
    assert!(found.lasted_ms < 2 * 30_000, "{found:#?}");
}

#[test]
fn a_python_cache_that_has_filled_and_a_sawtooth_are_not_named() {
    for (twin, function) in [("cache", "cache_result"), ("sawtooth", "gather")] {
        let running = start(twin);
        running.wait_for(3_000);
        let found = running.look(&Pace { windows: 6, ..quick() });
        let accused = found.frames.iter().find(|frame| frame.function == function);
        assert_eq!(accused, None, "{twin}: {found:#?}");
    }
}

/// Asks one question over a connection and gives the body.
async fn ask(stream: &mut BufReader<UnixStream>, question: &str) -> String {
    stream
        .get_mut()
        .write_all(format!("{question}\n").as_bytes())
        .await
        .expect("the program's socket answers");
    let mut head = String::new();
    stream.read_line(&mut head).await.expect("the program's socket answers");
    let Some(rest) = head.strip_prefix("ok ") else { return head };
    let length: u64 = rest
        .split(' ')
        .next()
        .expect("the program's socket answers")
        .parse()
        .expect("the program's socket answers");
    let mut body = Vec::new();
    stream.take(length).read_to_end(&mut body).await.expect("the program's socket answers");
    String::from_utf8_lossy(&body).into_owned()
}

async fn connect(pid: u32) -> BufReader<UnixStream> {
    BufReader::new(
        UnixStream::connect(format!("\0stent-heap-{pid}"))
            .await
            .expect("the program's socket answers"),
    )
}

#[test]
fn python_measures_only_while_somebody_who_asked_for_it_is_connected() {
    let running = start("per_request");
    runtime().block_on(async {
        let mut first = connect(running.pid()).await;
        assert!(!ask(&mut first, "stats").await.contains("allocated"), "it measures unasked");
        assert!(ask(&mut first, "profile").await.starts_with("error nothing is measured"));
        assert_eq!(ask(&mut first, "start").await, "");
        assert!(ask(&mut first, "stats").await.contains("allocated"));
        let mut second = connect(running.pid()).await;
        assert!(ask(&mut second, "start").await.starts_with("error somebody else"));
        drop(first); // dies in the middle
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while ask(&mut second, "stats").await.contains("allocated") {
            assert!(std::time::Instant::now() < deadline, "it still measures");
            tokio::time::sleep(Duration::from_millis(20)).await; // between looks
        }
        assert!(ask(&mut second, "nonsense").await.starts_with("error the questions are"));
    });
}

#[test]
fn a_python_program_without_the_switch_serves_nothing_and_runs_its_own_sitecustomize() {
    let folder = std::env::temp_dir().join(format!("stent-python-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("sitecustomize.py"), "print('its own', flush=True)\n").unwrap();
    let path = std::env::join_paths([repository().join("heap/python"), folder.clone()]).unwrap();
    let output = Command::new("python3")
        .args(["-c", "import threading; print(threading.active_count())"])
        .env("PYTHONPATH", path)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("STENT_HEAP")
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "its own\n1\n");
}

#[test]
fn a_forked_python_process_serves_for_itself() {
    let running = {
        let mut command = Command::new("python3");
        command
            .args([
                "-c",
                "import os, time\nif os.fork():\n    os.wait()\nelse:\n    \
                    print('listening', os.getpid(), flush=True)\n    time.sleep(60)",
            ])
            .env("PYTHONPATH", repository().join("heap/python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("STENT_HEAP", "on");
        Running::without_load(&mut command)
    };
    let child: u32 = running.said().parse().unwrap();
    let pace = Pace { windows: 2, window: Duration::from_millis(200), ..quick() };
    let found = runtime().block_on(attribute(child, &HeapSocket::OfPid, &pace));
    let stopped = Command::new("kill").arg(child.to_string()).status().unwrap();
    assert!(stopped.success());
    assert_eq!((found.means, found.windows), (AttributionMeans::Tracemalloc, 2), "{found:#?}");
}
