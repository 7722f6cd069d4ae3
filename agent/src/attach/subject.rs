//! What `/proc` tells of a process that is to be looked into, and of the agent itself.
//!
//! Owns: reading. Refuses: deciding (`guard`).
//! Invariant: what cannot be read is `None`; a file is read up to [`FILE_MAX`], and of the
//! environment only three variables leave this file.
//! Source: proc_pid_status(5), proc_pid_environ(5), proc_pid_cmdline(5), proc_pid_stat(5).

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::guard::{Own, Subject};
use crate::attach_heap::HeapSocket;

/// The most that is read of one file: environments are up to some kilobytes.
const FILE_MAX: u64 = 256 << 10;
/// The most that is read of the list of sockets: some ten thousand.
const SOCKETS_MAX: u64 = 1 << 20;

/// A process, under the root at which `/proc` is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    folder: PathBuf,
}

/// Who a process is, in its own words: what its inspector must say as well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Identity {
    /// Its number in its own process namespace.
    pub(crate) pid_inside: u32,
    /// How long it has been running, seconds.
    pub(crate) age: f64,
}

impl Place {
    /// The process `pid`.
    pub(crate) fn new(root: &Path, pid: u32) -> Self {
        Self { folder: root.join("proc").join(pid.to_string()) }
    }

    /// Everything that the guard wants to know.
    pub(crate) fn subject(&self) -> Subject {
        let status = self.text("status").unwrap_or_default();
        let environment = self.words("environ");
        let variable = |name: &str| {
            let found = environment.iter().find_map(|word| word.strip_prefix(name));
            found.and_then(|rest| rest.strip_prefix('=')).map(str::to_owned)
        };
        Subject {
            executable: self.link("exe").map(|path| {
                // A program that was replaced while it runs, as an upgrade does.
                path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned()
            }),
            arguments: self.words("cmdline"),
            caught: field(&status, "SigCgt:").and_then(|mask| u64::from_str_radix(mask, 16).ok()),
            uid: effective_uid(&status),
            network: self.link("ns/net"),
            node_options: variable("NODE_OPTIONS"),
            bun_inspect: variable("BUN_INSPECT"),
        }
    }

    /// Who it is at this moment. `None`: it is gone.
    pub(crate) fn identity(&self) -> Option<Identity> {
        let status = self.text("status")?;
        let numbers = field(&status, "NSpid:").or_else(|| field(&status, "Pid:"))?;
        let pid_inside = numbers.split_ascii_whitespace().last()?.parse().ok()?;
        let started = self.started_ticks()? as f64 / ticks_per_second();
        let uptime = read(&self.folder.parent()?.join("uptime"))?;
        let uptime: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
        Some(Identity { pid_inside, age: uptime - started })
    }

    /// Whether it, or another process of its network, serves this heap of process `pid_inside`.
    pub(crate) fn serves(&self, socket: &HeapSocket, pid_inside: u32) -> bool {
        let name = socket.listed(pid_inside);
        let Ok(sockets) = File::open(self.folder.join("net/unix")) else { return false };
        // What is beyond is not looked at: the list has a hundred bytes a socket.
        let lines = BufReader::new(sockets.take(SOCKETS_MAX)).lines();
        lines.map_while(Result::ok).any(|line| line.ends_with(&name))
    }

    /// When it started: tells two processes of one number apart.
    pub(crate) fn started_ticks(&self) -> Option<u64> {
        self.stat(22)
    }

    /// CPU time so far, seconds.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        Some((self.stat(14)? + self.stat(15)?) as f64 / ticks_per_second())
    }

    /// A numeric field of `stat`, by its number in the manual. The command ends at the last `)`.
    fn stat(&self, number: usize) -> Option<u64> {
        let text = self.text("stat")?;
        let (_, tail) = text.rsplit_once(')')?;
        tail.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
    }

    fn text(&self, name: &str) -> Option<String> {
        read(&self.folder.join(name))
    }

    fn words(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split('\0').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    fn link(&self, name: &str) -> Option<String> {
        std::fs::read_link(self.folder.join(name)).ok()?.into_os_string().into_string().ok()
    }
}

