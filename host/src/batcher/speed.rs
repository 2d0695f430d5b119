//! How fast an upstream embeds the texts of one queue and lane, from its calls that ended well.

use std::time::Duration;

use tokio::time::Instant;

/// What the latest call counts of the average once there are some.
const WEIGHT: f64 = 0.25;
/// A measure that is so old counts half: nobody should be slow for ever who was
/// slow once, such as when a model was loaded.
const HALF_LIFE: Duration = Duration::from_secs(30);

/// A moving average of the time for a text and for a token; nothing before the first call.
///
/// It is geometric: speeds are compared by their ratio, and one call of ten
/// seconds among those of ten milliseconds should not be all that is left.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Speed(Option<Measured>);

#[derive(Clone, Copy, Debug)]
struct Measured {
    /// Natural logarithms of seconds.
    text: f64,
    token: f64,
    /// Calls, as far as they matter.
    n_calls: u8,
    /// Texts of the last one.
    n_texts: usize,
    at: Instant,
}

impl Measured {
    /// What it counts by its age, from 1 down to 0.
    fn weight(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        (-age).exp2()
    }
}

impl Speed {
    /// Counts a call that took `took` and ended at `now`.
    pub(super) fn record(&mut self, n_texts: usize, n_tokens: u64, took: Duration, now: Instant) {
        let seconds = took.as_secs_f64().max(1e-6);
        let text = (seconds / n_texts.max(1) as f64).ln();
        let token = (seconds / n_tokens.max(1) as f64).ln();
        let old = self.0.unwrap_or(Measured { text, token, n_calls: 0, n_texts, at: now });
        let n_calls = old.n_calls.saturating_add(1);
        let weight = WEIGHT.max(f64::from(n_calls).recip()).max(1.0 - old.weight(now));
        let average = |old: f64, new: f64| old + weight * (new - old);
        self.0 = Some(Measured {
            text: average(old.text, text),
            token: average(old.token, token),
            n_calls,
            n_texts,
            at: now,
        });
    }

    pub(super) fn is_measured(&self) -> bool {
        self.0.is_some()
    }

    /// Seconds for a text: `usual` where nothing was measured, and the nearer to
    /// it the older the measure is.
    pub(super) fn seconds(&self, usual: f64, now: Instant) -> f64 {
        let Some(measured) = &self.0 else { return usual };
        let usual = usual.ln();
        (usual + (measured.text - usual) * measured.weight(now)).exp()
    }

    /// Texts and tokens that a call of `slice` may have: one text where nothing was
    /// measured, then as many as were measured to fit, at most twice those of the last call.
    pub(super) fn fit(&self, slice: Duration) -> (usize, u32) {
        let Some(measured) = &self.0 else { return (1, u32::MAX) };
        let fit = |each: f64| slice.as_secs_f64() / each.exp();
        let n_texts = ((fit(measured.text) + 1e-6) as usize).min(measured.n_texts.saturating_mul(2));
        (n_texts.max(1), (fit(measured.token) + 1e-6) as u32)
    }
}

/// What speeds have in common, in seconds for a text: their geometric mean, weighted by age;
/// a second where nothing was measured, which is as good as any while all are compared with it.
pub(super) fn usual<'s>(speeds: impl Iterator<Item = &'s Speed>, now: Instant) -> f64 {
    let measured = speeds.filter_map(|speed| speed.0.as_ref());
    let (sum, weights) = measured.fold((0.0, 0.0), |(sum, weights), measured| {
        let weight = measured.weight(now);
        (sum + measured.text * weight, weights + weight)
    });
    if 0.0 < weights { (sum / weights).exp() } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After calls of so many texts and milliseconds each, one a second.
    fn speed(calls: &[(usize, u64)]) -> (Speed, Instant) {
        let mut now = Instant::now();
        let mut speed = Speed::default();
        for (n_texts, millis) in calls {
            now += Duration::from_secs(1);
            speed.record(*n_texts, *n_texts as u64 * 10, Duration::from_millis(*millis), now);
        }
        (speed, now)
    }

    #[track_caller]
    fn check(calls: &[(usize, u64)], later: u64, want_millis: f64) {
        let (speed, now) = speed(calls);
        let millis = speed.seconds(0.010, now + Duration::from_secs(later)) * 1e3;
        assert!((millis / want_millis - 1.0).abs() < 0.01, "{millis} ms");
    }

    #[test]
    fn what_was_not_measured_is_as_usual() {
        check(&[], 0, 10.0);
    }

    #[test]
    fn calls_of_all_sizes_tell_the_time_of_a_text() {
        check(&[(1, 40), (10, 400), (32, 1280)], 0, 40.0);
    }

    #[test]
    fn one_very_slow_call_is_outweighed_by_the_next_ones() {
        let mut calls = vec![(1, 10_000)];
        calls.extend([(1, 10); 12]);
        let (speed, now) = speed(&calls);
        assert!(speed.seconds(0.010, now) < 0.020);
    }

    #[test]
    fn an_old_measure_is_drawn_to_what_is_usual() {
        check(&[(1, 1000)], 30, 100.0);
        check(&[(1, 1000)], 600, 10.0);
    }

    #[track_caller]
    fn check_fit(calls: &[(usize, u64)], want: (usize, u32)) {
        assert_eq!(speed(calls).0.fit(Duration::from_millis(50)), want);
    }

    #[test]
    fn a_slice_begins_with_a_text_and_doubles_until_it_is_full() {
        check_fit(&[], (1, u32::MAX));
        check_fit(&[(1, 1)], (2, 500));
        check_fit(&[(1, 1), (2, 2), (4, 4)], (8, 500));
        check_fit(&[(32, 320)], (5, 50));
        check_fit(&[(1, 4000)], (1, 0));
    }

    #[test]
    fn the_usual_time_is_the_mean_of_what_was_measured() {
        let (mut fast, mut slow, start) = (Speed::default(), Speed::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        slow.record(1, 10, Duration::from_secs(1), start);
        fast.record(1, 10, Duration::from_millis(10), start);
        let usual_of = |fast: Speed, now| usual([fast, Speed::default(), slow].iter(), now);
        assert!((usual_of(fast, start) - 0.1).abs() < 1e-9);
        assert!((usual([].iter(), start) - 1.0).abs() < 1e-9);
        fast.record(1, 10, Duration::from_millis(10), at(300));
        assert!((usual_of(fast, at(300)) - 0.01).abs() < 1e-4, "what is old still counts");
        assert!(usual_of(fast, at(1_000_000)).is_finite());
    }
}
