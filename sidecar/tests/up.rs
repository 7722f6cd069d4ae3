//! `stent up`: two components, one endpoint, without a database.

mod common;

use std::collections::BTreeSet;
use std::net::TcpListener;

use common::running::{SOON, Stent, component, ended, find, kill, terminated, wait_until_gone};
use common::{http, spawn};
use stent_testkit::{Signal, TempDir, proc, wait_for};

#[test]
fn both_components_share_one_page_with_each_family_once() {
    let mut stent = Stent::alone();
    let _up = stent.up();
    let whole = || {
        let page = http::get(&stent.admin, "/metrics")?;
        page.contains("stent_agent_heartbeat_timestamp_seconds").then_some(page)
    };
    let page = wait_for("the agent's first round", SOON, whole).expect("a page");
    let mut families = BTreeSet::new();
    for line in page.lines().filter(|line| line.starts_with("# TYPE ")) {
        assert!(families.insert(line), "{line} stands twice");
    }
    for part in [
        "stent_build_info{component=\"proxy\"",
        "stent_build_info{component=\"agent\"",
        "stent_build_info{component=\"supervisor\"",
        "stent_heap_allocated_bytes{component=\"supervisor\"} ",
        "stent_restarts_total{component=\"proxy\"} 0",
        "stent_agent_heartbeat_timestamp_seconds",
        "stent_clients_max 1000",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
}

#[test]
fn the_snapshot_has_both_halves() {
    let mut stent = Stent::alone();
    let _up = stent.up();
    let halves = || {
        let snapshot = http::get(&stent.admin, "/snapshot")?;
        let snapshot: stent_contract::Snapshot = serde_json::from_str(&snapshot).ok()?;
        Some((snapshot.proxy?.version, snapshot.agent?.version))
    };
    let versions = wait_for("both halves of the snapshot", SOON, halves).expect("both halves");
    assert_eq!(versions, (1, 1));
}

#[test]
fn an_agent_that_is_killed_is_counted_and_back() {
    let mut stent = Stent::alone();
    let up = stent.up();
    kill(component(up.pid(), "agent"), Signal::KILL);
    let back = || {
        let page = stent.up_lines("1", "1")?;
        page.contains("stent_restarts_total{component=\"agent\"} 1\n").then_some(())
    };
    wait_for("the agent answers again", SOON, back).expect("it is back");
}

#[test]
fn an_agent_that_hangs_costs_only_its_part_of_the_page() {
    let mut stent = Stent::alone();
    let up = stent.up();
    let agent = component(up.pid(), "agent");
    kill(agent, Signal::STOP);
    let page = stent.up_lines("1", "0").expect("the page says that the agent is silent");
    assert!(page.contains("stent_clients_max 1000"), "the proxy's part is there");
    let snapshot = http::get(&stent.admin, "/snapshot").expect("a snapshot");
    assert!(snapshot.ends_with("\"agent\":null}"), "{snapshot}");
    kill(agent, Signal::CONT);
}

#[test]
fn sigterm_ends_all_with_exit_code_0() {
    let mut stent = Stent::alone();
    let mut up = stent.up();
    let children = proc::children(up.pid());
    assert_eq!(children.len(), 2);
    assert_eq!(terminated(&mut up), Some(0), "{}", up.output());
    wait_until_gone(&children);
}

#[test]
fn both_end_with_the_supervisor_even_if_it_is_killed() {
    let mut stent = Stent::alone();
    let mut up = stent.up();
    let children = proc::children(up.pid());
    up.signal(Signal::KILL).expect("killed");
    wait_until_gone(&children);
}

#[test]
fn the_file_may_break_while_stent_runs() {
    let folder = TempDir::new("config").expect("a folder");
    let file = folder.path().join("stent.toml");
    std::fs::write(&file, "max_client_conn = 77\n").expect("written");
    let mut stent = Stent::alone();
    stent.command.env("STENT_CONFIG", &file);
    let up = stent.up();
    std::fs::write(&file, "max_client_conn = \"broken\n").expect("written");
    let proxy = component(up.pid(), "proxy");
    kill(proxy, Signal::KILL);
    wait_for("a new proxy", SOON, || find(up.pid(), "proxy").filter(|new| *new != proxy))
        .expect("it is started again");
    let page = wait_for("it answers", SOON, || stent.up_lines("1", "1")).expect("it answers");
    assert!(page.contains("stent_clients_max 77\n"), "with the values it had");
}

#[test]
fn the_endpoint_refuses_other_paths_and_methods() {
    let mut stent = Stent::alone();
    let _up = stent.up();
    let status = |method, path| http::ask(&stent.admin, method, path).map(|(status, _)| status);
    assert_eq!(status("GET", "/livez"), Some(200));
    assert_eq!(status("GET", "/nothing"), Some(404));
    assert_eq!(status("POST", "/metrics"), Some(405));
    assert_eq!(status("GET", "/readyz"), Some(503), "there is no database");
}

#[test]
fn healthcheck_tells_alive_from_ready() {
    let mut stent = Stent::alone();
    let mut up = stent.up();
    let check = |arguments: &[&str]| {
        let mut command = common::stent();
        command.env("STENT_ADMIN_LISTEN", &stent.admin).arg("healthcheck").args(arguments);
        let mut process = spawn(&mut command);
        let code = ended(&mut process);
        (code, process.output())
    };
    assert_eq!(check(&["--live"]), (Some(0), "/livez says 200: alive\n".to_owned()));
    let (code, output) = check(&[]);
    assert_eq!(code, Some(1));
    assert!(output.starts_with("stent: /readyz says 503: "), "{output}");
    assert_eq!(terminated(&mut up), Some(0));
    let (code, output) = check(&["--live"]);
    assert_eq!(code, Some(1));
    assert!(output.contains("cannot connect"), "{output}");
}

#[test]
fn a_healthcheck_of_something_that_hangs_ends_by_itself() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("its address").to_string();
    let mut process = spawn(common::stent().env("STENT_ADMIN_LISTEN", address).arg("healthcheck"));
    assert_eq!(ended(&mut process), Some(1));
    assert!(process.stderr().contains("no answer within 3s"), "{}", process.stderr());
}

