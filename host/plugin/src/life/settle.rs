//! When something that changes has come to rest: plain decisions without a clock of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

/// What was acted on last, and what has been different since when.
pub(super) struct Settling<T> {
    time: Duration,
    settled: BTreeMap<String, T>,
    moving: BTreeMap<String, (Option<T>, Instant)>,
}

impl<T: Clone + PartialEq> Settling<T> {
    /// Things rest once they are the same for `time`; those of `settled` did.
    pub(super) fn new(time: Duration, settled: BTreeMap<String, T>) -> Self {
        Self { time, settled, moving: BTreeMap::new() }
    }

    /// Takes what is seen at `now`; returns what has come to rest as something new, or as nothing.
    pub(super) fn look(&mut self, now: Instant, seen: &BTreeMap<String, T>) -> Vec<(String, Option<T>)> {
        let names: BTreeSet<String> = self.settled.keys().chain(seen.keys()).cloned().collect();
        self.moving.retain(|name, _| names.contains(name));
        let mut rested = Vec::new();
        for name in names {
            let at_present = seen.get(&name);
            if at_present == self.settled.get(&name) {
                self.moving.remove(&name);
                continue;
            }
            let known = self.moving.get(&name).filter(|(before, _)| before.as_ref() == at_present);
            let since = known.map_or(now, |(_, since)| *since);
            if now < since + self.time {
                self.moving.insert(name, (at_present.cloned(), since));
                continue;
            }
            self.moving.remove(&name);
            match at_present {
                Some(thing) => drop(self.settled.insert(name.clone(), thing.clone())),
                None => drop(self.settled.remove(&name)),
            }
            rested.push((name, at_present.cloned()));
        }
        rested
    }

    /// When the first of those that move may have come to rest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.moving.values().map(|(_, since)| *since + self.time).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at one thing, second by second, where 3 of them are rest; what came to rest, and when.
    #[track_caller]
    fn check(seen: &[Option<u32>], want: &[(usize, Option<u32>)]) {
        let start = Instant::now();
        let before = BTreeMap::from([("a".to_owned(), 1)]);
        let mut settling = Settling::new(Duration::from_secs(3), before);
        let mut got = Vec::new();
        for (second, thing) in seen.iter().enumerate() {
            let seen = thing.iter().map(|thing| ("a".to_owned(), *thing)).collect();
            let now = start + Duration::from_secs(second as u64);
            got.extend(settling.look(now, &seen).into_iter().map(|(_, thing)| (second, thing)));
        }
        assert_eq!(got, want);
    }

    #[test]
    fn what_was_there_already_is_no_news() {
        check(&[Some(1); 9], &[]);
    }

    #[test]
    fn something_else_rests_after_its_time_and_once() {
        check(&[Some(2), Some(2), Some(2), Some(2), Some(2)], &[(3, Some(2))]);
    }

    #[test]
    fn what_keeps_changing_does_not_rest() {
        check(&[Some(2), Some(3), Some(4), Some(5), Some(5), Some(5), Some(5)], &[(6, Some(5))]);
    }

    #[test]
    fn what_is_as_before_in_the_end_was_nothing() {
        check(&[Some(2), Some(2), Some(1), Some(2), Some(2), Some(1), Some(1), Some(1), Some(1)], &[]);
    }

    #[test]
    fn what_is_gone_rests_too_and_what_comes_back_within_its_time_never_went() {
        check(&[None, None, None, None], &[(3, None)]);
        check(&[None, None, Some(1), Some(1), Some(1), Some(1)], &[]);
        check(&[None, None, None, None, Some(1), Some(1), Some(1), Some(1)], &[(3, None), (7, Some(1))]);
    }

    #[test]
    fn the_next_look_is_due_when_the_first_may_rest() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut settling = Settling::new(3 * second, BTreeMap::new());
        assert_eq!(settling.due(), None);
        settling.look(start, &BTreeMap::from([("a".to_owned(), 1)]));
        settling.look(start + second, &BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 1)]));
        assert_eq!(settling.due(), Some(start + 3 * second));
        settling.look(start + second, &BTreeMap::new());
        assert_eq!(settling.due(), None);
    }

    #[test]
    fn without_a_time_everything_rests_at_once() {
        let mut settling = Settling::new(Duration::ZERO, BTreeMap::new());
        let rested = settling.look(Instant::now(), &BTreeMap::from([("a".to_owned(), 1)]));
        assert_eq!(rested, [("a".to_owned(), Some(1))]);
    }
}
