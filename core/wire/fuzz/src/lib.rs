//! What must hold for any bytes, one function for each fuzz target.
//!
//! Owns: the properties. Refuses: libFuzzer, so that `tests/corpus.rs` of stent-wire can include
//! this file and replay the corpus on stable.
//! Invariant: a function returns for bytes that keep the property, and panics for others.

mod sessions;

use stent_wire::auth::certificate::{EndPoint, common_name};
use stent_wire::auth::hba::{self, Attempt, Origin};
use stent_wire::auth::scram::{ClientBinding, MockSecret, ScramKeys};
use stent_wire::auth::scram_server::{ScramStep, ServerScram};
use stent_wire::auth::secret::{Password, Refusal, Secret};
use stent_wire::auth::{
    Answer, AuthRequest, Mechanism, parse_answer, parse_password, parse_sasl_initial, scram_client,
};
use stent_wire::effects::{Definition, Functions, custom_settings, scan};
use stent_wire::fingerprint::{fingerprint, first_keyword};
use stent_wire::frame::{HEADER_LEN, Sender, frame_at};
use stent_wire::inspect::{Found, question};
use stent_wire::params::Params;
use stent_wire::prepared::{ClientStatements, rename};
use stent_wire::report::Fields;
use stent_wire::report::reply::{parse_backend_key_data, parse_data_row, parse_parameter_status};
use stent_wire::startup::{
    EncryptionAsked, Packet, Parsed, Replication, Startup, StartupRequest, parse,
};
use stent_wire::userlist;

pub use sessions::sessions;

/// A first packet: consumed bytes are there, awaited bytes are bounded, answers are well formed.
pub fn startup_raw(bytes: &[u8]) {
    match parse(bytes) {
        Ok(Parsed::NeedMore { total }) => {
            assert!(bytes.len() < total && total <= 10_004, "{total} bytes are awaited");
        }
        Ok(Parsed::Complete { packet, consumed }) => {
            assert!(consumed <= bytes.len());
            assert!(EncryptionAsked::default().note(&packet).is_ok());
            if let Packet::Startup(startup) = &packet {
                session(startup);
            }
        }
        Err(error) => {
            let mut out = Vec::new();
            error.put_answer(&mut out);
            if out.first() == Some(&b'E') {
                whole(&out);
            }
        }
    }
}

fn session(startup: &Startup) {
    let mut out = Vec::new();
    startup.put_negotiation(&mut out);
    assert_eq!(out.is_empty(), !startup.needs_negotiation());
    if !out.is_empty() {
        whole(&out);
    }
    let sql = startup.params.sync_sql(&Params::default());
    assert_eq!(sql.is_none(), startup.params.is_empty());
    assert!(sql.is_none_or(|sql| sql.is_ascii()));
    let Startup { user, database, params, .. } = startup;
    let mut again = Vec::new();
    if (StartupRequest { user, database, params, replication: startup.replication })
        .put(&mut again)
        .is_ok()
    {
        let Ok(Parsed::Complete { packet: Packet::Startup(read), .. }) = parse(&again) else {
            panic!("a request of ours is not read");
        };
        assert_eq!((&read.user, &read.database, &read.params), (user, database, params));
    }
}

/// A stream of messages: they follow each other without a gap, and the last may be cut.
pub fn frames_raw(bytes: &[u8]) {
    for sender in [Sender::Frontend, Sender::Backend] {
        let mut at = 0;
        while let Ok(Some(frame)) = frame_at(bytes, at, sender) {
            assert_eq!((frame.all.start, frame.body.start), (at, at + HEADER_LEN));
            assert_eq!(frame.all.end, frame.body.end);
            assert!(frame.all.end <= bytes.len());
            if !frame.is_whole() {
                assert_eq!(frame.all.end, bytes.len());
                break;
            }
            at = frame.all.end;
        }
    }
}

