//! How long a client may hold a server, in stages: what is done, and when.
//!
//! Owns: rules, the order of stages, and which are due. Refuses: doing any of it, and measuring: ages
//! are arguments.
//! Invariant: each stage of a rule is due once in an episode; the first rule that fits a holder is the
//! only one that counts for its kind, so that a special rule can be more patient than the general.
//!
//! ```text
//!   age of an episode:  0 ─────── warn ─────── notify ─────── cancel ─────── close
//!                                log, metric   NOTICE to      CancelRequest  FATAL to the client;
//!                                              the client     (if it runs)   its server is closed
//! ```

use std::time::Duration;

use crate::whom::Whom;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// The client is silent in an open transaction; its age is that of the silence.
    IdleInTransaction,
    /// The transaction, from its first statement on.
    Transaction,
    /// The statement that runs.
    Query,
}

impl Hold {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::IdleInTransaction, Self::Transaction, Self::Query];

    /// As it is written in a configuration and a metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IdleInTransaction => "idle_in_transaction",
            Self::Transaction => "transaction",
            Self::Query => "query",
        }
    }
}

/// What is done to a holder, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It is told to whoever looks after the service.
    Warn,
    /// The client is told, by a NOTICE.
    Notify,
    /// What it runs is cancelled; the client gets PostgreSQL's error.
    Cancel,
    /// Its connection is closed, and its server.
    Close,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Warn, Self::Notify, Self::Cancel, Self::Close];

    /// As it is written in a configuration and a metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Notify => "notify",
            Self::Cancel => "cancel",
            Self::Close => "close",
        }
    }
}

/// A limit with its stages, for those whom it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRule {
    /// What is limited.
    pub hold: Hold,
    /// Whose: the server's database and user, and what the client calls itself.
    pub whom: Whom,
    /// At which age which stage is due, in the order of [`Stage::ALL`]; `None`: never.
    pub stages: [Option<Duration>; 4],
}

impl HoldRule {
    /// A rule for all that closes at that age.
    pub const fn close_all(hold: Hold, at: Duration) -> Self {
        let stages = [None, None, None, Some(at)];
        Self { hold, whom: Whom::EVERYBODY, stages }
    }

    fn fits(&self, holder: &Holder<'_>) -> bool {
        let who = [holder.database, holder.user, holder.application_name];
        self.whom.fits(who, |wanted, is| wanted == is)
    }
}

/// Who holds a server, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// The server's database.
    pub database: &'a str,
    /// The server's user.
    pub user: &'a str,
    /// What the client calls itself; may be empty.
    pub application_name: &'a str,
    /// The age of each kind of [`Hold::ALL`]; `None`: it does nothing of the kind.
    pub ages: [Option<Duration>; 3],
}

/// Which stages of which kind have been carried out in the present episodes of a holder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done([u8; 3]);

impl Done {
    /// An episode is over: what follows is another.
    pub const fn forget(&mut self, hold: Hold) {
        self.0[hold as usize] = 0;
    }
}

/// Something to do to a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueStage {
    /// Which limit is passed.
    pub hold: Hold,
    /// What is to be done.
    pub stage: Stage,
    /// The limit.
    pub limit: Duration,
    /// By what it was measured.
    pub age: Duration,
}

