//! `heap_python`: where Stent's module for Python is, and what leads a command to it.
//!
//! Refuses: a folder without the module; a command would start without it, and nobody would know why.
//! Invariant: what the command's environment had on PYTHONPATH stays there, behind ours.

use std::path::Path;

use super::keys::Settings;
use super::path_list::in_front;
use super::problem::Problems;

/// The files of the module.
const FILES: [&str; 2] = ["sitecustomize.py", "stent_heap.py"];

/// A folder that is none.
pub(super) fn check(settings: &Settings, problems: &mut Problems) {
    let setting = &settings.heap_python;
    let Some(folder) = setting.value.0.as_ref().filter(|_| setting.is_sound()) else { return };
    if folder.to_string_lossy().contains(':') {
        let mend = "copy it to a folder without one: PYTHONPATH has colons between its folders";
        problems.add(&setting.origin, "has a colon in it", mend);
    } else if let Some(file) = FILES.iter().find(|file| !folder.join(file).is_file()) {
        problems.add(
            &setting.origin,
            format!("there is no {file} in it"),
            "name the folder of Stent's module for Python (/usr/share/stent/python in the image)",
        );
    }
}

/// The variables that make a Python program serve its heap. `inherited` is the PYTHONPATH that there is.
pub(crate) fn variables(folder: &Path, inherited: Option<&str>) -> [(&'static str, String); 2] {
    [("PYTHONPATH", in_front(folder, inherited)), ("STENT_HEAP", "on".to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_comes_first_and_what_was_there_stays() {
        for (inherited, expected) in [
            (None, "/share/python"),
            (Some(""), "/share/python"),
            (Some("/a:/b"), "/share/python:/a:/b"),
        ] {
            let [path, switch] = variables(Path::new("/share/python"), inherited);
            assert_eq!(path, ("PYTHONPATH", expected.to_owned()));
            assert_eq!(switch, ("STENT_HEAP", "on".to_owned()));
        }
    }
}
