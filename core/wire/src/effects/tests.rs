//! What is told from a statement's text.

use std::sync::Arc;

use super::*;

fn builtin() -> Arc<Builtin> {
    let names = ["count", "now", "lower", "generate_series", "pg_sleep", "set_config", "max"];
    Arc::new(Builtin::new(names.map(|name| name.as_bytes().to_vec())))
}

fn known() -> Functions {
    Functions::learn(builtin(), &[], 1)
}

fn of(sql: &str) -> Effects {
    lasting(scan(sql.as_bytes(), &known()))
}

/// What reaches beyond the transaction.
fn lasting(effects: Effects) -> Effects {
    let passing = Effects::MADE.union(Effects::SETS).union(Effects::HIDES);
    Effects::from_bits(effects.bits() & !passing.bits())
}

#[test]
fn what_bends_the_rest_of_a_transaction_is_seen() {
    let bends = |sql: &str| scan(sql.as_bytes(), &known()).any(Effects::BENDS);
    for sql in [
        "set local datestyle = german",
        "set time zone 'UTC'",
        "select set_config('datestyle', 'german', true)",
        "select 1 into t",
        "with x as (select 1) select * into y from x",
        "select mystery()",
        "do $$ begin end $$",
        "call p()",
        "create table t (a int)",
        "reset all",
    ] {
        assert!(bends(sql), "{sql}");
    }
    for sql in [
        "insert into t values (1)",
        "with x as (insert /* c */ into t values (1) returning a) select * from x",
        "begin",
        "set transaction isolation level serializable",
        "set constraints all deferred",
        "savepoint s",
        "select now()",
    ] {
        assert!(!bends(sql), "{sql}");
    }
}

#[test]
fn functions_that_may_define_something_are_told_from_those_that_people_made() {
    let definition = |name: &str, text: &str, called| Definition {
        name: name.into(),
        source: Source::Text(text.into()),
        called,
    };
    let made = [
        definition("plain", "select 1", Called::ByName),
        definition("maker", "begin create table t (a int); end", Called::ByName),
        definition("caller", "select maker()", Called::ByName),
        definition("runs", "begin execute what; end", Called::ByName),
        definition("audit", "begin execute format('insert into %I', a); end", Called::Unnamed),
    ];
    let functions = Functions::learn(builtin(), &made, 2);
    let hides =
        |name: &str| scan(format!("select {name}()").as_bytes(), &functions).any(Effects::HIDES);
    assert!(!hides("plain") && hides("maker") && hides("caller") && hides("runs"));
    assert!(hides("nobody_knows") && !hides("now") && !hides("audit"));
    assert!(scan(b"select plain()", &functions).any(Effects::MADE));
    assert!(!functions.defines_hidden());
    let hidden = [definition("partitions", "execute 'create table x'", Called::Unnamed)];
    assert!(Functions::learn(builtin(), &hidden, 3).defines_hidden());
}

#[test]
fn everyday_statements_leave_nothing_behind() {
    for sql in [
        "",
        ";;",
        "select 1",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;",
        "select count(*), max(x)::numeric(10,2) from t where a in (1,2) and exists (select 1)",
        "select pg_catalog.now()",
        "insert into t (a, b) values (1, 'set x = 1; create temp table y()') on conflict (a) do nothing",
        "insert into public.\"T\" (a) select lower(b) from u as v(b) returning (a)",
        "update t set temp = 5 where \"set\" = 1",
        "select temp, temperature from weather",
        "set local work_mem = '7MB'",
        "set transaction isolation level serializable",
        "set time zone 'UTC'",
        "SET SESSION TIME ZONE 'UTC'",
        "set client_encoding to 'utf8'",
        "set names 'utf8'",
        "declare c cursor for select 1",
        "prepare transaction 'x'",
        "with x as (select 1) select * from x join generate_series(1, 3) as g(n) on (true)",
        "select cast(a as varchar(20)) from t -- set work_mem = 1",
        "copy t (a, b) from stdin",
        "/* create temp table */ select $$set x = 1$$",
        "explain analyze select 1",
        "notify a, 'b'",
        "select count(*) filter (where a), max(b) over (partition by (c)) from t order by (d)",
        "insert into t values (1) on conflict (a) do update set b = excluded.b returning (a)",
    ] {
        assert_eq!(of(sql), Effects::NONE, "{sql}");
    }
}

