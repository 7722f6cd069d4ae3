//! From a client's address to its process, over real sockets.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use stent_contract::ProxySnapshot;
use stent_testkit::free_port;

use super::super::peer::PeerFinder;
use super::{proxy_snapshot, silent_holder};

/// A socket of this process, and a snapshot in which its client has held a server for `ms`.
fn client_at(listen: &str, ms: u64) -> (TcpListener, TcpStream, ProxySnapshot) {
    let listener = TcpListener::bind(listen).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let address = client.local_addr().unwrap().to_string();
    let snapshot = proxy_snapshot(1, vec![silent_holder(1, &address, ms)]);
    (listener, client, snapshot)
}

fn finder() -> PeerFinder {
    PeerFinder::new(PathBuf::from("/"))
}

async fn pid_after(finder: &mut PeerFinder, snapshot: &ProxySnapshot, now: Instant) -> Option<u32> {
    let mut seen = snapshot.clone();
    finder.fill(&mut seen, &[], now).await;
    seen.holders[0].client_pid
}

#[tokio::test]
async fn a_long_holder_is_traced_to_its_process() {
    let (_listener, _client, snapshot) = client_at("127.0.0.1:0", 2_000);
    let pid = pid_after(&mut finder(), &snapshot, Instant::now()).await;
    assert_eq!(pid, Some(std::process::id()));
}

#[tokio::test]
async fn a_short_holder_is_not_asked_about() {
    let (_listener, _client, snapshot) = client_at("127.0.0.1:0", 900);
    assert_eq!(pid_after(&mut finder(), &snapshot, Instant::now()).await, None);
}

#[tokio::test]
async fn a_client_on_ipv6_is_traced_too() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6 loopback: nothing to trace");
        return;
    }
    let (_listener, _client, snapshot) = client_at("[::1]:0", 2_000);
    let pid = pid_after(&mut finder(), &snapshot, Instant::now()).await;
    assert_eq!(pid, Some(std::process::id()));
}

#[tokio::test]
async fn an_answer_is_remembered_while_the_client_holds_its_server_and_no_longer() {
    let (_listener, client, snapshot) = client_at("127.0.0.1:0", 2_000);
    let (mut finder, now) = (finder(), Instant::now());
    assert!(pid_after(&mut finder, &snapshot, now).await.is_some());
    drop(client);
    assert!(pid_after(&mut finder, &snapshot, now).await.is_some(), "remembered");
    let mut without = proxy_snapshot(2, Vec::new());
    finder.fill(&mut without, &[], now).await;
    // Another process may have the port by now.
    let asked_again = pid_after(&mut finder, &snapshot, now).await;
    assert_ne!(asked_again, Some(std::process::id()), "forgotten");
}

#[tokio::test]
async fn a_client_that_was_not_found_is_asked_about_again_only_later() {
    // Of a client that has gone, the system may give the port to the next one of any process. This
    // one is reserved.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
    let snapshot = proxy_snapshot(1, vec![silent_holder(1, &address.to_string(), 2_000)]);
    let (mut finder, now) = (finder(), Instant::now());
    assert_eq!(pid_after(&mut finder, &snapshot, now).await, None);
    let _again = TcpListener::bind(address).expect("it is reserved for this test");
    assert_eq!(pid_after(&mut finder, &snapshot, now + Duration::from_secs(29)).await, None);
    let later = now + Duration::from_secs(31);
    assert_eq!(pid_after(&mut finder, &snapshot, later).await, Some(std::process::id()));
}
