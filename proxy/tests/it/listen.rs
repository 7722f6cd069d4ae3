//! LISTEN and NOTIFY in transaction mode: as on a connection of one's own, without a server of
//! one's own. Checklist 66.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use stent_proxy::config::PoolMode;
use stent_testkit::{Postgres, wait_until};
use tokio_postgres::{AsyncMessage, Client, NoTls, Notification, SimpleQueryMessage};

use super::raw::{Raw, bind, execute, field, parse, query, sync};
use super::support::{PATIENCE, Proxy, code, until};

/// A client that keeps what it is notified of.
pub(crate) struct Listener {
    pub(crate) client: Client,
    heard: Arc<Mutex<VecDeque<Notification>>>,
    /// The notices' codes.
    pub(crate) notices: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    pub(crate) async fn connect(dsn: &str) -> Self {
        let (client, mut connection) = tokio_postgres::connect(dsn, NoTls).await.unwrap();
        let (heard, notices) = (Arc::default(), Arc::default());
        let (into, noticed) = (Arc::clone(&heard), Arc::clone(&notices));
        tokio::spawn(async move {
            while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                let message = match message {
                    Ok(message) => message,
                    Err(error) => return eprintln!("the connection ended: {error:?}"),
                };
                match message {
                    AsyncMessage::Notification(notification) => {
                        Mutex::<VecDeque<_>>::lock(&into).unwrap().push_back(notification);
                    }
                    AsyncMessage::Notice(notice) => {
                        let code = notice.code().code().to_owned();
                        Mutex::<Vec<_>>::lock(&noticed).unwrap().push(code);
                    }
                    _ => {}
                }
            }
        });
        Self { client, heard, notices }
    }

    pub(crate) async fn through(proxy: &Proxy) -> Self {
        Self::connect(&proxy.dsn("postgres", "postgres")).await
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// Channel and payload of the next `count`, and nothing behind them so far.
    pub(crate) async fn next(&self, count: usize) -> Vec<(String, String)> {
        let what = format!("{count} notifications");
        until(&what, || self.heard.lock().unwrap().len() >= count).await;
        let heard = self.heard.lock().unwrap().drain(..).collect::<Vec<_>>();
        heard.iter().map(|n| (n.channel().to_owned(), n.payload().to_owned())).collect()
    }

    /// Everything up to this payload.
    pub(crate) async fn up_to(&self, payload: &str) -> Vec<(String, String)> {
        let is_there = || self.heard.lock().unwrap().iter().any(|n| n.payload() == payload);
        until(&format!("the notification {payload}"), is_there).await;
        self.next(1).await
    }
}

/// What one client's session listens on, as PostgreSQL says.
async fn channels(client: &Client) -> Vec<String> {
    let rows = client.simple_query("select pg_listening_channels() order by 1").await.unwrap();
    let rows = rows.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
        SimpleQueryMessage::CommandComplete(_) | _ => None,
    });
    rows.collect()
}

pub(crate) fn start(pg: &Postgres, size: u32) -> Proxy {
    Proxy::start(pg, |config| config.default_pool_size = NonZeroU32::new(size).unwrap())
}

pub(crate) fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(channel, payload)| ((*channel).to_owned(), (*payload).to_owned())).collect()
}

#[tokio::test]
async fn all_listeners_of_a_pool_of_one_are_notified_once_and_hold_no_server() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let (a, b) = (Listener::through(&proxy).await, Listener::through(&proxy).await);
    a.run("listen jobs").await;
    b.run("listen jobs; listen other").await;
    let third = proxy.client().await;
    pg.sql("notify jobs, 'direct'").unwrap();
    third.batch_execute("notify jobs, 'by a third'; notify other, 'for b'").await.unwrap();
    assert_eq!(a.next(2).await, owned(&[("jobs", "direct"), ("jobs", "by a third")]));
    let of_b = owned(&[("jobs", "direct"), ("jobs", "by a third"), ("other", "for b")]);
    assert_eq!(b.next(3).await, of_b);
    let pool = proxy.snapshot().pools.remove(0);
    assert_eq!((pool.servers_pinned, pool.servers_listening, pool.clients_listening), (0, 1, 2));
    assert_eq!((pool.size_max, pool.pins.len()), (1, 0));
}

#[tokio::test]
async fn the_process_id_is_the_notifying_backends() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 2);
    let a = Listener::through(&proxy).await;
    a.run("listen jobs").await;
    let direct = tokio_postgres::connect(&pg.url(), NoTls).await.unwrap();
    let task = tokio::spawn(direct.1);
    let pid: i32 = direct.0.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    direct.0.batch_execute("notify jobs").await.unwrap();
    until("it", || !a.heard.lock().unwrap().is_empty()).await;
    assert_eq!(a.heard.lock().unwrap()[0].process_id(), pid);
    task.abort();
}

