//! A network between the endpoints and PostgreSQL, with a router that can stop forwarding: a silent
//! partition as TCP sees it. Nothing is answered, nobody is told, and the kernel sends again.
//!
//! ```text
//!   endpoint, clients ── 10.153.n.0/30 ── router ── 10.153.n.4/30 ── the way to PostgreSQL
//!   (this namespace)                  (a namespace)                  (a namespace)
//! ```
//!
//! Owns: two network namespaces, held by a process each, and what connects them. Refuses: a network
//! without root: [`Network::make`] says that it is not to be had. Invariant: all of it goes with those
//! processes, however this one ends; the machine's own addresses and routes stay.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use stent_testkit::{Process, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Network {
    router: Process,
    far: Process,
    /// Of the far side.
    address: Ipv4Addr,
}

/// What the router does with what is not for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forwarding {
    On,
    /// It is dropped without a word. Source: Linux, `ip_error` in net/ipv4/route.c.
    Off,
}

impl Network {
    /// A network; `None` where the rights or the programs for it are not here.
    pub(super) fn make() -> Option<Self> {
        Self::build().inspect_err(|error| eprintln!("faults: no network: {error:#}")).ok()
    }

    fn build() -> Result<Self> {
        let number = (std::process::id() % 250) as u8;
        let ip = |last: u8| Ipv4Addr::new(10, 153, number, last);
        let network = Self { router: namespace()?, far: namespace()?, address: ip(6) };
        let (router, far) = (network.router.pid(), network.far.pid());
        // Names of interfaces have 15 characters at most.
        let own = format!("stf{number}");
        let near = format!("link add {own} type veth peer name near netns {router}");
        run(None, &near)?;
        run(None, &format!("addr add {}/30 dev {own}", ip(1)))?;
        run(None, &format!("link set {own} up"))?;
        run(Some(router), &format!("addr add {}/30 dev near", ip(2)))?;
        run(Some(router), &format!("link add far type veth peer name eth0 netns {far}"))?;
        run(Some(router), &format!("addr add {}/30 dev far", ip(5)))?;
        run(Some(far), &format!("addr add {}/30 dev eth0", ip(6)))?;
        for (namespace, interface) in [(router, "near"), (router, "far"), (far, "eth0")] {
            run(Some(namespace), &format!("link set {interface} up"))?;
        }
        run(Some(far), &format!("route add default via {}", ip(5)))?;
        run(None, &format!("route add {}/30 via {}", ip(4), ip(2)))?;
        network.forward(Forwarding::On)?;
        Ok(network)
    }

    /// The address of the far side, as the endpoints know it.
    pub(super) const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A socket that listens on the far side.
    pub(super) fn listen(&self) -> Result<TcpListener> {
        let (pid, address) = (self.far.pid(), self.address);
        // A thread of its own, which goes there and does not come back.
        let listening = std::thread::spawn(move || {
            let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network)?;
            TcpListener::bind((address, 0))
        });
        let listening = listening.join().map_err(|_| anyhow!("a thread panicked"))?;
        listening.context("listen on the far side")
    }

    /// Nothing passes from here on.
    pub(super) fn cut(&self) -> Result<()> {
        self.forward(Forwarding::Off)
    }

    /// Everything passes again.
    pub(super) fn mend(&self) -> Result<()> {
        self.forward(Forwarding::On)
    }

    fn forward(&self, forwarding: Forwarding) -> Result<()> {
        let value = match forwarding {
            Forwarding::On => 1,
            Forwarding::Off => 0,
        };
        let script = format!("echo {value} > /proc/sys/net/ipv4/ip_forward");
        let mut command = within(self.router.pid());
        done(command.args(["sh", "-c", &script]))
    }
}

/// A network namespace, which lasts as long as the process in it.
fn namespace() -> Result<Process> {
    let mut command = Command::new("unshare");
    let mut process = Process::spawn(command.args(["--net", "sleep", "infinity"]))?;
    let own = std::fs::read_link("/proc/self/ns/net")?;
    wait_until("a network namespace", PATIENCE, || {
        let its = std::fs::read_link(format!("/proc/{}/ns/net", process.pid()));
        its.is_ok_and(|its| its != own) || process.status().is_some()
    })?;
    ensure!(process.status().is_none(), "unshare --net: {}", process.output());
    Ok(process)
}

/// A command that runs where a process's network is.
fn within(pid: u32) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", &pid.to_string(), "--net"]);
    command
}

/// Runs `ip`, here or where a process's network is.
fn run(pid: Option<u32>, arguments: &str) -> Result<()> {
    let mut command = match pid {
        None => Command::new("ip"),
        Some(pid) => {
            let mut command = within(pid);
            command.arg("ip");
            command
        }
    };
    done(command.args(arguments.split(' ')))
}

fn done(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn what_is_sent_during_a_cut_arrives_after_it_and_nobody_is_told() {
        let Some(network) = Network::make() else {
            eprintln!("not tested: this user may not make a network");
            return;
        };
        let listener = network.listen().unwrap();
        let mut here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut there, _) = listener.accept().unwrap();
        network.cut().unwrap();
        here.write_all(b"lost, and sent again").unwrap();
        there.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut buffer = [0; 64];
        let error = there.read(&mut buffer).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        network.mend().unwrap();
        there.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let read = there.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..read], b"lost, and sent again");
    }
}
