//! The sizes of pools, as the rules say them.
//!
//! Invariant: nothing is kept; what the limits say now holds now.

use stent_pool::{Limits, PoolId};

use crate::model::Model;

impl Model {
    /// How many servers a pool may have, without its reserve.
    pub(crate) fn size(&self, pool: PoolId) -> u32 {
        let (database, user) = (self.known(pool).database, self.known(pool).user);
        size_of(&self.limits, database, user)
    }

    /// How many servers beyond its size a pool may have at the most.
    pub(crate) fn reserve(&self, pool: PoolId) -> u32 {
        if self.limits.reserve_pool_timeout.is_none() {
            return 0;
        }
        let own = self.rule_of(pool).and_then(|at| self.limits.size_rules[at].reserve_pool_size);
        own.unwrap_or(self.limits.reserve_pool_size)
    }

    /// The minimum that applies to the pool at present.
    pub(crate) fn least(&self, pool: PoolId) -> u32 {
        let known = self.known(pool);
        if !known.used || known.barred {
            return 0;
        }
        self.stock(pool)
    }

    /// Its minimum where it is in use.
    pub(crate) fn stock(&self, pool: PoolId) -> u32 {
        let own = self.rule_of(pool).and_then(|at| self.limits.size_rules[at].min_pool_size);
        own.unwrap_or(self.limits.min_pool_size).min(self.size(pool))
    }

    fn rule_of(&self, pool: PoolId) -> Option<usize> {
        rule_of(&self.limits, self.known(pool).database, self.known(pool).user)
    }
}

fn rule_of(limits: &Limits, database: &str, user: &str) -> Option<usize> {
    limits.size_rules.iter().position(|rule| {
        rule.whom.database.as_deref().unwrap_or(database) == database
            && rule.whom.user.as_deref().unwrap_or(user) == user
    })
}

fn size_of(limits: &Limits, database: &str, user: &str) -> u32 {
    let own = rule_of(limits, database, user).and_then(|at| limits.size_rules[at].pool_size);
    own.unwrap_or(limits.pool_size).get()
}