/// The agent itself.
pub(crate) fn own(root: &Path) -> Own {
    let network = std::fs::read_link(root.join("proc/self/ns/net")).ok();
    let network = network.and_then(|link| link.into_os_string().into_string().ok());
    Own { uid: rustix::process::geteuid().as_raw(), network }
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second().max(1) as f64
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Real, effective, saved, file system.
fn effective_uid(status: &str) -> Option<u32> {
    field(status, "Uid:")?.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use stent_testkit::TempDir;

    use super::*;

    /// A process that exists as files only.
    fn fake() -> (TempDir, Place) {
        let root = TempDir::new("subject").unwrap();
        let folder = root.path().join("proc/7");
        std::fs::create_dir_all(folder.join("ns")).unwrap();
        std::os::unix::fs::symlink("/usr/bin/node (deleted)", folder.join("exe")).unwrap();
        std::os::unix::fs::symlink("net:[42]", folder.join("ns/net")).unwrap();
        let status =
            "Name:\tnode\nPid:\t7\nUid:\t1\t2\t3\t4\nNSpid:\t7\t1\nSigCgt:\t0000000188004202\n";
        std::fs::write(folder.join("status"), status).unwrap();
        std::fs::write(folder.join("environ"), "A=1\0NODE_OPTIONS=--x\0BUN_INSPECT_BRK=no\0")
            .unwrap();
        std::fs::write(folder.join("cmdline"), "node\0server.js\0").unwrap();
        let stat = "7 (a ) b) S 1 1 1 0 -1 0 0 0 0 0 250 50 0 0 20 0 11 0 1000 5 6";
        std::fs::write(folder.join("stat"), stat).unwrap();
        std::fs::write(root.path().join("proc/uptime"), "30.50 99.00\n").unwrap();
        let place = Place::new(root.path(), 7);
        (root, place)
    }

    #[test]
    fn a_process_is_read_as_its_files_say() {
        let (_root, place) = fake();
        let subject = place.subject();
        assert_eq!(subject.executable.as_deref(), Some("/usr/bin/node"));
        assert_eq!(subject.arguments, ["node", "server.js"]);
        assert_eq!((subject.caught, subject.uid), (Some(0x1_8800_4202), Some(2)));
        assert_eq!(subject.network.as_deref(), Some("net:[42]"));
        assert_eq!(subject.node_options.as_deref(), Some("--x"));
        assert_eq!(subject.bun_inspect, None);
    }

    #[test]
    fn a_process_in_a_container_is_known_by_its_number_there_and_by_its_age() {
        let (_root, place) = fake();
        let ticks = ticks_per_second();
        let identity = place.identity().unwrap();
        assert_eq!(identity.pid_inside, 1);
        assert!((identity.age - (30.5 - 1000.0 / ticks)).abs() < 1e-9);
        assert_eq!(place.cpu_seconds(), Some(300.0 / ticks));
    }

    #[test]
    fn the_socket_of_a_heap_is_found_by_its_whole_name() {
        let (root, place) = fake();
        let serves = |pid| place.serves(&HeapSocket::OfPid, pid);
        assert!(!serves(1), "there is no list");
        let net = root.path().join("proc/7/net");
        std::fs::create_dir_all(&net).unwrap();
        let line = "0000000000000000: 00000002 00000000 00010000 0001 01 4711 ";
        let list = format!(
            "Num RefCount Protocol Flags Type St Inode Path\n{line}@stent-heap-17\n\
             {line}@stent-native-18\n{line}/run/x\n"
        );
        std::fs::write(net.join("unix"), list).unwrap();
        assert!(serves(17) && !serves(1) && !serves(7));
        let native = |pid| place.serves(&HeapSocket::NativeOfPid, pid);
        assert!(native(18) && !native(17) && !serves(18));
    }

    #[test]
    fn a_process_that_is_gone_is_unknown_in_everything() {
        let root = TempDir::new("subject").unwrap();
        let place = Place::new(root.path(), 9);
        assert_eq!(place.subject(), Subject::default());
        assert_eq!((place.identity(), place.cpu_seconds()), (None, None));
    }

    #[test]
    fn a_process_reads_itself() {
        let root = Path::new("/");
        let place = Place::new(root, std::process::id());
        let (subject, own) = (place.subject(), own(root));
        assert_eq!((subject.uid, subject.network), (Some(own.uid), own.network));
        assert!(place.identity().is_some_and(|identity| identity.age > -1.0));
    }
}
