//! Whole sessions: clients that share servers see what each would see on a server of its own.
//!
//! Owns: a small shell around the books (the way from a client to a server and back), and the
//! comparison. Refuses: pool policy (servers are lent in turn) and sockets.
//! Invariant: each client's replies, byte for byte, are those of a PostgreSQL session that nobody
//! else has.

mod postgres;

use stent_wire::frame::{HEADER_LEN, Sender, frame_at, put_message};
use stent_wire::ledger::{Ledger, Owed, Pass};
use stent_wire::prepared::{
    ClientStatements, ServerStatements, Shape, Statements, Terms, Texts, Translation, UnnamedAs,
    drop_unnamed,
};
use stent_wire::report::reply::{TransactionStatus, put_ready_for_query};
use stent_wire::report::{Fields, Severity};
use stent_wire::splice::Splice;

use postgres::Postgres;

const CLIENTS: usize = 3;
const SERVERS: usize = 2;
/// Few, so that evictions are frequent.
const STATEMENTS_MAX: usize = 2;

const NAMES: [&[u8]; 4] = [b"", b"a", b"b", b"_stent_1"];
const PORTALS: [&[u8]; 2] = [b"", b"p"];
const TEXTS: [&[u8]; 8] =
    [b"select 1", b"select 2", b"select 3", b"begin", b"commit", b"rollback", b"fail", b"bad"];
const FORGETS: &[u8] = b"deallocate all";

/// Any bytes are a schedule of clients, messages and deliveries.
/// It is run with unnamed statements as they are, and with unnamed statements of the book.
pub fn sessions(bytes: &[u8]) {
    run(bytes, Terms::NAMED);
    run(bytes, Terms { unnamed: UnnamedAs::Shared, ..Terms::NAMED });
}

fn run(bytes: &[u8], terms: Terms) {
    let mut world = World::new(terms);
    let mut bytes = bytes.iter().copied();
    while let (Some(what), Some(which)) = (bytes.next(), bytes.next()) {
        let at = usize::from(what >> 5) % CLIENTS;
        match what & 0x1f {
            0..12 => world.client_says(at, &message(what & 0x1f, which)),
            12..18 => world.up(at),
            18..24 => {
                world.servers[at % SERVERS].postgres.step();
            }
            24.. => world.down(at % SERVERS),
        }
    }
    world.finish();
    for (at, client) in world.clients.iter().enumerate() {
        assert_eq!(shown(&client.got), shown(&client.own.said), "client {at}");
        assert_eq!(client.got, client.own.said, "client {at}");
    }
}

/// A message of a client: its kind and its operands.
fn message(kind: u8, which: u8) -> Vec<u8> {
    let name = NAMES[usize::from(which & 3)];
    let portal = PORTALS[usize::from(which >> 2 & 1)];
    let text = TEXTS[usize::from(which >> 3 & 7)];
    let (tag, body) = match kind {
        0 => (b'Q', [text, b"\0"].concat()),
        1 if which & 7 == 7 => (b'Q', [FORGETS, b"\0"].concat()),
        1 => (b'S', Vec::new()),
        2 | 3 => (b'P', [name, b"\0", text, b"\0\0\0"].concat()),
        4 | 5 => (b'B', [portal, b"\0", name, b"\0\0\0\0\0\0\0"].concat()),
        6 => (b'D', [b"S", name, b"\0"].concat()),
        7 => (b'D', [b"P", portal, b"\0"].concat()),
        8 => (b'E', [portal, b"\0\0\0\0\0"].concat()),
        9 if which & 4 == 0 => (b'C', [b"S", name, b"\0"].concat()),
        9 => (b'C', [b"P", portal, b"\0"].concat()),
        10 if which & 8 == 0 => (b'H', Vec::new()),
        _ => (b'S', Vec::new()),
    };
    let mut out = Vec::new();
    put_message(&mut out, tag, |out| out.extend_from_slice(&body));
    out
}

struct World {
    terms: Terms,
    texts: Texts,
    clients: [Client; CLIENTS],
    servers: [Server; SERVERS],
}

#[derive(Default)]
struct Client {
    names: ClientStatements,
    /// Bytes that the proxy has not read yet.
    sent: Vec<u8>,
    got: Vec<u8>,
    server: Option<usize>,
    /// What a session of its own would have said.
    own: Postgres,
}

