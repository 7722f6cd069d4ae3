//! Files that the kernel makes while they are read, and what may be wrong with them.
//!
//! Owns: reading with a limit, and telling what is absent from what is broken. Refuses: meaning.
//! Invariant: a line without its end is never used: its last figure would be a smaller one.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::io::Errno;

/// The longest file that is read by path; `/proc/stat` of a large machine has about 100 kB.
const FILE_MAX: u64 = 1024 * 1024;

/// Why a file gave no figure.
#[derive(Debug)]
pub(crate) enum Flaw {
    /// It is not there: this kernel has no such file, or the process has ended. Nothing is wrong.
    Absent,
    /// The kernel refuses.
    Unreadable(io::Error),
    /// It ends in the middle of a line.
    CutOff,
    /// It does not hold what it should.
    Malformed(&'static str),
}

impl Flaw {
    /// What an error of the system means.
    pub(crate) fn of(error: io::Error) -> Self {
        let gone = error.raw_os_error() == Some(Errno::SRCH.raw_os_error());
        let kind = error.kind();
        if gone || kind == ErrorKind::NotFound {
            Self::Absent
        } else if kind == ErrorKind::InvalidData {
            Self::Malformed("not text")
        } else {
            Self::Unreadable(error)
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => to.write_str("it is not there"),
            Self::Unreadable(error) => write!(to, "it cannot be read: {error}"),
            Self::CutOff => to.write_str("it ends in the middle of a line"),
            Self::Malformed(what) => write!(to, "it holds something else: {what}"),
        }
    }
}

/// The text of a file, as far as it goes; see [`is_whole`].
pub(crate) fn read(path: &Path) -> Result<String, Flaw> {
    let mut text = String::new();
    let file = File::open(path).map_err(Flaw::of)?;
    file.take(FILE_MAX).read_to_string(&mut text).map_err(Flaw::of)?;
    Ok(text)
}

/// The text of a file that must have its end.
pub(crate) fn read_whole(path: &Path) -> Result<String, Flaw> {
    let text = read(path)?;
    if is_whole(&text) { Ok(text) } else { Err(Flaw::CutOff) }
}

/// Reads an open file from its beginning: the kernel makes it anew for each such read. It must have
/// its end, and fit into `buffer`.
pub(crate) fn read_again<'a>(file: &File, buffer: &'a mut [u8]) -> Result<&'a str, Flaw> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], length as u64).map_err(Flaw::of)? {
            0 => break,
            more => length += more,
        }
    }
    let text = std::str::from_utf8(&buffer[..length]).map_err(|_| Flaw::Malformed("not text"))?;
    if is_whole(text) { Ok(text) } else { Err(Flaw::CutOff) }
}

/// Whether a text has its end. The kernel ends each of these files with a line's end.
pub(crate) fn is_whole(text: &str) -> bool {
    text.ends_with('\n')
}

/// The lines that have an end.
pub(crate) fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}

/// What follows `key` in the first line that begins with it, without space around it.
pub(crate) fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    whole_lines(text).find_map(|line| line.strip_prefix(key)).map(str::trim)
}

/// The value of `KEY   123 kB`, in bytes.
pub(crate) fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let value: u64 = field(text, key)?.trim_end_matches("kB").trim_end().parse().ok()?;
    Some(value.saturating_mul(1_024))
}
