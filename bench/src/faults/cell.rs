//! One cell of the matrix: load, fault, recovery, audit.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use stent_testkit::wait_until;

use super::bank::{self, Audit, Believed};
use super::bystanders::{Bystanders, Queue, Seen};
use super::client::{Failure, Off};
use super::night::{LOG_LEVEL, Look};
use super::place::Place;
use super::row::{Row, Scene};
use super::worker::{Failed, Phase, ReadOnly, Record, Worker};
use super::{WORKERS, gauge};
use crate::endpoint::{Kind, Running, Setup};
use crate::figure::{Values, values};
use crate::lab::Lab;

/// Load before the fault, from which its throughput is known.
const BEFORE: Duration = Duration::from_millis(1_500);
/// Load after service is whole: a second fall would be seen.
const AFTER: Duration = Duration::from_secs(1);
/// Service that is not whole so long after the fault is not awaited any longer.
const RECOVERY_MAX: Duration = Duration::from_secs(30);
const WARM: Duration = Duration::from_secs(30);
/// For clients to end what they have begun.
const END: Duration = Duration::from_secs(10);
/// For a pooler that was told to end and whose clients have gone.
const EXIT: Duration = Duration::from_secs(30);
/// Commits of each worker before the clock runs.
const WARM_COMMITS: usize = 5;

/// The moments of a cell, since its load began.
#[derive(Clone, Copy, Debug)]
struct Moments {
    loaded: Duration,
    struck: Duration,
    lifted: Duration,
    whole: Option<Duration>,
    end: Duration,
}

/// Plays a row at an endpoint; the figures, and the endpoint's settings.
pub(super) fn play(lab: &mut Lab, row: Row, kind: Kind) -> Result<(Values, Vec<String>)> {
    bank::open(&lab.postgres)?;
    let standby = (row == Row::Promotion).then(|| lab.postgres.standby()).transpose()?;
    let place = Place::make(lab, row, kind, standby.as_ref())?;
    let setup = Setup { server: Some(place.server()), databases: 1, ..Setup::PLAIN };
    let within = |mut command: Command| {
        if row == Row::OffHours {
            command.env(LOG_LEVEL.0, LOG_LEVEL.1);
        }
        match &place.names {
            Some(names) => names.within(command),
            None => command,
        }
    };
    let mut endpoint = Running::start_within(kind, setup, lab, within)?;
    let user = lab.postgres.superuser();
    let queue = if kind == Kind::Direct { Queue::None } else { Queue::Pooled };
    let off = Off::default();
    let bystanders = Bystanders::start(endpoint.at(), user, queue, &off)?;
    let (names, network) = (place.names.as_ref(), place.network.as_ref());
    let mut scene = Scene { lab, way: &place.way, endpoint: &endpoint, names, network, standby };
    let paused = (row == Row::Pause).then(|| f64::from(u8::from(scene.can_pause())));
    let load = Load::start(endpoint.at(), user, kind, &off);
    let (moments, away) = load.go_through(row, &mut scene)?;
    let (records, seen) = load.end(bystanders, &off)?;
    let audit = bank::audit(scene.database(), &believed(&records))?;
    if row == Row::Promotion {
        scene.restore()?;
    }
    let mut values = figures(&records, &seen, audit, moments);
    if row == Row::Drain {
        values.insert("exit_code".to_owned(), f64::from(endpoint.exit_code(EXIT)));
    }
    values.extend(away);
    values.extend(place.is_real(row, kind).map(|(name, value)| (name.to_owned(), value)));
    values.extend(paused.map(|paused| ("paused".to_owned(), paused)));
    Ok((values, endpoint.settings().to_vec()))
}

/// The workers.
struct Load {
    began: Instant,
    records: Vec<Arc<Mutex<Record>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(at: SocketAddr, user: &str, kind: Kind, off: &Off) -> Self {
        let began = Instant::now();
        let read_only = match kind {
            Kind::Direct => ReadOnly::Reconnect,
            Kind::Stent
            | Kind::StentNamed
            | Kind::StentAll
            | Kind::PgBouncer
            | Kind::PgBouncer64k
            | Kind::PgBouncerDebian
            | Kind::PgDoorman => ReadOnly::Stay,
        };
        let records: Vec<Arc<Mutex<Record>>> = (0..WORKERS).map(|_| Arc::default()).collect();
        let threads = records
            .iter()
            .enumerate()
            .map(|(number, record)| {
                let worker = Worker {
                    number,
                    at,
                    user: user.to_owned(),
                    read_only,
                    began,
                    record: Arc::clone(record),
                    off: off.clone(),
                };
                std::thread::spawn(move || worker.run())
            })
            .collect();
        Self { began, records, threads }
    }

