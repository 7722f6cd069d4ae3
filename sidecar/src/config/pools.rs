//! `pool_limits`: pools with sizes of their own, in words.
//!
//! Owns: what a rule says, and which sizes cannot be. Refuses: choosing the rule of a pool, which is
//! `stent_pool`'s.
//! Invariant: what is shown parses to the same rules, and each rule can fit a pool.

use std::num::NonZeroU32;

use stent_proxy::config::{SizeRule, Whom};

use super::keys::Settings;
use super::problem::Problems;
use super::rules::{list, pair, show_whom, words};
use super::value::{KeyType, TomlShape};

/// Rules, in the order in which they are tried.
#[derive(Clone, Debug)]
pub struct PoolRules(pub Vec<SizeRule>);

impl KeyType for PoolRules {
    const TOML: TomlShape = TomlShape::List;
    const EXPECTS: &'static str = "rules such as \"database=shop user=report pool_size=2\", with \
                                   commas between them";
    fn parse(text: &str) -> Result<Self, String> {
        let mut rules: Vec<SizeRule> = Vec::new();
        for part in list(text)? {
            let rule = parse_rule(&part)?;
            if let Some(earlier) = rules.iter().find(|earlier| covers(&earlier.whom, &rule.whom)) {
                let (rule, earlier) = (show_rule(&rule), show_rule(earlier));
                return Err(format!(
                    "has a rule that fits no pool, {rule:?}, because {earlier:?} stands before it"
                ));
            }
            rules.push(rule);
        }
        Ok(Self(rules))
    }
    fn show(&self) -> String {
        self.0.iter().map(show_rule).collect::<Vec<_>>().join(", ")
    }
}

/// Whether whoever fits the second fits the first.
fn covers(first: &Whom, second: &Whom) -> bool {
    let pairs = first.selectors().into_iter().zip(second.selectors());
    pairs.into_iter().all(|((_, first), (_, second))| first.is_none() || first == second)
}

fn parse_rule(text: &str) -> Result<SizeRule, String> {
    let mut rule = SizeRule {
        whom: Whom::EVERYBODY,
        pool_size: None,
        min_pool_size: None,
        reserve_pool_size: None,
    };
    for word in words(text)? {
        let (name, value) = pair(&word);
        match name {
            "pool_size" => once(name, &mut rule.pool_size, number(name, value)?)?,
            "min_pool_size" => once(name, &mut rule.min_pool_size, number(name, value)?)?,
            "reserve_pool_size" => once(name, &mut rule.reserve_pool_size, number(name, value)?)?,
            "application_name" => {
                let why =
                    "a pool is of a database and a user, whatever its clients call themselves";
                return Err(format!("has application_name in a rule: {why}"));
            }
            _ => match rule.whom.selector_mut(name) {
                Some(selector) => once(name, selector, value.to_owned())?,
                None => {
                    return Err(format!(
                        "has {word:?}, which is none of database=, user=, pool_size=, \
                         min_pool_size= and reserve_pool_size="
                    ));
                }
            },
        }
    }
    if rule.whom.is_everybody() {
        let mend = "write default_pool_size, min_pool_size or reserve_pool_size instead";
        return Err(format!("has a rule for all pools, {text:?}: {mend}"));
    }
    Ok(rule)
}

fn once<T>(name: &str, place: &mut Option<T>, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("has a rule with {name} in it twice")),
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    let least = if name == "pool_size" { "from 1" } else { "from 0" };
    text.parse().map_err(|_| format!("has the {name} {text:?}, which is not a number {least}"))
}

fn show_rule(rule: &SizeRule) -> String {
    let SizeRule { whom, pool_size, min_pool_size, reserve_pool_size } = rule;
    let sizes = [
        ("pool_size", pool_size.map(NonZeroU32::get)),
        ("min_pool_size", *min_pool_size),
        ("reserve_pool_size", *reserve_pool_size),
    ];
    let sizes = sizes.into_iter().filter_map(|(name, size)| Some(format!("{name}={}", size?)));
    show_whom(whom).chain(sizes).collect::<Vec<_>>().join(" ")
}

/// The sizes of each rule together with those that it leaves out, and with the caps over it.
pub(super) fn check(settings: &Settings, problems: &mut Problems) {
    let rules = &settings.pool_limits;
    if !rules.is_sound() {
        return;
    }
    let general = (&settings.default_pool_size, &settings.min_pool_size);
    let caps = [
        ("max_db_connections", &settings.max_db_connections),
        ("max_user_connections", &settings.max_user_connections),
        ("max_server_connections", &settings.max_server_connections),
    ];
    for rule in &rules.value.0 {
        let shown = show_rule(rule);
        let size = rule.pool_size.unwrap_or(general.0.value);
        let least = rule.min_pool_size.unwrap_or(general.1.value);
        if general.0.is_sound() && general.1.is_sound() && least > size.get() {
            problems.add(
                &rules.origin,
                format!(
                    "the rule {shown:?} of pool_limits makes min_pool_size ({least}) more than \
                     pool_size ({size})"
                ),
                "write both into the rule, the first no larger than the second",
            );
        }
        for (name, most) in caps.iter().filter(|(_, most)| most.is_sound()) {
            let Some(limit) = most.value.filter(|limit| rule.pool_size > Some(*limit)) else {
                continue;
            };
            problems.add(
                &rules.origin,
                format!("the pool_size of the rule {shown:?} is more than {name} ({limit})"),
                format!("lower it or raise {name}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_shown_again() {
        for text in [
            "",
            "user=report pool_size=2",
            "database=shop user=report pool_size=2 min_pool_size=0 reserve_pool_size=1",
            "database=shop user=\"of the night\" pool_size=1, database=shop pool_size=40, user=api",
        ] {
            assert_eq!(PoolRules::parse(text).unwrap().show(), text);
        }
    }

    #[test]
    fn what_makes_no_rule_is_refused_with_its_reason() {
        for (text, reason) in [
            ("pool_size=2", "for all pools"),
            ("user=a pool_size=0", "not a number from 1"),
            ("user=a pool_size", "not a number from 1"),
            ("user=a min_pool_size=-1", "not a number from 0"),
            ("user=a size=3", "none of database=, user=, pool_size="),
            ("user=a application_name=b pool_size=1", "whatever its clients call themselves"),
            ("user=a pool_size=1 pool_size=2", "pool_size in it twice"),
            ("user=a user=b", "user in it twice"),
            ("user=\"a pool_size=1", "double quote"),
            ("user=a pool_size=1, user=a pool_size=2", "fits no pool"),
            ("user=a, database=shop user=a pool_size=2", "stands before it"),
        ] {
            let refused = PoolRules::parse(text).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }
}
