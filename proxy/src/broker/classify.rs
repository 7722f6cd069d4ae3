//! Of which class each client is, for the queue.
//!
//! Owns: keeping that up to date with a client's parameters and with the rules, and the classes' names.
//! Refuses: whose turn it is, and counting (those are `stent_pool`'s).
//! Invariant: the class is worked out where a name or a rule changes, and never on the way of a query.

use std::sync::Arc;
use std::time::Instant;

use stent_pool::{Class, ClassCensus, class_of};
use stent_wire::params::Params;

use super::{Broker, Inner};
use crate::clients::{Client, ClientId};
use crate::config::QueueClasses;

impl Broker {
    /// A client's parameters have changed, its `application_name` perhaps among them.
    pub(crate) fn learn_params(&self, client: ClientId, params: Arc<Params>) {
        let present = self.present();
        let mut inner = self.inner();
        inner.clients.get_mut(client).params = Some(params);
        inner.classify(client, &present.config.queue_classes);
    }

    /// The classes with their names; none where there are fewer than two.
    pub(crate) fn classes(&self, now: Instant) -> Vec<(String, ClassCensus)> {
        let present = self.present();
        let classes = self.inner().pools.classes(now);
        present.config.queue_classes.names.iter().cloned().zip(classes).collect()
    }
}

impl Inner {
    /// Finds out of which class a client is from here on. Where it waits, it keeps its place.
    pub(crate) fn classify(&mut self, client: ClientId, classes: &QueueClasses) {
        if classes.rules.is_empty() {
            return;
        }
        let class = self.clients.get(client).map(|known| self.class_of(known, classes));
        self.clients.get_mut(client).class = class.unwrap_or_default();
    }

    /// The same for all, by other rules. Where classes have other names, they are others and begin at
    /// zero.
    pub(super) fn classify_all(&mut self, before: &QueueClasses, classes: &QueueClasses) {
        if before.names != classes.names {
            self.pools.count_classes_anew();
        }
        let rated = self.clients.iter().map(|client| (client.id, self.class_of(client, classes)));
        for (client, class) in rated.collect::<Vec<_>>() {
            self.clients.get_mut(client).class = class;
        }
    }

    fn class_of(&self, client: &Client, classes: &QueueClasses) -> Class {
        let Some(pool) = client.pool.filter(|_| !classes.rules.is_empty()) else {
            return Class::USUAL;
        };
        let entry = &self.entries[pool.index()];
        class_of(&classes.rules, &entry.database, &entry.user, &client.application_name())
    }
}
