//! Large results and large COPYs whose other side stands still: back-pressure, and no memory.
//! Checklist 63.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stent_proxy::config::PoolMode;
use stent_testkit::{Postgres, Signal, wait_until};

use super::raw::{Raw, message, query};
use super::support::{PATIENCE, Proxy, resident, signal};

/// What the proxy may take for a peer that stands still, in bytes.
const GROWTH_MAX: u64 = 1 << 20;

#[test]
fn a_client_that_stops_reading_a_gigabyte_costs_no_memory_and_loses_nothing() {
    const ROWS: u32 = 100_000;
    let pg = Postgres::start().unwrap();
    for mode in [PoolMode::Session, PoolMode::Transaction] {
        let proxy = Proxy::start(&pg, |config| config.pool_mode = mode);
        let mut client = Raw::login(&proxy);
        // What is touched once is not counted.
        client.send(&query("select repeat('x', 10000) from generate_series(1, 100)"));
        client.until_ready();
        let before = resident();
        let rows = format!("select repeat('x', 10000) from generate_series(1, {ROWS})");
        client.send(&query(&rows));
        let stalled = "select count(*) from pg_stat_activity where wait_event = 'ClientWrite'";
        wait_until("the server to be held up", PATIENCE, || pg.value(stalled).unwrap() == "1")
            .unwrap();
        let grown = resident().saturating_sub(before);
        assert!(grown < GROWTH_MAX, "{grown} bytes for a client that does not read, {mode:?}");
        let mut rows = 0;
        while let Some((tag, _)) = client.next() {
            rows += u32::from(tag == b'D');
            if tag == b'Z' {
                break;
            }
        }
        assert_eq!(rows, ROWS);
    }
}

#[test]
fn a_server_that_stops_reading_costs_no_memory_and_gets_everything() {
    const ROWS: usize = 20_000;
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    pg.sql("create unlogged table t (a text)").unwrap();
    let mut client = Raw::login(&proxy);
    client.send(&query("copy t from stdin"));
    while client.next().expect("the COPY begins").0 != b'G' {}
    let row = message(b'd', &[&[b'x'; 10_000][..], b"\n"].concat());
    client.send(&row.repeat(10));
    let backend = pg.backends().unwrap()[0];
    signal(backend, Signal::STOP);
    let before = resident();
    let written = Arc::new(AtomicUsize::new(0));
    let writer = {
        let (mut stream, row) = (client.stream.try_clone().unwrap(), row.clone());
        let written = Arc::clone(&written);
        std::thread::spawn(move || {
            for _ in 0..ROWS {
                stream.write_all(&row).unwrap();
                written.fetch_add(1, Ordering::SeqCst);
            }
            stream.write_all(&message(b'c', b"")).unwrap();
        })
    };
    // The sockets between take some megabytes: then nothing moves any more.
    let mut last = (0, 0);
    wait_until("the client to be held up", PATIENCE, || {
        let now = written.load(Ordering::SeqCst);
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        now > 0 && last.1 > 20
    })
    .unwrap();
    assert!(last.0 < ROWS, "{} rows went somewhere", last.0);
    let grown = resident().saturating_sub(before);
    signal(backend, Signal::CONT);
    assert!(grown < GROWTH_MAX, "{grown} bytes for a server that does not read");
    writer.join().unwrap();
    client.until_ready();
    assert_eq!(pg.value("select count(*) from t").unwrap(), (ROWS + 10).to_string());
}
