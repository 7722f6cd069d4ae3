//! A TLS configuration made of files, made anew when they change.
//!
//! Owns: what is in use, and when the files were looked at last. Changed files are noticed when it
//! is asked for, so at a handshake, at most once a second.
//! Invariant: new files that cannot be used change nothing: what was made of the old ones stays,
//! and the log says so once for each change. Who is connected is not touched by either.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::shared::Lock;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Something made of files.
pub(crate) struct Watched<T> {
    /// Whose files, for the log.
    whose: &'static str,
    files: Vec<PathBuf>,
    make: Box<dyn Fn() -> Result<T, Error> + Send + Sync>,
    current: Lock<T>,
    stamps: Lock<Vec<Option<Stamp>>>,
    looked: Lock<Instant>,
}

/// What differs between two contents of a path. The number of the file and its seconds and
/// nanoseconds: a file that is moved into place may be older than the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: (i64, i64),
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        let modified = (meta.mtime(), meta.mtime_nsec());
        Some(Self { len: meta.len(), modified, inode: meta.ino() })
    }
}

impl<T: Clone> Watched<T> {
    /// Makes it for the first time.
    pub(crate) fn new(
        whose: &'static str,
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        // Before they are read: what changes in between is noticed the next time.
        let stamps = stamps(&files);
        Ok(Self {
            whose,
            files,
            current: Lock::new(make()?),
            make: Box::new(make),
            stamps: Lock::new(stamps),
            looked: Lock::new(Instant::now()),
        })
    }

    /// What is in use from now on.
    pub(crate) fn current(&self) -> T {
        self.look();
        self.current.lock().clone()
    }

    fn look(&self) {
        if self.looked.get().elapsed() < LOOK_EVERY {
            return;
        }
        self.looked.set(Instant::now());
        let now = stamps(&self.files);
        if *self.stamps.lock() == now {
            return;
        }
        *self.stamps.lock() = now;
        match (self.make)() {
            Ok(fresh) => {
                *self.current.lock() = fresh;
                tracing::info!(keys = self.whose, "the TLS files have changed and are in use");
            }
            Err(error) => {
                let what = "the changed TLS files cannot be used: the old ones stay";
                tracing::warn!(keys = self.whose, %error, "{what}");
            }
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|path| Stamp::of(path)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use stent_testkit::TempDir;
    use tracing::Metadata;
    use tracing::span::{Attributes, Id, Record};

    use super::*;
    use crate::shared::Count;

    /// What is made of a file: its text, unless it is "bad".
    fn watched(path: &Path, made: &Arc<Count>) -> Watched<String> {
        let (path, made) = (path.to_owned(), Arc::clone(made));
        let make = {
            let path = path.clone();
            move || {
                made.add(1);
                let text = std::fs::read_to_string(&path).unwrap();
                if text == "bad" { Err(Error::tls(&path, "bad")) } else { Ok(text) }
            }
        };
        Watched::new("a test's", vec![path], make).unwrap()
    }

    fn a_second_later<T: Clone>(watched: &Watched<T>) -> T {
        watched.looked.set(Instant::now().checked_sub(LOOK_EVERY).unwrap());
        watched.current()
    }

    #[test]
    fn a_file_is_read_when_it_has_changed_and_not_before_a_second_has_passed() {
        let folder = TempDir::new("watched").unwrap();
        let (path, made) = (folder.path().join("file"), Arc::default());
        std::fs::write(&path, "one").unwrap();
        let watched = watched(&path, &made);
        assert_eq!(a_second_later(&watched), "one");
        assert_eq!(made.get(), 1, "nothing has changed");
        std::fs::write(&path, "three").unwrap();
        assert_eq!(watched.current(), "one");
        assert_eq!(a_second_later(&watched), "three");
        assert_eq!(made.get(), 2);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_tried_once_and_changes_nothing() {
        let folder = TempDir::new("watched").unwrap();
        let (path, made) = (folder.path().join("file"), Arc::default());
        std::fs::write(&path, "good").unwrap();
        let watched = watched(&path, &made);
        std::fs::write(&path, "bad").unwrap();
        assert_eq!(a_second_later(&watched), "good");
        assert_eq!(a_second_later(&watched), "good");
        assert_eq!(made.get(), 2);
        std::fs::write(&path, "better").unwrap();
        assert_eq!(a_second_later(&watched), "better");
    }

    /// Counts warnings.
    struct Warnings(Arc<AtomicU32>);

    impl tracing::Subscriber for Warnings {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let warns = *event.metadata().level() == tracing::Level::WARN;
            self.0.fetch_add(u32::from(warns), Ordering::Relaxed);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn the_log_says_once_that_a_file_cannot_be_used() {
        let folder = TempDir::new("watched").unwrap();
        let (path, warned) = (folder.path().join("file"), Arc::new(AtomicU32::new(0)));
        std::fs::write(&path, "good").unwrap();
        let watched = watched(&path, &Arc::default());
        std::fs::write(&path, "bad").unwrap();
        tracing::subscriber::with_default(Warnings(Arc::clone(&warned)), || {
            for _ in 0..3 {
                a_second_later(&watched);
            }
        });
        assert_eq!(warned.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn an_older_file_that_is_moved_into_place_is_a_change() {
        let folder = TempDir::new("watched").unwrap();
        let (path, other) = (folder.path().join("file"), folder.path().join("other"));
        std::fs::write(&other, "old").unwrap();
        std::fs::write(&path, "new").unwrap();
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        let watched = watched(&path, &Arc::default());
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(a_second_later(&watched), "old");
    }
}
