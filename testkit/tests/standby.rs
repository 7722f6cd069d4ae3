//! A streaming standby: it follows, refuses writes, and takes over.

use stent_testkit::{Postgres, Signal};

#[test]
fn a_standby_follows_its_primary_and_refuses_writes_until_it_is_promoted() {
    let primary = Postgres::start().unwrap();
    primary.sql("create table followed (id int)").unwrap();
    let standby = primary.standby().unwrap();
    assert_ne!(standby.port(), primary.port());
    primary.sql("insert into followed values (7)").unwrap();
    primary.wait_for_standby(&standby).unwrap();
    assert_eq!(standby.value("select id from followed").unwrap(), "7");
    let refused = standby.sql("insert into followed values (8)").unwrap_err();
    assert!(format!("{refused:#}").contains("25006"), "{refused:#}");
    primary.signal(Signal::KILL).unwrap();
    standby.promote().unwrap();
    standby.sql("insert into followed values (8)").unwrap();
    assert_eq!(standby.value("select count(*) from followed").unwrap(), "2");
}
