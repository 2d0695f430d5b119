//! Small bodies are parsed where they are; large ones on threads of their own, a few at
//! a time, so that however many come there is a processor for small ones.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Config;
use super::error::ApiError;

/// Bytes of a body that are parsed on the spot; more would hold up other requests.
pub(super) const MAX_INLINE: usize = 256 * 1024;

/// The turns of those that take their time.
#[derive(Clone)]
pub(super) struct Parsing(Arc<Semaphore>);

impl Parsing {
    pub(super) fn new(config: &Config) -> Self {
        let half = || std::thread::available_parallelism().map_or(1, |processors| processors.get() / 2);
        let turns = config.max_parsers.unwrap_or_else(half).clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(turns)))
    }

    /// Runs `parse` on a thread that may take its time, once it is its turn.
    ///
    /// Whoever waits has a body in memory, of which there are not many: all of them
    /// are parsed within a second or so.
    pub(super) async fn take_time<T: Send + 'static>(
        &self,
        parse: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let lost = || ApiError::internal("the body could not be read");
        let turn = Arc::clone(&self.0).acquire_owned().await.map_err(|_| lost())?;
        let parse = move || {
            // Kept here: the thread goes on where a client leaves.
            let _turn = turn;
            parse()
        };
        tokio::task::spawn_blocking(parse).await.map_err(|_| lost())?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn one_that_takes_its_time_waits_for_its_turn() {
        let parsing = Parsing::new(&Config { max_parsers: Some(1), ..Config::default() });
        let (go, held) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let parsing = parsing.clone();
            async move { parsing.take_time(move || Ok(held.recv().is_ok())).await }
        });
        while parsing.0.available_permits() == 1 {
            tokio::task::yield_now().await;
        }
        let mut second = Box::pin(parsing.take_time(|| Ok(2)));
        assert!(futures_util::FutureExt::now_or_never(second.as_mut()).is_none());
        go.send(()).unwrap();
        assert_eq!(second.await, Ok(2));
        assert_eq!(first.await.unwrap(), Ok(true));
    }

    #[tokio::test]
    async fn there_is_always_a_turn() {
        let parsing = Parsing::new(&Config { max_parsers: Some(0), ..Config::default() });
        assert_eq!(parsing.take_time(|| Ok(1)).await, Ok(1));
        let refused = ApiError::malformed("no");
        assert_eq!(parsing.take_time(|| Err::<(), _>(ApiError::malformed("no"))).await, Err(refused));
    }
}
