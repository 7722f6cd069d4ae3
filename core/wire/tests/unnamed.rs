//! When the Parse of an unnamed statement is answered from what a server knows, and when it goes on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use stent_wire::frame::{Sender, frame_at, put_message};
use stent_wire::ledger::{Ledger, Owed};
use stent_wire::params::Params;
use stent_wire::prepared::{
    Bent, ClientStatements, Outcome, Reading, ServerStatements, Statements, Terms, Texts,
    Translation, UnnamedAs, drop_unnamed,
};
use stent_wire::report::Severity;
use stent_wire::splice::Splice;

const SHARED: Terms = Terms { unnamed: UnnamedAs::Shared, ..Terms::NAMED };

struct World {
    texts: Texts,
    client: ClientStatements,
    server: ServerStatements,
    ledger: Ledger,
}

impl World {
    fn new(limit: usize) -> Self {
        Self {
            texts: Texts::default(),
            client: ClientStatements::default(),
            server: ServerStatements::new(limit),
            ledger: Ledger::default(),
        }
    }

    /// What goes to the server for a message of the client: the types and names, as text.
    fn say(&mut self, tag: u8, body: &[u8], terms: Terms) -> String {
        let (mut chunk, mut edit) = (Vec::new(), Vec::new());
        put_message(&mut chunk, tag, |out| out.extend_from_slice(body));
        let frame = frame_at(&chunk, 0, Sender::Frontend).unwrap().unwrap();
        let mut splice = Splice::new(&chunk, &mut edit);
        let mut books = Statements {
            texts: &mut self.texts,
            client: &mut self.client,
            server: &mut self.server,
            ledger: &mut self.ledger,
            terms,
        };
        let translation = match tag {
            b'P' => books.parse(&chunk, &frame, &mut splice),
            b'B' => books.bind(&chunk, &frame, &mut splice),
            b'D' => books.describe(&chunk, &frame, &mut splice),
            _ => books.close(&chunk, &frame, &mut splice),
        };
        assert!(matches!(translation, Translation::Done(_)), "{translation:?}");
        shown(splice.finish())
    }

    fn parse(&mut self, sql: &str, terms: Terms) -> String {
        self.say(b'P', format!("\0{sql}\0\0\0").as_bytes(), terms)
    }

    /// The round ends, and the server answers; `ready` is the status that it ends with.
    fn answer(&mut self, tags: &[u8], ready: u8) {
        self.ledger.sync();
        for tag in tags {
            self.ledger.own_replies(&mut Vec::new());
            self.ledger.backend(*tag, None).unwrap();
        }
        self.ledger.own_replies(&mut Vec::new());
        self.ledger.backend(b'Z', Some(ready)).unwrap();
    }

    /// A world in which the server knows `sql`.
    fn knowing(sql: &str) -> Self {
        let mut world = Self::new(10);
        assert_eq!(world.parse(sql, SHARED), format!("P '{}'", ""), "seen once");
        world.answer(b"1", b'I');
        assert_eq!(world.parse(sql, SHARED), "P '_stent_1'");
        world.answer(b"1", b'I');
        world
    }

    fn count(&self, outcome: Outcome) -> u64 {
        self.texts.counts.of(outcome)
    }
}

fn shown(mut bytes: &[u8]) -> String {
    let mut parts = Vec::new();
    while let Some(frame) = frame_at(bytes, 0, Sender::Frontend).unwrap() {
        let body = &bytes[frame.body.clone()];
        let names: Vec<_> = body.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        let name = if frame.tag == b'B' { &names[1] } else { &names[0] };
        parts.push(format!("{} '{name}'", char::from(frame.tag)));
        bytes = &bytes[frame.all.end..];
    }
    parts.join(", ")
}

#[test]
fn a_known_text_is_answered_and_bound_to_the_servers_name() {
    let mut world = World::knowing("select 1");
    assert_eq!(world.parse("select 1", SHARED), "");
    assert_eq!(world.say(b'D', b"S\0", SHARED), "D 'S_stent_1'");
    assert_eq!(world.say(b'B', b"\0\0\0\0\0\0\0\0", SHARED), "B '_stent_1'");
    assert_eq!(world.ledger.front_known(), Some(1));
    world.answer(b"n2", b'I');
    assert_eq!(world.count(Outcome::Hit), 1);
}

