//! What an address of this program is: function, file, line, with the calls that were inlined.
//!
//! Owns: asking the program's own debug information, through `backtrace`, and its tables of symbols where
//! there is none; what neither knows is called after its module. Refuses: other programs.
//! Invariant: when a profile is complete the debug information that was loaded for it is given
//! back: looking for growth must not be growth. What is kept for the next profile of the same
//! connection is the names of at most [`KNOWN_MAX`] addresses.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::path::Path;

use crate::fork::working;
use crate::modules::Modules;
use crate::pprof::Place;

/// The most functions that one address stands for.
const INLINED_MAX: usize = 32;
/// The longest name; generic ones can be kilobytes.
const NAME_MAX: usize = 256;

/// The most addresses whose names are kept from one profile to the next: a profile after the first has
/// few new ones, and loading debug information is what costs.
const KNOWN_MAX: usize = 4_096;

/// Names addresses for the profiles of one connection.
#[derive(Default)]
pub(crate) struct Symbols {
    known: BTreeMap<u64, Vec<Place>>,
}

impl Symbols {
    /// The functions at a return address, innermost first. None where nothing is known.
    pub(crate) fn of(&mut self, return_address: u64, modules: &Modules) -> Vec<Place> {
        if let Some(places) = self.known.get(&return_address) {
            return places.clone();
        }
        // The call is before the address to which it returns.
        let call = return_address.saturating_sub(1);
        let mut places = working(|| Self::resolve(call));
        complete(&mut places, call, modules);
        if self.known.len() < KNOWN_MAX {
            self.known.insert(return_address, places.clone());
        }
        places
    }

    /// A profile is complete.
    pub(crate) fn rest(&self) {
        working(backtrace::clear_symbol_cache);
    }

    fn resolve(call: u64) -> Vec<Place> {
        let mut places = Vec::new();
        let Ok(address) = usize::try_from(call) else { return places };
        backtrace::resolve(address as *mut c_void, |symbol| {
            if places.len() == INLINED_MAX {
                return;
            }
            // The alternate form leaves out the hash.
            let function = symbol.name().map(|name| cut(format!("{name:#}"))).unwrap_or_default();
            let file = symbol.filename().map(Path::display).map(|path| cut(path.to_string()));
            let line = symbol.lineno().unwrap_or_default();
            if !function.is_empty() {
                places.push(Place { function, file: file.unwrap_or_default(), line });
            }
        });
        places
    }
}

/// Where no file is known it is the module's, and where no function is, its place in the module.
fn complete(places: &mut Vec<Place>, call: u64, modules: &Modules) {
    let Some((module, offset)) = modules.of(call) else { return };
    let file = cut(module.to_owned());
    if places.is_empty() {
        let name = module.rsplit('/').next().unwrap_or(module);
        let function = cut(format!("{name}+{offset:#x}"));
        places.push(Place { function, file: file.clone(), line: 0 });
    }
    for place in places.iter_mut().filter(|place| place.file.is_empty()) {
        place.file.clone_from(&file);
    }
}

fn cut(mut text: String) -> String {
    let end = (0..=NAME_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or_default());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_call_is_named_with_its_file() {
        let mut address = 0;
        backtrace::trace(|frame| {
            address = frame.ip() as u64;
            !named(address)
        });
        assert!(named(address));
        assert_eq!(Symbols::default().of(8, &Modules::default()), []);
    }

    fn named(address: u64) -> bool {
        Symbols::default().of(address, &Modules::default()).iter().any(|place| {
            place.function.contains("the_address_of_a_call_is_named")
                && place.file.ends_with("symbols.rs")
                && place.line > 0
        })
    }

    #[test]
    fn names_are_the_same_the_second_time_and_no_more_are_kept_than_allowed() {
        let (mut symbols, mut address) = (Symbols::default(), 0);
        let none = Modules::default();
        backtrace::trace(|frame| {
            address = frame.ip() as u64;
            symbols.of(address, &none).is_empty()
        });
        let first = symbols.of(address, &none);
        symbols.rest();
        assert!(!first.is_empty());
        assert_eq!(symbols.of(address, &none), first);
        for unknown in 0..2 * KNOWN_MAX as u64 {
            symbols.of(unknown, &none);
        }
        assert_eq!(symbols.known.len(), KNOWN_MAX);
        assert_eq!(symbols.of(address, &none), first, "the first ones stay");
    }

    #[test]
    fn what_has_no_name_is_called_after_its_place_in_its_module_and_the_rest_gets_the_modules_file()
    {
        let modules =
            Modules::parse("MAPPED_LIBRARIES:\n100-200 r-xp 1000 0:0 7 /app/lib/fast.so\n");
        let fast = |function: &str| Place {
            function: function.to_owned(),
            file: "/app/lib/fast.so".to_owned(),
            line: 0,
        };
        assert_eq!(Symbols::default().of(0x111, &modules), [fast("fast.so+0x1010")]);
        let mut places = vec![Place { file: String::new(), ..fast("pack") }];
        complete(&mut places, 0x110, &modules);
        assert_eq!(places, [fast("pack")]);
        complete(&mut places, 0x300, &modules);
        assert_eq!(places, [fast("pack")], "nowhere");
    }

    #[test]
    fn a_long_name_is_cut_between_two_characters() {
        let text = cut("é".repeat(NAME_MAX));
        assert_eq!(text.len(), NAME_MAX);
        assert_eq!(cut("short".to_owned()), "short");
    }
}
