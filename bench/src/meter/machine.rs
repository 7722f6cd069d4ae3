//! The machine: what it is, and how busy all of it has been.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Processors that this program may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// CPU that was not idle since the start of the machine, microseconds, stolen time included.
/// Source: proc(5), `/proc/stat`.
pub fn busy_us() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let ticks = stat.lines().next().and_then(busy_ticks).context("the first line of /proc/stat")?;
    Ok(ticks * 1e6 / rustix::param::clock_ticks_per_second() as f64)
}

/// user nice system idle iowait irq softirq steal; guests are in user and nice already.
fn busy_ticks(line: &str) -> Option<f64> {
    let fields: Vec<f64> =
        line.strip_prefix("cpu ")?.split_ascii_whitespace().map_while(|n| n.parse().ok()).collect();
    let [user, nice, system, _, _, irq, softirq, steal] = *fields.first_chunk::<8>()?;
    Some(user + nice + system + irq + softirq + steal)
}

/// What the figures were measured on; nothing that names the machine.
pub fn facts() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    json!({
        "processor": after(&read("/proc/cpuinfo"), "model name"),
        "cores": cores(),
        "memory": after(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_for_a_disk_are_not_busy() {
        assert_eq!(busy_ticks("cpu  1 2 4 800 900 8 16 32 0 0"), Some(63.0));
        assert_eq!(busy_ticks("cpu0 1 2 4 800 900 8 16 32 0 0"), None);
    }
}
