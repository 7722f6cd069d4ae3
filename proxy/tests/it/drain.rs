//! The closing phase of a drain: clients leave in turn, and are served until then.

use std::time::{Duration, Instant};

use stent_testkit::Postgres;

use super::raw::{Raw, field, query};
use super::support::{PATIENCE, Proxy};

/// Enough that their turns, 10 ms apart, take two seconds.
const CLIENTS: usize = 201;

fn closed(client: &mut Raw) {
    let (tag, body) = client.next().unwrap();
    assert_eq!((tag, field(&body, b'C').as_str()), (b'E', "57P01"));
    assert!(client.next().is_none(), "that was the last word");
}

#[test]
fn idle_clients_are_closed_one_after_the_other_and_served_until_their_turn() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| config.drain_timeout = PATIENCE);
    let mut clients: Vec<Raw> = (0..CLIENTS).map(|_| Raw::login(&proxy)).collect();
    let begun = Instant::now();
    proxy.stop();
    closed(&mut clients[0]);
    let last = clients.last_mut().unwrap();
    last.send(&query("select 1"));
    assert_eq!(last.tags(), "TDCZ", "its turn has not come");
    clients[1..].iter_mut().for_each(closed);
    assert!(begun.elapsed() >= Duration::from_millis(1_800), "they do not come back as one herd");
    proxy.join().unwrap();
}

#[test]
fn a_client_whose_turn_comes_in_its_transaction_leaves_at_the_end_of_it() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| config.drain_timeout = PATIENCE);
    let (mut busy, mut idle) = (Raw::login(&proxy), Raw::login(&proxy));
    busy.send(&query("begin"));
    assert_eq!(busy.tags(), "CZ");
    proxy.stop();
    closed(&mut idle);
    busy.send(&query("select 1"));
    assert_eq!(busy.tags(), "TDCZ", "its turn came before the other's");
    busy.send(&query("commit"));
    assert_eq!(busy.tags(), "CZ");
    closed(&mut busy);
    proxy.join().unwrap();
}
