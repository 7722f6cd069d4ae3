//! Budgets, in bytes of heap: one more client, waiter, prepared statement or server costs no more.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::process::Command;
use std::sync::Arc;

use rustls::{ClientConnection, StreamOwned};
use stent_proxy::config::TlsMode;
use stent_testkit::{Postgres, wait_until};

use super::authority::Authority;
use super::raw::{Raw, parse, query, startup, sync};
use super::support::{PATIENCE, Proxy};

/// Where jemalloc reads its settings.
const SETTINGS: &str = "_RJEM_MALLOC_CONF";

/// Runs the present test in a process of its own in which jemalloc keeps nothing back for threads, so
/// that what is freed counts as freed at once; there, says no.
fn runs_elsewhere() -> bool {
    if std::env::var_os(SETTINGS).is_some() {
        return false;
    }
    let thread = std::thread::current();
    let test = thread.name().expect("a test's thread has its name");
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(SETTINGS, "tcache:false")
        .output()
        .unwrap();
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    eprintln!("{said}");
    assert!(output.status.success() && said.contains("1 passed"), "{test} failed");
    true
}

/// How many clients are looked at.
const CROWD: usize = 1_000;
/// The heap of an idle client.
const IDLE_CLIENT_MAX: i64 = 832;
/// How far the rows may be from the allocator's word, in hundredths of it.
const ERROR_MAX: i64 = 25;

/// `SHOW MEM` at one moment: bytes and numbers by row.
struct Mem(BTreeMap<String, (i64, i64)>);

impl Mem {
    fn of(console: &mut Raw) -> Self {
        console.send(&query("SHOW MEM"));
        let rows = console.until_ready();
        let rows = rows.iter().filter(|(tag, _)| *tag == b'D').map(|(_, body)| {
            let values = values(body);
            let number = |at: usize| values[at].parse().unwrap_or(0);
            (values[0].clone(), (number(4), number(2)))
        });
        Self(rows.collect())
    }

    fn bytes(&self, row: &str) -> i64 {
        self.0[row].0
    }

    fn number(&self, row: &str) -> i64 {
        self.0[row].1
    }

    fn heap(&self) -> i64 {
        self.bytes("heap_allocated")
    }

    /// What all clients have together, and no client costs more of.
    fn shared(&self) -> i64 {
        self.bytes("spare_buffers") + self.bytes("scratch_buffers")
    }

    /// What one of so many that came between two moments costs, by the allocator's word and by the
    /// rows'.
    fn each(&self, before: &Self, number: i64) -> (i64, i64) {
        let shared = self.shared() - before.shared();
        let heap = (self.heap() - before.heap() - shared) / number;
        (heap, (self.explained() - before.explained() - shared) / number)
    }

    /// What the rows add up to.
    fn explained(&self) -> i64 {
        let ours = self.0.iter().filter(|(row, _)| !row.starts_with("heap_") && *row != "other");
        ours.map(|(_, (bytes, _))| bytes).sum()
    }
}

/// The values of a DataRow as text.
fn values(mut body: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    body = &body[2..];
    while let Some((len, rest)) = body.split_first_chunk::<4>() {
        let len = usize::try_from(i32::from_be_bytes(*len)).unwrap_or(0);
        values.push(String::from_utf8_lossy(&rest[..len]).into_owned());
        body = &rest[len..];
    }
    values
}

/// A proxy with a console, warmed up.
struct Rig {
    _pg: Postgres,
    proxy: Proxy,
    console: Raw,
}

impl Rig {
    fn start(servers: u32, change: impl FnOnce(&mut stent_proxy::Config)) -> Self {
        let pg = Postgres::start().unwrap();
        let proxy = Proxy::start(&pg, |config| {
            config.console_users = vec!["ops".to_owned()];
            config.default_pool_size = NonZeroU32::new(servers).unwrap();
            change(config);
        });
        let mut console = Raw::connect(&proxy);
        console.send(&startup(&[("user", "ops"), ("database", "stent")]));
        console.until_ready();
        let mut rig = Self { _pg: pg, proxy, console };
        for _ in 0..2 {
            rig.crowd(20).iter_mut().for_each(|client| say(client, &query(BIG)));
            rig.settle(1);
        }
        rig
    }

    /// So many clients, logged in.
    fn crowd(&self, number: usize) -> Vec<TcpStream> {
        let mut clients = Vec::with_capacity(number);
        clients.extend((0..number).map(|_| login(&self.proxy)));
        clients
    }

    /// Waits until there are so many clients, the console among them, and looks.
    fn settle(&mut self, clients: i64) -> Mem {
        let console = &mut self.console;
        let what = format!("{clients} clients");
        wait_until(&what, PATIENCE, || Mem::of(console).number("clients") == clients).unwrap();
        Mem::of(console)
    }
}

const BIG: &str = "select repeat('x', 100000)";

fn login(proxy: &Proxy) -> TcpStream {
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let names = [("user", "postgres"), ("database", "postgres"), ("application_name", "budget")];
    say(&mut client, &startup(&names));
    client
}

/// Sends and reads up to ReadyForQuery outside a transaction or in one.
fn say(client: &mut (impl Read + Write), bytes: &[u8]) {
    client.write_all(bytes).unwrap();
    let (mut tail, mut chunk) = ([0; 6], [0; 8192]);
    while !matches!(tail, [b'Z', 0, 0, 0, 5, b'I' | b'T']) {
        let n = client.read(&mut chunk).unwrap();
        assert!(n > 0, "the proxy hung up");
        let all: Vec<u8> = tail.iter().chain(&chunk[..n]).copied().collect();
        tail.copy_from_slice(&all[all.len() - 6..]);
    }
}

