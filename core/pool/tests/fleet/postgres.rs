//! A PostgreSQL as far as a fleet sees it: places, sessions, names and marks.
//!
//! Invariant: it never has more sessions than places; what it shows is what is there at that moment.

use std::collections::{BTreeMap, BTreeSet};

use stent_pool::fleet::{Claim, Peer, Seen};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Control { proxy: usize, claim: Claim },
    Server { proxy: usize },
    Other,
}

#[derive(Debug)]
pub(crate) struct Postgres {
    pub(crate) max_connections: u32,
    pub(crate) reserved: u32,
    pub(crate) sessions: BTreeMap<u32, Kind>,
    /// By server, the control connection that has marked it.
    marks: BTreeMap<u32, u32>,
    /// Control connections, with how many of the sessions they have marked.
    controls: BTreeMap<u32, u32>,
    /// Sessions that are no control connection and have no mark.
    unmarked: BTreeSet<u32>,
    next_pid: u32,
}

impl Postgres {
    pub(crate) const fn new(max_connections: u32, reserved: u32) -> Self {
        Self {
            max_connections,
            reserved,
            sessions: BTreeMap::new(),
            marks: BTreeMap::new(),
            controls: BTreeMap::new(),
            unmarked: BTreeSet::new(),
            next_pid: 100,
        }
    }

    pub(crate) fn places(&self) -> usize {
        (self.max_connections - self.reserved) as usize
    }

    /// A login; `None` where every place is taken.
    pub(crate) fn login(&mut self, kind: Kind) -> Option<u32> {
        if self.sessions.len() >= self.places() {
            return None;
        }
        self.next_pid += 1;
        self.sessions.insert(self.next_pid, kind);
        match kind {
            Kind::Control { .. } => drop(self.controls.insert(self.next_pid, 0)),
            Kind::Server { .. } | Kind::Other => drop(self.unmarked.insert(self.next_pid)),
        }
        Some(self.next_pid)
    }

    pub(crate) fn end(&mut self, pid: u32) -> Option<Kind> {
        let kind = self.sessions.remove(&pid)?;
        self.unmarked.remove(&pid);
        if let Some(control) = self.marks.remove(&pid) {
            *self.controls.get_mut(&control).unwrap() -= 1;
        }
        if self.controls.remove(&pid).is_some() {
            let bare = self.marks.extract_if(.., |_, control| *control == pid);
            self.unmarked.extend(bare.map(|(server, _)| server));
        }
        Some(kind)
    }

    /// A control connection publishes and marks.
    pub(crate) fn publish(&mut self, control: u32, said: &str, servers: &[u32]) {
        let Some(Kind::Control { claim, .. }) = self.sessions.get_mut(&control) else { return };
        *claim = Claim::parse(said).expect("a proxy publishes claims");
        for &server in servers {
            if self.unmarked.remove(&server) {
                self.marks.insert(server, control);
                *self.controls.get_mut(&control).unwrap() += 1;
            }
        }
    }

    /// What a control connection reads.
    pub(crate) fn read(&self, own: u32) -> Seen {
        let peer = |(&pid, &alive): (&u32, &u32)| match self.sessions.get(&pid) {
            Some(&Kind::Control { claim, .. }) => Peer { pid, claim, alive },
            Some(Kind::Server { .. } | Kind::Other) | None => {
                panic!("{pid} is a control connection")
            }
        };
        Seen {
            max_connections: self.max_connections,
            reserved: self.reserved,
            own,
            peers: self.controls.iter().map(peer).collect(),
            unmarked: self.unmarked.iter().copied().collect(),
        }
    }

    pub(crate) fn count(&self, is: impl Fn(&Kind) -> bool) -> u32 {
        u32::try_from(self.sessions.values().filter(|kind| is(kind)).count()).unwrap()
    }
}
