//! Entries that are thrown away together: those of one model.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Models whose shelves are remembered, at most, unless more are in use.
const MAX_UNUSED: usize = 1024;

/// The place of one model's entries.
///
/// Throwing them away is to begin another epoch: keys of the one before are never made
/// again, so that whatever still arrives under them is not found.
#[derive(Debug)]
pub struct Shelf {
    id: u32,
    epoch: AtomicU32,
}

/// A shelf and its epoch at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    shelf: u32,
    epoch: u32,
}

impl Shelf {
    /// What keys are made with now.
    pub fn stamp(&self) -> Stamp {
        Stamp { shelf: self.id, epoch: self.epoch.load(Ordering::Acquire) }
    }

    /// Whether `stamp` is of this shelf, and of an epoch that is over.
    pub(super) fn has_ended(&self, stamp: Stamp) -> bool {
        stamp.shelf == self.id && stamp != self.stamp()
    }

    pub(super) fn end_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

/// All shelves, by the names of their models.
#[derive(Default)]
pub(super) struct Shelves(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_name: HashMap<String, Arc<Shelf>>,
    n_made: u32,
}

impl Shelves {
    /// The shelf of `name`, the same one for as long as it is remembered.
    pub(super) fn of(&self, name: &str) -> Arc<Shelf> {
        let mut table = self.lock();
        if let Some(shelf) = table.by_name.get(name) {
            return shelf.clone();
        }
        if MAX_UNUSED <= table.by_name.len() {
            // Models that are found come and go. What such a one has left ages out of the table.
            table.by_name.retain(|_, shelf| 1 < Arc::strong_count(shelf));
        }
        table.n_made += 1;
        let shelf = Arc::new(Shelf { id: table.n_made, epoch: AtomicU32::new(0) });
        table.by_name.insert(name.to_owned(), shelf.clone());
        shelf
    }

    /// Ends the epoch of all shelves, and returns the stamps of those that begin.
    pub(super) fn end_epochs(&self) -> HashSet<Stamp> {
        let table = self.lock();
        table.by_name.values().for_each(|shelf| shelf.end_epoch());
        table.by_name.values().map(|shelf| shelf.stamp()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_one_shelf_and_no_other_model_has_it() {
        let shelves = Shelves::default();
        assert_eq!(shelves.of("a").stamp(), shelves.of("a").stamp());
        assert_ne!(shelves.of("a").stamp(), shelves.of("b").stamp());
    }

    #[test]
    fn what_was_stamped_before_is_over_on_its_own_shelf_only() {
        let shelves = Shelves::default();
        let (a, b) = (shelves.of("a"), shelves.of("b"));
        let (of_a, of_b) = (a.stamp(), b.stamp());
        a.end_epoch();
        assert!(a.has_ended(of_a) && !b.has_ended(of_b) && !b.has_ended(of_a));
        assert!(!a.has_ended(a.stamp()));
    }

    #[test]
    fn shelves_that_nobody_uses_are_forgotten_where_there_are_many() {
        let shelves = Shelves::default();
        let used = shelves.of("used");
        let first = used.stamp();
        for number in 0..3 * MAX_UNUSED {
            shelves.of(&number.to_string());
        }
        assert!(shelves.lock().by_name.len() <= MAX_UNUSED);
        assert_eq!(shelves.of("used").stamp(), first);
    }
}
