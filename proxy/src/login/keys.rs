//! Derived keys, kept: a login through SCRAM must not cost thousands of hash rounds each time.
//!
//! Invariant: bounded, and emptied when full rather than grown: a key is only ever a shortcut.

use std::cell::RefCell;
use std::rc::Rc;

use rustc_hash::FxHashMap;
use stent_wire::auth::scram::ScramKeys;
use stent_wire::auth::secret::Password;

/// The most users whose keys are kept.
const USERS_MAX: usize = 1_000;

/// Keys by user: those derived from a password, one map for each direction, and those that clients
/// have proved to have.
#[derive(Default)]
pub(crate) struct KeyCache {
    clients: RefCell<FxHashMap<Box<str>, Derived>>,
    servers: RefCell<FxHashMap<Box<str>, Derived>>,
    proven: RefCell<FxHashMap<Box<str>, Rc<ScramKeys>>>,
}

/// Keys and what they were derived from: a password may change while the salt stays.
struct Derived {
    password: Password,
    keys: Rc<ScramKeys>,
}

impl KeyCache {
    /// The keys with which a client's proof is checked.
    pub(crate) fn for_client(
        &self,
        user: &str,
        password: &Password,
        salt: &[u8],
        iterations: u32,
    ) -> Rc<ScramKeys> {
        cached(&self.clients, user, password, salt, iterations)
    }

    /// The keys with which we prove ourselves to a server.
    pub(crate) fn for_server(
        &self,
        user: &str,
        password: &Password,
        salt: &[u8],
        iterations: u32,
    ) -> Rc<ScramKeys> {
        cached(&self.servers, user, password, salt, iterations)
    }

    /// The keys that a client has proved to have, if they fit what the server asks.
    pub(crate) fn proven(&self, user: &str, salt: &[u8], iterations: u32) -> Option<Rc<ScramKeys>> {
        let proven = self.proven.borrow();
        proven.get(user).filter(|keys| keys.fit(salt, iterations)).map(Rc::clone)
    }

    /// A client has proved to have these keys.
    pub(crate) fn note_proven(&self, user: &str, keys: ScramKeys) {
        insert(&self.proven, user, Rc::new(keys));
    }
}

fn cached(
    map: &RefCell<FxHashMap<Box<str>, Derived>>,
    user: &str,
    password: &Password,
    salt: &[u8],
    iterations: u32,
) -> Rc<ScramKeys> {
    let fits = |known: &&Derived| known.keys.fit(salt, iterations) && known.password.is(password);
    if let Some(known) = map.borrow().get(user).filter(fits) {
        return Rc::clone(&known.keys);
    }
    let keys = Rc::new(ScramKeys::derive(password, salt, iterations));
    insert(map, user, Derived { password: password.clone(), keys: Rc::clone(&keys) });
    keys
}

fn insert<T>(map: &RefCell<FxHashMap<Box<str>, T>>, user: &str, keys: T) {
    let mut map = map.borrow_mut();
    if map.len() >= USERS_MAX {
        map.clear();
    }
    map.insert(user.into(), keys);
}
