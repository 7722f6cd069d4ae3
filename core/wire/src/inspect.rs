//! Asking PostgreSQL what state a session holds: the second line of the state firewall.
//!
//! Owns: the question (one statement), reading its answer, the kinds of state for which a server
//! must stay with its client, and the statement that takes them off again.
//! Refuses: when to ask ([`crate::effects`]) and whom.
//! Invariant: the question names everything with its schema, so that no search path of a client
//! bends it, and is ASCII, so that no encoding does.
//! Source: PostgreSQL documentation, "System Views", "DISCARD".

use crate::effects::Effects;

/// The most rows of an answer that are read: more settings than PostgreSQL has.
pub const ROWS_MAX: usize = 1_000;

/// A kind of state for which a server stays with its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A temporary table, view, function ...
    TempTable,
    /// An advisory lock of the session.
    AdvisoryLock,
    /// LISTEN.
    Listen,
    /// A cursor WITH HOLD.
    HeldCursor,
    /// PREPARE as a statement of SQL.
    Prepare,
    /// SET ROLE or SET SESSION AUTHORIZATION.
    Role,
    /// A setting that cannot be carried along.
    Setting,
    /// LOAD, or a replication origin.
    Load,
    /// PostgreSQL would not say.
    Unknown,
}

impl Cause {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::TempTable,
        Self::AdvisoryLock,
        Self::Listen,
        Self::HeldCursor,
        Self::Prepare,
        Self::Role,
        Self::Setting,
        Self::Load,
        Self::Unknown,
    ];

    /// The label in metrics, and the word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TempTable => "temp_table",
            Self::AdvisoryLock => "advisory_lock",
            Self::Listen => "listen",
            Self::HeldCursor => "held_cursor",
            Self::Prepare => "prepare",
            Self::Role => "role",
            Self::Setting => "setting",
            Self::Load => "load",
            Self::Unknown => "unknown",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }

    /// What a statement does that leads here.
    const fn effect(self) -> Effects {
        match self {
            Self::TempTable => Effects::TEMP,
            Self::AdvisoryLock => Effects::LOCK,
            Self::Listen => Effects::LISTEN,
            Self::HeldCursor => Effects::CURSOR,
            Self::Prepare => Effects::PREPARE,
            Self::Role => Effects::ROLE,
            Self::Setting => Effects::SETTING,
            Self::Load => Effects::LOAD,
            Self::Unknown => Effects::NONE,
        }
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Causes(u16);

impl Causes {
    /// None.
    pub const NONE: Self = Self(0);

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds one.
    pub const fn add(&mut self, cause: Cause) {
        self.0 |= cause.bit();
    }

    /// Takes one out.
    pub const fn remove(&mut self, cause: Cause) {
        self.0 &= !cause.bit();
    }

    /// Whether it is in here.
    pub const fn has(self, cause: Cause) -> bool {
        self.0 & cause.bit() != 0
    }

    /// Those that are in here, in the order of [`Cause::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Cause> {
        Cause::ALL.into_iter().filter(move |cause| self.has(*cause))
    }

    /// Those of `self` to which a statement with these effects leads.
    #[must_use]
    pub fn led_to_by(self, effects: Effects) -> Self {
        let mut led = Self::NONE;
        for cause in self.iter().filter(|cause| effects.any(cause.effect())) {
            led.add(cause);
        }
        led
    }

    /// The statement that takes all of it off a session; settings are not among it.
    /// `None` where no statement does.
    pub fn reset_sql(self) -> Option<String> {
        let mut sql = String::new();
        for cause in self.iter() {
            sql.push_str(match cause {
                Cause::TempTable => "DISCARD TEMP;",
                Cause::AdvisoryLock => "SELECT pg_catalog.pg_advisory_unlock_all();",
                Cause::Listen => "UNLISTEN *;",
                Cause::HeldCursor => "CLOSE ALL;",
                Cause::Prepare => "DEALLOCATE ALL;",
                Cause::Role => "RESET SESSION AUTHORIZATION;RESET ROLE;",
                Cause::Setting => "RESET ALL;",
                Cause::Load | Cause::Unknown => return None,
            });
        }
        assert_eq!(sql.is_empty(), self.is_empty(), "each kind has its reset");
        Some(sql)
    }
}

/// What a session was found to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What keeps its server with it.
    pub causes: Causes,
    /// Settings with their values, in PostgreSQL's form.
    pub settings: Vec<(Vec<u8>, Vec<u8>)>,
    /// The channels that it listens on.
    pub channels: Vec<Vec<u8>>,
}

