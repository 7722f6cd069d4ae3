//! The admin console: who gets in, what it answers, and that it needs no server and no room.

use std::num::NonZeroU32;

use stent_proxy::config::{AuthMethod, Change, Shown, SizeRule, Whom};
use stent_testkit::{Postgres, TempDir};
use tokio_postgres::SimpleQueryMessage;

use super::raw::{Raw, execute, field, parse, query, startup, sync};
use super::support::{Proxy, code, until, user};

/// The rows of an answer, by column.
pub(crate) async fn rows(client: &tokio_postgres::Client, sql: &str) -> Vec<Vec<(String, String)>> {
    let messages = client.simple_query(sql).await.unwrap();
    let mut rows = Vec::new();
    for message in &messages {
        if let SimpleQueryMessage::Row(row) = message {
            let names = row.columns().iter().map(|column| column.name().to_owned());
            let values = (0..row.len()).map(|n| row.get(n).unwrap_or("NULL").to_owned());
            rows.push(names.zip(values).collect());
        }
    }
    rows
}

pub(crate) fn value<'a>(row: &'a [(String, String)], column: &str) -> &'a str {
    &row.iter().find(|(name, _)| name == column).expect(column).1
}

fn with_console(pg: &Postgres) -> Proxy {
    Proxy::start(pg, |config| config.console_users = vec!["ops".to_owned()])
}

#[tokio::test]
async fn show_pools_counts_clients_and_servers_under_pgbouncers_columns() {
    let pg = Postgres::start().unwrap();
    let proxy = with_console(&pg);
    let (busy, _idle) = (proxy.client().await, proxy.client().await);
    busy.batch_execute("begin; select 1").await.unwrap();
    let console = proxy.connect(&proxy.dsn("ops", "stent")).await.unwrap();
    let pools = rows(&console, "SHOW POOLS").await;
    let columns: Vec<&str> = pools[0].iter().map(|(name, _)| name.as_str()).collect();
    let wanted = "database,user,cl_active,cl_waiting,cl_active_cancel_req,cl_waiting_cancel_req,\
                  sv_active,sv_active_cancel,sv_being_canceled,sv_idle,sv_used,sv_tested,sv_login,\
                  maxwait,maxwait_us,pool_mode,load_balance_hosts";
    assert_eq!(columns.join(","), wanted);
    let pool = pools.iter().find(|row| value(row, "user") == "postgres").unwrap();
    assert_eq!((value(pool, "database"), value(pool, "pool_mode")), ("postgres", "transaction"));
    assert_eq!((value(pool, "cl_active"), value(pool, "cl_waiting")), ("2", "0"));
    assert_eq!(value(pool, "sv_active"), "1");
}

#[tokio::test]
async fn a_waiting_client_is_shown_with_the_time_that_it_has_waited() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.console_users = vec!["ops".to_owned()];
        config.default_pool_size = NonZeroU32::MIN;
    });
    let mut waiting = Raw::login(&proxy);
    let busy = proxy.client().await;
    busy.batch_execute("begin").await.unwrap();
    waiting.send(&query("select 1"));
    let console = proxy.connect(&proxy.dsn("ops", "pgbouncer")).await.unwrap();
    until("the client to wait", || proxy.snapshot().pools[0].clients_waiting == 1).await;
    let pools = rows(&console, "show pools;").await;
    assert_eq!((value(&pools[0], "cl_active"), value(&pools[0], "cl_waiting")), ("1", "1"));
    let wait = format!("{}{}", value(&pools[0], "maxwait"), value(&pools[0], "maxwait_us"));
    assert!(wait.bytes().any(|digit| digit != b'0'), "{wait}");
}

/// PgBouncer's, of SHOW CLIENTS and SHOW SERVERS.
const CONNECTION: &str = "type,user,database,replication,state,addr,port,local_addr,local_port,\
                          connect_time,request_time,wait,wait_us,close_needed,ptr,link,remote_pid,tls,\
                          application_name,prepared_statements,id";