    fn records(&self) -> Vec<Record> {
        let copy = |record: &Arc<Mutex<Record>>| {
            record.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        self.records.iter().map(copy).collect()
    }

    /// Load, fault, and load until service is whole.
    fn go_through(&self, row: Row, scene: &mut Scene<'_>) -> Result<(Moments, Values)> {
        wait_until("every worker to commit", WARM, || {
            self.records().iter().all(|record| record.commits.len() >= WARM_COMMITS)
        })?;
        let loaded = self.began.elapsed();
        sleep(BEFORE);
        let struck = self.began.elapsed();
        let before = Look::at(scene.endpoint, scene.way)?;
        scene.strike(row)?;
        let after = Look::at(scene.endpoint, scene.way)?;
        let lifted = self.began.elapsed();
        let away = if row == Row::OffHours {
            before.to(&after, scene.endpoint.kind())
        } else {
            Values::new()
        };
        let mut moments = Moments { loaded, struck, lifted, whole: None, end: lifted };
        if row == Row::Drain {
            moments.end = lifted;
            return Ok((moments, away));
        }
        // Not in time is a figure too.
        let _ = wait_until("whole service", RECOVERY_MAX, || {
            moments.end = self.began.elapsed();
            moments.whole = whole(&self.records(), moments);
            moments.whole.is_some()
        });
        sleep(AFTER);
        moments.end = self.began.elapsed();
        Ok((moments, away))
    }

    /// Ends everybody; what they have seen.
    fn end(self, bystanders: Bystanders, off: &Off) -> Result<(Vec<Record>, Seen)> {
        off.finish();
        // Who does not finish waits for an answer that does not come: it gives up, and that counts.
        let finished = wait_until("clients to finish", END, || {
            self.threads.iter().all(JoinHandle::is_finished) && bystanders.have_finished()
        });
        if finished.is_err() {
            off.call_off();
        }
        let seen = bystanders.finish()?;
        let records = self.records();
        for thread in self.threads {
            ensure!(thread.join().is_ok(), "a worker panicked");
        }
        Ok((records, seen))
    }
}

fn commits(records: &[Record]) -> Vec<gauge::Commit> {
    let of = |(worker, record): (usize, &Record)| {
        record.commits.iter().map(move |at| (*at, worker)).collect::<Vec<_>>()
    };
    let mut all: Vec<gauge::Commit> = records.iter().enumerate().flat_map(of).collect();
    all.sort_unstable();
    all
}

fn whole(records: &[Record], moments: Moments) -> Option<Duration> {
    let commits = commits(records);
    let before = gauge::rate(&commits, moments.loaded, moments.struck);
    let Moments { struck, lifted, end, .. } = moments;
    gauge::full_service(&commits, records.len(), before, (struck, lifted, end))
}

fn believed(records: &[Record]) -> Believed {
    let mut all = Believed::default();
    for record in records {
        all.acknowledged.extend(&record.believed.acknowledged);
        all.in_doubt.extend(&record.believed.in_doubt);
    }
    all
}

fn figures(records: &[Record], seen: &Seen, audit: Audit, moments: Moments) -> Values {
    let Moments { loaded, struck, lifted, whole, end } = moments;
    let commits = commits(records);
    let failures: Vec<&Failed> = records.iter().flat_map(|record| &record.failures).collect();
    let in_phase = |phase| failures.iter().filter(|failed| failed.phase == phase).count() as f64;
    let with_code = |code| failures.iter().filter(|failed| failed.failure.code() == code).count();
    // Begun when everything had moved: nothing but an endpoint that has not noticed causes it.
    let late = failures
        .iter()
        .filter(|failed| failed.failure.code() == "25006" && failed.began > lifted)
        .count();
    // Its client was between two transactions when the fault struck.
    let began_idle = failures
        .iter()
        .filter(|failed| failed.phase == Phase::Begin && failed.began > struck)
        .count();
    let wrong_of = |seen: &[Failure]| seen.iter().filter(|seen| **seen == Failure::Odd).count();
    let wrong = records.iter().map(|record| record.wrong).sum::<u64>() as usize
        + [&seen.idle, &seen.holders, &seen.waiters]
            .map(|seen| wrong_of(seen))
            .iter()
            .sum::<usize>();
    let seconds = |at: Duration| at.as_secs_f64();
    let mut values = values([
        ("before_tps", gauge::rate(&commits, loaded, struck)),
        ("commits", commits.len() as f64),
        ("fault_s", seconds(lifted - struck)),
        ("gap_s", seconds(gauge::longest_gap(&commits, struck, end))),
        ("back_s", seconds(gauge::first_after(&commits, lifted, end))),
        ("idle_errors", seen.idle.len() as f64),
        ("waiting_errors", seen.waiters.len() as f64),
        ("holding_errors", seen.holders.len() as f64),
        ("login_errors", in_phase(Phase::Login)),
        ("begin_errors", in_phase(Phase::Begin)),
        ("idle_begin_errors", began_idle as f64),
        ("transaction_errors", in_phase(Phase::Transaction)),
        ("commit_errors", in_phase(Phase::Commit)),
        ("late_25006", late as f64),
        ("lost", audit.lost as f64),
        ("phantom", audit.phantom as f64),
        ("unbalanced", audit.unbalanced as f64),
        ("doubled", with_code("23505") as f64),
        ("wrong", wrong as f64),
        ("torn", records.iter().map(|record| record.torn).sum::<u64>() as f64),
    ]);
    values.extend(whole.map(|whole| ("whole_s".to_owned(), seconds(whole))));
    let groups = [("idle", &seen.idle), ("holding", &seen.holders), ("waiting", &seen.waiters)];
    let said = groups.iter().flat_map(|(group, all)| all.iter().map(move |one| (*group, one)));
    let busy = failures.iter().map(|failed| (phase(failed.phase), &failed.failure));
    for (group, failure) in said.chain(busy) {
        *values.entry(format!("{group} {}", failure.code())).or_insert(0.0) += 1.0;
    }
    values
}

const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Login => "login",
        Phase::Begin => "begin",
        Phase::Transaction => "transaction",
        Phase::Commit => "commit",
    }
}
