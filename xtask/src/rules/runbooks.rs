//! Runbooks: each alarm has a page, and each page an alarm.
//!
//! Invariant: the person who is woken finds a page under the alarm's own name.

use stent_contract::alarm::ALARMS;

use crate::finding::Finding;
use crate::tree::Tree;

const FOLDER: &str = "alarms/runbooks/";

/// The index page of the folder.
const INDEX: &str = "README";

/// Finds alarms without a runbook, and runbooks without an alarm.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let names: Vec<&str> = ALARMS.iter().map(|alarm| alarm.name).collect();
    check_names(tree, &names)
}

/// The same for any list of alarms.
pub fn check_names(tree: &Tree, alarms: &[&str]) -> Vec<Finding> {
    let page = |name: &&str| format!("{FOLDER}{name}.md");
    let empty = |name: &&&str| tree.get(&page(name)).is_none_or(|text| text.trim().is_empty());
    let missing = alarms.iter().filter(empty).map(|name| Finding {
        path: page(name),
        line: 1,
        rule: "runbooks",
        what: format!("the alarm `{name}` has no runbook"),
        mend: "write the page: what it means, what to look at, what to do",
    });
    let pages = tree.under(FOLDER).filter_map(|(path, _)| path.strip_suffix(".md"));
    let names = pages.map(|path| &path[FOLDER.len()..]);
    let strays =
        names.filter(|name| *name != INDEX && !alarms.contains(name)).map(|name| Finding {
            path: page(&name),
            line: 1,
            rule: "runbooks",
            what: format!("no alarm is called `{name}`"),
            mend: "delete the page, or name it after its alarm",
        });
    missing.chain(strays).collect()
}
