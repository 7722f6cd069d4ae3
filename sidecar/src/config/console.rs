//! `admin_users` and `stats_users`: who may use the admin console, and who of them may change things.
//!
//! Invariant: a name stands in a list once, as it was written.

use super::value::{KeyType, TomlShape};

/// The most names in a list.
const NAMES_MAX: usize = 100;
/// The longest name that a client can send with PgBouncer's limit.
const NAME_LEN_MAX: usize = 127;

/// Names of users, each once, as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNames(pub Vec<String>);

impl KeyType for UserNames {
    const TOML: TomlShape = TomlShape::List;
    const EXPECTS: &'static str = "names of users, separated by commas, or nothing for none";
    fn parse(text: &str) -> Result<Self, String> {
        let mut names: Vec<String> = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if name.contains('\0') {
                return Err("holds a NUL byte".to_owned());
            }
            if name.len() > NAME_LEN_MAX {
                return Err(format!("has a name longer than {NAME_LEN_MAX} bytes"));
            }
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        if names.len() > NAMES_MAX {
            return Err(format!("has more than {NAMES_MAX} names"));
        }
        Ok(Self(names))
    }
    fn show(&self) -> String {
        self.0.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_once_and_without_the_blanks_around_them() {
        let names = UserNames::parse(" ops, oncall,,ops ").unwrap();
        assert_eq!(names.show(), "ops,oncall");
        assert_eq!(UserNames::parse("").unwrap().0, Vec::<String>::new());
    }

    #[test]
    fn overlong_names_and_lists_are_refused() {
        assert!(UserNames::parse(&"x".repeat(128)).is_err());
        let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
        assert!(UserNames::parse(&many.join(",")).is_err());
    }
}
