//! What grew between profiles, and in which function of the program.
//!
//! Owns: the choice of the function that is named, and the ranking. Refuses: judging whether growth
//! is a leak.
//! Invariant: what is named grew in every window, or, where nothing did, in all but one without
//! ever shrinking; most grown first.

use std::collections::BTreeMap;
use std::sync::Arc;

use stent_contract::Frame;
use stent_contract::attribution::{FRAMES_MAX, VIA_MAX};

use super::native;
use super::pprof::{Function, Place, Sample};

/// How sure the names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// They grew in every window.
    Every,
    /// They grew in all windows but one: what samples show of a slow leak.
    AllButOne,
}

/// Whose code counts as the program's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// All but runtimes, libraries and allocators: who keeps an object is the program's to answer for.
    Managed,
    /// All but allocators and the C and C++ libraries: an extension that leaks is a library, and it is to be
    /// named.
    Native,
}

impl Program {
    fn is_own(self, function: &Function) -> bool {
        match self {
            Self::Managed => !is_runtime(function),
            Self::Native => !native::is_allocator(function),
        }
    }
}

/// Functions of runtimes and allocators: they allocate on behalf of somebody.
const RUNTIME_FUNCTIONS: &[&str] = &[
    "_rjem_",
    "prof_",
    "je_",
    "imalloc",
    "iralloc",
    "ialloc",
    "__rust",
    "__rdl_",
    "__rg_",
    "alloc::",
    "<alloc::",
    "core::",
    "<core::",
    "std::",
    "<std::",
    "hashbrown::",
    "<hashbrown::",
    "<tikv_jemallocator::",
    "tikv_jemallocator::",
    "<T as ",
    "malloc",
    "calloc",
    "realloc",
    "operator new",
];
/// Parts of the paths of files that are not the program's own.
const RUNTIME_FILES: &[&str] = &[
    "/rustc/",
    "/.cargo/registry/",
    "/cargo/registry/",
    "jemalloc",
    "/site-packages/",
    "/dist-packages/",
    "/lib/python",
    "<frozen ",
];

/// One function's bytes in each profile.
#[derive(Default)]
struct Growth {
    bytes: Vec<u64>,
    /// The lines and their callers, with the bytes of the last profile.
    newest: BTreeMap<(u32, Vec<String>), u64>,
}

/// Ranks the functions whose memory grew over `profiles`, the oldest first. None without three.
pub(crate) fn rank(profiles: &[Vec<Sample>], program: Program) -> (Vec<Frame>, Persistence) {
    let mut functions: BTreeMap<Arc<Function>, Growth> = BTreeMap::new();
    for (at, samples) in profiles.iter().enumerate() {
        for sample in samples {
            let Some((own, via)) = own(&sample.places, program) else { continue };
            let growth = functions.entry(Arc::clone(&own.function)).or_default();
            growth.bytes.resize(profiles.len(), 0);
            growth.bytes[at] = growth.bytes[at].saturating_add(sample.bytes);
            if at + 1 == profiles.len() {
                let bytes = growth.newest.entry((own.line, via)).or_default();
                *bytes = bytes.saturating_add(sample.bytes);
            }
        }
    }
    let all: u64 = functions.values().map(Growth::total).fold(0, u64::saturating_add);
    for persistence in [Persistence::Every, Persistence::AllButOne] {
        let mut frames: Vec<Frame> = functions
            .iter()
            .filter(|(_, growth)| growth.persists(persistence))
            .map(|(function, growth)| frame(function, growth, all))
            .collect();
        frames.sort_by_key(|frame| std::cmp::Reverse(frame.bytes));
        frames.truncate(FRAMES_MAX);
        if !frames.is_empty() {
            return (frames, persistence);
        }
    }
    (Vec::new(), Persistence::Every)
}

impl Growth {
    fn total(&self) -> u64 {
        let first = self.bytes.first().copied().unwrap_or(0);
        self.bytes.last().copied().unwrap_or(0).saturating_sub(first)
    }

    fn persists(&self, persistence: Persistence) -> bool {
        let windows = self.bytes.len().saturating_sub(1);
        let pairs = || self.bytes.windows(2).map(|pair| (pair[0], pair[1]));
        let grew = pairs().filter(|(before, after)| after > before).count();
        let never_shrank = pairs().all(|(before, after)| after >= before);
        let needed = match persistence {
            Persistence::Every => windows,
            Persistence::AllButOne => windows.saturating_sub(1),
        };
        windows >= 2 && never_shrank && grew >= needed && grew > 0
    }
}

