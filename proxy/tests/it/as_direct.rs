//! The same bytes to PostgreSQL itself and to the proxy: every answer is the same.
//!
//! Each script is run on a direct connection, in session mode, and in transaction mode where other
//! clients take and return the pool's servers all the while. The number in front of a script is its
//! point in `docs/protocol-checklist.md`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stent_proxy::config::PoolMode;
use stent_testkit::Postgres;

use super::raw::{Message, Raw, bind, execute, message, parse, query, sync};
use super::support::Proxy;

/// What a client does.
enum Step {
    /// It sends these bytes.
    Say(Vec<u8>),
    /// It reads up to a message of this type.
    Hear(u8),
}

use Step::{Hear, Say};

/// A script: its points, what it is about, and what the client does.
type Script = (&'static [u8], &'static str, Vec<Step>);

#[test]
fn simple_queries_are_answered_as_by_postgresql() {
    expect_the_same(&[
        (&[30], "several statements, one of which fails", simple("select 1; select 1/0; select 2")),
        (&[31], "nothing but a semicolon", [simple(""), simple(";"), simple(" -- x")].concat_all()),
        (
            &[32],
            "several statements are one transaction",
            [
                simple("create table a (n int); insert into a values (1); select 1/0"),
                simple("select count(*) from a"),
            ]
            .concat_all(),
        ),
        (
            &[33, 34],
            "BEGIN and COMMIT among several statements",
            [
                simple("begin; select 1; commit; select 2; select 3/0"),
                simple("select 1; begin; select 2"),
                simple("select 1/0"),
                simple("select 2"),
                simple("commit"),
                simple("rollback"),
            ]
            .concat_all(),
        ),
        (
            &[66],
            "notices and parameters between rows",
            [
                simple("do $$ begin raise notice 'n%', 1; raise warning 'w'; end $$; select 1"),
                simple("set datestyle to german, ymd; select date '2024-02-01'; reset datestyle"),
                simple("begin; set local timezone to 'Asia/Tokyo'; commit"),
            ]
            .concat_all(),
        ),
        (
            &[65],
            "a function call",
            vec![
                // int4abs (oid 1397), one text argument, text result.
                Say(message(b'F', b"\0\0\x05\x75\0\x01\0\0\0\x01\0\0\0\x02-7\0\0")),
                Hear(b'Z'),
                Say(message(b'F', b"\0\0\0\x01\0\x01\0\0\0\x01\0\0\0\x02-7\0\0")),
                Hear(b'Z'),
            ],
        ),
    ]);
}

#[test]
fn pipelines_are_answered_as_by_postgresql() {
    let run = |sql| [parse("", sql), bind(""), describe(b'P', ""), execute()].concat();
    expect_the_same(&[
        (&[35], "Sync alone", vec![Say(sync()), Hear(b'Z')]),
        (&[36], "Syncs in a row", vec![Say(sync().repeat(3)), Hear(b'Z'), Hear(b'Z'), Hear(b'Z')]),
        (
            &[37],
            "an error, what it skips, and the groups behind it",
            vec![
                Say([
                    run("select 1"),
                    run("select 1/0"),
                    run("select 2"),
                    sync(),
                    run("select 3"),
                    sync(),
                    parse("fresh", "select 4"),
                    bind("nobody"),
                    execute(),
                    sync(),
                    parse("fresh", "select 5"),
                    bind("fresh"),
                    execute(),
                    sync(),
                ]
                .concat()),
                Hear(b'Z'),
                Hear(b'Z'),
                Hear(b'Z'),
                Hear(b'Z'),
            ],
        ),
        (
            &[37],
            "a Query in the middle of what is skipped",
            vec![
                Say([bind("nobody"), query("select 1"), sync(), query("select 2")].concat()),
                Hear(b'Z'),
                Hear(b'Z'),
            ],
        ),
        (
            &[39, 40],
            "Flush without Sync",
            vec![
                Say([parse("", "select 7"), flush()].concat()),
                Hear(b'1'),
                Say([bind(""), execute(), flush()].concat()),
                Hear(b'C'),
                Say(sync()),
                Hear(b'Z'),
            ],
        ),
        (&[41], "a portal that is read in parts", suspended()),
        (&[42], "portals at the end of their transaction", portals()),
        (
            &[43],
            "the unnamed statement in a later group",
            vec![
                Say([parse("", "select 8"), describe(b'S', ""), sync()].concat()),
                Hear(b'Z'),
                Say([bind(""), execute(), sync()].concat()),
                Hear(b'Z'),
                Say([bind(""), describe(b'P', ""), execute(), sync()].concat()),
                Hear(b'Z'),
            ],
        ),
        (&[44], "thousands of parameters", many_parameters()),
    ]);
}

