//! The guard's table: each way in which a target can be the wrong one.

use super::*;

const HANDLED: u64 = 0x0000_0001_8000_4602 | SIGUSR1_BIT;

fn node() -> Subject {
    Subject {
        executable: Some("/usr/local/bin/node".to_owned()),
        arguments: vec!["node".to_owned(), "server.js".to_owned()],
        caught: Some(HANDLED),
        uid: Some(1000),
        network: Some("net:[1]".to_owned()),
        ..Subject::default()
    }
}

fn own() -> Own {
    Own { uid: 1000, network: Some("net:[1]".to_owned()) }
}

fn named(executable: &str) -> Subject {
    Subject { executable: Some(executable.to_owned()), ..node() }
}

#[test]
fn a_node_with_a_handler_is_looked_into_at_its_default_port() {
    for name in ["node", "nodejs", "node20", "node-22.1.0"] {
        let way = decide(&named(&format!("/opt/{name}")), &own());
        assert_eq!(way, Ok(Way::Node { port: 9229 }), "{name}");
    }
}

#[test]
fn what_is_not_node_is_never_signalled_even_with_a_handler() {
    for name in ["python3.11", "uvicorn", "nodemon", "node_exporter", "nodejsx", "deno", "java"] {
        let way = decide(&named(&format!("/usr/bin/{name}")), &own());
        assert_eq!(way, Err(Refusal::Unknown(name.to_owned())), "{name}");
    }
}

#[test]
fn bun_is_never_signalled_whatever_its_mask_says() {
    for name in ["bun", "bun.exe"] {
        let way = decide(&named(&format!("/app/{name}")), &own());
        assert_eq!(way, Err(Refusal::BunClosed), "{name}");
    }
}

#[test]
fn a_node_without_the_handler_would_die_and_is_left_alone() {
    for caught in [None, Some(0), Some(HANDLED & !SIGUSR1_BIT), Some(!SIGUSR1_BIT)] {
        let subject = Subject { caught, ..node() };
        assert_eq!(decide(&subject, &own()), Err(Refusal::NoHandler), "{caught:?}");
    }
}

#[test]
fn another_users_process_is_looked_into_by_root_only() {
    let other = Own { uid: 1001, ..own() };
    assert_eq!(decide(&node(), &other), Err(Refusal::OtherUser { target: 1000, own: 1001 }));
    let root = Own { uid: 0, ..own() };
    assert!(decide(&node(), &root).is_ok());
    assert_eq!(decide(&Subject { uid: None, ..node() }, &root), Err(Refusal::Hidden));
}

#[test]
fn another_network_or_an_unknown_one_is_out_of_reach() {
    for network in [None, Some("net:[2]".to_owned())] {
        let subject = Subject { network, ..node() };
        assert_eq!(decide(&subject, &own()), Err(Refusal::OtherNetwork));
    }
    let blind = Own { network: None, ..own() };
    assert_eq!(decide(&Subject { network: None, ..node() }, &blind), Err(Refusal::OtherNetwork));
}

#[test]
fn a_process_that_hides_its_executable_is_left_alone() {
    let subject = Subject { executable: None, ..node() };
    assert_eq!(decide(&subject, &own()), Err(Refusal::Hidden));
}

#[test]
fn the_port_comes_from_the_flags_and_from_node_options() {
    let with = |options: Option<&str>, arguments: &[&str]| {
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        let node_options = options.map(str::to_owned);
        decide(&Subject { node_options, arguments, ..node() }, &own())
    };
    let port = |port| Ok(Way::Node { port });
    assert_eq!(with(None, &["node", "--inspect-port=9300", "a.js"]), port(9300));
    assert_eq!(with(None, &["node", "--inspect=0.0.0.0:9301", "a.js"]), port(9301));
    assert_eq!(with(Some("--enable-source-maps --inspect-port=9302"), &["node"]), port(9302));
    assert_eq!(with(Some("--inspect-port=1"), &["node", "--inspect-port=2", "a"]), port(2));
    assert_eq!(with(None, &["node", "--inspect=localhost", "a.js"]), port(9229));
    assert_eq!(
        with(None, &["node", "a.js", "--inspect-port=9303"]),
        port(9229),
        "the script's own"
    );
    assert_eq!(with(None, &["node", "--inspect-port=0", "a.js"]), Err(Refusal::AnyPort));
}

#[test]
fn bun_is_reached_at_the_address_of_its_environment() {
    let with = |text: &str| {
        let subject = Subject { bun_inspect: Some(text.to_owned()), ..named("/app/bun") };
        decide(&subject, &own())
    };
    let bun = |port, path: &str| Ok(Way::Bun { port, path: path.to_owned() });
    assert_eq!(with("ws://127.0.0.1:6510/x"), bun(6510, "/x"));
    assert_eq!(with("localhost:6510/a/b?wait=1"), bun(6510, "/a/b"));
    assert_eq!(with(""), Err(Refusal::BunClosed));
    for elsewhere in [
        "ws://10.0.0.1:6510/x",
        "unix:///tmp/x",
        "1",
        "ws://127.0.0.1:0/x",
        "ws://127.0.0.1:6510/a b",
    ] {
        assert_eq!(with(elsewhere), Err(Refusal::BunElsewhere), "{elsewhere}");
    }
}

#[test]
fn every_refusal_says_what_would_make_the_target_attributable() {
    let all = [
        Refusal::Hidden,
        Refusal::Unknown("java".to_owned()),
        Refusal::BunClosed,
        Refusal::BunElsewhere,
        Refusal::NoHandler,
        Refusal::OtherUser { target: 1, own: 2 },
        Refusal::OtherNetwork,
        Refusal::AnyPort,
        Refusal::PortTaken(9229),
    ];
    for refusal in all {
        let text = refusal.to_string();
        let (_, remedy) = text.rsplit_once(": ").unwrap();
        assert!(remedy.len() > 10, "{text}");
    }
}
