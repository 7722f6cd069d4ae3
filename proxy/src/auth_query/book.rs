//! What PostgreSQL has said of users lately.
//!
//! Owns: how long it is believed, and what goes when there is too much of it.
//! Invariant: at most [`USERS_MAX`] users and [`STRANGERS_MAX`] names that are none; strangers
//! never push a user out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stent_wire::auth::lookup::LookedUp;
use stent_wire::auth::secret::Secret;

use crate::shared::Lock;

/// How long an answer is believed, if its VALID UNTIL does not come first: what changes in
/// PostgreSQL is seen after this time at the latest, a new password at the second login with it.
pub(crate) const FRESH: Duration = Duration::from_secs(10);
/// An answer younger than this is not asked for again because a login failed.
const DOUBT_AFTER: Duration = Duration::from_secs(1);
/// The most users that are remembered.
const USERS_MAX: usize = 10_000;
/// The most names that are remembered because they are nobody's.
const STRANGERS_MAX: usize = 1_000;

/// What PostgreSQL has said of one name, and when.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) said: LookedUp,
    at: Instant,
    doubted: Lock<Doubted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubted {
    No,
    Yes,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Book {
    users: BTreeMap<Box<str>, Arc<Record>>,
    strangers: BTreeMap<Box<str>, Arc<Record>>,
}

impl Record {
    pub(crate) const fn new(said: LookedUp, at: Instant) -> Self {
        Self { said, at, doubted: Lock::new(Doubted::No) }
    }
}

impl Book {
    /// What is known of a name and may be believed.
    pub(crate) fn fresh(&self, name: &str, now: Instant) -> Option<Arc<Record>> {
        let record = self.users.get(name).or_else(|| self.strangers.get(name))?;
        let age = now.saturating_duration_since(record.at);
        let believed_for = record.said.valid_for.map_or(FRESH, |valid| valid.min(FRESH));
        (age < believed_for && record.doubted.get() == Doubted::No).then(|| Arc::clone(record))
    }

    /// Enters an answer in the place of any earlier one.
    pub(crate) fn enter(&mut self, name: &str, record: Arc<Record>) {
        self.users.remove(name);
        self.strangers.remove(name);
        let (map, max) = match record.said.secret {
            Ok(_) => (&mut self.users, USERS_MAX),
            Err(_) => (&mut self.strangers, STRANGERS_MAX),
        };
        if map.len() >= max {
            let oldest = map.iter().min_by_key(|(_, record)| record.at);
            let oldest = oldest.map(|(name, _)| name.clone()).expect("a full map has entries");
            map.remove(&oldest);
        }
        map.insert(name.into(), record);
        assert!(map.len() <= max, "the limit holds");
    }

    /// A login under this name has failed: the secret may be another by now.
    pub(crate) fn doubt(&self, name: &str, now: Instant) {
        let record = self.users.get(name).or_else(|| self.strangers.get(name));
        if let Some(record) = record
            && now.saturating_duration_since(record.at) >= DOUBT_AFTER
        {
            record.doubted.set(Doubted::Yes);
        }
    }

    /// The secret of a user, however old: with it we log in to PostgreSQL, which judges.
    pub(crate) fn secret(&self, name: &str) -> Option<&Secret> {
        self.users.get(name)?.said.secret.as_ref().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stent_wire::auth::secret::{AuthType, Refusal};

    fn record(secret: Result<&str, Refusal>, at: Instant) -> Arc<Record> {
        record_valid_for(secret, None, at)
    }

    fn record_valid_for(
        secret: Result<&str, Refusal>,
        valid_for: Option<Duration>,
        at: Instant,
    ) -> Arc<Record> {
        let secret = secret.map(|text| Secret::parse(text.as_bytes()).unwrap());
        let strangers = AuthType::ScramSha256;
        Arc::new(Record::new(LookedUp { secret, strangers, valid_for }, at))
    }

    #[test]
    fn a_password_is_not_believed_past_its_valid_until() {
        let (start, mut book) = (Instant::now(), Book::default());
        let soon = Duration::from_millis(300);
        book.enter("ann", record_valid_for(Ok("pw"), Some(soon), start));
        assert!(book.fresh("ann", start + soon - Duration::from_millis(1)).is_some());
        assert!(book.fresh("ann", start + soon).is_none());
        book.enter("ann", record_valid_for(Ok("pw"), Some(FRESH * 2), start));
        assert!(book.fresh("ann", start + FRESH).is_none());
    }

    #[test]
    fn an_answer_is_believed_for_a_while_and_its_secret_kept_for_logins_of_ours() {
        let (start, mut book) = (Instant::now(), Book::default());
        book.enter("ann", record(Ok("pw"), start));
        assert!(book.fresh("ann", start + FRESH - Duration::from_millis(1)).is_some());
        assert!(book.fresh("ann", start + FRESH).is_none());
        assert!(book.secret("ann").is_some());
        assert!(book.fresh("bob", start).is_none());
    }

    #[test]
    fn a_failed_login_asks_again_but_not_at_once() {
        let (start, mut book) = (Instant::now(), Book::default());
        book.enter("ann", record(Ok("pw"), start));
        book.doubt("ann", start + DOUBT_AFTER / 2);
        assert!(book.fresh("ann", start + DOUBT_AFTER).is_some(), "too young to be doubted");
        book.doubt("ann", start + DOUBT_AFTER);
        assert!(book.fresh("ann", start + DOUBT_AFTER).is_none());
        assert!(book.secret("ann").is_some(), "servers are opened with it meanwhile");
    }

    #[test]
    fn a_role_that_was_dropped_takes_its_secret_with_it() {
        let (start, mut book) = (Instant::now(), Book::default());
        book.enter("ann", record(Ok("pw"), start));
        book.enter("ann", record(Err(Refusal::UnknownUser), start));
        assert!(book.secret("ann").is_none());
        assert!(book.fresh("ann", start).is_some());
    }

    #[test]
    fn strangers_push_out_the_oldest_stranger_and_no_user() {
        let (start, mut book) = (Instant::now(), Book::default());
        book.enter("ann", record(Ok("pw"), start));
        for n in 0..=STRANGERS_MAX as u64 {
            let at = start + Duration::from_micros(n);
            book.enter(&format!("stranger{n}"), record(Err(Refusal::UnknownUser), at));
        }
        let now = start + Duration::from_secs(1);
        assert!(book.fresh("ann", now).is_some());
        assert!(book.fresh("stranger0", now).is_none());
        assert!(book.fresh("stranger1", now).is_some());
        assert_eq!(book.strangers.len(), STRANGERS_MAX);
    }
}
