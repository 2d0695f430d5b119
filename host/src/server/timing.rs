//! Where a request's time went, for the header `server-timing`.

use std::fmt::Write;
use std::time::Duration;

use hyper::header::HeaderValue;

use crate::embed::Spent;

pub(super) const SERVER_TIMING: &str = "server-timing";

/// The parts of a request that take time; those that did not happen are zero.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timings {
    /// Until the body was there.
    pub(super) read: Duration,
    /// Until the embeddings were.
    pub(super) spent: Spent,
    /// Until they were written as JSON.
    pub(super) encode: Duration,
}

impl Timings {
    /// The header's value, `total` first, then the parts that happened, in milliseconds.
    pub(super) fn header(&self, total: Duration) -> HeaderValue {
        let Spent { plugin, queue, upstream } = self.spent;
        let parts = [
            ("read", self.read),
            ("plugin", plugin),
            ("queue", queue),
            ("upstream", upstream),
            ("encode", self.encode),
        ];
        let mut value = format!("total;dur={}", Millis(total));
        for (name, took) in parts {
            if !took.is_zero() {
                // Writing to a String does not fail.
                write!(value, ", {name};dur={}", Millis(took)).unwrap_or(());
            }
        }
        HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("total"))
    }
}

/// Milliseconds with as many decimals as they need, three at most.
struct Millis(Duration);

impl std::fmt::Display for Millis {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = self.0.as_micros();
        let (whole, decimals) = (micros / 1000, micros % 1000);
        match decimals {
            0 => write!(formatter, "{whole}"),
            _ => formatter.write_str(format!("{whole}.{decimals:03}").trim_end_matches('0')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(timings: Timings, total: u64, want: &str) {
        assert_eq!(timings.header(Duration::from_micros(total)), want);
    }

    #[test]
    fn there_is_always_a_total() {
        check(Timings::default(), 0, "total;dur=0");
        check(Timings::default(), 12_345, "total;dur=12.345");
    }

    #[test]
    fn milliseconds_have_no_needless_decimals() {
        check(Timings::default(), 1_500, "total;dur=1.5");
        check(Timings::default(), 2_000, "total;dur=2");
        check(Timings::default(), 90, "total;dur=0.09");
        check(Timings::default(), 60_000_000, "total;dur=60000");
    }

    #[test]
    fn parts_are_told_in_the_order_in_which_they_happen_where_they_happened() {
        let micros = Duration::from_micros;
        let spent = Spent { plugin: Duration::ZERO, queue: micros(7), upstream: micros(8_000) };
        let timings = Timings { read: micros(40), spent, encode: micros(310) };
        check(timings, 9_000, "total;dur=9, read;dur=0.04, queue;dur=0.007, upstream;dur=8, encode;dur=0.31");
        let spent = Spent { plugin: micros(1), ..Spent::default() };
        check(Timings { spent, ..Timings::default() }, 1, "total;dur=0.001, plugin;dur=0.001");
    }
}
