//! Several `stent proxy` on one small PostgreSQL: they share its connections, and no client hears
//! of it.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use common::http;
use common::running::{SOON, Stent};
use stent_contract::Snapshot;
use stent_contract::snapshot::FleetSnapshot;
use stent_testkit::{Postgres, Process, wait_for};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

const MINIMUM: u32 = 2;
const RESERVE: u32 = 5;
/// Under `max_connections` less what is reserved for superusers.
const PLACES: u32 = 81 - 3;

/// One member of the fleet.
struct Member {
    stent: Stent,
    process: Process,
    user: &'static str,
}

impl Member {
    fn start(postgres: &Postgres, user: &'static str) -> Self {
        let mut stent = Stent::new(&postgres.url_for(user, "postgres"));
        for (name, value) in [
            ("AUTH_TYPE", "trust"),
            ("FLEET_BUDGET", "on"),
            ("FLEET_INTERVAL", "0.5"),
            ("FLEET_MINIMUM", "2"),
            ("FLEET_RESERVE", "5"),
            ("DEFAULT_POOL_SIZE", "60"),
            ("LOG_LEVEL", "warn"),
        ] {
            stent.command.env(format!("STENT_{name}"), value);
        }
        let process = stent.start(&["proxy"]);
        Self { stent, process, user }
    }

    fn fleet(&self) -> Option<FleetSnapshot> {
        let text = http::get(&self.stent.admin, "/snapshot")?;
        serde_json::from_str::<Snapshot>(&text).expect("a snapshot").proxy?.fleet
    }

    async fn client(&self) -> Result<Client, tokio_postgres::Error> {
        let (port, user) = (&self.stent.listen_port, self.user);
        let url = format!("postgres://{user}@127.0.0.1:{port}/postgres");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

/// Clients that keep a member busy until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: JoinSet<Result<(), tokio_postgres::Error>>,
}

impl Load {
    async fn on(member: &Member, clients: usize) -> Self {
        let admin = member.stent.admin.clone();
        let ready = move || http::get(&admin, "/readyz").map(drop);
        blocking(move || wait_for("readiness", 3 * SOON, ready).expect("ready")).await;
        let mut load = Self { stop: Arc::default(), done: Arc::default(), clients: JoinSet::new() };
        for _ in 0..clients {
            let client = member.client().await.expect("a client");
            let (stop, done) = (Arc::clone(&load.stop), Arc::clone(&load.done));
            load.clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    client.query("select pg_sleep(0.02)", &[]).await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        load
    }

    /// Every client has been served to the end.
    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.expect("no panic").expect("no error reaches a client");
        }
        assert!(self.done.load(Ordering::Relaxed) > 0, "somebody was served");
    }
}

/// Counts PostgreSQL's connections as often as it can, until it is dropped: the most there were.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u32>>,
}

impl Watch {
    fn begin(postgres: &Postgres) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, url) = (Arc::clone(&stop), postgres.url());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let (client, connection) =
                    tokio_postgres::connect(&url, NoTls).await.expect("a superuser is let in");
                tokio::spawn(connection);
                let sql = "select count(*)::int from pg_stat_activity \
                           where backend_type = 'client backend'";
                let mut most = 0;
                while !stopped.load(Ordering::Relaxed) {
                    let count: i32 = client.query_one(sql, &[]).await.expect("a count").get(0);
                    most = most.max(u32::try_from(count).expect("a count"));
                }
                most
            })
        });
        Self { stop, thread: Some(thread) }
    }

    fn end(mut self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it ends once").join().expect("no panic")
    }
}

/// PostgreSQL's log has every refusal.
fn refusals(members: &[Member]) -> usize {
    let said = |member: &Member| member.process.output().matches("53300").count();
    members.iter().map(said).sum()
}

