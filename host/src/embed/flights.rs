//! One flight for each key, however many ask.
//!
//! A flight belongs to nobody who waits for it: whoever leaves, it goes on while
//! anyone waits, and is abandoned when nobody does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::cache::{CacheKey, Entry};

use super::Spent;
use super::error::Failure;

/// What a flight brings, and where the time of the one who asks went.
pub(super) type Outcome = Result<(Entry, Spent), Failure>;
type Sender = watch::Sender<Option<Landed>>;

/// A flight that is over.
struct Landed {
    outcome: Outcome,
    at: Instant,
}

/// Flights under way.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<CacheKey, Sender>>>);

/// Where a flight's outcome arrives. Dropping it leaves the flight.
pub(super) struct Wait {
    landed: watch::Receiver<Option<Landed>>,
    since: Instant,
}

/// The duty to land a flight. Dropping it instead tells all who wait that it is lost.
pub(super) struct Lead {
    pub(super) key: CacheKey,
    sender: Sender,
    flights: Flights,
}

impl Flights {
    /// Joins the flight of `key`, or leads a new one.
    pub(super) fn join_or_lead(&self, key: CacheKey) -> (Wait, Option<Lead>) {
        let mut table = self.lock();
        if let Some(sender) = table.get(&key) {
            return (Wait { landed: sender.subscribe(), since: Instant::now() }, None);
        }
        let (sender, landed) = watch::channel(None);
        table.insert(key, sender.clone());
        (Wait { landed, since: Instant::now() }, Some(Lead { key, sender, flights: self.clone() }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, Sender>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `lead`'s flight off the table, if it is still the one of its key and
    /// `condition` holds. Nobody joins while this is decided.
    fn remove_if(&self, lead: &Lead, condition: impl FnOnce(&Sender) -> bool) -> bool {
        let mut table = self.lock();
        let is_ours = table.get(&lead.key).is_some_and(|sender| sender.same_channel(&lead.sender));
        if !condition(&lead.sender) {
            return false;
        }
        if is_ours {
            table.remove(&lead.key);
        }
        true
    }
}

impl Wait {
    pub(super) async fn outcome(mut self) -> Outcome {
        let landed = self.landed.wait_for(Option::is_some).await;
        let Some(Landed { outcome, at }) = landed.as_deref().ok().and_then(Option::as_ref) else {
            return Err(Failure::lost());
        };
        let (entry, spent) = outcome.clone()?;
        Ok((entry, spent.seen_in(at.saturating_duration_since(self.since))))
    }
}

impl Lead {
    /// Gives all who wait the outcome. It must be in the cache before, or one
    /// who asks in between flies again.
    pub(super) fn land(self, outcome: Outcome) {
        self.sender.send_replace(Some(Landed { outcome, at: Instant::now() }));
    }

    /// Resolves when nobody waits any more; nobody can join from then on.
    pub(super) async fn abandoned(&self) {
        loop {
            self.sender.closed().await;
            // One may have joined since.
            if self.flights.remove_if(self, |sender| sender.receiver_count() == 0) {
                return;
            }
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flights.remove_if(self, |_| true);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;
    use crate::cache::{Extent, Space, Stamp};
    use crate::model::Embedding;

    fn key() -> CacheKey {
        CacheKey::new(&Space::new(&[]), Stamp::default(), "text")
    }

    fn entry() -> (Entry, Spent) {
        let entry = Entry {
            embedding: Embedding::new(vec![1.0]).unwrap(),
            n_tokens: 7,
            extent: Extent::Whole,
            detour: None,
        };
        (entry, Spent { upstream: Duration::from_secs(5), ..Spent::default() })
    }

    #[tokio::test]
    async fn one_flight_answers_all_who_ask() {
        let flights = Flights::default();
        let (first, lead) = flights.join_or_lead(key());
        let (second, none) = flights.join_or_lead(key());
        assert!(none.is_none());
        lead.unwrap().land(Ok(entry()));
        assert_eq!(first.outcome().await.unwrap().0.n_tokens, 7);
        assert_eq!(second.outcome().await.unwrap().0.n_tokens, 7);
        assert!(flights.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_joins_late_waits_for_the_rest_only() {
        let flights = Flights::default();
        let (first, lead) = flights.join_or_lead(key());
        tokio::time::advance(Duration::from_secs(3)).await;
        let (second, _) = flights.join_or_lead(key());
        tokio::time::advance(Duration::from_secs(2)).await;
        lead.unwrap().land(Ok(entry()));
        // Who looks late does not wait longer.
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(first.outcome().await.unwrap().1.upstream, Duration::from_secs(5));
        assert_eq!(second.outcome().await.unwrap().1.upstream, Duration::from_secs(2));
    }

    #[tokio::test]
    async fn a_flight_survives_the_one_who_led_it() {
        let flights = Flights::default();
        let (first, lead) = flights.join_or_lead(key());
        let (second, _) = flights.join_or_lead(key());
        drop(first);
        let lead = lead.unwrap();
        assert!(lead.abandoned().now_or_never().is_none());
        lead.land(Ok(entry()));
        assert!(second.outcome().await.is_ok());
    }

    #[tokio::test]
    async fn a_flight_nobody_waits_for_is_abandoned_and_the_next_one_is_another() {
        let flights = Flights::default();
        let (first, lead) = flights.join_or_lead(key());
        drop(first);
        let lead = lead.unwrap();
        lead.abandoned().now_or_never().unwrap();
        let (second, other) = flights.join_or_lead(key());
        let other = other.expect("a new flight");
        drop(lead);
        assert!(flights.join_or_lead(key()).1.is_none(), "the old lead took the new flight away");
        other.land(Ok(entry()));
        assert!(second.outcome().await.is_ok());
    }

    #[tokio::test]
    async fn one_who_joins_at_the_last_moment_keeps_the_flight() {
        let flights = Flights::default();
        let (first, lead) = flights.join_or_lead(key());
        let lead = lead.unwrap();
        drop(first);
        let (second, none) = flights.join_or_lead(key());
        assert!(none.is_none());
        assert!(lead.abandoned().now_or_never().is_none());
        lead.land(Ok(entry()));
        assert!(second.outcome().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lead_that_is_dropped_leaves_nobody_waiting() {
        let flights = Flights::default();
        let (first, lead) = flights.join_or_lead(key());
        drop(lead);
        let outcome = tokio::time::timeout(Duration::from_secs(1), first.outcome()).await;
        assert!(matches!(outcome.unwrap(), Err(Failure::Overloaded { .. })));
        assert!(flights.lock().is_empty());
    }
}
