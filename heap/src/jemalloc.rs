//! What jemalloc knows of this process: its figures, and a dump of its heap profile.
//!
//! Owns: the memory file that jemalloc writes a dump to, so that no disk is needed.
//! Refuses: switching profiling on: `MALLOC_CONF` does that before the program starts.
//! Invariant: one dump at a time, of at most [`DUMP_MAX`] bytes; the memory file is empty between
//! dumps, and a child that was forked off makes one of its own.
//! Source: jemalloc(3), "MALLCTL NAMESPACE": `stats.*`, `opt.prof`, `prof.dump`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use tikv_jemalloc_ctl::{epoch, profiling, raw, stats};

/// The longest dump that is read.
const DUMP_MAX: u64 = 64 * 1024 * 1024;

/// Why jemalloc gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum JemallocError {
    /// jemalloc is not this program's allocator, or was built without what is asked for.
    #[error("jemalloc refused: {0}")]
    Refused(tikv_jemalloc_ctl::Error),
    /// No profile is kept.
    #[error(
        "heap profiling is off: start the program with _RJEM_MALLOC_CONF=prof:true,lg_prof_sample:19"
    )]
    Off,
    /// The memory file.
    #[error("the dump cannot be kept: {0}")]
    File(#[from] io::Error),
    /// More than [`DUMP_MAX`].
    #[error("the dump is larger than 64 MiB")]
    Large,
}

/// jemalloc's figures. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Allocated by the program.
    pub allocated: u64,
    /// In pages that hold at least one allocation.
    pub active: u64,
    /// Of physical memory mapped by the allocator.
    pub resident: u64,
    /// Of address space kept for later, without memory behind it.
    pub retained: u64,
}

/// Reads the figures.
pub fn figures() -> Result<Figures, JemallocError> {
    let read = || {
        epoch::advance()?; // the figures are cached until then
        Ok(Figures {
            allocated: stats::allocated::read()? as u64,
            active: stats::active::read()? as u64,
            resident: stats::resident::read()? as u64,
            retained: stats::retained::read()? as u64,
        })
    };
    read().map_err(JemallocError::Refused)
}

/// Whether a profile is kept.
pub(crate) fn is_profiling() -> bool {
    profiling::prof::read().unwrap_or(false)
}

/// A dump's text, and how long jemalloc took for it.
pub(crate) fn dump() -> Result<(String, Duration), JemallocError> {
    if !is_profiling() {
        return Err(JemallocError::Off);
    }
    let mut slot = dump_file().lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(parents) = slot.take_if(|kept| kept.pid != std::process::id()) {
        // Whether its number still means that file, in this process's table, nobody knows.
        std::mem::forget(parents);
    }
    let kept = match &mut *slot {
        Some(kept) => kept,
        empty => empty.insert(Kept::create()?),
    };
    let began = Instant::now();
    raw::write_str(b"prof.dump\0", kept.path).map_err(JemallocError::Refused)?;
    let lasted = began.elapsed();
    let text = kept.read();
    kept.file.set_len(0)?;
    Ok((text?, lasted))
}

/// The memory file, made at the first dump and kept for good.
struct Kept {
    file: File,
    /// Whose it is.
    pid: u32,
    /// jemalloc takes a path that lives as long as the program.
    path: &'static [u8],
}

fn dump_file() -> &'static Mutex<Option<Kept>> {
    static FILE: OnceLock<Mutex<Option<Kept>>> = OnceLock::new();
    FILE.get_or_init(Mutex::default)
}

impl Kept {
    fn create() -> io::Result<Self> {
        let file = File::from(memfd_create("stent-heap", MemfdFlags::CLOEXEC)?);
        // The thread's, for its table of descriptors may be another than the process's first thread's.
        let path = format!("/proc/thread-self/fd/{}\0", file.as_raw_fd());
        Ok(Self { file, pid: std::process::id(), path: Vec::leak(path.into_bytes()) })
    }

    fn read(&self) -> Result<String, JemallocError> {
        let length = self.file.metadata()?.len();
        if length > DUMP_MAX {
            return Err(JemallocError::Large);
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, 0)?;
        String::from_utf8(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error).into())
    }
}
