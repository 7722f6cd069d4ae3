//! The container's credentials endpoint, as ECS and EKS write it into the environment.
//!
//! Refuses: hosts elsewhere: credentials are not asked for in the clear over a network.
//! Source: AWS SDKs and Tools reference guide, "Container credential provider".

use std::net::IpAddr;

use secrecy::SecretString;
use stent_proxy::config::passwords::{Authorization, ContainerEndpoint};

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

/// Where ECS's agent answers.
const ECS_HOST: &str = "169.254.170.2";
/// Where ECS's and EKS's agents answer, beside loopback.
const AGENTS: [&str; 3] = [ECS_HOST, "169.254.170.23", "fd00:ec2::23"];

/// What the environment says.
pub(super) enum Endpoint {
    /// Nothing.
    None,
    /// This.
    At(ContainerEndpoint),
    /// Something that is not asked; the variable.
    Refused(&'static str),
}

/// The endpoint, from the environment.
pub(super) fn endpoint(get: &impl Fn(&str) -> Option<String>) -> Endpoint {
    let authorization = match (
        get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    ) {
        (Some(path), _) => Authorization::File(path.into()),
        (None, Some(token)) => Authorization::Value(SecretString::from(token)),
        (None, None) => Authorization::None,
    };
    if let Some(path) = get(RELATIVE) {
        if !is_path(&path) {
            return Endpoint::Refused(RELATIVE);
        }
        let host = ECS_HOST.to_owned();
        return Endpoint::At(ContainerEndpoint { host, port: 80, path, authorization });
    }
    let Some(url) = get(FULL) else { return Endpoint::None };
    match full(&url) {
        Some((host, port, path)) => {
            Endpoint::At(ContainerEndpoint { host, port, path, authorization })
        }
        None => Endpoint::Refused(FULL),
    }
}

fn full(url: &str) -> Option<(String, u16, String)> {
    let rest = url.strip_prefix("http://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, port) = v6.split_once(']')?;
            (host, if port.is_empty() { "80" } else { port.strip_prefix(':')? })
        }
        None => authority.split_once(':').unwrap_or((authority, "80")),
    };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let near = host == "localhost"
        || AGENTS.contains(&host)
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    (near && is_path(&path)).then_some(())?;
    Some((host.to_owned(), port.parse().ok()?, path))
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variable: &'static str, value: &'static str) -> Endpoint {
        endpoint(&|name| (name == variable).then(|| value.to_owned()))
    }

    #[test]
    fn endpoints_of_this_machine_and_of_agents_are_taken() {
        for (variable, value, host, port, path) in [
            (RELATIVE, "/v2/credentials/x-y", ECS_HOST, 80, "/v2/credentials/x-y"),
            (FULL, "http://169.254.170.23/v1/credentials", "169.254.170.23", 80, "/v1/credentials"),
            (FULL, "http://[fd00:ec2::23]/v1", "fd00:ec2::23", 80, "/v1"),
            (FULL, "http://[::1]:51679", "::1", 51_679, "/"),
            (FULL, "http://localhost:8080?role=x", "localhost", 8_080, "/?role=x"),
            (FULL, "http://127.0.0.1:1/a/b", "127.0.0.1", 1, "/a/b"),
        ] {
            let Endpoint::At(found) = of(variable, value) else { panic!("{value}") };
            assert_eq!((found.host.as_str(), found.port, found.path.as_str()), (host, port, path));
        }
    }

    #[test]
    fn endpoints_elsewhere_and_nonsense_are_refused() {
        assert!(matches!(of("OTHER", "x"), Endpoint::None));
        for (variable, value) in [
            (RELATIVE, "v2"),
            (RELATIVE, "/a b"),
            (FULL, "https://127.0.0.1/x"),
            (FULL, "http://example.com/x"),
            (FULL, "http://127.0.0.1@example.com/x"),
            (FULL, "http://10.0.0.1/x"),
            (FULL, "http://127.0.0.1:x/"),
            (FULL, "http://[::1/"),
            (FULL, "/x"),
        ] {
            assert!(matches!(of(variable, value), Endpoint::Refused(_)), "{value}");
        }
    }
}
