//! Classes of clients, for a queue in which some wait behind others.
//!
//! Owns: the rules by which a client is of a class. Refuses: serving anybody ([`crate::Pools`] does,
//! by the weights of [`crate::Limits::class_weights`]).
//! Invariant: every client is of exactly one class; whom no rule fits is of [`Class::USUAL`].

use crate::whom::Whom;

/// The most classes, the usual one included.
pub const CLASSES_MAX: usize = 8;

/// The number of a class: its place in [`crate::Limits::class_weights`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(pub u8);

impl Class {
    /// Everybody's whom no rule fits.
    pub const USUAL: Self = Self(0);
}

/// Who is of a class. In a pattern `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassRule {
    /// Which class.
    pub class: Class,
    /// Who is of it.
    pub whom: Whom,
}

impl ClassRule {
    /// Whether a client is of the rule's class.
    pub fn fits(&self, database: &str, user: &str, application_name: &str) -> bool {
        self.whom.fits([database, user, application_name], matches)
    }
}

/// The class of a client: that of the first rule that fits it.
pub fn class_of(rules: &[ClassRule], database: &str, user: &str, application_name: &str) -> Class {
    let fitting = rules.iter().find(|rule| rule.fits(database, user, application_name));
    fitting.map_or(Class::USUAL, |rule| rule.class)
}

/// Whether a text is what the pattern says: its parts between asterisks, in their order, the first at
/// the beginning and the last at the end.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(class: u8, user: Option<&str>, application_name: Option<&str>) -> ClassRule {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let (user, application_name) = (owned(user), owned(application_name));
        ClassRule { class: Class(class), whom: Whom { database: None, user, application_name } }
    }

    #[test]
    fn an_asterisk_stands_for_any_text() {
        for (pattern, text) in [
            ("report", "report"),
            ("report*", "report"),
            ("report*", "reports of the night"),
            ("*night", "reports of the night"),
            ("*", ""),
            ("a*b*c", "abc"),
            ("a*b*c", "a-b-b-c"),
            ("**b**", "abc"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("report", "reports"),
            ("report*", "a report"),
            ("*night", "nightly"),
            ("", "a"),
            ("a*a", "a"),
            ("a*b*c", "ac"),
            ("a*bc*c", "abc"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_counts_and_without_one_a_client_is_usual() {
        let rules = [
            rule(2, Some("etl"), Some("urgent*")),
            rule(1, Some("etl"), None),
            rule(3, None, Some("x")),
        ];
        let class = |user, application_name| class_of(&rules, "shop", user, application_name);
        assert_eq!(class("etl", "urgent load"), Class(2));
        assert_eq!(class("etl", "load"), Class(1));
        assert_eq!(class("api", "x"), Class(3));
        assert_eq!(class("api", "y"), Class::USUAL);
    }
}
