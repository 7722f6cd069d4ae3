//! An admin address that cannot be had: the error names it, the reason and the mend.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use stent_agent::Config;
use stent_agent::config::Endpoint;

async fn refusal(admin: Endpoint) -> String {
    let config = Config {
        targets: Vec::new(),
        sample_interval: Duration::from_secs(1),
        proxy_admin: None,
        admin: Some(admin),
        postgres: None,
        postgres_interval: Duration::from_secs(10),
        root: PathBuf::from("/"),
        cloudwatch: None,
        emf: None,
        memory_limit: None,
        heap_metrics: Vec::new(),
        build_variable: None,
        ecs_metadata: None,
        attribution: stent_agent::config::Attribution::Off,
        sibling_drain: Duration::ZERO,
    };
    let ended = stent_agent::run(config, std::future::pending()).await;
    ended.expect_err("the address cannot be had").to_string()
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_mend() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let text = refusal(Endpoint::Tcp(address)).await;
    assert!(text.starts_with(&format!("cannot listen on {address}: ")), "{text}");
    assert!(text.contains("in use") && text.contains("end that process"), "{text}");
}

#[tokio::test]
async fn a_folder_that_is_absent_is_named_with_the_mend() {
    let text = refusal(Endpoint::Unix(PathBuf::from("/absent/agent.sock"))).await;
    assert!(text.starts_with("cannot listen on /absent/agent.sock: "), "{text}");
    assert!(text.ends_with("create the folder or choose another"), "{text}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_named_with_the_mend() {
    // Source: RFC 5737, TEST-NET-1: nobody's address.
    let text = refusal(Endpoint::Tcp(([192, 0, 2, 1], 9187).into())).await;
    assert!(text.contains("192.0.2.1:9187") && text.contains("of this machine"), "{text}");
}
