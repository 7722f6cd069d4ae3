//! Assertions: the cores check themselves.
//!
//! Owns: the least number of assertions in 1,000 lines of a core, tests not counted on either side.
//! `contract` is left out: it holds tables and data, and refuses behaviour.

use crate::finding::Finding;
use crate::source::Source;
use crate::sources::readable_under;
use crate::tree::Tree;

/// The cores that behave.
const CORES: &[&str] = &["core/wire/", "core/pool/", "core/leak/"];

/// Assertions in 1,000 lines, at least.
const PER_THOUSAND: usize = 10;

const MACROS: &[&str] =
    &["assert", "assert_eq", "assert_ne", "debug_assert", "debug_assert_eq", "debug_assert_ne"];

/// Finds cores with too few assertions.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let too_few = CORES.iter().filter_map(|core| {
        let sources = readable_under(tree, core);
        let lines: usize = sources.iter().map(Source::code_lines).sum();
        let asserts: usize = sources.iter().map(count).sum();
        let needed = lines * PER_THOUSAND / 1000;
        (asserts < needed).then(|| Finding {
            path: core.to_string(),
            line: 1,
            rule: "asserts",
            what: format!("{asserts} assertions in {lines} lines, {needed} at least"),
            mend: "assert preconditions, both sides of a transition, and counts after each event",
        })
    });
    too_few.collect()
}

/// Assertions in the code of one file.
pub(crate) fn count(source: &Source) -> usize {
    let code = source.code();
    let calls = code.windows(2).filter(|pair| pair[1].text == "!");
    calls.filter(|pair| MACROS.contains(&pair[0].text.as_str())).count()
}
