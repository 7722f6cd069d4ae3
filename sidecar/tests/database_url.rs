//! The database URL: what is read from it, what is refused, and that nothing of it is repeated.

mod common;

use secrecy::ExposeSecret as _;
use stent::config::url::{Database, UrlError, parse};
use stent_proxy::config::SessionAttrs;

fn read(url: &str) -> Database {
    parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
}

fn refused(url: &str, expected: UrlError) {
    assert_eq!(parse(url).expect_err(url), expected, "{url}");
}

fn password(database: &Database) -> Option<&str> {
    database.password.as_ref().map(|password| password.expose_secret())
}

#[test]
fn both_schemes_are_the_same() {
    for scheme in ["postgres", "postgresql"] {
        let database = read(&format!("{scheme}://u:p@h:5433/db"));
        assert_eq!((database.host.as_str(), database.port), ("h", 5433));
        assert_eq!(database.user.as_deref(), Some("u"));
        assert_eq!(password(&database), Some("p"));
        assert_eq!(database.database.as_deref(), Some("db"));
    }
}

#[test]
fn missing_parts_are_libpqs_defaults() {
    let database = read("postgres://ann@h");
    assert_eq!((database.port, database.database.as_deref()), (5432, Some("ann")));
    assert_eq!(password(&database), None);
    let least = read("postgres://");
    assert_eq!((least.host.as_str(), least.port), ("localhost", 5432));
    assert_eq!((least.user, least.database), (None, None));
}

#[test]
fn parts_are_percent_decoded() {
    let database = read("postgres://a%40b:p%3A%2F%3F%23%25%20%C3%A9@h/d%20b");
    assert_eq!(database.user.as_deref(), Some("a@b"));
    assert_eq!(password(&database), Some("p:/?#% é"));
    assert_eq!(database.database.as_deref(), Some("d b"));
}

#[test]
fn a_raw_at_sign_or_colon_in_a_password_belongs_to_the_password() {
    assert_eq!(password(&read("postgres://u:p@q:r@h/db")), Some("p@q:r"));
}

#[test]
fn an_ipv6_host_stands_in_brackets() {
    let database = read("postgres://u:p@[::1]:5433/db");
    assert_eq!((database.host.as_str(), database.port), ("::1", 5433));
    assert_eq!(read("postgres://u:p@[fe80::2]/db").port, 5432);
    refused("postgres://u:p@[::1/db", UrlError::Host);
    refused("postgres://u:p@[::1]5433/db", UrlError::Port);
    refused("postgres://u:p@[host]:5433/db", UrlError::Host);
}

#[test]
fn a_socket_folder_is_a_host() {
    let by_parameter = read("postgres://u:p@/db?host=/run/postgresql&port=5433");
    assert_eq!((by_parameter.host.as_str(), by_parameter.port), ("/run/postgresql", 5433));
    assert_eq!(read("postgres://u:p@%2Frun%2Fpostgresql/db").host, "/run/postgresql");
}

#[test]
fn parameters_overrule_the_parts_before_them() {
    let database = read("postgres://u:p@h/db?user=v&password=q%26&dbname=e&connect_timeout=5");
    assert_eq!(database.user.as_deref(), Some("v"));
    assert_eq!(password(&database), Some("q&"));
    assert_eq!(database.database.as_deref(), Some("e"));
    assert_eq!(database.connect_timeout, Some(std::time::Duration::from_secs(5)));
}

#[test]
fn foreign_parameters_are_kept_and_tls_details_dropped() {
    let database =
        read("postgres://u:p@h/db?schema=s&sslmode=disable&sslrootcert=/x&pgbouncer=true");
    let names: Vec<&str> = database.parameters.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["schema", "pgbouncer"]);
}

#[test]
fn tls_is_libpqs() {
    use stent_proxy::config::{TlsMode, TlsNegotiation};
    let mode = |query: &str| read(&format!("postgres://u:p@h/db?{query}")).tls.mode;
    assert_eq!(mode("a=b"), None);
    assert_eq!(mode("sslmode=disable"), Some(TlsMode::Disable));
    assert_eq!(mode("sslmode=verify-full"), Some(TlsMode::VerifyFull));
    assert_eq!(mode("sslmode=no-verify"), Some(TlsMode::Require));
    assert_eq!(mode("ssl=true"), Some(TlsMode::Require));
    assert_eq!(mode("ssl=false"), None);
    let tls =
        read("postgres://u:p@h/db?sslrootcert=/ca&sslcert=/c&sslkey=/k&sslnegotiation=direct").tls;
    assert_eq!(tls.roots.as_deref(), Some("/ca"));
    assert_eq!((tls.cert.as_deref(), tls.key.as_deref()), (Some("/c"), Some("/k")));
    assert_eq!(tls.negotiation, TlsNegotiation::Direct);
    refused("postgres://u:p@h/db?sslmode=maybe", UrlError::SslMode);
    refused("postgres://u:p@h/db?sslnegotiation=maybe", UrlError::SslMode);
}

