//! A proxy that takes over from another: nobody is refused, nobody is cut, and cancel requests find their
//! clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use stent_proxy::config::{PoolMode, Takeover};
use stent_proxy::{Config, Error};
use stent_testkit::{Postgres, TempDir};
use tokio_postgres::NoTls;

use super::support::{Proxy, code, config, until};

/// The same once more, to take over.
fn successor_of(config: &Config) -> Config {
    Config { takeover: Takeover::Yes, ..config.clone() }
}

/// Starts the successor without blocking the runtime of the clients.
async fn take_over(config: Config) -> Result<Proxy, Error> {
    tokio::task::spawn_blocking(move || Proxy::with(config)).await.unwrap()
}

/// Clients that come, work and go, until they are told to stop; how many did, and what went wrong.
struct Passers {
    stop: Arc<AtomicBool>,
    passed: Arc<AtomicU32>,
    tasks: Vec<tokio::task::JoinHandle<Result<(), tokio_postgres::Error>>>,
}

impl Passers {
    fn start(dsn: &str, count: usize) -> Self {
        let (stop, passed) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let task = |_| {
            let (stop, passed, dsn) = (Arc::clone(&stop), Arc::clone(&passed), dsn.to_owned());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let (client, connection) = tokio_postgres::connect(&dsn, NoTls).await?;
                    let connection = tokio::spawn(connection);
                    client.batch_execute("begin; select 1; commit").await?;
                    drop(client);
                    connection.await.unwrap()?;
                    passed.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        };
        let tasks = (0..count).map(task).collect();
        Self { stop, passed, tasks }
    }

    fn passed(&self) -> u32 {
        self.passed.load(Ordering::Relaxed)
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap().expect("nobody is refused or cut");
        }
    }
}

#[tokio::test]
async fn newcomers_and_those_who_stay_notice_nothing() {
    let pg = Postgres::start().unwrap();
    let config = config(&pg);
    let old = Proxy::with(config.clone()).unwrap();
    let staying = old.client().await;
    staying.batch_execute("begin; create temporary table t (n int)").await.unwrap();
    let passers = Passers::start(&old.dsn("postgres", "postgres"), 6);
    until("them to pass", || passers.passed() > 30).await;
    let new = take_over(successor_of(&config)).await.unwrap();
    let before = passers.passed();
    until("more of them to pass", || passers.passed() > before + 100).await;
    assert!(!old.has_ended(), "it has a client");
    staying.batch_execute("insert into t values (1); commit").await.unwrap();
    staying.batch_execute("select 1").await.unwrap();
    drop(staying);
    tokio::task::spawn_blocking(|| old.join()).await.unwrap().unwrap();
    let before = passers.passed();
    until("the new one alone to serve", || passers.passed() > before + 30).await;
    passers.end().await;
    assert!(new.snapshot().pools[0].totals.transactions > 100);
}

#[tokio::test]
async fn a_cancel_request_for_a_client_of_the_old_proxy_finds_it_through_the_new_one() {
    for mode in [PoolMode::Transaction, PoolMode::Session] {
        let pg = Postgres::start().unwrap();
        let config = Config { pool_mode: mode, ..config(&pg) };
        let old = Proxy::with(config.clone()).unwrap();
        let client = old.client().await;
        let cancel = client.cancel_token();
        let new = take_over(successor_of(&config)).await.unwrap();
        let sleeping = tokio::spawn(async move {
            let error = client.batch_execute("select pg_sleep(600)").await.unwrap_err();
            (client, code(&error))
        });
        let runs = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
        until("it to sleep", || pg.value(runs).unwrap() == "1").await;
        cancel.cancel_query(NoTls).await.unwrap();
        let (client, said) = sleeping.await.unwrap();
        assert_eq!(said, "57014");
        client.batch_execute("select 1").await.unwrap();
        drop(client);
        tokio::task::spawn_blocking(|| old.join()).await.unwrap().unwrap();
        drop(new);
    }
}

#[tokio::test]
async fn what_is_idle_when_the_time_is_over_is_closed_and_the_rest_after_its_transaction() {
    let pg = Postgres::start().unwrap();
    let mut config = config(&pg);
    config.upgrade_drain_timeout = Duration::ZERO;
    config.drain_timeout = super::support::PATIENCE;
    let old = Proxy::with(config.clone()).unwrap();
    let (idle, busy) = (old.client().await, old.client().await);
    busy.batch_execute("begin").await.unwrap();
    let _new = take_over(successor_of(&config)).await.unwrap();
    until("the idle one to be closed", || idle.is_closed()).await;
    busy.batch_execute("select 1").await.unwrap();
    busy.batch_execute("commit").await.unwrap();
    tokio::task::spawn_blocking(|| old.join()).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_file_of_the_unix_socket_stays_with_the_new_proxy() {
    let (pg, dir) = (Postgres::start().unwrap(), TempDir::new("takeover").unwrap());
    let mut config = config(&pg);
    config.unix_socket_dir = Some(dir.path().to_owned());
    let old = Proxy::with(config.clone()).unwrap();
    let new = take_over(successor_of(&config)).await.unwrap();
    tokio::task::spawn_blocking(|| old.join()).await.unwrap().unwrap();
    let dsn = format!("host={} port={} user=postgres", dir.path().display(), new.port);
    let client = new.connect(&dsn).await.unwrap();
    client.batch_execute("select 1").await.unwrap();
    drop((client, new));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it goes with its last owner");
}

#[tokio::test]
async fn where_nothing_runs_or_something_is_paused_nothing_is_taken_over() {
    let pg = Postgres::start().unwrap();
    let mut config = config(&pg);
    config.console_admins = vec!["ops".to_owned()];
    let nothing = take_over(successor_of(&config)).await;
    assert!(matches!(nothing, Err(Error::Takeover(_))), "nothing runs");
    let old = Proxy::with(config.clone()).unwrap();
    let client = old.client().await;
    let console = old.connect(&old.dsn("ops", "stent")).await.unwrap();
    console.batch_execute("PAUSE").await.unwrap();
    let paused = take_over(successor_of(&config)).await;
    assert!(matches!(paused, Err(Error::Takeover(_))), "a pause would be forgotten");
    console.batch_execute("RESUME").await.unwrap();
    client.batch_execute("select 1").await.unwrap();
    old.client().await.batch_execute("select 1").await.unwrap();
}
