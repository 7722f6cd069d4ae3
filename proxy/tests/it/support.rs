//! A PostgreSQL with a proxy in front, both on ports of their own.
//!
//! Invariant: the proxy runs on a thread of its own and has ended when its guard is dropped.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use stent_contract::Snapshot;
use stent_contract::snapshot::ProxySnapshot;
use stent_proxy::Config;
use stent_proxy::config::{
    AdminAddr, AuthMethod, ClientAuth, PoolMode, SessionAttrs, Upstream, UserEntry,
};
use stent_testkit::{Postgres, Signal, free_port, wait_for};
use tokio::sync::{Notify, mpsc};
use tokio_postgres::{Client, NoTls};

/// How long a condition may take to come true before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    pub(crate) admin: SocketAddr,
    stop: Arc<Notify>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), stent_proxy::Error>>>,
}

/// The configuration of a test: trust, a pool of four, everything else as users have it.
pub(crate) fn config(pg: &Postgres) -> Config {
    let port = free_port().unwrap();
    Config {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], port))],
        so_reuseport: Default::default(),
        unix_socket_dir: None,
        listen_port: port,
        admin: Some(AdminAddr::Tcp(SocketAddr::from(([127, 0, 0, 1], free_port().unwrap())))),
        upstream: Upstream {
            others: Vec::new(),
            readers: None,
            target_session_attrs: SessionAttrs::Any,
            host: pg.host().to_owned(),
            port: pg.port(),
            database: Some("postgres".to_owned()),
            user: Some(pg.superuser().to_owned()),
            password: pg.password().map(Into::into),
        },
        server_passwords: Default::default(),
        server_tls: Default::default(),
        client_tls: Default::default(),
        auth: ClientAuth {
            method: AuthMethod::Trust,
            rules: Default::default(),
            cleartext: Default::default(),
            users: Vec::new(),
            query: None,
        },
        pool_mode: PoolMode::Transaction,
        default_pool_size: NonZeroU32::new(4).unwrap(),
        reserve_pool_size: 0,
        reserve_pool_timeout: None,
        min_pool_size: 0,
        pool_limits: Vec::new(),
        max_db_connections: None,
        max_user_connections: None,
        max_server_connections: None,
        fleet: None,
        workers: workers(),
        max_client_conn: NonZeroU32::new(2000).unwrap(),
        max_client_conn_per_address: None,
        max_db_client_connections: None,
        max_user_client_connections: None,
        query_wait_timeout: Some(Duration::from_secs(60)),
        server_lifetime: None,
        server_max_uses: None,
        server_max_memory: None,
        server_memory_interval: Duration::from_secs(60),
        hold_limits: Vec::new(),
        queue_classes: Default::default(),
        server_idle_timeout: None,
        server_check_delay: Duration::from_secs(30),
        server_connect_timeout: Duration::from_secs(10),
        client_login_timeout: Duration::from_secs(10),
        drain_serve_timeout: Duration::ZERO,
        drain_timeout: Duration::from_secs(1),
        takeover: Default::default(),
        upgrade_drain_timeout: Duration::from_secs(60),
        forbidden_state: stent_wire::inspect::Causes::NONE,
        console_admins: Vec::new(),
        console_users: Vec::new(),
        max_prepared_statements: 200,
        statement_cache: Default::default(),
        shown: Vec::new(),
    }
}

/// How many workers a test's proxy has that does not say so itself: `STENT_TEST_WORKERS`, so that
/// every test can be run with several.
fn workers() -> NonZeroU16 {
    let wanted = std::env::var("STENT_TEST_WORKERS").ok();
    wanted.map_or(NonZeroU16::MIN, |wanted| wanted.parse().expect("a number of workers"))
}

impl Proxy {
    /// A proxy in front of `pg`, with the test's configuration changed.
    pub(crate) fn start(pg: &Postgres, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(pg);
        change(&mut config);
        Self::with(config).unwrap()
    }

