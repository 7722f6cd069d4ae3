//! Moments as text: RFC 3339 in, and out for people.
//!
//! Owns: the calendar. Refuses: the clock and leap seconds. Invariant: what is written is read back
//! as the same second. Source for the calendar: Hinnant, "chrono-compatible low-level date
//! algorithms".

/// Seconds in a day.
const DAY: i64 = 86_400;

/// Milliseconds since the Unix epoch of `2026-01-31T12:00:00Z`, of one with a fraction, or of one
/// with another offset.
pub(super) fn unix_ms(text: &str) -> Option<u64> {
    let number = |from: usize, until: usize| text.get(from..until)?.parse::<u32>().ok();
    let separated = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let bytes = text.as_bytes();
    if !text.is_ascii() || separated.iter().any(|(at, sign)| bytes.get(*at) != Some(sign)) {
        return None;
    }
    if !matches!(bytes.get(10), Some(b'T' | b't' | b' ')) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    if !valid || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|sign: char| !sign.is_ascii_digit())?),
        None => ("", rest),
    };
    let millis: i64 =
        if fraction.is_empty() { 0 } else { format!("{fraction:0<3}")[..3].parse().ok()? };
    let at = days_from(i64::from(year), i64::from(month), i64::from(day)) * DAY
        + i64::from(hour * 3_600 + minute * 60 + second)
        - offset_s(zone)?;
    u64::try_from(at * 1_000 + millis).ok()
}

/// `Z`, or an offset such as `+02:00`; seconds.
fn offset_s(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// A Unix time as `2026-01-31 12:00:00 UTC`.
pub(super) fn text(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let (year, month, day) = civil_from(i64::try_from(days).unwrap_or(i64::MAX / DAY));
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Days since the Unix epoch.
fn days_from(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days - era * 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_with_its_fraction_and_its_offset() {
        assert_eq!(unix_ms("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix_ms("2024-02-29T23:59:59.5Z"), Some(1_709_251_199_500));
        assert_eq!(unix_ms("2024-03-01T02:00:00+02:00"), unix_ms("2024-03-01T00:00:00+00:00"));
        for wrong in ["", "2024-13-01T00:00:00Z", "2024-01-01", "2024-01-01T00:00:00", "yesterday"]
        {
            assert_eq!(unix_ms(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn each_day_of_four_centuries_is_written_and_read_back() {
        for day in 0..146_097_u64 {
            let written = text(day * 86_400 + 3_661).replace(" UTC", "Z");
            assert_eq!(unix_ms(&written), Some((day * 86_400 + 3_661) * 1_000), "{written}");
        }
    }
}
