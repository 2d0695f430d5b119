//! What each core has a part of, so that calls on different cores need not wait for each other's
//! memory: a line that two cores write to costs each of them more than a small call's own work.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Parts: twice the cores, because threads are given theirs in turn, and some only wait.
static N_PARTS: LazyLock<usize> =
    LazyLock::new(|| 2 * std::thread::available_parallelism().map_or(1, usize::from));

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % *N_PARTS;
}

/// As many of `T` as threads can use at once, each in lines of memory of its own.
pub(super) struct PerCore<T> {
    parts: Box<[Part<T>]>,
}

/// Two lines, because processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Part<T>(T);

impl<T: Default> Default for PerCore<T> {
    fn default() -> Self {
        Self { parts: (0..*N_PARTS).map(|_| Part::default()).collect() }
    }
}

impl<T> PerCore<T> {
    /// The part of this thread. Others may have it too.
    pub(super) fn mine(&self) -> &T {
        &self.parts[MINE.with(|mine| *mine)].0
    }

    /// All of them, that of this thread first.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        let (before, from_mine) = self.parts.split_at(MINE.with(|mine| *mine));
        from_mine.iter().chain(before).map(|part| &part.0)
    }
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    #[test]
    fn a_thread_keeps_its_part_and_finds_it_first() {
        let parts: PerCore<AtomicUsize> = PerCore::default();
        assert!(ptr::eq(parts.mine(), parts.mine()));
        assert!(parts.all().next().is_some_and(|first| ptr::eq(first, parts.mine())));
        assert_eq!(parts.all().count(), *N_PARTS);
    }

    #[test]
    fn threads_get_their_parts_in_turn() {
        let parts: PerCore<AtomicUsize> = PerCore::default();
        let count = || parts.mine().fetch_add(1, Ordering::Relaxed);
        std::thread::scope(|scope| (0..8 * *N_PARTS).for_each(|_| drop(scope.spawn(count))));
        assert!(parts.all().all(|part| 0 < part.load(Ordering::Relaxed)));
        assert_eq!(parts.all().map(|part| part.load(Ordering::Relaxed)).sum::<usize>(), 8 * *N_PARTS);
    }
}
