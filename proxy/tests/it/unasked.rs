//! What a server says unasked. Checklist 66; notifications are in `listen`.

use stent_proxy::config::PoolMode;
use stent_testkit::Postgres;

use super::raw::{Raw, message, query};
use super::support::Proxy;

/// PostgreSQL reports a reload in front of the next ReadyForQuery (`ReportChangedGUCOptions`).
#[test]
fn a_parameter_that_a_reload_changes_is_reported_to_the_client_at_its_next_statement() {
    let pg = Postgres::start().unwrap();
    for mode in [PoolMode::Session, PoolMode::Transaction, PoolMode::Statement] {
        let proxy = Proxy::start(&pg, |config| config.pool_mode = mode);
        let mut raw = Raw::login(&proxy);
        raw.send(&query("select pg_advisory_lock(1)"));
        raw.until_ready();
        for style in ["iso_8601", "postgres"] {
            pg.sql(&format!("alter system set IntervalStyle = '{style}'")).unwrap();
            pg.sql("select pg_reload_conf()").unwrap();
            let told = loop {
                raw.send(&query("select 1"));
                let said = raw.until_ready();
                if let Some((_, body)) = said.into_iter().find(|(tag, _)| *tag == b'S') {
                    break body;
                }
            };
            assert_eq!(told, format!("IntervalStyle\0{style}\0").into_bytes());
        }
    }
}

#[test]
fn a_notice_comes_where_the_statement_gives_it() {
    let pg = Postgres::start().unwrap();
    for mode in [PoolMode::Session, PoolMode::Transaction, PoolMode::Statement] {
        let proxy = Proxy::start(&pg, |config| config.pool_mode = mode);
        let mut raw = Raw::login(&proxy);
        raw.send(&query("select 1; do $$begin raise notice 'here'; end$$; select 2"));
        assert_eq!(raw.tags(), "TDCNCTDCZ");
        raw.send(&message(b'S', b""));
        assert_eq!(raw.tags(), "Z");
    }
}
