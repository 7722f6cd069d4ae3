//! What was found of the texts seen last: drivers that name no statement send the same few again
//! and again.
//!
//! Invariant: memory is fixed after each place has been used; an answer is that of the same text
//! under the same state of knowledge.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use super::Effects;

/// Texts that are remembered.
const TEXTS: usize = 128;
/// The longest that is.
const TEXT_MAX: usize = 512;

/// The effects of texts seen lately.
#[derive(Debug)]
pub struct Recent {
    places: Box<[Place]>,
}

#[derive(Clone, Debug, Default)]
struct Place {
    text: Vec<u8>,
    /// The state of knowledge that the effects follow from.
    version: u32,
    effects: Effects,
}

impl Default for Recent {
    fn default() -> Self {
        Self { places: vec![Place::default(); TEXTS].into() }
    }
}

impl Recent {
    /// The effects of `sql` by the knowledge of this version; `judge` finds them where they are not
    /// known, and tells by which version it did.
    pub fn effects(
        &mut self,
        sql: &[u8],
        version: u32,
        judge: impl FnOnce() -> (u32, Effects),
    ) -> Effects {
        if sql.is_empty() || sql.len() > TEXT_MAX {
            return judge().1;
        }
        let mut hasher = FxHasher::default();
        hasher.write(sql);
        let place = &mut self.places[(hasher.finish() >> 32) as usize % TEXTS];
        if place.text == sql && place.version == version {
            return place.effects;
        }
        (place.version, place.effects) = judge();
        place.text.clear();
        place.text.extend_from_slice(sql);
        assert!(place.text.len() <= TEXT_MAX, "a place keeps a bounded text");
        place.effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_judged_once_for_each_state_of_knowledge() {
        let mut recent = Recent::default();
        let mut judged = 0;
        for version in [1, 1, 2, 2] {
            let effects = recent.effects(b"select 1", version, || {
                judged += 1;
                (version, Effects::LOCK)
            });
            assert_eq!(effects, Effects::LOCK);
        }
        assert_eq!(judged, 2);
    }

    #[test]
    fn texts_that_share_a_place_are_told_apart() {
        let mut recent = Recent::default();
        for round in 0..3_u32 {
            for number in 0..1_000_u32 {
                let sql = format!("select {number}");
                let expected = Effects::from_bits((number % 7) as _);
                let effects = recent.effects(sql.as_bytes(), 1, || (1, expected));
                assert_eq!(effects, expected, "round {round}");
            }
        }
    }

    #[test]
    fn long_texts_and_empty_ones_are_judged_each_time() {
        let mut recent = Recent::default();
        let long = vec![b'a'; TEXT_MAX + 1];
        for sql in [&long[..], b""] {
            for effects in [Effects::LOCK, Effects::NONE] {
                assert_eq!(recent.effects(sql, 1, || (1, effects)), effects);
            }
        }
    }
}
