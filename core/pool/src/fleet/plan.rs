//! The plan of a fleet before it runs: what `stent budget` prints.
//!
//! Owns: the arithmetic of connections. Refuses: text.
//! Invariant: a plan that fits gives every task its minimum, its control connection and the
//! reserve at the same time, also while a deploy runs two generations of tasks.

/// The most connections that AWS's default gives to any instance class.
pub const RDS_CONNECTIONS_MAX: u32 = 5_000;

const GIB: u64 = 1 << 30;
/// Source: AWS Prescriptive Guidance, "Tuning PostgreSQL parameters in Amazon RDS and Amazon
/// Aurora", `max_connections`: LEAST(DBInstanceClassMemory/9531392, 5000).
const RDS_BYTES_EACH: u64 = 9_531_392;
/// DBInstanceClassMemory is less than the class is sold with: published readings of
/// `SHOW max_connections` between 1 and 16 GiB are below the formula by up to so many, and two more
/// for each GiB.
const RDS_SHORTFALL: u64 = 30;
const RDS_SHORTFALL_GIB: u64 = 2;

/// A careful guess of the default `max_connections` of an RDS or Aurora PostgreSQL instance with so
/// much memory, in GiB.
pub fn rds_max_connections(memory_gib: u32) -> u32 {
    let memory = u64::from(memory_gib);
    let nominal = memory * GIB / RDS_BYTES_EACH;
    let guess = nominal.saturating_sub(RDS_SHORTFALL + RDS_SHORTFALL_GIB * memory);
    let guess = u32::try_from(guess).unwrap_or(u32::MAX).min(RDS_CONNECTIONS_MAX);
    assert!(u64::from(guess) <= nominal, "the formula is the most");
    guess
}

/// What is planned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// `max_connections`.
    pub max_connections: u32,
    /// `superuser_reserved_connections` and `reserved_connections`.
    pub reserved: u32,
    /// Connections of programs that do not go through Stent.
    pub others: u32,
    /// `fleet_reserve`.
    pub reserve: u32,
    /// Services, each with as many tasks.
    pub services: u32,
    /// Tasks of a service, one proxy each.
    pub tasks: u32,
    /// Tasks during a deploy, in per cent of `tasks`.
    pub overlap_percent: u32,
    /// `fleet_minimum`: what each task must have.
    pub minimum: u32,
    /// The most servers that a task opens, where that is known.
    pub pool_size: Option<u32>,
}

/// The plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Connections that the fleet can have, control connections included.
    pub usable: u64,
    /// Tasks at most: all services in the middle of a deploy.
    pub proxies_peak: u64,
    /// Tasks otherwise.
    pub proxies: u64,
    /// Servers of each task where all want as many as they can get.
    pub share: u64,
    /// The same in the middle of a deploy.
    pub share_peak: u64,
    /// What pools of a fixed `pool_size` would open at the peak, without a budget.
    pub unbudgeted_peak: Option<u64>,
}

/// Why a fleet does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Nothing is left for the fleet.
    #[error("{kept} connections are kept for others, and max_connections is {max_connections}")]
    NothingLeft {
        /// Reserved, of others, and the reserve.
        kept: u64,
        /// `max_connections`.
        max_connections: u32,
    },
    /// The minimums do not fit.
    #[error("{proxies} tasks at the peak need {needed} connections, and {usable} are usable")]
    Minimum {
        /// Tasks at the peak.
        proxies: u64,
        /// Minimums and control connections.
        needed: u64,
        /// What there is.
        usable: u64,
        /// The most tasks at the peak that fit.
        proxies_max: u64,
        /// The least `max_connections` that fits.
        max_connections: u64,
        /// The highest minimum that fits, if any does.
        minimum: Option<u64>,
    },
}

/// Works the plan out.
pub fn plan(ask: &Ask) -> Result<Budget, Misfit> {
    let kept = u64::from(ask.reserved) + u64::from(ask.others) + u64::from(ask.reserve);
    let limit = u64::from(ask.max_connections);
    let usable = limit.checked_sub(kept).filter(|&usable| usable > 0);
    let Some(usable) = usable else {
        return Err(Misfit::NothingLeft { kept, max_connections: ask.max_connections });
    };
    let proxies = u64::from(ask.services) * u64::from(ask.tasks);
    let at_peak = u64::from(ask.tasks) * u64::from(ask.overlap_percent.max(100));
    let peak = u64::from(ask.services) * at_peak.div_ceil(100);
    let each = u64::from(ask.minimum) + 1;
    let needed = peak * each;
    if needed > usable {
        return Err(Misfit::Minimum {
            proxies: peak,
            needed,
            usable,
            proxies_max: usable / each,
            max_connections: kept + needed,
            minimum: (usable / peak).checked_sub(1).filter(|&minimum| minimum > 0),
        });
    }
    assert!(peak >= proxies, "a deploy adds tasks");
    let most = ask.pool_size.map_or(u64::MAX, u64::from);
    let share = |proxies: u64| (usable - proxies).checked_div(proxies).unwrap_or(0).min(most);
    Ok(Budget {
        usable,
        proxies,
        proxies_peak: peak,
        share: share(proxies),
        share_peak: share(peak),
        unbudgeted_peak: ask.pool_size.map(|size| peak * u64::from(size)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: Ask = Ask {
        max_connections: 81,
        reserved: 3,
        others: 5,
        reserve: 3,
        services: 2,
        tasks: 2,
        overlap_percent: 200,
        minimum: 2,
        pool_size: Some(20),
    };

    #[test]
    fn a_deploy_doubles_the_tasks_and_halves_the_shares() {
        let plan = plan(&ASK).unwrap();
        assert_eq!((plan.usable, plan.proxies, plan.proxies_peak), (70, 4, 8));
        assert_eq!((plan.share, plan.share_peak), (16, 7));
        assert_eq!(plan.unbudgeted_peak, Some(160));
    }

    #[test]
    fn what_does_not_fit_says_what_would() {
        let misfit = plan(&Ask { tasks: 10, ..ASK }).unwrap_err();
        let expected = Misfit::Minimum {
            proxies: 40,
            needed: 120,
            usable: 70,
            proxies_max: 23,
            max_connections: 131,
            minimum: None,
        };
        assert_eq!(misfit, expected);
        assert_eq!(
            plan(&Ask { max_connections: 131, tasks: 10, ..ASK }).map(|plan| plan.share_peak),
            Ok(2)
        );
        let misfit = plan(&Ask { others: 90, ..ASK }).unwrap_err();
        assert_eq!(misfit, Misfit::NothingLeft { kept: 96, max_connections: 81 });
    }

    #[test]
    fn guesses_for_instance_classes_are_just_below_published_readings() {
        // What people have read from instances of 1, 2, 4 and 8 GiB.
        for (memory, read) in [(1, 81), (2, 198), (4, 413), (8, 856)] {
            let guess = rds_max_connections(memory);
            assert!(guess <= read && guess + 10 >= read, "{memory} GiB: {guess} for {read}");
        }
        assert_eq!(rds_max_connections(256), RDS_CONNECTIONS_MAX);
        assert_eq!(rds_max_connections(0), 0);
    }
}
