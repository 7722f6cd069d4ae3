//! The real binary in front of a real PostgreSQL.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::running::{SOON, Stent, component, ended, find, kill, terminated};
use common::{http, spawn};
use stent_testkit::{Postgres, Process, Signal, Stop, TempDir, wait_for, wait_until_async};
use tokio_postgres::{Client, NoTls};

/// Connects, and drives the connection in the background.
async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn number(client: &Client, sql: &str) -> i32 {
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

fn wait_until_ready(stent: &Stent) {
    wait_for("readiness", SOON, || http::get(&stent.admin, "/readyz")).expect("ready");
}

/// `stent` before a PostgreSQL that trusts everyone.
fn trusting() -> (Postgres, Stent) {
    let postgres = Postgres::start().expect("a PostgreSQL");
    let mut stent = Stent::new(&postgres.url());
    stent.command.env("STENT_AUTH_TYPE", "trust");
    (postgres, stent)
}

fn proxy_url(stent: &Stent, credentials: &str) -> String {
    format!("postgres://{credentials}@127.0.0.1:{}/postgres", stent.listen_port)
}

#[tokio::test]
async fn a_database_url_and_trust_simply_work() {
    let (_postgres, mut stent) = trusting();
    let mut proxy = stent.start(&["proxy"]);
    wait_until_ready(&stent);
    let client = connect(&proxy_url(&stent, "postgres")).await.expect("a client");
    assert_eq!(number(&client, "select 42").await, 42);
    drop(client);
    assert_eq!(terminated(&mut proxy), Some(0), "{}", proxy.output());
}

#[tokio::test]
async fn clients_log_in_with_the_user_and_password_of_the_url() {
    let postgres = Postgres::builder().auth("scram-sha-256").password("rightword").start();
    let postgres = postgres.expect("a PostgreSQL");
    let mut stent = Stent::new(&postgres.url());
    let _proxy = stent.start(&["proxy"]);
    wait_until_ready(&stent);
    let client = connect(&proxy_url(&stent, "postgres:rightword")).await.expect("a client");
    assert_eq!(number(&client, "select 43").await, 43);
    let refused = connect(&proxy_url(&stent, "postgres:wrongword")).await;
    let error = refused.expect_err("a wrong password");
    assert_eq!(error.code().map(|code| code.code()), Some("28P01"), "{error:?}");
}

#[tokio::test]
async fn clients_log_in_as_the_auth_file_says() {
    let postgres = Postgres::builder().auth("scram-sha-256").password("rightword").start();
    let postgres = postgres.expect("a PostgreSQL");
    postgres.sql("create role ann login password 'annsword'").expect("a role");
    let folder = TempDir::new("auth").expect("a folder");
    let file = folder.path().join("userlist.txt");
    std::fs::write(&file, "\"ann\" \"annsword\"\n\"postgres\" \"rightword\"\n").expect("written");
    let mut stent = Stent::new(&postgres.url());
    stent.command.env("STENT_AUTH_FILE", &file);
    let _proxy = stent.start(&["proxy"]);
    wait_until_ready(&stent);
    let client = connect(&proxy_url(&stent, "ann:annsword")).await.expect("a client");
    let user: String =
        client.query_one("select current_user::text", &[]).await.expect("a row").get(0);
    assert_eq!(user, "ann");
}

#[tokio::test]
async fn the_url_that_a_command_gets_leads_through_the_proxy() {
    let postgres = Postgres::builder().auth("scram-sha-256").password("rightword").start();
    let postgres = postgres.expect("a PostgreSQL");
    let mut stent = Stent::new(&postgres.url());
    let mut process = stent.run("echo \"url $DATABASE_URL\"; exec sleep 1000");
    let url = process
        .wait_for_match("the URL", SOON, |line| line.strip_prefix("url ").map(str::to_owned))
        .expect("a URL");
    assert!(url.contains(&format!(":{}/", stent.listen_port)), "{url}");
    let client = connect(&url).await.expect("the proxy takes its credentials");
    assert_eq!(number(&client, "select 44").await, 44);
    let snapshot = http::get(&stent.admin, "/snapshot").expect("a snapshot");
    let snapshot: stent_contract::Snapshot = serde_json::from_str(&snapshot).expect("its form");
    assert_eq!(snapshot.proxy.expect("the proxy").pools[0].user, "postgres");
}

#[tokio::test]
async fn the_proxy_serves_until_the_command_has_gone() {
    let (_postgres, mut stent) = trusting();
    // It takes SIGTERM as a reason to finish, which here lasts until it is told to.
    let script = "trap 'echo finishing' TERM; echo armed
        while ! read line; do :; done; echo told; exit 6";
    let mut command = std::mem::replace(&mut stent.command, std::process::Command::new("true"));
    command.args(["run", "--", "sh", "-c", script]);
    let mut process = Process::spawn_with_stdin(&mut command).expect("starts");
    process.wait_for_line("armed", SOON).expect("armed");
    process.signal(Signal::TERM).expect("sent");
    process.wait_for_line("finishing", SOON).expect("forwarded");
    let client = connect(&proxy_url(&stent, "postgres")).await.expect("a new client");
    assert_eq!(number(&client, "select 45").await, 45);
    drop(client);
    use std::io::Write as _;
    process.stdin().expect("a pipe").write_all(b"finish\n").expect("told");
    assert_eq!(ended(&mut process), Some(6), "{}", process.output());
    assert!(connect(&proxy_url(&stent, "postgres")).await.is_err(), "the proxy has gone");
}

#[tokio::test]
async fn killing_the_agent_under_load_fails_no_query() {
    let (_postgres, mut stent) = trusting();
    let up = stent.up();
    wait_until_ready(&stent);
    let stop = Arc::new(AtomicBool::new(false));
    let mut loads = Vec::new();
    for _ in 0..4 {
        let client = connect(&proxy_url(&stent, "postgres")).await.expect("a client");
        let stop = Arc::clone(&stop);
        loads.push(tokio::spawn(async move {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(number(&client, "select 1").await, 1);
                count += 1;
            }
            count
        }));
    }
    for _ in 0..3 {
        let agent = component(up.pid(), "agent");
        kill(agent, Signal::KILL);
        let again = async || find(up.pid(), "agent").is_some_and(|new| new != agent);
        wait_until_async("a new agent", SOON, again).await.expect("it is started again");
    }
    let back = async || stent.up_lines("1", "1").is_some();
    wait_until_async("both answer", SOON, back).await.expect("the agent is back");
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        assert!(load.await.expect("no query failed") > 0);
    }
}

