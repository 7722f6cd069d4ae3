//! What grew in every window: the difference of readings that only leaks and filling caches survive.
//!
//! Owns: the comparison. Refuses: where readings come from. Pure.
//! Invariant: a place counts only where each reading is above the one before; frames are ordered by
//! growth, then by name, so the same readings give the same frames.

use std::collections::BTreeMap;

use stent_contract::Frame;
use stent_contract::attribution::{FRAMES_MAX, VIA_MAX};

/// The most places of one reading: above it the smallest are not looked at.
pub(crate) const PLACES_MAX: usize = 20_000;

/// A place in the target's code that keeps memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The function.
    pub(crate) function: String,
    /// Its file, empty where it has none.
    pub(crate) file: String,
    /// Its line, from 1.
    pub(crate) line: Option<u32>,
}

/// What a place keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Kept {
    /// Bytes.
    pub(crate) bytes: u64,
    /// Who called it in the stack that keeps most, innermost first.
    pub(crate) via: Vec<String>,
}

/// What all places keep at one moment.
pub(crate) type Reading = BTreeMap<Place, Kept>;

/// The places that grew in each window between `readings`, most grown first.
pub(crate) fn frames(readings: &[Reading]) -> Vec<Frame> {
    let (Some(first), Some(last)) = (readings.first(), readings.last()) else { return Vec::new() };
    if readings.len() < 2 {
        return Vec::new();
    }
    let bytes = |reading: &Reading, place: &Place| reading.get(place).map_or(0, |kept| kept.bytes);
    let growth = |place: &Place| bytes(last, place).saturating_sub(bytes(first, place));
    let all: u64 = last.keys().map(&growth).sum();
    let grew = |place: &&Place| {
        readings.windows(2).all(|pair| bytes(&pair[1], place) > bytes(&pair[0], place))
    };
    let mut places: Vec<&Place> = last.keys().filter(grew).collect();
    places.sort_by(|a, b| growth(b).cmp(&growth(a)).then_with(|| a.cmp(b)));
    places.truncate(FRAMES_MAX);
    let frame = |place: &Place| Frame {
        function: place.function.clone(),
        file: place.file.clone(),
        line: place.line,
        bytes: growth(place),
        share: growth(place) as f64 / all.max(1) as f64,
        via: last[place].via.iter().take(VIA_MAX).cloned().collect(),
    };
    places.into_iter().map(frame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(function: &str) -> Place {
        Place { function: function.to_owned(), file: "/app/a.js".to_owned(), line: Some(3) }
    }

    fn reading(kept: &[(&str, u64)]) -> Reading {
        let via = vec!["handler /app/a.js:9".to_owned()];
        kept.iter()
            .map(|(name, bytes)| (place(name), Kept { bytes: *bytes, via: via.clone() }))
            .collect()
    }

    #[test]
    fn what_grows_in_each_window_is_named_and_what_filled_up_is_not() {
        let readings = [
            reading(&[("leak", 10), ("cache", 100), ("sawtooth", 50), ("flat", 7)]),
            reading(&[("leak", 20), ("cache", 180), ("sawtooth", 90), ("flat", 7)]),
            reading(&[("leak", 30), ("cache", 180), ("sawtooth", 20), ("flat", 7)]),
            reading(&[("leak", 40), ("cache", 180), ("sawtooth", 60), ("flat", 7)]),
        ];
        let frames = frames(&readings);
        let names: Vec<_> = frames.iter().map(|f| (f.function.as_str(), f.bytes)).collect();
        assert_eq!(names, [("leak", 30)]);
        assert!((frames[0].share - 0.25).abs() < 1e-9, "30 of 30 + 80 + 10");
        assert_eq!(frames[0].via, ["handler /app/a.js:9"]);
    }

    #[test]
    fn a_place_that_appears_late_grew_only_since_and_is_not_named() {
        let readings =
            [reading(&[("a", 1)]), reading(&[("a", 2)]), reading(&[("a", 3), ("b", 99)])];
        let names: Vec<_> = frames(&readings).into_iter().map(|f| f.function).collect();
        assert_eq!(names, ["a"]);
    }

    #[test]
    fn the_most_grown_comes_first_and_the_list_ends() {
        let names: Vec<String> = (0..100).map(|n| format!("f{n:03}")).collect();
        let at = |times: u64| {
            let kept: Vec<(&str, u64)> =
                names.iter().zip(1..).map(|(name, n)| (name.as_str(), n * times)).collect();
            reading(&kept)
        };
        let frames = frames(&[at(1), at(2), at(3), at(4)]);
        assert_eq!(frames.len(), FRAMES_MAX);
        assert_eq!(frames[0].function, "f099");
        assert!(frames.windows(2).all(|pair| pair[0].bytes >= pair[1].bytes));
    }

    #[test]
    fn one_reading_or_none_shows_no_growth() {
        assert!(frames(&[]).is_empty());
        assert!(frames(&[reading(&[("a", 5)])]).is_empty());
    }
}
