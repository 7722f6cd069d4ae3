//! A canary password appears nowhere: no log line, dump, metric, process title, error or crash.

mod common;

use common::running::{SOON, Stent, component, ended, kill};
use common::{Written, http, spawn};
use secrecy::ExposeSecret as _;
use stent::config::Role;
use stent::config::flags::Flags;
use stent_testkit::{Postgres, Signal, proc, wait_for};

/// Letters and digits, so that it is the same in a URL.
const CANARY: &str = "kanarienvogel7531";

fn assert_silent(what: &str, text: &str) {
    assert!(!text.contains(CANARY), "the canary sings in {what}:\n{text}");
}

fn title(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

#[test]
fn nowhere_while_it_runs() {
    let postgres = Postgres::builder().auth("scram-sha-256").password(CANARY).start();
    let postgres = postgres.expect("a PostgreSQL");
    let mut stent = Stent::new(&postgres.url());
    stent.command.env("STENT_LOG_LEVEL", "trace").env("STENT_EMF", "on");
    stent.command.env("STENT_CLOUDWATCH_INTERVAL", "0.2");
    let mut process = stent.run("echo running; exec sleep 1000");
    process.wait_for_line("running", SOON).expect("running");
    let sampled = || {
        let page = http::get(&stent.admin, "/metrics")?;
        page.contains("stent_postgres_up 1").then_some(page)
    };
    let page = wait_for("the agent's login to PostgreSQL", SOON, sampled).expect("sampled");
    assert_silent("/metrics", &page);
    assert_silent("/snapshot", &http::get(&stent.admin, "/snapshot").expect("a snapshot"));
    let family = proc::descendants(process.pid());
    assert!(family.len() >= 3, "proxy, agent and command");
    for pid in family.iter().chain([&process.pid()]) {
        assert_silent("a process title", &title(*pid));
    }
    // A death, a new start and a refused login are logged too.
    kill(component(process.pid(), "proxy"), Signal::KILL);
    postgres.sql("alter role postgres password 'another'").expect("altered");
    process.wait_for_line("28P01", SOON).expect("the server refuses the old password");
    process.signal(Signal::TERM).expect("sent");
    assert_eq!(ended(&mut process), Some(143));
    assert_silent("the logs", &process.output());
}

#[test]
fn not_in_check_config() {
    let url = format!("postgres://ann:{CANARY}@h/db?sslpassword={CANARY}&application_name=x");
    let mut command = common::stent();
    command.env("DATABASE_URL", url).arg("check-config");
    let mut process = spawn(&mut command);
    assert_eq!(ended(&mut process), Some(0));
    assert!(process.stdout().contains("postgres://ann:********@h:5432/db"), "{}", process.stdout());
    assert_silent("check-config", &process.output());
}

#[test]
fn not_in_refusals() {
    let misplaced = format!("postgres://ann:{CANARY}@h/db");
    let malformed = format!("postgres://ann:{CANARY}/x@h/db");
    let file = format!("database_url = {misplaced}\n");
    let quoted = format!("listen_port = \"{misplaced}\"\nlog_level = \"{misplaced}\"\n");
    let flag = format!("--database-url={misplaced}");
    let glued = format!("--{misplaced}");
    for written in [
        Written { file: &file, ..Written::default() },
        Written { file: &quoted, ..Written::default() },
        Written { variables: &[("DATABASE_URL", &malformed)], ..Written::default() },
        Written { variables: &[("STENT_DATABASE_URI", &misplaced)], ..Written::default() },
        Written { variables: &[("STENT_CLOUDWATCH_ENDPOINT", &misplaced)], ..Written::default() },
        Written { variables: &[("STENT_TARGETS", &misplaced)], ..Written::default() },
        Written { flags: &[&flag], ..Written::default() },
        Written { flags: &[&misplaced], ..Written::default() },
        Written { flags: &["--auth-file", &misplaced], ..Written::default() },
        Written { flags: &["--unix-socket-dir", &misplaced], ..Written::default() },
        Written { flags: &[&glued], ..Written::default() },
        Written {
            flags: &["--targets", &misplaced, "--listen-addr", &misplaced],
            ..Written::default()
        },
    ] {
        let problems = written.load().expect_err("it is refused");
        assert_silent("a refusal", &format!("{problems}\n{problems:?}"));
    }
    let mut process = spawn(common::stent().args(["check-config", "--config", &misplaced]));
    assert_eq!(ended(&mut process), Some(1));
    assert_silent("a refusal", &process.output());
}

#[test]
fn not_in_debug_dumps() {
    let url = format!("postgres://ann:{CANARY}@h/db");
    let written = Written { variables: &[("DATABASE_URL", &url)], ..Written::default() };
    let loaded = written.load().expect("sound");
    assert!(loaded.child_variables().iter().any(|(_, text)| text.expose_secret() == url));
    assert_silent("a dump", &format!("{loaded:#?}"));
    let flags = Flags::parse([format!("--database-url={url}")]);
    assert_silent("a dump of flags", &format!("{flags:?}"));
    let agent = written.load_as(Role::Agent).expect("sound").agent;
    assert_silent("a dump of the agent's configuration", &format!("{agent:?}"));
}

/// Tells the process that [`not_in_a_crash`] starts from the one that started it.
const CRASH: &str = "CANARY_CRASH";

#[test]
fn not_in_a_crash() {
    if std::env::var_os(CRASH).is_some() {
        crash();
    }
    let mut command = std::process::Command::new(std::env::current_exe().expect("its own path"));
    command.args(["--exact", "not_in_a_crash", "--nocapture", "--test-threads=1"]);
    command.env(CRASH, "1").env("RUST_BACKTRACE", "1");
    let mut process = spawn(&mut command);
    assert_eq!(ended(&mut process), Some(101), "{}", process.output());
    let stderr = process.stderr();
    assert!(stderr.contains("bug: a message with ********, with ******** and with"), "{stderr}");
    assert_silent("a crash", &process.output());
}

/// Crashes as the program would, with the canary in the message.
fn crash() -> ! {
    let url = format!("postgres://ann:{CANARY}@h/db");
    let written = Written { variables: &[("DATABASE_URL", &url)], ..Written::default() };
    let loaded = written.load().expect("sound");
    stent::logging::start(loaded.logging, loaded.secrets());
    panic!("a message with {url}, with {CANARY} and with {loaded:?}");
}
