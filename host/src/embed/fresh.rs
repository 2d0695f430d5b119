//! Texts that nobody has embedded yet: plugins, prompt, batcher, and into the cache.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::batcher::{Failed, Lane, Places, Replied, Reply, Text};
use crate::cache::{CacheKey, Entry, Extent};
use crate::document::{Document, SourceMap};
use crate::plugin::{self, Edit, Plugin, PluginError, Preprocessed, Processed};
use crate::upstream::{Card, TextFault, UpstreamError};

use super::Spent;
use super::detour::{Detour, Passing};
use super::error::Failure;
use super::flights::{Lead, Outcome};
use super::request::Way;
use super::send::{Embedded, Senders};
use super::served::{Engine, Served};

/// Texts that a plugin is handed at once, at most.
const PLUGIN_TEXTS: usize = 64;
/// Bytes of text above which tokens are counted on a thread for such things.
const INLINE_BYTES: usize = 64 * 1024;

/// How the texts of one request are embedded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) way: Way,
    pub(super) lane: Lane,
}

/// A text and the flight that brings its embedding.
pub(super) struct Fresh {
    pub(super) lead: Lead,
    pub(super) text: String,
}

/// A text as the model gets it.
#[derive(Debug, PartialEq, Eq)]
struct Prompted {
    text: Arc<str>,
    n_tokens: u32,
    truncated: bool,
}

/// A text after its preprocessors and its prompt, or why there is none.
struct Prepared {
    prompted: Result<Prompted, Failure>,
    detour: Option<Detour>,
}

/// Flies `fresh` until the last has landed or is abandoned.
pub(super) async fn fly(
    engine: Arc<Engine>,
    served: Arc<Served>,
    job: Job,
    fresh: Vec<Fresh>,
    places: Places,
) {
    let (leads, texts): (Vec<Lead>, Vec<String>) =
        fresh.into_iter().map(|Fresh { lead, text }| (lead, text)).unzip();
    // The leads drop where the engine stops, and with them all who wait are told.
    tokio::select! {
        () = engine.stop.cancelled() => {}
        () = fly_until_landed(&engine, &served, job, leads, texts, places) => {}
    }
}

async fn fly_until_landed(
    engine: &Engine,
    served: &Arc<Served>,
    job: Job,
    leads: Vec<Lead>,
    texts: Vec<String>,
    places: Places,
) {
    let (prepared, plugin) = tokio::select! {
        prepared = prepare(served, job.way, texts) => prepared,
        () = all_abandoned(&leads) => return,
    };
    let mut flying = Vec::with_capacity(leads.len());
    let mut texts = Vec::with_capacity(leads.len());
    for (lead, Prepared { prompted, detour }) in leads.into_iter().zip(prepared) {
        let Prompted { text, n_tokens, truncated } = match prompted {
            Err(failure) => {
                lead.land(Err(failure));
                continue;
            }
            Ok(prompted) => prompted,
        };
        let key = Detour::key(detour.as_ref(), lead.key);
        // What the cache has by this detour, nobody has looked for yet.
        if let Some(entry) = detour.as_ref().and_then(|_| engine.known(key)) {
            lead.land(Ok((entry, Spent { plugin, ..Spent::default() })));
            continue;
        }
        texts.push(Text { text, n_tokens });
        flying.push(Flying { lead, key, detour, n_tokens, truncated, plugin });
    }
    // With a tokenizer that knows what is too long, the upstream has nothing to cut; a gateway cuts itself.
    let cut_upstream = job.way.truncate && (served.card.is_some() || limit(served).is_none());
    let queue = served.queues.of(Way { truncate: cut_upstream, ..job.way });
    let (replies, call) = engine.batcher.submit(queue, job.lane, texts, places);
    let landings = flying.into_iter().zip(replies).map(|(flying, reply)| {
        let cutting = Cutting { allowed: job.way.truncate, asked: cut_upstream };
        land(engine, served, flying, reply, cutting)
    });
    call.beside(join_all(landings)).await;
}

/// A text that was handed to the batcher.
struct Flying {
    lead: Lead,
    /// What its embedding is kept under: the lead's key, unless it takes a detour.
    key: CacheKey,
    detour: Option<Detour>,
    n_tokens: u32,
    /// It was cut here.
    truncated: bool,
    /// The time that preprocessors took.
    plugin: Duration,
}

/// What the upstream may do with a text that is too long.
#[derive(Clone, Copy)]
struct Cutting {
    /// Whoever asked takes a vector of a part.
    allowed: bool,
    /// The upstream was asked to cut what is too long.
    asked: bool,
}

impl Cutting {
    /// Whether whoever refuses cutting would have got the same: it was known here that the
    /// text fits, so that the upstream was asked as it is where cutting is refused.
    fn proves_whole(self, entry: &Entry) -> bool {
        !self.asked && entry.extent == Extent::Whole
    }

