//! `stent run` restarts a command that leaks before it meets its memory limit, and tears no transaction.

mod common;

use common::http;
use common::running::{SOON, Stent, terminated};
use stent_testkit::{Postgres, Process, wait_for};

/// A program that leaks, and writes two rows in each of its transactions, with a pause between them. It has no
/// handler for SIGTERM: it ends at once, wherever it is. What it says is `life PID` and, when it could not go on,
/// `lost REASON`.
const LEAKER: &str = r#"
import os, socket, struct, threading, time

def say(line):
    os.write(1, (line + '\n').encode())  # in one piece, whatever the other threads say

def send(sock, kind, body):
    sock.sendall(kind + struct.pack('!i', len(body) + 4) + body)

def until_ready(sock, seen=b''):
    while True:
        while len(seen) < 5 or len(seen) < 1 + struct.unpack('!i', seen[1:5])[0]:
            more = sock.recv(65536)
            if not more:
                raise EOFError('the proxy has gone')
            seen += more
        kind, length = seen[:1], 1 + struct.unpack('!i', seen[1:5])[0]
        body, seen = seen[5:length], seen[length:]
        if kind == b'E':
            raise RuntimeError(body)
        if kind == b'Z':
            return

def ask(sock, sql):
    send(sock, b'Q', sql.encode() + b'\0')
    until_ready(sock)

def connect():
    sock = socket.create_connection((os.environ['PGHOST'], int(os.environ['PGPORT'])))
    body = struct.pack('!i', 196608) + b'user\0postgres\0database\0postgres\0\0'
    sock.sendall(struct.pack('!i', len(body) + 4) + body)
    until_ready(sock)
    return sock

def work(worker):
    try:
        sock, number = connect(), 0
        while True:
            number += 1
            ask(sock, 'begin')
            say(f'begun {os.getpid()} {worker} {number}')
            ask(sock, f"insert into seen values ('{os.getpid()}-{worker}-{number}')")
            time.sleep(0.02)
            ask(sock, f"insert into seen values ('{os.getpid()}-{worker}-{number}')")
            ask(sock, 'commit')
    except Exception as error:
        say(f'lost {error}')

say(f'life {os.getpid()}')
for worker in range(4):
    threading.Thread(target=work, args=(worker,), daemon=True).start()
kept = []
while True:
    kept.append(bytearray(100_000))
    time.sleep(0.02)
"#;

/// The process ids of the lives that have begun.
fn lives(process: &Process) -> Vec<u32> {
    let stdout = process.stdout();
    stdout.lines().filter_map(|line| line.strip_prefix("life ")?.parse().ok()).collect()
}

fn target(stent: &Stent) -> Option<serde_json::Value> {
    let snapshot: serde_json::Value =
        serde_json::from_str(&http::get(&stent.admin, "/snapshot")?).ok()?;
    Some(snapshot["agent"]["targets"][0].clone())
}

#[test]
fn a_leaking_command_is_restarted_once_before_its_limit_and_no_transaction_is_torn() {
    let postgres = Postgres::start().expect("a PostgreSQL");
    postgres.sql("create table seen (what text)").expect("a table");
    let mut stent = Stent::new(&postgres.url());
    for (key, value) in [
        ("AUTH_TYPE", "trust"),
        ("REJUVENATE", "on"),
        ("REJUVENATE_MARGIN", "100000"),
        // Long enough for one restart only.
        ("REJUVENATE_INTERVAL", "15"),
        ("SAMPLE_INTERVAL", "0.1"),
        ("MEMORY_LIMIT", "4GB"),
        ("POSTGRES_SAMPLING", "off"),
    ] {
        stent.command.env(format!("STENT_{key}"), value);
    }
    let mut process = stent.start(&["run", "--", "python3", "-c", LEAKER]);
    let patience = 8 * SOON;
    let restarted = || (lives(&process).len() > 1).then_some(());
    let waited = wait_for("another life of the command", patience, restarted);
    waited.unwrap_or_else(|error| panic!("{error}\n{:#?}\n{}", target(&stent), process.stderr()));
    let of_lives = lives(&process);
    // The agent follows, and says so.
    let follows = || {
        let target = target(&stent)?;
        let pid = target["reading"]["pid"].as_u64()?;
        (pid == u64::from(of_lives[1]) && target["rejuvenations"] == 1).then_some(())
    };
    wait_for("the agent to follow", SOON, follows).expect("it follows");
    let page = http::get(&stent.admin, "/metrics").expect("a page");
    assert!(page.contains("stent_rejuvenations_total{target=\"python3\"} 1\n"), "{page}");
    // It works on, and is well.
    let again = format!("begun {} ", of_lives[1]);
    let works = || process.stdout().contains(&again).then_some(());
    wait_for("transactions of the new life", SOON, works).expect("it works");
    assert!(http::get(&stent.admin, "/readyz").is_some());
    terminated(&mut process);
    let stderr = process.stderr();
    assert!(stderr.contains("its memory limit is near: it is restarted"), "{stderr}");
    assert!(stderr.contains("\"low_s\":"), "the forecast is logged: {stderr}");
    // What the first life has begun it has finished: two rows for each.
    let first = format!("begun {} ", of_lives[0]);
    let begun = process.stdout().lines().filter(|line| line.starts_with(&first)).count();
    let sql = format!("select count(*) from seen where what like '{}-%'", of_lives[0]);
    let rows: usize = postgres.value(&sql).expect("a count").parse().expect("a number");
    assert!(begun > 10, "{begun}");
    assert_eq!(rows, 2 * begun, "each transaction that was begun was finished");
    assert!(!process.stdout().contains("lost"), "{}", process.stdout());
}
