//! Watching who holds servers, and doing what the rules say about those who hold them too long.
//!
//! Owns: the look round and which stages a holder has been through. Refuses: when a stage is due (that
//! is `stent_pool`'s), and ending a session (that is its own: it is ordered to).
//! Clients that replicate are not looked at: a stream is meant to last.
//! Invariant: nothing on the way of a query knows of this; an order is for one checkout, and whoever
//! has the server after it never gets it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stent_contract::snapshot::HolderState;
use stent_pool::{Done, DueStage, Hold, HoldRule, Holder, Stage, due_stages};
use stent_wire::report::{Report, SqlState};
use stent_wire::startup::Replication;

use super::{Broker, Inner, Slot};
use crate::cancel;
use crate::clients::Client;
use crate::events;
use crate::facts::{Checkout, Facts, Order};

/// How often holders are looked at: limits are in seconds.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Stages carried out, by limit and stage.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HoldCounts([[u64; Stage::ALL.len()]; Hold::ALL.len()]);

impl HoldCounts {
    /// Each pair with its count.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Hold, Stage, u64)> {
        let pairs = Hold::ALL.into_iter().flat_map(|hold| Stage::ALL.map(|stage| (hold, stage)));
        pairs.map(|(hold, stage)| (hold, stage, self.0[hold as usize][stage as usize]))
    }
}

/// What a holder has been through.
#[derive(Clone, Copy, Debug)]
struct Record {
    client: u64,
    /// When the episode of each kind began.
    began: [Option<Instant>; Hold::ALL.len()],
    done: Done,
}

/// A holder for whom something is due.
struct Found {
    facts: Arc<Facts>,
    checkout: Checkout,
    due: Vec<DueStage>,
    said: Said,
}

/// How a holder is named.
pub(crate) struct Said {
    pub(crate) database: Arc<str>,
    pub(crate) user: Arc<str>,
    pub(crate) client: String,
    pub(crate) application_name: String,
    pub(crate) backend_pid: u32,
    pub(crate) statement: String,
}

impl Broker {
    /// Runs for ever.
    pub(crate) async fn watch_holders(self: Arc<Self>) {
        let mut records = BTreeMap::new();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let present = self.present();
            let rules = &present.config.hold_limits;
            if rules.is_empty() {
                continue;
            }
            for found in self.look_round(rules, &mut records) {
                for due in &found.due {
                    self.carry_out_stage(&found, due);
                }
            }
        }
    }

    fn look_round(&self, rules: &[HoldRule], records: &mut BTreeMap<usize, Record>) -> Vec<Found> {
        let now = Instant::now();
        let inner = self.inner();
        let mut present = BTreeMap::new();
        let mut all_found = Vec::new();
        for (at, slot) in inner.servers.iter().enumerate() {
            let Some(slot) = slot else { continue };
            let Some(facts) = &slot.facts else { continue };
            if facts.replication != Replication::Off {
                continue; // It streams for as long as its standby lives: that is no leak.
            }
            let Some(checkout) = facts.checkout() else { continue };
            let mut record = follow(records.get(&at), &checkout);
            let ages = record.began.map(|began| Some(now.saturating_duration_since(began?)));
            let due = due_for(rules, &inner, slot, &checkout, ages, &mut record.done);
            present.insert(at, record);
            if !due.is_empty() {
                let (facts, said) = (Arc::clone(facts), said(&inner, slot, facts, &checkout));
                all_found.push(Found { facts, checkout, due, said });
            }
        }
        *records = present;
        all_found
    }

    fn carry_out_stage(self: &Arc<Self>, found: &Found, due: &DueStage) {
        let Found { facts, checkout, said, .. } = found;
        {
            let mut inner = self.inner();
            // While the register is held the server cannot change hands.
            let holds = inner.clients.get(checkout.client).and_then(|client| client.holds.as_ref());
            let still = holds.is_some_and(|held| Arc::ptr_eq(held, facts))
                && facts.checkout().is_some_and(|now| now.since == checkout.since);
            if !still {
                return;
            }
            match due.stage {
                Stage::Warn => {}
                Stage::Notify => facts.give_order(checkout, Order::Notice(notice(due, said))),
                Stage::Close => facts.give_order(checkout, Order::Close(last_word(due))),
                Stage::Cancel if checkout.state != HolderState::Active => return,
                Stage::Cancel => {
                    facts.cancel_begins();
                    let (broker, facts) = (Arc::clone(self), Arc::clone(facts));
                    tokio::task::spawn_local(async move { cancel::deliver(&broker, &facts).await });
                }
            }
            inner.held_too_long.0[due.hold as usize][due.stage as usize] += 1;
            if matches!(due.stage, Stage::Notify | Stage::Close)
                && let Some(waker) = &inner.clients.get_mut(checkout.client).waker
            {
                waker.wake_by_ref();
            }
        }
        events::HeldTooLong { due, said }.emit();
    }
}

