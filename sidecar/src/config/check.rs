//! What configuration values mean together: the combinations that cannot work.
//!
//! Refuses: to guess which of two values was meant; the mend names both.
//! Invariant: a check whose values could not be read is left out, so one slip gives one problem.

use std::net::{IpAddr, SocketAddr};

use secrecy::ExposeSecret as _;
use stent_proxy::config::AuthMethod;

use super::address::{Address, SUN_PATH_MAX};
use super::keys::Settings;
use super::problem::{Origin, Problems};
use super::users::User;
use super::{Role, Upstream};

/// Every check that the role needs.
pub(crate) fn all(
    role: Role,
    settings: &Settings,
    upstream: &Upstream,
    users: &[User],
    problems: &mut Problems,
) {
    sizes(settings, problems);
    super::pools::check(settings, problems);
    server_memory(settings, problems);
    socket_path(settings, problems);
    listeners(settings, problems);
    admin_ports(role, settings, problems);
    super::check_tls::all(role, settings, upstream, problems);
    match role {
        Role::Proxy | Role::Both => {
            credentials(settings, upstream, users, problems);
            super::lookup::check(settings, upstream, problems);
            upstream_loop(settings, upstream, problems);
            super::check_fleet::all(settings, upstream, problems);
            super::readers::check(settings, problems);
            super::python::check(settings, problems);
            super::native::check(settings, problems);
        }
        Role::Agent | Role::Probe => {}
    }
}

/// The stronger origin of two, for the place of a problem that joins them.
fn written<'a>(first: &'a Origin, second: &'a Origin) -> &'a Origin {
    if *first == Origin::Default { second } else { first }
}

fn sizes(settings: &Settings, problems: &mut Problems) {
    let (min, size) = (&settings.min_pool_size, &settings.default_pool_size);
    if min.is_sound() && size.is_sound() && min.value > size.value.get() {
        problems.add(
            written(&min.origin, &size.origin),
            format!(
                "min_pool_size ({}) is more than default_pool_size ({})",
                min.value, size.value
            ),
            "lower min_pool_size or raise default_pool_size",
        );
    }
    let caps = [
        ("max_db_connections", &settings.max_db_connections),
        ("max_user_connections", &settings.max_user_connections),
        ("max_server_connections", &settings.max_server_connections),
    ];
    for (name, most) in caps.into_iter().filter(|(_, most)| most.is_sound() && size.is_sound()) {
        if let Some(limit) = most.value.filter(|limit| size.value > *limit) {
            problems.add(
                written(&most.origin, &size.origin),
                format!("default_pool_size ({}) is more than {name} ({limit})", size.value),
                format!("lower default_pool_size or raise {name}"),
            );
        }
    }
}

/// Below what a session has from the start each server would be replaced as soon as it is asked.
fn server_memory(settings: &Settings, problems: &mut Problems) {
    const LEAST: u64 = 4 << 20;
    let most = &settings.server_max_memory;
    if most.is_sound() && most.value.0.is_some_and(|most| most < LEAST) {
        problems.add(
            &most.origin,
            "server_max_memory is under 4 MiB, and a session of PostgreSQL begins with about 2",
            "write 0, or much more, such as 64MiB",
        );
    }
}

fn socket_path(settings: &Settings, problems: &mut Problems) {
    let (folder, port) = (&settings.unix_socket_dir, &settings.listen_port);
    let Some(path) = &folder.value.0 else { return };
    if !path.is_absolute() {
        let reason = "unix_socket_dir is not an absolute path";
        problems.add(&folder.origin, reason, "write a path that begins with /");
        return;
    }
    let length = path.join(format!(".s.PGSQL.{}", port.value.0)).as_os_str().len();
    if length > SUN_PATH_MAX {
        problems.add(
            &folder.origin,
            format!(
                "unix_socket_dir makes a socket path of {length} bytes, and the system allows \
                 {SUN_PATH_MAX}"
            ),
            "name a folder with a shorter path",
        );
    }
}

fn listeners(settings: &Settings, problems: &mut Problems) {
    let (tcp, unix) = (&settings.listen_addr, &settings.unix_socket_dir);
    if tcp.is_sound() && unix.is_sound() && tcp.value.0.is_empty() && unix.value.0.is_none() {
        problems.add(
            &tcp.origin,
            "listen_addr is empty and there is no unix_socket_dir: clients could not connect",
            "set one of them",
        );
    }
}

