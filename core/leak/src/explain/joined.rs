//! One explanation of everything that is wrong at a moment: memory, connections, locks, the database
//! and the traffic, ranked.
//!
//! Owns: what follows from what. A forgotten transaction that holds rows explains those that wait for
//! them; clients that wait for a server keep their requests in memory, and so explain growth.
//! Refuses: verdicts of its own: a symptom without a finding is said with low confidence.
//! Invariant: causes are ordered by confidence, at most [`CAUSES_MAX`], each with evidence and a next
//! step; nothing wrong gives no explanation; the same facts give the same text.

use stent_contract::{
    CauseKind, Diagnosis, Evidence, Explanation, JoinedCause, PostgresReading, ProxySnapshot,
    Resource, TargetSnapshot, VerdictLevel,
};

use crate::text;

/// The most causes.
const CAUSES_MAX: usize = 8;
/// Disconnects of servers that are looked back at, milliseconds.
const LOOK_BACK_MS: u64 = 60_000;
/// So many servers lost in that time are no accident.
const LOST_MIN: usize = 3;
/// A target that started this recently may be a new build, milliseconds.
const NEW_MS: u64 = 3_600_000;
/// A silence in a transaction from which on it is suspected of holding up others, milliseconds.
const SILENT_MIN_MS: u64 = 5_000;

/// What is known of one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// When, milliseconds since the Unix epoch.
    pub now_unix_ms: u64,
    /// What stands, of memory and of connections.
    pub diagnoses: &'a [Diagnosis],
    /// The watched processes.
    pub targets: &'a [TargetSnapshot],
    /// The proxy's side.
    pub proxy: Option<&'a ProxySnapshot>,
    /// PostgreSQL's side.
    pub postgres: Option<&'a PostgresReading>,
}

/// Joins everything. `None` while nothing is wrong.
pub fn explain_all(of: &Surroundings<'_>) -> Option<Explanation> {
    let mut causes: Vec<JoinedCause> = Vec::new();
    causes.extend(forgotten(of));
    causes.extend(locks(of));
    causes.extend(database_away(of));
    causes.extend(servers_lost(of));
    causes.extend(pool_too_small(of));
    let explained = causes.iter().any(|cause| cause.kind == CauseKind::ForgottenTransactions);
    causes.extend(of.diagnoses.iter().filter_map(|diagnosis| growth(of, diagnosis, explained)));
    causes.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then(a.kind.cmp(&b.kind)));
    causes.truncate(CAUSES_MAX);
    debug_assert!(causes.iter().all(|cause| !cause.evidence.is_empty()), "no cause from nothing");
    let first = causes.first()?;
    let summary = match causes.len() - 1 {
        0 => first.text.clone(),
        more => format!("{} (and {} less likely)", first.text, text::count(more, "cause")),
    };
    assert!(!first.next_step.is_empty(), "each cause says what to do");
    Some(Explanation { at_unix_ms: of.now_unix_ms, summary, causes })
}

fn waiting(of: &Surroundings<'_>) -> u32 {
    let pools = of.proxy.map_or(&[][..], |proxy| &proxy.pools);
    pools.iter().map(|pool| pool.clients_waiting).fold(0, u32::saturating_add)
}

/// Connections that their clients have forgotten: the root of queues, of locks and of growth.
fn forgotten(of: &Surroundings<'_>) -> Option<JoinedCause> {
    let held = of.diagnoses.iter().filter(|of| of.verdict.resource == Resource::Connections);
    let worst = held.max_by(|a, b| a.verdict.confidence.total_cmp(&b.verdict.confidence))?;
    let mut evidence =
        vec![fact("held_transactions", worst.holders.len() as f64, worst.summary.clone())];
    let mut follows = Vec::new();
    let waiting = waiting(of);
    if waiting > 0 {
        let who = text::count(waiting as usize, "client");
        evidence.push(fact(
            "clients_waiting",
            f64::from(waiting),
            format!("{who} waiting for a server"),
        ));
        follows.push(format!("{who} waiting"));
    }
    if let Some(blocked) = of.postgres.and_then(|postgres| postgres.blocked).filter(|n| *n > 0) {
        let who = text::count(blocked as usize, "statement");
        evidence.push(fact("blocked", f64::from(blocked), format!("{who} waiting for locks")));
        follows.push(format!("{who} waiting for locks"));
    }
    if grows(of) {
        evidence.push(fact("growing_targets", 1.0, "memory grows at the same time".to_owned()));
        follows.push("memory that grows with the requests that wait".to_owned());
    }
    let follows = match follows.is_empty() {
        true => String::new(),
        false => format!("; what follows: {}", follows.join(", ")),
    };
    Some(JoinedCause {
        kind: CauseKind::ForgottenTransactions,
        text: format!("{}{follows}", worst.summary),
        confidence: worst.verdict.confidence,
        evidence,
        next_step: worst.causes.first().map_or_else(
            || "look at the holders, longest first".to_owned(),
            |cause| cause.next_step.clone(),
        ),
    })
}