fn columns(row: &[(String, String)]) -> String {
    row.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn clients_and_servers_are_shown_with_whom_they_belong_to() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.console_users = vec!["ops".to_owned()];
        config.default_pool_size = NonZeroU32::MIN;
    });
    let busy = proxy.client().await;
    busy.batch_execute("set application_name to 'orders'; begin; select 1").await.unwrap();
    let mut waiting = Raw::login(&proxy);
    waiting.send(&query("select 2"));
    let console = proxy.connect(&proxy.dsn("ops", "stent")).await.unwrap();
    until("a client to wait", || proxy.snapshot().pools[0].clients_waiting == 1).await;
    let (clients, servers) =
        (rows(&console, "SHOW CLIENTS").await, rows(&console, "SHOW SERVERS").await);
    assert_eq!(
        (columns(&clients[0]), columns(&servers[0])),
        (CONNECTION.into(), CONNECTION.into())
    );
    let of = |state: &str| clients.iter().find(|row| value(row, "state") == state).unwrap();
    let (active, queued, server) = (of("active"), of("waiting"), &servers[0]);
    assert_eq!(servers.len(), 1);
    assert_eq!(value(active, "link"), value(server, "ptr"));
    assert_eq!(value(server, "link"), value(active, "ptr"));
    assert_eq!((value(server, "state"), value(server, "application_name")), ("active", "orders"));
    let backend = busy.query_one("select pg_backend_pid()::text", &[]).await.unwrap();
    assert_eq!(value(server, "remote_pid"), backend.get::<_, &str>(0));
    assert_eq!((value(queued, "link"), value(active, "wait_us")), ("NULL", "0"));
    let wait = format!("{}{}", value(queued, "wait"), value(queued, "wait_us"));
    assert!(wait.bytes().any(|digit| digit != b'0'), "{wait}");
    assert!(value(active, "connect_time").ends_with(" UTC"), "{active:?}");
    busy.batch_execute("rollback").await.unwrap();
    assert_eq!(waiting.tags(), "TDCZ");
    until("the server to be idle", || proxy.snapshot().pools[0].servers_idle == 1).await;
    let servers = rows(&console, "SHOW SERVERS").await;
    assert_eq!((value(&servers[0], "state"), value(&servers[0], "link")), ("idle", "NULL"));
}

#[tokio::test]
async fn holders_are_shown_longest_first_and_without_literals() {
    let pg = Postgres::start().unwrap();
    let proxy = with_console(&pg);
    let (first, second) = (proxy.client().await, proxy.client().await);
    first.batch_execute("begin; select 'secret'").await.unwrap();
    second.batch_execute("begin; select 2").await.unwrap();
    let console = proxy.connect(&proxy.dsn("ops", "stent")).await.unwrap();
    let holders = rows(&console, "SHOW HOLDERS").await;
    let shown: Vec<_> = holders.iter().map(|row| value(row, "last_statement")).collect();
    assert_eq!(shown, ["begin; select ?", "begin; select ?"]);
    assert!(holders.iter().all(|row| value(row, "state") == "idle in transaction"), "{holders:?}");
    let ids: Vec<u64> =
        holders.iter().map(|row| value(row, "client_id").parse().unwrap()).collect();
    assert!(ids[0] < ids[1], "{ids:?}");
    drop(second);
}

#[tokio::test]
async fn stats_add_up_what_clients_have_done_under_pgbouncers_columns() {
    let pg = Postgres::start().unwrap();
    let proxy = with_console(&pg);
    let client = proxy.client().await;
    client.batch_execute("begin; select pg_sleep(0.02)").await.unwrap();
    // Silence in a transaction is no work.
    pg.value("select pg_sleep(0.05)").unwrap();
    client.batch_execute("commit").await.unwrap();
    // Kept, for a driver closes what it has let go of at a moment of its own.
    let statement = client.prepare("select $1::int").await.unwrap();
    for _ in 0..3 {
        client.query(&statement, &[&1]).await.unwrap();
    }
    until("the server to be back", || proxy.snapshot().pools[0].servers_idle == 1).await;
    let console = proxy.connect(&proxy.dsn("ops", "stent")).await.unwrap();
    let stats = rows(&console, "SHOW STATS").await;
    let wanted = "database,total_server_assignment_count,total_xact_count,total_query_count,\
                  total_received,total_sent,total_xact_time,total_query_time,total_wait_time,\
                  total_client_parse_count,total_server_parse_count,total_bind_count,\
                  total_client_login_count,avg_server_assignment_count,avg_xact_count,\
                  avg_query_count,avg_recv,avg_sent,avg_xact_time,avg_query_time,avg_wait_time,\
                  avg_client_parse_count,avg_server_parse_count,avg_bind_count,\
                  avg_client_login_count";
    assert_eq!((stats.len(), columns(&stats[0])), (1, wanted.to_owned()));
    let total = |name: &str| value(&stats[0], &format!("total_{name}")).parse::<u64>().unwrap();
    let totals = proxy.snapshot().pools[0].totals;
    assert_eq!(total("xact_count"), totals.transactions);
    assert_eq!(total("query_count"), totals.queries);
    assert_eq!((total("received"), total("sent")), (totals.received_bytes, totals.sent_bytes));
    assert_eq!(total("server_assignment_count"), totals.checkouts);
    assert_eq!((total("client_parse_count"), total("bind_count")), (1, 3));
    assert_eq!(total("server_parse_count"), 1);
    assert_eq!(total("client_login_count"), 1);
    let (transactions, work) = (total("xact_time"), total("query_time"));
    assert!(work >= 20_000, "it slept that long: {work}");
    assert!(transactions >= work + 50_000, "and was silent that long: {transactions} {work}");
    let parts = [
        ("SHOW STATS_TOTALS", "xact_time", transactions),
        ("SHOW STATS_TOTALS", "query_count", totals.queries),
    ];
    for (show, column, wanted) in parts {
        let row = &rows(&console, show).await[0];
        assert_eq!(value(row, column), wanted.to_string(), "{show}");
    }
    let averages = &rows(&console, "SHOW STATS_AVERAGES").await[0];
    let for_one: u64 = value(averages, "xact_time").parse().unwrap();
    assert_eq!(for_one, transactions / totals.transactions);
    let all = rows(&console, "SHOW TOTALS").await;
    let names: Vec<_> = all.iter().map(|row| value(row, "name")).collect();
    assert_eq!(
        (names[0], names[12]),
        ("total_server_assignment_count", "avg_server_assignment_count")
    );
    let ps = all.iter().find(|row| value(row, "name") == "total_ps_bind_count").unwrap();
    assert_eq!(value(ps, "value"), "3");
}