/// The shares, once everybody knows of everybody, has its minimum, and all places are given out.
fn settled(members: &[Member]) -> Option<Vec<u32>> {
    let fleets: Vec<FleetSnapshot> = members.iter().map(Member::fleet).collect::<Option<_>>()?;
    let count = u32::try_from(members.len()).expect("few");
    // One connection is the watch's.
    let limit = PLACES - RESERVE - 1 - count;
    let agreed = fleets
        .iter()
        .all(|fleet| fleet.peers == count && fleet.limit == limit && fleet.share == fleet.target);
    let shares: Vec<u32> = fleets.iter().map(|fleet| fleet.share).collect();
    let whole = shares.iter().sum::<u32>() == limit;
    (agreed && whole && shares.iter().all(|&share| share >= MINIMUM)).then_some(shares)
}

fn wait_until_settled(members: &[Member]) -> Vec<u32> {
    let what = format!("{} members to agree on their shares", members.len());
    wait_for(&what, 3 * SOON, || settled(members)).expect("shares settle")
}

fn postgres() -> Postgres {
    let postgres = Postgres::builder().max_connections(81).start().expect("a PostgreSQL");
    for user in ["shop", "stock"] {
        postgres.sql(&format!("create role {user} login")).expect("a role");
    }
    postgres
}

/// On another thread: asking and waiting block, and the clients go on meanwhile.
async fn blocking<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(what).await.expect("no panic")
}

#[tokio::test]
async fn e2e_two_services_blue_and_green_share_81_connections_and_no_client_is_refused() {
    let postgres = postgres();
    let watch = Watch::begin(&postgres);
    let mut members: Vec<Member> =
        ["shop", "stock"].map(|user| Member::start(&postgres, user)).into();
    let mut loads = Vec::new();
    for member in &members {
        loads.push(Load::on(member, 30).await);
    }
    let members_settled = blocking(move || (wait_until_settled(&members), members)).await;
    let (shares, blue) = members_settled;
    assert_eq!(shares.iter().sum::<u32>(), 70, "blue has everything: {shares:?}");
    members = blue;
    for user in ["shop", "stock"] {
        members.push(Member::start(&postgres, user));
        loads.push(Load::on(members.last().expect("just pushed"), 30).await);
    }
    let (shares, mut members) = blocking(move || (wait_until_settled(&members), members)).await;
    assert!(shares.iter().all(|&share| share >= 10), "all are busy: {shares:?}");

    // One is killed: its clients are lost with it, and its share is with the others.
    let mut killed = members.remove(0);
    loads.remove(0).clients.shutdown().await;
    let killed_at = Instant::now();
    killed.process.signal(stent_testkit::Signal::KILL).expect("killed");
    let (shares, members) = blocking(move || (wait_until_settled(&members), members)).await;
    eprintln!("shares {shares:?} {:?} after a kill", killed_at.elapsed());
    assert_eq!(shares.iter().sum::<u32>(), 69, "nothing is stranded: {shares:?}");
    for load in loads {
        load.end().await;
    }
    assert_eq!(refusals(&members), 0, "PostgreSQL has refused nobody");
    let most = watch.end();
    assert!(most <= PLACES, "{most} connections of {PLACES}");
}

#[tokio::test]
async fn e2e_twenty_members_share_81_connections_and_each_keeps_its_minimum() {
    let postgres = postgres();
    let watch = Watch::begin(&postgres);
    let mut members = Vec::new();
    let mut loads = Vec::new();
    for at in 0..20 {
        members.push(Member::start(&postgres, ["shop", "stock"][at % 2]));
    }
    for member in &members {
        loads.push(Load::on(member, 4).await);
    }
    let (shares, members) = blocking(move || (wait_until_settled(&members), members)).await;
    eprintln!("shares {shares:?}");
    assert_eq!(shares.iter().sum::<u32>(), 52, "nothing is stranded: {shares:?}");
    for load in loads {
        load.end().await;
    }
    assert_eq!(refusals(&members), 0, "PostgreSQL has refused nobody");
    let most = watch.end();
    assert!(most <= PLACES, "{most} connections of {PLACES}");
}
