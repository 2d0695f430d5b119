//! From the times of single requests to the figures that are told.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Fine,
    /// Status 200 with other vectors than those of the texts.
    Wrong,
    Status(u16),
    /// The connection failed.
    Broken,
    /// There was no answer within the patience.
    TimedOut,
}

/// What one worker saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// From when each request was due to its end, in microseconds.
    took: Vec<u32>,
    /// From when each request was due until it was sent, in microseconds.
    late: Vec<u32>,
    endings: BTreeMap<u16, u64>,
    fine: u64,
    wrong: u64,
    broken: u64,
    timed_out: u64,
    reconnected: u64,
    beside: u64,
}

/// What a load saw. Times are from when a request was due, in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Requests that were due, however they ended; those beside the window are left out.
    pub requests: u64,
    pub seconds: f64,
    /// Requests that ended before the window or after it: of these, only failures count.
    pub beside: u64,
    /// Requests that ended well, a second.
    pub per_second: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    /// How late requests were sent: mostly waiting for a connection that is free.
    pub late_p99_ms: f64,
    /// Answers with other vectors than those of the texts.
    pub wrong: u64,
    /// Requests whose connection failed.
    pub broken: u64,
    /// Requests that were given up.
    pub timed_out: u64,
    /// Requests that were sent again, because the connection that was kept had ended.
    pub reconnected: u64,
    /// Answers of another status than 200.
    pub statuses: BTreeMap<u16, u64>,
}

impl Seen {
    pub(crate) fn record(&mut self, took: Duration, late: Duration, ending: Ending) {
        self.took.push(micros(took));
        self.late.push(micros(late));
        self.count(ending);
        self.fine += u64::from(ending == Ending::Fine);
    }

    /// One that ended beside the window.
    pub(crate) fn record_beside(&mut self, ending: Ending) {
        self.beside += 1;
        self.count(ending);
    }

    pub(crate) fn record_reconnect(&mut self) {
        self.reconnected += 1;
    }

    fn count(&mut self, ending: Ending) {
        match ending {
            Ending::Fine => {}
            Ending::Wrong => self.wrong += 1,
            Ending::Broken => self.broken += 1,
            Ending::TimedOut => self.timed_out += 1,
            Ending::Status(status) => *self.endings.entry(status).or_default() += 1,
        }
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.took.extend(other.took);
        self.late.extend(other.late);
        for (status, n) in other.endings {
            *self.endings.entry(status).or_default() += n;
        }
        self.fine += other.fine;
        self.wrong += other.wrong;
        self.broken += other.broken;
        self.timed_out += other.timed_out;
        self.reconnected += other.reconnected;
        self.beside += other.beside;
    }

    pub(crate) fn report(mut self, elapsed: Duration) -> Report {
        self.took.sort_unstable();
        self.late.sort_unstable();
        let seconds = elapsed.as_secs_f64();
        Report {
            requests: self.took.len() as u64,
            seconds,
            beside: self.beside,
            per_second: self.fine as f64 / seconds,
            p50_ms: percentile(&self.took, 50.0),
            p90_ms: percentile(&self.took, 90.0),
            p99_ms: percentile(&self.took, 99.0),
            max_ms: percentile(&self.took, 100.0),
            late_p99_ms: percentile(&self.late, 99.0),
            wrong: self.wrong,
            broken: self.broken,
            timed_out: self.timed_out,
            reconnected: self.reconnected,
            statuses: self.endings,
        }
    }
}

impl Report {
    /// Requests that did not end with the right vectors.
    pub fn failed(&self) -> u64 {
        self.wrong + self.broken + self.timed_out + self.statuses.values().sum::<u64>()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, seconds, per_second, p50_ms, p90_ms, p99_ms, max_ms, .. } = self;
        writeln!(f, "{requests} requests in {seconds:.1} s, {per_second:.0} a second answered well")?;
        writeln!(f, "p50 {p50_ms:.2} ms, p90 {p90_ms:.2} ms, p99 {p99_ms:.2} ms, max {max_ms:.2} ms")?;
        write!(f, "{} wrong, {} broken, {} given up", self.wrong, self.broken, self.timed_out)?;
        self.statuses.iter().try_for_each(|(status, n)| write!(f, ", {n} of status {status}"))
    }
}

/// The smallest time that `percent` of all do not exceed, in milliseconds; 0 of none.
fn percentile(sorted: &[u32], percent: f64) -> f64 {
    let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(rank.max(1) - 1).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(n: u32, percent: f64, want: f64) {
        let sorted: Vec<u32> = (1..=n).map(|ms| ms * 1000).collect();
        assert_eq!(percentile(&sorted, percent), want);
    }

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        check(0, 99.0, 0.0);
        check(1, 50.0, 1.0);
        check(100, 50.0, 50.0);
        check(100, 99.0, 99.0);
        check(1000, 99.0, 990.0);
        check(10, 99.0, 10.0);
        check(10, 100.0, 10.0);
    }

    #[test]
    fn what_ends_beside_the_window_counts_only_where_it_failed() {
        let mut seen = Seen::default();
        seen.record(Duration::from_millis(1), Duration::ZERO, Ending::Fine);
        seen.record_beside(Ending::Fine);
        seen.record_beside(Ending::Wrong);
        seen.record_reconnect();
        let report = seen.report(Duration::from_secs(1));
        assert_eq!((report.requests, report.beside, report.per_second), (1, 2, 1.0));
        assert_eq!((report.failed(), report.reconnected), (1, 1));
    }

    #[test]
    fn whatever_is_not_fine_has_failed() {
        let mut seen = Seen::default();
        let endings = [
            Ending::Fine,
            Ending::Wrong,
            Ending::Broken,
            Ending::TimedOut,
            Ending::Status(429),
            Ending::Fine,
        ];
        for ending in endings {
            seen.record(Duration::from_millis(1), Duration::ZERO, ending);
        }
        let mut all = Seen::default();
        all.join(seen);
        let report = all.report(Duration::from_secs(2));
        assert_eq!((report.requests, report.failed(), report.per_second), (6, 4, 1.0));
        assert_eq!(report.statuses, BTreeMap::from([(429, 1)]));
    }
}
