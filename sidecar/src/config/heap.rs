//! Where targets say how large their heaps are: pages of metrics, and the names on them.
//!
//! Refuses: whether anybody answers there. Invariant: at most one page for each target.

use stent_agent::{HeapMetrics, PageUrl, PageUrlError, Selector, SelectorError};

use super::keys::Settings;
use super::value::{KeyType, TomlShape};

/// The most pages, one for each of the most targets.
const PAGES_MAX: usize = 32;

/// Pages with the names of their targets; `None`: the first target's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeapPages(pub Vec<(Option<String>, PageUrl)>);

impl KeyType for HeapPages {
    const TOML: TomlShape = TomlShape::List;
    const EXPECTS: &'static str =
        "http://host:port/path or name=http://host:port/path, with commas between them";
    fn parse(text: &str) -> Result<Self, String> {
        let mut pages: Vec<(Option<String>, PageUrl)> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (target, url) = match part.split_once('=') {
                Some((name, url)) if !name.contains("://") => (Some(name.trim().to_owned()), url),
                Some(_) | None => (None, part),
            };
            let url: PageUrl = url
                .trim()
                .parse()
                .map_err(|error: PageUrlError| format!("holds an address that {error}"))?;
            if target.as_deref() == Some("") {
                return Err("holds an empty name".to_owned());
            }
            if pages.iter().any(|(other, _)| *other == target) {
                return Err("has two pages for one target".to_owned());
            }
            pages.push((target, url));
        }
        if pages.len() > PAGES_MAX {
            return Err(format!("has more than {PAGES_MAX} pages"));
        }
        Ok(Self(pages))
    }
    fn show(&self) -> String {
        let page = |(target, url): &(Option<String>, PageUrl)| match target {
            Some(target) => format!("{target}={url}"),
            None => url.to_string(),
        };
        self.0.iter().map(page).collect::<Vec<_>>().join(",")
    }
}

/// The name of a metric, perhaps with labels; `None` (written empty): well-known ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricSelector(pub Option<Selector>);

impl KeyType for MetricSelector {
    const TOML: TomlShape = TomlShape::Text;
    const EXPECTS: &'static str =
        "the name of a metric, perhaps with {label=\"value\"}, or nothing";
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse()
            .map(|selector| Self(Some(selector)))
            .map_err(|error: SelectorError| error.to_string())
    }
    fn show(&self) -> String {
        self.0.as_ref().map(Selector::to_string).unwrap_or_default()
    }
}

/// The pages with the names on them.
pub(super) fn resolve(settings: &Settings) -> Vec<HeapMetrics> {
    let page = |(target, url): &(Option<String>, PageUrl)| HeapMetrics {
        target: target.clone(),
        url: url.clone(),
        heap: settings.heap_metric.value.0.clone(),
        requests: settings.requests_metric.value.0.clone(),
    };
    settings.heap_metrics_url.value.0.iter().map(page).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_the_first_targets_or_those_of_a_name() {
        let text = "http://127.0.0.1:9464/metrics,worker=http://127.0.0.1:9465/metrics?a=b";
        let pages = HeapPages::parse(text).unwrap();
        let names: Vec<_> = pages.0.iter().map(|(name, _)| name.as_deref()).collect();
        assert_eq!(names, [None, Some("worker")]);
        assert_eq!(pages.show(), text);
        assert_eq!(HeapPages::parse("http://h/m?a=b").unwrap().0[0].0, None);
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for text in
            ["https://h/m", "h:1", "a=b", "=http://h/", "http://u:p@h/", "http://a/,http://b/"]
        {
            assert!(HeapPages::parse(text).is_err(), "{text}");
        }
    }
}
