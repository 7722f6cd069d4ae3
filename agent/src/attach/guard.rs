//! Whether a target may be looked into, and how: decided before anything is done to it.
//!
//! Owns: the decision. Refuses: reading (`subject`) and acting.
//! Invariant: a signal is allowed only where four things hold together: the executable is Node's
//! own, the process has a handler for SIGUSR1 (without one the signal ends it, as it ends Bun and
//! Python), it is ours to signal, and its loopback is ours. What is not known counts against.
//! Source: signal(7), proc_pid_status(5), Node.js documentation ("Signal events", "Debugger").

use std::path::Path;

/// SIGUSR1 is signal 10 on every Linux that Stent runs on (not on MIPS or SPARC): bit 9 of `SigCgt`.
const SIGUSR1_BIT: u64 = 1 << 9;
/// Where Node's inspector listens unless told otherwise.
const NODE_PORT: u16 = 9229;
const ROOT: u32 = 0;

/// What is known of a process. `None`: it could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The file that it runs, links followed.
    pub(crate) executable: Option<String>,
    /// Its arguments, the program's name first.
    pub(crate) arguments: Vec<String>,
    /// The signals that it has handlers for.
    pub(crate) caught: Option<u64>,
    /// Its effective user.
    pub(crate) uid: Option<u32>,
    /// Its network namespace.
    pub(crate) network: Option<String>,
    /// `NODE_OPTIONS`.
    pub(crate) node_options: Option<String>,
    /// `BUN_INSPECT`.
    pub(crate) bun_inspect: Option<String>,
}

/// What is known of the agent itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    /// Its effective user.
    pub(crate) uid: u32,
    /// Its network namespace.
    pub(crate) network: Option<String>,
}

/// How a target is looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Node: its inspector at this port, opened by SIGUSR1 if it is closed.
    Node {
        /// On loopback.
        port: u16,
    },
    /// Bun: the inspector that its environment has opened.
    Bun {
        /// On loopback.
        port: u16,
        /// With its slash.
        path: String,
    },
    /// A program that serves its own heap, as `stent-heap` does: it is asked, nothing is done to it.
    Heap {
        /// Its number in its own process namespace, which its socket is called after.
        pid_inside: u32,
    },
    /// A program into which jemalloc was preloaded: it is asked for what C's `malloc` gave out.
    Native {
        /// As above.
        pid_inside: u32,
    },
}

/// Why a target is left alone, and what would make it attributable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Another user's, or a process that hides.
    #[error(
        "its executable cannot be read: run the agent as the same user, or as root with SYS_PTRACE"
    )]
    Hidden,
    /// Neither Node nor Bun.
    #[error(
        "'{0}' is not a runtime whose heap can be read from outside: Node, and Bun with BUN_INSPECT, are; a Rust program can serve its own by stent_heap::serve_default(), a Python program with STENT_HEAP=on and Stent's folder on PYTHONPATH, and any other with libstent_heap.so in LD_PRELOAD"
    )]
    Unknown(String),
    /// Bun, and nobody has opened its inspector.
    #[error(
        "Bun's inspector is not open, and no signal can open it: start it with BUN_INSPECT=ws://127.0.0.1:6499/stent"
    )]
    BunClosed,
    /// `BUN_INSPECT` is not an address on loopback.
    #[error("BUN_INSPECT is not an address on loopback with a port: use ws://127.0.0.1:6499/stent")]
    BunElsewhere,
    /// A Node whose SIGUSR1 has no handler: the signal would end it.
    #[error(
        "this Node has no handler for SIGUSR1, the signal would end it: start it without --disable-sigusr1"
    )]
    NoHandler,
    /// Another user's process.
    #[error(
        "it runs as user {target}, the agent as {own}: run both as the same user, or the agent as root"
    )]
    OtherUser {
        /// The target's.
        target: u32,
        /// The agent's.
        own: u32,
    },
    /// Its loopback is another than ours.
    #[error(
        "its network is another than the agent's, so its inspector would be out of reach: run both in one task or pod"
    )]
    OtherNetwork,
    /// It would choose a port that cannot be known.
    #[error(
        "its inspector's port is not known beforehand: start it without --inspect-port, or with a fixed port"
    )]
    AnyPort,
    /// Another process has the inspector's port.
    #[error(
        "port {0} is taken by another process: start this one with --inspect-port of its own in NODE_OPTIONS"
    )]
    PortTaken(u16),
}

