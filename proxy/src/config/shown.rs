//! The configuration as it was written, for those who look at it from outside.
//!
//! Owns: the form. Refuses: what keys there are, and what they mean: that is the binary's.
//! Invariant: nothing in here is secret.

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its name in the file.
    pub key: &'static str,
    /// The value, as it would be written.
    pub value: String,
    /// The default, as it would be written.
    pub default: &'static str,
    /// What makes another value of it hold.
    pub change: Change,
}

/// What makes another value hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A reload.
    Reload,
    /// A restart: the value is the one of the start.
    Restart,
}

/// What holds after a reload: of the keys that it does not change, the values of the start.
pub(crate) fn reloaded(start: &[Shown], mut now: Vec<Shown>) -> Vec<Shown> {
    for shown in now.iter_mut().filter(|shown| shown.change == Change::Restart) {
        if let Some(first) = start.iter().find(|first| first.key == shown.key) {
            shown.value.clone_from(&first.value);
        }
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: &'static str, value: &str, change: Change) -> Shown {
        Shown { key, value: value.to_owned(), default: "1", change }
    }

    #[test]
    fn what_a_reload_does_not_change_is_shown_as_it_was_at_the_start() {
        let start = [shown("workers", "1", Change::Restart), shown("size", "1", Change::Reload)];
        let now = vec![shown("workers", "2", Change::Restart), shown("size", "2", Change::Reload)];
        let values = reloaded(&start, now).into_iter().map(|shown| shown.value);
        assert_eq!(values.collect::<Vec<_>>(), ["1", "2"]);
    }
}
