//! V8's sampling heap profile: from the inspector's tree to bytes by place.
//!
//! Owns: the tree's form, and whose bytes they are: those of the nearest function of the program
//! itself, so that `Map.set` and `String.repeat` are charged to their caller.
//! Refuses: comparing (`grown`). Pure.
//! Invariant: an answer that is nested deeper than V8 makes stacks is refused before it is parsed;
//! at most [`grown::PLACES_MAX`] places come out. Source: Chrome DevTools Protocol, HeapProfiler.

use serde::Deserialize;

use super::error::AttachError;
use super::grown::{self, Place, Reading};

/// V8 records 128 frames at most; each is two levels of JSON, within an envelope.
const NESTING_MAX: usize = 2 * 128 + 16;
/// The callers that are kept of a place.
const VIA_MAX: usize = stent_contract::attribution::VIA_MAX;
/// The longest name or path that is kept.
const NAME_MAX: usize = 200;

#[derive(Debug, Deserialize)]
struct Answer {
    result: Holder,
}

#[derive(Debug, Deserialize)]
struct Holder {
    profile: Profile,
}

#[derive(Debug, Deserialize)]
struct Profile {
    head: Node,
}

#[derive(Debug, Deserialize)]
struct Node {
    #[serde(rename = "callFrame")]
    frame: CallFrame,
    #[serde(rename = "selfSize")]
    own: f64,
    children: Vec<Self>,
}

#[derive(Debug, Deserialize)]
struct CallFrame {
    #[serde(rename = "functionName")]
    function: String,
    url: String,
    #[serde(rename = "lineNumber")]
    line: i64,
}

/// Which stacks count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// All objects of the heap.
    Heap,
    /// Objects that stand for memory outside of it: buffers.
    Buffers,
}

/// Reads the answer to `HeapProfiler.getSamplingProfile`.
pub(crate) fn reading(answer: &[u8], of: Of) -> Result<Reading, AttachError> {
    if nesting(answer) > NESTING_MAX {
        return Err(AttachError::Nonsense("its profile is nested deeper than stacks are"));
    }
    let mut parser = serde_json::Deserializer::from_slice(answer);
    parser.disable_recursion_limit(); // the nesting was looked at
    let answer = Answer::deserialize(&mut parser);
    let answer = answer.map_err(|_| AttachError::Nonsense("not a sampling profile"))?;
    let mut reading = Reading::new();
    let mut stack = Vec::new();
    walk(&answer.result.profile.head, &mut stack, of, &mut reading);
    if reading.len() > grown::PLACES_MAX {
        let mut sizes: Vec<u64> = reading.values().map(|kept| kept.bytes).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let least = sizes[grown::PLACES_MAX];
        reading.retain(|_, kept| kept.bytes > least);
    }
    Ok(reading)
}

