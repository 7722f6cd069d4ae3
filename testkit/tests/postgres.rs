//! The testkit's PostgreSQL: starts, answers, asks for passwords, crashes, restarts, and goes.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use stent_testkit::{Installation, Postgres, Signal, Stop, proc, wait_until};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn it_answers_over_its_socket_and_listens_on_its_port() {
    let postgres = Postgres::start().unwrap();
    assert_eq!(postgres.value("select current_user").unwrap(), postgres.superuser());
    assert_eq!(postgres.value("show port").unwrap(), postgres.port().to_string());
    TcpStream::connect((postgres.host(), postgres.port())).unwrap();
    let version = postgres.value("show server_version").unwrap();
    assert!(version.starts_with(&postgres.version().to_string()), "{version}");
    assert!(postgres.socket_dir().join(format!(".s.PGSQL.{}", postgres.port())).exists());
}

#[test]
fn dropping_it_leaves_no_process_and_no_folder() {
    let postgres = Postgres::start().unwrap();
    let pid = postgres.pid().unwrap();
    let folder = postgres.socket_dir().to_owned();
    let below = proc::descendants(pid);
    assert!(!below.is_empty(), "a postmaster has children");
    drop(postgres);
    assert!(!folder.exists());
    for pid in below.into_iter().chain([pid]) {
        wait_until("the end of the server's processes", SOON, || !proc::is_alive(pid)).unwrap();
    }
}

#[test]
fn a_panic_takes_it_down_too() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let postgres = Postgres::start().unwrap();
        sender.send((postgres.pid().unwrap(), postgres.socket_dir().to_owned())).unwrap();
        panic!("on purpose");
    });
    let (pid, folder) = receiver.recv().unwrap();
    thread.join().unwrap_err();
    assert!(!proc::is_alive(pid));
    assert!(!folder.exists());
}

#[test]
fn settings_are_in_force() {
    let postgres =
        Postgres::builder().max_connections(17).setting("work_mem", "3MB").start().unwrap();
    assert_eq!(postgres.value("show max_connections").unwrap(), "17");
    assert_eq!(postgres.value("show work_mem").unwrap(), "3MB");
}

#[test]
fn a_setting_that_postgresql_refuses_is_reported_with_its_log() {
    let error = Postgres::builder().setting("work_mem", "much").start().unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("invalid value for parameter \"work_mem\""), "{text}");
}

#[test]
fn passwords_are_stored_in_the_form_that_the_method_needs() {
    for (method, prefix) in [("md5", "md5"), ("scram-sha-256", "SCRAM-SHA-256$")] {
        let postgres = Postgres::builder().auth(method).password("sesame1").start().unwrap();
        let stored = postgres.value("select rolpassword from pg_authid where rolname = 'postgres'");
        assert!(stored.unwrap().starts_with(prefix));
        assert!(postgres.url().contains(":sesame1@"));
        let rule = "select auth_method from pg_hba_file_rules where type = 'host'";
        assert_eq!(postgres.value(rule).unwrap(), method);
    }
}

#[test]
fn an_error_of_sql_carries_its_sqlstate() {
    let postgres = Postgres::start().unwrap();
    let text = format!("{:#}", postgres.sql("select 1; select 1/0").unwrap_err());
    assert!(text.contains("22012 division by zero"), "{text}");
}

#[test]
fn rows_of_all_statements_come_back_with_nulls() {
    let postgres = Postgres::start().unwrap();
    let rows = postgres.query("select 1, null; select 'two', ''").unwrap();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(rows, [vec![some("1"), None], vec![some("two"), some("")]]);
}

#[test]
fn it_restarts_on_the_same_port_with_its_data() {
    let mut postgres = Postgres::start().unwrap();
    let port = postgres.port();
    postgres.sql("create table kept (id int); insert into kept values (7)").unwrap();
    postgres.stop(Stop::Fast).unwrap();
    assert_eq!(postgres.pid(), None);
    TcpStream::connect((postgres.host(), port)).unwrap_err();
    postgres.resume().unwrap();
    assert_eq!(postgres.port(), port);
    assert_eq!(postgres.value("select id from kept").unwrap(), "7");
}

#[test]
fn a_crashed_backend_is_named_and_the_server_recovers() {
    let postgres = Postgres::start().unwrap();
    let psql = postgres
        .client("psql")
        .unwrap()
        .args(["-c", "select pg_sleep(60)"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut psql = psql.unwrap();
    wait_until("a client", SOON, || !postgres.backends().unwrap().is_empty()).unwrap();
    let expected = postgres.backends().unwrap()[0];
    assert_eq!(postgres.crash_one_backend().unwrap(), expected);
    assert!(!psql.wait().unwrap().success());
    wait_until("the recovery", SOON, || postgres.sql("select 1").is_ok()).unwrap();
    assert!(postgres.log().contains("was terminated by signal 9"));
}

#[test]
fn a_killed_postmaster_can_be_started_again() {
    let mut postgres = Postgres::start().unwrap();
    postgres.signal(Signal::KILL).unwrap();
    postgres.stop(Stop::Immediate).unwrap();
    postgres.resume().unwrap();
    assert_eq!(postgres.value("select 1").unwrap(), "1");
}

#[test]
fn an_installation_without_programs_is_refused_by_name() {
    let folder = stent_testkit::TempDir::new("empty").unwrap();
    let text = Installation::at(folder.path()).unwrap_err().to_string();
    assert!(text.contains("no program initdb"), "{text}");
}

#[test]
fn a_wrong_stent_pg_bin_is_an_error_even_where_another_postgresql_is_installed() {
    let program = env!("CARGO_BIN_EXE_stent-test-postgres");
    let output = Command::new(program).env("STENT_PG_BIN", "/no/such/folder").output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("STENT_PG_BIN") && text.contains("/no/such/folder"), "{text}");
}
