//! The state firewall in transaction mode: nothing of one client's session reaches another, and
//! what keeps a server with its client is counted.

use std::num::NonZeroU32;

use stent_proxy::config::PoolMode;
use stent_testkit::Postgres;
use stent_wire::inspect::Cause;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::raw::{Raw, bind, execute, field, parse, query, sync};
use super::support::{Proxy, code, until};

/// The first field of the first row.
pub(crate) async fn one(client: &Client, sql: &str) -> String {
    let rows = client.simple_query(sql).await.unwrap();
    let row = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
        SimpleQueryMessage::CommandComplete(_) | _ => None,
    });
    row.unwrap_or_default()
}

fn pins(proxy: &Proxy, cause: &str) -> u64 {
    let pools = proxy.snapshot().pools;
    pools.iter().flat_map(|pool| &pool.pins).filter(|pin| pin.cause == cause).map(|p| p.count).sum()
}

/// A pool of `size` servers.
fn start(pg: &Postgres, size: u32) -> Proxy {
    Proxy::start(pg, |config| config.default_pool_size = NonZeroU32::new(size).unwrap())
}

#[tokio::test]
async fn settings_follow_their_client_and_never_another() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let (a, b) = (proxy.client().await, proxy.client().await);
    for (set, show, mine, default) in [
        ("set work_mem = '7MB'", "show work_mem", "7MB", "4MB"),
        (
            "set search_path = \"a b\", public",
            "show search_path",
            "\"a b\", public",
            "\"$user\", public",
        ),
        ("set app.tenant = '42'", "select current_setting('app.tenant', true)", "42", "NULL"),
        (
            "select set_config('app.user', '7', false)",
            "select current_setting('app.user', true)",
            "7",
            "NULL",
        ),
        ("set session statement_timeout to 12345", "show statement_timeout", "12345ms", "0"),
        (
            "set timezone = 'Asia/Tokyo'",
            "show timezone",
            "Asia/Tokyo",
            &one(&b, "show timezone").await,
        ),
        (
            "do $$begin set cursor_tuple_fraction = 0.5; end$$",
            "show cursor_tuple_fraction",
            "0.5",
            "0.1",
        ),
        (
            "set session characteristics as transaction isolation level serializable",
            "show default_transaction_isolation",
            "serializable",
            "read committed",
        ),
    ] {
        a.batch_execute(set).await.unwrap();
        let theirs = one(&b, show).await;
        // An unknown custom setting is NULL or, where a session has had it, an empty text.
        assert!(theirs == default || default == "NULL" && theirs.is_empty(), "{set}: {theirs}");
        assert_eq!(one(&a, show).await, mine, "{set}");
    }
    a.batch_execute("reset all").await.unwrap();
    assert_eq!(one(&a, "show work_mem").await, "4MB");
    assert_eq!(one(&a, "select current_setting('app.tenant', true)").await, "");
    assert_eq!(proxy.snapshot().pools[0].servers_pinned, 0);
}

#[tokio::test]
async fn a_set_that_is_rolled_back_is_not_carried() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let a = proxy.client().await;
    a.batch_execute("begin; set work_mem = '7MB'; rollback").await.unwrap();
    assert_eq!(one(&a, "show work_mem").await, "4MB");
}

#[tokio::test]
async fn reset_and_discard_return_to_what_the_client_brought() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let dsn = proxy.dsn("postgres", "postgres");
    let options = "options='-c work_mem=9MB -c app.tenant=5' application_name=mine";
    let a = proxy.connect(&format!("{dsn} {options}")).await.unwrap();
    for undo in ["reset work_mem", "reset all", "discard all", "set work_mem to default"] {
        a.batch_execute("set work_mem = '7MB'; set application_name = 'other'").await.unwrap();
        assert_eq!(one(&a, "show work_mem").await, "7MB");
        a.batch_execute(undo).await.unwrap();
        assert_eq!(one(&a, "show work_mem").await, "9MB", "{undo}");
        assert_eq!(one(&a, "select current_setting('app.tenant')").await, "5", "{undo}");
    }
    a.batch_execute("discard all").await.unwrap();
    assert_eq!(one(&a, "show application_name").await, "mine");
}

