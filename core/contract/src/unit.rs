//! Units of measure and their spelling in CloudWatch and Prometheus.
//!
//! Invariant: every metric carries a unit, and both spellings come from this one list.

/// The unit of a metric's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Bytes an hour: CloudWatch has no such unit, the name carries it.
    BytesPerHour,
    /// A number of things.
    Count,
    /// A number without dimension, 0.0 to 1.0 where it is a share.
    Ratio,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// The CloudWatch unit, as PutMetricData and EMF accept it.
    /// Source: Amazon CloudWatch API reference, `MetricDatum`.
    pub const fn cloudwatch(self) -> &'static str {
        match self {
            Self::Bytes => "Bytes",
            Self::BytesPerHour | Self::Ratio => "None",
            Self::Count => "Count",
            Self::Seconds => "Seconds",
        }
    }

    /// The suffix which a Prometheus metric of this unit ends with, before `_total`.
    /// Source: Prometheus documentation, "Metric and label naming".
    pub const fn prometheus_suffix(self) -> &'static str {
        match self {
            Self::Bytes => "_bytes",
            Self::BytesPerHour => "_bytes_per_hour",
            Self::Count => "",
            Self::Ratio => "_ratio",
            Self::Seconds => "_seconds",
        }
    }
}
