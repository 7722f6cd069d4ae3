//! Whose growth it is: the places in a target's code that its kept memory comes from.
//!
//! Owns: the form in which an attached profiler's findings are published. Refuses: judging; a place
//! that grew is a finding, the verdict stands beside it.
//! Invariant: `frames` is ordered, most grown first, and holds at most [`FRAMES_MAX`]; an attribution
//! without frames has a note that says why, and what would make the target attributable.

use serde::{Deserialize, Serialize};

/// The most places that one attribution names.
pub const FRAMES_MAX: usize = 20;
/// The most callers (or retainers) that one place carries.
pub const VIA_MAX: usize = 8;

/// How a target was looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributionMeans {
    /// V8's sampling heap profiler, over Node's inspector.
    V8Sampling,
    /// JavaScriptCore's heap snapshots, over Bun's inspector: classes, not functions.
    JscSnapshot,
    /// Python's tracemalloc, started and stopped by Stent's module inside the target.
    Tracemalloc,
    /// jemalloc's heap profile, served by `stent-heap` inside the target.
    JemallocProfile,
    /// The same of what C's `malloc` gives out, served by the library that is preloaded: native frames.
    NativeProfile,
    /// No means applies to this target.
    None,
}

impl AttributionMeans {
    /// The value of the label `means`, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V8Sampling => "v8_sampling",
            Self::JscSnapshot => "jsc_snapshot",
            Self::Tracemalloc => "tracemalloc",
            Self::JemallocProfile => "jemalloc_profile",
            Self::NativeProfile => "native_profile",
            Self::None => "none",
        }
    }
}

/// What an attach to a target has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// When it was complete, milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// How the target was looked into.
    pub means: AttributionMeans,
    /// What grew in every window, most grown first.
    pub frames: Vec<Frame>,
    /// How many windows were compared; growth counts where it is in all of them.
    pub windows: u32,
    /// How long all windows together took, milliseconds.
    pub lasted_ms: u64,
    /// The longest time for which the target stood still, milliseconds, as far as it could be seen
    /// from outside: the longest answer.
    pub largest_pause_ms: u64,
    /// CPU time that the target spent more than before because of it, seconds, where that is known.
    pub cpu_seconds: Option<f64>,
    /// What a reader must know: why nothing is named, or how sure the names are. May be empty.
    pub note: String,
}

/// A place whose kept memory grew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// The function that allocates; for [`AttributionMeans::JscSnapshot`] the class of the objects.
    pub function: String,
    /// Its file, as the runtime names it; empty where it is not known.
    pub file: String,
    /// The line, from 1: the allocation's own, or its function's (V8).
    pub line: Option<u32>,
    /// Growth of what it keeps over all windows, bytes.
    pub bytes: u64,
    /// Its part of all growth that was seen, 0.0 to 1.0.
    pub share: f64,
    /// Who called it, innermost first; for classes what holds them, nearest first.
    pub via: Vec<String>,
}