#[test]
fn prepared_statements_are_answered_as_by_postgresql() {
    let long = "n".repeat(9_000);
    expect_the_same(&[
        (
            &[45],
            "a name longer than PostgreSQL's identifiers",
            groups(&[&[parse(&long, "select 1")], &[bind(&long), execute()], &[bind("n")]]),
        ),
        (
            &[46, 49],
            "a Parse that fails, one that is skipped, and the same names again",
            groups(&[
                &[parse("a", "selec"), parse("b", "select 1")],
                &[bind("a"), execute()],
                &[bind("b"), execute()],
                &[parse("a", "select 2"), bind("a"), execute()],
                &[parse("b", "select 3"), bind("b"), execute()],
            ]),
        ),
        (
            &[47, 51],
            "a name that is taken, and the same name after Close",
            groups(&[
                &[parse("a", "select 1")],
                &[parse("a", "select 2")],
                &[parse("a", "selec")],
                &[bind("a"), execute()],
                &[close(b'S', "a"), parse("a", "select 2"), bind("a"), execute()],
            ]),
        ),
        (
            &[48, 50],
            "names that nobody has",
            groups(&[
                &[bind("no"), execute()],
                &[describe(b'S', "_stent_1")],
                &[describe(b'P', "no")],
                &[close(b'S', "no"), close(b'P', "no"), close(b'S', "")],
            ]),
        ),
        (
            &[52, 5],
            "descriptions, and reports that name the statement",
            groups(&[
                &[parse("a", "select $1::int, 'x' as y"), describe(b'S', "a")],
                &[bind("a"), execute()],
                &[parse("b", "update pg_class set relname = relname where false")],
                &[describe(b'S', "b"), bind("b"), describe(b'P', ""), execute()],
            ]),
        ),
    ]);
}

#[test]
fn prepared_statements_outlive_what_they_do_for_postgresql() {
    expect_the_same(&[
        (&[56], "what DEALLOCATE ALL and DISCARD ALL leave", forgotten()),
        (
            &[57],
            "PREPARE and EXECUTE as statements",
            [
                simple("prepare p (int) as select $1 + 1"),
                simple("execute p(1)"),
                simple("prepare p as select 1"),
                groups(&[&[bind("p"), execute()]]),
                simple("deallocate p"),
                simple("execute p(1)"),
                simple("deallocate p"),
            ]
            .concat_all(),
        ),
        (
            &[59],
            "a failed transaction loses no statement",
            [
                groups(&[&[parse("a", "select 1")]]),
                simple("begin"),
                simple("select 1/0"),
                groups(&[&[bind("a"), execute()], &[parse("b", "select 1")], &[bind("b")]]),
                simple("rollback"),
                groups(&[&[bind("a"), execute()], &[bind("b")]]),
            ]
            .concat_all(),
        ),
    ]);
}

