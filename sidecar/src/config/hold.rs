//! `hold_limits`: rules in words, and PgBouncer's three timeouts as rules.
//!
//! Invariant: what is shown parses to the same rules.

use std::time::Duration;

use stent_proxy::config::{Hold, HoldRule, Stage};

use super::keys::Settings;
use super::rules::{list, pair, show_whom, words};
use super::value::{KeyType, TomlShape};

/// Rules, in the order in which they are tried.
#[derive(Clone, Debug)]
pub struct HoldRules(pub Vec<HoldRule>);

impl KeyType for HoldRules {
    const TOML: TomlShape = TomlShape::List;
    const EXPECTS: &'static str = "rules such as \"query user=api warn=5 cancel=30\", with commas \
                                   between them";
    fn parse(text: &str) -> Result<Self, String> {
        list(text)?.iter().map(|rule| parse_rule(rule)).collect::<Result<_, _>>().map(Self)
    }
    fn show(&self) -> String {
        self.0.iter().map(show_rule).collect::<Vec<_>>().join(", ")
    }
}

fn parse_rule(text: &str) -> Result<HoldRule, String> {
    let mut words = words(text)?.into_iter();
    let first = words.next().unwrap_or_default();
    let hold = Hold::ALL.into_iter().find(|hold| hold.as_str() == first);
    let hold = hold.ok_or_else(|| {
        format!("has a rule that begins with {first:?}; it must be idle_in_transaction, transaction or query")
    })?;
    let mut rule = HoldRule { stages: [None; 4], ..HoldRule::close_all(hold, Duration::ZERO) };
    for word in words {
        let (name, value) = pair(&word);
        if let Some(selector) = rule.whom.selector_mut(name) {
            *selector = Some(value.to_owned());
            continue;
        }
        let stage = Stage::ALL.into_iter().find(|stage| stage.as_str() == name);
        let stage =
            stage.ok_or_else(|| format!("has {word:?}, which is no selector and no stage"))?;
        if hold == Hold::IdleInTransaction && stage == Stage::Cancel {
            let why = "an idle transaction runs nothing that could be cancelled";
            return Err(format!("has cancel in a rule of idle_in_transaction: {why}"));
        }
        rule.stages[stage as usize] = Some(seconds(value)?);
    }
    in_order(&rule)?;
    Ok(rule)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let seconds = seconds.filter(|seconds| !seconds.is_zero());
    seconds.ok_or_else(|| format!("has the age {text:?}, which is not a number of seconds above 0"))
}

/// A graver stage is not before a milder one: somebody meant it otherwise.
fn in_order(rule: &HoldRule) -> Result<(), String> {
    let ages: Vec<_> = rule.stages.into_iter().flatten().collect();
    if ages.is_sorted() {
        return Ok(());
    }
    Err(format!("has a graver stage before a milder one: {}", show_rule(rule)))
}

fn show_rule(rule: &HoldRule) -> String {
    let mut words = vec![rule.hold.as_str().to_owned()];
    words.extend(show_whom(&rule.whom));
    for stage in Stage::ALL {
        if let Some(age) = rule.stages[stage as usize] {
            words.push(format!("{}={}", stage.as_str(), age.as_secs_f64()));
        }
    }
    words.join(" ")
}

/// The rules of `hold_limits`, and behind them PgBouncer's timeouts for everybody else. A rule
/// for all that names no close takes the timeout as its own.
pub(super) fn rules(settings: &Settings) -> Vec<HoldRule> {
    let mut rules = settings.hold_limits.value.0.clone();
    let timeouts = [
        (Hold::IdleInTransaction, settings.idle_transaction_timeout.value.0),
        (Hold::Transaction, settings.transaction_timeout.value.0),
        (Hold::Query, settings.query_timeout.value.0),
    ];
    for (hold, timeout) in timeouts {
        let Some(timeout) = timeout else { continue };
        let for_all = |rule: &&mut HoldRule| rule.hold == hold && rule.whom.is_everybody();
        match rules.iter_mut().find(for_all) {
            Some(rule) => {
                let close = &mut rule.stages[Stage::Close as usize];
                *close = close.or(Some(timeout));
            }
            None => rules.push(HoldRule::close_all(hold, timeout)),
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_shown_again() {
        for text in [
            "",
            "idle_in_transaction warn=60",
            "query user=api warn=5 notify=7.5 cancel=30 close=40",
            "transaction database=shop application_name=\"nightly, job\" close=1, query warn=1",
        ] {
            assert_eq!(HoldRules::parse(text).unwrap().show(), text);
        }
    }

    #[test]
    fn what_makes_no_rule_is_refused_with_its_reason() {
        for (text, reason) in [
            ("sleeping warn=1", "begins with \"sleeping\""),
            ("query warn", "the age \"\""),
            ("query warn=0", "above 0"),
            ("query warn=-1", "above 0"),
            ("query warn=1e300", "above 0"),
            ("query after=1", "no selector and no stage"),
            ("query user=\"api warn=1", "double quote"),
            ("idle_in_transaction cancel=1", "nothing that could be cancelled"),
            ("query warn=10 cancel=5", "graver stage before a milder one"),
        ] {
            let refused = HoldRules::parse(text).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }
}
