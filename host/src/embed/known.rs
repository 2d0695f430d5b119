//! What is known of a request's texts, and whom to wait for about the others.

use std::collections::HashMap;
use std::sync::Arc;

use super::assemble::assemble;
use super::error::Failure;
use super::flights::{self, Outcome};
use super::fresh::{Fresh, Job};
use super::request::Way;
use super::served::{Engine, Served};
use super::{EmbedAnswer, EmbedError, EmbedRequest, Embedder, Spent};
use crate::cache::{CacheKey, Entry, Space};
use crate::model::ModelName;

impl Embedder {
    pub(super) async fn answer(
        &self,
        served: &Arc<Served>,
        request: EmbedRequest,
    ) -> Result<EmbedAnswer, EmbedError> {
        let job = Job { way: request.way(), lane: self.lane(&request, None) };
        // Taken before anything is looked at: what is thrown away from here on stays away.
        let stamp = served.shelf.stamp();
        let space = served.cached_space(&self.engine, job.way).await.map_err(EmbedError::upstream)?;
        if let Some(wanted) = request.space {
            self.must_be(served, job.way, wanted).await?;
        }
        let key_of = |text: &str| match job.way.truncate {
            true => CacheKey::new(&space, stamp, text).of_a_part(),
            false => CacheKey::new(&space, stamp, text),
        };
        // Most requests have one text: where it is known there is nothing to sort.
        if let [text] = &request.texts[..]
            && let Some(entry) = self.engine.known(key_of(text))
        {
            return done(served, &[0], vec![entry], 1, request.dimensions);
        }

        // Equal texts are one text from here on; `places` says where each goes back to.
        let n_texts = request.texts.len();
        let mut distinct: HashMap<CacheKey, usize> = HashMap::with_capacity(n_texts);
        let mut places = Vec::with_capacity(n_texts);
        let mut texts: Vec<(CacheKey, String)> = Vec::with_capacity(n_texts);
        for text in request.texts {
            let key = key_of(&text);
            let place = *distinct.entry(key).or_insert(texts.len());
            if place == texts.len() {
                texts.push((key, text));
            }
            places.push(place);
        }

        let (entries, hits, spent) = self.outcomes(served, job, texts, &places).await?;
        let n_hits = places.iter().filter(|place| hits[**place]).count();
        let answer = done(served, &places, entries, n_hits, request.dimensions)?;
        Ok(EmbedAnswer { spent, ..answer })
    }

    /// Refuses vectors of another space than the one that is `wanted`. What was agreed on is known by now,
    /// so that nobody is asked.
    async fn must_be(&self, served: &Arc<Served>, way: Way, wanted: Space) -> Result<(), EmbedError> {
        let way = Way { truncate: false, ..way };
        let space = served.space(&self.engine, way).await.map_err(EmbedError::upstream)?;
        let is_wanted = space.to_hex() == wanted.to_hex();
        if is_wanted { Ok(()) } else { Err(EmbedError::OtherSpace(served.model.name.clone())) }
    }

    /// One entry for each of `texts`, whether the cache had it, and what the one
    /// that took longest waited for.
    async fn outcomes(
        &self,
        served: &Arc<Served>,
        job: Job,
        texts: Vec<(CacheKey, String)>,
        places: &[usize],
    ) -> Result<(Vec<Entry>, Vec<bool>, Spent), EmbedError> {
        let mut waits = Vec::with_capacity(texts.len());
        let mut hits = Vec::with_capacity(texts.len());
        let mut fresh = Vec::new();
        for (key, text) in texts {
            let found = self.found(served, key, text, &mut fresh);
            hits.push(matches!(found, Found::Entry(_)));
            waits.push(found);
        }
        let all = all(waits, places, &served.model.name);
        let (entries, longest) = self.engine.take_off(served, job, fresh).beside(all).await?;
        Ok((entries, hits, longest))
    }

    /// Where the entry of `key` comes from; a text that nobody knows goes to `fresh`.
    fn found(&self, served: &Served, key: CacheKey, text: String, fresh: &mut Vec<Fresh>) -> Found {
        if let Some(entry) = self.engine.known(key) {
            return Found::Entry(entry);
        }
        if let Some(fault) = self.engine.refusals.get(&key) {
            return Found::Failure(Failure::Text(fault));
        }
        let (wait, lead) = self.engine.flights.join_or_lead(key);
        // A flight may have landed between the look into the cache and this one.
        match lead.map(|lead| (lead, self.engine.known(key))) {
            Some((lead, Some(entry))) => lead.land(Ok((entry, Spent::default()))),
            Some((lead, None)) => fresh.push(Fresh { lead, text }),
            None => served.meters.shared.increment(1),
        }
        Found::Flight(wait)
    }
}

impl Engine {
    /// What the cache has under `key`. Whoever takes a vector of a part takes one of all
    /// of the text as well; nobody else gets one of a part.
    pub(super) fn known(&self, key: CacheKey) -> Option<Entry> {
        let of_all = key.of_all();
        self.cache.get(&of_all).or_else(|| if key == of_all { None } else { self.cache.get(&key) })
    }
}

/// The entry of each of `waits`, and what the one that took longest waited for.
async fn all(
    waits: Vec<Found>,
    places: &[usize],
    model: &ModelName,
) -> Result<(Vec<Entry>, Spent), EmbedError> {
    let mut entries = Vec::with_capacity(waits.len());
    let mut longest = Spent::default();
    for (place, found) in waits.into_iter().enumerate() {
        let (entry, spent) = found.outcome().await.map_err(|failure| {
            let index = places.iter().position(|at| *at == place).unwrap_or(place);
            failure.of_text(index, model)
        })?;
        entries.push(entry);
        longest = longest.longer(spent);
    }
    Ok((entries, longest))
}

/// Counts what was answered, and puts every entry in its places.
fn done(
    served: &Served,
    places: &[usize],
    entries: Vec<Entry>,
    n_hits: usize,
    dimensions: Option<usize>,
) -> Result<EmbedAnswer, EmbedError> {
    served.meters.texts.increment(places.len() as u64);
    served.meters.hits.increment(n_hits as u64);
    let answer = assemble(served, places, entries, n_hits, dimensions)?;
    served.meters.tokens.increment(answer.n_tokens);
    Ok(answer)
}

/// Where a text's entry comes from.
enum Found {
    Entry(Entry),
    Flight(flights::Wait),
    /// It was tried already, and fails wherever it goes.
    Failure(Failure),
}

impl Found {
    async fn outcome(self) -> Outcome {
        match self {
            Self::Entry(entry) => Ok((entry, Spent::default())),
            Self::Flight(wait) => wait.outcome().await,
            Self::Failure(failure) => Err(failure),
        }
    }
}