#[test]
fn an_idle_client_costs_less_than_a_kilobyte_before_and_after_a_query_and_show_mem_says_so() {
    if runs_elsewhere() {
        return;
    }
    let mut rig = Rig::start(4, |_| {});
    let before = rig.settle(1);
    let mut clients = rig.crowd(CROWD);
    let number = CROWD as i64 + 1;
    for what in ["at their login", "after a query", "after a hundred kilobytes"] {
        let after = rig.settle(number);
        let (each, said) = after.each(&before, CROWD as i64);
        eprintln!("{what}: {each} bytes a client, SHOW MEM says {said}");
        assert!(each <= IDLE_CLIENT_MAX, "{what}: {each} bytes a client");
        assert!((each - said).abs() * 100 <= each * ERROR_MAX, "{what}: {each}, said {said}");
        let sql = if what == "at their login" { "select 1" } else { BIG };
        clients.iter_mut().for_each(|client| say(client, &query(sql)));
    }
}

#[test]
fn a_hundred_prepared_statements_cost_a_client_their_names() {
    const CLIENTS: usize = 50;
    if runs_elsewhere() {
        return;
    }
    let mut rig = Rig::start(2, |_| {});
    let statements: Vec<u8> = (0..100)
        .flat_map(|n| parse(&format!("statement_{n}"), &format!("select {n} from pg_class")))
        .chain(sync())
        .collect();
    let mut clients = rig.crowd(CLIENTS);
    say(&mut clients[0], &statements);
    let before = rig.settle(CLIENTS as i64 + 1);
    clients[1..].iter_mut().for_each(|client| say(client, &statements));
    let after = rig.settle(CLIENTS as i64 + 1);
    let others = CLIENTS as i64 - 1;
    let (each, said) = after.each(&before, others);
    eprintln!("{each} bytes a client, SHOW MEM says {said}");
    assert_eq!(after.number("client_statements"), 100 * CLIENTS as i64);
    assert!(each <= 8 * 1024, "{each} bytes a client");
    assert!((each - said).abs() * 100 <= each * ERROR_MAX, "{each}, said {said}");
}

#[test]
fn a_server_connection_costs_less_than_two_kilobytes() {
    const SERVERS: usize = 40;
    if runs_elsewhere() {
        return;
    }
    let mut rig = Rig::start(SERVERS as u32, |_| {});
    let mut clients = rig.crowd(SERVERS);
    let before = rig.settle(SERVERS as i64 + 1);
    let had = before.number("servers");
    clients.iter_mut().for_each(|client| say(client, &query("begin")));
    clients.iter_mut().for_each(|client| say(client, &query("commit")));
    let after = rig.settle(SERVERS as i64 + 1);
    let new = after.number("servers") - had;
    let (each, said) = after.each(&before, new);
    eprintln!("{new} servers, {each} bytes each, SHOW MEM says {said}");
    assert!(new >= SERVERS as i64 - 4, "{new} servers were opened");
    assert!(each <= 1_792, "{each} bytes a server");
    assert!((each - said).abs() * 100 <= each * ERROR_MAX, "{each}, said {said}");
}

#[test]
fn a_waiter_costs_its_place_and_its_request() {
    const WAITERS: usize = 500;
    if runs_elsewhere() {
        return;
    }
    let mut rig = Rig::start(1, |_| {});
    let mut clients = rig.crowd(WAITERS + 1);
    say(&mut clients[0], &query("begin"));
    let before = rig.settle(WAITERS as i64 + 2);
    clients[1..].iter_mut().for_each(|client| client.write_all(&query("select 1")).unwrap());
    let console = &mut rig.console;
    let all_wait = || Mem::of(console).number("waiters") == WAITERS as i64;
    wait_until("all of them wait", PATIENCE, all_wait).unwrap();
    let after = Mem::of(&mut rig.console);
    let each = (after.heap() - before.heap()) / WAITERS as i64;
    let said = (after.bytes("waiters") - before.bytes("waiters")) / WAITERS as i64;
    eprintln!("{each} bytes a waiter, SHOW MEM says {said}");
    assert!(each <= 224, "{each} bytes a waiter");
    assert!(said > 0 && said <= each, "its place is a part of it: {said} of {each}");
}

#[test]
fn a_client_with_tls_costs_seven_and_a_half_kilobytes() {
    const CLIENTS: usize = 100;
    if runs_elsewhere() {
        return;
    }
    let authority = Authority::new();
    let mut rig = Rig::start(2, |config| config.client_tls = authority.for_clients(TlsMode::Allow));
    let port = rig.proxy.port;
    let encrypted = || {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
        let mut answer = [0];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"S");
        let config = Arc::new(authority.client(&[]));
        let tls = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let mut client = StreamOwned::new(tls, socket);
        let names = [("user", "postgres"), ("database", "postgres")];
        say(&mut client, &startup(&names));
        say(&mut client, &query(BIG));
        // The client's own side of TLS is not to be measured: its socket stays.
        client.sock.try_clone().unwrap()
    };
    let mut clients = Vec::with_capacity(CLIENTS + 1);
    clients.push(encrypted());
    let before = rig.settle(2);
    clients.extend((0..CLIENTS).map(|_| encrypted()));
    let after = rig.settle(CLIENTS as i64 + 2);
    let (each, said) = after.each(&before, CLIENTS as i64);
    eprintln!("{each} bytes a client, SHOW MEM says {said}");
    assert!(each <= 7_680, "{each} bytes a client");
    assert!((each - said).abs() * 100 <= each * ERROR_MAX, "{each}, said {said}");
}