#[test]
fn a_unix_socket_as_endpoint_is_taken_over_from_the_dead_and_removed_at_the_end() {
    let folder = TempDir::new("admin").expect("a folder");
    let socket = folder.path().join("admin.sock");
    // What a killed predecessor leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    assert!(socket.exists());
    let address = format!("unix:{}", socket.display());
    let mut stent = Stent::alone();
    stent.command.env("STENT_ADMIN_LISTEN", &address);
    let mut up = stent.start(&["up"]);
    let healthy = || {
        let mut command = common::stent();
        command.env("STENT_ADMIN_LISTEN", &address).args(["healthcheck", "--live"]);
        let status = spawn(&mut command).wait(SOON).ok()?;
        status.success().then_some(())
    };
    wait_for("an answer over the socket", SOON, healthy).expect("it answers");
    assert_eq!(terminated(&mut up), Some(0));
    assert!(!socket.exists());
}

#[test]
fn an_admin_port_in_use_gives_3_and_says_which() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("its address").to_string();
    let mut stent = Stent::alone();
    stent.command.env("STENT_ADMIN_LISTEN", &address);
    let mut up = stent.start(&["up"]);
    assert_eq!(ended(&mut up), Some(3));
    assert!(up.stderr().contains("cannot listen on admin_listen"), "{}", up.stderr());
    assert!(up.stderr().contains(&address), "{}", up.stderr());
}

#[test]
fn a_listen_port_in_use_gives_3() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = holder.local_addr().expect("its address").port().to_string();
    let mut stent = Stent::alone();
    stent.command.env("STENT_LISTEN_PORT", port);
    let mut up = stent.start(&["up"]);
    assert_eq!(ended(&mut up), Some(3), "{}", up.output());
}

#[test]
fn an_unwritable_socket_folder_gives_3() {
    let mut stent = Stent::alone();
    stent.command.env("STENT_UNIX_SOCKET_DIR", "/proc/self").env("STENT_LISTEN_ADDR", "");
    let mut up = stent.start(&["up"]);
    assert_eq!(ended(&mut up), Some(3), "{}", up.output());
    assert!(up.stderr().contains("/proc/self/.s.PGSQL."), "{}", up.stderr());
}

#[test]
fn a_wrong_configuration_gives_2_and_nothing_is_started() {
    for command in ["up", "proxy", "agent"] {
        let mut stent = Stent::alone();
        stent.command.env("STENT_MAX_CLIENT_CONN", "0").env("STENT_LISTEN_ADR", "x");
        let mut process = stent.start(&[command]);
        assert_eq!(ended(&mut process), Some(2), "{command}");
        let stderr = process.stderr();
        assert!(stderr.starts_with("stent: 2 problems in the configuration:\n"), "{stderr}");
        assert!(stderr.contains("STENT_LISTEN_ADR: is not a variable of stent"), "{stderr}");
    }
}

#[test]
fn a_component_whose_supervisor_has_gone_does_not_start() {
    // Process 1 is not the parent of what this test starts.
    let mut process = Stent::alone().start(&["proxy", "--supervisor", "1"]);
    assert_eq!(ended(&mut process), Some(4));
    assert!(process.stderr().contains("the supervisor has ended"), "{}", process.stderr());
}

#[test]
fn every_log_line_is_json_with_its_time_level_and_target() {
    let mut stent = Stent::alone();
    let mut up = stent.up();
    assert_eq!(terminated(&mut up), Some(0));
    let stderr = up.stderr();
    assert!(stderr.lines().count() >= 4, "{stderr}");
    for line in stderr.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect(line);
        for field in ["timestamp", "level", "target", "message"] {
            assert!(event[field].is_string(), "{field} is not in {line}");
        }
    }
    assert_eq!(up.stdout(), "", "standard output is for metrics");
}
