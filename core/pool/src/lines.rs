//! The waiting lines of one pool: one for each class of clients, first come, first served in each.
//!
//! Owns: whose turn it is among the classes. While several wait, each is served in proportion to its
//! weight: a line is due at a number that grows by a step over its weight each time it is served, and
//! the line that is due first has its turn (start-time fair queueing). A line that was empty begins at
//! the number of the one served last, so nobody saves turns up. Within a line, who is first of each
//! home is known. Refused: knowing who is of which class.
//! Invariant: while somebody of a class waits, each other class is served at most as many times
//! between two of its turns as its weight is larger (rounded up), and once more; with one class only
//! nothing is kept but its list.

use slab::Slab;

use crate::class::{CLASSES_MAX, Class};
use crate::id::Home;
use crate::list::{Lane, List};
use crate::waiters::Waiter;

/// By how much a line of weight 1 is put back when it is served.
const STEP: u64 = 1 << 24;

#[derive(Debug)]
pub(crate) struct Lines {
    usual: Line,
    /// Those of the other classes, by their number less one; empty until one of them waits.
    others: Vec<Line>,
    length: u32,
    /// When the line that was served last was due.
    reached: u64,
}

#[derive(Debug)]
struct Line {
    list: List,
    /// Those of each home, as far as any of it has waited.
    homes: Vec<List>,
    due: u64,
}

impl Line {
    const fn new() -> Self {
        Self { list: List::new(Lane::Own), homes: Vec::new(), due: 0 }
    }

    fn home_mut(&mut self, home: Home) -> &mut List {
        let number = usize::from(home.0);
        if self.homes.len() <= number {
            self.homes.resize(number + 1, List::new(Lane::Home));
        }
        &mut self.homes[number]
    }
}

impl Lines {
    pub(crate) const fn new() -> Self {
        Self { usual: Line::new(), others: Vec::new(), length: 0, reached: 0 }
    }

    /// How many wait, of all classes.
    pub(crate) const fn len(&self) -> u32 {
        self.length
    }

    /// How many of a class wait.
    pub(crate) fn len_of(&self, class: Class) -> u32 {
        self.line(class).map_or(0, |line| line.list.len())
    }

    pub(crate) fn push(&mut self, entries: &mut Slab<Waiter>, at: u32) {
        let (class, home) = (entries[at as usize].class, entries[at as usize].home);
        let reached = self.reached;
        let line = self.line_mut(class);
        if line.list.len() == 0 {
            line.due = line.due.max(reached);
        }
        line.list.push_tail(entries, at);
        line.home_mut(home).push_tail(entries, at);
        self.length += 1;
    }

    pub(crate) fn unlink(&mut self, entries: &mut Slab<Waiter>, at: u32) {
        let (class, home) = (entries[at as usize].class, entries[at as usize].home);
        let line = self.line_mut(class);
        line.list.unlink(entries, at);
        line.home_mut(home).unlink(entries, at);
        self.length -= 1;
        if self.length == 0 && !self.others.is_empty() {
            self.forget_turns();
        }
    }

    /// All lines are due alike from here on.
    pub(crate) fn forget_turns(&mut self) {
        self.reached = 0;
        self.lines_mut().for_each(|line| line.due = 0);
    }

    /// Whose turn it is.
    pub(crate) fn turn(&self) -> Option<Class> {
        if self.others.is_empty() {
            return (self.length > 0).then_some(Class::USUAL);
        }
        let waiting = self.lines().filter(|(_, line)| line.list.len() > 0);
        waiting.min_by_key(|(class, line)| (line.due, class.0)).map(|(class, _)| class)
    }

    /// One of a class has had its turn.
    pub(crate) fn served(&mut self, class: Class, weight: u32) {
        if self.others.is_empty() || self.length == 0 {
            return;
        }
        assert!(weight > 0, "every class has its turn");
        let line = self.line_mut(class);
        let due = line.due;
        line.due = due.saturating_add(STEP / u64::from(weight));
        self.reached = self.reached.max(due);
    }