#[test]
fn an_own_notification_comes_in_front_of_ready_for_query_and_once() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let mut raw = Raw::login(&proxy);
    let mut tags = |sql: &str| {
        raw.send(&query(sql));
        raw.tags()
    };
    for _ in 0..50 {
        assert_eq!(tags("listen jobs"), "CZ");
        assert_eq!(tags("notify jobs, 'x'"), "CAZ");
        assert_eq!(tags("notify jobs, 'x'; notify jobs, 'x'"), "CCAZ", "equal ones are one");
        assert_eq!(tags("begin"), "CZ");
        assert_eq!(tags("notify jobs, '1'; notify jobs, '2'"), "CCZ");
        assert_eq!(tags("commit"), "CAAZ");
        assert_eq!(tags("begin; notify jobs, 'never'"), "CCZ");
        assert_eq!(tags("rollback"), "CZ");
        assert_eq!(tags("unlisten jobs; notify other"), "CCZ");
        assert_eq!(tags("listen a; notify a"), "CCAZ");
        assert_eq!(tags("unlisten *; select 1"), "CTDCZ");
        assert_eq!(tags("notify jobs; notify a"), "CCZ");
    }
}

#[tokio::test]
async fn in_the_extended_protocol_it_is_the_same() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let mut raw = Raw::login(&proxy);
    for sql in ["listen jobs", "notify jobs, 'x'", "unlisten jobs", "notify jobs, 'y'"] {
        raw.send(&[parse("", sql), bind(""), execute(), sync()].concat());
        let tags = raw.tags();
        assert_eq!(tags, if sql.ends_with("'x'") { "12CAZ" } else { "12CZ" }, "{sql}");
    }
    let a = Listener::through(&proxy).await;
    let listen = a.client.prepare("listen jobs").await.unwrap();
    a.client.execute(&listen, &[]).await.unwrap();
    pg.sql("notify jobs, 'named'").unwrap();
    assert_eq!(a.next(1).await, owned(&[("jobs", "named")]));
    assert_eq!(proxy.snapshot().pools[0].servers_pinned, 0);
}

#[tokio::test]
async fn around_listen_nothing_is_lost_and_nothing_comes_twice() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 2);
    let (mut sent, rounds) = (0_u32, 40);
    for round in 0..rounds {
        let (notifier, connection) = tokio_postgres::connect(&pg.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        let a = Listener::through(&proxy).await;
        let from = sent;
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (stopped, first) = (Arc::clone(&stop), sent);
        let storm = tokio::spawn(async move {
            let mut n = first;
            while !stopped.load(std::sync::atomic::Ordering::SeqCst) {
                // Long enough for messages that are cut in the middle, wherever they meet others.
                let sql = format!("select pg_notify('storm', {n} || repeat(' ', 3000))");
                notifier.batch_execute(&sql).await.unwrap();
                n += 1;
            }
            notifier.batch_execute(&format!("notify storm, 'end {round}'")).await.unwrap();
            n
        });
        // By turns first of all, and beside another channel.
        if round % 2 == 1 {
            a.run("listen other").await;
        }
        a.run("listen storm").await;
        a.run("select 1").await;
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        sent = storm.await.unwrap();
        let heard = a.up_to(&format!("end {round}")).await;
        let numbers: Vec<u32> = heard.iter().filter_map(|(_, n)| n.trim().parse().ok()).collect();
        assert_eq!(heard.len(), numbers.len() + 1, "{heard:?}");
        let begin = numbers.first().copied().unwrap_or(sent);
        assert!(begin >= from);
        assert_eq!(numbers, (begin..sent).collect::<Vec<_>>(), "round {round}");
    }
}

#[tokio::test]
async fn what_is_notified_after_listen_has_returned_arrives() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    for round in 0..50 {
        let a = Listener::through(&proxy).await;
        a.run(&format!("listen c{round}")).await;
        pg.sql(&format!("notify c{round}, 'at once'")).unwrap();
        assert_eq!(a.next(1).await, owned(&[(&format!("c{round}"), "at once")]));
    }
}

#[tokio::test]
async fn the_longest_payload_passes_and_a_longer_one_is_postgresqls_to_refuse() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let a = Listener::through(&proxy).await;
    a.run("listen big").await;
    let sender = proxy.client().await;
    let longest = "x".repeat(7_999);
    sender.batch_execute(&format!("notify big, '{longest}'")).await.unwrap();
    a.run(&format!("notify big, '{longest}'")).await;
    assert_eq!(a.next(2).await, owned(&[("big", &longest), ("big", &longest)]));
    let error = sender.batch_execute(&format!("notify big, '{longest}x'")).await.unwrap_err();
    assert_eq!(code(&error), "22023");
}