struct Server {
    postgres: Postgres,
    ledger: Ledger,
    statements: ServerStatements,
    client: Option<usize>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            postgres: Postgres::default(),
            ledger: Ledger::default(),
            statements: ServerStatements::new(STATEMENTS_MAX),
            client: None,
        }
    }
}

impl World {
    fn new(terms: Terms) -> Self {
        Self {
            terms,
            texts: Texts::default(),
            clients: Default::default(),
            servers: Default::default(),
        }
    }

    fn client_says(&mut self, at: usize, message: &[u8]) {
        let client = &mut self.clients[at];
        let uses_unnamed = match message[0] {
            b'B' => unnamed_bind(message),
            b'D' => message.ends_with(b"S\0"),
            _ => false,
        };
        if uses_unnamed && !client.own.knows_unnamed() {
            return;
        }
        client.sent.extend_from_slice(message);
        client.own.inbox.extend_from_slice(message);
        while client.own.step() {}
    }

    /// Everything that a client said is answered, unless all servers are taken.
    fn settle(&mut self, at: usize) {
        loop {
            self.up(at);
            let Some(server) = self.clients[at].server else { return };
            let mut moved = false;
            while self.servers[server].postgres.step() {
                moved = true;
            }
            moved |= !self.servers[server].postgres.said.is_empty();
            self.down(server);
            if !moved && self.clients[at].sent.is_empty() {
                return;
            }
        }
    }

    /// Each client ends what it has begun.
    fn finish(&mut self) {
        for _ in 0..=CLIENTS {
            for at in 0..CLIENTS {
                let mut last = message(11, 0);
                put_message(&mut last, b'Q', |out| out.extend_from_slice(b"rollback\0"));
                self.client_says(at, &last);
                self.settle(at);
            }
        }
        for client in &self.clients {
            assert!(client.server.is_none() && client.sent.is_empty(), "nobody waits for ever");
        }
        for server in &self.servers {
            assert!(server.ledger.is_quiet() && server.client.is_none());
            // Evictions that were skipped pass the limit until the next statement comes.
            assert!(server.statements.len() <= 2 * STATEMENTS_MAX, "{:?}", server.statements);
        }
    }

    /// The proxy reads what a client has sent.
    fn up(&mut self, at: usize) {
        if self.clients[at].server.is_none() && !self.idle(at) {
            return;
        }
        let Self { texts, clients, servers, terms } = self;
        let client = &mut clients[at];
        let server = &mut servers[client.server.expect("a server was lent")];
        let chunk = std::mem::take(&mut client.sent);
        let (mut edit, mut from) = (Vec::new(), 0);
        let mut splice = Splice::new(&chunk, &mut edit);
        while let Some(frame) = frame_at(&chunk, from, Sender::Frontend).expect("a known message") {
            let mut books = Statements {
                texts,
                client: &mut client.names,
                server: &mut server.statements,
                ledger: &mut server.ledger,
                terms: *terms,
            };
            let translation = match frame.tag {
                b'P' => books.parse(&chunk, &frame, &mut splice),
                b'B' => books.bind(&chunk, &frame, &mut splice),
                b'D' => books.describe(&chunk, &frame, &mut splice),
                b'C' => books.close(&chunk, &frame, &mut splice),
                tag => {
                    match tag {
                        b'Q' => {
                            if chunk[frame.body.clone()].starts_with(FORGETS) {
                                books.server.may_forget(books.ledger);
                            }
                            drop_unnamed(books.client, books.server, books.ledger);
                            books.ledger.request(Owed::Query);
                        }
                        b'E' => books.ledger.extended(Owed::Execute),
                        b'S' => books.ledger.sync(),
                        _ => {}
                    }
                    splice.keep(frame.all.clone());
                    Translation::Done(None)
                }
            };
            match translation {
                Translation::Done(_) => from = frame.all.end,
                Translation::Undecided => break,
                Translation::Incomplete | Translation::TooManyNames | Translation::Stale => {
                    panic!("{translation:?} of a whole message")
                }
            }
        }
        undo(texts, client, server);
        if server.ledger.owes_only_own() {
            server.ledger.own_replies(&mut client.got);
        }
        server.postgres.inbox.extend_from_slice(splice.finish());
        client.sent.extend_from_slice(&chunk[from..]);
        self.release(at);
    }

