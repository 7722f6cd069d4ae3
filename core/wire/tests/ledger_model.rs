//! The book against a naive PostgreSQL: whatever is pipelined and whatever fails, the book is quiet
//! exactly when the server is.

use std::collections::VecDeque;

use proptest::prelude::*;
use stent_wire::ledger::{Ledger, Owed};
use stent_wire::report::Severity;

/// What a client may send, and how the server takes it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Query {
        fails: bool,
        opens: bool,
    },
    Parse {
        fails: bool,
    },
    Bind {
        fails: bool,
    },
    Describe,
    Execute {
        fails: bool,
    },
    Close,
    Sync,
    /// Not a message: the server works off one message and answers.
    Answer,
}

fn step() -> impl Strategy<Value = Step> {
    let fails = prop::bool::weighted(0.15);
    prop_oneof![
        2 => (fails, any::<bool>()).prop_map(|(fails, opens)| Step::Query { fails, opens }),
        1 => fails.prop_map(|fails| Step::Parse { fails }),
        1 => fails.prop_map(|fails| Step::Bind { fails }),
        1 => Just(Step::Describe),
        1 => fails.prop_map(|fails| Step::Execute { fails }),
        1 => Just(Step::Close),
        3 => Just(Step::Sync),
        8 => Just(Step::Answer),
    ]
}

/// PostgreSQL's message loop, as its documentation tells it.
#[derive(Default)]
struct Server {
    inbox: VecDeque<Step>,
    skipping: bool,
    unsynced: bool,
    status: u8,
}

impl Server {
    /// Works off one message; returns what it says.
    fn answer(&mut self) -> Vec<(u8, Option<u8>)> {
        let Some(step) = self.inbox.pop_front() else { return Vec::new() };
        if self.skipping && !matches!(step, Step::Sync) {
            return Vec::new();
        }
        self.unsynced = !matches!(step, Step::Sync | Step::Query { .. });
        match step {
            Step::Query { fails: true, .. } => vec![(b'E', None), (b'Z', Some(self.status))],
            Step::Query { opens, .. } => {
                self.status = if opens { b'T' } else { b'I' };
                vec![(b'T', None), (b'D', None), (b'C', None), (b'Z', Some(self.status))]
            }
            Step::Parse { fails: true }
            | Step::Bind { fails: true }
            | Step::Execute { fails: true } => {
                self.skipping = true;
                vec![(b'E', None)]
            }
            Step::Parse { .. } => vec![(b'1', None)],
            Step::Bind { .. } => vec![(b'2', None)],
            Step::Describe => vec![(b't', None), (b'n', None)],
            Step::Execute { .. } => vec![(b'D', None), (b'C', None)],
            Step::Close => vec![(b'3', None)],
            Step::Sync => {
                self.skipping = false;
                vec![(b'Z', Some(self.status))]
            }
            Step::Answer => Vec::new(),
        }
    }

    fn is_quiet(&self) -> bool {
        self.inbox.is_empty() && !self.skipping && !self.unsynced && self.status == b'I'
    }
}

fn send(ledger: &mut Ledger, step: Step) {
    match step {
        Step::Query { .. } => ledger.request(Owed::Query),
        Step::Parse { .. } => ledger.extended(Owed::Parse(None)),
        Step::Bind { .. } => ledger.extended(Owed::Bind(0)),
        Step::Describe => ledger.extended(Owed::Describe(0)),
        Step::Execute { .. } => ledger.extended(Owed::Execute),
        Step::Close => ledger.extended(Owed::Close),
        Step::Sync => ledger.sync(),
        Step::Answer => {}
    }
}

fn hear(ledger: &mut Ledger, said: Vec<(u8, Option<u8>)>) {
    for (tag, first) in said {
        if tag == b'E' {
            ledger.error(Severity::Error);
            ledger.take_undone().for_each(drop);
        } else {
            ledger.backend(tag, first).expect("PostgreSQL says nothing that nobody asked for");
        }
    }
}

proptest! {
    #[test]
    fn the_book_is_quiet_exactly_when_the_server_is(steps in prop::collection::vec(step(), 1..120)) {
        let mut ledger = Ledger::default();
        let mut server = Server { status: b'I', ..Server::default() };
        for step in steps {
            if matches!(step, Step::Answer) {
                hear(&mut ledger, server.answer());
            } else {
                send(&mut ledger, step);
                server.inbox.push_back(step);
            }
            // The book may not know yet that the server will skip what is on its way, so it may be
            // in doubt for longer than the server; it must never be quiet before it.
            prop_assert!(!ledger.is_quiet() || server.is_quiet());
        }
        while !server.inbox.is_empty() {
            hear(&mut ledger, server.answer());
        }
        prop_assert_eq!(ledger.is_quiet(), server.is_quiet());
    }
}
