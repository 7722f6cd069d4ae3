//! One `MetricDatum`, as it waits and as it is sent.
//!
//! Owns: the limits of a datum and of a request. Refuses: names and values (checked before).
//! Invariant: an entry has 1 to [`VALUES_MAX`] distinct values and as many counts, and a request
//! of entries within [`Room`] stays under CloudWatch's limits.
//!
//! Source: Amazon CloudWatch API reference, PutMetricData and MetricDatum.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};

use crate::publish::gather::Datum;
use crate::publish::series::{Series, unit};

/// The most distinct values of one datum.
pub(crate) const VALUES_MAX: usize = 150;
/// The most data of one request.
pub(crate) const DATA_MAX: usize = 1_000;
/// The most dimensions of one datum.
const DIMENSIONS_MAX: usize = 30;
/// The most bytes of one request before compression, by [`Entry::bytes`]. CloudWatch's limit is
/// 1 MB; the rest is for the request's own fields.
const BYTES_MAX: usize = 900_000;

/// One datum.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// Whose.
    pub(crate) series: Series,
    /// Milliseconds since the Unix epoch.
    pub(crate) at_unix_ms: u64,
    /// Distinct values, ascending, and how often each was read.
    pub(crate) values: Vec<(f64, u32)>,
}

/// The entries of a datum: one, but where it has more than [`VALUES_MAX`] distinct values.
pub(crate) fn entries(datum: Datum) -> Vec<Entry> {
    let Datum { series, at_unix_ms, mut values } = datum;
    values.sort_unstable_by(f64::total_cmp);
    let mut counted: Vec<(f64, u32)> = Vec::new();
    for value in values {
        match counted.last_mut() {
            Some((known, count)) if *known == value => *count += 1,
            Some(_) | None => counted.push((value, 1)),
        }
    }
    let chunks = counted.chunks(VALUES_MAX);
    chunks
        .map(|values| Entry { series: series.clone(), at_unix_ms, values: values.to_vec() })
        .collect()
}

impl Entry {
    /// An upper bound of its size in a request in CBOR, when these dimensions are added.
    fn bytes(&self, configured: &[(String, String)]) -> usize {
        // Field names, headers and the timestamp: 105 bytes; a dimension's: 17; a value and its
        // count: 9 bytes each. Source: RFC 8949 section 3.
        let dimensions = self.series.dimensions.iter().chain(configured);
        let dimensions: usize = dimensions.map(|(name, value)| 24 + name.len() + value.len()).sum();
        160 + dimensions + 18 * self.values.len()
    }

    /// The datum with the configured dimensions before its own. A configured one that has the name
    /// of one of its own gives way: a name may stand only once.
    pub(crate) fn to_datum(&self, configured: &[(String, String)]) -> MetricDatum {
        let own = &self.series.dimensions;
        let is_own = |name: &String| own.iter().any(|(known, _)| known == name);
        let added = configured.iter().filter(|(name, _)| !is_own(name));
        let room = DIMENSIONS_MAX.saturating_sub(own.len());
        let dimensions = added.take(room).chain(own).map(|(name, value)| {
            Dimension::builder().name(name.as_str()).value(value.as_str()).build()
        });
        let seconds = (self.at_unix_ms / 1_000).cast_signed();
        let nanos = u32::try_from(self.at_unix_ms % 1_000).unwrap_or(0) * 1_000_000;
        let row = self.series.metric.row();
        MetricDatum::builder()
            .set_metric_name(row.cloudwatch.map(str::to_owned))
            .set_dimensions(Some(dimensions.collect()))
            .timestamp(DateTime::from_secs_and_nanos(seconds, nanos))
            .set_values(Some(self.values.iter().map(|(value, _)| *value).collect()))
            .set_counts(Some(self.values.iter().map(|(_, count)| f64::from(*count)).collect()))
            .unit(StandardUnit::from(unit(self.series.metric)))
            .build()
    }
}

/// How much one request may still take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    data: usize,
    bytes: usize,
}

impl Room {
    /// Of a request of at most `data` data.
    pub(crate) fn of(data: usize) -> Self {
        Self { data: data.min(DATA_MAX), bytes: BYTES_MAX }
    }

    /// Takes an entry in if it fits.
    pub(crate) fn take(&mut self, entry: &Entry, configured: &[(String, String)]) -> Option<()> {
        self.data = self.data.checked_sub(1)?;
        self.bytes = self.bytes.checked_sub(entry.bytes(configured))?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stent_contract::metric::MetricId;

    fn datum(values: Vec<f64>) -> Datum {
        let series = Series { metric: MetricId::MaxWait, dimensions: Vec::new() };
        Datum { series, at_unix_ms: 1_700_000_000_123, values }
    }

    #[test]
    fn equal_values_are_one_value_with_a_count() {
        let entries = entries(datum(vec![2.0, 1.0, 2.0, 2.0]));
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].values, [(1.0, 1), (2.0, 3)]);
    }

    #[test]
    fn more_than_150_distinct_values_are_several_data_and_none_is_lost() {
        let all = entries(datum((0..400).map(f64::from).collect()));
        let sizes: Vec<usize> = all.iter().map(|entry| entry.values.len()).collect();
        assert_eq!(sizes, [150, 150, 100]);
    }

    #[test]
    fn a_configured_dimension_gives_way_to_one_of_the_same_name() {
        let mut entry = entries(datum(vec![1.0])).remove(0);
        entry.series.dimensions = vec![("Database".to_owned(), "app".to_owned())];
        let configured =
            [("Database".to_owned(), "x".to_owned()), ("ServiceName".to_owned(), "api".to_owned())];
        let datum = entry.to_datum(&configured);
        let names: Vec<_> = datum.dimensions().iter().map(|d| (d.name(), d.value())).collect();
        assert_eq!(names, [(Some("ServiceName"), Some("api")), (Some("Database"), Some("app"))]);
    }

    #[test]
    fn the_moment_of_a_reading_is_kept_to_the_millisecond() {
        let datum = entries(datum(vec![1.0])).remove(0).to_datum(&[]);
        assert_eq!(datum.timestamp().unwrap().to_millis().unwrap(), 1_700_000_000_123);
    }
}