    /// What the cache keeps of a text that the upstream has embedded.
    fn entry(
        self,
        n_tokens: u32,
        truncated: bool,
        Embedded { embedding, cut_at }: Embedded,
    ) -> Result<Entry, Failure> {
        let extent = match cut_at {
            None if truncated => Extent::Cut,
            None => Extent::Whole,
            Some(max) if !self.allowed => return Err(Failure::TooLong { got: n_tokens, max }),
            Some(_) if self.asked => Extent::Cut,
            Some(_) => Extent::CutByUpstream,
        };
        Ok(Entry { embedding, n_tokens, extent, detour: None })
    }
}

/// Waits for one text's reply, for as long as anyone waits for it.
async fn land(engine: &Engine, served: &Served, flying: Flying, reply: Reply<Senders>, cutting: Cutting) {
    let Flying { lead, key, detour, n_tokens, truncated, plugin } = flying;
    let reply = tokio::select! {
        reply = reply => reply,
        () = lead.abandoned() => return,
    };
    if let Some(fault) = reply.as_ref().ok().and_then(|reply| lasting_fault(&reply.outcome)) {
        engine.refusals.put(&served.shelf, key, fault);
    }
    let outcome: Outcome = match reply {
        Ok(Replied { outcome, queued, called }) => embedded(outcome)
            .and_then(|embedded| cutting.entry(n_tokens, truncated, embedded))
            .map(|entry| Entry { detour: detour.map(Detour::into_words), ..entry })
            .map(|entry| (entry, Spent { plugin, queue: queued, upstream: called })),
        Err(_) => Err(Failure::lost()),
    };
    if let Ok((entry, _)) = &outcome {
        let key = if cutting.proves_whole(entry) { key.of_all() } else { key };
        engine.cache.put(&served.shelf, key, entry.clone());
    }
    lead.land(outcome);
}

/// What the batcher's reply means to whoever waits.
fn embedded(
    outcome: Result<Result<Embedded, TextFault>, Failed<Arc<UpstreamError>>>,
) -> Result<Embedded, Failure> {
    match outcome {
        Ok(Ok(embedded)) => Ok(embedded),
        Ok(Err(fault)) => Err(Failure::Text(fault)),
        Err(failed) => Err(match fault_of_the_text(&failed) {
            Some(fault) => Failure::Text(fault),
            None => Failure::Upstream(failed.error),
        }),
    }
}

/// A fault that the text would meet again, wherever it goes.
fn lasting_fault(
    outcome: &Result<Result<Embedded, TextFault>, Failed<Arc<UpstreamError>>>,
) -> Option<TextFault> {
    outcome.as_ref().err().and_then(fault_of_the_text)
}

/// Nothing where it may be the upstream's: one that can't be reached fails any text.
fn fault_of_the_text(failed: &Failed<Arc<UpstreamError>>) -> Option<TextFault> {
    let is_the_texts = failed.alone && (failed.error.blames_a_text() || failed.error.may_be_a_text());
    is_the_texts.then(|| TextFault::Refused(failed.error.to_string()))
}

async fn all_abandoned(leads: &[Lead]) {
    for lead in leads {
        lead.abandoned().await;
    }
}

/// Runs the preprocessors over `texts` and puts the prompt before them; one
/// result for each, in order, and the time that the preprocessors took.
async fn prepare(served: &Arc<Served>, way: Way, texts: Vec<String>) -> (Vec<Prepared>, Duration) {
    let begun = Instant::now();
    let mut texts: Vec<Passing> = texts.into_iter().map(Passing::new).collect();
    if !way.prepared {
        for plugin in &served.preprocessors {
            preprocess(served, plugin, way, &mut texts).await;
        }
    }
    // Next to nothing where there are none, and then nobody is told of it.
    let ran = !way.prepared && !served.preprocessors.is_empty();
    let plugin = if ran { begun.elapsed() } else { Duration::ZERO };
    let n_bytes: usize = texts.iter().flat_map(|passing| &passing.text).map(String::len).sum();
    let n_texts = texts.len();
    let served = Arc::clone(served);
    let prepared = move |Passing { text, detour }| Prepared {
        prompted: text.and_then(|text| prompted(&served, way, text)),
        detour,
    };
    let work = move || texts.into_iter().map(prepared).collect();
    if n_bytes <= INLINE_BYTES {
        return (work(), plugin);
    }
    let prompted = match tokio::task::spawn_blocking(work).await {
        Ok(prompted) => prompted,
        // Only a tokenizer that panics gets here.
        Err(_) => {
            let lost = || Prepared { prompted: Err(Failure::lost()), detour: None };
            (0..n_texts).map(|_| lost()).collect()
        }
    };
    (prompted, plugin)
}

