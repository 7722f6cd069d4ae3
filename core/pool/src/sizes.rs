//! How large a pool is: the general sizes, and those of pools that have their own.
//!
//! Refuses: caps over several pools (`room`).
//! Invariant: of [`Sizes`] the minimum is within the size, and there is a reserve only where somebody
//! can have waited for it.

use std::num::NonZeroU32;

use crate::limits::Limits;
use crate::whom::Whom;

/// The sizes of some pools. What is `None` is as for all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeRule {
    /// Which pools, by database and user; an `application_name` fits none.
    pub whom: Whom,
    /// See [`Limits::pool_size`].
    pub pool_size: Option<NonZeroU32>,
    /// See [`Limits::min_pool_size`].
    pub min_pool_size: Option<u32>,
    /// See [`Limits::reserve_pool_size`].
    pub reserve_pool_size: Option<u32>,
}

/// The sizes of one pool, in servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// See [`Limits::pool_size`].
    pub pool_size: NonZeroU32,
    /// See [`Limits::min_pool_size`].
    pub min_pool_size: u32,
    /// See [`Limits::reserve_pool_size`].
    pub reserve_pool_size: u32,
}

impl Limits {
    /// The rule of the pool of a database and user: the first that fits.
    pub fn size_rule(&self, database: &str, user: &str) -> Option<&SizeRule> {
        let fits = |rule: &&SizeRule| {
            let alike = |wish: &str, is: &str| wish == is;
            rule.whom.application_name.is_none() && rule.whom.fits([database, user, ""], alike)
        };
        self.size_rules.iter().find(fits)
    }

    /// The sizes of the pool of a database and user.
    pub fn sizes(&self, database: &str, user: &str) -> Sizes {
        let rule = self.size_rule(database, user);
        let pool_size = rule.and_then(|rule| rule.pool_size).unwrap_or(self.pool_size);
        let least = rule.and_then(|rule| rule.min_pool_size).unwrap_or(self.min_pool_size);
        let reserve = rule.and_then(|rule| rule.reserve_pool_size);
        let reserve = reserve.unwrap_or(self.reserve_pool_size);
        let sizes = Sizes {
            pool_size,
            min_pool_size: least.min(pool_size.get()),
            reserve_pool_size: self.reserve_pool_timeout.map_or(0, |_| reserve),
        };
        assert!(sizes.min_pool_size <= sizes.pool_size.get(), "a minimum is within the size");
        sizes
    }
}
