//! What the clients of the differential test say to the database.
//!
//! Invariant: answers are determined by what was said before: every result is ordered, and nothing
//! shows an OID, a process number or the time.

/// What both databases begin with.
pub(super) const SETUP: &str = "\
    create schema one; create schema two; \
    create table t (a int, b text, c int default 7); \
    insert into t select n, 'b' || n, n * 2 from generate_series(1, 5) n; \
    create table one.t (a int, b text); insert into one.t values (11, 'one'); \
    create table two.t (a bigint, b int, x text); insert into two.t values (22, 2, 'two'); \
    create table wide (a int, n numeric(6, 2), s varchar(8), d date, z timestamptz); \
    insert into wide values (1, 1.5, 'short', '2026-01-02', '2026-01-02 03:04:05+00'); \
    create type mood as enum ('sad', 'ok'); \
    create function f(int) returns int language sql as 'select $1 + 1'; \
    create function definer() returns int language plpgsql as \
      'begin execute ''alter table wide alter s type varchar(8)''; return 1; end'; \
    create view v as select a, b from t; \
    grant all on all tables in schema public, one, two to guest; \
    grant usage on schema public, one to guest";

/// A statement, and how many parameters it has.
pub(super) type Text = (&'static str, usize);

/// Statements without an effect on definitions or settings.
pub(super) const STATEMENTS: [Text; 52] = [
    ("select a, b from t where a = $1 order by 1, 2", 1),
    ("select * from t order by t::text", 0),
    ("select * from t where b = $1 order by t::text", 1),
    ("SELECT a FROM t WHERE a > $1 AND a < $2 ORDER BY a", 2),
    ("select count(*) from t", 0),
    ("select count(*), max(a) from t where b like $1", 1),
    ("insert into t (a, b) values ($1, $2)", 2),
    ("insert into t (a, b) values ($1, $2) returning *", 2),
    ("update t set b = $2 where a = $1", 2),
    ("delete from t where a = $1 and a > 5 returning a", 1),
    ("select * from wide order by wide::text", 0),
    ("insert into wide (a, s) values ($1, $2)", 2),
    ("insert into wide (a, n) values (1, $1) returning n", 1),
    ("insert into wide (a, d) values (1, '03/04/2026') returning d", 0),
    ("select $1", 1),
    ("select $1::int + 1", 1),
    ("select 10 / $1::int", 1),
    ("select 1 / 0", 0),
    ("select '01/02/2026'::date", 0),
    ("select date '02.03.2026', '2026-05-06'::date", 0),
    ("select '2026-01-02 03:04:05+00'::timestamptz", 0),
    ("select '2026-01-02 03:04:05'::timestamptz", 0),
    ("select $1::timestamptz", 1),
    ("select '1 day -02:03:04'::interval, interval '1-2 3'", 0),
    ("select interval '1 day 2 hours'::text", 0),
    ("select 'a\\nb', '\\x41'::bytea", 0),
    ("select '\\x41ff'::bytea::text", 0),
    ("select 0.1::float8 + 0.2::float8, (1.0 / 3)::float8::text", 0),
    ("select 'now'::timestamptz > '2020-01-01', 'today'::date > '2020-01-01'", 0),
    ("select f($1)", 1),
    ("select f(1)", 0),
    ("select lower($1), $2", 2),
    ("select * from v order by v::text", 0),
    ("select a from v where b = $1 order by 1", 1),
    ("select 'ok'::mood, $1::mood", 1),
    ("select current_user, current_schema", 0),
    ("select current_setting('datestyle'), current_setting('search_path')", 0),
    ("select 1 as a_name_that_is_far_longer_than_the_sixty_three_bytes_that_are_kept_of_it", 0),
    ("select * from nowhere", 0),
    ("select nothing from t", 0),
    ("select * from gone order by 1", 0),
    ("select * from shade order by 1", 0),
    ("selec", 0),
    ("", 0),
    ("with x as (select a from t where a < $1) select count(*) from x", 1),
    ("values (1, 'x'), (2, $1) order by 1", 1),
    ("delete from wide where a is distinct from 1 or n > 1 or random() < 2", 0),
    ("select x.a, y.b from t x join t y using (a) where x.a = $1 order by 1, 2", 1),
    ("select generate_series(1, $1)", 1),
    ("select * from two.t as t order by t::text", 0),
    ("delete from t where a is null or a > 4", 0),
    ("select set_config('datestyle', $1, true)", 1),
];

/// Statements that begin and end transactions, as unnamed ones too.
pub(super) const ENDS: [&str; 5] =
    ["commit", "rollback", "commit", "rollback to savepoint s", "savepoint s"];

/// What takes rows away that others have inserted.
pub(super) const TIDIES: [&str; 2] = [
    "delete from public.t where a is null or a > 5 or c is distinct from a * 2",
    "delete from public.wide where n is distinct from 1.5",
];

/// What changes definitions.
pub(super) const DEFINITIONS: [&str; 27] = [
    "select definer()",
    "alter table t add column e int default 3",
    "alter table t drop column e",
    "alter table t alter c type bigint",
    "alter table t alter c type int",
    "alter table t alter a type bigint",
    "alter table t alter a type int",
    "alter table wide alter n type numeric(8, 3)",
    "alter table wide alter n type numeric(6, 2)",
    "alter table wide alter s type varchar(20)",
    "alter table wide rename d to day",
    "alter table wide rename day to d",
    "create table gone (a int)",
    "drop table gone",
    "create table one.shade as select 1 as a",
    "create table shade (a text)",
    "drop table one.shade",
    "drop table shade",
    "select 5 as a into shade",
    "create or replace function f(int) returns int language sql as 'select $1 + 2'",
    "drop function f(int); create function f(int) returns text language sql as 'select $1::text'",
    "create function f(text) returns text language sql as 'select ''text'' || $1'",
    "drop function f(text)",
    "create or replace view v as select a, b, c from t",
    "drop view v; create view v as select a, b from t",
    "do $$ begin execute 'create table if not exists gone (b text)'; end $$",
    "revoke usage on schema one from guest; grant usage on schema one to guest",
];

/// What changes settings.
pub(super) const SETTINGS: [&str; 24] = [
    "set search_path = one, public",
    "set search_path = two, public",
    "set search_path = public, one",
    "reset search_path",
    "set datestyle = 'German'",
    "set datestyle = 'ISO, DMY'",
    "set datestyle = 'SQL, MDY'",
    "reset datestyle",
    "set timezone = 'Asia/Tokyo'",
    "set time zone 'America/New_York'",
    "reset timezone",
    "set intervalstyle = 'sql_standard'",
    "reset intervalstyle",
    "set standard_conforming_strings = off",
    "reset standard_conforming_strings",
    "set bytea_output = 'escape'",
    "reset bytea_output",
    "set extra_float_digits = -10",
    "reset extra_float_digits",
    "set plan_cache_mode = force_generic_plan",
    "set plan_cache_mode = force_custom_plan",
    "reset plan_cache_mode",
    "set application_name = 'somebody'",
    "select set_config('datestyle', 'Postgres', false)",
];

/// The same for the transaction only.
pub(super) const LOCAL_SETTINGS: [&str; 6] = [
    "set local datestyle = 'German'",
    "set local search_path = two, public",
    "set local timezone = 'UTC'",
    "set local standard_conforming_strings = off",
    "set local plan_cache_mode = force_generic_plan",
    "select set_config('search_path', 'one', true)",
];

/// Values of parameters, as text; `None` is NULL.
pub(super) const VALUES: [Option<&str>; 14] = [
    Some("1"),
    Some("2"),
    Some("3"),
    Some("4"),
    Some("11"),
    Some("0"),
    Some("22"),
    Some("b1"),
    Some("b%"),
    Some("German"),
    Some("01/02/2026"),
    Some("a text that is too long"),
    Some("ok"),
    None,
];

/// Types that a Parse may declare: none, unknown, int4, int8, text.
pub(super) const TYPES: [Option<u32>; 6] = [None, None, Some(0), Some(23), Some(20), Some(25)];
