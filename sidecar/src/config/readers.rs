//! `reader_hosts`: where standbys are, and what cannot go with them.
//!
//! Invariant: what is shown parses to the same hosts.

use stent_proxy::config::{Endpoint, Readers};

use super::keys::Settings;
use super::problem::Problems;
use super::url::host_and_port;
use super::value::{KeyType, TomlShape};

/// The most hosts.
const HOSTS_MAX: usize = 16;
/// PostgreSQL's port.
const POSTGRES_PORT: u16 = 5432;

/// Hosts with their ports.
#[derive(Clone, Debug)]
pub struct ReaderHosts(pub Vec<Endpoint>);

impl KeyType for ReaderHosts {
    const TOML: TomlShape = TomlShape::List;
    const EXPECTS: &'static str =
        "hosts such as reader.example.com:5432, with commas between them, or nothing for none";
    fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let hosts = parts.map(|part| {
            let (host, port) = host_and_port(part).map_err(|error| error.to_string())?;
            let host = host.ok_or("has a port without a host")?;
            Ok(Endpoint { host, port: port.unwrap_or(POSTGRES_PORT) })
        });
        let hosts: Vec<Endpoint> = hosts.collect::<Result<_, String>>()?;
        if hosts.len() > HOSTS_MAX {
            return Err(format!("names more than {HOSTS_MAX} hosts"));
        }
        Ok(Self(hosts))
    }
    fn show(&self) -> String {
        let show = |place: &Endpoint| match place.host.contains(':') {
            true => format!("[{}]:{}", place.host, place.port),
            false => format!("{}:{}", place.host, place.port),
        };
        self.0.iter().map(show).collect::<Vec<_>>().join(",")
    }
}

/// What the proxy is told of them.
pub(super) fn readers(settings: &Settings) -> Option<Readers> {
    let (places, suffix) =
        (&settings.reader_hosts.value.0, &settings.reader_database_suffix.value.0);
    let suffix = suffix.clone().filter(|_| !places.is_empty())?;
    Some(Readers { suffix, places: places.clone() })
}

/// What cannot go with them.
pub(super) fn check(settings: &Settings, problems: &mut Problems) {
    let (hosts, suffix) = (&settings.reader_hosts, &settings.reader_database_suffix);
    if !hosts.is_sound() || hosts.value.0.is_empty() {
        return;
    }
    if suffix.is_sound() && suffix.value.0.is_none() {
        problems.add(
            &suffix.origin,
            "reader_hosts are named, and reader_database_suffix is empty: nobody could ask for them",
            "write a suffix such as _ro, or name no reader_hosts",
        );
    }
    let sources = &settings.server_password_source;
    if sources.is_sound() && sources.value.show().contains("rds-iam") {
        problems.add(
            &hosts.origin,
            "reader_hosts cannot be used with server_password_source rds-iam: a token is for one host",
            "use another source of passwords, or name no reader_hosts",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_and_shown_again() {
        for (text, shown) in [
            ("", ""),
            ("reader", "reader:5432"),
            ("one:1,two:2", "one:1,two:2"),
            ("[::1]:5433, other", "[::1]:5433,other:5432"),
        ] {
            let hosts = ReaderHosts::parse(text).unwrap();
            assert_eq!(hosts.show(), shown);
            assert_eq!(ReaderHosts::parse(shown).unwrap().0, hosts.0);
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let many = ["host"; 17].join(",");
        for (text, reason) in
            [(":5432", "without a host"), ("a:0", "port"), ("a b", "host"), (&many, "more than 16")]
        {
            let refused = ReaderHosts::parse(text).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }
}