#[tokio::test]
async fn readiness_follows_the_database() {
    let (mut postgres, mut stent) = trusting();
    stent.command.env("STENT_SERVER_CHECK_DELAY", "0");
    let _up = stent.up();
    let check = || {
        let mut command = common::stent();
        command.env("STENT_ADMIN_LISTEN", &stent.admin).arg("healthcheck");
        spawn(&mut command).wait(SOON).ok().and_then(|status| status.code())
    };
    wait_for("readiness", SOON, || (check() == Some(0)).then_some(())).expect("ready");
    postgres.stop(Stop::Immediate).expect("stopped");
    wait_for("its loss", SOON, || (check() == Some(1)).then_some(())).expect("not ready");
    postgres.resume().expect("started");
    wait_for("readiness", SOON, || (check() == Some(0)).then_some(())).expect("ready again");
}

#[test]
fn run_waits_for_the_database_and_goes_on_without_it_in_the_end() {
    let (mut postgres, mut stent) = trusting();
    postgres.stop(Stop::Immediate).expect("stopped");
    stent.command.env("STENT_READY_TIMEOUT", "0.5");
    let mut process = stent.run("echo started");
    assert_eq!(ended(&mut process), Some(0));
    let output = process.stderr();
    assert!(output.contains("the proxy does not reach its database yet"), "{output}");
    assert_eq!(process.stdout(), "started\n");
}

#[test]
fn the_agent_watches_the_command_by_its_name() {
    let (_postgres, mut stent) = trusting();
    let _process = stent.start(&["run", "--", "sleep", "1000"]);
    let seen = || {
        let page = http::get(&stent.admin, "/metrics")?;
        page.contains("process_memory_usage_bytes{target=\"sleep\"").then_some(())
    };
    wait_for("its memory", SOON, seen).expect("a reading");
}
