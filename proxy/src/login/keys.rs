//! Keys with which we log in to servers, kept: a login through SCRAM must not cost thousands of hash
//! rounds each time.
//!
//! Invariant: bounded, and emptied when full rather than grown: a key is only ever a shortcut.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use stent_wire::auth::scram::ScramKeys;
use stent_wire::auth::secret::Password;

use crate::shared::Lock;

/// The most users whose keys are kept.
const USERS_MAX: usize = 1_000;

/// Keys by user: those derived from a password, and those that clients have proved to have. Apart:
/// the salts that clients are shown are often others than the server's.
#[derive(Default)]
pub(crate) struct KeyCache {
    servers: Lock<FxHashMap<Box<str>, Derived>>,
    proven: Lock<FxHashMap<Box<str>, Arc<ScramKeys>>>,
}

/// Keys and what they were derived from: a password may change while the salt stays.
struct Derived {
    password: Password,
    keys: Arc<ScramKeys>,
}

impl KeyCache {
    /// The keys with which we prove ourselves to a server.
    pub(crate) fn for_server(
        &self,
        user: &str,
        password: &Password,
        salt: &[u8],
        iterations: u32,
    ) -> Arc<ScramKeys> {
        cached(&self.servers, user, password, salt, iterations)
    }

    /// The keys that a client has proved to have, if they fit what the server asks.
    pub(crate) fn proven(
        &self,
        user: &str,
        salt: &[u8],
        iterations: u32,
    ) -> Option<Arc<ScramKeys>> {
        let proven = self.proven.lock();
        proven.get(user).filter(|keys| keys.fit(salt, iterations)).map(Arc::clone)
    }

    /// Secrets may be others now.
    pub(crate) fn forget(&self) {
        self.servers.lock().clear();
        self.proven.lock().clear();
    }

    /// A client has proved to have these keys.
    pub(crate) fn note_proven(&self, user: &str, keys: ScramKeys) {
        insert(&self.proven, user, Arc::new(keys));
    }
}

fn cached(
    map: &Lock<FxHashMap<Box<str>, Derived>>,
    user: &str,
    password: &Password,
    salt: &[u8],
    iterations: u32,
) -> Arc<ScramKeys> {
    let fits = |known: &&Derived| known.keys.fit(salt, iterations) && known.password.is(password);
    if let Some(known) = map.lock().get(user).filter(fits) {
        return Arc::clone(&known.keys);
    }
    let keys = Arc::new(ScramKeys::derive(password, salt, iterations));
    insert(map, user, Derived { password: password.clone(), keys: Arc::clone(&keys) });
    keys
}

fn insert<T>(map: &Lock<FxHashMap<Box<str>, T>>, user: &str, keys: T) {
    let mut map = map.lock();
    if map.len() >= USERS_MAX {
        map.clear();
    }
    map.insert(user.into(), keys);
}
