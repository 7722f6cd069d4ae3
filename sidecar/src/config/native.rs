//! `heap_native`: where the library is that gives a command jemalloc with heap profiles.
//!
//! Refuses: what is not a library that this system's loader takes; it would complain in the name of every
//! program that the command starts, or end them all. How it gets into LD_PRELOAD is `path_list`'s.
//! Source: ld.so(8); elf(5).

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::keys::Settings;
use super::problem::Problems;

/// Of an ELF header: identification, type and machine.
const HEAD: usize = 20;
/// The type of a shared object.
const SHARED_OBJECT: u16 = 3;

const MEND: &str = "name Stent's library (/usr/share/stent/libstent_heap.so in the image)";

/// A file that cannot be preloaded.
pub(super) fn check(settings: &Settings, problems: &mut Problems) {
    let setting = &settings.heap_native;
    let Some(file) = setting.value.0.as_ref().filter(|_| setting.is_sound()) else { return };
    let text = file.to_string_lossy();
    if text.contains([':', ' ']) {
        let mend = "copy it to a path without one: LD_PRELOAD has them between its files";
        problems.add(&setting.origin, "has a colon or a space in it", mend);
    } else if !file.is_absolute() {
        let mend = "write the whole path: programs are started in folders of their own";
        problems.add(&setting.origin, "does not begin with a slash", mend);
    } else {
        match head(file) {
            Err(error) => problems.add(&setting.origin, format!("cannot be read: {error}"), MEND),
            Ok(head) if !is_loadable(&head) => {
                problems.add(&setting.origin, "is no shared library of this kind of machine", MEND);
            }
            Ok(_) => {}
        }
    }
}

fn head(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(file)?.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Whether it is a shared object for the machine that this very program was built for.
fn is_loadable(head: &[u8]) -> bool {
    let half = |at: usize| {
        let bytes: Option<[u8; 2]> = head.get(at..at + 2).and_then(|two| two.try_into().ok());
        bytes.map(u16::from_ne_bytes)
    };
    let machine = match std::env::consts::ARCH {
        "x86_64" => 62,
        "aarch64" => 183,
        _ => return false, // Stent is built for no other
    };
    head.starts_with(b"\x7fELF") && half(16) == Some(SHARED_OBJECT) && half(18) == Some(machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_object_of_this_machine_is_loadable_and_nothing_else_is() {
        // Test programs are position independent, and so of the type of shared objects.
        let own = head(&std::env::current_exe().unwrap()).unwrap();
        assert!(is_loadable(&own), "{own:?}");
        for (at, value) in [(0, 0x7e), (16, 2), (18, 3)] {
            let mut other = own.clone();
            other[at] = value;
            assert!(!is_loadable(&other), "byte {at}");
        }
        assert!(!is_loadable(&own[..HEAD - 1]) && !is_loadable(b"#!/bin/sh\n"));
    }
}
