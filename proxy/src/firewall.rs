//! What is known of a database's functions, so that their calls need no inspection.
//!
//! Owns: the present knowledge, and when it must be learnt anew. Shared by all pools of a database.
//! Invariant: from the moment a client sends DDL until the catalog has been read again, every
//! function that people have made is unknown.

use std::cell::RefCell;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use stent_wire::effects::{
    BUILTIN_SQL, Builtin, DEFINITIONS_SQL, Definition, Effects, Functions, Recent, scan,
};
use stent_wire::prepared::Statement;
use stent_wire::report::reply::parse_data_row;

use crate::exchange::{self, ExchangeError};
use crate::link::Link;
use crate::shared::{Guard, Lock};
use crate::workers;

/// How old knowledge may be while nothing points to a change: what others do to the catalog
/// (a migration on a direct connection) is seen within this time.
const AGE_MAX: Duration = Duration::from_secs(60);
/// The pause between two readings of the catalog that unknown names ask for.
const AGE_MIN: Duration = Duration::from_secs(1);
/// The longest answer about functions that is read: a database with more source than this has
/// its functions inspected at each call.
const CATALOG_MAX: usize = 32 << 20;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Firewall {
    /// What is known, at hand for each worker, so that they do not wait for each other.
    known: Box<[AtHand]>,
    /// Its version, and [`Self::hidden_effects`], to be looked at without taking a turn.
    version: AtomicU32,
    hidden: AtomicU32,
    /// [`Self::defines_hidden`].
    defines_hidden: AtomicBool,
    /// Whether the catalog has been read, and nothing points to a change.
    settled: AtomicBool,
    learnt: Lock<Option<Instant>>,
}

/// What is known, in a line of the processor's cache of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct AtHand(Lock<Arc<Functions>>);

thread_local! {
    /// What this thread found of the texts that it saw last.
    static RECENT: RefCell<Recent> = RefCell::default();
}

/// What PostgreSQL itself brings, once it has been read.
static BUILTIN: Lock<Option<Arc<Builtin>>> = Lock::new(None);
/// The number of the newest knowledge: of all firewalls, for statements are shared by their pools.
static VERSION: AtomicU32 = AtomicU32::new(0);

impl Firewall {
    /// Nothing is known yet.
    pub(crate) fn new(workers: NonZeroU16) -> Self {
        Self {
            known: (0..workers.get()).map(|_| AtHand::default()).collect(),
            version: AtomicU32::new(0),
            hidden: AtomicU32::new(0),
            defines_hidden: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            learnt: Lock::new(None),
        }
    }

    /// What a statement may leave behind.
    pub(crate) fn effects(&self, sql: &[u8]) -> Effects {
        scan(sql, &self.functions())
    }

    /// The same for a text that is likely to come again.
    pub(crate) fn effects_again(&self, sql: &[u8]) -> Effects {
        let version = self.version.load(Ordering::Relaxed);
        RECENT.with_borrow_mut(|recent| {
            recent.effects(sql, version, || {
                let functions = self.functions();
                (functions.version(), scan(sql, &functions))
            })
        })
    }

    /// The same for a statement that is kept.
    pub(crate) fn effects_of(&self, statement: &Statement) -> Effects {
        let known = statement.judged_by(self.version.load(Ordering::Relaxed));
        known.unwrap_or_else(|| statement.effects(&self.functions()))
    }

    /// What is known now.
    pub(crate) fn functions(&self) -> Guard<'_, Arc<Functions>> {
        self.known[usize::from(workers::home().0)].0.lock()
    }

    /// What each statement of this database may do, whatever it says.
    pub(crate) fn hidden_effects(&self) -> Effects {
        Effects::from_bits(self.hidden.load(Ordering::Relaxed))
    }

    /// Whether any statement of this database may define something anew, whatever it says.
    pub(crate) fn defines_hidden(&self) -> bool {
        self.defines_hidden.load(Ordering::Relaxed)
    }

    /// A client changed the catalog, or may have.
    pub(crate) fn forget(&self) {
        self.know(Functions::learn(builtin(), &[], next_version()));
        self.is_to_be_read();
        self.learnt.set(None);
    }

    /// A statement called something unknown: look again, if the last look is not too fresh.
    pub(crate) fn met_unknown(&self) {
        if self.learnt.get().is_none_or(|at| at.elapsed() >= AGE_MIN) {
            self.is_to_be_read();
        }
    }

    /// Time has passed.
    pub(crate) fn age(&self) {
        if self.learnt.get().is_none_or(|at| at.elapsed() >= AGE_MAX) {
            self.is_to_be_read();
        }
    }

    /// Whether the next server that is given back should be asked for the catalog.
    pub(crate) fn is_due(&self) -> bool {
        !self.settled.load(Ordering::Relaxed)
    }

    /// Reads the catalog. Where PostgreSQL does not answer, nothing is known, and asked again
    /// after a while.
    pub(crate) async fn learn(&self, link: &mut Link) -> Result<(), ExchangeError> {
        self.settled.store(true, Ordering::Relaxed);
        self.learnt.set(Some(Instant::now()));
        let known = builtin();
        let builtin = if known.is_empty() { read_builtin(link).await? } else { known };
        let answer = exchange::query_up_to(link, DEFINITIONS_SQL.as_bytes(), CATALOG_MAX).await?;
        let rows = answer.rows.iter();
        let definitions: Vec<Definition> =
            rows.filter_map(|row| Definition::from_row(&parse_data_row(row)?)).collect();
        self.know(Functions::learn(builtin, &definitions, next_version()));
        Ok(())
    }

    fn know(&self, functions: Functions) {
        self.version.store(functions.version(), Ordering::Relaxed);
        self.defines_hidden.store(functions.defines_hidden(), Ordering::Relaxed);
        self.hidden.store(functions.hidden_effects().bits(), Ordering::Relaxed);
        let functions = Arc::new(functions);
        self.known.iter().for_each(|at_hand| at_hand.0.set(Arc::clone(&functions)));
    }

    fn is_to_be_read(&self) {
        self.settled.store(false, Ordering::Relaxed);
    }
}

async fn read_builtin(link: &mut Link) -> Result<Arc<Builtin>, ExchangeError> {
    let answer = exchange::query_up_to(link, BUILTIN_SQL.as_bytes(), CATALOG_MAX).await?;
    let first = |row: &Vec<u8>| parse_data_row(row)?.first().copied().flatten().map(<[u8]>::to_vec);
    let names = answer.rows.iter().filter_map(first);
    let builtin = Arc::new(Builtin::new(names));
    BUILTIN.set(Some(Arc::clone(&builtin)));
    Ok(builtin)
}

fn builtin() -> Arc<Builtin> {
    BUILTIN.lock().clone().unwrap_or_default()
}

fn next_version() -> u32 {
    let next = |version: u32| Some(version.wrapping_add(1).max(1));
    let before = VERSION.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    before.unwrap_or_default().wrapping_add(1).max(1)
}
