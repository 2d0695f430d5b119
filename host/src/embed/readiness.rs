//! Whether any upstream can be asked: looked at by one caller at a time, for all
//! who ask meanwhile. Whoever asks for it again and again, or from many places at
//! once, does not make the upstreams answer more than one look after the other.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::upstream::UpstreamError;

/// Nothing, or why each of them cannot be asked.
pub(super) type Found = Result<(), Vec<Arc<UpstreamError>>>;

/// The last look. Held while there is another one.
#[derive(Default)]
pub(super) struct Readiness(Mutex<Option<Look>>);

struct Look {
    begun: Instant,
    found: Found,
}

impl Readiness {
    /// What `look` finds, or what another one has found that began after this call.
    pub(super) async fn ask(&self, look: impl Future<Output = Found>) -> Found {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        if let Some(look) = last.as_ref().filter(|look| asked < look.begun) {
            return look.found.clone();
        }
        let begun = Instant::now();
        let found = look.await;
        *last = Some(Look { begun, found: found.clone() });
        found
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_share_a_look_that_began_after_they_asked() {
        let (readiness, n_looks) = (Readiness::default(), Cell::new(0));
        let ask = async |after: u64| {
            let look = async {
                n_looks.set(n_looks.get() + 1);
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(())
            };
            tokio::time::sleep(Duration::from_millis(after)).await;
            readiness.ask(look).await
        };
        let answers = join_all((0..100).map(&ask)).await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(n_looks.get(), 2, "one, and one for all who came while it was under way");
        ask(0).await.unwrap();
        assert_eq!(n_looks.get(), 3, "what was found before is not told again");
    }
}
