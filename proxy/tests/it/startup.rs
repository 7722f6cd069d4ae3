//! What a client brings to its session in the start-up packet. Checklist 9 to 20.

use std::io::Write;

use stent_proxy::config::PoolMode;
use stent_testkit::{Postgres, wait_until};

use super::raw::{Message, Raw, field, query, startup};
use super::support::{PATIENCE, Proxy};

const MODES: [PoolMode; 3] = [PoolMode::Session, PoolMode::Transaction, PoolMode::Statement];

fn in_all_modes(test: impl Fn(&Postgres, &Proxy)) {
    let pg = Postgres::start().unwrap();
    for mode in MODES {
        let proxy = Proxy::start(&pg, |config| {
            config.pool_mode = mode;
            config.query_wait_timeout = None;
        });
        test(&pg, &proxy);
    }
}

fn login(proxy: &Proxy, params: &[(&str, &str)]) -> (Raw, Vec<Message>) {
    let mut raw = Raw::connect(proxy);
    raw.send(&startup(params));
    let said = raw.until_ready();
    (raw, said)
}

/// SQLSTATE and severity of the error that ended a login.
fn refusal(said: &[Message]) -> (String, String) {
    let (tag, body) = said.last().unwrap();
    assert_eq!(*tag, b'E', "{said:?}");
    (field(body, b'C'), field(body, b'V'))
}

/// The first column of the first row.
fn value(raw: &mut Raw, sql: &str) -> String {
    raw.send(&query(sql));
    let said = raw.until_ready();
    let (_, row) = said.iter().find(|(tag, _)| *tag == b'D').unwrap_or_else(|| panic!("{said:?}"));
    String::from_utf8(row[6..].to_vec()).unwrap()
}

/// Checklist 17: the error is PostgreSQL's own and comes at once.
#[test]
fn what_postgresql_would_refuse_is_refused_in_the_login_with_its_own_code() {
    in_all_modes(|_, proxy| {
        for (params, sqlstate) in [
            ([("user", "postgres"), ("database", "nosuch"), ("DateStyle", "ISO")], "3D000"),
            ([("user", "nobody"), ("database", "postgres"), ("DateStyle", "ISO")], "28000"),
            ([("user", "postgres"), ("database", "postgres"), ("no_such", "1")], "42704"),
            ([("user", "postgres"), ("database", "postgres"), ("work_mem", "lots")], "22023"),
            ([("user", "postgres"), ("database", "postgres"), ("wal_level", "minimal")], "55P02"),
            ([("user", "postgres"), ("database", "postgres"), ("options", "-c nosuch=1")], "42704"),
            ([("user", "postgres"), ("database", "postgres"), ("options", "-c nosuch")], "42601"),
        ] {
            let (_, said) = login(proxy, &params);
            assert_eq!(refusal(&said), (sqlstate.to_owned(), "FATAL".to_owned()), "{params:?}");
        }
    });
}

/// Checklist 17, 18, 20.
#[test]
fn every_setting_of_the_start_up_packet_is_in_force_whatever_its_value_looks_like() {
    in_all_modes(|_, proxy| {
        let options = "-c app.a=one\\ two\\\\three -capp.b=x=y --app-c.d=-c\\ q=r \
                       -c search_path=\"Odd\\ one\",public --statement-timeout=77s";
        let (mut raw, said) = login(
            proxy,
            &[
                ("user", "postgres"),
                ("database", "postgres"),
                ("options", options),
                ("application_name", "näme 'quoted' \\ \"both\""),
                ("TimeZone", "Asia/Tokyo"),
                ("app.named", "it's $1 \\ here"),
                ("client_encoding", "LATIN1"),
            ],
        );
        assert_eq!(said.last().unwrap().0, b'Z', "{said:?}");
        for (name, expected) in [
            ("app.a", "one two\\three"),
            ("app.b", "x=y"),
            ("app_c.d", "-c q=r"),
            ("search_path", "\"Odd one\",public"),
            ("statement_timeout", "77s"),
            ("TimeZone", "Asia/Tokyo"),
            ("app.named", "it's $1 \\ here"),
            ("client_encoding", "LATIN1"),
        ] {
            let sql = format!("select current_setting('{name}')");
            assert_eq!(value(&mut raw, &sql), expected, "{name}");
        }
        let told: Vec<&[u8]> =
            said.iter().filter(|(tag, _)| *tag == b'S').map(|(_, body)| body.as_slice()).collect();
        assert!(told.contains(&&b"TimeZone\0Asia/Tokyo\0"[..]), "{said:?}");
        assert!(told.contains(&&b"client_encoding\0LATIN1\0"[..]), "{said:?}");
    });
}

/// Checklist 19. The second client finds the server with the first one's spelling in force.
#[test]
fn a_setting_is_reported_as_postgresql_spells_it() {
    in_all_modes(|_, proxy| {
        for spelled in ["utf8", "'utf-8'", "UTF_8"] {
            let params = [("user", "postgres"), ("client_encoding", spelled), ("DateStyle", "dmy")];
            let (_, said) = login(proxy, &params);
            for told in [&b"client_encoding\0UTF8\0"[..], b"DateStyle\0ISO, DMY\0"] {
                let has = said.iter().any(|(tag, body)| *tag == b'S' && body.as_slice() == told);
                assert!(has, "{spelled}: {said:?}");
            }
        }
    });
}

