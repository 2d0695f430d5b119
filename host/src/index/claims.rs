//! Texts that a batch is having embedded: another one that needs them as well
//! waits for their vectors, and does not ask for them again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::model::Embedding;
use crate::store::TextHash;

/// Which texts are being embedded. Clones are of the same run.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(Arc<Mutex<HashMap<TextHash, watch::Receiver<Option<Embedding>>>>>);

/// Texts that only its owner has embedded until it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Claims,
    texts: HashMap<TextHash, watch::Sender<Option<Embedding>>>,
}

/// The vector of a text that another batch has claimed.
#[derive(Debug)]
pub(super) struct Promise(watch::Receiver<Option<Embedding>>);

impl Claims {
    fn lock(&self) -> MutexGuard<'_, HashMap<TextHash, watch::Receiver<Option<Embedding>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Claims those of `texts` that nobody has, and promises the others.
    ///
    /// All in one step: whoever waits for a promise waits for an earlier claim,
    /// so that no two wait for each other.
    pub(super) fn claim(
        &self,
        texts: impl IntoIterator<Item = TextHash>,
    ) -> (Claim, HashMap<TextHash, Promise>) {
        let mut under_way = self.lock();
        let (mut claimed, mut promised) = (HashMap::new(), HashMap::new());
        for text in texts {
            if let Some(vector) = under_way.get(&text) {
                promised.insert(text, Promise(vector.clone()));
            } else {
                let (sender, vector) = watch::channel(None);
                under_way.insert(text, vector);
                claimed.insert(text, sender);
            }
        }
        drop(under_way);
        (Claim { claims: self.clone(), texts: claimed }, promised)
    }
}

impl Claim {
    /// Gives the vector to all who wait for it.
    pub(super) fn keep(&self, text: &TextHash, embedding: &Embedding) {
        if let Some(sender) = self.texts.get(text) {
            sender.send_replace(Some(embedding.clone()));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut under_way = self.claims.lock();
        for text in self.texts.keys() {
            under_way.remove(text);
        }
    }
}

impl Promise {
    /// Waits for the vector; nothing where whoever claimed it did not get one.
    pub(super) async fn kept(mut self) -> Option<Embedding> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|vector| vector.clone())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_text_is_claimed_once_and_its_vector_reaches_all() {
        let (claims, text) = (Claims::default(), TextHash::of("kelp"));
        let (first, none) = claims.claim([text]);
        let (_second, mut promised) = claims.claim([text, TextHash::of("tide")]);
        assert!(none.is_empty());
        let mut vector = Box::pin(promised.remove(&text).unwrap().kept());
        assert_eq!(vector.as_mut().now_or_never(), None);
        let embedding = Embedding::new(vec![1.0, 0.0]).unwrap();
        first.keep(&text, &embedding);
        drop(first);
        assert_eq!(vector.now_or_never(), Some(Some(embedding)));
        assert!(promised.is_empty());
    }

    #[test]
    fn what_was_given_up_is_free_again() {
        let (claims, text) = (Claims::default(), TextHash::of("kelp"));
        let (first, _) = claims.claim([text]);
        let (_, mut promised) = claims.claim([text]);
        drop(first);
        assert_eq!(promised.remove(&text).unwrap().kept().now_or_never(), Some(None));
        assert!(claims.claim([text]).1.is_empty());
    }
}
