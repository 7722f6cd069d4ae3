//! A running supervisor with its components, for process tests.

use std::process::Command;
use std::time::Duration;

use stent_testkit::{Process, proc, wait_for};

use super::{http, port, stent};

/// Long beside what is waited for, short beside a hang.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// `stent` with ports of its own.
pub(crate) struct Stent {
    pub(crate) command: Command,
    pub(crate) listen_port: String,
    pub(crate) admin: String,
}

impl Stent {
    /// A command with `url` behind it, which is told nothing else but its ports.
    pub(crate) fn new(url: &str) -> Self {
        let (listen_port, admin) = (port(), format!("127.0.0.1:{}", port()));
        let mut command = stent();
        command
            .env("DATABASE_URL", url)
            .env("STENT_LISTEN_PORT", &listen_port)
            .env("STENT_ADMIN_LISTEN", &admin)
            .env("STENT_LOG_FORMAT", "json");
        Self { command, listen_port, admin }
    }

    /// A command with no database behind it, no proof asked and no wait for readiness.
    pub(crate) fn alone() -> Self {
        let mut stent = Self::new("postgres://ann:canary5d1f@127.0.0.1:1/orders");
        stent.command.env("STENT_AUTH_TYPE", "trust").env("STENT_READY_TIMEOUT", "0");
        stent
    }

    /// Starts it with these arguments.
    pub(crate) fn start(&mut self, arguments: &[&str]) -> Process {
        Process::spawn(self.command.args(arguments)).expect("the binary starts")
    }

    /// Starts `stent run -- sh -c script`.
    pub(crate) fn run(&mut self, script: &str) -> Process {
        self.start(&["run", "--", "sh", "-c", script])
    }

    /// Starts `stent up` and waits until both components answer, and the agent has had a round.
    pub(crate) fn up(&mut self) -> Process {
        let process = self.start(&["up"]);
        let both = || {
            let page = self.up_lines("1", "1")?;
            page.contains("stent_agent_heartbeat_timestamp_seconds").then_some(())
        };
        wait_for("both components answer", SOON, both).expect("up");
        process
    }

    /// `Some` if the front says this of the proxy and of the agent.
    pub(crate) fn up_lines(&self, proxy: &str, agent: &str) -> Option<String> {
        let page = http::get(&self.admin, "/metrics")?;
        let says = |component: &str, up: &str| {
            page.contains(&format!("stent_up{{component=\"{component}\"}} {up}\n"))
        };
        (says("proxy", proxy) && says("agent", agent)).then_some(page)
    }
}

/// Waits for the end of a process and of its output; its exit code.
pub(crate) fn ended(process: &mut Process) -> Option<i32> {
    let code = process.wait(SOON).expect("it ends").code();
    // Nothing matches, so this returns when both streams are at their end.
    let _ = process.wait_for_match("the end of the output", SOON, |_| None::<()>);
    code
}

/// Asks a process to end by SIGTERM, and waits as [`ended`] does.
pub(crate) fn terminated(process: &mut Process) -> Option<i32> {
    process.signal(stent_testkit::Signal::TERM).expect("sent");
    ended(process)
}

/// The process of a component below a supervisor, once it is there.
pub(crate) fn component(supervisor: u32, name: &str) -> u32 {
    wait_for(name, SOON, || find(supervisor, name)).expect("the component runs")
}

/// The process of a component below a supervisor, if it is there.
pub(crate) fn find(supervisor: u32, name: &str) -> Option<u32> {
    let title = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").starts_with(&format!("stent {name} "))
    };
    proc::children(supervisor).into_iter().find(title)
}

/// Kills a process that is not a child of this one.
pub(crate) fn kill(pid: u32, signal: stent_testkit::Signal) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("a process id"), signal).expect("signalled");
}

/// Waits until none of these processes is left.
pub(crate) fn wait_until_gone(pids: &[u32]) {
    let gone = || pids.iter().all(|pid| !proc::is_alive(*pid)).then_some(());
    wait_for("the end of the processes", SOON, gone).expect("they end");
}