/// Decides. A pure function of what was read.
pub(crate) fn decide(subject: &Subject, own: &Own) -> Result<Way, Refusal> {
    let executable = subject.executable.as_deref().ok_or(Refusal::Hidden)?;
    let file = Path::new(executable).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if is_bun(file) {
        reachable(subject, own)?;
        return bun(subject.bun_inspect.as_deref());
    }
    if !is_node(file) {
        return Err(Refusal::Unknown(super::error::cut(file)));
    }
    if subject.caught.is_none_or(|caught| caught & SIGUSR1_BIT == 0) {
        return Err(Refusal::NoHandler);
    }
    reachable(subject, own)?;
    let options = subject.node_options.iter().flat_map(|options| options.split_ascii_whitespace());
    // Node's own flags come before the script; a later one of the same name wins.
    let flags = subject.arguments.iter().skip(1).take_while(|word| word.starts_with('-'));
    let words = options.chain(flags.map(String::as_str));
    match words.filter_map(inspect_port).last() {
        None => Ok(Way::Node { port: NODE_PORT }),
        Some(0) => Err(Refusal::AnyPort),
        Some(port) => Ok(Way::Node { port }),
    }
}

fn reachable(subject: &Subject, own: &Own) -> Result<(), Refusal> {
    let uid = subject.uid.ok_or(Refusal::Hidden)?;
    if own.uid != ROOT && own.uid != uid {
        return Err(Refusal::OtherUser { target: uid, own: own.uid });
    }
    if subject.network.is_none() || subject.network != own.network {
        return Err(Refusal::OtherNetwork);
    }
    Ok(())
}

/// `node`, `nodejs`, `node20`, `node-22`: never a name that merely begins so.
fn is_node(file: &str) -> bool {
    let rest = file.strip_prefix("nodejs").or_else(|| file.strip_prefix("node"));
    rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-'))
}

fn is_bun(file: &str) -> bool {
    ["bun", "bun.exe", "bun-profile", "bunx", "bunx.exe"].contains(&file)
}

/// The port of `--inspect-port=9230`, `--inspect=127.0.0.1:9230` and their like; 0: any.
fn inspect_port(word: &str) -> Option<u16> {
    const FLAGS: [&str; 5] =
        ["--inspect-port", "--debug-port", "--inspect", "--inspect-brk", "--inspect-wait"];
    let (flag, value) = word.split_once('=')?;
    if !FLAGS.contains(&flag) {
        return None;
    }
    let port = value.rsplit_once(':').map_or(value, |(_, port)| port);
    // A host without a port leaves the port as it is.
    port.parse().ok()
}

fn bun(inspect: Option<&str>) -> Result<Way, Refusal> {
    let address = inspect.filter(|text| !text.is_empty()).ok_or(Refusal::BunClosed)?;
    let address = address.split('?').next().unwrap_or(address);
    let rest = address.strip_prefix("ws://").unwrap_or(address);
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = place.rsplit_once(':').ok_or(Refusal::BunElsewhere)?;
    if !["127.0.0.1", "localhost", "0.0.0.0"].contains(&host) || !is_plain(path) {
        return Err(Refusal::BunElsewhere);
    }
    let port = port.parse().ok().filter(|port| *port != 0).ok_or(Refusal::BunElsewhere)?;
    Ok(Way::Bun { port, path: format!("/{path}") })
}

/// The path is written into a request: nothing in it may end the line.
fn is_plain(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
