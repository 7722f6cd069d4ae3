//! Seconds since 1970 as AWS writes them, both ways, and as PostgreSQL does.
//!
//! Refuses: time zones (all is UTC) and leap seconds (Unix time has none).
//! Invariant: what is read and written lies between the years 1970 and 9999.

/// 9999-12-31T23:59:59Z.
const SECONDS_MAX: u64 = 253_402_300_799;
const DAY: u64 = 86_400;

/// A text that is not `YYYY-MM-DDTHH:MM:SSZ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time of the form 2026-01-31T23:59:59Z")]
pub struct BadTime;

/// `YYYY-MM-DD HH:MM:SS UTC`.
pub fn sql_time(seconds: u64) -> String {
    let ([year, month, day], [hour, minute, second]) = taken_apart(seconds);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day; hour, minute and second.
fn taken_apart(seconds: u64) -> ([u64; 3], [u64; 3]) {
    let seconds = seconds.min(SECONDS_MAX);
    let (year, month, day) = date(seconds / DAY);
    let rest = seconds % DAY;
    ([year, month, day], [rest / 3_600, rest / 60 % 60, rest % 60])
}

/// `YYYYMMDDTHHMMSSZ`.
pub(crate) fn stamp(seconds: u64) -> String {
    let ([year, month, day], [hour, minute, second]) = taken_apart(seconds);
    let stamp = format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z");
    assert_eq!(stamp.len(), 16, "four digits of year are enough until 9999");
    stamp
}

/// Reads the `Expiration` of credentials: `YYYY-MM-DDTHH:MM:SSZ`, with or without a fraction, which
/// is dropped.
pub fn parse_time(text: &str) -> Result<u64, BadTime> {
    let text = text.strip_suffix('Z').ok_or(BadTime)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let bytes = whole.as_bytes();
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(byte, wanted): (&u8, &u8)| match wanted {
        b'd' => byte.is_ascii_digit(),
        exact => byte == exact,
    };
    if !is_digits(fraction) || bytes.len() != shape.len() || !bytes.iter().zip(shape).all(fits) {
        return Err(BadTime);
    }
    let number = |at: std::ops::Range<usize>| whole[at].parse::<u64>().map_err(|_| BadTime);
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if year < 1970 || hour > 23 || minute > 59 || second > 59 {
        return Err(BadTime);
    }
    let days = days_before(year, month, day).ok_or(BadTime)?;
    let seconds = days * DAY + hour * 3_600 + minute * 60 + second;
    assert!(seconds <= SECONDS_MAX, "four digits of year");
    Ok(seconds)
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first day of a year from 1970 on.
const fn days_to_year(year: u64) -> u64 {
    let before = year - 1;
    let leap_days = before / 4 - before / 100 + before / 400;
    // 477: the leap days before 1970.
    (year - 1970) * 365 + leap_days - 477
}

fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return None;
    }
    let months: u64 = (1..month).map(|month| days_of(year, month)).sum();
    Some(days_to_year(year) + months + day - 1)
}

/// Year, month and day of a day since 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / 366;
    while days_to_year(year + 1) <= days {
        year += 1;
    }
    let mut left = days - days_to_year(year);
    let mut month = 1;
    while left >= days_of(year, month) {
        left -= days_of(year, month);
        month += 1;
    }
    assert!(month <= 12, "a year has twelve months");
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_are_written_and_read() {
        for (seconds, compact, long) in [
            (0, "19700101T000000Z", "1970-01-01T00:00:00Z"),
            (951_782_399, "20000228T235959Z", "2000-02-28T23:59:59Z"),
            (951_782_400, "20000229T000000Z", "2000-02-29T00:00:00.25Z"),
            (1_709_164_800, "20240229T000000Z", "2024-02-29T00:00:00Z"),
            (1_772_323_199, "20260228T235959Z", "2026-02-28T23:59:59.999999Z"),
            (4_107_542_400, "21000301T000000Z", "2100-03-01T00:00:00Z"),
            (SECONDS_MAX, "99991231T235959Z", "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(stamp(seconds), compact);
            assert_eq!(parse_time(long), Ok(seconds), "{long}");
            let (date, time) = long.split_once('T').unwrap();
            assert_eq!(sql_time(seconds), format!("{date} {} UTC", &time[..8]));
        }
    }

    #[test]
    fn each_day_until_2200_reads_as_it_is_written() {
        for day in 0..(230 * 366) {
            let (year, month, of_month) = date(day);
            assert_eq!(days_before(year, month, of_month), Some(day));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "Z",
            "2026-01-31T23:59:59",
            "2026-02-29T00:00:00Z",
            "2026-00-10T00:00:00Z",
            "2026-13-10T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T23:60:00Z",
            "1969-12-31T23:59:59Z",
            "2026-01-31T23:59:59.Z",
            "2026-01-31T23:59:59+0100Z",
            "+026-01-31T23:59:59Z",
            "2026-01-31 23:59:59Z",
            "\u{661}26-01-31T23:59:59Z",
        ] {
            assert_eq!(parse_time(text), Err(BadTime), "{text}");
        }
    }
}
