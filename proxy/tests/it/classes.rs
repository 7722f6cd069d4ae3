//! Classes of clients: who waits behind whom.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::{Arc, Mutex};

use stent_proxy::config::{Class, ClassRule, Config, QueueClasses};
use stent_testkit::Postgres;
use tokio_postgres::Client;

use super::support::{Proxy, until};

/// One server; clients whose name begins with "report" are served once for three others.
fn classed(config: &mut Config) {
    config.default_pool_size = NonZeroU32::MIN;
    let (database, user, application_name) = (None, None, Some("report*".to_owned()));
    config.queue_classes = QueueClasses {
        names: vec!["default".to_owned(), "background".to_owned()],
        weights: [3, 1].into_iter().filter_map(NonZeroU16::new).collect(),
        rules: vec![ClassRule { class: Class(1), database, user, application_name }],
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
