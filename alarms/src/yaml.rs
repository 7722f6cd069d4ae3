//! JSON values as YAML in block style.
//!
//! Owns: the small part of YAML that rule files need. Refuses: reading YAML, anchors, tags.
//! Invariant: every string is double-quoted (a JSON string is a YAML one) or a literal block, so no
//! text is ever taken for a number, a truth value or a mapping. Source: YAML 1.2.2, 7.3.1 and 8.1.2.

use serde_json::Value;

const INDENT: &str = "  ";

/// The value as a YAML document, with a line feed at its end.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(_) | Value::Array(_) => block(&mut out, value, 0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            scalar(&mut out, value, 0);
        }
    }
    out
}

/// A mapping or a sequence, each entry on lines of its own; the cursor is at a line's start.
fn block(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(entries) => {
            for (key, entry) in entries {
                out.push_str(&INDENT.repeat(depth));
                keyed(out, key, entry, depth);
            }
        }
        Value::Array(items) => {
            for item in items {
                out.push_str(&INDENT.repeat(depth));
                out.push_str("- ");
                dashed(out, item, depth + 1);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            scalar(out, value, depth);
        }
    }
}

/// An item after its dash: the first key of a mapping stands on the dash's line.
fn dashed(out: &mut String, item: &Value, depth: usize) {
    match item {
        Value::Object(entries) if !entries.is_empty() => {
            for (index, (key, entry)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push_str(&INDENT.repeat(depth));
                }
                keyed(out, key, entry, depth);
            }
        }
        Value::Object(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => scalar(out, item, depth),
    }
}

fn keyed(out: &mut String, key: &str, entry: &Value, depth: usize) {
    out.push_str(key);
    out.push(':');
    let nested = match entry {
        Value::Object(entries) => !entries.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    if nested {
        out.push('\n');
        block(out, entry, depth + 1);
    } else {
        out.push(' ');
        scalar(out, entry, depth + 1);
    }
}

/// A value on this line, or a literal block below it; JSON's flow style is YAML's.
fn scalar(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::String(text) if text.contains('\n') => {
            out.push_str("|-\n");
            for line in text.lines() {
                out.push_str(&INDENT.repeat(depth));
                out.push_str(line);
                out.push('\n');
            }
        }
        Value::String(_)
        | Value::Object(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_) => {
            out.push_str(&value.to_string());
            out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn mappings_sequences_and_texts_become_block_style() {
        let value = json!({
            "groups": [{ "name": "a: b", "rules": [{ "expr": "x\n> 1", "for": "5m" }] }],
            "none": [],
            "size": 3,
        });
        expect![[r#"
            groups:
              - name: "a: b"
                rules:
                  - expr: |-
                      x
                      > 1
                    for: "5m"
            none: []
            size: 3
        "#]]
        .assert_eq(&document(&value));
    }
}