#[tokio::test]
async fn functions_that_touch_the_session_are_no_way_around() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let (a, b) = (proxy.client().await, proxy.client().await);
    a.batch_execute(
        "create function sets() returns void language plpgsql as \
         $$begin perform set_config('work_mem', '7MB', false); end$$; \
         create function locks() returns void language sql as 'select pg_advisory_lock(5)'; \
         create function calls() returns void language sql as 'select sets()'; \
         create table t (a int); create function on_t() returns trigger language plpgsql as \
         $$begin set statement_timeout = 4321; return new; end$$; \
         create trigger on_t before insert on t for each row execute function on_t()",
    )
    .await
    .unwrap();
    a.batch_execute("select calls()").await.unwrap();
    assert_eq!(one(&b, "show work_mem").await, "4MB");
    assert_eq!(one(&a, "show work_mem").await, "7MB");
    a.batch_execute("insert into t values (1)").await.unwrap();
    assert_eq!(one(&b, "show statement_timeout").await, "0");
    a.batch_execute("select locks()").await.unwrap();
    until("the lock to be noticed", || pins(&proxy, "advisory_lock") == 1).await;
}

/// What one client makes, what another must not see, what it answers, and what ends it.
const KINDS: [(&str, &str, &str, &str, &str); 6] = [
    (
        "temp_table",
        "create temp table mine (a int)",
        "select to_regclass('mine')",
        "NULL",
        "drop table mine",
    ),
    (
        "advisory_lock",
        "select pg_advisory_lock(72707369)",
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
        "0",
        "select pg_advisory_unlock(72707369)",
    ),
    (
        "held_cursor",
        "begin; declare c cursor with hold for select 1; commit",
        "select count(*) from pg_cursors",
        "0",
        "close c",
    ),
    (
        "prepare",
        "prepare p as select 1",
        "select count(*) from pg_prepared_statements where from_sql",
        "0",
        "deallocate p",
    ),
    ("role", "set role pg_monitor", "select current_user", "postgres", "reset role"),
    (
        "role",
        "set session authorization pg_monitor",
        "select session_user",
        "postgres",
        "reset session authorization",
    ),
];

#[tokio::test]
async fn state_that_cannot_be_carried_keeps_its_server_until_it_is_gone() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 2);
    let (a, b) = (proxy.client().await, proxy.client().await);
    for (cause, make, look, theirs, end) in KINDS {
        let before = pins(&proxy, cause);
        a.batch_execute(make).await.unwrap();
        let held = one(&a, "select pg_backend_pid()").await;
        assert_eq!(pins(&proxy, cause), before + 1, "{make}");
        assert_eq!(proxy.snapshot().pools[0].servers_pinned, 1, "{make}");
        assert_eq!(proxy.snapshot().holders[0].pinned_by, [cause], "{make}");
        for _ in 0..5 {
            assert_eq!(one(&b, look).await, theirs, "{make}");
            assert_ne!(one(&b, "select pg_backend_pid()").await, held);
        }
        assert_eq!(one(&a, "select pg_backend_pid()").await, held, "{make}");
        a.batch_execute(end).await.unwrap();
        let released = || proxy.snapshot().pools[0].servers_pinned == 0;
        until(&format!("the server to go back after {end}"), released).await;
        assert_eq!(one(&a, look).await, theirs, "{end}");
    }
    assert_eq!(proxy.snapshot().pools[0].totals.closed, 0, "no server had to be closed");
}

#[tokio::test]
async fn state_is_taken_off_when_its_client_leaves() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let b = proxy.client().await;
    for (_, make, look, theirs, _) in KINDS {
        let a = proxy.client().await;
        a.batch_execute(make).await.unwrap();
        drop(a);
        assert_eq!(one(&b, look).await, theirs, "{make}");
    }
    assert_eq!(proxy.snapshot().pools[0].totals.closed, 0, "no server had to be closed");
}

