//! The fleet budget of one proxy: its control connection, and what it makes of strangers.

use std::time::Duration;

use stent_contract::snapshot::FleetSnapshot;
use stent_proxy::config::fleet::FleetBudget;
use stent_testkit::{Postgres, wait_for};
use tokio_postgres::NoTls;

use super::console::rows;
use super::support::{PATIENCE, Proxy};

const RESERVE: u32 = 3;
/// Of 20, three are reserved for superusers.
const PLACES: u32 = 20 - 3;

/// A proxy with a budget.
pub(crate) fn member(pg: &Postgres) -> Proxy {
    Proxy::start(pg, |config| {
        config.console_users = vec!["ops".to_owned()];
        let interval = Duration::from_millis(200);
        config.fleet = Some(FleetBudget { interval, minimum: 2, reserve: RESERVE });
    })
}

async fn until(proxy: &Proxy, what: &str, is: impl Fn(&FleetSnapshot) -> bool) -> FleetSnapshot {
    let fleet = || proxy.snapshot().fleet.expect("there is a budget");
    super::support::until(what, || is(&fleet())).await;
    fleet()
}

fn control_pid(pg: &Postgres) -> Option<u32> {
    let sql = "select pid from pg_stat_activity where application_name like 'stent/1 %'";
    pg.query(sql).unwrap().first().map(|row| row[0].as_deref().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_lone_proxy_has_everything_but_the_reserve_and_says_so() {
    let pg = Postgres::builder().max_connections(20).start().unwrap();
    let proxy = member(&pg);
    let all = PLACES - RESERVE - 1;
    let fleet = until(&proxy, "its share", |fleet| fleet.share == all).await;
    assert_eq!((fleet.limit, fleet.peers, fleet.others), (all, 1, 0));
    assert_eq!(fleet.error, None);
    let (_, page) = proxy.get("/metrics");
    for line in ["stent_fleet_share 13", "stent_fleet_limit 13", "stent_fleet_peers 1"] {
        assert!(page.contains(line), "{line}");
    }
    let console = proxy.connect(&proxy.dsn("ops", "stent")).await.unwrap();
    let shown = rows(&console, "SHOW FLEET").await;
    let [row] = shown.as_slice() else { panic!("one proxy: {shown:?}") };
    let value = |name: &str| &row.iter().find(|(column, _)| column == name).unwrap().1;
    assert_eq!((value("self").as_str(), value("share").as_str()), ("yes", "13"));
    assert_eq!(value("backend_pid"), &control_pid(&pg).unwrap().to_string());
}

#[tokio::test]
async fn a_share_gives_way_to_strangers_and_comes_back_after_them() {
    let pg = Postgres::builder().max_connections(20).start().unwrap();
    let proxy = member(&pg);
    let all = PLACES - RESERVE - 1;
    until(&proxy, "its share", |fleet| fleet.share == all).await;
    let mut strangers = Vec::new();
    for _ in 0..8 {
        let (client, connection) = tokio_postgres::connect(&pg.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        strangers.push(client);
    }
    until(&proxy, "less of a share", |fleet| fleet.share == all - 8).await;
    drop(strangers);
    until(&proxy, "its share again", |fleet| fleet.share == all).await;
}

#[tokio::test]
async fn without_its_control_connection_a_proxy_keeps_what_it_has_and_comes_back() {
    let pg = Postgres::builder().max_connections(20).start().unwrap();
    let proxy = member(&pg);
    let all = PLACES - RESERVE - 1;
    until(&proxy, "its share", |fleet| fleet.share == all).await;
    let client = proxy.client().await;
    client.batch_execute("begin; select 1").await.unwrap();
    let before = control_pid(&pg).unwrap();
    pg.terminate_backend(before).unwrap();
    wait_for("another control connection", PATIENCE, || {
        control_pid(&pg).filter(|&pid| pid != before)
    })
    .unwrap();
    client.batch_execute("select 2; commit").await.unwrap();
    let fleet = until(&proxy, "its share again", |fleet| fleet.share == all).await;
    assert_eq!(fleet.error, None);
}

#[tokio::test]
async fn a_proxy_that_cannot_log_in_lets_its_clients_hear_why() {
    let pg = Postgres::builder().max_connections(20).start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.upstream.database = Some("nowhere".to_owned());
        let interval = Duration::from_millis(200);
        config.fleet = Some(FleetBudget { interval, minimum: 2, reserve: RESERVE });
    });
    let error = proxy.connect(&proxy.dsn("postgres", "nowhere")).await.err().unwrap();
    assert_eq!(error.code().unwrap().code(), "3D000", "{error:?}");
    let fleet = until(&proxy, "the reason", |fleet| fleet.error.is_some()).await;
    assert!(fleet.error.unwrap().contains("3D000"));
}
