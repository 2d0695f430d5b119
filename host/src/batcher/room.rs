//! Room for the bytes of all texts that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::Gauge;

pub(super) struct Room {
    max: u64,
    taken: AtomicU64,
    meter: Gauge,
}

/// Room that was taken; dropping it gives it back.
pub(super) struct Weight {
    n_bytes: u64,
    room: Arc<Room>,
}

impl Room {
    pub(super) fn new(max: u64) -> Arc<Self> {
        let meter = metrics::gauge!("embergate_queued_bytes");
        Arc::new(Self { max, taken: AtomicU64::new(0), meter })
    }

    /// Takes room for `n_bytes`, at once or not at all. More than there is room for goes alone.
    pub(super) fn take(self: &Arc<Self>, n_bytes: u64) -> Option<Weight> {
        let fits = |taken: u64| {
            let all = taken.saturating_add(n_bytes);
            (taken == 0 || all <= self.max).then_some(all)
        };
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        // Not set to what was found: another thread may have found more, and be earlier to say so.
        self.meter.increment(n_bytes as f64);
        Some(Weight { n_bytes, room: Arc::clone(self) })
    }
}

impl Weight {
    /// Hands over `n_bytes` of it, or what is left.
    pub(super) fn split(&mut self, n_bytes: usize) -> Self {
        let n_bytes = self.n_bytes.min(n_bytes as u64);
        self.n_bytes -= n_bytes;
        Self { n_bytes, room: Arc::clone(&self.room) }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        if 0 < self.n_bytes {
            self.room.taken.fetch_sub(self.n_bytes, Ordering::Relaxed);
            self.room.meter.decrement(self.n_bytes as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_comes_back_part_by_part() {
        let room = Room::new(10);
        let mut weight = room.take(8).unwrap();
        assert!(room.take(3).is_none());
        let part = weight.split(5);
        drop(weight);
        assert!(room.take(6).is_none());
        drop(room.take(5).unwrap());
        drop(part);
        assert!(room.take(10).is_some());
    }

    #[test]
    fn no_part_is_more_than_the_whole() {
        let room = Room::new(10);
        let mut weight = room.take(4).unwrap();
        let parts = [weight.split(3), weight.split(3), weight.split(3)];
        assert_eq!(parts.each_ref().map(|part| part.n_bytes), [3, 1, 0]);
        drop((weight, parts));
        assert!(room.take(10).is_some());
    }

    #[test]
    fn what_is_larger_than_all_goes_alone() {
        let room = Room::new(10);
        let small = room.take(1).unwrap();
        assert!(room.take(11).is_none());
        drop(small);
        let large = room.take(u64::MAX).unwrap();
        assert!(room.take(1).is_none());
        drop(large);
        assert!(room.take(1).is_some());
    }
}
