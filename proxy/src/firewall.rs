//! What is known of a database's functions, so that their calls need no inspection.
//!
//! Owns: the present knowledge, and when it must be learnt anew. Shared by all pools of a database.
//! Invariant: from the moment a client sends DDL until the catalog has been read again, every
//! function that people have made is unknown.

use std::cell::{Cell, Ref, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stent_wire::effects::{
    BUILTIN_SQL, Builtin, DEFINITIONS_SQL, Definition, Effects, Functions, scan,
};
use stent_wire::report::reply::parse_data_row;

use crate::exchange::{self, ExchangeError};
use crate::link::Link;

/// How old knowledge may be while nothing points to a change: what others do to the catalog
/// (a migration on a direct connection) is seen within this time.
const AGE_MAX: Duration = Duration::from_secs(60);
/// The pause between two readings of the catalog that unknown names ask for.
const AGE_MIN: Duration = Duration::from_secs(1);
/// The longest answer about functions that is read: a database with more source than this has
/// its functions inspected at each call.
const CATALOG_MAX: usize = 32 << 20;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Firewall {
    functions: RefCell<Functions>,
    due: Cell<Due>,
    learnt: Cell<Option<Instant>>,
}

/// Whether the catalog is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Due {
    #[default]
    Now,
    No,
}

thread_local! {
    static BUILTIN: RefCell<Arc<Builtin>> = RefCell::default();
    static VERSION: Cell<u32> = const { Cell::new(0) };
}

impl Firewall {
    /// What a statement may leave behind.
    pub(crate) fn effects(&self, sql: &[u8]) -> Effects {
        scan(sql, &self.functions.borrow())
    }

    /// What is known now.
    pub(crate) fn functions(&self) -> Ref<'_, Functions> {
        self.functions.borrow()
    }

    /// What each statement of this database may do, whatever it says.
    pub(crate) fn hidden_effects(&self) -> Effects {
        self.functions.borrow().hidden_effects()
    }

    /// A client changed the catalog, or may have.
    pub(crate) fn forget(&self) {
        let builtin = BUILTIN.with(|builtin| Arc::clone(&builtin.borrow()));
        *self.functions.borrow_mut() = Functions::learn(builtin, &[], next_version());
        self.due.set(Due::Now);
        self.learnt.set(None);
    }

    /// A statement called something unknown: look again, if the last look is not too fresh.
    pub(crate) fn met_unknown(&self) {
        if self.learnt.get().is_none_or(|at| at.elapsed() >= AGE_MIN) {
            self.due.set(Due::Now);
        }
    }

    /// Time has passed.
    pub(crate) fn age(&self) {
        if self.learnt.get().is_none_or(|at| at.elapsed() >= AGE_MAX) {
            self.due.set(Due::Now);
        }
    }

    /// Whether the next server that is given back should be asked for the catalog.
    pub(crate) fn is_due(&self) -> bool {
        self.due.get() == Due::Now
    }

    /// Reads the catalog. Where PostgreSQL does not answer, nothing is known, and asked again
    /// after a while.
    pub(crate) async fn learn(&self, link: &mut Link) -> Result<(), ExchangeError> {
        self.due.set(Due::No);
        self.learnt.set(Some(Instant::now()));
        let known = BUILTIN.with(|builtin| Arc::clone(&builtin.borrow()));
        let builtin = if known.is_empty() { read_builtin(link).await? } else { known };
        let answer = exchange::query_up_to(link, DEFINITIONS_SQL.as_bytes(), CATALOG_MAX).await?;
        let rows = answer.rows.iter();
        let definitions: Vec<Definition> =
            rows.filter_map(|row| Definition::from_row(&parse_data_row(row)?)).collect();
        *self.functions.borrow_mut() = Functions::learn(builtin, &definitions, next_version());
        Ok(())
    }
}

async fn read_builtin(link: &mut Link) -> Result<Arc<Builtin>, ExchangeError> {
    let answer = exchange::query_up_to(link, BUILTIN_SQL.as_bytes(), CATALOG_MAX).await?;
    let first = |row: &Vec<u8>| parse_data_row(row)?.first().copied().flatten().map(<[u8]>::to_vec);
    let names = answer.rows.iter().filter_map(first);
    let builtin = Arc::new(Builtin::new(names));
    BUILTIN.with(|shared| *shared.borrow_mut() = Arc::clone(&builtin));
    Ok(builtin)
}

fn next_version() -> u32 {
    VERSION.with(|version| {
        version.set(version.get().wrapping_add(1).max(1));
        version.get()
    })
}
