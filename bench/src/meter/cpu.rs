//! CPU of processes by the kernel's own account, to the nanosecond where it gives that.
//!
//! Source: proc(5); Documentation/scheduler/sched-stats.rst, `/proc/<pid>/schedstat`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use stent_testkit::{proc, wait_until};

/// A backend needs less to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// CPU of all threads of a process so far, microseconds.
///
/// Living threads are exact. Threads that have ended are in the process's own account only, which
/// is exact too and shown in ticks, rounded down; so whichever is larger is the nearer one.
pub fn process_us(pid: u32) -> Result<f64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).context("list a process's threads")?;
    let living: f64 = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| first_number(&text))
        .sum();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("read a process's stat")?;
    let shown = ticks_us(&stat, 0..2).context("a process's CPU time")?;
    Ok((living / 1e3).max(shown))
}

/// CPU of a process, of its children, and of those children that it has waited for.
pub fn family_us(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let waited = ticks_us(&stat, 2..4).context("a process's children's CPU time")?;
    let living = proc::children(pid).into_iter().filter_map(|pid| process_us(pid).ok());
    Ok(process_us(pid)? + waited + living.sum::<f64>())
}

/// Waits until no child of a process is coming or going: one that is would be in neither account.
pub fn settle(pid: u32) -> Result<()> {
    let mut before = Vec::new();
    wait_until("the server's processes to settle", PATIENCE, || {
        let now = proc::children(pid);
        let settled = now == before && now.iter().all(|child| proc::is_alive(*child));
        before = now;
        settled
    })
}

fn first_number(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// Sums fields of `/proc/PID/stat`, counted from utime (14th). Source: proc(5).
fn ticks_us(stat: &str, fields: std::ops::Range<usize>) -> Option<f64> {
    let after_name = stat.rsplit_once(") ")?.1;
    let values: Vec<&str> = after_name.split(' ').skip(11).collect();
    let ticks: f64 = values.get(fields)?.iter().filter_map(|value| value.parse::<f64>().ok()).sum();
    Some(ticks * 1e6 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 30 20 5 1 0";
        let tick = 1e6 / rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(ticks_us(stat, 0..2), Some(50.0 * tick));
        assert_eq!(ticks_us(stat, 2..4), Some(6.0 * tick));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_has_ended_stays_in_the_account() {
        let own = std::process::id();
        let before = process_us(own).unwrap();
        let spin = || {
            let began = std::time::Instant::now();
            while began.elapsed() < Duration::from_millis(100) {
                std::hint::spin_loop();
            }
        };
        std::thread::spawn(spin).join().unwrap();
        // Under load the thread may have had less than all of its time: only that it counts.
        wait_until("the account to grow", PATIENCE, || process_us(own).unwrap() > before).unwrap();
    }
}