#[test]
fn channel_binding_is_libpqs_and_does_not_reach_the_command() {
    use stent_wire::auth::scram::BindingPolicy;
    let binding = |query: &str| read(&format!("postgres://u:p@h/db?{query}")).tls.channel_binding;
    assert_eq!(binding("a=b"), BindingPolicy::Prefer);
    assert_eq!(binding("channel_binding=disable"), BindingPolicy::Disable);
    assert_eq!(binding("channel_binding=prefer"), BindingPolicy::Prefer);
    assert_eq!(binding("channel_binding=require"), BindingPolicy::Require);
    assert!(read("postgres://u:p@h/db?channel_binding=require").parameters.is_empty());
    refused("postgres://u:p@h/db?channel_binding=maybe", UrlError::ChannelBinding);
}

#[test]
fn a_password_that_should_have_been_encoded_is_noticed() {
    refused("postgres://u:pa/ss@h/db", UrlError::StrayAt);
    refused("postgres://u:12/34@h/db", UrlError::StrayAt);
    refused("postgres://u:12?34@h/db", UrlError::StrayAt);
    refused("postgres://u:50%off@h/db", UrlError::Percent);
    refused("postgres://u:pa%zz@h/db", UrlError::Percent);
    refused("postgres://u:p%00@h/db", UrlError::Nul);
    refused("postgres://u:p%ff@h/db", UrlError::Percent);
}

#[test]
fn several_hosts_are_tried_in_their_order() {
    let database = read("postgres://u:p@one:5433,[::1]:5434,three/db?target_session_attrs=standby");
    let hosts = [("one", 5433), ("::1", 5434), ("three", 5432)];
    assert_eq!(database.hosts(), hosts.map(|(host, port)| (host.to_owned(), port)));
    assert_eq!(database.session_attrs, SessionAttrs::Standby);
    assert_eq!(read("postgres://u:p@one/db").session_attrs, SessionAttrs::Any);
    assert_eq!(read("postgres://u:p@one,/db").hosts()[1], ("localhost".to_owned(), 5432));
    refused("postgres://u:p@one,two:x/db", UrlError::Port);
    refused("postgres://u:p@one/db?target_session_attrs=writer", UrlError::SessionAttrs);
    let many = vec!["h"; 17].join(",");
    refused(&format!("postgres://u:p@{many}/db"), UrlError::HostsMax);
}

#[test]
fn other_malformed_urls_are_refused() {
    refused("mysql://u:p@h/db", UrlError::Scheme);
    refused("u:p@h/db", UrlError::Scheme);
    refused("postgres://u:p@h:port/db", UrlError::Port);
    refused("postgres://u:p@h:0/db", UrlError::Port);
    refused("postgres://u:p@h:99999/db", UrlError::Port);
    refused("postgres://u:p@h st/db", UrlError::Host);
    refused("postgres://u:p@h/db?host=a,b", UrlError::ManyHosts);
    refused("postgres://u:p@h/db/more", UrlError::Path);
    refused("postgres://u:p@h/db?schema", UrlError::Parameter);
    refused("postgres://u:p@h/db?=x", UrlError::Parameter);
    refused("postgres://u:p@h/db?connect_timeout=soon", UrlError::ConnectTimeout);
}

#[test]
fn no_refusal_repeats_any_part_of_the_url() {
    let canary = "kanarienvogel";
    for url in [
        "postgres://u:kanarienvogel/x@h/db",
        "postgres://u:kanarienvogel%@h/db",
        "kanarienvogel://u:p@h/db",
        "postgres://u:p@h:kanarienvogel/db",
        "postgres://u:p@kanarien vogel,kanarienvogel/db",
        "postgres://u:p@h/db?kanarienvogel",
        "postgres://u:p@h/db?sslmode=kanarienvogel",
        "postgres://u:p@h/db?connect_timeout=kanarienvogel",
        "postgres://u:kanarienvogel@h/db?sslmode=always",
    ] {
        let error = parse(url).expect_err(url);
        assert!(!format!("{error} {error:?} {}", error.mend()).contains(canary), "{error}");
    }
}

#[test]
fn a_debug_dump_shows_no_password() {
    let database = read("postgres://u:kanarienvogel@h/db?sslpassword=kanarienvogel");
    assert!(!format!("{database:?}").contains("kanarienvogel"));
}
