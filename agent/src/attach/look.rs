//! One look into a target: who it is, what it has cost so far, and what was found.
//!
//! Owns: the clock and `/proc` of an attach. Refuses: any runtime's protocol.
//! Invariant: a target that is gone, or whose number means another process, is noticed after each
//! wait.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stent_contract::Frame;

use super::budget::{Cost, Limits, Stop};
use super::error::AttachError;
use super::subject::Place;

/// How long the target's own CPU is looked at beforehand.
const BASELINE: Duration = Duration::from_secs(2);
/// A wait is cut into pieces, so that the end of a target is noticed.
const PIECE: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) root: PathBuf,
    pub(crate) pid: u32,
    pub(crate) place: Place,
    pub(crate) cost: Cost,
    /// The port of an inspector that did not close again.
    pub(crate) left_open: Option<u16>,
    started_ticks: u64,
    /// The target's own work, cores; `None`: not measured.
    before: Option<f64>,
    since: Option<(Instant, f64)>,
}

/// What a look found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) frames: Vec<Frame>,
    pub(crate) windows: u32,
    pub(crate) note: String,
}

impl Look {
    /// At the process that has this number now.
    pub(crate) fn at(root: &Path, pid: u32, limits: Limits) -> Result<Self, AttachError> {
        let place = Place::new(root, pid);
        let started_ticks = place.started_ticks().ok_or(AttachError::Gone)?;
        Ok(Self {
            root: root.to_owned(),
            pid,
            place,
            cost: Cost { limits, ..Cost::default() },
            left_open: None,
            started_ticks,
            before: None,
            since: None,
        })
    }

    /// Fails once the process is gone.
    pub(crate) fn check_alive(&self) -> Result<(), AttachError> {
        let same = self.place.started_ticks() == Some(self.started_ticks);
        if same { Ok(()) } else { Err(AttachError::Gone) }
    }

    /// Looks at the CPU that the target takes by itself.
    pub(crate) async fn take_baseline(&mut self) {
        let (start, first) = (Instant::now(), self.place.cpu_seconds());
        tokio::time::sleep(BASELINE).await;
        let last = self.place.cpu_seconds();
        let elapsed = start.elapsed().as_secs_f64();
        self.before = first.zip(last).map(|(first, last)| (last - first) / elapsed);
    }

    /// The look begins to cost.
    pub(crate) fn start(&mut self) {
        self.since = self.place.cpu_seconds().map(|cpu| (Instant::now(), cpu));
    }

    /// Waits, and notices if the target ends meanwhile.
    pub(crate) async fn wait(&self, time: Duration) -> Result<(), AttachError> {
        let end = Instant::now() + time;
        loop {
            self.check_alive()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(PIECE)).await;
        }
    }

    /// An answer that stops nothing by itself: it only counts as the pause that it may have been.
    pub(crate) fn note_answer(&mut self, took: Duration) {
        let _ = self.cost.answered(took); // the next profile decides
    }

    /// Whether the target works too much more than before. Unknown figures stop nothing.
    pub(crate) fn check_cpu(&mut self) -> Option<Stop> {
        let ((since, first), before) = self.since.zip(self.before)?;
        let now = self.place.cpu_seconds()?;
        self.cost.worked(now - first, since.elapsed(), before).err()
    }
}

/// A change of memory for people.
pub(crate) fn text_of_bytes(bytes: f64) -> String {
    format!("{:+.1} MiB", bytes / f64::from(1 << 20))
}
