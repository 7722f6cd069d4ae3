//! The options of `stent budget`.
//!
//! Owns: their names, values and defaults. Refuses: opening anything, and what the plan says.
//! Invariant: a value that was typed enters no message but that of its own option's limits.

use stent_pool::fleet::{Ask, rds_max_connections};

use super::classes;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) ask: Ask,
    pub(crate) source: Source,
    pub(crate) format: Format,
}

/// Where `max_connections` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// It was given.
    Given,
    /// It was guessed from an instance class of so much memory in GiB.
    Guessed(String, u32),
}

/// How the plan is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

/// Why options are refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum OptionsError {
    #[error("budget: neither --max-connections nor --instance-class, or both")]
    Limit,
    #[error("budget: no --tasks")]
    NoTasks,
    #[error("budget: an option that it does not have")]
    Unknown,
    #[error("budget: {0} has no value")]
    NoValue(&'static str),
    #[error("budget: {0} is not a number from {1} to {2}")]
    Number(&'static str, u32, u32),
    #[error(
        "budget: the memory of this instance class is not known, or it has no fixed one: give --max-connections"
    )]
    Class,
}

/// PostgreSQL's own limit of `max_connections`.
const CONNECTIONS_MAX: u32 = 262_143;
const TASKS_MAX: u32 = 100_000;

/// Every option with a number: its name, and the range.
const NUMBERS: [(&str, u32, u32); 9] = [
    ("--max-connections", 1, CONNECTIONS_MAX),
    ("--tasks", 1, TASKS_MAX),
    ("--services", 1, TASKS_MAX),
    ("--overlap", 100, 1_000),
    ("--pool-size", 1, CONNECTIONS_MAX),
    ("--min", 1, CONNECTIONS_MAX),
    ("--others", 0, CONNECTIONS_MAX),
    ("--reserved", 0, CONNECTIONS_MAX),
    ("--reserve", 0, CONNECTIONS_MAX),
];
const CLASS: &str = "--instance-class";

/// Takes the words after `budget` apart.
pub(crate) fn parse(words: Vec<String>) -> Result<Options, OptionsError> {
    let mut format = Format::Text;
    let mut class = None;
    let mut numbers = [None; NUMBERS.len()];
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--json" {
            format = Format::Json;
            continue;
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        if name == CLASS {
            class = Some(inline.or_else(|| words.next()).ok_or(OptionsError::NoValue(CLASS))?);
            continue;
        }
        let at = NUMBERS.iter().position(|(known, ..)| *known == name);
        let at = at.ok_or(OptionsError::Unknown)?;
        let (name, least, most) = NUMBERS[at];
        let value = inline.or_else(|| words.next()).ok_or(OptionsError::NoValue(name))?;
        let value = value.parse().ok().filter(|value| (least..=most).contains(value));
        numbers[at] = Some(value.ok_or(OptionsError::Number(name, least, most))?);
    }
    let [max, tasks, services, overlap, pool_size, min, others, reserved, reserve] = numbers;
    let (max_connections, source) = match (max, class) {
        (Some(max), None) => (max, Source::Given),
        (None, Some(class)) => {
            let memory = classes::memory_gib(&class).ok_or(OptionsError::Class)?;
            (rds_max_connections(memory), Source::Guessed(class, memory))
        }
        (None, None) | (Some(_), Some(_)) => return Err(OptionsError::Limit),
    };
    let ask = Ask {
        max_connections,
        tasks: tasks.ok_or(OptionsError::NoTasks)?,
        services: services.unwrap_or(1),
        // ECS starts a second generation beside the first by default (maximumPercent 200).
        overlap_percent: overlap.unwrap_or(200),
        pool_size,
        minimum: min.unwrap_or(2),
        others: others.unwrap_or(0),
        // PostgreSQL's default of superuser_reserved_connections.
        reserved: reserved.unwrap_or(3),
        reserve: reserve.unwrap_or(3),
    };
    Ok(Options { ask, source, format })
}

impl OptionsError {
    pub(crate) const fn mend(&self) -> &'static str {
        "write stent budget --max-connections N | --instance-class db.CLASS, --tasks N, and where they \
         differ from their defaults --services 1 --overlap 200 --min 2 --others 0 --reserved 3 \
         --reserve 3 --pool-size N --json"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Options, OptionsError> {
        parse(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn values_are_taken_in_both_ways_and_the_rest_has_defaults() {
        let options = words("--max-connections 81 --tasks=4 --json").unwrap();
        let ask = options.ask;
        assert_eq!((ask.max_connections, ask.tasks, ask.services), (81, 4, 1));
        assert_eq!((ask.overlap_percent, ask.minimum, ask.reserve), (200, 2, 3));
        assert_eq!((options.format, options.source), (Format::Json, Source::Given));
    }

    #[test]
    fn an_instance_class_gives_a_careful_guess() {
        let options = words("--instance-class db.r6g.large --tasks 4").unwrap();
        assert_eq!(options.source, Source::Guessed("db.r6g.large".to_owned(), 16));
        assert_eq!(options.ask.max_connections, 1_740);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert_eq!(words("--tasks 4"), Err(OptionsError::Limit));
        assert_eq!(
            words("--max-connections 5 --instance-class db.t3.micro --tasks 4"),
            Err(OptionsError::Limit)
        );
        assert_eq!(words("--max-connections 81"), Err(OptionsError::NoTasks));
        assert_eq!(words("--frob"), Err(OptionsError::Unknown));
        assert_eq!(words("--tasks"), Err(OptionsError::NoValue("--tasks")));
        assert_eq!(words("--overlap 99"), Err(OptionsError::Number("--overlap", 100, 1_000)));
        assert_eq!(words("--instance-class db.serverless --tasks 4"), Err(OptionsError::Class));
    }
}
