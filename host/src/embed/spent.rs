//! Where the time of a text went.

use std::time::Duration;

/// Time that a request waited for, by what it waited for: of the text that took
/// longest, because its texts wait side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// In preprocessors.
    pub plugin: Duration,
    /// In the queue, for an upstream with a free slot.
    pub queue: Duration,
    /// At upstreams, calls that failed included.
    pub upstream: Duration,
}

impl Spent {
    pub fn total(&self) -> Duration {
        self.plugin + self.queue + self.upstream
    }

    /// The part of it that one saw who waited for the last `wait` only: what came
    /// first, for others, is left out first.
    pub(super) fn seen_in(self, wait: Duration) -> Self {
        let upstream = self.upstream.min(wait);
        let queue = self.queue.min(wait - upstream);
        let plugin = self.plugin.min(wait - upstream - queue);
        Self { plugin, queue, upstream }
    }

    /// That of the two texts which took longer.
    pub(super) fn longer(self, other: Self) -> Self {
        if self.total() < other.total() { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent([plugin, queue, upstream]: [u64; 3]) -> Spent {
        let seconds = Duration::from_secs;
        Spent { plugin: seconds(plugin), queue: seconds(queue), upstream: seconds(upstream) }
    }

    #[track_caller]
    fn check_seen(whole: [u64; 3], wait: u64, want: [u64; 3]) {
        assert_eq!(spent(whole).seen_in(Duration::from_secs(wait)), spent(want));
    }

    #[test]
    fn who_waited_from_the_start_saw_all() {
        check_seen([1, 2, 3], 6, [1, 2, 3]);
        check_seen([1, 2, 3], 9, [1, 2, 3]);
    }

    #[test]
    fn who_joined_later_saw_the_end() {
        check_seen([1, 2, 3], 4, [0, 1, 3]);
        check_seen([1, 2, 3], 2, [0, 0, 2]);
        check_seen([1, 2, 3], 0, [0, 0, 0]);
    }

    #[test]
    fn the_longer_of_two_texts_is_taken_whole() {
        assert_eq!(spent([9, 0, 0]).longer(spent([0, 1, 7])), spent([9, 0, 0]));
        assert_eq!(spent([0, 1, 7]).longer(spent([9, 0, 0])), spent([9, 0, 0]));
    }
}
