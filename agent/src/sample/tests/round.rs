//! Whole rounds: this process as the target, a proxy over a real socket.

use std::path::PathBuf;
use std::time::Duration;

use stent_contract::VerdictLevel;

use super::proxy::serve_snapshot;
use super::{config, proxy_snapshot, silent_holder};
use crate::config::{Endpoint, Target};
use crate::sample::{Sampler, unix_ms};

fn own_pid() -> Target {
    Target::Pid { name: "api".to_owned(), pid: std::process::id() }
}

#[tokio::test]
async fn a_round_reads_the_target_asks_the_proxy_and_names_the_holder() {
    let forgotten = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = tokio::net::TcpStream::connect(forgotten.local_addr().unwrap()).await.unwrap();
    let address = client.local_addr().unwrap().to_string();
    let holders = vec![silent_holder(1, &address, 90_000)];
    let proxy = serve_snapshot(&proxy_snapshot(unix_ms() + 1, holders)).await;

    let mut config = config();
    config.targets = vec![own_pid()];
    config.proxy_admin = Some(Endpoint::Tcp(proxy));
    config.sample_interval = Duration::from_secs(10);
    let round = Sampler::new(&config, None).round().await;

    let agent = round.snapshot;
    let reading = agent.targets[0].reading.as_ref().unwrap();
    assert_eq!((agent.targets[0].name.as_str(), reading.pid), ("api", std::process::id()));
    assert!(reading.memory.rss_anon > 0 && reading.memory.limit.unwrap() > 0);
    assert_eq!(agent.targets[0].memory.as_ref().unwrap().level, VerdictLevel::Healthy);
    assert!(agent.proxy_reachable);
    assert_eq!(agent.connections[0].level, VerdictLevel::Leak);
    let diagnosis = &agent.diagnoses[0];
    assert_eq!(diagnosis.holders[0].client_pid, Some(std::process::id()));
    let cause = &diagnosis.causes[0].text;
    let expected = format!(
        "1 transaction opened by application 'postgres.js' (pid {}) from {address} never ended",
        std::process::id()
    );
    assert!(cause.starts_with(&expected), "{cause}");
    assert_eq!(round.proxy.unwrap().holders[0].client_pid, Some(std::process::id()));
}

#[tokio::test]
async fn a_round_without_target_proxy_and_database_still_ends() {
    let mut config = config();
    config.targets = vec![Target::Name("no-such-name".to_owned())];
    config.proxy_admin = Some(Endpoint::Unix(PathBuf::from("/nonexistent/stent.sock")));
    let mut sampler = Sampler::new(&config, None);
    for _ in 0..2 {
        let round = sampler.round().await;
        assert!(round.proxy.is_none() && !round.snapshot.proxy_reachable);
        assert_eq!(round.snapshot.targets[0].reading, None);
        assert_eq!(round.snapshot.postgres, None);
        assert!(round.snapshot.diagnoses.is_empty());
    }
}

#[tokio::test]
async fn a_heap_that_another_allocator_serves_is_not_reported() {
    // This test program does not make jemalloc its allocator.
    let round = Sampler::new(&config(), None).round().await;
    assert_eq!(round.snapshot.heap, None);
}
