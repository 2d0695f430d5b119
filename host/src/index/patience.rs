//! Asking an embedder again while it has too much to do.

use std::time::Duration;

use crate::embed::EmbedError;
use crate::upstream::UpstreamError;

/// Before the first repeat where nobody says how long to wait; each pause after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Asks again, a bounded number of times, while too much is waiting at the gateway or its upstreams.
pub(super) async fn patiently<T, F: Future<Output = Result<T, EmbedError>>>(
    max_repeats: u32,
    ask: impl Fn() -> F,
) -> Result<T, EmbedError> {
    let mut pause = FIRST_PAUSE;
    for _ in 0..max_repeats {
        match ask().await {
            Err(EmbedError::Overloaded { retry_after }) => tokio::time::sleep(retry_after).await,
            Err(EmbedError::Upstream(cause)) if matches!(*cause, UpstreamError::Busy { .. }) => {
                tokio::time::sleep(pause).await;
                pause = LONGEST_PAUSE.min(2 * pause);
            }
            answer => return answer,
        }
    }
    ask().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;

    fn busy() -> EmbedError {
        EmbedError::Upstream(Arc::new(UpstreamError::Busy { upstream: "a".into() }))
    }

    fn overloaded() -> EmbedError {
        EmbedError::Overloaded { retry_after: Duration::from_secs(7) }
    }

    /// The answer after `failures`, one each, and how long it took to come.
    async fn check(max_repeats: u32, failures: &[fn() -> EmbedError], want: (bool, Duration)) {
        let (n_asked, begun) = (Cell::new(0), Instant::now());
        let answer = patiently(max_repeats, || {
            let failure = failures.get(n_asked.get());
            n_asked.set(n_asked.get() + 1);
            std::future::ready(failure.map_or(Ok(()), |error| Err(error())))
        });
        assert_eq!((answer.await.is_ok(), begun.elapsed()), want);
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_as_long_as_it_is_told() {
        check(2, &[overloaded, overloaded], (true, Duration::from_secs(14))).await;
        check(1, &[overloaded, overloaded], (false, Duration::from_secs(7))).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_longer_each_time_where_nobody_says_how_long() {
        check(3, &[busy, busy, busy], (true, Duration::from_millis(250 + 500 + 1000))).await;
        check(2, &[busy, busy, busy], (false, Duration::from_millis(250 + 500))).await;
        check(0, &[busy], (false, Duration::ZERO)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_try_does_not_mend_is_said_at_once() {
        check(3, &[|| EmbedError::NoTexts], (false, Duration::ZERO)).await;
    }
}