#[tokio::test]
async fn a_hundred_listeners_hold_one_connection_beside_the_pool() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 2);
    let mut listeners = Vec::new();
    for n in 0..100 {
        let listener = Listener::through(&proxy).await;
        listener.run(&format!("listen all_of_us; listen mine_{n}")).await;
        listeners.push(listener);
    }
    pg.sql("notify all_of_us, 'hello'").unwrap();
    pg.sql("select pg_notify('mine_' || n, n::text) from generate_series(0, 99) n").unwrap();
    for (n, listener) in listeners.iter().enumerate() {
        let own = (format!("mine_{n}"), n.to_string());
        assert_eq!(listener.next(2).await, [owned(&[("all_of_us", "hello")]).remove(0), own]);
    }
    let count = "select count(*) from pg_stat_activity where backend_type = 'client backend' \
                 and pid <> pg_backend_pid()";
    assert!(pg.value(count).unwrap().parse::<u32>().unwrap() <= 3);
    assert_eq!(proxy.snapshot().pools[0].clients_listening, 100);
    drop(listeners);
    until("nobody to listen", || proxy.snapshot().pools[0].clients_listening == 0).await;
}

/// What clients do, one after the other in one session.
const SCRIPT: [&str; 31] = [
    "listen a",
    "listen a",
    "listen A",
    "listen \"A\"",
    "listen \"with \"\"quotes\"\" and space\"",
    "begin; listen b; rollback",
    "begin; listen c; savepoint s; listen d; rollback to s; commit",
    "begin; unlisten a; rollback",
    "begin; unlisten a; listen a; commit",
    "begin; listen e; unlisten e; commit",
    "select 1",
    "begin; select 1; unlisten c; select 1; commit",
    "unlisten nobody",
    "unlisten A",
    "listen a; listen f",
    "do $$begin execute 'listen g'; execute 'unlisten f'; end$$",
    "create function h() returns void language plpgsql as $$begin execute 'listen h'; end$$",
    "select h()",
    "begin; unlisten *; rollback",
    "prepare p as select 1",
    "listen i",
    "deallocate p",
    "discard plans",
    "begin; unlisten \"A\"; savepoint s; unlisten *; rollback to s; commit",
    "set work_mem = '7MB'",
    "discard all",
    "listen j",
    "create temp table t (x int); listen k; unlisten j",
    "drop table t",
    "unlisten *",
    "listen l; listen m",
];

#[tokio::test]
async fn any_script_listens_on_what_it_listens_on_directly() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 2);
    let a = Listener::through(&proxy).await;
    let direct = Listener::connect(&pg.url()).await;
    // Somebody else who uses the servers in between.
    let other = proxy.client().await;
    let names = ["a", "A", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"];
    for (step, sql) in SCRIPT.iter().enumerate() {
        a.run(sql).await;
        direct.run(&sql.replace("create function h()", "create or replace function h()")).await;
        assert_eq!(channels(&a.client).await, channels(&direct.client).await, "{sql}");
        assert_eq!(channels(&other).await, Vec::<String>::new(), "{sql}");
        for name in names {
            pg.sql(&format!("notify \"{name}\", '{step}'")).unwrap();
        }
        pg.sql(&format!("notify \"with \"\"quotes\"\" and space\", '{step}'")).unwrap();
    }
    a.run("listen the_end").await;
    direct.run("listen the_end").await;
    pg.sql("notify the_end, 'end'").unwrap();
    let (heard, expected) = (a.up_to("end").await, direct.up_to("end").await);
    assert_eq!(heard, expected);
    assert_eq!(proxy.snapshot().pools[0].servers_pinned, 0);
}

#[tokio::test]
async fn a_listen_that_is_rolled_back_is_not_kept() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let a = Listener::through(&proxy).await;
    a.run("begin; listen jobs; rollback").await;
    assert!(a.client.batch_execute("listen jobs; select 1/0").await.is_err());
    pg.sql("notify jobs, 'never'").unwrap();
    a.run("listen the_end").await;
    pg.sql("notify the_end, 'end'").unwrap();
    assert_eq!(a.up_to("end").await, owned(&[("the_end", "end")]));
    let pool = proxy.snapshot().pools.remove(0);
    assert_eq!((pool.servers_listening, pool.clients_listening), (1, 1));
}