#[tokio::test]
async fn lists_count_what_there_is() {
    let pg = Postgres::start().unwrap();
    let proxy = with_console(&pg);
    let (busy, _idle) = (proxy.client().await, proxy.client().await);
    busy.batch_execute("begin; select 1").await.unwrap();
    let console = proxy.connect(&proxy.dsn("ops", "stent")).await.unwrap();
    let lists = rows(&console, "SHOW LISTS").await;
    let names: Vec<_> = lists.iter().map(|row| value(row, "list")).collect();
    let wanted = "databases users peers pools peer_pools free_clients used_clients login_clients \
                  free_servers used_servers dns_names dns_zones dns_queries dns_pending";
    assert_eq!(names.join(" "), wanted);
    let of = |list: &str| {
        let row = lists.iter().find(|row| value(row, "list") == list).unwrap();
        value(row, "items").parse::<u32>().unwrap()
    };
    assert_eq!((of("databases"), of("pools"), of("used_servers")), (1, 1, 1));
    assert!((2..=3).contains(&of("used_clients")), "the console's own may be among them");
}

#[tokio::test]
async fn users_have_their_servers_clients_and_limits_over_all_databases() {
    let pg = Postgres::start().unwrap();
    pg.sql("create database other").unwrap();
    pg.sql("create role guest login").unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.console_users = vec!["ops".to_owned()];
        config.max_user_connections = NonZeroU32::new(7);
        let whom = Whom { user: Some("guest".to_owned()), ..Whom::EVERYBODY };
        let (pool_size, min_pool_size) = (NonZeroU32::new(3), None);
        config.pool_limits =
            vec![SizeRule { whom, pool_size, min_pool_size, reserve_pool_size: Some(1) }];
    });
    let mut clients = Vec::new();
    for (user, database) in [("postgres", "postgres"), ("postgres", "other"), ("guest", "other")] {
        let client = proxy.connect(&proxy.dsn(user, database)).await.unwrap();
        client.batch_execute("begin").await.unwrap();
        clients.push(client);
    }
    let console = proxy.connect(&proxy.dsn("ops", "pgbouncer")).await.unwrap();
    let users = rows(&console, "SHOW USERS").await;
    let row = |name: &str| {
        let row = users.iter().find(|row| value(row, "name") == name).unwrap();
        row.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ")
    };
    let columns: Vec<&str> = users[0].iter().map(|(name, _)| name.as_str()).collect();
    let wanted = "name pool_size reserve_pool_size pool_mode max_user_connections current_connections \
                  max_user_client_connections current_client_connections";
    assert_eq!(columns.join(" "), wanted);
    assert_eq!(row("postgres"), "postgres NULL NULL transaction 7 2 0 2");
    assert_eq!(row("guest"), "guest 3 1 transaction 7 1 0 1");
}

#[tokio::test]
async fn config_shows_each_key_under_pgbouncers_columns() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.console_users = vec!["ops".to_owned()];
        let shown = |key, value: &str, default, change| Shown {
            key,
            value: value.to_owned(),
            default,
            change,
        };
        config.shown = vec![
            shown("max_client_conn", "77", "1000", Change::Reload),
            shown("workers", "1", "1", Change::Restart),
        ];
    });
    let console = proxy.connect(&proxy.dsn("ops", "pgbouncer")).await.unwrap();
    let config = rows(&console, "SHOW CONFIG").await;
    let text = |row: &Vec<(String, String)>| {
        row.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    let rows: Vec<String> = config.iter().map(text).collect();
    let wanted = [
        "key=max_client_conn value=77 default=1000 changeable=yes",
        "key=workers value=1 default=1 changeable=no",
    ];
    assert_eq!(rows, wanted);
}

