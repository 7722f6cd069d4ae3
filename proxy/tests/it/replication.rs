//! Replication clients, who keep their server in every mode. Checklist 19, 64.

use std::num::NonZeroU32;
use std::path::Path;
use std::process::Command;

use stent_proxy::config::PoolMode;
use stent_testkit::{Postgres, Process, Signal, TempDir, wait_for, wait_until};

use super::raw::{Raw, query, startup};
use super::support::{PATIENCE, Proxy};

fn postgres() -> Postgres {
    Postgres::builder().setting("wal_level", "logical").start().unwrap()
}

fn start(pg: &Postgres) -> Proxy {
    Proxy::start(pg, |config| {
        config.pool_mode = PoolMode::Session;
        config.default_pool_size = NonZeroU32::new(1).unwrap();
    })
}

/// One of PostgreSQL's programs, pointed at the proxy.
fn program(pg: &Postgres, proxy: &Proxy, name: &str) -> Command {
    let mut command = pg.client(name).unwrap();
    command.env("PGHOST", "127.0.0.1").env("PGPORT", proxy.port.to_string());
    command
}

fn walsenders(pg: &Postgres) -> String {
    pg.value("select count(*) from pg_stat_activity where backend_type = 'walsender'").unwrap()
}

/// The server of a replication client ends with it, and the pool serves others.
fn expect_the_server_to_end(pg: &Postgres, proxy: &Proxy) {
    wait_until("the walsender to end", PATIENCE, || walsenders(pg) == "0").unwrap();
    let mut next = Raw::login(proxy);
    next.send(&query("select current_setting('is_superuser')"));
    assert_eq!(next.tags(), "TDCZ");
}

#[test]
fn pg_receivewal_streams_what_the_server_writes() {
    let pg = postgres();
    let proxy = start(&pg);
    let folder = TempDir::new("receivewal").unwrap();
    let segment = pg.value("select pg_walfile_name(pg_current_wal_lsn())").unwrap();
    let mut receiver = program(&pg, &proxy, "pg_receivewal");
    receiver.arg("-D").arg(folder.path()).args(["--no-loop", "--synchronous", "-v"]);
    let mut receiver = Process::spawn(&mut receiver).unwrap();
    receiver.wait_for_line("starting log streaming", PATIENCE).unwrap();
    pg.sql("create table t as select * from generate_series(1, 20000)").unwrap();
    pg.sql("select pg_switch_wal()").unwrap();
    let received = folder.path().join(&segment);
    wait_until("the whole segment", PATIENCE, || received.exists()).unwrap();
    let original = pg.value("show data_directory").unwrap();
    let original = Path::new(&original).join("pg_wal").join(&segment);
    assert!(std::fs::read(received).unwrap() == std::fs::read(original).unwrap(), "{segment}");
    receiver.signal(Signal::INT).unwrap();
    assert!(receiver.wait(PATIENCE).unwrap().success(), "{}", receiver.output());
    expect_the_server_to_end(&pg, &proxy);
}

#[test]
fn pg_recvlogical_decodes_changes_and_confirms_them() {
    let pg = postgres();
    pg.sql("create table t (a int)").unwrap();
    let proxy = start(&pg);
    let slot = ["--slot=s", "-d", "postgres"];
    let create = ["--create-slot", "-P", "test_decoding"];
    let mut creation = program(&pg, &proxy, "pg_recvlogical");
    let created = creation.args(slot).args(create).output().unwrap();
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let mut stream = program(&pg, &proxy, "pg_recvlogical");
    stream.args(slot).args(["--start", "-f", "-", "-F", "0", "-s", "1", "--no-loop"]);
    let mut stream = Process::spawn(&mut stream).unwrap();
    for value in [7, 8] {
        pg.sql(&format!("insert into t values ({value})")).unwrap();
        stream.wait_for_line(&format!("INSERT: a[integer]:{value}"), PATIENCE).unwrap();
    }
    let at = pg.value("select pg_current_wal_lsn()").unwrap();
    let confirmed = format!(
        "select count(*) from pg_replication_slots where confirmed_flush_lsn >= '{at}'::pg_lsn"
    );
    wait_until("it to be confirmed", PATIENCE, || pg.value(&confirmed).unwrap() == "1").unwrap();
    stream.signal(Signal::INT).unwrap();
    assert!(stream.wait(PATIENCE).unwrap().success(), "{}", stream.output());
    expect_the_server_to_end(&pg, &proxy);
    let mut dropping = program(&pg, &proxy, "pg_recvlogical");
    assert!(dropping.args(slot).arg("--drop-slot").output().unwrap().status.success());
}

