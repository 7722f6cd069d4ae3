//! Memory that a storm has taken goes back to the system, also where nothing happens afterwards.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::running::{SOON, Stent, terminated};
use stent_testkit::{Postgres, proc, wait_for, wait_until};

/// Clients that wait for the one server, and what each has said.
const WAITING: usize = 200;
const SAID: usize = 60_000;
/// Well beyond the allocator's ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The memory of a process that no file is behind, in bytes.
fn anonymous(pid: u32) -> usize {
    proc::memory(pid).expect("it runs").anon as usize
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 4).expect("a short message").to_be_bytes();
    [&[tag][..], &len, body].concat()
}

/// Reads up to ReadyForQuery.
fn until_ready(client: &mut TcpStream) {
    let (mut said, mut chunk) = (Vec::new(), [0; 4096]);
    while !matches!(said[..], [.., b'Z', 0, 0, 0, 5, _]) {
        let n = client.read(&mut chunk).expect("an answer");
        assert!(n > 0, "the proxy hung up: {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&chunk[..n]);
    }
}

fn login(port: &str) -> Option<TcpStream> {
    let mut client = TcpStream::connect(format!("127.0.0.1:{port}")).ok()?;
    let body = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    client.write_all(&message(0, body)[1..]).expect("sent");
    until_ready(&mut client);
    Some(client)
}

#[test]
fn after_a_storm_memory_returns_to_the_system_although_nothing_happens_any_more() {
    let postgres = Postgres::start().expect("a PostgreSQL");
    let mut stent = Stent::new(&postgres.url());
    stent.command.env("STENT_AUTH_TYPE", "trust").env("STENT_DEFAULT_POOL_SIZE", "1");
    let mut proxy = stent.start(&["proxy"]);
    let pid = proxy.pid();
    let mut holder = wait_for("the first client", SOON, || login(&stent.listen_port)).expect("in");
    holder.write_all(&message(b'Q', b"begin\0")).expect("sent");
    until_ready(&mut holder);
    let before = anonymous(pid);
    let mut query = vec![b' '; SAID];
    query.extend_from_slice(b"select 1\0");
    let storm: Vec<TcpStream> = (0..WAITING)
        .map(|_| {
            let mut client = login(&stent.listen_port).expect("a client");
            client.write_all(&message(b'Q', &query)).expect("sent");
            client
        })
        .collect();
    let taken = WAITING * SAID;
    let all_there = || anonymous(pid) >= before + taken * 9 / 10;
    wait_until("what they have said is kept", PATIENCE, all_there).expect("the storm");
    drop(storm);
    let gone = || anonymous(pid) <= before + taken / 4;
    wait_until("the memory to return", PATIENCE, gone).expect("it returns");
    // A second one would make the kernel count each use of a descriptor, four times a transaction.
    assert_eq!(proc::thread_count(pid).expect("it runs"), 1);
    drop(holder);
    assert_eq!(terminated(&mut proxy), Some(0), "{}", proxy.output());
}
