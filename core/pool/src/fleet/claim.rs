//! What a proxy says of itself in the `application_name` of its control connection.
//!
//! Everybody who may connect can read it there, whatever its rights: unlike the query, the address
//! and the times, PostgreSQL hides the name from nobody (documentation, 27.2, `pg_stat_activity`).
//! Invariant: a claim fits the 63 bytes that PostgreSQL keeps, and reads back as it was written.

use std::fmt;
use std::time::Duration;

/// How the name of a control connection begins. The number is the version of the form.
pub const CLAIM_PREFIX: &str = "stent/1 ";
/// The longest name that PostgreSQL keeps (NAMEDATALEN − 1).
pub const CLAIM_LEN_MAX: usize = 63;
/// The greatest count that can be claimed, and "without an end" where a most is meant.
pub const COUNT_MAX: u32 = 65_535;

/// A proxy, by a number of the shell's choice that no other has. Only its low 40 bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FleetId(u64);

impl FleetId {
    /// From random bytes.
    pub const fn new(random: u64) -> Self {
        Self(random & 0xff_ffff_ffff)
    }
}

impl fmt::Display for FleetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010x}", self.0)
    }
}

/// What a proxy publishes. Counts are of servers; the control connection is beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub id: FleetId,
    /// What it has or may have at present.
    pub used: u32,
    /// What it is about to use; never below `used`.
    pub claimed: u32,
    /// What it could do with: servers in use and clients that wait.
    pub demand: u32,
    /// What it must have.
    pub minimum: u32,
    /// The most that it can use.
    pub most: u32,
    /// How long it goes on without a word from PostgreSQL.
    pub silence: Duration,
}

impl Claim {
    /// The places that are to be left to it.
    pub fn weight(&self) -> u32 {
        self.used.max(self.claimed)
    }

    /// Reads a name; `None` where it is no claim of this form.
    pub fn parse(name: &str) -> Option<Self> {
        let mut words = name.strip_prefix(CLAIM_PREFIX)?.split(' ');
        let id = FleetId(u64::from_str_radix(words.next().filter(|id| id.len() == 10)?, 16).ok()?);
        let mut count = |letter: char| -> Option<u32> {
            let digits = words.next()?.strip_prefix(letter)?;
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|&count| plain && count <= COUNT_MAX)
        };
        let (used, claimed, demand) = (count('u')?, count('c')?, count('d')?);
        let (minimum, most, silence) = (count('m')?, count('x')?, count('s')?);
        let silence = Duration::from_millis(silence.into());
        let whole = words.next().is_none();
        whole.then_some(Self { id, used, claimed, demand, minimum, most, silence })
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: u32| count.min(COUNT_MAX);
        let silence = u32::try_from(self.silence.as_millis()).unwrap_or(u32::MAX);
        write!(
            f,
            "{CLAIM_PREFIX}{} u{} c{} d{} m{} x{} s{}",
            self.id,
            count(self.used),
            count(self.claimed),
            count(self.demand),
            count(self.minimum),
            count(self.most),
            count(silence)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(count: u32) -> Claim {
        Claim {
            id: FleetId::new(0xfe_dcba_9876),
            used: count,
            claimed: count,
            demand: count,
            minimum: count,
            most: count,
            silence: Duration::from_millis(count.into()),
        }
    }

    #[test]
    fn a_claim_reads_back_as_it_was_written_and_fits_the_name() {
        for count in [0, 7, 81, 5_000, COUNT_MAX] {
            let written = claim(count).to_string();
            assert!(written.len() <= CLAIM_LEN_MAX, "{written}");
            assert_eq!(Claim::parse(&written), Some(claim(count)), "{written}");
        }
        let beyond = claim(1_000_000).to_string();
        assert_eq!(Claim::parse(&beyond), Some(claim(COUNT_MAX)), "{beyond}");
    }

    #[test]
    fn other_names_are_no_claims() {
        let good = claim(7).to_string();
        for bad in [
            "psql",
            "",
            "stent/1 ",
            "stent/2 fedcba9876 u1",
            "stent/1 fedcba9876 u1 c1 d1 m1 x1",
            "stent/1 fedcba9876 u-1 c1 d1 m1 x1 s1",
            "stent/1 fedcba9876 u+1 c1 d1 m1 x1 s1",
            "stent/1 fedcba9876 u99999 c1 d1 m1 x1 s1",
            "stent/1 fedcba98 u1 c1 d1 m1 x1 s1",
        ] {
            assert_eq!(Claim::parse(bad), None, "{bad:?}");
        }
        assert_eq!(Claim::parse(&format!("{good} z")), None);
    }
}