#[test]
fn a_base_backup_passes_whole() {
    let pg = postgres();
    let proxy = Proxy::start(&pg, |config| {
        config.pool_mode = PoolMode::Session;
        config.default_pool_size = NonZeroU32::new(2).unwrap();
    });
    let folder = TempDir::new("basebackup").unwrap();
    let target = folder.path().join("data");
    let mut backup = program(&pg, &proxy, "pg_basebackup");
    let output = backup.args(["-X", "stream", "-c", "fast", "-D"]).arg(&target).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut verify = pg.client("pg_verifybackup").unwrap();
    let output = verify.arg(&target).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    expect_the_server_to_end(&pg, &proxy);
}

#[test]
fn a_replication_client_that_vanishes_takes_its_server_with_it() {
    let pg = postgres();
    let proxy = start(&pg);
    let folder = TempDir::new("receivewal").unwrap();
    let mut receiver = program(&pg, &proxy, "pg_receivewal");
    receiver.arg("-D").arg(folder.path()).args(["--no-loop", "-v"]);
    let mut receiver = Process::spawn(&mut receiver).unwrap();
    receiver.wait_for_line("starting log streaming", PATIENCE).unwrap();
    receiver.kill().unwrap();
    expect_the_server_to_end(&pg, &proxy);
}

#[test]
fn every_spelling_of_replication_is_understood() {
    let pg = postgres();
    let proxy = start(&pg);
    for (value, is_replication) in
        [("true", true), ("on", true), ("1", true), ("database", true), ("off", false)]
    {
        let mut raw = Raw::connect(&proxy);
        raw.send(&startup(&[
            ("user", "postgres"),
            ("database", "postgres"),
            ("replication", value),
        ]));
        raw.until_ready();
        raw.send(&query("IDENTIFY_SYSTEM"));
        assert_eq!(raw.tags(), if is_replication { "TDCZ" } else { "EZ" }, "{value}");
        drop(raw);
        wait_until("the walsender to end", PATIENCE, || walsenders(&pg) == "0").unwrap();
    }
}

#[test]
fn modes_that_share_servers_give_a_replication_client_its_own() {
    let pg = postgres();
    for mode in [PoolMode::Transaction, PoolMode::Statement] {
        let proxy = Proxy::start(&pg, |config| {
            config.pool_mode = mode;
            config.default_pool_size = NonZeroU32::new(2).unwrap();
        });
        for value in ["true", "database"] {
            let mut raw = Raw::connect(&proxy);
            let params = [("user", "postgres"), ("replication", value), ("DateStyle", "dmy")];
            raw.send(&startup(&params));
            raw.until_ready();
            raw.send(&query("CREATE_REPLICATION_SLOT s TEMPORARY PHYSICAL"));
            assert_eq!(raw.tags(), "TDCZ", "{mode:?} {value}");
            let mut other = Raw::login(&proxy);
            other.send(&query("select current_setting('DateStyle')"));
            let said = other.until_ready();
            assert_eq!(said[1].1[6..], *b"ISO, MDY");
            raw.send(&query("DROP_REPLICATION_SLOT s"));
            assert_eq!(raw.tags(), "CZ", "it is still there: the server is the client's own");
            drop(raw);
            expect_the_server_to_end(&pg, &proxy);
        }
    }
}

#[test]
fn a_replication_client_is_told_when_the_server_shuts_down() {
    let mut pg = postgres();
    let proxy = start(&pg);
    let mut raw = Raw::connect(&proxy);
    raw.send(&startup(&[("user", "postgres"), ("replication", "true")]));
    raw.until_ready();
    let at = pg.value("select pg_current_wal_flush_lsn()").unwrap();
    raw.send(&query(&format!("START_REPLICATION PHYSICAL {at}")));
    let begun = wait_for("CopyBoth", PATIENCE, || raw.next()).unwrap();
    assert_eq!(begun.0, b'W');
    pg.stop(stent_testkit::Stop::Fast).unwrap();
    let rest = raw.rest();
    assert!(!rest.is_empty());
}
