//! Another configuration for a running `stent`: SIGHUP, `stent reload`, RELOAD on the console.

mod common;

use std::path::PathBuf;
use std::process::Output;

use common::http;
use common::running::{SOON, Stent, component, kill, terminated};
use stent_testkit::{Postgres, Process, Signal, TempDir, wait_for};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// The password of the database's URL.
const SECRET: &str = "not-to-be-shown";

/// A `stent` that reads a file, before a PostgreSQL.
struct Scene {
    _postgres: Postgres,
    folder: TempDir,
    stent: Stent,
    process: Process,
}

impl Scene {
    fn start(command: &str, keys: &str) -> Self {
        let postgres = Postgres::start().expect("a PostgreSQL");
        let folder = TempDir::new("reload").expect("a folder");
        // PostgreSQL trusts everybody; the password is there to be hidden.
        let url = postgres.url().replacen('@', &format!(":{SECRET}@"), 1);
        let mut stent = Stent::new(&url);
        let file = folder.path().join("stent.toml");
        stent.command.env("STENT_CONFIG", &file).stdin(std::process::Stdio::null());
        std::fs::write(&file, keys).expect("written");
        std::fs::write(folder.path().join("users"), "\"ops\" \"one\"\n\"postgres\" \"pg\"\n")
            .expect("written");
        let process = stent.start(&[command]);
        wait_for("readiness", SOON, || http::get(&stent.admin, "/readyz")).expect("ready");
        Self { _postgres: postgres, folder, stent, process }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("stent.toml")
    }

    fn write(&self, keys: &str) {
        std::fs::write(self.file(), keys).expect("written");
    }

    /// `stent reload`, told nothing but what the running one was.
    fn reload(&self) -> Output {
        let mut command = common::stent();
        command
            .env("STENT_CONFIG", self.file())
            .env("STENT_LISTEN_PORT", &self.stent.listen_port)
            .env("STENT_ADMIN_LISTEN", &self.stent.admin)
            .arg("reload");
        command.output().expect("it runs")
    }

