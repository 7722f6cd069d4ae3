//! The whole agent in a process of its own, told by its environment how to reach CloudWatch.
//!
//! Each test starts its own program once more, in which the same test is the agent: so credentials
//! and region come from real variables, and the readings are those of a real process.

#[path = "support/cloudwatch_endpoint.rs"]
mod endpoint;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use endpoint::{Clock, CloudWatchEndpoint};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use stent_agent::Config;
use stent_agent::config::{CloudWatch, Target};
use stent_testkit::{Process, wait_until_async};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const ENDPOINT: &str = "STENT_TEST_ENDPOINT";
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs the agent until SIGTERM if this process is the one that was started for it.
async fn is_agent() -> Option<()> {
    let url = std::env::var(ENDPOINT).ok()?;
    let cloudwatch = CloudWatch {
        namespace: "Stent".to_owned(),
        region: None,
        endpoint: Some(url),
        dimensions: vec![("ServiceName".to_owned(), "orders".to_owned())],
        interval: Duration::from_millis(200),
    };
    let config = Config {
        targets: vec![Target::Pid { name: "itself".to_owned(), pid: std::process::id() }],
        sample_interval: Duration::from_millis(50),
        proxy_admin: None,
        admin: None,
        postgres: None,
        postgres_interval: Duration::from_secs(10),
        root: PathBuf::from("/"),
        cloudwatch: Some(cloudwatch),
        emf: None,
        memory_limit: None,
        heap_metrics: Vec::new(),
        build_variable: None,
        ecs_metadata: None,
        attribution: stent_agent::config::Attribution::Off,
        sibling_drain: Duration::ZERO,
    };
    let mut term = signal(SignalKind::terminate()).expect("the runtime handles signals");
    let shutdown = async move {
        term.recv().await;
    };
    stent_agent::run(config, shutdown).await.expect("there is nothing to listen on");
    Some(())
}

fn agent(test: &str, endpoint: &CloudWatchEndpoint, variables: &[(&str, &str)]) -> Process {
    let program = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new(program);
    command.args([test, "--exact"]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env(ENDPOINT, endpoint.url())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "absent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "absent")
        .envs(variables.iter().copied());
    Process::spawn(&mut command).expect("a program that runs can be started")
}

async fn publishes(mut agent: Process, endpoint: &CloudWatchEndpoint) {
    let has = |name: &str| endpoint.received().iter().any(|point| point.name == name);
    let both = || std::future::ready(has("AgentHeartbeat") && has("ProcessMemory"));
    let arrived = wait_until_async("points of a real process", DEADLINE, both).await;
    arrived.unwrap_or_else(|error| panic!("{error}\n{}", agent.output()));
    let ended = tokio::task::spawn_blocking(move || agent.terminate(DEADLINE));
    let status = ended.await.expect("the task does not panic").expect("the agent ends");
    assert!(status.success(), "{status}");
    assert_eq!(endpoint.violations(), []);
    let memory = endpoint.received().into_iter().find(|point| point.name == "ProcessMemory");
    let memory = memory.expect("it was there before");
    let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(memory.dimensions[..2], [named("ServiceName", "orders"), named("Target", "itself")]);
    assert_eq!(memory.unit, "Bytes");
}

#[tokio::test]
async fn credentials_and_region_come_from_the_environment() {
    if is_agent().await.is_some() {
        return;
    }
    let endpoint = CloudWatchEndpoint::start(Clock::System).await;
    let variables = [
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "example"),
    ];
    let test = "credentials_and_region_come_from_the_environment";
    publishes(agent(test, &endpoint, &variables), &endpoint).await;
}

#[tokio::test]
async fn credentials_come_from_the_container_endpoint_as_on_ecs() {
    if is_agent().await.is_some() {
        return;
    }
    let endpoint = CloudWatchEndpoint::start(Clock::System).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("some port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    let serving = tokio::spawn(hand_out_credentials(listener));
    let credentials = format!("http://{address}/credentials");
    let variables = [
        ("AWS_REGION", "eu-central-1"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", credentials.as_str()),
    ];
    let test = "credentials_come_from_the_container_endpoint_as_on_ecs";
    publishes(agent(test, &endpoint, &variables), &endpoint).await;
    serving.abort();
}

/// Source: Amazon ECS developer guide, "Task IAM role".
async fn hand_out_credentials(listener: TcpListener) {
    const CREDENTIALS: &str = r#"{"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"example",
        "Token":"token","Expiration":"2099-01-01T00:00:00Z"}"#;
    while let Ok((stream, _)) = listener.accept().await {
        let service = service_fn(|_: Request<hyper::body::Incoming>| {
            let body = Full::new(Bytes::from_static(CREDENTIALS.as_bytes()));
            std::future::ready(Ok::<_, hyper::Error>(Response::new(body)))
        });
        let http = hyper::server::conn::http1::Builder::new();
        // One client; when it has gone, the next one is served.
        let _ = http.serve_connection(TokioIo::new(stream), service).await;
    }
}
