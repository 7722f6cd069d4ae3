//! What the keys that are lists of rules have in common: `hold_limits`, `pool_limits`, `queue_classes`.
//!
//! A rule is words with spaces between them, most of them `name=value`; rules have commas between
//! them. What is between double quotes is one word.

use stent_proxy::config::Whom;

/// The most rules of a key.
const RULES_MAX: usize = 100;

/// The rules of a text.
pub(super) fn list(text: &str) -> Result<Vec<String>, String> {
    let rules = split(text, ',')?;
    if rules.len() > RULES_MAX {
        return Err(format!("has more than {RULES_MAX} rules"));
    }
    Ok(rules)
}

/// The words of a rule.
pub(super) fn words(rule: &str) -> Result<Vec<String>, String> {
    split(rule, ' ')
}

/// A word's name and value, without its quotes.
pub(super) fn pair(word: &str) -> (&str, &str) {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    (name, value.trim_matches('"'))
}

/// Parts of a text, without those that are empty; what is between double quotes is in one part.
fn split(text: &str, separator: char) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        quoted ^= letter == '"';
        if letter == separator && !quoted {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    if quoted {
        return Err("has a double quote without its other half".to_owned());
    }
    let parts = parts.into_iter().map(|part| part.trim().to_owned());
    Ok(parts.filter(|part| !part.is_empty()).collect())
}

/// Each of its selectors as a word.
pub(super) fn show_whom(whom: &Whom) -> impl Iterator<Item = String> {
    whom.selectors()
        .into_iter()
        .filter_map(|(name, value)| Some(show_selector(name, value.as_ref()?)))
}

/// `name=value`, with quotes where it needs them.
fn show_selector(name: &str, value: &str) -> String {
    let plain = value.chars().all(|letter| !letter.is_whitespace() && letter != ',');
    let quote = if plain && !value.is_empty() { "" } else { "\"" };
    format!("{name}={quote}{value}{quote}")
}