    /// The text of a successful reload.
    fn reloaded(&self) -> String {
        let output = self.reload();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// The reason of one that is refused.
    fn refused(&self) -> String {
        let output = self.reload();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn shows(&self, line: &str) -> bool {
        http::get(&self.stent.admin, "/metrics").is_some_and(|page| page.contains(line))
    }

    fn wait_until_shown(&self, line: &str) {
        wait_for(line, SOON, || self.shows(line).then_some(())).expect("it is shown");
    }

    async fn connect(&self, user: &str, password: &str) -> Result<Client, tokio_postgres::Error> {
        let port = &self.stent.listen_port;
        let database = if user == "ops" { "stent" } else { "postgres" };
        let url = format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

const TRUST: &str = "auth_type = \"trust\"\nadmin_users = [\"ops\"]\n";

#[test]
fn sighup_to_the_proxy_changes_what_can_change_and_names_what_cannot() {
    let mut scene = Scene::start("proxy", TRUST);
    scene.write(&format!("{TRUST}max_client_conn = 77\nworkers = 3\nlog_level = \"debug\"\n"));
    scene.process.signal(Signal::HUP).expect("sent");
    scene.wait_until_shown("stent_clients_max 77\n");
    let said = || scene.process.output().contains("\"needs_restart\":\"workers\"").then_some(());
    wait_for("the log to say so", SOON, said).expect("it is said");
}

#[test]
fn stent_reload_finds_the_proxy_and_says_what_has_changed() {
    let scene = Scene::start("proxy", TRUST);
    scene.write(&format!("{TRUST}default_pool_size = 3\nlisten_addr = \"127.0.0.2\"\n"));
    let said = scene.reloaded();
    assert!(said.contains("changed: default_pool_size\n"), "{said}");
    assert!(said.contains("needs a restart: listen_addr\n"), "{said}");
    scene.wait_until_shown("db_client_connection_max{database=\"postgres\",user=\"postgres\"} 3\n");
    assert!(scene.reloaded().contains("changed: no key"), "it is in force already");
}

#[tokio::test]
async fn sizes_by_pool_and_the_memory_of_servers_can_be_switched_on_while_clients_work() {
    let scene = Scene::start("proxy", TRUST);
    let client = scene.connect("postgres", "pg").await.expect("logged in");
    let pid = async || {
        let rows = client.simple_query("select pg_backend_pid()").await.expect("it works");
        let pid = rows.iter().find_map(|message| {
            let SimpleQueryMessage::Row(row) = message else { return None };
            row.get(0).map(str::to_owned)
        });
        pid.expect("a number")
    };
    let first = pid().await;
    assert_eq!(pid().await, first, "one server serves it");
    // A session that has grown beyond what is about to be allowed, by what it knows of tables.
    let grow = "do $$ begin for i in 1..400 loop \
                execute format('create table t%s (id int primary key, note text)', i); \
                end loop; end $$";
    client.batch_execute(grow).await.expect("it grows");
    let limits = "pool_limits = [\"user=postgres pool_size=2\"]\nserver_max_memory = \"4MiB\"\n\
                  server_memory_interval = 0.1\n";
    scene.write(&format!("{TRUST}{limits}"));
    let said = scene.reloaded();
    for key in ["pool_limits", "server_max_memory", "server_memory_interval"] {
        assert!(said.contains(key) && !said.contains("restart"), "{said}");
    }
    scene.wait_until_shown("db_client_connection_max{database=\"postgres\",user=\"postgres\"} 2\n");
    let replaced = async { while pid().await == first {} };
    let replaced = tokio::time::timeout(SOON, replaced).await;
    assert!(replaced.is_ok(), "it has grown and is not replaced: {}", scene.process.output());
}

#[test]
fn under_stent_up_sighup_and_reload_reach_the_proxy_and_outlive_it() {
    let mut scene = Scene::start("up", TRUST);
    scene.write(&format!("{TRUST}max_client_conn = 77\n"));
    scene.process.signal(Signal::HUP).expect("sent");
    scene.wait_until_shown("stent_clients_max 77\n");
    scene.write(&format!("{TRUST}max_client_conn = 78\nsample_interval = 7\n"));
    let said = scene.reloaded();
    assert!(said.contains("changed: max_client_conn\n"), "{said}");
    assert!(said.contains("needs a restart: sample_interval\n"), "{said}");
    scene.wait_until_shown("stent_clients_max 78\n");
    kill(component(scene.process.pid(), "proxy"), Signal::KILL);
    scene.wait_until_shown("stent_restarts_total{component=\"proxy\"} 1\n");
    scene.wait_until_shown("stent_clients_max 78\n");
    // A key that is not written any more has its default again.
    scene.write(TRUST);
    scene.reloaded();
    scene.wait_until_shown("stent_clients_max 1000\n");
    assert_eq!(terminated(&mut scene.process), Some(0), "{}", scene.process.output());
}

#[tokio::test]
async fn an_invalid_configuration_changes_nothing_and_is_explained() {
    for command in ["proxy", "up"] {
        let mut scene = Scene::start(command, TRUST);
        scene.write(&format!("{TRUST}max_client_conn = 77\ndefault_pool_size = \"many\"\n"));
        let why = scene.refused();
        assert!(why.contains("default_pool_size"), "{why}");
        // What only the proxy finds out.
        scene.write(&format!("{TRUST}max_client_conn = 77\nauth_file = \"/nowhere\"\n"));
        let why = scene.refused();
        assert!(why.contains("/nowhere"), "{why}");
        scene.process.signal(Signal::HUP).expect("sent");
        let said = || scene.process.output().matches("nothing has changed").nth(1).map(drop);
        wait_for("the log to say so", SOON, said).expect("it is said");
        assert!(scene.shows("stent_clients_max 1000\n"));
        scene.connect("postgres", "").await.expect("it serves");
    }
}

#[tokio::test]
async fn a_changed_auth_file_is_in_force_after_a_reload_and_nobody_is_cut() {
    let users = |scene: &Scene, text: &str| {
        std::fs::write(scene.folder.path().join("users"), text).expect("written");
    };
    let scene = Scene::start("up", TRUST);
    let keys = format!(
        "admin_users = [\"ops\"]\nauth_file = \"{}\"\n",
        scene.folder.path().join("users").display()
    );
    let before = scene.connect("postgres", "").await.expect("trust");
    scene.write(&keys);
    scene.reloaded();
    assert!(scene.connect("postgres", "wrong").await.is_err(), "trust is over");
    let one = scene.connect("postgres", "pg").await.expect("the password of the file");
    users(&scene, "\"ops\" \"two\"\n\"postgres\" \"other\"\n");
    scene.reloaded();
    assert!(scene.connect("postgres", "pg").await.is_err());
    let two = scene.connect("postgres", "other").await.expect("the new password");
    for client in [before, one, two] {
        client.batch_execute("select 1").await.expect("nobody is cut");
    }
}

#[tokio::test]
async fn the_console_reloads_and_says_what_it_has_done() {
    for command in ["proxy", "up"] {
        let scene = Scene::start(command, TRUST);
        let console = scene.connect("ops", "").await.expect("the console");
        scene.write(&format!("{TRUST}max_client_conn = 77\n"));
        let said = console.simple_query("RELOAD").await.expect("it is done");
        assert!(matches!(said[..], [SimpleQueryMessage::CommandComplete(_)]));
        scene.wait_until_shown("stent_clients_max 77\n");
        scene.write("max_client_conn = 0\n");
        let refused = console.simple_query("RELOAD").await.expect_err("it is not");
        let refused = refused.as_db_error().expect("an error of the console");
        assert_eq!(refused.code().code(), "F0000");
        assert!(refused.detail().is_some_and(|why| why.contains("max_client_conn")));
    }
}

#[tokio::test]
async fn the_console_shows_what_is_in_force_and_no_secret() {
    for command in ["proxy", "up"] {
        let scene = Scene::start(command, TRUST);
        let console = scene.connect("ops", "").await.expect("the console");
        scene.write(&format!("{TRUST}max_client_conn = 77\nworkers = 2\n"));
        console.simple_query("RELOAD").await.expect("it is done");
        let config = console.simple_query("SHOW CONFIG").await.expect("a table");
        let row = |key: &str| {
            let rows = config.iter().filter_map(|message| {
                if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None }
            });
            let row = rows.into_iter().find(|row| row.get("key") == Some(key)).expect("the key");
            ["value", "default", "changeable"].map(|column| row.get(column).expect("text"))
        };
        assert_eq!(row("max_client_conn"), ["77", "1000", "yes"]);
        assert_eq!(row("workers"), ["1", "1", "no"], "a restart changes it");
        let [most, ..] = row("max_user_connections");
        assert_eq!(most, "0", "as monitors expect where there is no limit");
        let [url, ..] = row("database_url");
        assert!(url.starts_with("postgres") && !url.contains(SECRET), "{url}");
    }
}

#[test]
fn a_reload_without_a_running_stent_says_so() {
    let mut command = common::stent();
    command.env("STENT_LISTEN_PORT", common::port()).arg("reload");
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no stent of this user"));
}

#[tokio::test]
async fn a_smaller_pool_gives_servers_up_when_they_are_free() {
    let scene = Scene::start("proxy", &format!("{TRUST}default_pool_size = 4\n"));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let client = scene.connect("postgres", "").await.expect("a client");
        client.batch_execute("begin").await.expect("a server");
        clients.push(client);
    }
    scene.write(&format!("{TRUST}default_pool_size = 1\n"));
    scene.reloaded();
    for client in &clients {
        client.batch_execute("select 1").await.expect("nobody is cut");
        client.batch_execute("commit").await.expect("nobody is cut");
    }
    scene.wait_until_shown("side=\"server\",cause=\"shrunk\"} 3\n");
}