#[tokio::test]
async fn inside_a_transaction_notifications_wait_for_its_end() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 2);
    let mut raw = Raw::login(&proxy);
    let witness = Listener::through(&proxy).await;
    witness.run("listen jobs").await;
    for sql in ["listen jobs", "begin"] {
        raw.send(&query(sql));
        assert_eq!(raw.tags(), "CZ");
    }
    pg.sql("notify jobs, 'meanwhile'").unwrap();
    witness.next(1).await;
    raw.send(&query("select 1"));
    assert_eq!(raw.tags(), "TDCZ");
    raw.send(&query("commit"));
    assert_eq!(raw.tags(), "CAZ");
}

#[tokio::test]
async fn a_client_that_holds_other_state_listens_on_its_own_server_until_that_is_gone() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 2);
    let a = Listener::through(&proxy).await;
    a.run("listen early").await;
    a.run("create temp table t (x int)").await;
    a.run("listen late").await;
    assert_eq!(proxy.snapshot().holders[0].pinned_by, ["temp_table", "listen"]);
    pg.sql("notify early, '1'").unwrap();
    pg.sql("notify late, '2'").unwrap();
    let mut heard = a.next(2).await;
    heard.sort();
    assert_eq!(heard, owned(&[("early", "1"), ("late", "2")]));
    a.run("notify early, 'own'; notify late, 'own'").await;
    assert_eq!(a.next(2).await, owned(&[("early", "own"), ("late", "own")]));
    a.run("drop table t").await;
    until("the server to go back", || proxy.snapshot().pools[0].servers_pinned == 0).await;
    pg.sql("notify early, '3'").unwrap();
    pg.sql("notify late, '4'").unwrap();
    assert_eq!(a.next(2).await, owned(&[("early", "3"), ("late", "4")]));
}

#[tokio::test]
async fn a_client_of_another_encoding_keeps_its_server_and_hears_in_its_own() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 2);
    let mut raw = Raw::login(&proxy);
    for sql in [&b"set client_encoding = 'LATIN1'"[..], b"listen \"caf\xe9\""] {
        raw.send(&super::raw::message(b'Q', &[sql, b"\0"].concat()));
        raw.until_ready();
    }
    assert_eq!(proxy.snapshot().holders[0].pinned_by, ["listen"]);
    pg.sql("notify \"café\", 'é'").unwrap();
    let (tag, body) = raw.next().unwrap();
    assert_eq!((tag, &body[4..]), (b'A', &b"caf\xe9\0\xe9\0"[..]));
}

#[tokio::test]
async fn a_listener_that_changes_its_encoding_hears_on_in_the_new_one() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 2);
    let mut raw = Raw::login(&proxy);
    for sql in ["listen \"café\"", "set client_encoding = 'LATIN1'"] {
        raw.send(&query(sql));
        raw.until_ready();
    }
    let (tag, warning) = raw.next().unwrap();
    assert_eq!((tag, field(&warning, b'C')), (b'N', "01000".to_owned()));
    assert_eq!(proxy.snapshot().holders[0].pinned_by, ["listen"]);
    pg.sql("notify \"café\", 'é'").unwrap();
    let (tag, body) = raw.next().unwrap();
    assert_eq!((tag, &body[4..]), (b'A', &b"caf\xe9\0\xe9\0"[..]));
}

#[tokio::test]
async fn session_mode_has_no_listening_connection() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| config.pool_mode = PoolMode::Session);
    let a = Listener::through(&proxy).await;
    a.run("listen jobs; notify jobs, 'own'").await;
    pg.sql("notify jobs, 'direct'").unwrap();
    assert_eq!(a.next(2).await, owned(&[("jobs", "own"), ("jobs", "direct")]));
    assert_eq!(proxy.snapshot().pools[0].servers_listening, 0);
}

#[test]
fn psql_listens_through_the_proxy() {
    use std::io::Write;
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let port = proxy.port.to_string();
    let mut command = pg.client("psql").unwrap();
    command.args(["-X", "-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-d", "postgres"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut psql = command.spawn().unwrap();
    let mut input = psql.stdin.take().unwrap();
    writeln!(input, "listen jobs;").unwrap();
    wait_until("it to be listened for", PATIENCE, || {
        let pool = proxy.snapshot().pools.remove(0);
        (pool.clients_listening, pool.servers_idle) == (1, 1)
    })
    .unwrap();
    pg.sql("notify jobs, 'from outside'").unwrap();
    // psql shows what is there when a statement ends.
    wait_until("it to be heard", PATIENCE, || {
        proxy
            .get("/metrics")
            .1
            .lines()
            .any(|line| line.starts_with("stent_notifications_total") && line.ends_with("} 1"))
    })
    .unwrap();
    writeln!(input, "notify jobs, 'own';").unwrap();
    drop(input);
    let output = psql.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    for payload in ["from outside", "own"] {
        let line = format!("\"jobs\" with payload \"{payload}\" received from server process");
        assert!(said.contains(&line), "{said}");
    }
}
