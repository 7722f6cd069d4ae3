//! The bank: accounts, transfers with unique numbers, and the audit afterwards.
//!
//! Owns: the tables and what must be true of them. Invariant: money is moved and never made: the
//! balances add up to [`TOTAL`] in every snapshot, and each account's to the transfers in the table.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use stent_testkit::Postgres;

/// Accounts; enough that two workers seldom want the same.
pub const ACCOUNTS: u32 = 200;
const OPENING: i64 = 1_000;
/// What all balances add up to.
pub const TOTAL: i64 = OPENING * ACCOUNTS as i64;

/// What the clients believe.
#[derive(Clone, Debug, Default)]
pub struct Believed {
    /// Transfers whose COMMIT was acknowledged.
    pub acknowledged: BTreeSet<u64>,
    /// Transfers whose COMMIT was sent and got no word of success or failure.
    pub in_doubt: BTreeSet<u64>,
}

/// What the audit found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Acknowledged, and not there.
    pub lost: u64,
    /// There, and reported as failed or never as begun.
    pub phantom: u64,
    /// Accounts whose balance is not what the transfers make it.
    pub unbalanced: u64,
}

/// Makes the tables anew.
pub fn open(postgres: &Postgres) -> Result<()> {
    postgres.sql(&format!(
        "drop table if exists transfers, accounts;
         create table accounts (id int primary key, balance bigint not null)
             with (fillfactor = 50);
         create table transfers (id bigint primary key, worker int not null, source int not null,
             target int not null, amount bigint not null);
         insert into accounts select n, {OPENING} from generate_series(1, {ACCOUNTS}) n"
    ))
}

/// Compares what is there with what is believed.
pub fn audit(postgres: &Postgres, believed: &Believed) -> Result<Audit> {
    let there: Result<BTreeSet<u64>> = postgres
        .query("select id from transfers")?
        .into_iter()
        .map(|row| Ok(row.into_iter().next().flatten().context("a transfer's number")?.parse()?))
        .collect();
    let unbalanced = postgres.value(&format!(
        "select count(*) from accounts where balance <> {OPENING}
           - coalesce((select sum(amount) from transfers where source = accounts.id), 0)
           + coalesce((select sum(amount) from transfers where target = accounts.id), 0)"
    ))?;
    Ok(compare(&there?, believed, unbalanced.parse()?))
}

fn compare(there: &BTreeSet<u64>, believed: &Believed, unbalanced: u64) -> Audit {
    let explained =
        |id: &&u64| believed.acknowledged.contains(id) || believed.in_doubt.contains(id);
    Audit {
        lost: believed.acknowledged.difference(there).count() as u64,
        phantom: there.iter().filter(|id| !explained(id)).count() as u64,
        unbalanced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_in_doubt_may_be_there_or_not() {
        let believed = Believed { acknowledged: [1, 2].into(), in_doubt: [3, 4].into() };
        assert_eq!(compare(&[1, 2, 3].into(), &believed, 0), Audit::default());
    }

    #[test]
    fn what_was_acknowledged_and_is_not_there_is_lost_and_what_nobody_expects_is_a_phantom() {
        let believed = Believed { acknowledged: [1, 2].into(), in_doubt: BTreeSet::new() };
        let audit = compare(&[2, 9].into(), &believed, 0);
        assert_eq!(audit, Audit { lost: 1, phantom: 1, unbalanced: 0 });
    }

    #[test]
    fn money_that_was_made_is_found_in_a_real_table() {
        let postgres = Postgres::start().unwrap();
        open(&postgres).unwrap();
        postgres
            .sql(
                "insert into transfers values (7, 0, 1, 2, 5);
                  update accounts set balance = balance + 5 where id = 2",
            )
            .unwrap();
        let believed = Believed { acknowledged: [7].into(), in_doubt: BTreeSet::new() };
        let audit = audit(&postgres, &believed).unwrap();
        assert_eq!(audit, Audit { lost: 0, phantom: 0, unbalanced: 1 });
    }
}
