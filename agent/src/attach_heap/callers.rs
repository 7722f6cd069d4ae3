//! Who called the libraries that memory grew in, from one more profile that has whole stacks.
//!
//! Owns: putting growth of a library's line down to the program's own function above it.
//! Refuses: judging what grew: that was seen before, in every window; a stack only says by whom.
//! Invariant: no byte of growth is lost or counted twice; a line for which no stack has a function of the
//! program stays as it is.

use stent_contract::Frame;
use stent_contract::attribution::VIA_MAX;

use super::grown::{is_runtime, is_runtime_file, shown};
use super::pprof::{Place, Sample};

/// The share of the growth in libraries from which on it is asked who called them.
const SHARE_MIN: f64 = 0.25;

/// Whether whole stacks would say more: much of the growth is in libraries.
pub(crate) fn are_wanted(frames: &[Frame]) -> bool {
    let in_libraries = frames.iter().filter(|frame| is_runtime_file(&frame.file));
    in_libraries.map(|frame| frame.share).sum::<f64>() >= SHARE_MIN
}

/// The frames, those of libraries under the name of the program's function that called them most.
pub(crate) fn name(frames: Vec<Frame>, stacks: &[Sample]) -> Vec<Frame> {
    let mut named: Vec<Frame> = Vec::new();
    for frame in frames {
        let frame = match is_runtime_file(&frame.file) {
            true => called(&frame, stacks).unwrap_or(frame),
            false => frame,
        };
        let same = named.iter_mut().find(|f| f.function == frame.function && f.file == frame.file);
        match same {
            Some(same) => {
                same.bytes = same.bytes.saturating_add(frame.bytes);
                same.share = ((same.share + frame.share) * 1_000.0).round() / 1_000.0;
                if same.via.is_empty() {
                    same.via = frame.via;
                }
            }
            None => named.push(frame),
        }
    }
    named.sort_by_key(|frame| std::cmp::Reverse(frame.bytes));
    named
}

/// The growth of a library's line as that of its caller.
fn called(frame: &Frame, stacks: &[Sample]) -> Option<Frame> {
    let mut callers: Vec<((&Place, &[Place]), u64)> = Vec::new();
    for Sample { places, bytes } in stacks {
        let Some(first) = places.first() else { continue };
        if first.function.name != frame.function || first.function.file != frame.file {
            continue;
        }
        let Some(at) = places.iter().position(|place| !is_runtime(&place.function)) else {
            continue;
        };
        // At most as many as a profile has stacks.
        match callers.iter_mut().find(|((caller, _), _)| **caller == places[at]) {
            Some((_, total)) => *total = total.saturating_add(*bytes),
            None => callers.push(((&places[at], &places[..at]), *bytes)),
        }
    }
    let ((caller, through), _) = callers.into_iter().max_by_key(|(_, bytes)| *bytes)?;
    Some(Frame {
        function: caller.function.name.clone(),
        file: caller.function.file.clone(),
        line: (caller.line > 0).then_some(caller.line),
        via: through.iter().take(VIA_MAX).map(shown).collect(),
        ..frame.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::super::pprof::tests::place;
    use super::*;

    const LIBRARY: &str = "/usr/lib/python3.11/logging/__init__.py";

    fn frame(function: &str, file: &str, bytes: u64) -> Frame {
        Frame {
            function: function.to_owned(),
            file: file.to_owned(),
            line: Some(9),
            bytes,
            share: bytes as f64 / 100.0,
            via: Vec::new(),
        }
    }

    fn stack(library: &str, caller: &str, bytes: u64) -> Sample {
        let places = vec![
            place(library, LIBRARY, 9),
            place("StreamHandler.__init__", LIBRARY, 70),
            place(caller, "/app/api.py", 12),
            place("serve", "/app/api.py", 40),
        ];
        Sample { places, bytes }
    }

    #[test]
    fn what_grew_in_a_library_is_put_down_to_the_function_that_called_it_most() {
        let grown = vec![
            frame("Handler.__init__", LIBRARY, 50),
            frame("Handler.createLock", LIBRARY, 30),
            frame("other", "/app/api.py", 20),
        ];
        assert!(are_wanted(&grown));
        let stacks = [
            stack("Handler.__init__", "add_handler", 900),
            stack("Handler.__init__", "configure", 100),
            stack("Handler.createLock", "add_handler", 10),
        ];
        let named = name(grown, &stacks);
        let seen: Vec<_> = named.iter().map(|f| (f.function.as_str(), f.line, f.bytes)).collect();
        assert_eq!(seen, [("add_handler", Some(12), 80), ("other", Some(9), 20)]);
        assert_eq!(named[0].via[0], format!("Handler.__init__ ({LIBRARY}:9)"));
        assert!((named[0].share - 0.8).abs() < 1e-9);
    }

    #[test]
    fn growth_of_the_program_itself_wants_no_stacks_and_what_no_stack_explains_stays() {
        assert!(!are_wanted(&[frame("remember", "/app/api.py", 9)]));
        assert!(!are_wanted(&[]));
        let grown = vec![frame("Handler.__init__", LIBRARY, 50)];
        assert_eq!(name(grown.clone(), &[stack("elsewhere", "add_handler", 1)]), grown);
        assert_eq!(name(grown.clone(), &[]), grown);
    }
}
