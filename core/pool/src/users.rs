//! What each user has over all databases: servers, and clients that wait.
//!
//! Owns: the counts, and the list of *torn* users: some of their clients wait while servers of theirs are
//! idle, in different pools then. Only for those can a cap of users have a server closed, so that nobody
//! else is looked at. Refuses: the cap itself, which is `user_room`'s.
//! Invariant: a user is in the list while it is torn, once; nothing in here walks over users.

/// A user's counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Servers in whatever state.
    pub(crate) total: u32,
    pub(crate) idle: u32,
    pub(crate) closing: u32,
    /// Clients in the queues of its pools.
    pub(crate) waiting: u32,
}

#[derive(Debug)]
pub(crate) struct Users {
    books: Vec<Book>,
    torn: Vec<u32>,
}

#[derive(Debug, Default)]
struct Book {
    counts: Counts,
    /// Its place in the list of the torn.
    place: Option<u32>,
}

impl Users {
    pub(crate) const fn new() -> Self {
        Self { books: Vec::new(), torn: Vec::new() }
    }

    pub(crate) fn add(&mut self) {
        self.books.push(Book::default());
    }

    pub(crate) fn len(&self) -> usize {
        self.books.len()
    }

    pub(crate) fn of(&self, user: u32) -> Counts {
        self.books[user as usize].counts
    }

    /// Those whose clients wait while servers of theirs are idle, in no order.
    pub(crate) fn torn(&self) -> &[u32] {
        &self.torn
    }

    /// Changes a user's counts.
    pub(crate) fn change(&mut self, user: u32, change: impl FnOnce(&mut Counts)) {
        let book = &mut self.books[user as usize];
        change(&mut book.counts);
        let is_torn = book.counts.idle > 0 && book.counts.waiting > 0;
        match (is_torn, book.place) {
            (true, None) => {
                book.place = Some(u32::try_from(self.torn.len()).expect("as many as users"));
                self.torn.push(user);
            }
            (false, Some(place)) => {
                book.place = None;
                self.torn.swap_remove(place as usize);
                if let Some(&moved) = self.torn.get(place as usize) {
                    self.books[moved as usize].place = Some(place);
                }
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Asserts the invariant of the file. Linear.
    pub(crate) fn check(&self) {
        for (user, book) in (0..).zip(&self.books) {
            let Counts { idle, waiting, .. } = book.counts;
            assert_eq!(book.place.is_some(), idle > 0 && waiting > 0, "the torn are listed");
            let listed = book.place.map(|place| self.torn[place as usize]);
            assert!(listed.is_none_or(|listed| listed == user), "each in its place");
        }
        let placed = self.books.iter().filter(|book| book.place.is_some()).count();
        assert_eq!(placed, self.torn.len(), "and nobody else");
    }
}