    /// A proxy with this configuration.
    pub(crate) fn with(config: Config) -> Result<Self, stent_proxy::Error> {
        let port = config.listen_port;
        let Some(AdminAddr::Tcp(admin)) = config.admin.clone() else {
            panic!("tests have the admin pages on TCP")
        };
        let (stop, stopped) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (notified, ended) = (Arc::clone(&stop), Arc::clone(&stopped));
        let (_, orders) = mpsc::channel(1);
        let (wishes, mut wished) = mpsc::channel(1);
        let steering = stent_proxy::Steering { orders, wishes };
        let thread = std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build_local(Default::default()).unwrap();
            let end = notified.notified_owned();
            let running = async { stent_proxy::run_steered(config, Some(steering), end).await };
            let result = runtime.block_on(running);
            ended.store(true, Ordering::SeqCst);
            result
        });
        let mut proxy = Self { port, admin, stop, stopped, thread: Some(thread) };
        let came_up = wait_for("the proxy to listen", PATIENCE, || {
            let up = matches!(wished.try_recv(), Ok(stent_proxy::Wish::Serving));
            (up || proxy.stopped.load(Ordering::SeqCst)).then_some(())
        });
        came_up.unwrap();
        if proxy.stopped.load(Ordering::SeqCst) {
            return proxy.thread.take().unwrap().join().unwrap().map(|()| proxy);
        }
        // The proxy tries the way to PostgreSQL first of all; a test begins when it knows.
        wait_for("the proxy's first word on PostgreSQL", PATIENCE, || {
            (!proxy.get("/readyz").1.contains("not answered yet")).then_some(())
        })
        .unwrap();
        Ok(proxy)
    }

    /// `host=… port=… user=… dbname=…` for drivers.
    pub(crate) fn dsn(&self, user: &str, database: &str) -> String {
        format!("host=127.0.0.1 port={} user={user} dbname={database}", self.port)
    }

    /// A client that is logged in as the superuser.
    pub(crate) async fn client(&self) -> Client {
        self.connect(&self.dsn("postgres", "postgres")).await.unwrap()
    }

    /// A client with these connection parameters.
    pub(crate) async fn connect(&self, dsn: &str) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(dsn, NoTls).await?;
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(client)
    }

    /// GET of an admin page: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(self.admin).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// The proxy as it sees itself.
    pub(crate) fn snapshot(&self) -> ProxySnapshot {
        let (status, body) = self.get("/snapshot");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Snapshot>(&body).unwrap().proxy.unwrap()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Asks it to end, without waiting.
    pub(crate) fn stop(&self) {
        self.stop.notify_one();
    }

    /// Waits until it has ended.
    pub(crate) fn join(mut self) -> Result<(), stent_proxy::Error> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            if !std::thread::panicking() {
                result.expect("the proxy does not panic").unwrap();
            }
        }
    }
}

/// A user with a secret in a userlist's form.
pub(crate) fn user(name: &str, secret: &str) -> UserEntry {
    UserEntry { name: name.to_owned(), secret: secret.into() }
}

/// Sends a signal to a process, which must be there.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// The SQLSTATE of a driver's error.
pub(crate) fn code(error: &tokio_postgres::Error) -> String {
    error.code().map(|code| code.code().to_owned()).unwrap_or_else(|| format!("{error:?}"))
}

/// Waits for a condition without blocking the runtime.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let condition = || std::future::ready(condition());
    stent_testkit::wait_until_async(what, PATIENCE, condition).await.unwrap();
}

/// The resident memory of this process, the proxy in it, in bytes.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes * 1024
}

/// How many backends run the statement of [`cancel_its_sleep`].
const ASLEEP: &str = "select count(*) from pg_stat_activity \
                                 where state = 'active' and query = 'select pg_sleep(600)'";

/// A client sleeps on its server until its own cancel request has ended that.
pub(crate) async fn cancel_its_sleep(client: &Client, pg: &Postgres) {
    let token = client.cancel_token();
    // An error is sent before the backend says that the statement is over: the one before may still
    // be seen there.
    until("the sleep before to be over", || pg.value(ASLEEP).unwrap() == "0").await;
    let cancel = async {
        // PostgreSQL is asked, for the proxy may know of the statement before it runs.
        until("it to run", || pg.value(ASLEEP).unwrap() == "1").await;
        token.cancel_query(NoTls).await.unwrap();
    };
    let (slept, ()) = tokio::join!(client.batch_execute("select pg_sleep(600)"), cancel);
    assert_eq!(code(&slept.unwrap_err()), "57014");
}
