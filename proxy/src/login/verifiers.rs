//! What clients' SCRAM proofs are checked with, made ready once for each user.
//!
//! Owns: the hash rounds: those that make a verifier of a password, those that find out that a stored
//! one is of an empty password, and those of passwords in clear. The first two are computed at the
//! start for all users of the list, else at a user's first login.
//! Invariant: the runtime's thread computes none, and few others do, however many clients ask for
//! them; what was made ready for a secret is never used for another; bounded, and emptied when full
//! rather than grown.

use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;
use stent_wire::auth::scram::{SCRAM_ITERATIONS, ScramKeys, ScramVerifier};
use stent_wire::auth::secret::{Demand, Password, Refusal};
use stent_wire::userlist;
use tokio::sync::Semaphore;
use tokio::task::JoinError;

use crate::broker::Broker;
use crate::shared::Lock;

/// The most users whose verifier is kept.
const USERS_MAX: usize = userlist::USERS_MAX;

/// How many threads compute at a time.
const THREADS_MAX: usize = 2;

/// Verifiers by user.
pub(crate) struct Verifiers {
    ready: Lock<FxHashMap<Box<str>, Ready>>,
    threads: Semaphore,
}

impl Default for Verifiers {
    fn default() -> Self {
        Self { ready: Lock::default(), threads: Semaphore::new(THREADS_MAX) }
    }
}

/// Of what a verifier is made.
#[derive(Clone)]
pub(crate) enum Source {
    /// A password, with our salt for the user.
    Plain(Password, [u8; 16]),
    /// A stored SCRAM secret.
    Stored(ScramVerifier),
}

struct Ready {
    source: Source,
    verifier: Result<ScramVerifier, Refusal>,
}

impl Verifiers {
    /// The verifier of a user, or why there is none.
    pub(crate) async fn get(
        &self,
        user: &str,
        source: Source,
    ) -> Result<Result<ScramVerifier, Refusal>, JoinError> {
        if let Some(ready) = self.at_hand(user, &source) {
            return Ok(ready);
        }
        let _thread = self.threads.acquire().await.expect("nobody closes it");
        // Another login of the user may have been quicker.
        if let Some(ready) = self.at_hand(user, &source) {
            return Ok(ready);
        }
        let of = source.clone();
        let verifier = tokio::task::spawn_blocking(move || of.verifier()).await?;
        let mut map = self.ready.lock();
        if map.len() >= USERS_MAX && !map.contains_key(user) {
            map.clear();
        }
        map.insert(user.into(), Ready { source, verifier: verifier.clone() });
        Ok(verifier)
    }
}

impl Verifiers {
    /// Computes something of thousands of hash rounds that is not kept.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let _thread = self.threads.acquire().await.expect("nobody closes it");
        tokio::task::spawn_blocking(work).await
    }

    fn at_hand(&self, user: &str, source: &Source) -> Option<Result<ScramVerifier, Refusal>> {
        let ready = self.ready.lock();
        let ready = ready.get(user).filter(|ready| ready.source.is(source))?;
        Some(ready.verifier.clone())
    }

    /// Computes the hash rounds of users before they come: one at a time, and at most half of the
    /// time, because clients that are there already may have one processor only.
    async fn make_ready<'a>(&self, users: impl Iterator<Item = (&'a str, Source)>) {
        for (user, source) in users {
            let began = Instant::now();
            if self.get(user, source).await.is_err() {
                return;
            }
            tokio::time::sleep(began.elapsed()).await;
        }
    }
}

impl Source {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(one, salt), Self::Plain(other, other_salt)) => {
                salt == other_salt && one.is(other)
            }
            (Self::Stored(one), Self::Stored(other)) => one == other,
            (Self::Plain(..), Self::Stored(_)) | (Self::Stored(_), Self::Plain(..)) => false,
        }
    }

    /// Thousands of hash rounds.
    fn verifier(self) -> Result<ScramVerifier, Refusal> {
        match self {
            Self::Plain(password, salt) => {
                Ok(ScramKeys::derive(&password, &salt, SCRAM_ITERATIONS).verifier())
            }
            Self::Stored(verifier) if verifier.is_of_nothing() => Err(Refusal::NoPassword),
            Self::Stored(verifier) => Ok(verifier),
        }
    }
}

impl Broker {
    /// What a demand's verifier is made of, if it is a demand of SCRAM.
    pub(crate) fn scram_source(&self, user: &str, demand: &Demand<'_>) -> Option<Source> {
        match demand {
            Demand::Scram(verifier) => Some(Source::Stored((*verifier).clone())),
            Demand::ScramOfPlain(password) => {
                Some(Source::Plain((*password).clone(), self.mock.salt(user)))
            }
            Demand::Nothing
            | Demand::Certificate
            | Demand::Cleartext(_)
            | Demand::Md5(_)
            | Demand::Md5OfPlain(_)
            | Demand::DoomedCleartext(_)
            | Demand::DoomedMd5(_)
            | Demand::DoomedScram(_) => None,
        }
    }

    /// Computes the users' hash rounds before they come.
    pub(crate) async fn make_verifiers_ready(self: Arc<Self>) {
        let present = self.present();
        let demands = present.users.scram_demands();
        let users =
            demands.filter_map(|(user, demand)| Some((user, self.scram_source(user, &demand)?)));
        self.verifiers.make_ready(users).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn plain(text: &str) -> Source {
        Source::Plain(Password::new(text.as_bytes()).unwrap(), [3; 16])
    }

    /// What is at hand at once, without a thread.
    fn at_once(verifiers: &Verifiers, user: &str, source: Source) -> Option<ScramVerifier> {
        let mut context = Context::from_waker(Waker::noop());
        match pin!(verifiers.get(user, source)).poll(&mut context) {
            Poll::Ready(made) => made.unwrap().ok(),
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn hash_rounds_are_computed_once_for_each_secret() {
        let verifiers = Verifiers::default();
        assert!(at_once(&verifiers, "amy", plain("one")).is_none(), "not on this thread");
        let first = verifiers.get("amy", plain("one")).await.unwrap().unwrap();
        assert_eq!(at_once(&verifiers, "amy", plain("one")), Some(first.clone()));
        assert!(at_once(&verifiers, "amy", plain("two")).is_none(), "another password");
        assert!(at_once(&verifiers, "bob", plain("one")).is_none(), "another user");
        let second = verifiers.get("amy", plain("two")).await.unwrap().unwrap();
        assert_ne!(first, second);
    }

    #[tokio::test]
    async fn users_are_made_ready_before_they_come() {
        let verifiers = Verifiers::default();
        let users = ["amy", "bob"];
        verifiers.make_ready(users.into_iter().map(|user| (user, plain(user)))).await;
        for user in users {
            assert!(at_once(&verifiers, user, plain(user)).is_some(), "{user}");
        }
    }

    #[tokio::test]
    async fn a_stored_secret_is_its_own_verifier() {
        let verifiers = Verifiers::default();
        let password = Password::new(b"x").unwrap();
        let stored = ScramKeys::derive(&password, &[1; 16], 64).verifier();
        let made = verifiers.get("amy", Source::Stored(stored.clone())).await.unwrap();
        assert_eq!(made, Ok(stored));
    }
}
