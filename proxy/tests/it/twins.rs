//! Proxies that share a port: a cancel request reaches its client through any of them.

use std::collections::BTreeMap;

use stent_proxy::config::{PoolMode, PortUse};
use stent_testkit::{Postgres, wait_until};

use super::raw::{Raw, field, query, startup};
use super::support::{PATIENCE, Proxy, config};

fn pair(pg: &Postgres, mode: PoolMode) -> [Proxy; 2] {
    let base = || {
        let mut config = config(pg);
        config.pool_mode = mode;
        config.so_reuseport = PortUse::Shared;
        config
    };
    let (first, mut second) = (base(), base());
    second.listen.clone_from(&first.listen);
    second.listen_port = first.listen_port;
    [Proxy::with(first).unwrap(), Proxy::with(second).unwrap()]
}

/// Cancel requests of both proxies by outcome.
fn outcomes(proxies: &[Proxy; 2]) -> BTreeMap<String, u32> {
    let mut sums = BTreeMap::new();
    for proxy in proxies {
        for line in proxy.get("/metrics").1.lines() {
            let Some(row) = line.strip_prefix("stent_cancel_requests_total{outcome=\"") else {
                continue;
            };
            let (outcome, count) = row.split_once("\"} ").unwrap();
            *sums.entry(outcome.to_owned()).or_default() += count.parse::<u32>().unwrap();
        }
    }
    sums
}

/// A client's BackendKeyData.
fn login(proxy: &Proxy) -> (Raw, Vec<u8>) {
    let mut raw = Raw::connect(proxy);
    raw.send(&startup(&[("user", "postgres"), ("database", "postgres")]));
    let said = raw.until_ready();
    let key = said.into_iter().find(|(tag, _)| *tag == b'K').unwrap().1;
    (raw, key)
}

fn cancel(proxy: &Proxy, key: &[u8]) {
    let mut raw = Raw::connect(proxy);
    raw.send(&[&[0, 0, 0, 16, 4, 210, 22, 46][..], key].concat());
    assert!(raw.rest().is_empty());
}

/// Checklist 7, where several proxies share a port.
#[test]
fn a_cancel_request_finds_its_client_whichever_proxy_gets_it() {
    let pg = Postgres::start().unwrap();
    for mode in [PoolMode::Session, PoolMode::Transaction] {
        let proxies = pair(&pg, mode);
        let runs = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
        // The kernel decides who gets which connection: enough rounds for each combination.
        let mut rounds = 0;
        while outcomes(&proxies)["twin"] < 3 || outcomes(&proxies)["forwarded"] < rounds.max(5) {
            let (mut raw, key) = login(&proxies[0]);
            raw.send(&query("select pg_sleep(600)"));
            wait_until("it to run", PATIENCE, || pg.value(runs).unwrap() == "1").unwrap();
            cancel(&proxies[0], &key);
            let said = raw.until_ready();
            let error = said.iter().find(|(tag, _)| *tag == b'E').unwrap();
            assert_eq!(field(&error.1, b'C'), "57014");
            rounds += 1;
            assert!(rounds < 200, "the kernel gave no request to the other proxy in 200 rounds");
        }
        assert_eq!(outcomes(&proxies)["unknown_key"], 0);
    }
}

#[test]
fn a_key_that_no_twin_knows_is_passed_on_once_and_counted_once() {
    let pg = Postgres::start().unwrap();
    let proxies = pair(&pg, PoolMode::Transaction);
    let (_raw, key) = login(&proxies[0]);
    let mut wrong = key;
    wrong[7] ^= 1;
    for _ in 0..10 {
        cancel(&proxies[0], &wrong);
    }
    let outcomes = outcomes(&proxies);
    assert_eq!((outcomes["unknown_key"], outcomes["twin"]), (10, 0));
    assert_eq!(outcomes["forwarded"] + outcomes["idle"], 0);
}

#[test]
fn a_proxy_that_does_not_share_its_port_refuses_company() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let mut second = config(&pg);
    second.listen = vec![std::net::SocketAddr::from(([127, 0, 0, 1], proxy.port))];
    second.listen_port = proxy.port;
    second.so_reuseport = PortUse::Shared;
    assert!(Proxy::with(second).is_err());
}