/// The question, as one simple query. `effects` says what may have happened: settings are asked
/// for, and set back in the session, only where they may have changed. `custom` names the custom
/// settings that are of interest.
pub fn question(effects: Effects, custom: &[Vec<u8>]) -> Vec<u8> {
    let mut sql = String::from(
        "SELECT 'user', SESSION_USER::pg_catalog.text, ''::pg_catalog.text \
         UNION ALL SELECT 'role', '', '' WHERE \
         pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) COALESCE((SELECT \
         pg_catalog.substr(c, 6) FROM pg_catalog.pg_db_role_setting s, \
         pg_catalog.unnest(s.setconfig) AS u(c) WHERE \
         s.setrole OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, (SELECT r.oid FROM \
         pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) SESSION_USER)]) AND \
         s.setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, (SELECT d.oid FROM \
         pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) \
         pg_catalog.current_database())]) AND pg_catalog.starts_with(c, 'role=') \
         ORDER BY s.setrole DESC, s.setdatabase DESC LIMIT 1), 'none') \
         UNION ALL SELECT 'temp', '', '' WHERE CASE WHEN \
         pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN false ELSE \
         EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE \
         c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
         OR EXISTS (SELECT 1 FROM pg_catalog.pg_proc p WHERE \
         p.pronamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
         OR EXISTS (SELECT 1 FROM pg_catalog.pg_type t WHERE \
         t.typnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) END \
         UNION ALL SELECT 'lock', '', '' WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_locks l WHERE \
         l.locktype OPERATOR(pg_catalog.=) 'advisory' AND \
         l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) \
         UNION ALL SELECT 'listen', l.c, '' FROM pg_catalog.pg_listening_channels() AS l(c) \
         UNION ALL SELECT 'cursor', '', '' WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_cursors c \
         WHERE c.is_holdable) \
         UNION ALL SELECT 'prepare', '', '' WHERE EXISTS (SELECT 1 FROM \
         pg_catalog.pg_prepared_statements s WHERE s.from_sql)",
    );
    let settings = effects.any(SETTINGS);
    if settings {
        sql.push_str(
            " UNION ALL SELECT 'set', s.name, s.setting FROM pg_catalog.pg_settings s WHERE \
             s.source OPERATOR(pg_catalog.=) 'session'",
        );
        for name in custom {
            let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.$".contains(byte);
            assert!(name.iter().all(is_part), "names that need quotes are not asked for");
            let name = String::from_utf8_lossy(name);
            sql.push_str(&format!(
                " UNION ALL SELECT 'set', '{name}', pg_catalog.current_setting('{name}', true)"
            ));
        }
        // What no list shows (custom settings made inside functions) must not stay either.
        sql.push_str("; RESET ALL");
    }
    assert!(sql.is_ascii(), "no client_encoding may bend the quotes");
    sql.into_bytes()
}

/// Effects after which settings may differ.
pub const SETTINGS: Effects =
    Effects::SETTING.union(Effects::UNKNOWN).union(Effects::RESETS).union(Effects::LOAD);

impl Found {
    /// Takes one row of the answer; `user` is the login's.
    pub fn row(&mut self, row: &[Option<&[u8]>], user: &[u8]) {
        let [Some(kind), second, third] = row else { return };
        let (second, third) = (second.unwrap_or_default(), third.unwrap_or_default());
        match *kind {
            b"user" if second != user => self.causes.add(Cause::Role),
            b"role" => self.causes.add(Cause::Role),
            b"temp" => self.causes.add(Cause::TempTable),
            b"lock" => self.causes.add(Cause::AdvisoryLock),
            b"cursor" => self.causes.add(Cause::HeldCursor),
            b"prepare" => self.causes.add(Cause::Prepare),
            b"listen" => {
                self.causes.add(Cause::Listen);
                self.channels.push(second.to_vec());
            }
            // A custom setting that was set back reads as an empty text.
            b"set" if third.is_empty() && second.contains(&b'.') => {}
            b"set" if self.settings.len() < ROWS_MAX => {
                self.settings.retain(|(name, _)| name != second);
                self.settings.push((second.to_vec(), third.to_vec()));
            }
            _ => {}
        }
        assert!(self.settings.len() <= ROWS_MAX, "an answer is bounded by who reads it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rows: &[[&str; 3]]) -> Found {
        let mut found = Found::default();
        for row in rows {
            found.row(&row.map(|field| Some(field.as_bytes())), b"ann");
        }
        found
    }

    #[test]
    fn a_session_without_state_is_clean() {
        assert_eq!(found(&[["user", "ann", ""]]), Found::default());
    }

    #[test]
    fn each_kind_of_state_is_a_cause() {
        for (row, cause) in [
            (["role", "", ""], Cause::Role),
            (["user", "bob", ""], Cause::Role),
            (["temp", "", ""], Cause::TempTable),
            (["lock", "", ""], Cause::AdvisoryLock),
            (["listen", "jobs", ""], Cause::Listen),
            (["cursor", "", ""], Cause::HeldCursor),
            (["prepare", "", ""], Cause::Prepare),
        ] {
            let causes: Vec<Cause> = found(&[row]).causes.iter().collect();
            assert_eq!(causes, [cause]);
        }
    }

    #[test]
    fn settings_come_with_their_values_and_empty_custom_ones_do_not() {
        let found = found(&[["set", "work_mem", "7168"], ["set", "a.b", ""], ["set", "a.c", "1"]]);
        assert_eq!(found.settings.len(), 2);
        assert!(found.causes.is_empty());
    }

    #[test]
    fn settings_are_asked_for_only_where_they_may_have_changed() {
        let text = |effects| String::from_utf8(question(effects, &[b"a.b".to_vec()])).unwrap();
        assert!(!text(Effects::TEMP).contains("RESET ALL"));
        let all = text(Effects::SETTING);
        assert!(all.contains("current_setting('a.b', true)") && all.ends_with("; RESET ALL"));
    }

    #[test]
    fn the_smallest_reset_takes_off_what_is_there_and_no_more() {
        let mut causes = Causes::NONE;
        causes.add(Cause::TempTable);
        causes.add(Cause::Listen);
        assert_eq!(causes.reset_sql().unwrap(), "DISCARD TEMP;UNLISTEN *;");
        causes.add(Cause::Load);
        assert_eq!(causes.reset_sql(), None);
    }
}