#[test]
fn what_postgresql_remarks_in_a_login_reaches_every_client() {
    in_all_modes(|_, proxy| {
        let long = "x".repeat(65);
        for _ in 0..2 {
            let (_, said) = login(proxy, &[("user", "postgres"), ("application_name", &long)]);
            let notices: Vec<_> = said.iter().filter(|(tag, _)| *tag == b'N').collect();
            let [(_, body)] = notices[..] else { panic!("{said:?}") };
            assert_eq!(field(body, b'C'), "42622", "{said:?}");
        }
    });
}

/// Checklist 14, 16.
#[test]
fn a_packet_in_many_pieces_is_one_packet_and_the_user_names_the_database() {
    in_all_modes(|_, proxy| {
        let mut raw = Raw::connect(proxy);
        raw.stream.set_nodelay(true).unwrap();
        for byte in startup(&[("user", "postgres")]) {
            raw.stream.write_all(&[byte]).unwrap();
        }
        assert_eq!(raw.until_ready().last().unwrap().0, b'Z');
        assert_eq!(value(&mut raw, "select current_database()"), "postgres");
    });
}

/// A client may say more before it is answered, as libpq's pipelines do.
#[test]
fn requests_behind_the_start_up_packet_are_answered_in_turn() {
    in_all_modes(|_, proxy| {
        let mut raw = Raw::connect(proxy);
        let packet = startup(&[("user", "postgres"), ("database", "postgres")]);
        raw.send(&[packet, query("select 1"), query("select 2")].concat());
        assert_eq!(raw.until_ready().last().unwrap().0, b'Z');
        assert_eq!(raw.tags(), "TDCZ");
        assert_eq!(raw.tags(), "TDCZ");
    });
}

fn key_of(said: &[Message]) -> &[u8] {
    &said.iter().find(|(tag, _)| *tag == b'K').unwrap_or_else(|| panic!("{said:?}")).1
}

/// Checklist 9, 10, 11: as PostgreSQL 18 answers, which speaks 3.2.
#[test]
fn protocol_3_2_is_spoken_and_newer_ones_are_negotiated_down_to_it() {
    in_all_modes(|_, proxy| {
        let plain = [("user", "postgres"), ("database", "postgres")];
        let grease = [plain[0], plain[1], ("_pq_.test_protocol_negotiation", "")];
        let listed = b"\0\x03\0\x02\0\0\0\x01_pq_.test_protocol_negotiation\0";
        for (minor, params, negotiation, key_len) in [
            (0, &plain[..], None, 4),
            (1, &plain, None, 4),
            (2, &plain, None, 32),
            (3, &plain, Some(&b"\0\x03\0\x02\0\0\0\0"[..]), 32),
            (9999, &grease, Some(listed), 32),
        ] {
            let mut raw = Raw::connect(proxy);
            let mut packet = startup(params);
            packet[6..8].copy_from_slice(&u16::to_be_bytes(minor));
            raw.send(&packet);
            let said = raw.until_ready();
            let told = said.iter().find(|(tag, _)| *tag == b'v').map(|(_, body)| body.as_slice());
            assert_eq!(told, negotiation, "3.{minor}");
            assert_eq!(key_of(&said).len(), 4 + key_len, "3.{minor}");
            raw.send(&query("select 1"));
            assert_eq!(raw.tags(), "TDCZ");
        }
    });
}

/// How many cancel requests had this outcome.
fn cancels(proxy: &Proxy, outcome: &str) -> String {
    let page = proxy.get("/metrics").1;
    let row = format!("stent_cancel_requests_total{{outcome=\"{outcome}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&row));
    line.unwrap_or_else(|| panic!("{page}")).to_owned()
}

/// Checklist 11.
#[test]
fn a_long_cancel_key_cancels_and_a_wrong_one_does_not() {
    in_all_modes(|pg, proxy| {
        let mut raw = Raw::connect(proxy);
        let mut packet = startup(&[("user", "postgres"), ("database", "postgres")]);
        packet[6..8].copy_from_slice(&u16::to_be_bytes(2));
        raw.send(&packet);
        let said = raw.until_ready();
        let key = key_of(&said);
        let mut wrong = key.to_vec();
        *wrong.last_mut().unwrap() ^= 1;
        let cut = &key[..8];
        raw.send(&query("select pg_sleep(600)"));
        let runs = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
        wait_until("it to run", PATIENCE, || pg.value(runs).unwrap() == "1").unwrap();
        for key in [cut, &wrong, key] {
            let len = (key.len() as u32 + 8).to_be_bytes();
            let mut canceller = Raw::connect(proxy);
            canceller.send(&[&len[..], &80_877_102_u32.to_be_bytes(), key].concat());
            assert!(canceller.rest().is_empty(), "a cancel request is not answered");
        }
        assert_eq!(cancels(proxy, "unknown_key"), "2");
        assert_eq!(cancels(proxy, "forwarded"), "1");
        let said = raw.until_ready();
        let error = said.iter().find(|(tag, _)| *tag == b'E').unwrap();
        assert_eq!(field(&error.1, b'C'), "57014");
    });
}
