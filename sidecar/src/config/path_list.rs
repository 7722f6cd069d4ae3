//! Variables that are lists of paths with colons between them: PYTHONPATH, LD_PRELOAD.
//!
//! Invariant: what the command's environment had stays there, behind ours.

use std::path::Path;

/// The list with our path first. `inherited` is the one that there is.
pub(crate) fn in_front(ours: &Path, inherited: Option<&str>) -> String {
    let ours = ours.to_string_lossy();
    match inherited.filter(|paths| !paths.is_empty()) {
        Some(inherited) => format!("{ours}:{inherited}"),
        None => ours.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_comes_first_and_what_was_there_stays() {
        let library = Path::new("/share/libstent_heap.so");
        for (inherited, expected) in [
            (None, "/share/libstent_heap.so"),
            (Some(""), "/share/libstent_heap.so"),
            (Some("/a.so:/b.so"), "/share/libstent_heap.so:/a.so:/b.so"),
        ] {
            assert_eq!(in_front(library, inherited), expected);
        }
    }
}
