//! Classes of clients: who waits behind whom.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stent_proxy::config::{Class, ClassRule, Config, QueueClasses, Whom};
use stent_testkit::Postgres;
use tokio_postgres::Client;

use super::console::{rows, value};
use super::support::{Proxy, code, until};

/// One server; clients whose name begins with "report" are served once for three others.
fn classed(config: &mut Config) {
    config.default_pool_size = NonZeroU32::MIN;
    let whom = Whom { application_name: Some("report*".to_owned()), ..Whom::EVERYBODY };
    config.queue_classes = QueueClasses {
        names: vec!["default".to_owned(), "background".to_owned()],
        weights: [3, 1].into_iter().filter_map(NonZeroU16::new).collect(),
        rules: vec![ClassRule { class: Class(1), whom }],
    };
}

async fn named(proxy: &Proxy, name: &str) -> Client {
    let dsn = format!("{} application_name={name}", proxy.dsn("postgres", "postgres"));
    proxy.connect(&dsn).await.unwrap()
}

/// Queues the clients one after the other behind a held server; the order in which they are served.
async fn served(proxy: &Proxy, holder: Client, clients: Vec<(&'static str, Client)>) -> String {
    let order = Arc::new(Mutex::new(Vec::new()));
    holder.batch_execute("begin").await.unwrap();
    let mut tasks = Vec::new();
    for (nth, (name, client)) in (1..).zip(clients) {
        let order = Arc::clone(&order);
        tasks.push(tokio::spawn(async move {
            // The transaction is open when its turn is written down, so nobody else is served yet.
            client.batch_execute("begin").await.unwrap();
            order.lock().unwrap().push(name);
            client.batch_execute("commit").await.unwrap();
        }));
        until("it to wait", || proxy.snapshot().pools[0].clients_waiting == nth).await;
    }
    holder.batch_execute("commit").await.unwrap();
    for task in tasks {
        task.await.unwrap();
    }
    let order = order.lock().unwrap();
    order.join(" ")
}

#[tokio::test]
async fn a_class_waits_behind_the_others_and_gets_its_share() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, classed);
    let holder = named(&proxy, "holder").await;
    let mut clients = Vec::new();
    for (name, said) in [("report-a", "r1"), ("report-b", "r2"), ("api", "a1"), ("api", "a2")] {
        clients.push((said, named(&proxy, name).await));
    }
    for said in ["a3", "a4", "a5"] {
        clients.push((said, named(&proxy, "api").await));
    }
    assert_eq!(served(&proxy, holder, clients).await, "a1 r1 a2 a3 a4 r2 a5");
}

#[tokio::test]
async fn a_client_that_takes_another_name_is_of_another_class() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, classed);
    let holder = named(&proxy, "holder").await;
    let (was_api, was_report) = (named(&proxy, "api").await, named(&proxy, "report").await);
    was_api.batch_execute("set application_name = 'reporting'").await.unwrap();
    was_report.batch_execute("set application_name = 'api'").await.unwrap();
    let clients = vec![("reports", was_api), ("calls", was_report)];
    assert_eq!(served(&proxy, holder, clients).await, "calls reports");
}

async fn console(proxy: &Proxy) -> Client {
    proxy.connect(&proxy.dsn("ops", "stent")).await.unwrap()
}

/// What SHOW CLASSES has of each class in these columns.
async fn shown(console: &Client, columns: &[&str]) -> Vec<String> {
    let rows = rows(console, "SHOW CLASSES").await;
    let told = |column: &&str, row: &[(String, String)]| value(row, column).to_owned();
    let line = |row: &Vec<_>| columns.iter().map(|column| told(column, row)).collect::<Vec<_>>();
    rows.iter().map(|row| line(row).join(" ")).collect()
}

/// How often each of the two classes was served.
async fn served_so_far(console: &Client) -> [u64; 2] {
    let served = shown(console, &["served"]).await;
    [0, 1].map(|class| served[class].parse().unwrap())
}

#[tokio::test]
async fn who_waits_and_who_is_served_is_counted_by_class() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        classed(config);
        config.console_users = vec!["ops".to_owned()];
    });
    let console = console(&proxy).await;
    let (holder, report) = (named(&proxy, "holder").await, named(&proxy, "report").await);
    assert_eq!(shown(&console, &["class", "weight"]).await, ["default 3", "background 1"]);
    // A login may have needed a server too.
    let [usual, background] = served_so_far(&console).await;
    holder.batch_execute("begin").await.unwrap();
    assert_eq!(served_so_far(&console).await, [usual + 1, background]);
    let waits = tokio::spawn(async move { report.batch_execute("select 1").await });
    until("it to wait", || proxy.snapshot().pools[0].clients_waiting == 1).await;
    let metric = |name: &str, class: &str| {
        let (_, page) = proxy.get("/metrics");
        let series = format!("{name}{{class=\"{class}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&series)?.parse::<f64>().ok())
    };
    assert_eq!(shown(&console, &["waiting"]).await, ["0", "1"]);
    assert_eq!(served_so_far(&console).await, [usual + 1, background]);
    assert_eq!(metric("stent_class_clients_waiting", "background"), Some(1.0));
    assert!(metric("stent_class_maxwait_seconds", "background").is_some_and(|wait| wait > 0.0));
    assert_eq!(metric("stent_class_maxwait_seconds", "default"), Some(0.0));
    holder.batch_execute("commit").await.unwrap();
    waits.await.unwrap().unwrap();
    assert_eq!(shown(&console, &["waiting", "maxwait"]).await, ["0 0", "0 0"]);
    assert_eq!(served_so_far(&console).await, [usual + 1, background + 1]);
    let told = metric("stent_class_checkouts_total", "background");
    assert_eq!(told, Some((background + 1) as f64));
}

#[tokio::test]
async fn a_wait_that_is_given_up_is_counted_in_its_class() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        classed(config);
        config.console_users = vec!["ops".to_owned()];
        config.query_wait_timeout = Some(Duration::from_secs(2));
    });
    let (holder, report) = (named(&proxy, "holder").await, named(&proxy, "report").await);
    holder.batch_execute("begin").await.unwrap();
    let refused = report.batch_execute("select 1").await.unwrap_err();
    assert_eq!(code(&refused), "53300");
    let console = console(&proxy).await;
    assert_eq!(shown(&console, &["waiting", "timeouts"]).await, ["0 0", "0 1"]);
    let (_, page) = proxy.get("/metrics");
    assert!(page.contains("stent_class_timeouts_total{class=\"background\"} 1\n"), "{page}");
}

#[tokio::test]
async fn where_there_are_no_classes_none_is_shown() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| config.console_users = vec!["ops".to_owned()]);
    assert!(rows(&console(&proxy).await, "SHOW CLASSES").await.is_empty());
}
