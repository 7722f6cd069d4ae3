//! One number out of a page of metrics: Prometheus' text format or OpenMetrics.
//!
//! Owns: finding a family's samples and adding them up. Refuses: everything else on the page.
//! Invariant: a line of the wanted name that cannot be read is an error, never a smaller sum; lines
//! of other names are passed over unread.
//! Source: Prometheus documentation, "Exposition formats"; OpenMetrics 1.0, "Text format".

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The most samples of one name, and labels of one sample.
const SAMPLES_MAX: usize = 10_000;
const LABELS_MAX: usize = 64;
/// The longest selector.
const SELECTOR_MAX: usize = 512;

/// Which samples are meant: a name, and labels that must be there: `jvm_memory_used_bytes{area="heap"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    name: String,
    labels: Vec<(String, String)>,
}

/// Why a page gives no number.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum PageError {
    /// A sample of the wanted name is malformed.
    #[error("line {0} of the metrics cannot be read")]
    Line(usize),
    /// More samples of one name than are added up.
    #[error("more than 10000 samples of one name")]
    Large,
}

/// Why a text is no selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not a metric's name, such as nodejs_heap_size_used_bytes or name{{label=\"value\"}}")]
pub struct SelectorError;

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if text.len() > SELECTOR_MAX {
            return Err(SelectorError);
        }
        let (name, rest) = split_name(text.trim());
        let (labels, rest) = labels(rest).ok_or(SelectorError)?;
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || "_:".contains(c));
        if !starts_well || !rest.is_empty() {
            return Err(SelectorError);
        }
        Ok(Self { name: name.to_owned(), labels })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.labels.is_empty() {
            return Ok(());
        }
        let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
        let pairs = self.labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value)));
        write!(f, "{{{}}}", pairs.collect::<Vec<_>>().join(","))
    }
}

/// The sum of the samples that are meant; `None` where there is none. What is no number (NaN) does
/// not count.
pub(crate) fn sum(page: &str, wanted: &Selector) -> Result<Option<f64>, PageError> {
    let mut sum = None;
    let mut samples = 0;
    for (at, line) in page.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        let (name, rest) = split_name(line);
        if name != wanted.name {
            continue;
        }
        samples += 1;
        if samples > SAMPLES_MAX {
            return Err(PageError::Large);
        }
        let (labels, value) = sample(rest).ok_or(PageError::Line(at + 1))?;
        if value.is_finite() && wanted.labels.iter().all(|label| labels.contains(label)) {
            sum = Some(sum.unwrap_or(0.0) + value);
        }
    }
    Ok(sum)
}

/// A line's name, and what follows.
fn split_name(line: &str) -> (&str, &str) {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    line.split_at(line.find(|c| !part(c)).unwrap_or(line.len()))
}

/// Labels, value and, perhaps, a moment; an exemplar may follow.
fn sample(rest: &str) -> Option<(Vec<(String, String)>, f64)> {
    let (labels, rest) = labels(rest)?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.split_once(" # ").map_or(rest, |(head, _exemplar)| head);
    let mut words = rest.split_ascii_whitespace();
    let value = words.next()?.parse().ok()?;
    let moment = words.next().map(str::parse::<f64>);
    let is_whole = words.next().is_none() && moment.is_none_or(|moment| moment.is_ok());
    is_whole.then_some((labels, value))
}

/// `{key="value",...}`, and what follows; nothing where there is no brace.
fn labels(text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    let Some(mut rest) = text.strip_prefix('{') else { return Some((labels, text)) };
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (key, after) = split_name(rest);
        let after = after.trim_start().strip_prefix('=')?.trim_start().strip_prefix('"')?;
        let (value, after) = quoted(after)?;
        if key.is_empty() || labels.len() == LABELS_MAX {
            return None;
        }
        labels.push((key.to_owned(), value));
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(rest) => rest,
            None if after.starts_with('}') => after,
            None => return None,
        };
    }
}

/// A value up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other @ ('\\' | '"') => value.push(other),
                _ => return None,
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(page: &str, selector: &str) -> Result<Option<f64>, PageError> {
        sum(page, &selector.parse().unwrap())
    }

    const PAGE: &str = "# HELP nodejs_heap_size_used_bytes Process heap size used, in bytes.\n\
        # TYPE nodejs_heap_size_used_bytes gauge\n\
        nodejs_heap_size_used_bytes 23068672\n\
        nodejs_heap_size_used_bytes_total 1\n\
        jvm_memory_used_bytes{area=\"heap\",id=\"G1 \\\"Old\\\", {Gen}\"} 4.0E6\n\
        jvm_memory_used_bytes{area=\"heap\",id=\"Eden\",} 1e6 1700000000000\n\
        jvm_memory_used_bytes{area=\"nonheap\"} 9\n\
        http_requests_total{code=\"200\"} 17 # {trace_id=\"a b\"} 1 1.5\n\
        broken{ 5\n\
        gauge NaN\n# EOF\n";

    #[test]
    fn a_gauge_is_found_by_its_whole_name() {
        assert_eq!(ask(PAGE, "nodejs_heap_size_used_bytes"), Ok(Some(23_068_672.0)));
        assert_eq!(ask(PAGE, "nodejs_heap_size"), Ok(None));
    }

    #[test]
    fn the_samples_that_have_the_wanted_labels_are_added_up() {
        assert_eq!(ask(PAGE, "jvm_memory_used_bytes{area=\"heap\"}"), Ok(Some(5e6)));
        assert_eq!(ask(PAGE, "jvm_memory_used_bytes"), Ok(Some(5_000_009.0)));
        let one = "jvm_memory_used_bytes{id=\"G1 \\\"Old\\\", {Gen}\"}";
        assert_eq!(ask(PAGE, one), Ok(Some(4e6)));
        let shown = one.parse::<Selector>().unwrap().to_string();
        assert_eq!(shown, one);
    }

    #[test]
    fn an_exemplar_and_a_moment_are_not_part_of_the_value() {
        assert_eq!(ask(PAGE, "http_requests_total"), Ok(Some(17.0)));
        assert_eq!(ask(PAGE, "gauge"), Ok(None));
    }

    #[test]
    fn a_broken_line_matters_only_where_it_is_the_wanted_one() {
        assert_eq!(ask(PAGE, "broken"), Err(PageError::Line(9)));
        for broken in [
            "m",
            "m ",
            "m x",
            "m 1 2 3",
            "m 1 x",
            "m{a=\"b} 1",
            "m{a=b} 1",
            "m{a=\"\\x\"} 1",
            "m{a=\"b\"}1",
            "m{=\"b\"} 1",
        ] {
            assert_eq!(ask(broken, "m"), Err(PageError::Line(1)), "{broken}");
        }
    }

    #[test]
    fn what_is_no_name_is_no_selector() {
        for text in ["", "1up", "a b", "a{b}", "a{b=\"c\"", "a{b=\"c\"}x", &"a".repeat(513)] {
            assert_eq!(text.parse::<Selector>(), Err(SelectorError), "{text}");
        }
    }
}