/// Authentication messages of both sides: nothing that is not the password is ever proven.
pub fn scram_raw(bytes: &[u8]) {
    let keys = ScramKeys::derive(&Password::new(b"x").expect("a password"), &[3; 16], 1);
    let mock = MockSecret::new([5; 32]);
    let real = || ServerScram::start(keys.verifier(), [2; 18]);
    let doomed = || ServerScram::start_doomed(&mock, "u", Refusal::UnknownUser, [2; 18]);
    let certificate = include_bytes!("../../tests/certificates/ecdsa-sha256.der");
    let bound = || {
        let chosen = real().choose(Mechanism::ScramPlus, EndPoint::of(certificate));
        chosen.expect("the channel can be bound")
    };
    for server in [real(), doomed(), bound()] {
        assert!(!matches!(server.handle(bytes), Ok(ScramStep::Proven(_))));
    }
    // The second message begins where a NUL stands, which neither may contain.
    let mut messages = bytes.splitn(2, |&byte| byte == 0);
    let (first, second) =
        (messages.next().unwrap_or_default(), messages.next().unwrap_or_default());
    for server in [real(), doomed(), bound()] {
        if let Ok(ScramStep::Continue { next, .. }) = server.handle(first) {
            assert!(next.handle(second).is_err(), "proven without the password");
        }
    }
    let (client, _) = scram_client::start([1; 18], &ClientBinding::Unable);
    if let Ok(need) = client.handle(first)
        && need.iterations() <= 16
    {
        let password = Password::new(b"x").expect("a password");
        let keys = ScramKeys::derive(&password, need.salt(), need.iterations());
        let (client, _) = need.answer(&keys).expect("the keys are for this challenge");
        assert!(client.handle(second).is_err(), "a server proved itself without the password");
    }
    if let Ok(Answer::Proof { consumed, body }) = parse_answer(bytes) {
        assert!(consumed <= bytes.len() && body.len() + HEADER_LEN == consumed);
    }
    let _ = (
        AuthRequest::parse(bytes),
        parse_password(bytes),
        parse_sasl_initial(bytes, Mechanism::ON_TLS),
    );
    let _ = (EndPoint::of(bytes), common_name(bytes));
    let _ = Secret::parse(bytes);
}

/// The body of a report and of small replies: any field may be missing, none is invented.
pub fn error_raw(bytes: &[u8]) {
    let fields = Fields::new(bytes);
    let used: usize = fields.iter().map(|(_, value)| value.len() + 2).sum();
    assert!(used <= bytes.len());
    assert!(fields.code().is_none_or(|code| code.as_str().len() == 5));
    assert!(fields.message().is_none_or(|text| !text.contains('\0')));
    let _ = (fields.severity(), fields.detail(), fields.hint(), fields.routine());
    let _ = (fields.is_stale_plan(), format!("{fields:?}"));
    let _ = (parse_parameter_status(bytes), parse_backend_key_data(bytes));
    // A client without names: at most the underscore that we put in front of one goes.
    let renamed = rename(bytes, &ClientStatements::default(), None, Some(1));
    assert!(renamed.is_none_or(|renamed| renamed.len() <= bytes.len()));
    if let Some(row) = parse_data_row(bytes) {
        let _ = Definition::from_row(&row);
        let mut found = Found::default();
        found.row(&row, b"user");
        assert!(found.settings.len() <= 1 && found.channels.len() <= 1);
    }
}

/// Texts: statements, files of users, and `options`.
pub fn text_raw(bytes: &[u8]) {
    for max in [0, 7, 1024] {
        assert!(fingerprint(bytes, max).len() <= max);
    }
    let _ = (first_keyword(bytes), userlist::parse(bytes));
    let effects = scan(bytes, &Functions::default());
    let question = question(effects, &custom_settings(bytes));
    assert!(question.is_ascii(), "no name of a client bends the question");
    rules(bytes);
    let mut params = Params::default();
    let _ = params.set_options(bytes);
    assert_eq!(params.iter().count(), params.len());
}

/// A file of rules: it is refused with a mend, or what it says can be asked.
fn rules(file: &[u8]) {
    match hba::parse("file", file) {
        Ok(rules) => {
            let (origin, replication) = (Origin::Local, Replication::Off);
            let attempt = Attempt { origin, database: "d", user: "u", replication };
            let report = match rules.find(&attempt) {
                Some(_) => rules.rejected(&attempt),
                None => rules.no_rule(&attempt),
            };
            let mut out = Vec::new();
            report.put(&mut out);
            whole(&out);
        }
        Err(error) => assert!(error.fault.to_string().contains("; "), "{error} has no mend"),
    }
}

/// One message and nothing behind it.
fn whole(out: &[u8]) {
    let frame = frame_at(out, 0, Sender::Backend).expect("well formed").expect("with its header");
    assert!(frame.is_whole() && frame.all == (0..out.len()));
}