/// What is due for a holder, the mildest first; `done` remembers it.
pub fn due_stages(rules: &[HoldRule], holder: &Holder<'_>, done: &mut Done) -> Vec<DueStage> {
    let mut due = Vec::new();
    for hold in Hold::ALL {
        let Some(age) = holder.ages[hold as usize] else {
            done.forget(hold);
            continue;
        };
        let rule = rules.iter().find(|rule| rule.hold == hold && rule.fits(holder));
        let Some(rule) = rule else { continue };
        for stage in Stage::ALL {
            let limit = rule.stages[stage as usize];
            let Some(limit) = limit.filter(|&limit| age >= limit) else { continue };
            let bit = 1 << stage as u8;
            if done.0[hold as usize] & bit == 0 {
                done.0[hold as usize] |= bit;
                due.push(DueStage { hold, stage, limit, age });
            }
        }
    }
    due.sort_by_key(|due| due.stage);
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn holder(ages: [Option<Duration>; 3]) -> Holder<'static> {
        Holder { database: "shop", user: "api", application_name: "worker", ages }
    }

    fn rule(hold: Hold, stages: [Option<u64>; 4]) -> HoldRule {
        let stages = stages.map(|seconds| seconds.map(s));
        HoldRule { stages, ..HoldRule::close_all(hold, s(0)) }
    }

    fn names(due: &[DueStage]) -> Vec<(Hold, Stage)> {
        due.iter().map(|due| (due.hold, due.stage)).collect()
    }

    #[test]
    fn each_stage_comes_at_its_age_and_once() {
        let rules = [rule(Hold::IdleInTransaction, [Some(1), Some(2), None, Some(4)])];
        let mut done = Done::default();
        let mut at =
            |age: u64| names(&due_stages(&rules, &holder([Some(s(age)), None, None]), &mut done));
        let idle = Hold::IdleInTransaction;
        assert_eq!(at(0), []);
        assert_eq!(at(1), [(idle, Stage::Warn)]);
        assert_eq!(at(1), []);
        assert_eq!(at(3), [(idle, Stage::Notify)]);
        assert_eq!(at(9), [(idle, Stage::Close)]);
        assert_eq!(at(10), []);
    }

    #[test]
    fn who_looks_late_does_all_that_is_due_the_mildest_first() {
        let rules = [
            rule(Hold::Query, [Some(1), None, Some(2), None]),
            rule(Hold::Transaction, [None, Some(3), None, None]),
        ];
        let due = due_stages(&rules, &holder([None, Some(s(9)), Some(s(9))]), &mut Done::default());
        let (query, transaction) = (Hold::Query, Hold::Transaction);
        let expected = [(query, Stage::Warn), (transaction, Stage::Notify), (query, Stage::Cancel)];
        assert_eq!(names(&due), expected);
        assert_eq!((due[2].limit, due[2].age), (s(2), s(9)));
    }

    #[test]
    fn another_silence_is_another_episode_within_the_same_transaction() {
        let rules = [
            rule(Hold::IdleInTransaction, [Some(1), None, None, None]),
            rule(Hold::Transaction, [Some(5), None, None, None]),
        ];
        let mut done = Done::default();
        let mut at = |idle: Option<u64>, transaction: u64| {
            let ages = [idle.map(s), Some(s(transaction)), None];
            names(&due_stages(&rules, &holder(ages), &mut done)).len()
        };
        assert_eq!(
            [at(Some(1), 1), at(None, 2), at(Some(1), 4), at(None, 6), at(None, 7)],
            [1, 0, 1, 1, 0]
        );
    }

    #[test]
    fn the_first_rule_that_fits_is_the_only_one() {
        let mut special = rule(Hold::Query, [None; 4]);
        special.whom.application_name = Some("worker".to_owned());
        let general = rule(Hold::Query, [None, None, Some(1), None]);
        let due = |rules: &[HoldRule], name: &'static str| {
            let holder = Holder { application_name: name, ..holder([None, None, Some(s(60))]) };
            due_stages(rules, &holder, &mut Done::default()).len()
        };
        let rules = [special, general];
        assert_eq!((due(&rules, "worker"), due(&rules, "api")), (0, 1));
        let reversed: Vec<_> = rules.into_iter().rev().collect();
        assert_eq!(due(&reversed, "worker"), 1);
    }

    #[test]
    fn a_rule_is_for_those_whom_it_names() {
        for (database, user, fits) in [
            (None, None, true),
            (Some("shop"), None, true),
            (Some("stock"), None, false),
            (Some("shop"), Some("api"), true),
            (Some("shop"), Some("admin"), false),
        ] {
            let mut rule = rule(Hold::Query, [Some(1), None, None, None]);
            (rule.whom.database, rule.whom.user) = (database.map(Into::into), user.map(Into::into));
            let due = due_stages(&[rule], &holder([None, None, Some(s(1))]), &mut Done::default());
            assert_eq!(due.len(), usize::from(fits), "{database:?} {user:?}");
        }
    }
}
