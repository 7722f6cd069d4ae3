//! Values that name a place: listen addresses, admin endpoints, targets.
//!
//! Owns: their parsers. Refuses: host names, because a listener that depends on a name server
//! may listen somewhere else tomorrow.
//! Invariant: `parse(show(v))` gives `v` again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use stent_agent::config::{Endpoint, Target};
use stent_proxy::config::AdminAddr;

use super::value::{KeyType, TomlShape};

/// The addresses of the TCP listener; empty: no TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddr(pub Vec<IpAddr>);

/// The most addresses that are listened on.
const LISTEN_ADDRS_MAX: usize = 16;

impl KeyType for ListenAddr {
    const TOML: TomlShape = TomlShape::List;
    const EXPECTS: &'static str =
        "IP addresses with commas between them, * for every IPv4 address, or nothing for no TCP";
    fn parse(text: &str) -> Result<Self, String> {
        let mut addresses = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let address = ip(part)?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.len() > LISTEN_ADDRS_MAX {
            return Err(format!("names more than {LISTEN_ADDRS_MAX} addresses"));
        }
        Ok(Self(addresses))
    }
    fn show(&self) -> String {
        self.0.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",")
    }
}

fn ip(part: &str) -> Result<IpAddr, String> {
    match part {
        "*" => Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        "localhost" => Err("is a host name (its address is 127.0.0.1 or ::1)".to_owned()),
        _ => part.parse().map_err(|_| "is not an IP address".to_owned()),
    }
}

/// Where an HTTP endpoint is: what `stent_proxy` and `stent_agent` each spell their own way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket; a path that begins with a NUL byte is in Linux's abstract namespace.
    Unix(PathBuf),
}

impl Address {
    /// As the proxy takes it.
    pub fn for_proxy(&self) -> AdminAddr {
        match self {
            Self::Tcp(address) => AdminAddr::Tcp(*address),
            Self::Unix(path) => AdminAddr::Unix(path.clone()),
        }
    }

    /// As the agent takes it.
    pub fn for_agent(&self) -> Endpoint {
        match self {
            Self::Tcp(address) => Endpoint::Tcp(*address),
            Self::Unix(path) => Endpoint::Unix(path.clone()),
        }
    }

    /// The address to connect to: a wildcard listener is reached over loopback.
    pub fn reachable(&self) -> Self {
        match self {
            Self::Tcp(address) => {
                Self::Tcp(SocketAddr::new(reachable_ip(address.ip()), address.port()))
            }
            Self::Unix(path) => Self::Unix(path.clone()),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => match abstract_name(path) {
                Some(name) => write!(f, "unix:@{name}"),
                None => write!(f, "unix:{}", path.display()),
            },
        }
    }
}

/// Loopback for a wildcard, else the address itself.
pub(crate) fn reachable_ip(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(v6) if v6.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        concrete @ (IpAddr::V4(_) | IpAddr::V6(_)) => concrete,
    }
}

/// The name of an abstract socket, whose path begins with a NUL byte.
fn abstract_name(path: &Path) -> Option<String> {
    let name = path.as_os_str().as_bytes().strip_prefix(b"\0")?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// The longest path of a unix socket: `sun_path` less its closing NUL.
/// Source: unix(7) on Linux (108 bytes), `sys/un.h` on macOS and the BSDs (104).
pub(crate) const SUN_PATH_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Where an admin endpoint is; `None` (written empty): nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionalAddress(pub Option<Address>);

impl KeyType for OptionalAddress {
    const TOML: TomlShape = TomlShape::Text;
    const EXPECTS: &'static str =
        "address:port, unix:/path, unix:@name (Linux), or nothing to turn it off";
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path).map(|path| Self(Some(Address::Unix(path))));
        }
        let (host, port) = text.rsplit_once(':').ok_or("has no port")?;
        let port = super::value::Port::parse(port).map_err(|_| "has no valid port")?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        Ok(Self(Some(Address::Tcp(SocketAddr::new(ip(host)?, port.0)))))
    }
    fn show(&self) -> String {
        self.0.as_ref().map(Address::to_string).unwrap_or_default()
    }
}

fn unix(path: &str) -> Result<PathBuf, String> {
    if path.len() > SUN_PATH_MAX {
        return Err(format!("is longer than the {SUN_PATH_MAX} bytes a socket's path may have"));
    }
    match path.strip_prefix('@') {
        Some("") => Err("has no name after the @".to_owned()),
        Some(_) if !cfg!(target_os = "linux") => {
            Err("is an abstract socket, which only Linux has".to_owned())
        }
        Some(name) if name.contains('\0') => Err("holds a NUL byte".to_owned()),
        Some(name) => Ok(PathBuf::from(format!("\0{name}"))),
        None if path.starts_with('/') && !path.contains('\0') => Ok(PathBuf::from(path)),
        None => Err("is not an absolute path".to_owned()),
    }
}

/// The processes to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets(pub Vec<Target>);

/// The most targets.
const TARGETS_MAX: usize = 32;
/// What a container of an ECS task begins with.
const CONTAINER: &str = "container:";
/// The longest name of a target (a label value of each of its metrics).
const TARGET_NAME_MAX: usize = 64;

impl KeyType for Targets {
    const TOML: TomlShape = TomlShape::List;
    const EXPECTS: &'static str = "process names, process ids, name=id or container:name, with commas between them, such as bun,worker=4711";
    fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let targets = parts.map(target).collect::<Result<Vec<_>, _>>()?;
        if targets.len() > TARGETS_MAX {
            return Err(format!("names more than {TARGETS_MAX} targets"));
        }
        Ok(Self(targets))
    }
    fn show(&self) -> String {
        let one = |target: &Target| match target {
            Target::Pid { name, pid } => format!("{name}={pid}"),
            Target::Name(name) => name.clone(),
            Target::Container(name) => format!("{CONTAINER}{name}"),
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(",")
    }
}

fn target(part: &str) -> Result<Target, String> {
    if let Some(name) = part.strip_prefix(CONTAINER) {
        return match name {
            "" => Err("holds a container without a name".to_owned()),
            _ if name.len() > TARGET_NAME_MAX || name.contains(char::is_control) => {
                Err(format!("holds a container's name over {TARGET_NAME_MAX} bytes"))
            }
            _ => Ok(Target::Container(name.to_owned())),
        };
    }
    let (name, pid) = match part.split_once('=') {
        Some((name, pid)) => (name.to_owned(), Some(pid)),
        None if part.bytes().all(|b| b.is_ascii_digit()) => (format!("pid-{part}"), Some(part)),
        None => (part.to_owned(), None),
    };
    if name.contains('/') {
        return Err("holds a path where the name of a process belongs".to_owned());
    }
    if name.is_empty() || name.len() > TARGET_NAME_MAX || name.contains(char::is_control) {
        return Err(format!("holds a name that is empty or over {TARGET_NAME_MAX} bytes"));
    }
    let Some(pid) = pid else { return Ok(Target::Name(name)) };
    match pid.parse::<u32>() {
        Ok(pid) if pid > 0 && i32::try_from(pid).is_ok() => Ok(Target::Pid { name, pid }),
        Ok(_) | Err(_) => Err("holds something that is not a process id".to_owned()),
    }
}