/// What is due for one holder.
fn due_for(
    rules: &[HoldRule],
    inner: &Inner,
    slot: &Slot,
    checkout: &Checkout,
    ages: [Option<Duration>; Hold::ALL.len()],
    done: &mut Done,
) -> Vec<DueStage> {
    let shortest = rules.iter().flat_map(|rule| rule.stages).flatten().min();
    let longest = ages.into_iter().flatten().max();
    if longest < shortest {
        return Vec::new(); // As nearly always: nobody is named, nothing is copied.
    }
    let entry = &inner.entries[slot.pool.index()];
    let client = inner.clients.get(checkout.client);
    let application_name = &client.map(Client::application_name).unwrap_or_default();
    let (database, user) = (&entry.database, &entry.user);
    due_stages(rules, &Holder { database, user, application_name, ages }, done)
}

/// What is known of a holder from the last look, with what has changed since.
fn follow(known: Option<&Record>, checkout: &Checkout) -> Record {
    let client = checkout.client.serial();
    let known = known.filter(|known| known.client == client);
    let (state, since) = (checkout.state, Some(checkout.state_since));
    let transaction = Some(checkout.transaction_since);
    let began = match state {
        HolderState::Active => [None, transaction, since],
        HolderState::IdleInTransaction | HolderState::IdleInFailedTransaction => {
            [since, transaction, None]
        }
        HolderState::Idle => [None; Hold::ALL.len()],
    };
    let mut record = Record { client, began, done: Done::default() };
    if let Some(known) = known {
        record.done = known.done;
        for hold in Hold::ALL {
            if known.began[hold as usize] != began[hold as usize] {
                record.done.forget(hold);
            }
        }
    }
    record
}

fn said(inner: &Inner, slot: &Slot, facts: &Facts, checkout: &Checkout) -> Said {
    let entry = &inner.entries[slot.pool.index()];
    let client = inner.clients.get(checkout.client);
    Said {
        database: Arc::clone(&entry.database),
        user: Arc::clone(&entry.user),
        client: client.map(|client| client.peer.to_string()).unwrap_or_default(),
        application_name: client.map(Client::application_name).unwrap_or_default(),
        backend_pid: facts.backend_pid,
        statement: facts.fingerprint(),
    }
}

const fn doing(hold: Hold) -> &'static str {
    match hold {
        Hold::IdleInTransaction => "this transaction has been idle",
        Hold::Transaction => "this transaction has been open",
        Hold::Query => "this statement has been running",
    }
}

fn notice(due: &DueStage, said: &Said) -> Report {
    let message = format!("{} for {:.0} s", doing(due.hold), due.age.as_secs_f64());
    let detail = format!(
        "It holds a server connection of the pool {}/{}, for which others may be waiting.",
        said.database, said.user
    );
    Report { code: SqlState::WARNING, ..Report::notice(message) }.with_detail(detail)
}

fn last_word(due: &DueStage) -> Report {
    let (code, what) = match due.hold {
        Hold::IdleInTransaction => {
            (SqlState::IDLE_IN_TRANSACTION_TIMEOUT, "idle-in-transaction timeout")
        }
        Hold::Transaction => (SqlState::TRANSACTION_TIMEOUT, "transaction timeout"),
        Hold::Query => (SqlState::QUERY_CANCELED, "query timeout"),
    };
    let limit = due.limit.as_secs_f64();
    Report::fatal(code, format!("terminating connection due to {what}")).with_detail(format!(
        "{} for {:.1} s, and the proxy closes at {limit} s.",
        capitalized(doing(due.hold)),
        due.age.as_secs_f64()
    ))
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