async fn preprocess(served: &Served, plugin: &Plugin, way: Way, texts: &mut [Passing]) {
    let call = plugin::Call {
        model: served.model.name.clone(),
        purpose: way.purpose,
        max_tokens: text_limit(served, way).unwrap_or(u32::MAX),
        tokenizer: served.model.tokenizer.clone(),
        language: None,
        embedder: None,
    };
    for some in texts.chunks_mut(PLUGIN_TEXTS) {
        let documents: Vec<Document> =
            some.iter().flat_map(|passing| &passing.text).map(|text| document(text)).collect();
        if documents.is_empty() {
            continue;
        }
        let (mut answers, instead) = match plugin.process_or_instead(&call, &documents).await {
            Ok(Processed { answers, instead }) => (Ok(answers.into_iter()), instead),
            Err(error) => (Err(Arc::new(error)), None),
        };
        for (passing, document) in some.iter_mut().filter(|passing| passing.text.is_ok()).zip(&documents) {
            passing.text = edited(plugin, &document.text, &mut answers);
            if let Some(instead) = &instead {
                passing.take_detour(instead);
            }
        }
    }
}

fn document(text: &str) -> Document {
    Document { media_type: "text/plain".to_owned(), text: text.to_owned(), ..Document::default() }
}

/// The next answer's text.
fn edited(
    plugin: &Plugin,
    text: &str,
    answers: &mut Result<std::vec::IntoIter<Preprocessed>, Arc<PluginError>>,
) -> Result<String, Failure> {
    let answer = match answers {
        Ok(answers) => answers.next(),
        Err(error) => return Err(Failure::Plugin(error.clone())),
    };
    let edited = match answer.map(|answer| answer.edit) {
        Some(Edit::Keep) => text.to_owned(),
        Some(Edit::Replace(text)) => text,
        Some(Edit::Patch(patches)) => {
            let edited = SourceMap::identity(text.len()).apply(text, &patches);
            // The plugin host has checked the patches already.
            edited.map_err(|_| Failure::lost())?.0
        }
        Some(Edit::Reject(reason)) => {
            return Err(Failure::Rejected { plugin: plugin.name().to_owned(), reason });
        }
        None => return Err(Failure::lost()),
    };
    if edited.is_empty() {
        let reason = "nothing of the text is left".to_owned();
        return Err(Failure::Rejected { plugin: plugin.name().to_owned(), reason });
    }
    Ok(edited)
}

/// Tokens of prompt and text, at most; nothing where that cannot be told here.
fn limit(served: &Served) -> Option<u32> {
    let max_tokens = served.model.max_tokens.filter(|_| served.model.tokenizer.is_exact())?;
    Some(max_tokens.saturating_sub(served.model.tokenizer.n_special()))
}

/// Tokens of a text, at most: what the prompt leaves.
fn text_limit(served: &Served, way: Way) -> Option<u32> {
    let prompt = served.model.tokenizer.count(served.prompt(way.purpose));
    let special = served.model.tokenizer.n_special();
    served.model.max_tokens.map(|max_tokens| max_tokens.saturating_sub(special + prompt))
}

/// Puts the prompt before `text`, and cuts or refuses what is too long.
fn prompted(served: &Served, way: Way, text: String) -> Result<Prompted, Failure> {
    if let Some(card) = &served.card {
        return as_it_is(served, card, way, text);
    }
    let prompt = served.prompt(way.purpose);
    let tokenizer = &served.model.tokenizer;
    let whole = if prompt.is_empty() { text } else { format!("{prompt}{text}") };
    let special = tokenizer.n_special();
    let n_tokens = tokenizer.count(&whole).saturating_add(special);
    let max = match limit(served) {
        Some(limit) if limit + special < n_tokens => limit,
        _ => return Ok(Prompted { text: whole.into(), n_tokens, truncated: false }),
    };
    let cut = tokenizer.truncated(&whole, max);
    // What has lost all of its text would get the same vector as every other.
    if !way.truncate || cut.len() <= prompt.len() {
        return Err(Failure::TooLong { got: n_tokens, max: max + special });
    }
    let n_tokens = tokenizer.count(cut).saturating_add(special);
    Ok(Prompted { text: cut.into(), n_tokens, truncated: true })
}

/// A text for a gateway, which puts the prompt before it and cuts it: here it is counted as there.
fn as_it_is(served: &Served, card: &Card, way: Way, text: String) -> Result<Prompted, Failure> {
    let (prompt, tokenizer) = (served.prompt(way.purpose), &served.model.tokenizer);
    let n_tokens = match prompt {
        "" => tokenizer.count(&text),
        prompt => tokenizer.count(&format!("{prompt}{text}")),
    };
    let special = tokenizer.n_special();
    let n_tokens = n_tokens.saturating_add(special);
    // What its preprocessors make of a text may be shorter.
    let is_known = way.prepared || card.preprocessors.is_empty();
    let max = limit(served).map(|limit| limit + special).filter(|max| is_known && *max < n_tokens);
    match max {
        None => Ok(Prompted { text: text.into(), n_tokens, truncated: false }),
        Some(max) if way.truncate => Ok(Prompted { text: text.into(), n_tokens: max, truncated: true }),
        Some(max) => Err(Failure::TooLong { got: n_tokens, max }),
    }
}
