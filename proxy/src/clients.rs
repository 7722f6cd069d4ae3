//! The register of client connections: who is there, in which state, and how to reach them.
//!
//! Owns: client numbers, cancel keys, and the outcome of a wait on its way to its client.
//! Invariant: an entry lives exactly as long as its session, and costs a fixed number of bytes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use slab::Slab;
use stent_contract::snapshot::ClientCounts;
use stent_pool::{Class, Home, PoolId, Refusal};
use stent_wire::auth::hba::Encryption;
use stent_wire::cancel::CancelKey;
use stent_wire::params::Params;

use crate::facts::Facts;
use crate::leftovers;
use crate::link::Link;
use crate::stream::Peer;

/// A client's number: its place in the register, and its cancel request's process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientId {
    index: u32,
    serial: u64,
}

impl ClientId {
    /// Unique over the life of the proxy.
    pub(crate) const fn serial(self) -> u64 {
        self.serial
    }

    /// What BackendKeyData tells the client as its process id: never zero.
    pub(crate) const fn cancel_pid(self) -> i32 {
        (self.index & 0x3fff_ffff) as i32 + 1
    }
}

/// What a client is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientState {
    /// Between connecting and the end of the login.
    Login,
    /// Holding no server and asking for none.
    Idle,
    /// Queued.
    Waiting,
    /// Holding a server.
    Active,
}

/// Whether a client's session is asking for a server at this moment: it will look at the outcome
/// before it does anything else, and a wake-up would only have it polled once more for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// It may be asleep.
    No,
    /// It is.
    Now,
}

/// The end of a wait.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Here is the server.
    Granted(Box<Link>),
    /// There is none.
    Refused(Refusal),
    /// The client cancelled its own wait.
    Cancelled,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its number.
    pub(crate) id: ClientId,
    /// The worker that serves it.
    pub(crate) home: Home,
    /// The other end.
    pub(crate) peer: Peer,
    /// Its cancel key, once it was told one: never a server's.
    pub(crate) key: Option<CancelKey>,
    /// Whether TLS is spoken with it.
    pub(crate) encryption: Encryption,
    /// When it connected.
    pub(crate) connected: Instant,
    /// What it is doing.
    pub(crate) state: ClientState,
    /// Its pool, once it is logged in.
    pub(crate) pool: Option<PoolId>,
    /// With whom it takes turns where it has to wait.
    pub(crate) class: Class,
    /// Its start-up parameters, as they stand now.
    pub(crate) params: Option<Arc<Params>>,
    /// Wakes its session.
    pub(crate) waker: Option<Waker>,
    /// Whether that is of use.
    pub(crate) asking: Asking,
    /// The end of its wait, until its session takes it.
    pub(crate) outcome: Option<Outcome>,
    /// Its prepared statements: how many names, and the memory behind them, in bytes.
    pub(crate) statements: (u32, u32),
    /// The server it holds.
    pub(crate) holds: Option<Arc<Facts>>,
}

impl Client {
    /// What it calls itself; empty where it does not.
    pub(crate) fn application_name(&self) -> String {
        let name = self.params.as_deref().and_then(Params::application_name);
        name.map(std::borrow::Cow::into_owned).unwrap_or_default()
    }
}

/// All clients.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    slab: Slab<Client>,
    next_serial: u64,
    counts: [u32; 4],
    by_home: Vec<u32>,
    /// How many there are from each address; as many entries as clients, at most.
    by_address: HashMap<IpAddr, u32>,
}

impl Clients {
    /// Adds a client that has just connected.
    pub(crate) fn add(&mut self, peer: Peer, home: Home, now: Instant) -> ClientId {
        self.next_serial += 1;
        let serial = self.next_serial;
        let entry = self.slab.vacant_entry();
        let index = u32::try_from(entry.key()).expect("max_client_conn is a u32");
        let id = ClientId { index, serial };
        entry.insert(Client {
            id,
            home,
            peer,
            key: None,
            encryption: Encryption::None,
            connected: now,
            state: ClientState::Login,
            pool: None,
            class: Class::USUAL,
            params: None,
            waker: None,
            asking: Asking::No,
            outcome: None,
            statements: (0, 0),
            holds: None,
        });
        self.counts[ClientState::Login as usize] += 1;
        if self.by_home.len() <= usize::from(home.0) {
            self.by_home.resize(usize::from(home.0) + 1, 0);
        }
        self.by_home[usize::from(home.0)] += 1;
        if let Some(address) = peer.address() {
            *self.by_address.entry(address).or_default() += 1;
        }
        id
    }

    /// Removes a client; returns what it leaves behind.
    pub(crate) fn remove(&mut self, id: ClientId) -> Client {
        let client = self.slab.remove(id.index as usize);
        assert_eq!(client.id, id, "a client is removed once");
        self.counts[client.state as usize] -= 1;
        self.by_home[usize::from(client.home.0)] -= 1;
        if let Some(address) = client.peer.address()
            && let Entry::Occupied(mut count) = self.by_address.entry(address)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        client
    }

