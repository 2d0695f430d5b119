//! One line of the log where the same would be said over and over.

use std::time::Duration;

use tokio::time::Instant;

/// Lets one through every five seconds, and counts those that it does not.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    next: Option<Instant>,
    n_left_out: u64,
}

impl Throttle {
    const EVERY: Duration = Duration::from_secs(5);

    /// The number of those left out before this one, if this one may be logged.
    pub(crate) fn pass(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            self.n_left_out += 1;
            return None;
        }
        self.next = Some(now + Self::EVERY);
        Some(std::mem::take(&mut self.n_left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_makes_few_lines_and_none_goes_uncounted() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.pass(), Some(0));
        assert_eq!((throttle.pass(), throttle.pass()), (None, None));
        tokio::time::advance(Throttle::EVERY).await;
        assert_eq!(throttle.pass(), Some(2));
        tokio::time::advance(Throttle::EVERY).await;
        assert_eq!(throttle.pass(), Some(0));
    }
}
