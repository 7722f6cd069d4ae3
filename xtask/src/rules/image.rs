//! Image: what the Dockerfile promises to whoever runs it.
//!
//! Refuses: style, which is hadolint's; and building, which needs a builder.
//! Invariant: the final image runs as a numbered user who is not root, and starts without a shell.

use crate::finding::Finding;
use crate::tree::Tree;

const PATH: &str = "Dockerfile";

/// Finds broken promises in the Dockerfile.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.get(PATH) else {
        return vec![finding(1, "there is no Dockerfile".to_owned(), "write it")];
    };
    let instructions = final_stage(text);
    let find = |name: &str| instructions.iter().find(|instruction| instruction.name == name);
    let mut findings = Vec::new();
    match find("USER") {
        Some(user) if is_plain_number(&user.rest) => {}
        Some(user) => findings.push(finding(
            user.line,
            format!("USER is `{}`", user.rest),
            "give a number other than 0: an orchestrator can check a number only",
        )),
        None => findings.push(finding(1, "no USER in the final stage".to_owned(), "add one")),
    }
    for name in ["ENTRYPOINT", "HEALTHCHECK"] {
        match find(name) {
            Some(instruction) if instruction.rest.contains('[') => {}
            Some(instruction) => findings.push(finding(
                instruction.line,
                format!("{name} needs a shell"),
                "write it as a JSON list",
            )),
            None => findings.push(finding(1, format!("no {name} in the final stage"), "add one")),
        }
    }
    findings.extend(instructions.iter().filter(|i| i.name == "RUN").map(|run| {
        finding(
            run.line,
            "RUN in the final stage".to_owned(),
            "do it in the builder, copy the result",
        )
    }));
    findings
}

struct Instruction {
    name: String,
    rest: String,
    line: usize,
}

/// The instructions from the last FROM on, continued lines joined.
fn final_stage(text: &str) -> Vec<Instruction> {
    let mut instructions: Vec<Instruction> = Vec::new();
    let mut continued = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let part = line.trim_end_matches('\\').trim();
        match instructions.last_mut() {
            Some(last) if continued => {
                last.rest.push(' ');
                last.rest.push_str(part);
            }
            Some(_) | None => {
                let (name, rest) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
                let (name, rest) = (name.to_uppercase(), rest.trim().to_owned());
                instructions.push(Instruction { name, rest, line: index + 1 });
            }
        }
        continued = line.ends_with('\\');
    }
    let last_from = instructions.iter().rposition(|i| i.name == "FROM").unwrap_or(0);
    instructions.split_off(last_from.min(instructions.len()))
}

/// `65532` or `65532:65532`, not `0`, not a name.
fn is_plain_number(user: &str) -> bool {
    user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id != 0))
}

fn finding(line: usize, what: String, mend: &'static str) -> Finding {
    Finding { path: PATH.to_owned(), line, rule: "image", what, mend }
}