#[tokio::test]
async fn a_killed_migrator_leaves_no_lock_behind() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 2);
    let b = proxy.client().await;
    let mut migrator = Raw::login(&proxy);
    migrator.send(&query("select pg_advisory_lock(72707369)"));
    migrator.until_ready();
    assert_eq!(one(&b, "select pg_try_advisory_lock(72707369)").await, "f");
    migrator.send(&query("begin; create table half (a int)"));
    migrator.until_ready();
    drop(migrator);
    until("the lock to be free", || proxy.snapshot().pools[0].servers_pinned == 0).await;
    b.batch_execute("select pg_advisory_lock(72707369)").await.unwrap();
    assert_eq!(one(&b, "select to_regclass('half')").await, "NULL");
}

#[tokio::test]
async fn what_is_forbidden_is_refused_in_both_protocols_and_costs_no_connection() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| {
        Cause::ALL.into_iter().for_each(|cause| config.forbidden_state.add(cause));
    });
    let a = proxy.client().await;
    let kinds = KINDS.iter().map(|(cause, make, ..)| (*cause, *make));
    for (cause, make) in kinds.chain([("listen", "listen jobs")]) {
        let error = a.batch_execute(make).await.unwrap_err();
        assert_eq!(code(&error), "0A000", "{make}");
        let message = error.as_db_error().unwrap().message();
        assert!(message.contains(cause), "{message}");
        let _ = a.batch_execute("rollback").await;
    }
    let mut raw = Raw::login(&proxy);
    raw.send(&[parse("", "select pg_advisory_lock($1)"), bind(""), execute(), sync()].concat());
    let said = raw.until_ready();
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(field(&said[0].1, b'C'), "0A000");
    raw.send(&query("begin"));
    raw.until_ready();
    raw.send(&[parse("p", "listen x"), sync()].concat());
    assert_eq!(
        raw.until_ready().last().unwrap(),
        &(b'Z', b"E".to_vec()),
        "the transaction has failed"
    );
    raw.send(&query("rollback; select 1"));
    assert_eq!(raw.tags(), "CTDCZ");
}

#[tokio::test]
async fn statement_mode_refuses_transaction_blocks_and_nothing_else() {
    let pg = Postgres::start().unwrap();
    let proxy = Proxy::start(&pg, |config| config.pool_mode = PoolMode::Statement);
    let a = proxy.client().await;
    for sql in ["begin", "start transaction", "begin; select 1; commit"] {
        assert_eq!(code(&a.batch_execute(sql).await.unwrap_err()), "0A000", "{sql}");
    }
    assert_eq!(one(&a, "select 1").await, "1");
    a.batch_execute("create table t (a int)").await.unwrap();
    assert_eq!(a.execute("insert into t values ($1)", &[&1_i32]).await.unwrap(), 1);
}

#[tokio::test]
async fn everyday_statements_are_not_inspected() {
    let pg = Postgres::start().unwrap();
    let proxy = start(&pg, 1);
    let a = proxy.client().await;
    a.batch_execute("create table t (a int, b text)").await.unwrap();
    a.batch_execute("create function mine(x int) returns int language sql as 'select x + 1'")
        .await
        .unwrap();
    one(&a, "select mine(1), now()").await;
    let inspections = |proxy: &Proxy| -> f64 {
        let page = proxy.get("/metrics").1;
        let line = page.lines().find(|line| line.starts_with("stent_session_inspections_total"));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    };
    let before = inspections(&proxy);
    for _ in 0..10 {
        one(&a, "select mine(1), now(), count(*), lower(max(b)) from t where a in (1, 2)").await;
        a.execute("insert into t (a, b) values ($1, upper($2))", &[&1_i32, &"x"]).await.unwrap();
        a.batch_execute("begin; set local work_mem = '7MB'; commit").await.unwrap();
    }
    assert_eq!(inspections(&proxy), before);
}
