//! `stent run` restarts a command that leaks before it meets its memory limit, and tears no transaction.

mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::http;
use common::running::{SOON, Stent, terminated};
use stent_testkit::{Postgres, Process, wait_for};

/// What the programs below have in common: PostgreSQL's protocol, and `life PID` as the first thing they say.
const COMMON: &str = r#"
import http.server, os, signal, socket, struct, threading, time

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

def leak():
    kept = []
    while True:
        kept.append(bytearray(100_000))
        time.sleep(0.02)

say(f'life {os.getpid()}')
"#;

/// A program that leaks, and writes two rows in each of its transactions, with a pause between them. It has no
/// handler for SIGTERM: it ends at once, wherever it is. When it could not go on it says `lost REASON`.
const LEAKER: &str = r#"
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

for worker in range(4):
    threading.Thread(target=work, args=(worker,), daemon=True).start()
leak()
"#;

/// A leaking API that finishes its requests on SIGTERM. Each of them is a transaction of two rows with a pause
/// between them, but for `/health`.
const API: &str = r#"
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != '/health':
            sock = connect()
            ask(sock, 'begin')
            ask(sock, f"insert into seen values ('{self.path}')")
            time.sleep(0.05)
            ask(sock, f"insert into seen values ('{self.path}')")
            ask(sock, 'commit')
            sock.close()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'done')

    def log_message(self, *_):
        pass

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # its end waits for its requests

server = Server(('127.0.0.1', int(os.environ['API_PORT'])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
threading.Thread(target=leak, daemon=True).start()
server.serve_forever(poll_interval=0.05)
server.server_close()
say(f'finished {os.getpid()}')
os._exit(0)
"#;

/// Restarts of what leaks at once, and no second one while a test runs.
fn renewing(stent: &mut Stent) {
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
}

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
    renewing(&mut stent);
    let program = format!("{COMMON}{LEAKER}");
    let mut process = stent.start(&["run", "--", "python3", "-c", &program]);
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

/// Whoever routes by health: asks for a while, and counts what came of it.
struct Router {
    api: String,
    is_open: AtomicBool,
    is_over: AtomicBool,
    sent: AtomicU64,
    lost: Mutex<Vec<String>>,
}

impl Router {
    /// Looks whether requests may be sent, until it is over.
    fn watch(&self, admin: &str) {
        while !self.is_over.load(Ordering::SeqCst) {
            let well =
                http::get(admin, "/readyz").is_some() && http::get(&self.api, "/health").is_some();
            self.is_open.store(well, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends one request after the other while they may be sent, until it is over.
    fn send(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            if !self.is_open.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            let number = self.sent.fetch_add(1, Ordering::SeqCst);
            let answer = http::ask(&self.api, "GET", &format!("/{number}"));
            if answer != Some((200, "done".to_owned())) {
                self.lost.lock().expect("not poisoned").push(format!("/{number}: {answer:?}"));
            }
        }
    }
}

#[test]
fn an_api_that_finishes_its_requests_is_restarted_without_losing_one() {
    let postgres = Postgres::start().expect("a PostgreSQL");
    postgres.sql("create table seen (what text)").expect("a table");
    let mut stent = Stent::new(&postgres.url());
    renewing(&mut stent);
    let port = common::port();
    // Twenty looks of the router long.
    stent.command.env("API_PORT", &port).env("STENT_SIBLING_DRAIN", "1");
    let program = format!("{COMMON}{API}");
    let mut process = stent.start(&["run", "--", "python3", "-c", &program]);
    let router = Router {
        api: format!("127.0.0.1:{port}"),
        is_open: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
        sent: AtomicU64::new(0),
        lost: Mutex::default(),
    };
    let of_lives = std::thread::scope(|scope| {
        scope.spawn(|| router.watch(&stent.admin));
        for _ in 0..4 {
            scope.spawn(|| router.send());
        }
        let restarted = || (lives(&process).len() > 1).then_some(());
        let waited = wait_for("another life of the command", 8 * SOON, restarted);
        let before = router.sent.load(Ordering::SeqCst);
        let works = || (router.sent.load(Ordering::SeqCst) > before + 20).then_some(());
        let works = waited.and_then(|()| wait_for("requests to the new life", SOON, works));
        router.is_over.store(true, Ordering::SeqCst);
        works.unwrap_or_else(|error| panic!("{error}\n{}", process.stderr()));
        lives(&process)
    });
    let finished = format!("finished {}", of_lives[0]);
    assert!(process.stdout().contains(&finished), "it was asked by SIGTERM: {}", process.stdout());
    terminated(&mut process);
    let lost = router.lost.into_inner().expect("not poisoned");
    assert!(lost.is_empty(), "{lost:#?}\n{}", process.stderr());
    let rows: u64 = postgres.value("select count(*) from seen").expect("a count").parse().unwrap();
    assert_eq!(rows, 2 * router.sent.into_inner(), "each request was a whole transaction");
}
