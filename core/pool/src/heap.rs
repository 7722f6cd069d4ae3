//! A queue by key whose members can be re-keyed or taken out: what is due first, who is oldest.
//!
//! Members are small numbers (places in a table), each at most once. Logarithmic, and without
//! allocation once it has been as large as it gets. Invariant: `places` says where each member is.

/// See the file's head. Equal keys come in the order of their members.
#[derive(Clone, Debug)]
pub(crate) struct Heap<K> {
    entries: Vec<(K, u32)>,
    places: Vec<Option<u32>>,
}

impl<K: Copy + Ord> Heap<K> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), places: Vec::new() }
    }

    /// Makes room for one member more: the next number.
    pub(crate) fn add_member(&mut self) {
        self.places.push(None);
        self.entries.reserve(self.places.len() - self.entries.len());
    }

    /// The smallest key and whose it is.
    pub(crate) fn first(&self) -> Option<(K, u32)> {
        self.entries.first().copied()
    }

    pub(crate) fn key(&self, member: u32) -> Option<K> {
        self.places[member as usize].map(|at| self.entries[at as usize].0)
    }

    /// Puts a member in, or gives it another key.
    pub(crate) fn set(&mut self, member: u32, key: K) {
        let at = match self.places[member as usize] {
            Some(at) => {
                self.entries[at as usize].0 = key;
                at as usize
            }
            None => {
                self.entries.push((key, member));
                self.entries.len() - 1
            }
        };
        self.settle(at);
    }

    /// Takes a member out, if it is in.
    pub(crate) fn remove(&mut self, member: u32) {
        let Some(at) = self.places[member as usize].take() else { return };
        let at = at as usize;
        self.entries.swap_remove(at);
        if at < self.entries.len() {
            self.settle(at);
        }
    }

    /// Moves the entry at `at` to where it belongs and notes the places of all it passes.
    fn settle(&mut self, mut at: usize) {
        while at > 0 && self.entries[at] < self.entries[(at - 1) / 2] {
            self.entries.swap(at, (at - 1) / 2);
            self.note(at);
            at = (at - 1) / 2;
        }
        while let Some(child) = self.smaller_child(at)
            && self.entries[child] < self.entries[at]
        {
            self.entries.swap(at, child);
            self.note(at);
            at = child;
        }
        self.note(at);
    }

    fn smaller_child(&self, at: usize) -> Option<usize> {
        let left = 2 * at + 1;
        let right = left + 1;
        if right < self.entries.len() && self.entries[right] < self.entries[left] {
            return Some(right);
        }
        (left < self.entries.len()).then_some(left)
    }

    fn note(&mut self, at: usize) {
        let place = u32::try_from(at).expect("there are no more entries than pools");
        self.places[self.entries[at].1 as usize] = Some(place);
    }

    /// Asserts the invariant of the file and the order. Linear.
    pub(crate) fn check(&self) {
        for (at, entry) in self.entries.iter().enumerate() {
            assert!(at == 0 || self.entries[(at - 1) / 2] < *entry, "parents come first");
            assert_eq!(self.places[entry.1 as usize], u32::try_from(at).ok(), "places are true");
        }
        let placed = self.places.iter().flatten().count();
        assert_eq!(placed, self.entries.len(), "each member in the heap has one place");
    }
}