#[test]
fn what_makes_session_state_is_seen() {
    for (sql, effects) in [
        ("set work_mem = '7MB'", Effects::SETTING),
        ("SET SESSION statement_timeout TO 5", Effects::SETTING),
        ("set app.tenant = '1'", Effects::SETTING),
        ("set session characteristics as transaction read only", Effects::SETTING),
        ("select set_config('a.b', $1, false)", Effects::SETTING),
        ("select 1; select \"pg_catalog\".\"set_config\" ('a.b', $1, false)", Effects::SETTING),
        ("set role bob", Effects::ROLE),
        ("set session authorization bob", Effects::ROLE),
        ("create temp table t ()", Effects::TEMP),
        ("create local temporary table t ()", Effects::TEMP),
        ("create or replace temp view v as select 1", Effects::TEMP),
        ("select 1 into temp t", Effects::TEMP),
        ("create table pg_temp.t ()", Effects::TEMP),
        ("select pg_advisory_lock(72707369)", Effects::LOCK),
        ("select pg_catalog.pg_try_advisory_lock_shared (1, 2)", Effects::LOCK),
        ("listen a", Effects::LISTEN),
        ("declare c cursor with hold for select 1", Effects::CURSOR),
        ("prepare p as select 1", Effects::PREPARE),
        ("load 'plpgsql'", Effects::LOAD),
        ("do $$begin end$$", Effects::UNKNOWN),
        ("call p()", Effects::UNKNOWN),
        ("select f(1)", Effects::UNKNOWN),
        ("select over(1)", Effects::UNKNOWN),
        ("select by (1)", Effects::UNKNOWN),
        ("select public.count(1), my.f(2)", Effects::UNKNOWN),
        ("execute p", Effects::UNKNOWN),
        ("explain analyze execute p", Effects::UNKNOWN),
        ("create function f() returns int language sql as 'select 1'", Effects::DEFINES),
        ("select 'a\\'; set x = 1 --'", Effects::UNKNOWN),
        ("select lastval()", Effects::SEQUENCE),
        ("begin; select 1; commit", Effects::BLOCK),
        ("start transaction read only", Effects::BLOCK),
        ("reset all", Effects::RESETS),
        ("discard all", Effects::RESETS),
        ("unlisten *", Effects::UNDOES),
        ("close all", Effects::UNDOES),
        ("deallocate all", Effects::UNDOES),
        ("drop table t", Effects::UNDOES),
        ("select pg_advisory_unlock(1)", Effects::UNDOES),
    ] {
        assert!(of(sql).any(effects), "{sql}: {:?}", of(sql));
    }
}

#[test]
fn nothing_known_means_that_every_call_is_unknown() {
    assert!(scan(b"select now()", &Functions::default()).any(Effects::UNKNOWN));
    assert!(scan(b"select 1", &Functions::default()).is_none());
}

#[test]
fn functions_are_judged_by_their_source_and_by_whom_they_call() {
    let own = |name: &str, source: &str| Definition {
        name: name.into(),
        source: Source::Text(source.into()),
        called: Called::ByName,
    };
    let functions = Functions::learn(
        builtin(),
        &[
            own("plain", "begin update t set a = 1; return new; end"),
            own("sets", "begin set work_mem = '7MB'; end"),
            own("hides", "begin execute 'SET work_mem = 1'; end"),
            own("configures", "begin perform set_config('a.b', '1', false); end"),
            own("calls", "select sets()"),
            own("calls_calls", "select 1 + calls()"),
            own("locks", "select pg_advisory_lock(1)"),
            own("locks_for_a_while", "select pg_advisory_xact_lock(1)"),
            own("max", "select sets()"),
            Definition { source: Source::Extension, ..own("distance", "") },
            Definition { source: Source::Opaque, ..own("odd", "") },
        ],
        2,
    );
    for (sql, effects) in [
        ("select plain()", Effects::NONE),
        ("select locks_for_a_while()", Effects::NONE),
        ("select sets()", Effects::UNKNOWN),
        ("select hides()", Effects::UNKNOWN),
        ("select configures()", Effects::UNKNOWN),
        ("select calls_calls()", Effects::UNKNOWN),
        ("select locks()", Effects::UNKNOWN),
        ("select max(1)", Effects::UNKNOWN),
        ("select distance(1)", Effects::NONE),
        ("select odd(1)", Effects::UNKNOWN),
    ] {
        assert_eq!(lasting(scan(sql.as_bytes(), &functions)), effects, "{sql}");
    }
    assert!(functions.hidden_effects().is_none());
    let trigger = Definition { called: Called::Unnamed, ..own("trigger", "begin set x = 1; end") };
    assert!(Functions::learn(builtin(), &[trigger], 3).hidden_effects().any(Effects::UNKNOWN));
}

#[test]
fn custom_settings_are_named() {
    let names = |sql: &str| -> Vec<String> {
        let names = custom_settings(sql.as_bytes()).into_iter();
        names.map(|name| String::from_utf8(name).unwrap()).collect()
    };
    assert_eq!(names("set App.tenant = '1'"), ["app.tenant"]);
    assert_eq!(names("SET SESSION a.b TO 2; set work_mem = 1"), ["a.b"]);
    assert_eq!(
        names("select set_config('x.y', $1, false), set_config( 'z.w', 'q.r', true)"),
        ["x.y", "z.w"]
    );
    assert!(names("update t set a = b.c").is_empty());
    assert!(names("select set_config($1, $2, false)").is_empty());
}

const TELLING: [&str; 13] = [
    "into",
    "as",
    "copy",
    "references",
    "recursive",
    "index",
    "analyze",
    "temp",
    "temporary",
    "hold",
    "pg_temp",
    "pg_temp_3",
    "pg_temporary",
];

proptest::proptest! {
    #[test]
    fn no_word_that_tells_something_passes_the_quick_look(
        at in 0..TELLING.len(),
        upper in proptest::collection::vec(proptest::bool::ANY, 12),
        other in "[a-z_0-9]{1,11}",
    ) {
        let letters = TELLING[at].bytes().zip(upper);
        let mixed: Vec<u8> =
            letters.map(|(byte, up)| if up { byte.to_ascii_uppercase() } else { byte }).collect();
        proptest::prop_assert!(words::may_matter(&mixed));
        proptest::prop_assert!(words::may_matter(&[b"\"", &mixed[..], b"\""].concat()));
        let other = other.as_bytes();
        let tells = words::names_something(other)
            || words::is_temporary(other)
            || words::is_temporary_schema(other)
            || words::holds(other);
        proptest::prop_assert!(!tells || words::may_matter(other));
    }
}
