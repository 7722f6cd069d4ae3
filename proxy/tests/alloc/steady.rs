//! The transactions that are counted.
//!
//! Each kind is run by one client and by eight on a pool of two, so that most of them wait. A
//! window of transactions without one allocation shows that none of them allocates; what is done
//! by the clock (a tick, knowledge that has grown old) may fall into others, so several windows are
//! looked at, and each of them has a limit that does not depend on its length.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use stent_testkit::{Postgres, wait_for};
use tokio::sync::Notify;

use super::raw::{Raw, bind, execute, message, parse, query, sync};
use super::support::{PATIENCE, config};
use super::{count_this_thread, reset, tally};

/// Transactions of one client before anything is counted: buffers find their size.
const WARM_UP: usize = 150;
/// Transactions of all clients in the first window, and in those after it.
const WINDOWS: [usize; 4] = [100, 1_000, 100, 1_000];
/// The most allocations of a window, for what is done by the clock.
const BY_THE_CLOCK_MAX: u64 = 150;

/// A proxy on a thread that is counted, with a pool of two.
struct Counted {
    port: u16,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Counted {
    fn start(pg: &Postgres) -> Self {
        let mut config = config(pg);
        config.admin = None;
        config.default_pool_size = NonZeroU32::new(2).unwrap();
        let port = config.listen_port;
        let (stop, ended) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (notified, ending) = (Arc::clone(&stop), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            count_this_thread();
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build_local(Default::default()).unwrap();
            let stopped = async move { notified.notified().await };
            runtime.block_on(stent_proxy::run(config, stopped)).unwrap();
            ending.store(true, Ordering::SeqCst);
        });
        wait_for("the proxy to listen", PATIENCE, || {
            assert!(!ended.load(Ordering::SeqCst), "the proxy has ended");
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        })
        .unwrap();
        Self { port, stop, thread: Some(thread) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.stop.notify_one();
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

/// What a client says again and again, each part answered before the next.
#[derive(Clone, Debug)]
struct Script {
    /// Once, in front.
    before: Vec<Vec<u8>>,
    /// A transaction.
    parts: Vec<Vec<u8>>,
}

impl Script {
    fn new(parts: impl Into<Vec<Vec<u8>>>) -> Self {
        Self { before: Vec::new(), parts: parts.into() }
    }

    fn behind(self, before: impl Into<Vec<Vec<u8>>>) -> Self {
        Self { before: before.into(), ..self }
    }

    fn run(&self, clients: &mut [Raw], number: usize) {
        std::thread::scope(|scope| {
            let each = number / clients.len();
            for client in clients {
                scope.spawn(move || {
                    for part in self.parts.iter().cycle().take(each * self.parts.len()) {
                        say(client, part);
                    }
                });
            }
        });
    }
}

fn say(client: &mut Raw, part: &[u8]) {
    client.send(part);
    loop {
        let (tag, body) = client.next().expect("the proxy answers");
        assert_ne!(tag, b'E', "{}", String::from_utf8_lossy(&body));
        if tag == b'Z' {
            return;
        }
    }
}

/// Runs a script by so many clients and fails where its transactions allocate.
fn assert_allocates_nothing(script: &Script, clients: usize) {
    let pg = Postgres::start().unwrap();
    let proxy = Counted::start(&pg);
    let mut clients: Vec<Raw> = (0..clients).map(|_| Raw::login_at(proxy.port)).collect();
    for client in &mut clients {
        script.before.iter().for_each(|part| say(client, part));
    }
    let warm_up = WARM_UP * clients.len();
    script.run(&mut clients, warm_up);
    // On a slow machine the pool's second server may still be on its way.
    wait_for("the pool to be complete", PATIENCE, || {
        reset();
        script.run(&mut clients, WARM_UP);
        (tally().0 == 0).then_some(())
    })
    .unwrap();
    let counted = WINDOWS.map(|number| {
        reset();
        script.run(&mut clients, number);
        (number, tally())
    });
    let numbers: Vec<_> = counted.iter().map(|(number, (count, _))| (number, count)).collect();
    let long = counted.iter().filter(|(number, _)| *number == WINDOWS[1]);
    let (_, (least, first)) = long.min_by_key(|(_, (count, _))| *count).unwrap();
    assert_eq!(*least, 0, "(transactions, allocations): {numbers:?}; the first of them:\n{first}");
    for (number, (count, first)) in &counted {
        assert!(*count <= BY_THE_CLOCK_MAX, "{count} in {number} transactions, first:\n{first}");
    }
}

fn assert_allocates_nothing_alone_and_in_a_crowd(script: &Script) {
    for clients in [1, 8] {
        assert_allocates_nothing(script, clients);
    }
}

/// A Describe of a portal or a statement.
fn describe(what: &[u8]) -> Vec<u8> {
    message(b'D', what)
}

#[test]
fn a_simple_query_allocates_nothing() {
    assert_allocates_nothing_alone_and_in_a_crowd(&Script::new([query("select 1")]));
}

#[test]
fn a_transaction_block_of_simple_queries_allocates_nothing() {
    let parts = [query("begin"), query("select count(*) from pg_class"), query("commit")];
    assert_allocates_nothing_alone_and_in_a_crowd(&Script::new(parts));
}

#[test]
fn an_unnamed_statement_allocates_nothing() {
    let text = "select relname from pg_class where oid = 1259";
    let part = [parse("", text), bind(""), describe(b"P\0"), execute(), sync()].concat();
    assert_allocates_nothing_alone_and_in_a_crowd(&Script::new([part]));
}

#[test]
fn a_prepared_statement_allocates_nothing() {
    let before = [parse("by_oid", "select relname from pg_class where oid = 1259"), sync()];
    let part = [bind("by_oid"), execute(), sync()].concat();
    let script = Script::new([part]).behind([before.concat()]);
    assert_allocates_nothing_alone_and_in_a_crowd(&script);
}

#[test]
fn a_prepared_statement_in_a_block_with_descriptions_allocates_nothing() {
    let before = [parse("by_oid", "select relname from pg_class where oid = 1259"), sync()];
    let bound = [bind("by_oid"), describe(b"P\0"), execute(), sync()].concat();
    let described = [describe(b"Sby_oid\0"), sync()].concat();
    let parts = [query("begin"), described, bound, query("commit")];
    let script = Script::new(parts).behind([before.concat()]);
    assert_allocates_nothing_alone_and_in_a_crowd(&script);
}

#[test]
fn a_result_of_a_hundred_kilobytes_allocates_nothing() {
    let one = query("select repeat('x', 100000)");
    let many = query("select n, repeat('y', n % 50) from generate_series(1, 3000) n");
    assert_allocates_nothing_alone_and_in_a_crowd(&Script::new([one, many]));
}