/// How deep brackets are nested, without those inside of texts.
fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(inside) = bytes.next() {
                    match inside {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

fn walk<'a>(node: &'a Node, stack: &mut Vec<&'a CallFrame>, of: Of, reading: &mut Reading) {
    stack.push(&node.frame);
    // Sizes are whole numbers of bytes; the protocol calls them numbers.
    if node.own >= 1.0 && counts(stack, of) {
        charge(stack, node.own as u64, reading);
    }
    for child in &node.children {
        walk(child, stack, of, reading);
    }
    stack.pop();
}

/// A buffer is made by Node's own code, or is an array type's constructor.
fn counts(stack: &[&CallFrame], of: Of) -> bool {
    let Some(leaf) = stack.last() else { return false };
    let is_buffer = || {
        leaf.url.starts_with("node:buffer")
            || leaf.url.starts_with("node:internal/buffer")
            || leaf.function.ends_with("ArrayBuffer")
            || (leaf.url.is_empty() && leaf.function.ends_with("Array"))
    };
    match of {
        Of::Heap => true,
        Of::Buffers => is_buffer(),
    }
}

/// Charges the innermost function of the program; where there is none, the innermost at all.
fn charge(stack: &[&CallFrame], bytes: u64, reading: &mut Reading) {
    let innermost_first = || stack.iter().rev().filter(|frame| !is_marker(frame));
    let depth = innermost_first().position(|frame| is_of_program(frame)).unwrap_or(0);
    let mut from = innermost_first().skip(depth);
    let Some(frame) = from.next() else { return };
    let kept = reading.entry(place(frame)).or_default();
    if bytes > kept.bytes {
        // The callers shown are those of the heaviest stack, nearly: the first that doubles it.
        kept.via =
            from.filter(|frame| is_of_program(frame)).take(VIA_MAX).map(|f| shown(f)).collect();
    }
    kept.bytes = kept.bytes.saturating_add(bytes);
}

/// `(root)`, `(V8 API)`, `(BYTECODE_COMPILER)`: not functions.
fn is_marker(frame: &CallFrame) -> bool {
    frame.function.starts_with('(') && frame.url.is_empty()
}

fn is_of_program(frame: &CallFrame) -> bool {
    !frame.url.is_empty() && !frame.url.starts_with("node:")
}

fn place(frame: &CallFrame) -> Place {
    let name = if frame.function.is_empty() { "(anonymous)" } else { &frame.function };
    // Lines count from 0 in the protocol; -1: none.
    let line = u32::try_from(frame.line).ok().map(|line| line.saturating_add(1));
    Place { function: cut(name), file: file(&frame.url), line }
}

fn shown(frame: &CallFrame) -> String {
    let Place { function, file, line } = place(frame);
    format!("{function} {file}:{}", line.unwrap_or(0))
}

fn file(url: &str) -> String {
    cut(url.strip_prefix("file://").unwrap_or(url))
}

/// The end of a long path tells more than its beginning.
fn cut(text: &str) -> String {
    let skip = text.chars().count().saturating_sub(NAME_MAX);
    text.chars().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::super::grown::Kept;
    use super::*;

    fn node(function: &str, url: &str, line: i64, own: u64, children: &[String]) -> String {
        let children = children.join(",");
        format!(
            r#"{{"callFrame":{{"functionName":"{function}","scriptId":"1","url":"{url}",
            "lineNumber":{line},"columnNumber":0}},"selfSize":{own},"id":1,"children":[{children}]}}"#
        )
    }

    fn answer(head: &str) -> Vec<u8> {
        format!(r#"{{"id":3,"result":{{"profile":{{"head":{head},"samples":[]}}}}}}"#).into_bytes()
    }

    fn sizes(reading: &Reading) -> Vec<(String, u64)> {
        let shown = |(place, kept): (&Place, &Kept)| {
            (format!("{} {}:{:?}", place.function, place.file, place.line), kept.bytes)
        };
        reading.iter().map(shown).collect()
    }

    #[test]
    fn what_a_builtin_allocates_is_charged_to_the_programs_function_that_called_it() {
        let repeat = node("repeat", "", -1, 700, &[]);
        let timers = node("setTimeout", "node:timers", 1, 20, &[]);
        let keep = node("keep", "file:///app/a.js", 4, 300, &[repeat, timers]);
        let handler = node("", "file:///app/a.js", 9, 5, &[keep]);
        let server = node("parserOnIncoming", "node:_http_server", 3, 0, &[handler]);
        let head = node("(root)", "", -1, 0, &[server, node("tick", "node:internal", 1, 8, &[])]);
        let reading = reading(&answer(&head), Of::Heap).unwrap();
        assert_eq!(
            sizes(&reading),
            [
                ("(anonymous) /app/a.js:Some(10)".to_owned(), 5),
                ("keep /app/a.js:Some(5)".to_owned(), 1020),
                ("tick node:internal:Some(2)".to_owned(), 8),
            ]
        );
        let keep = reading.iter().find(|(place, _)| place.function == "keep").unwrap().1;
        assert_eq!(keep.via, ["(anonymous) /app/a.js:10"]);
    }

    #[test]
    fn of_buffers_only_what_stands_for_memory_outside_the_heap_counts() {
        let buffer = node("alloc", "node:buffer", 10, 96, &[]);
        let raw = node("ArrayBuffer", "", -1, 64, &[]);
        let keep = node("keep", "/app/a.js", 4, 5_000, &[buffer, raw]);
        let reading = reading(&answer(&node("(root)", "", -1, 0, &[keep])), Of::Buffers).unwrap();
        assert_eq!(sizes(&reading), [("keep /app/a.js:Some(5)".to_owned(), 160)]);
    }

    #[test]
    fn a_stack_of_128_functions_is_read() {
        let mut head = node("leaf", "/app/a.js", 1, 10, &[]);
        for _ in 0..127 {
            head = node("again", "/app/a.js", 2, 0, &[head]);
        }
        let reading = reading(&answer(&head), Of::Heap).unwrap();
        assert_eq!(sizes(&reading), [("leaf /app/a.js:Some(2)".to_owned(), 10)]);
    }

    #[test]
    fn brackets_without_end_are_refused_and_not_followed() {
        let bottomless = "[".repeat(10_000_000);
        assert!(reading(bottomless.as_bytes(), Of::Heap).is_err());
        assert_eq!(nesting(br#"{"a":"[[[\"[[","b":[1]}"#), 2);
    }

    #[test]
    fn an_answer_of_another_form_is_refused() {
        for text in ["", "{}", "null", r#"{"result":{}}"#, r#"{"result":{"profile":{"head":[]}}}"#]
        {
            assert!(reading(text.as_bytes(), Of::Heap).is_err(), "{text}");
        }
    }
}