#[test]
fn copy_is_answered_as_by_postgresql() {
    let copy = "copy pg_temp.c from stdin";
    let table = "create temp table c (n int)";
    let data = |rows: &str| message(b'd', rows.as_bytes());
    let in_step = |steps: Vec<Step>| {
        [simple(table), steps, simple("select n + 0 from c"), simple("drop table c")].concat_all()
    };
    let done = || message(b'c', b"");
    let fail = || message(b'f', b"not today\0");
    expect_the_same(&[
        (
            &[60],
            "COPY in",
            in_step(vec![
                Say(query(copy)),
                Hear(b'G'),
                Say([data("1\n2"), data("3\n"), done()].concat()),
                Hear(b'Z'),
            ]),
        ),
        (
            &[60],
            "COPY in that the client gives up",
            in_step(vec![
                Say(query(copy)),
                Hear(b'G'),
                Say([data("1\n"), fail()].concat()),
                Hear(b'Z'),
            ]),
        ),
        (
            &[61],
            "data that comes after the error",
            in_step(vec![
                Say(query(copy)),
                Hear(b'G'),
                Say(data("x\n")),
                Hear(b'E'),
                Hear(b'Z'),
                Say([data("1\n"), data("2\n"), done(), fail(), query("select 1")].concat()),
                Hear(b'Z'),
            ]),
        ),
        (
            &[62],
            "Flush and Sync during COPY in",
            in_step(vec![
                Say([parse("", copy), bind(""), execute(), flush()].concat()),
                Hear(b'G'),
                Say([data("1\n"), flush(), sync(), data("2\n"), done(), sync()].concat()),
                Hear(b'Z'),
            ]),
        ),
        (
            &[63],
            "COPY out",
            [
                simple("copy (select * from generate_series(1, 1000)) to stdout"),
                simple("copy (select 1 / (3 - n) from generate_series(1, 5) as n) to stdout"),
            ]
            .concat_all(),
        ),
    ]);
}

fn simple(sql: &str) -> Vec<Step> {
    vec![Say(query(sql)), Hear(b'Z')]
}

/// Messages that end in a Sync each.
fn groups(groups: &[&[Vec<u8>]]) -> Vec<Step> {
    let steps = groups.iter().map(|group| vec![Say([group.concat(), sync()].concat()), Hear(b'Z')]);
    steps.flatten().collect()
}

fn suspended() -> Vec<Step> {
    let some =
        |portal: &str, rows: u8| message(b'E', &[portal.as_bytes(), &[0, 0, 0, 0, rows]].concat());
    let sql = "select * from generate_series(1, 5)";
    groups(&[
        &[parse("", sql), bind(""), some("", 2), some("", 2), some("", 2), some("", 2)],
        &[some("", 1)],
    ])
}

fn portals() -> Vec<Step> {
    let named = message(b'B', b"p\0\0\0\0\0\0\0\0");
    let run = message(b'E', b"p\0\0\0\0\x01");
    [
        simple("begin"),
        groups(&[
            &[parse("", "select * from generate_series(1, 3)"), named.clone(), run.clone()],
            std::slice::from_ref(&run),
            &[named],
        ]),
        simple("rollback"),
        groups(&[&[run]]),
        simple("begin"),
        simple("declare h cursor with hold for select * from generate_series(1, 3)"),
        simple("declare d cursor for select 1"),
        simple("fetch h; commit"),
        simple("fetch h; fetch h"),
        simple("fetch d"),
        simple("close h"),
    ]
    .concat_all()
}