    /// A client without a server: whether it has one now.
    fn idle(&mut self, at: usize) -> bool {
        let client = &mut self.clients[at];
        while let Some(frame) = frame_at(&client.sent, 0, Sender::Frontend).expect("a message") {
            match frame.tag {
                b'S' => put_ready_for_query(&mut client.got, TransactionStatus::Idle),
                b'H' => {}
                _ => break,
            }
            client.sent.drain(frame.all);
        }
        let Some(free) = self.servers.iter().position(|server| server.client.is_none()) else {
            return false;
        };
        if client.sent.is_empty() {
            return false;
        }
        client.server = Some(free);
        self.servers[free].client = Some(at);
        self.servers[free].statements.unnamed.lent();
        true
    }

    /// The proxy reads what a server has said.
    fn down(&mut self, at: usize) {
        let Self { texts, clients, servers, .. } = self;
        let server = &mut servers[at];
        let chunk = std::mem::take(&mut server.postgres.said);
        let Some(lent_to) = server.client else {
            assert!(chunk.is_empty(), "a server of nobody says nothing");
            return;
        };
        let client = &mut clients[lent_to];
        let mut from = 0;
        while let Some(frame) = frame_at(&chunk, from, Sender::Backend).expect("a known message") {
            let body = &chunk[frame.body.clone()];
            server.ledger.own_replies(&mut client.got);
            let pass = match frame.tag {
                b'E' => {
                    server.ledger.error(Fields::new(body).severity().unwrap_or(Severity::Error));
                    undo(texts, client, server);
                    Pass::Forward
                }
                tag => {
                    if let (b'T' | b'n', Some((id, whose))) = (tag, server.ledger.front_described())
                    {
                        let shape = Shape::of((tag == b'T').then_some(body));
                        server.statements.described(id, shape);
                        if whose == Pass::Forward {
                            client.names.described(id, shape);
                        }
                    }
                    if body == b"DEALLOCATE ALL\0" {
                        server.statements.clear();
                        client.names.clear();
                    }
                    server.ledger.backend(tag, body.first().copied()).expect("it was asked for")
                }
            };
            if pass == Pass::Forward {
                client.got.extend_from_slice(&chunk[frame.all.clone()]);
            }
            from = frame.all.end;
        }
        assert_eq!(from, chunk.len());
        if server.ledger.owes_only_own() {
            server.ledger.own_replies(&mut client.got);
        }
        self.release(lent_to);
    }

    /// The server goes back as soon as its book is quiet.
    fn release(&mut self, at: usize) {
        let Self { texts, clients, servers, .. } = self;
        let client = &mut clients[at];
        let Some(server) = client.server else { return };
        let server = &mut servers[server];
        if !server.ledger.is_quiet() {
            return;
        }
        // A Flush may still be on its way.
        while server.postgres.step() {}
        assert!(server.postgres.said.is_empty(), "a quiet server says nothing");
        Statements {
            texts,
            client: &mut client.names,
            server: &mut server.statements,
            ledger: &mut server.ledger,
            terms: Terms::NAMED,
        }
        .keep_unnamed();
        client.server = None;
        server.client = None;
    }
}

fn undo(texts: &mut Texts, client: &mut Client, server: &mut Server) {
    if server.ledger.has_undone() {
        Statements {
            texts,
            client: &mut client.names,
            server: &mut server.statements,
            ledger: &mut server.ledger,
            terms: Terms::NAMED,
        }
        .undo();
    }
}

/// Whether a Bind names no statement.
fn unnamed_bind(message: &[u8]) -> bool {
    let mut names = message[HEADER_LEN..].split(|byte| *byte == 0);
    names.nth(1) == Some(b"")
}

/// Replies as a reader wants them: types, codes and statuses.
fn shown(mut replies: &[u8]) -> String {
    let mut text = String::new();
    while let Ok(Some(frame)) = frame_at(replies, 0, Sender::Backend) {
        let body = &replies[frame.body.clone()];
        text.push(char::from(frame.tag));
        match frame.tag {
            b'E' => text.push_str(
                &Fields::new(body).code().map_or_else(String::new, |code| code.to_string()),
            ),
            b'Z' | b'D' | b'T' => text.push_str(&String::from_utf8_lossy(body)),
            _ => {}
        }
        text.push(' ');
        replies = &replies[frame.all.end..];
    }
    text
}
