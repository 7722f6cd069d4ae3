//! CloudWatch's evaluation of an alarm on one metric.
//!
//! Owns: how data points, missing ones among them, become a state. Refuses: metric math,
//! percentiles, composite alarms, alarms on PromQL.
//! Invariant: a pure function of the points in the evaluation range and the state so far.
//!
//! Two things the documentation leaves open are fixed here, and named: how far CloudWatch looks
//! back ([`MetricAlarm::range`]), and what becomes of an alarm whose few points all breach but are
//! too young ([`MetricAlarm::next`], which then keeps the state).
//!
//! Source: Amazon CloudWatch user guide, "Alarm evaluation" and "Configuring how CloudWatch alarms
//! treat missing data".

use serde_json::Value;
use thiserror::Error;

/// The state of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `OK`.
    Ok,
    /// `ALARM`.
    Alarm,
    /// `INSUFFICIENT_DATA`, where every alarm starts.
    InsufficientData,
}

/// What a period came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datapoint {
    /// Within the threshold.
    Good,
    /// Beyond the threshold.
    Breaching,
    /// Nothing was published.
    Missing,
}

/// `TreatMissingData`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// `missing`.
    Missing,
    /// `ignore`.
    Ignore,
    /// `breaching`.
    Breaching,
    /// `notBreaching`.
    NotBreaching,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Statistic {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// Why a PutMetricAlarm document cannot be evaluated.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// A field is absent or of another type.
    #[error("read {0}: absent or of the wrong type")]
    Field(&'static str),
    /// A field has a value that PutMetricAlarm does not know, or that this evaluator refuses.
    #[error("read {0}: cannot evaluate {1}")]
    Value(&'static str, String),
}

/// The part of a PutMetricAlarm document that decides its state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricAlarm {
    period_seconds: u64,
    periods: usize,
    datapoints: usize,
    statistic: Statistic,
    operator: Operator,
    threshold: f64,
    treatment: Treatment,
}

impl MetricAlarm {
    /// Reads a PutMetricAlarm document (an alarm on one metric with a static threshold).
    pub fn parse(document: &Value) -> Result<Self, ParseError> {
        let periods = number(document, "EvaluationPeriods")?;
        let datapoints = match document.get("DatapointsToAlarm") {
            Some(_) => number(document, "DatapointsToAlarm")?,
            None => periods,
        };
        if datapoints == 0 || datapoints > periods {
            return Err(ParseError::Value("DatapointsToAlarm", datapoints.to_string()));
        }
        let period_seconds = number(document, "Period")?;
        if !matches!(period_seconds, 10 | 20 | 30) && !period_seconds.is_multiple_of(60) {
            return Err(ParseError::Value("Period", period_seconds.to_string()));
        }
        let threshold = document.get("Threshold").and_then(Value::as_f64);
        Ok(Self {
            period_seconds,
            periods: usize::try_from(periods)
                .map_err(|_| ParseError::Field("EvaluationPeriods"))?,
            datapoints: usize::try_from(datapoints)
                .map_err(|_| ParseError::Field("DatapointsToAlarm"))?,
            statistic: statistic(document)?,
            operator: operator(document)?,
            threshold: threshold.ok_or(ParseError::Field("Threshold"))?,
            treatment: treatment(document)?,
        })
    }

    /// The length of a period, seconds.
    pub const fn period_seconds(&self) -> u64 {
        self.period_seconds
    }

    /// How many periods CloudWatch looks back: N and some more. AWS does not publish the number;
    /// the guide's tables use 5 for N = 3, and this keeps to them.
    pub const fn range(&self) -> usize {
        let third = self.periods / 3;
        self.periods + if third > 2 { third } else { 2 }
    }

    /// The datum of one period, from the values published in it. None: none, whatever the statistic.
    pub fn statistic(&self, values: &[f64]) -> Option<f64> {
        let first = *values.first()?;
        let sum: f64 = values.iter().sum();
        let count = values.len() as f64;
        Some(match self.statistic {
            Statistic::SampleCount => count,
            Statistic::Average => sum / count,
            Statistic::Sum => sum,
            Statistic::Minimum => values.iter().copied().fold(first, f64::min),
            Statistic::Maximum => values.iter().copied().fold(first, f64::max),
        })
    }

    /// What a period with this datum comes to.
    pub fn judge(&self, datum: Option<f64>) -> Datapoint {
        let Some(value) = datum else { return Datapoint::Missing };
        let breaching = match self.operator {
            Operator::Greater => value > self.threshold,
            Operator::GreaterOrEqual => value >= self.threshold,
            Operator::Less => value < self.threshold,
            Operator::LessOrEqual => value <= self.threshold,
        };
        if breaching { Datapoint::Breaching } else { Datapoint::Good }
    }

    /// The state after looking at the evaluation range, oldest period first.
    pub fn next(&self, range: &[Datapoint], current: State) -> State {
        let real: Vec<Datapoint> =
            range.iter().copied().filter(|point| *point != Datapoint::Missing).collect();
        if real.is_empty() {
            return match self.treatment {
                Treatment::Missing => State::InsufficientData,
                Treatment::Ignore => current,
                Treatment::Breaching => State::Alarm,
                Treatment::NotBreaching => State::Ok,
            };
        }
        // Older points are not looked at when there are N newer ones; gaps do not count as points.
        let looked_at = &real[real.len().saturating_sub(self.periods)..];
        let breaching = looked_at.iter().filter(|p| **p == Datapoint::Breaching).count();
        let filled = self.periods - looked_at.len();
        let counted = match self.treatment {
            Treatment::Breaching => breaching + filled,
            Treatment::Missing | Treatment::Ignore | Treatment::NotBreaching => breaching,
        };
        if counted >= self.datapoints {
            return State::Alarm;
        }
        let all_breach = breaching == looked_at.len();
        match self.treatment {
            Treatment::Breaching | Treatment::NotBreaching => State::Ok,
            Treatment::Missing | Treatment::Ignore if filled == 0 || !all_breach => State::Ok,
            Treatment::Missing if self.oldest_age(range) >= self.datapoints => State::Alarm,
            Treatment::Missing => current,
            Treatment::Ignore => current,
        }
    }

    /// How many periods ago the oldest real point is; 1 is the newest period, 0 is no point.
    fn oldest_age(&self, range: &[Datapoint]) -> usize {
        debug_assert!(range.len() <= self.range(), "more points than CloudWatch retrieves");
        let oldest = range.iter().position(|point| *point != Datapoint::Missing);
        oldest.map_or(0, |index| range.len() - index)
    }
}

fn number(document: &Value, field: &'static str) -> Result<u64, ParseError> {
    let value = document.get(field).and_then(Value::as_u64);
    value.filter(|number| *number > 0).ok_or(ParseError::Field(field))
}

fn text<'a>(document: &'a Value, field: &'static str) -> Result<&'a str, ParseError> {
    document.get(field).and_then(Value::as_str).ok_or(ParseError::Field(field))
}

fn statistic(document: &Value) -> Result<Statistic, ParseError> {
    match text(document, "Statistic")? {
        "SampleCount" => Ok(Statistic::SampleCount),
        "Average" => Ok(Statistic::Average),
        "Sum" => Ok(Statistic::Sum),
        "Minimum" => Ok(Statistic::Minimum),
        "Maximum" => Ok(Statistic::Maximum),
        other => Err(ParseError::Value("Statistic", other.to_owned())),
    }
}

fn operator(document: &Value) -> Result<Operator, ParseError> {
    match text(document, "ComparisonOperator")? {
        "GreaterThanThreshold" => Ok(Operator::Greater),
        "GreaterThanOrEqualToThreshold" => Ok(Operator::GreaterOrEqual),
        "LessThanThreshold" => Ok(Operator::Less),
        "LessThanOrEqualToThreshold" => Ok(Operator::LessOrEqual),
        other => Err(ParseError::Value("ComparisonOperator", other.to_owned())),
    }
}

fn treatment(document: &Value) -> Result<Treatment, ParseError> {
    if document.get("TreatMissingData").is_none() {
        return Ok(Treatment::Missing);
    }
    match text(document, "TreatMissingData")? {
        "missing" => Ok(Treatment::Missing),
        "ignore" => Ok(Treatment::Ignore),
        "breaching" => Ok(Treatment::Breaching),
        "notBreaching" => Ok(Treatment::NotBreaching),
        other => Err(ParseError::Value("TreatMissingData", other.to_owned())),
    }
}