fn many_parameters() -> Vec<Step> {
    const PARAMETERS: usize = 65_535;
    let numbers: Vec<String> = (1..=PARAMETERS).map(|n| format!("${n}")).collect();
    let sql = format!("select sum(n) from unnest(array[{}]::int[]) as n", numbers.join(","));
    let mut body = b"\0many\0\0\0".to_vec();
    body.extend_from_slice(&(PARAMETERS as u16).to_be_bytes());
    for n in 0..PARAMETERS {
        let text = (n % 7).to_string();
        body.extend_from_slice(&(text.len() as u32).to_be_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    body.extend_from_slice(&[0, 0]);
    groups(&[&[parse("many", &sql)], &[message(b'B', &body), execute()]])
}

fn forgotten() -> Vec<Step> {
    let mut steps = Vec::new();
    for all in ["deallocate all", "discard all"] {
        let known: &[&[Vec<u8>]] = &[&[parse("a", "select 1")], &[parse("b", "select 1")]];
        let gone: &[&[Vec<u8>]] = &[&[bind("a"), execute()], &[bind("b"), execute()]];
        steps.push([groups(known), simple(all), groups(gone)].concat_all());
        let by_parse = groups(&[&[parse("", all), bind(""), execute()]]);
        steps.push([groups(known), by_parse, groups(gone)].concat_all());
        // In one go: what comes behind has been sent before the answer is there.
        let pipeline = [
            parse("a", "select 1"),
            sync(),
            query(all),
            parse("a", "select 2"),
            bind("a"),
            execute(),
            sync(),
        ];
        let heard = [Hear(b'Z'), Hear(b'Z'), Hear(b'Z')];
        steps.push([vec![Say(pipeline.concat())], Vec::from(heard), simple(all)].concat_all());
    }
    steps.concat_all()
}

fn describe(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', &[&[kind], name.as_bytes(), b"\0"].concat())
}

fn close(kind: u8, name: &str) -> Vec<u8> {
    message(b'C', &[&[kind], name.as_bytes(), b"\0"].concat())
}

fn flush() -> Vec<u8> {
    message(b'H', b"")
}

trait ConcatAll {
    fn concat_all(self) -> Vec<Step>;
}

impl<T: IntoIterator<Item = Vec<Step>>> ConcatAll for T {
    fn concat_all(self) -> Vec<Step> {
        self.into_iter().flatten().collect()
    }
}

fn expect_the_same(scripts: &[Script]) {
    let pg = Postgres::start().unwrap();
    let session = Proxy::start(&pg, |config| config.pool_mode = PoolMode::Session);
    let transaction = Proxy::start(&pg, |config| {
        config.default_pool_size = std::num::NonZeroU32::new(2).unwrap();
    });
    let _others = Others::start(&transaction, 2);
    let mut direct = Raw::login_at(pg.port());
    let mut clients = [Raw::login(&session), Raw::login(&transaction)];
    for (points, about, steps) in scripts {
        let expected = play(&mut direct, steps);
        for (client, mode) in clients.iter_mut().zip(["session", "transaction"]) {
            let said = play(client, steps);
            assert_eq!(shown(&said), shown(&expected), "{points:?} {about}, {mode} mode");
        }
    }
}

fn play(client: &mut Raw, steps: &[Step]) -> Vec<Message> {
    let mut heard = Vec::new();
    for step in steps {
        match step {
            Say(bytes) => client.send(bytes),
            Hear(until) => loop {
                let message = client.next().expect("the connection lives on");
                let last = message.0 == *until;
                heard.push(message);
                if last {
                    break;
                }
            },
        }
    }
    heard
}

/// Messages as text. Where in PostgreSQL's source an error was raised is left out: a Parse of ours
/// may meet it before the client's Bind does.
fn shown(messages: &[Message]) -> Vec<String> {
    let text = |(tag, body): &Message| {
        let mut body = String::from_utf8_lossy(body).into_owned();
        if *tag == b'E' {
            let fields = body.split('\0').filter(|field| !field.starts_with(['F', 'L', 'R']));
            body = fields.collect::<Vec<_>>().join("\0");
        }
        format!("{} {}", char::from(*tag), body.escape_debug())
    };
    messages.iter().map(text).collect()
}

/// Clients that take and return servers all the while, each for a millisecond.
struct Others {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Others {
    fn start(proxy: &Proxy, number: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..number).map(|_| {
            let (mut client, stop) = (Raw::login(proxy), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    client.send(
                        &[parse("a", "select pg_sleep(0.001)"), bind("a"), execute(), sync()]
                            .concat(),
                    );
                    client.until_ready();
                    client.send(&[close(b'S', "a"), parse("", "select 98"), sync()].concat());
                    client.until_ready();
                }
            })
        });
        Self { threads: threads.collect(), stop }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the other clients were served");
        }
    }
}