    /// The worker that serves the fewest.
    pub(crate) fn emptiest(&self, workers: NonZeroU16) -> Home {
        let served = |home: &u16| self.by_home.get(usize::from(*home)).copied().unwrap_or(0);
        Home((0..workers.get()).min_by_key(served).unwrap_or(0))
    }

    /// The client, which must be there.
    pub(crate) fn get_mut(&mut self, id: ClientId) -> &mut Client {
        let client = self.slab.get_mut(id.index as usize).expect("a session has its entry");
        assert_eq!(client.id, id, "an entry belongs to one session");
        client
    }

    /// The client, if it is still there.
    pub(crate) fn get(&self, id: ClientId) -> Option<&Client> {
        self.slab.get(id.index as usize).filter(|client| client.id == id)
    }

    /// Every client.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Client> {
        self.slab.iter().map(|(_, client)| client)
    }

    /// The client of a wait. The pool knows clients by `waiter_key`.
    pub(crate) fn by_waiter(&mut self, key: u64) -> Option<&mut Client> {
        self.slab
            .get_mut((key & 0xffff_ffff) as usize)
            .filter(|client| client.id.serial & 0xffff_ffff == key >> 32)
    }

    /// The client that a cancel request means.
    pub(crate) fn by_cancel_pid(&self, pid: i32) -> Option<&Client> {
        let index = usize::try_from(pid.checked_sub(1)?).ok()?;
        self.slab.get(index)
    }

    /// The one door for a change of state.
    pub(crate) fn set_state(&mut self, id: ClientId, state: ClientState) {
        let client = self.get_mut(id);
        let before = std::mem::replace(&mut client.state, state);
        self.counts[before as usize] -= 1;
        self.counts[state as usize] += 1;
    }

    /// A client has proved itself: this is its pool, and these are its parameters.
    pub(crate) fn set_home(&mut self, id: ClientId, pool: PoolId, params: Arc<Params>) {
        let client = self.get_mut(id);
        client.pool = Some(pool);
        client.params = Some(params);
    }

    /// How many more fit before memory is asked for.
    pub(crate) fn room(&self) -> usize {
        self.slab.capacity() - self.slab.len()
    }

    /// Frees the places of clients that were here at a peak, as far as nobody has a later one.
    pub(crate) fn give_back(&mut self) {
        if leftovers::is_too_much(self.slab.capacity(), self.slab.len()) {
            self.slab.shrink_to_fit();
        }
        self.by_address.shrink_to(leftovers::enough(self.by_address.len()));
    }

    /// How many there are from the address of a client, itself included; 0 over the unix socket.
    pub(crate) fn count_at_address_of(&self, id: ClientId) -> u32 {
        let address = self.get(id).and_then(|client| client.peer.address());
        address.and_then(|address| self.by_address.get(&address).copied()).unwrap_or(0)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// How many there are of each state.
    pub(crate) const fn counts(&self, max: u32) -> ClientCounts {
        ClientCounts {
            login: self.counts[ClientState::Login as usize],
            idle: self.counts[ClientState::Idle as usize],
            active: self.counts[ClientState::Active as usize],
            waiting: self.counts[ClientState::Waiting as usize],
            max,
        }
    }
}

impl ClientId {
    /// How the pool knows this client: place and serial in one number.
    pub(crate) const fn waiter_key(self) -> u64 {
        (self.serial & 0xffff_ffff) << 32 | self.index as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(clients: &mut Clients, count: u16) -> Vec<ClientId> {
        let peer = |port| Peer::Tcp(([127, 0, 0, 1], port).into());
        (0..count).map(|port| clients.add(peer(port), Home(0), Instant::now())).collect()
    }

    #[test]
    fn places_of_a_crowd_that_has_gone_are_given_back_and_those_who_stay_keep_theirs() {
        let mut clients = Clients::default();
        let mut ids = crowd(&mut clients, 1_000);
        let last = ids.split_off(10);
        last.into_iter().for_each(|id| drop(clients.remove(id)));
        assert!(clients.room() >= 990, "a peak is kept for a while");
        clients.give_back();
        assert_eq!((clients.len(), clients.room()), (10, 0));
        let one_more = crowd(&mut clients, 1)[0];
        assert!(ids.iter().chain([&one_more]).all(|id| clients.get(*id).is_some()));
    }

    #[test]
    fn places_that_are_likely_to_be_needed_soon_are_kept() {
        let mut clients = Clients::default();
        let ids = crowd(&mut clients, 100);
        let room = clients.room();
        ids[80..].iter().for_each(|id| drop(clients.remove(*id)));
        clients.give_back();
        assert_eq!(clients.room(), room + 20);
    }
}