fn admin_ports(role: Role, settings: &Settings, problems: &mut Problems) {
    let (admin, agent) = (&settings.admin_listen, &settings.agent_listen);
    let port = settings.listen_port.value.0;
    let mut taken: Vec<(&str, SocketAddr, &Origin)> = Vec::new();
    for ip in &settings.listen_addr.value.0 {
        taken.push(("listen_port", SocketAddr::new(*ip, port), &settings.listen_port.origin));
    }
    if let Some(Address::Tcp(address)) = admin.value.0 {
        clash("admin_listen", &admin.origin, address, &taken, problems);
        taken.push(("admin_listen", address, &admin.origin));
    }
    // In up and run, and in a lone proxy, nobody listens on agent_listen.
    if role != Role::Agent {
        return;
    }
    match (&agent.value.0, &admin.value.0) {
        (Some(Address::Tcp(address)), _) => {
            clash("agent_listen", &agent.origin, *address, &taken, problems);
        }
        (Some(Address::Unix(path)), Some(Address::Unix(other))) if path == other => problems.add(
            &agent.origin,
            "agent_listen and admin_listen are the same socket",
            "give each its own path",
        ),
        (Some(Address::Unix(_)), _) | (None, _) => {}
    }
}

fn clash(
    name: &str,
    origin: &Origin,
    address: SocketAddr,
    taken: &[(&str, SocketAddr, &Origin)],
    problems: &mut Problems,
) {
    let Some((other, place, other_origin)) =
        taken.iter().find(|(_, place, _)| overlap(address, *place))
    else {
        return;
    };
    problems.add(
        written(origin, other_origin),
        format!("{name} ({address}) and {other} ({place}) are the same place"),
        format!("give {name} another port"),
    );
}

/// Whether two listeners cannot both be there: same port, and same address or one a wildcard.
fn overlap(left: SocketAddr, right: SocketAddr) -> bool {
    let meets = |a: IpAddr, b: IpAddr| a == b || a.is_unspecified();
    left.port() == right.port() && (meets(left.ip(), right.ip()) || meets(right.ip(), left.ip()))
}

fn credentials(settings: &Settings, upstream: &Upstream, users: &[User], problems: &mut Problems) {
    let method = &settings.auth_type;
    // None of these needs a secret of the client's as such: what rules need is checked where rules are,
    // and whether PostgreSQL wants one it says itself.
    let without = matches!(method.value, AuthMethod::Trust | AuthMethod::Cert | AuthMethod::Hba);
    if !method.is_sound() || without {
        return;
    }
    if settings.auth_file.value.0.is_some() || super::lookup::is_on(settings) {
        if method.value == AuthMethod::ScramSha256 {
            md5_secrets(users, problems);
        }
        return;
    }
    // A URL that could not be read has its own problem.
    let Some(database) = &upstream.database else { return };
    let missing = match (&database.user, &database.password) {
        (None, _) => "user",
        (Some(_), None) => "password",
        (Some(_), Some(_)) => return,
    };
    let name = super::value::KeyType::show(&method.value);
    problems.add(
        &upstream.origin,
        format!("names no {missing}, so with auth_type {name} no client could log in"),
        "add it, name an auth_file, or set auth_type trust where only trusted clients can connect",
    );
}

/// SCRAM needs the password or a SCRAM verifier; an MD5 hash is neither.
/// Source: PgBouncer documentation, "auth_type", scram-sha-256.
fn md5_secrets(users: &[User], problems: &mut Problems) {
    for user in users.iter().filter(|user| is_md5(user.entry.secret.expose_secret())) {
        problems.add(
            &user.origin,
            format!(
                "the secret of user {:?} is an md5 one, with which nobody can log in under \
                 auth_type scram-sha-256",
                user.entry.name
            ),
            "store the password or its SCRAM-SHA-256 secret, or set auth_type md5",
        );
    }
}

/// `md5` and 32 hexadecimal digits. Source: PostgreSQL documentation, `pg_authid.rolpassword`.
pub(crate) fn is_md5(secret: &str) -> bool {
    let digits = secret.strip_prefix("md5");
    digits.is_some_and(|d| d.len() == 32 && d.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A proxy whose database is its own listener would connect to itself until nothing is left.
fn upstream_loop(settings: &Settings, upstream: &Upstream, problems: &mut Problems) {
    let Some(database) = &upstream.database else { return };
    let port = settings.listen_port.value.0;
    if database.port != port {
        return;
    }
    let same_socket = |folder: &std::path::PathBuf| folder.as_os_str() == database.host.as_str();
    let same_address = match database.host.as_str() {
        "localhost" => settings.listen_addr.value.0.iter().any(|ip| loopback(*ip)),
        host => host.parse::<IpAddr>().is_ok_and(|ip| {
            let reached = SocketAddr::new(ip, port);
            let listens = |own: &IpAddr| {
                // A wildcard is met through loopback; through other addresses it cannot be told.
                let own = SocketAddr::new(*own, port);
                if ip.is_loopback() { overlap(reached, own) } else { reached == own }
            };
            settings.listen_addr.value.0.iter().any(listens)
        }),
    };
    if same_address || settings.unix_socket_dir.value.0.as_ref().is_some_and(same_socket) {
        problems.add(
            &upstream.origin,
            "is the address on which stent itself listens",
            "name the database's own host and port, or give stent another listen_port",
        );
    }
}

fn loopback(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}
