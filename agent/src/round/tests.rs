//! The loop with rounds of the test's making, and the pages over real sockets.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use secrecy::SecretString;
use stent_contract::Snapshot;
use stent_testkit::{TempDir, wait_until_async};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

use super::*;
use crate::config::{Emf, Endpoint, PostgresAccess};
use crate::listen::Stream;
use crate::tests_support::{AT_UNIX_MS, config, round};

const DEADLINE: Duration = Duration::from_secs(20);

/// Rounds that count themselves; their moments are a second apart.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicU64>);

impl Counted {
    fn taken(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Rounds for Counted {
    async fn round(&mut self) -> Round {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        let mut round = round();
        round.snapshot.at_unix_ms = AT_UNIX_MS + n * 1_000;
        round
    }
}

/// A round that never ends.
struct Stuck;

impl Rounds for Stuck {
    async fn round(&mut self) -> Round {
        std::future::pending().await
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn serving() -> Config {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sample_interval = Duration::from_millis(20);
    Config { admin: Some(Endpoint::Tcp(any_port)), sample_interval, ..config() }
}

/// A running loop; dropping `stop` ends it.
struct Running {
    address: String,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

fn start(config: Config, rounds: impl Rounds + 'static) -> Running {
    let watch = Watch::start(config, Box::new(io::sink())).unwrap();
    let address = watch.address.clone().unwrap_or_default();
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::task::spawn_local(watch.run(rounds, async {
        let _ = stopped.await;
    }));
    Running { address, stop, ended }
}

async fn local(test: impl Future<Output = ()>) {
    tokio::task::LocalSet::new().run_until(test).await;
}

async fn ask(stream: impl Stream + 'static, method: Method, path: &str) -> (u16, String) {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    connection.abort();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(address: &str, path: &str) -> (u16, String) {
    ask(TcpStream::connect(address).await.unwrap(), Method::GET, path).await
}

async fn ready(address: &str) {
    let is_ready = || async { get(address, "/readyz").await.0 == 200 };
    wait_until_async("a first round", DEADLINE, is_ready).await.unwrap();
}

#[tokio::test]
async fn the_pages_show_the_last_round() {
    local(async {
        let agent = start(serving(), Counted::default());
        ready(&agent.address).await;
        let (status, metrics) = get(&agent.address, "/metrics").await;
        assert_eq!(status, 200);
        assert!(metrics.contains("process_threads{target=\"api\"} 11\n"), "{metrics}");
        let (status, json) = get(&agent.address, "/snapshot").await;
        let snapshot: Snapshot = serde_json::from_str(&json).unwrap();
        assert_eq!((status, snapshot.proxy), (200, None));
        assert_eq!(snapshot.agent.unwrap().targets[0].name, "api");
        assert_eq!(get(&agent.address, "/livez?verbose=1").await.0, 200);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_page_names_the_known_ones_and_other_methods_are_refused() {
    local(async {
        let agent = start(serving(), Counted::default());
        let (status, text) = get(&agent.address, "/").await;
        assert_eq!(status, 404);
        for page in ["/metrics", "/livez", "/readyz", "/snapshot"] {
            assert!(text.contains(page), "{text}");
        }
        let stream = TcpStream::connect(&agent.address).await.unwrap();
        assert_eq!(ask(stream, Method::POST, "/metrics").await.0, 405);
        let stream = TcpStream::connect(&agent.address).await.unwrap();
        assert_eq!(ask(stream, Method::HEAD, "/metrics").await, (200, String::new()));
    })
    .await;
}

#[tokio::test]
async fn before_the_first_round_the_agent_is_alive_and_not_ready() {
    local(async {
        let agent = start(Config { sample_interval: DEADLINE, ..serving() }, Stuck);
        assert_eq!(get(&agent.address, "/livez").await.0, 200);
        assert_eq!(get(&agent.address, "/readyz").await.0, 503);
        assert_eq!(get(&agent.address, "/snapshot").await.1, r#"{"proxy":null,"agent":null}"#);
    })
    .await;
}

#[tokio::test]
async fn a_loop_that_is_stuck_is_not_alive() {
    local(async {
        let agent = start(serving(), Stuck);
        let is_dead = || async { get(&agent.address, "/livez").await.0 == 503 };
        wait_until_async("ten intervals", DEADLINE, is_dead).await.unwrap();
        let (_, text) = get(&agent.address, "/livez").await;
        assert!(text.starts_with("no round for "), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_loop_that_is_stuck_still_ends() {
    local(async {
        let agent = start(serving(), Stuck);
        drop(agent.stop);
        tokio::time::timeout(DEADLINE, agent.ended).await.unwrap().unwrap();
        assert!(TcpStream::connect(&agent.address).await.is_err(), "the pages have gone with it");
    })
    .await;
}

#[tokio::test]
async fn clients_that_say_nothing_do_not_delay_rounds_and_lose_their_places() {
    local(async {
        let rounds = Counted::default();
        let agent = start(serving(), rounds.clone());
        let mut silent = Vec::new();
        for _ in 0..100 {
            let mut stream = TcpStream::connect(&agent.address).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow").await.unwrap();
            silent.push(stream);
        }
        let before = rounds.taken();
        let ten_more = || std::future::ready(rounds.taken() >= before + 10);
        wait_until_async("ten more rounds", DEADLINE, ten_more).await.unwrap();
        // A place becomes free when a head has not come in its time.
        let scrape = tokio::time::timeout(DEADLINE, get(&agent.address, "/metrics"));
        assert_eq!(scrape.await.unwrap().0, 200);
    })
    .await;
}

#[tokio::test]
async fn unix_sockets_serve_and_their_files_go_with_the_agent() {
    local(async {
        let folder = TempDir::new("agent").unwrap();
        let path = folder.path().join("a.sock");
        // A file of an agent that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let config = Config { admin: Some(Endpoint::Unix(path.clone())), ..serving() };
        let agent = start(config.clone(), Counted::default());
        let stream = UnixStream::connect(&path).await.unwrap();
        assert_eq!(ask(stream, Method::GET, "/livez").await.0, 200);
        let taken = Watch::start(config, Box::new(io::sink())).err().unwrap().to_string();
        assert!(taken.contains("a.sock") && taken.contains("another process has it"), "{taken}");
        drop(agent.stop);
        agent.ended.await.unwrap();
        assert!(!path.exists());
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_abstract_socket_serves() {
    use std::os::linux::net::SocketAddrExt;
    local(async {
        let name = format!("stent-test-{}-{:x}", std::process::id(), fastrand::u64(..));
        let path = PathBuf::from(format!("\0{name}"));
        let config = Config { admin: Some(Endpoint::Unix(path)), ..serving() };
        let agent = start(config, Counted::default());
        assert_eq!(agent.address, format!("@{name}"));
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let stream = std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = UnixStream::from_std(stream).unwrap();
        assert_eq!(ask(stream, Method::GET, "/livez").await.0, 200);
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_never_replaced() {
    let folder = TempDir::new("agent").unwrap();
    let path = folder.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    let config = Config { admin: Some(Endpoint::Unix(path.clone())), ..serving() };
    assert!(Watch::start(config, Box::new(io::sink())).is_err());
    assert_eq!(std::fs::read_to_string(path).unwrap(), "data");
}

#[tokio::test(start_paused = true)]
async fn the_interval_that_the_end_cuts_short_is_published() {
    let lines = Lines::default();
    let interval = Duration::from_secs(3_600);
    let emf = Emf { namespace: "Stent".to_owned(), dimensions: Vec::new(), interval };
    let config = Config { emf: Some(emf), ..config() };
    let watch = Watch::start(config, Box::new(lines.clone())).unwrap();
    watch.run(Counted::default(), tokio::time::sleep(Duration::from_millis(2_500))).await;
    // Paused time runs ahead of the writing thread.
    let written = || lines.text().contains("AgentHeartbeat");
    stent_testkit::wait_until("the last lines", DEADLINE, written).unwrap();
    let text = lines.text();
    let beats = text.lines().find(|line| line.contains("AgentHeartbeat")).unwrap();
    assert!(beats.contains(r#""AgentHeartbeat":[1.0,1.0,1.0]"#), "{beats}");
    assert!(beats.contains(&format!("\"Timestamp\":{}", AT_UNIX_MS + 2_000)), "{beats}");
    for line in text.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_is_taken_every_interval() {
    let rounds = Counted::default();
    let watch = Watch::start(config(), Box::new(io::sink())).unwrap();
    watch.run(rounds.clone(), tokio::time::sleep(Duration::from_millis(9_500))).await;
    assert_eq!(rounds.taken(), 10);
}

#[tokio::test]
async fn a_password_is_nowhere_to_be_seen() {
    const CANARY: &str = "canary-7f3a9";
    local(async {
        let access = PostgresAccess {
            host: "db".to_owned(),
            port: 5432,
            user: "api".to_owned(),
            password: Some(SecretString::from(CANARY)),
            database: "app".to_owned(),
        };
        let config = Config { postgres: Some(access), ..serving() };
        assert!(!format!("{config:?} {config:#?}").contains(CANARY));
        let agent = start(config.clone(), Counted::default());
        ready(&agent.address).await;
        for page in ["/metrics", "/livez", "/readyz", "/snapshot", "/"] {
            assert!(!get(&agent.address, page).await.1.contains(CANARY), "{page}");
        }
        let taken = Endpoint::Tcp(agent.address.parse().unwrap());
        let again = Config { admin: Some(taken), ..config };
        let error = Watch::start(again, Box::new(io::sink())).err().unwrap();
        assert!(!format!("{error} {error:?}").contains(CANARY));
    })
    .await;
}