#[test]
fn what_is_in_doubt_goes_as_it_is() {
    let other = Texts::default().reading(&{
        let mut params = Params::default();
        params.set(b"DateStyle", b"German").unwrap();
        params
    });
    let bent = Terms { bent: Bent::Yes, ..SHARED };
    let many = Terms { reading: Reading::OTHER, ..SHARED };
    let bypass = Terms { unnamed: UnnamedAs::Bypass(Outcome::Text), ..SHARED };
    let elsewhere = Terms { reading: other, ..SHARED };
    type Before = fn(&mut World);
    let nothing: Before = |_| {};
    let failed: Before = |world| {
        world.ledger.request(Owed::Query);
        world.ledger.error(Severity::Error);
        world.ledger.backend(b'Z', Some(b'E')).unwrap();
    };
    let owing: Before = |world| world.ledger.request(Owed::Query);
    let cases: [(&str, Terms, Before, Outcome); 9] = [
        ("select 1", bent, nothing, Outcome::Session),
        ("select 1", many, nothing, Outcome::Session),
        ("select 1", bypass, nothing, Outcome::Text),
        ("select 1", elsewhere, nothing, Outcome::First),
        ("select 2", SHARED, nothing, Outcome::First),
        ("select 1", SHARED, failed, Outcome::Uncertain),
        ("select 1", SHARED, owing, Outcome::Uncertain),
        ("select 1", SHARED, |world| world.texts.redefined(), Outcome::Miss),
        ("select 1", SHARED, |world| world.server.commented(1), Outcome::Miss),
    ];
    for (sql, terms, before, outcome) in cases {
        let mut world = World::knowing("select 1");
        before(&mut world);
        let counted = world.count(outcome);
        let sent = world.parse(sql, terms);
        let expected =
            if outcome == Outcome::Miss { "C 'S_stent_1', P '_stent_1'" } else { "P ''" };
        assert_eq!(sent, expected, "{terms:?}");
        assert_eq!(world.count(outcome), counted + 1, "{outcome:?}");
    }
}

#[test]
fn without_the_cache_nothing_is_shared_and_nothing_counted() {
    let mut world = World::knowing("select 1");
    assert_eq!(world.parse("select 1", Terms::NAMED), "P ''");
    assert_eq!(world.count(Outcome::Hit), 0);
}

#[test]
fn in_an_open_transaction_a_known_text_is_answered_too() {
    let mut world = World::knowing("select 1");
    world.ledger.request(Owed::Query);
    world.ledger.backend(b'C', None).unwrap();
    world.ledger.backend(b'Z', Some(b'T')).unwrap();
    assert_eq!(world.parse("select 1", SHARED), "");
}

#[test]
fn a_statement_that_the_server_has_lost_is_brought_unnamed() {
    let mut world = World::knowing("select 1");
    assert_eq!(world.parse("select 1", SHARED), "");
    world.server.clear();
    assert_eq!(world.say(b'B', b"\0\0\0\0\0\0\0\0", SHARED), "P '', B ''");
}

#[test]
fn a_query_and_a_close_leave_no_unnamed_statement() {
    let mut world = World::knowing("select 1");
    assert_eq!(world.parse("select 1", SHARED), "");
    drop_unnamed(&mut world.client, &mut world.server, &world.ledger);
    assert_eq!(world.say(b'B', b"\0\0\0\0\0\0\0\0", SHARED), "B ''");
    let mut world = World::knowing("select 1");
    assert_eq!(world.parse("select 1", SHARED), "");
    assert_eq!(world.say(b'C', b"S\0", SHARED), "C 'S'");
    assert_eq!(world.say(b'B', b"\0\0\0\0\0\0\0\0", SHARED), "B ''");
}

#[test]
fn a_parse_that_the_server_refuses_is_not_known() {
    let mut world = World::new(10);
    world.parse("select x", SHARED);
    world.answer(b"1", b'I');
    assert_eq!(world.parse("select x", SHARED), "P '_stent_1'");
    world.ledger.sync();
    world.ledger.error(Severity::Error);
    Statements {
        texts: &mut world.texts,
        client: &mut world.client,
        server: &mut world.server,
        ledger: &mut world.ledger,
        terms: SHARED,
    }
    .undo();
    world.ledger.backend(b'Z', Some(b'I')).unwrap();
    assert_eq!(world.server.len(), 0);
    assert_eq!(world.parse("select x", SHARED), "P '_stent_1'");
}

#[test]
fn a_name_is_not_given_what_was_parsed_under_other_settings() {
    let mut world = World::new(10);
    let mut params = Params::default();
    params.set(b"DateStyle", b"German").unwrap();
    let german = Terms { reading: world.texts.reading(&params), ..Terms::NAMED };
    let body = b"a\0select '01/02/2026'::date\0\0\0";
    assert_eq!(world.say(b'P', body, Terms::NAMED), "P '_stent_1'");
    world.answer(b"1", b'I');
    let mut other = ClientStatements::default();
    std::mem::swap(&mut world.client, &mut other);
    assert_eq!(world.say(b'P', body, german), "P '_stent_2'");
    world.answer(b"1", b'I');
    // The first client's settings change, and it comes to a server that does not know its name.
    std::mem::swap(&mut world.client, &mut other);
    world.server = ServerStatements::new(10);
    assert_eq!(world.say(b'B', b"\0a\0\0\0\0\0\0\0", german), "P '_stent_2', B '_stent_2'");
}
