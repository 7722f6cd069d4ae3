//! When growth reaches the limit, and how sure that is.
//!
//! Owns: the time to the limit of each shape, the profile of traffic over the day, and the 80 %
//! interval. Refuses: saying whether there is a leak.
//! Invariant: the estimate lies in its interval; nothing is forecast beyond [`HORIZON_S`].

use crate::fits::Shape;
use crate::rise::Rise;

/// Farther ends are not worth a number, seconds: a year.
pub(crate) const HORIZON_S: f64 = 365.0 * 86_400.0;
/// Normal quantile of a two-sided 80 % interval.
const Z80: f64 = 1.2816;
/// The least error of a forecast, as a share: shapes are never quite what they seem.
const ERROR_MIN: f64 = 0.11;
/// How much of the standard error of the growth counts.
const ERROR_SHARE: f64 = 1.2;
/// Error where no hour of the day's traffic was seen yet, in proportion to the hours that were not.
const ERROR_UNSEEN: f64 = 0.5;
/// Error for each window that the end is away.
const ERROR_AHEAD: f64 = 0.03;
/// Milliseconds in an hour.
const HOUR_MS: u64 = 3_600_000;

/// Requests a second by hour of the day.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profile {
    hours: [Option<f64>; 24],
    newest: Option<(u64, u64)>,
}

impl Profile {
    /// Takes the counter at a moment.
    pub(crate) fn observe(&mut self, at_ms: u64, requests: Option<u64>) {
        let Some(requests) = requests else { return };
        let Some((since_ms, before)) = self.newest else {
            self.newest = Some((at_ms, requests));
            return;
        };
        if requests < before || at_ms < since_ms {
            self.newest = Some((at_ms, requests));
            return;
        }
        // A minute at least, so that a quiet second is not a quiet hour.
        let passed_ms = at_ms - since_ms;
        if passed_ms < 60_000 {
            return;
        }
        let rate = (requests - before) as f64 * 1_000.0 / passed_ms as f64;
        let slot = &mut self.hours[(at_ms / HOUR_MS % 24) as usize];
        // An hour is forgotten over about three days of minutes.
        *slot = Some(slot.map_or(rate, |old| old + (rate - old) * 0.02));
        self.newest = Some((at_ms, requests));
    }

    /// The share of the day that was not seen yet.
    fn unseen(&self) -> f64 {
        let seen = self.hours.iter().flatten().count();
        assert!(seen <= 24, "a day has 24 hours");
        (24 - seen) as f64 / 24.0
    }

    /// Seconds until `requests` more have come, from `now_ms` on. Hours never seen have the mean
    /// rate of those that were. `None`: never, or not known.
    fn seconds_until(&self, requests: f64, now_ms: u64) -> Option<f64> {
        let seen = self.hours.iter().flatten().count();
        if seen == 0 {
            return None;
        }
        let mean = self.hours.iter().flatten().sum::<f64>() / seen as f64;
        let day: f64 = self.hours.iter().map(|rate| rate.unwrap_or(mean) * 3_600.0).sum();
        if day <= 0.0 {
            return None;
        }
        let days = (requests / day).floor();
        let mut left = requests - days * day;
        let mut seconds = days * 86_400.0;
        for hour in 0..24 {
            let rate = self.hours[((now_ms / HOUR_MS + hour) % 24) as usize].unwrap_or(mean);
            if left <= rate * 3_600.0 {
                seconds += left / rate.max(f64::MIN_POSITIVE);
                break;
            }
            left -= rate * 3_600.0;
            seconds += 3_600.0;
        }
        Some(seconds)
    }
}

/// A time to the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Forecast {
    pub(crate) seconds: f64,
    pub(crate) early: f64,
    pub(crate) late: f64,
}

/// When a rise reaches the level `roof`, seen at `now_ms`. `None`: beyond the horizon.
pub(crate) fn forecast(rise: &Rise, roof: f64, profile: &Profile, now_ms: u64) -> Option<Forecast> {
    let window_s = rise.seconds();
    // Of what lives have in common the end may lie in the future.
    let passed_s = now_ms.saturating_sub(rise.start_ms) as f64 / 1_000.0 - window_s;
    let left = (roof - rise.last).max(0.0);
    let from_end = match rise.unbounded.shape {
        Shape::Convex(power) => {
            let origin = rise.last - rise.unbounded.scale;
            window_s * (((roof - origin) / rise.unbounded.scale).max(1.0).powf(1.0 / power) - 1.0)
        }
        Shape::Line
        | Shape::Hinge(_)
        | Shape::Exponential(_)
        | Shape::Logarithm(_)
        | Shape::Ramp(_)
        | Shape::Flat
        | Shape::Step(_) => left / rise.pace().max(f64::MIN_POSITIVE),
    };
    let by_requests = match rise.traffic {
        crate::rise::Traffic::Apart { transactions } if rise.is_served() => {
            let each = rise.growth / (transactions.max(1)) as f64;
            profile.seconds_until(left / each, now_ms)
        }
        crate::rise::Traffic::Apart { .. }
        | crate::rise::Traffic::Unknown
        | crate::rise::Traffic::Explains => None,
    };
    let seconds = by_requests.unwrap_or(from_end - passed_s).max(0.0);
    if !seconds.is_finite() || seconds > HORIZON_S {
        return None;
    }
    let ahead = (seconds / window_s).min(20.0);
    let sampling = ERROR_SHARE / rise.z.max(1.0);
    let model = ERROR_AHEAD * ahead;
    let unseen = if by_requests.is_some() { ERROR_UNSEEN * profile.unseen() } else { 0.0 };
    let error = [sampling, ERROR_MIN, model, unseen].map(|part| part * part).iter().sum::<f64>();
    let error = error.sqrt();
    let factor = (Z80 * error).exp();
    let forecast = Forecast { seconds, early: seconds / factor, late: seconds * factor };
    assert!(forecast.early <= seconds && seconds <= forecast.late, "it lies in its interval");
    Some(forecast)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_still_to_come_are_counted_by_the_hour_of_the_day() {
        let mut profile = Profile::default();
        let mut total = 0;
        for minute in 0..24 * 60_u64 {
            profile.observe(minute * 60_000, Some(total));
            // Nothing at all in the first half of the day, one a second in the second.
            total += if minute < 12 * 60 { 0 } else { 60 };
        }
        let seconds = profile.seconds_until(3_600.0, 0).unwrap();
        assert!((46_000.0..48_000.0).contains(&seconds), "13 hours and not 2: {seconds}");
    }

    #[test]
    fn without_requests_nothing_is_ever_reached() {
        let mut profile = Profile::default();
        assert_eq!(profile.seconds_until(1.0, 0), None);
        profile.observe(0, Some(5));
        profile.observe(60_000, Some(5));
        assert_eq!(profile.seconds_until(1.0, 0), None);
    }
}
