//! What the book says after each kind of exchange.

use super::*;

fn play(ledger: &mut Ledger, replies: &[(u8, Option<u8>)]) {
    for &(tag, first) in replies {
        if tag == b'E' {
            ledger.error(Severity::Error);
        } else {
            ledger.backend(tag, first).unwrap();
        }
    }
}

#[test]
fn a_simple_query_is_quiet_after_its_ready_for_query() {
    let mut ledger = Ledger::default();
    assert!(ledger.is_quiet());
    ledger.request(Owed::Query);
    play(&mut ledger, &[(b'T', None), (b'D', None), (b'C', None)]);
    assert!(!ledger.is_quiet());
    play(&mut ledger, &[(b'Z', Some(b'I'))]);
    assert!(ledger.is_quiet());
}

#[test]
fn an_open_transaction_is_settled_but_not_quiet() {
    let mut ledger = Ledger::default();
    ledger.request(Owed::Query);
    play(&mut ledger, &[(b'C', None), (b'Z', Some(b'T'))]);
    assert!(ledger.is_settled() && !ledger.is_quiet());
}

#[test]
fn flush_without_sync_keeps_the_server() {
    let mut ledger = Ledger::default();
    ledger.extended(Owed::Parse(None));
    play(&mut ledger, &[(b'1', None)]);
    assert!(ledger.awaits_client() && !ledger.is_quiet());
    ledger.sync();
    play(&mut ledger, &[(b'Z', Some(b'I'))]);
    assert!(ledger.is_quiet());
}

#[test]
fn an_error_skips_to_the_next_sync_and_names_what_was_skipped() {
    let mut ledger = Ledger::default();
    ledger.extended(Owed::Parse(None));
    ledger.extended(Owed::Bind(0));
    ledger.extended(Owed::Execute);
    ledger.request(Owed::Query);
    ledger.sync();
    ledger.extended(Owed::Bind(0));
    ledger.sync();
    play(&mut ledger, &[(b'1', None), (b'E', None)]);
    assert_eq!(ledger.take_undone().count(), 3);
    play(&mut ledger, &[(b'Z', Some(b'I')), (b'2', None), (b'Z', Some(b'I'))]);
    assert!(ledger.is_quiet());
}

#[test]
fn what_follows_an_error_before_its_sync_is_undone_at_once() {
    let mut ledger = Ledger::default();
    ledger.extended(Owed::Bind(0));
    play(&mut ledger, &[(b'E', None)]);
    ledger.extended(Owed::Execute);
    assert_eq!(ledger.take_undone().count(), 2);
    ledger.request(Owed::Query);
    ledger.sync();
    play(&mut ledger, &[(b'Z', Some(b'I'))]);
    assert!(ledger.is_quiet());
}

#[test]
fn a_sync_sent_before_copy_in_begins_gets_no_ready_for_query() {
    let mut ledger = Ledger::default();
    ledger.extended(Owed::Bind(0));
    ledger.extended(Owed::Execute);
    ledger.sync();
    play(&mut ledger, &[(b'2', None), (b'G', None)]);
    ledger.copy_end();
    ledger.sync();
    play(&mut ledger, &[(b'C', None), (b'Z', Some(b'I'))]);
    assert!(ledger.is_quiet());
}

#[test]
fn copy_data_sent_blindly_is_matched_when_copy_begins() {
    let mut ledger = Ledger::default();
    ledger.request(Owed::Query);
    ledger.copy_end();
    play(&mut ledger, &[(b'G', None), (b'C', None), (b'Z', Some(b'I'))]);
    assert!(ledger.is_quiet());
}

#[test]
fn a_sync_inside_failing_copy_data_leaves_the_server_in_doubt() {
    let mut ledger = Ledger::default();
    ledger.extended(Owed::Execute);
    play(&mut ledger, &[(b'G', None)]);
    ledger.sync();
    play(&mut ledger, &[(b'E', None)]);
    ledger.sync();
    play(&mut ledger, &[(b'Z', Some(b'I'))]);
    assert!(!ledger.is_quiet());
}

#[test]
fn own_replies_keep_their_place_in_the_order() {
    let mut ledger = Ledger::default();
    ledger.extended(Owed::InjectedClose(1));
    ledger.extended(Owed::OwnClose(None));
    ledger.extended(Owed::Bind(0));
    let mut out = Vec::new();
    ledger.own_replies(&mut out);
    assert!(out.is_empty());
    assert_eq!(ledger.backend(b'3', None), Ok(Pass::Swallow));
    ledger.own_replies(&mut out);
    assert_eq!(out, [b'3', 0, 0, 0, 4]);
    assert_eq!(ledger.backend(b'2', None), Ok(Pass::Forward));
}

#[test]
fn replies_nobody_asked_for_put_the_server_out_of_step() {
    for tag in [b'Z', b'1', b'C', b'D', b'G'] {
        assert!(Ledger::default().backend(tag, Some(b'I')).is_err(), "{}", tag as char);
    }
    for tag in [b'A', b'N', b'S'] {
        assert_eq!(Ledger::default().backend(tag, None), Ok(Pass::Forward));
    }
}

#[test]
fn a_fatal_error_ends_the_server_for_good() {
    let mut ledger = Ledger::default();
    ledger.error(Severity::Fatal);
    assert!(ledger.has_ended() && !ledger.is_quiet());
}