#[tokio::test]
async fn a_user_that_is_not_named_is_turned_away_after_its_proof() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.console_users = vec!["ops".to_owned()];
        config.auth.method = AuthMethod::ScramSha256;
        config.auth.users = vec![user("postgres", "right"), user("ops", "secret")];
    });
    let refused = |user: &str, password: &str| {
        let dsn = format!("{} password={password}", proxy.dsn(user, "stent"));
        let proxy = &proxy;
        async move { proxy.connect(&dsn).await.err().map(|error| code(&error)) }
    };
    assert_eq!(refused("postgres", "right").await.as_deref(), Some("42501"));
    assert_eq!(refused("postgres", "wrong").await.as_deref(), Some("28P01"));
    assert_eq!(refused("ops", "wrong").await.as_deref(), Some("28P01"));
    assert_eq!(refused("ops", "secret").await, None);
}

#[tokio::test]
async fn as_long_as_nobody_is_named_the_database_is_postgresqls() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |_| {});
    let error = proxy.connect(&proxy.dsn("postgres", "stent")).await.err().unwrap();
    assert_eq!(code(&error), "3D000");
    proxy.client().await.batch_execute("create database stent").await.unwrap();
    let client = proxy.connect(&proxy.dsn("postgres", "stent")).await.unwrap();
    let row = client.query_one("select current_database()::text", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "stent");
}

#[tokio::test]
async fn who_runs_the_proxy_gets_in_over_the_unix_socket_without_a_name_or_a_password() {
    let (pg, dir) = (Postgres::start().unwrap(), TempDir::new("console").unwrap());
    let proxy = Proxy::start(&pg, |config| {
        config.unix_socket_dir = Some(dir.path().to_owned());
        config.auth.method = AuthMethod::ScramSha256;
        config.auth.users = vec![user("postgres", "right")];
    });
    let host = dir.path().display();
    let dsn = format!("host={host} port={} user=stent dbname=stent", proxy.port);
    let console = proxy.connect(&dsn).await.unwrap();
    let version = rows(&console, "show version").await;
    assert!(value(&version[0], "version").starts_with("Stent "));
    let dsn = format!("{} password=guess", proxy.dsn("stent", "stent"));
    let over_tcp = proxy.connect(&dsn).await.err().unwrap();
    assert_eq!(code(&over_tcp), "28P01", "over TCP a proof is asked for: {over_tcp}");
}

#[tokio::test]
async fn the_console_opens_when_no_other_client_gets_in() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        config.console_users = vec!["ops".to_owned()];
        config.max_client_conn = NonZeroU32::MIN;
    });
    let _only = proxy.client().await;
    let full = proxy.connect(&proxy.dsn("postgres", "postgres")).await.err().unwrap();
    assert_eq!(code(&full), "53300");
    let console = proxy.connect(&proxy.dsn("ops", "stent")).await.unwrap();
    assert_eq!(rows(&console, "show pools").await.len(), 1);
}

#[test]
fn what_is_no_command_gets_an_error_and_the_session_goes_on() {
    let pg = Postgres::start().unwrap();
    let proxy = with_console(&pg);
    let mut raw = Raw::connect(&proxy);
    raw.send(&startup(&[("user", "ops"), ("database", "stent"), ("extra_float_digits", "2")]));
    assert!(raw.tags().starts_with('R'));
    raw.send(&query("kill"));
    let said = raw.until_ready();
    assert_eq!((said[0].0, field(&said[0].1, b'C')), (b'E', "0A000".to_owned()));
    raw.send(&query("select 1"));
    assert_eq!(field(&raw.until_ready()[0].1, b'C'), "42601");
    raw.send(&query(""));
    assert_eq!(raw.tags(), "IZ");
    raw.send(&[parse("", "show pools"), execute(), sync()].concat());
    assert_eq!(raw.tags(), "EZ");
    raw.send(&query("show help"));
    assert!(raw.tags().ends_with("DCZ"));
}

#[tokio::test]
async fn a_shutdown_ends_the_session_with_a_word() {
    let pg = Postgres::start().unwrap();
    let proxy = with_console(&pg);
    let mut raw = Raw::connect(&proxy);
    raw.send(&startup(&[("user", "ops"), ("database", "stent")]));
    assert!(raw.tags().ends_with('Z'));
    proxy.stop();
    let (tag, body) = raw.next().unwrap();
    assert_eq!((tag, field(&body, b'C')), (b'E', "57P01".to_owned()));
    assert_eq!(raw.next(), None);
    proxy.join().unwrap();
}