fn grows(of: &Surroundings<'_>) -> bool {
    of.diagnoses.iter().any(|diagnosis| diagnosis.verdict.resource == Resource::Memory)
}

/// Statements that wait for rows which somebody holds.
fn locks(of: &Surroundings<'_>) -> Option<JoinedCause> {
    let postgres = of.postgres?;
    let blocked = postgres.blocked.filter(|blocked| *blocked > 0)?;
    let who = text::count(blocked as usize, "statement");
    let mut evidence =
        vec![fact("blocked", f64::from(blocked), format!("{who} waiting for locks"))];
    let silent = postgres.idle_in_transaction_max_ms;
    let (confidence, why, next_step) = if silent >= SILENT_MIN_MS {
        let since = text::duration(silent as f64 / 1_000.0);
        let pid = postgres.idle_in_transaction_pid;
        let idle = format!("backend {pid} has been silent in a transaction for {since}");
        evidence.push(fact("idle_in_transaction_pid", f64::from(pid), idle.clone()));
        let next = format!(
            "see what {pid} holds: SELECT * FROM pg_locks WHERE pid = {pid}; end it if it is forgotten"
        );
        (0.7, format!("; {idle} and may hold what they wait for"), next)
    } else {
        let next = "SELECT pid, pg_blocking_pids(pid), query FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        (
            0.4,
            "; no silent transaction is seen: a long one works, or a migration".to_owned(),
            next.to_owned(),
        )
    };
    let text = format!("{who} waiting for locks{why}");
    Some(JoinedCause { kind: CauseKind::Locks, text, confidence, evidence, next_step })
}

/// No server can be opened.
fn database_away(of: &Surroundings<'_>) -> Option<JoinedCause> {
    let failing =
        of.proxy?.pools.iter().filter_map(|pool| Some((pool, pool.connect_error.as_ref()?)));
    let (pool, error) = failing.max_by_key(|(pool, _)| pool.clients_waiting)?;
    let name = format!("{}/{}", pool.database, pool.user);
    let waiting = f64::from(pool.clients_waiting);
    Some(JoinedCause {
        kind: CauseKind::DatabaseAway,
        text: format!("no server can be opened for {name}: {error}"),
        confidence: if pool.clients_waiting > 0 { 0.95 } else { 0.6 },
        evidence: vec![fact("connect_error_clients_waiting", waiting, error.clone())],
        next_step: "see whether the database runs, takes connections and knows this user"
            .to_owned(),
    })
}

/// Servers that ended by themselves, one after the other.
fn servers_lost(of: &Surroundings<'_>) -> Option<JoinedCause> {
    let from = of.now_unix_ms.saturating_sub(LOOK_BACK_MS);
    let lost =
        of.proxy?.disconnects.iter().filter(|end| {
            end.side == "server" && end.cause == "server_lost" && end.at_unix_ms >= from
        });
    let lost: Vec<_> = lost.collect();
    let newest = lost.first().filter(|_| lost.len() >= LOST_MIN)?;
    let many = text::count(lost.len(), "server connection");
    let text = format!("{many} lost within a minute: {}", newest.detail);
    Some(JoinedCause {
        kind: CauseKind::ServersLost,
        confidence: 0.8,
        evidence: vec![fact("servers_lost", lost.len() as f64, text.clone())],
        text,
        next_step:
            "look for a restart or a failover in the database's log, and for what is between"
                .to_owned(),
    })
}