    /// The first waiter of a class.
    pub(crate) fn first_of(&self, class: Class) -> Option<u32> {
        self.line(class)?.list.head()
    }

    /// The first waiter of a class and a home.
    pub(crate) fn first_at_home(&self, class: Class, home: Home) -> Option<u32> {
        self.line(class)?.homes.get(usize::from(home.0))?.head()
    }

    /// The waiter with `before` others ahead of it in the order of arrival.
    pub(crate) fn nth(&self, entries: &Slab<Waiter>, before: u32) -> Option<u32> {
        if self.others.is_empty() {
            return self.usual.list.walk(entries).nth(before as usize);
        }
        self.in_order(entries).nth(before as usize)
    }

    /// The waiters of all classes in the order of arrival.
    pub(crate) fn in_order<'a>(&self, entries: &'a Slab<Waiter>) -> InOrder<'a> {
        let mut heads = [None; CLASSES_MAX];
        for (head, (_, line)) in heads.iter_mut().zip(self.lines()) {
            *head = line.list.head();
        }
        InOrder { entries, heads }
    }

    /// Asserts the invariant of the lists. Linear.
    pub(crate) fn check(&self, entries: &Slab<Waiter>) {
        let mut length = 0;
        for (class, line) in self.lines() {
            line.list.check(entries);
            for at in line.list.walk(entries) {
                assert_eq!(entries[at as usize].class, class, "a waiter is in its class's line");
            }
            for (home, list) in (0..).zip(&line.homes) {
                list.check(entries);
                let is_here = |at: u32| {
                    let waiter = &entries[at as usize];
                    waiter.class == class && waiter.home == Home(home)
                };
                assert!(list.walk(entries).all(is_here), "a waiter is in the list of its home");
                let places = list.walk(entries).map(|at| entries[at as usize].place);
                assert!(places.is_sorted(), "in the order of arrival");
            }
            let at_home: u32 = line.homes.iter().map(List::len).sum();
            assert_eq!(at_home, line.list.len(), "everybody has a home");
            length += line.list.len();
        }
        assert_eq!(length, self.length, "the waiters of a pool are counted");
        assert!(self.others.len() < CLASSES_MAX, "there are so many classes");
    }

    fn lines(&self) -> impl Iterator<Item = (Class, &Line)> {
        let numbered = std::iter::once(&self.usual).chain(&self.others).zip(0..);
        numbered.map(|(line, number)| (Class(number), line))
    }

    fn lines_mut(&mut self) -> impl Iterator<Item = &mut Line> {
        std::iter::once(&mut self.usual).chain(&mut self.others)
    }

    fn line(&self, class: Class) -> Option<&Line> {
        match class.0 {
            0 => Some(&self.usual),
            number => self.others.get(usize::from(number) - 1),
        }
    }

    fn line_mut(&mut self, class: Class) -> &mut Line {
        if class == Class::USUAL {
            return &mut self.usual;
        }
        let number = usize::from(class.0);
        assert!(number < CLASSES_MAX, "a class in force is one of the limits'");
        while self.others.len() < number {
            self.others.push(Line::new());
        }
        &mut self.others[number - 1]
    }
}

/// See [`Lines::in_order`].
#[derive(Debug)]
pub(crate) struct InOrder<'a> {
    entries: &'a Slab<Waiter>,
    heads: [Option<u32>; CLASSES_MAX],
}

impl Iterator for InOrder<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let entries = self.entries;
        let number = |at: u32| entries[at as usize].place.number;
        let first = self.heads.iter_mut().filter(|head| head.is_some());
        let first = first.min_by_key(|head| head.map(number))?;
        let at = *first;
        *first = at.and_then(|at| List::after(Lane::Own, entries, at));
        at
    }
}
