//! How figures are written in sentences.
//!
//! Owns: bytes, rates and times as a person reads them. Refuses: locale.
//! Invariant: the same figure gives the same text on each machine.

/// Bytes in decimal units with about three significant digits: `61.2 MB`.
pub(crate) fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = value;
    let mut unit = 0;
    while value.abs() >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let digits = if unit == 0 || value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Seconds as `45 s`, `14 min`, `3 h 20 min`, `2 d 4 h`.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    // The largest figure below is far under 2^53: the conversion saturates, it does not wrap.
    let whole = seconds.round() as u64;
    let minutes = (seconds / 60.0).round() as u64;
    let hours = (seconds / 3_600.0).round() as u64;
    if whole < 120 {
        format!("{whole} s")
    } else if minutes < 120 {
        format!("{minutes} min")
    } else if minutes < 48 * 60 {
        pair(minutes / 60, "h", minutes % 60, "min")
    } else {
        pair(hours / 24, "d", hours % 24, "h")
    }
}

fn pair(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

/// `1 transaction`, `2 transactions`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_about_three_digits() {
        let written: Vec<String> =
            [0.0, 999.0, 1_000.0, 61_234_567.0, 999_600.0, 2.5e12].map(bytes).into();
        assert_eq!(written, ["0 B", "999 B", "1.00 kB", "61.2 MB", "1.00 MB", "2.50 TB"]);
    }

    #[test]
    fn times_are_written_in_the_two_units_that_matter() {
        let written: Vec<String> =
            [-1.0, 45.4, 119.9, 3_000.0, 12_000.0, 7_200.0, 187_300.0].map(duration).into();
        assert_eq!(written, ["0 s", "45 s", "2 min", "50 min", "3 h 20 min", "2 h", "2 d 4 h"]);
    }
}
