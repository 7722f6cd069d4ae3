//! What is asked on the control connection, and the answer.
//!
//! Owns: one batch that publishes the claim, marks our servers and reads everybody's. A mark is a
//! shared advisory lock of the control connection on the server's process: it ends with that
//! connection, costs one entry of the lock table, hinders nobody, and everybody can see it, with
//! whatever rights. Refuses: what follows (`stent_pool::fleet`).
//! Invariant: the reading is made after the claim is there: PostgreSQL shows a changed
//! `application_name` at once, and looks at the sessions when a transaction first asks for them.

use std::fmt::Write as _;

use stent_pool::fleet::{CLAIM_PREFIX, Claim, Peer, Seen};
use stent_wire::report::reply::parse_data_row;

/// The first of the two keys of a mark; the second is the process. "Stnt".
const MARK: u32 = 0x5374_6e74;
/// Tells rows apart: limits, proxies, connections of others.
const LIMITS: &[u8] = b"l";
const PROXY: &[u8] = b"p";
const OTHER: &[u8] = b"o";

/// The batch. `mark` and `unmark` are processes of our servers.
pub(super) fn question(claim: &Claim, mark: &[u32], unmark: &[u32]) -> String {
    let mut sql = format!("SET application_name = '{claim}';");
    for (function, pids) in
        [("pg_try_advisory_lock_shared", mark), ("pg_advisory_unlock_shared", unmark)]
    {
        if pids.is_empty() {
            continue;
        }
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let pids = pids.join(",");
        write!(sql, "SELECT count({function}({MARK}, pid)) FROM unnest('{{{pids}}}'::int4[]) pid;")
            .expect("a string takes everything");
    }
    // Rights hide everything of another user's session but its process, user, database and name;
    // so what cannot be seen to be something else counts as a client's.
    write!(
        sql,
        "WITH a AS (SELECT pid, application_name AS name, \
            application_name LIKE '{CLAIM_PREFIX}%' AS proxy FROM pg_stat_activity \
            WHERE usesysid IS NOT NULL AND datid IS NOT NULL \
            AND coalesce(backend_type, 'client backend') = 'client backend'), \
         m AS (SELECT l.pid AS proxy, a.pid FROM pg_locks l JOIN a ON a.pid = l.objid::int8 \
            JOIN a o ON o.pid = l.pid AND o.proxy \
            WHERE l.locktype = 'advisory' AND l.classid::int8 = {MARK} AND l.objsubid = 2 \
            AND l.granted), \
         n AS (SELECT proxy, count(*) AS alive FROM m GROUP BY proxy) \
         SELECT 'l', current_setting('max_connections'), \
            (current_setting('superuser_reserved_connections')::int8 \
            + coalesce(current_setting('reserved_connections', true), '0')::int8)::text, \
            pg_backend_pid()::text \
         UNION ALL SELECT 'p', a.pid::text, name, coalesce(alive, 0)::text \
            FROM a LEFT JOIN n ON n.proxy = a.pid \
            WHERE a.proxy AND a.pid NOT IN (SELECT pid FROM m) \
         UNION ALL SELECT 'o', pid::text, '', '' FROM a \
            WHERE NOT proxy AND pid NOT IN (SELECT pid FROM m)"
    )
    .expect("a string takes everything");
    sql
}

/// Reads the answer's rows; `None` where it is no answer to that question.
pub(super) fn read(rows: &[Vec<u8>]) -> Option<Seen> {
    let mut seen = Seen::default();
    for row in rows {
        let fields = parse_data_row(row)?;
        let &[Some(kind), Some(first), Some(second), Some(third)] = fields.as_slice() else {
            continue; // How many marks were set.
        };
        match kind {
            LIMITS => {
                seen.max_connections = number(first)?;
                seen.reserved = number(second)?;
                seen.own = number(third)?;
            }
            PROXY => match std::str::from_utf8(second).ok().and_then(Claim::parse) {
                Some(claim) => {
                    seen.peers.push(Peer { pid: number(first)?, claim, alive: number(third)? });
                }
                // Somebody calls himself so.
                None => seen.unmarked.push(number(first)?),
            },
            OTHER => seen.unmarked.push(number(first)?),
            _ => return None,
        }
    }
    let own = |peer: &Peer| peer.pid == seen.own;
    (seen.max_connections > 0 && seen.peers.iter().any(own)).then_some(seen)
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stent_pool::fleet::FleetId;

    use super::*;

    fn claim() -> Claim {
        Claim {
            id: FleetId::new(7),
            used: 3,
            claimed: 4,
            demand: 2,
            minimum: 2,
            most: 20,
            silence: Duration::from_secs(4),
        }
    }

    fn row(fields: &[&str]) -> Vec<u8> {
        let mut row = u16::try_from(fields.len()).unwrap().to_be_bytes().to_vec();
        for field in fields {
            row.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
            row.extend(field.as_bytes());
        }
        row
    }

    #[test]
    fn an_answer_tells_limits_proxies_and_others() {
        let name = claim().to_string();
        let rows = [
            row(&["1"]),
            row(&["l", "81", "3", "100"]),
            row(&["p", "100", &name, "3"]),
            row(&["p", "101", "stent/1 is my name", "0"]),
            row(&["o", "102", "", ""]),
        ];
        let seen = read(&rows).unwrap();
        assert_eq!((seen.max_connections, seen.reserved, seen.own), (81, 3, 100));
        assert_eq!(seen.peers, [Peer { pid: 100, claim: claim(), alive: 3 }]);
        assert_eq!(seen.unmarked, [101, 102]);
    }

    #[test]
    fn an_answer_without_ourselves_is_none() {
        assert_eq!(read(&[row(&["l", "81", "3", "100"])]), None);
        assert_eq!(read(&[row(&["l", "many", "3", "100"])]), None);
        assert_eq!(read(&[]), None);
    }
}