fn frame(function: &Function, growth: &Growth, all: u64) -> Frame {
    let newest = growth.newest.iter().max_by_key(|(_, bytes)| **bytes);
    let (line, via) = newest.map(|(key, _)| key.clone()).unwrap_or_default();
    let bytes = growth.total();
    Frame {
        function: function.name.clone(),
        file: function.file.clone(),
        line: (line > 0).then_some(line),
        bytes,
        share: (bytes as f64 / all.max(1) as f64 * 1_000.0).round() / 1_000.0,
        via,
    }
}

/// The innermost place of the program itself, and who called it. Where all of a stack is the
/// runtime's, its innermost place.
fn own(places: &[Place], program: Program) -> Option<(&Place, Vec<String>)> {
    let at = places.iter().position(|place| program.is_own(&place.function)).unwrap_or(0);
    let own = places.get(at)?;
    let callers = places[at + 1..].iter().filter(|place| program.is_own(&place.function));
    let via = callers.take(VIA_MAX).map(shown).collect();
    Some((own, via))
}

pub(super) fn is_runtime(function: &Function) -> bool {
    RUNTIME_FUNCTIONS.iter().any(|start| function.name.starts_with(start))
        || is_runtime_file(&function.file)
}

/// Whether a file is a runtime's or a library's.
pub(super) fn is_runtime_file(file: &str) -> bool {
    RUNTIME_FILES.iter().any(|part| file.contains(part))
}

/// A place for people.
pub(super) fn shown(place: &Place) -> String {
    let Function { name, file } = &*place.function;
    match place.line {
        0 => name.clone(),
        line => format!("{name} ({file}:{line})"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::pprof::tests::place;
    use super::*;

    fn sample(function: &str, bytes: u64) -> Sample {
        let places = vec![
            place("_rjem_je_prof_tctx_create", "", 0),
            place("alloc::vec::from_elem", "/rustc/x/library/alloc/src/vec/mod.rs", 9),
            place(function, "src/api.rs", 12),
            place("std::thread::spawn", "", 0),
            place("serve", "src/main.rs", 3),
        ];
        Sample { places, bytes }
    }

    #[test]
    fn the_programs_own_innermost_function_is_named_with_its_callers() {
        let profiles: Vec<_> = (1..=4).map(|n| vec![sample("remember", n * 100)]).collect();
        let (frames, persistence) = rank(&profiles, Program::Managed);
        assert_eq!(persistence, Persistence::Every);
        let expected = Frame {
            function: "remember".to_owned(),
            file: "src/api.rs".to_owned(),
            line: Some(12),
            bytes: 300,
            share: 1.0,
            via: vec!["serve (src/main.rs:3)".to_owned()],
        };
        assert_eq!(frames, [expected]);
    }

    #[test]
    fn growth_that_does_not_persist_is_not_named_however_large() {
        let cache = [0, 9_000, 9_000, 8_000];
        let profiles: Vec<_> = (0..4)
            .map(|n| vec![sample("remember", 10 + n * 5), sample("fill", cache[n as usize])])
            .collect();
        let (frames, _) = rank(&profiles, Program::Managed);
        let named: Vec<_> = frames.iter().map(|f| (f.function.as_str(), f.share)).collect();
        assert_eq!(named, [("remember", 0.002)]);
    }

    #[test]
    fn a_slow_leak_that_no_sample_fell_on_in_one_window_is_named_with_less_certainty() {
        let profiles: Vec<_> = [5, 6, 6, 9].map(|bytes| vec![sample("remember", bytes)]).into();
        let (frames, persistence) = rank(&profiles, Program::Managed);
        assert_eq!((frames.len(), persistence), (1, Persistence::AllButOne));
    }

    #[test]
    fn two_profiles_name_nothing_for_anything_that_fills_grows_between_two() {
        let profiles: Vec<_> = [5, 6].map(|bytes| vec![sample("remember", bytes)]).into();
        assert_eq!(rank(&profiles, Program::Managed).0, []);
        assert_eq!(rank(&[], Program::Managed).0, []);
    }
}