/// A queue although nobody has forgotten anything: the pool is smaller than the work.
fn pool_too_small(of: &Surroundings<'_>) -> Option<JoinedCause> {
    let name = |database: &str, user: &str| format!("{database}/{user}");
    let judged = |pool: &str| of.diagnoses.iter().any(|other| other.verdict.target == pool);
    let busy = of.proxy?.pools.iter().filter(|pool| {
        pool.clients_waiting > 0
            && pool.connect_error.is_none()
            && !pool.paused
            && pool.servers_active >= pool.size_max
            && !judged(&name(&pool.database, &pool.user))
    });
    let pool = busy.max_by_key(|pool| pool.maxwait_ms)?;
    let (who, since) = (
        text::count(pool.clients_waiting as usize, "client"),
        text::duration(pool.maxwait_ms as f64 / 1_000.0),
    );
    let name = name(&pool.database, &pool.user);
    Some(JoinedCause {
        kind: CauseKind::PoolTooSmall,
        text: format!(
            "all {} servers of {name} work, {who} waiting, the first for {since}",
            pool.size_max
        ),
        confidence: 0.6,
        evidence: vec![fact(
            "clients_waiting",
            f64::from(pool.clients_waiting),
            format!("{who} waiting"),
        )],
        next_step:
            "make the slowest statements faster; then raise default_pool_size, if `stent budget` \
                    allows it"
                .to_owned(),
    })
}

/// Memory that grows, with what is known of whose it is and since when.
fn growth(of: &Surroundings<'_>, diagnosis: &Diagnosis, explained: bool) -> Option<JoinedCause> {
    let verdict = &diagnosis.verdict;
    let kind = match verdict.resource {
        Resource::Memory => CauseKind::MemoryGrowth,
        Resource::Descriptors | Resource::Threads => CauseKind::HandleGrowth,
        Resource::Connections => return None,
    };
    if verdict.level == VerdictLevel::Healthy {
        return None;
    }
    let is_memory = kind == CauseKind::MemoryGrowth;
    let mut evidence = verdict.evidence.clone();
    let mut text = diagnosis.summary.clone();
    let mut confidence = verdict.confidence;
    let target = of.targets.iter().find(|target| target.name == verdict.target);
    let named = target.filter(|_| is_memory).and_then(|of| of.attribution.as_ref()?.frames.first());
    let mut next_step = diagnosis.causes.first().map(|cause| cause.next_step.clone())?;
    if let Some(frame) = named {
        let line = frame.line.map_or_else(String::new, |line| format!(":{line}"));
        let place = format!("{} ({}{line})", frame.function, frame.file);
        text = format!("{text}; {:.0} % of it is kept by {place}", frame.share * 100.0);
        evidence.push(fact("attributed_bytes", frame.bytes as f64, place.clone()));
        next_step = format!("look at what {place} keeps, and give it a bound or an end");
    } else if is_memory && explained && waiting(of) > 0 {
        // Nothing names a line, and there is a reason for requests to pile up.
        confidence *= 0.5;
        text = format!("{text}; perhaps only what the waiting requests keep");
    }
    let life = target.and_then(|target| target.reading.as_ref());
    let age = life.map(|reading| of.now_unix_ms.saturating_sub(reading.started_unix_ms));
    if let Some(age) = age.filter(|age| *age < NEW_MS) {
        let since = text::duration(age as f64 / 1_000.0);
        let started = format!("it started {since} ago, perhaps of another build");
        evidence.push(fact("life_seconds", age as f64 / 1_000.0, started.clone()));
        text = format!("{text}; {started}");
    }
    if evidence.is_empty() {
        evidence.push(fact("growth_per_hour", verdict.growth_per_hour, diagnosis.summary.clone()));
    }
    Some(JoinedCause { kind, text, confidence, evidence, next_step })
}

fn fact(key: &str, value: f64, text: String) -> Evidence {
    Evidence { key: key.to_owned(), value, text }
}
