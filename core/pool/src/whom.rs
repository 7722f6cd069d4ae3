//! Whom a rule of the configuration concerns: by database, user and `application_name`.
//!
//! Refuses: how a wish is compared with what is; that is the rule's (a word, or a pattern).
//! Invariant: what names nothing concerns everybody.

/// Whom a rule concerns; what is `None` is of no matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whom {
    /// Only those of this database.
    pub database: Option<String>,
    /// Only this user's.
    pub user: Option<String>,
    /// Only those with this `application_name`.
    pub application_name: Option<String>,
}

impl Whom {
    /// All there are.
    pub const EVERYBODY: Self = Self { database: None, user: None, application_name: None };

    /// Whether nobody is left out.
    pub fn is_everybody(&self) -> bool {
        *self == Self::EVERYBODY
    }

    /// The wishes with their names, in the order in which they are written.
    pub const fn selectors(&self) -> [(&'static str, &Option<String>); 3] {
        let Self { database, user, application_name } = self;
        [("database", database), ("user", user), ("application_name", application_name)]
    }

    /// The wish of that name.
    pub fn selector_mut(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "database" => Some(&mut self.database),
            "user" => Some(&mut self.user),
            "application_name" => Some(&mut self.application_name),
            _ => None,
        }
    }

    /// Whether database, user and `application_name` are as wished, each by `is_as_wished` (the wish,
    /// what is).
    pub(crate) fn fits(&self, who: [&str; 3], is_as_wished: fn(&str, &str) -> bool) -> bool {
        let mut wishes = self.selectors().into_iter().zip(who);
        wishes.all(|((_, wish), is)| wish.as_ref().is_none_or(|wish| is_as_wished(wish, is)))
    }
}
