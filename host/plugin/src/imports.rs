//! What the gateway does for a plugin: `log`, `text` and `embedder`.
//!
//! Work on more than 64 KiB leaves the thread that serves requests, and all of
//! it looks at the call's deadline.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use embergate_core::document::{self, Document};
use embergate_core::model::ModelName;
use embergate_core::tokenizer::Tokenizer;
use tokio::sync::Semaphore;
use wasmtime::{Trap, bail};

use super::bindings::embergate::plugin::types::{Error, OffsetUnit, Span};
use super::bindings::embergate::plugin::{embedder, log, text, types};
use super::offsets::{Offsets, from_bytes};
use super::segment::{self, segment_while};
use super::state::State;
use super::{Call, LOG, SpanEmbedder};

/// Bytes that are worked on at once, where a request is served.
pub(super) const SLICE_BYTES: usize = 64 * 1024;
/// Counts that are remembered during a call.
const MAX_COUNTS: usize = 1 << 16;
/// What looking at a span or a text costs beside its bytes.
const ITEM_BYTES: usize = 64;
/// Bytes of a log line's message and of each of its fields, at most.
const LOG_BYTES: usize = 1_024;
const LOG_FIELDS: usize = 16;

/// For work on large documents: as much at once as there are cores.
static PLACES: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from))));

/// The documents of a call, and what the gateway does with them for the guest.
pub(super) struct Work {
    texts: Vec<Arc<str>>,
    tokenizer: Arc<Tokenizer>,
    model: ModelName,
    embedder: Option<Arc<dyn SpanEmbedder>>,
    /// Tokens by document, start and end: the check of the answer asks again.
    counts: HashMap<(u32, usize, usize), u32>,
}

impl Work {
    /// Copies the texts: a guest may ask for them as long as its instance lives.
    pub(super) fn new<'d>(call: &Call, documents: impl IntoIterator<Item = &'d Document>) -> Self {
        Self {
            texts: documents.into_iter().map(|document| document.text.as_str().into()).collect(),
            tokenizer: Arc::clone(&call.tokenizer),
            model: call.model.clone(),
            embedder: call.embedder.clone(),
            counts: HashMap::new(),
        }
    }

    /// Returns the tokens of a span that the guest had counted.
    pub(super) fn counted(&self, doc: u32, span: document::Span) -> Option<u32> {
        self.counts.get(&(doc, span.start, span.end)).copied()
    }

    fn text(&self, doc: u32) -> wasmtime::Result<Arc<str>> {
        match self.texts.get(doc as usize) {
            Some(text) => Ok(Arc::clone(text)),
            None => bail!("document {doc} is out of range: the call has {}", self.texts.len()),
        }
    }
}

impl State {
    fn work(&mut self) -> wasmtime::Result<&mut Work> {
        match &mut self.work {
            Some(work) => Ok(work),
            None => {
                bail!("`start` has no documents: call `text` and `embedder` from `process` or `split` only")
            }
        }
    }
}

/// Runs `work` here when it is on few bytes, else beside the threads that serve requests.
async fn run<T: Send + 'static>(
    deadline: Instant,
    n_bytes: usize,
    work: impl FnOnce(&mut dyn FnMut() -> bool) -> Option<T> + Send + 'static,
) -> wasmtime::Result<T> {
    let mut in_time = move || Instant::now() < deadline;
    let done = if n_bytes <= SLICE_BYTES {
        work(&mut in_time)
    } else {
        // Not all work can stop in its middle: what goes on for a call that was stopped keeps its
        // place, so that there is never more of it than this machine can do.
        let place = Arc::clone(&PLACES).acquire_owned().await?;
        let work = move || {
            let _place = place;
            work(&mut in_time)
        };
        tokio::task::spawn_blocking(work).await?
    };
    done.ok_or_else(|| Trap::Interrupt.into())
}

impl types::Host for State {}

impl text::Host for State {
    async fn segment(
        &mut self,
        doc: u32,
        at: text::Boundary,
        unit: OffsetUnit,
    ) -> wasmtime::Result<Vec<u32>> {
        let text = self.work()?.text(doc)?;
        let at = match at {
            text::Boundary::Paragraph => segment::Boundary::Paragraph,
            text::Boundary::Sentence => segment::Boundary::Sentence,
            text::Boundary::Word => segment::Boundary::Word,
            text::Boundary::Grapheme => segment::Boundary::Grapheme,
        };
        run(self.deadline, text.len(), move |go_on| {
            let mut ends = segment_while(&text, at, go_on)?;
            from_bytes(&text, unit, &mut ends);
            Some(ends)
        })
        .await
    }

    async fn token_ends(&mut self, doc: u32, unit: OffsetUnit) -> wasmtime::Result<Vec<u32>> {
        let work = self.work()?;
        let (text, tokenizer) = (work.text(doc)?, Arc::clone(&work.tokenizer));
        run(self.deadline, text.len(), move |go_on| {
            let mut ends = tokenizer.ends_while(&text, go_on)?;
            from_bytes(&text, unit, &mut ends);
            Some(ends)
        })
        .await
    }

    async fn count_tokens(
        &mut self,
        doc: u32,
        unit: OffsetUnit,
        spans: Vec<Span>,
    ) -> wasmtime::Result<Vec<u32>> {
        let text = self.work()?.text(doc)?;
        let spans = in_bytes(&text, unit, &spans)?;
        let work = self.work()?;
        let fresh: Vec<_> = spans.iter().copied().filter(|span| work.counted(doc, *span).is_none()).collect();
        let tokenizer = Arc::clone(&work.tokenizer);
        let n_bytes = fresh.iter().map(|span| span.len() + ITEM_BYTES).sum();
        let counted = Arc::clone(&text);
        let (counts, fresh) = run(self.deadline, n_bytes, move |go_on| {
            let counts =
                count_all(&tokenizer, fresh.iter().map(|span| &counted[span.start..span.end]), go_on)?;
            Some((counts, fresh))
        })
        .await?;
        let work = self.work()?;
        let mut known = fresh.iter().zip(counts).map(|(span, n)| ((doc, span.start, span.end), n));
        if work.counts.len() + fresh.len() <= MAX_COUNTS {
            work.counts.extend(known);
            return Ok(spans.iter().filter_map(|span| work.counted(doc, *span)).collect());
        }
        let answer = spans.iter().filter_map(|span| match work.counted(doc, *span) {
            Some(count) => Some(count),
            None => known.next().map(|(_, count)| count),
        });
        Ok(answer.collect())
    }

    async fn count_texts(&mut self, texts: Vec<String>) -> wasmtime::Result<Vec<u32>> {
        let tokenizer = Arc::clone(&self.work()?.tokenizer);
        let n_bytes = texts.iter().map(|text| text.len() + ITEM_BYTES).sum();
        run(self.deadline, n_bytes, move |go_on| {
            count_all(&tokenizer, texts.iter().map(String::as_str), go_on)
        })
        .await
    }
}

impl embedder::Host for State {
    async fn embed_spans(
        &mut self,
        doc: u32,
        unit: OffsetUnit,
        spans: Vec<Span>,
    ) -> wasmtime::Result<Result<embedder::Matrix, Error>> {
        let work = self.work()?;
        let text = work.text(doc)?;
        let Some(embedder) = work.embedder.clone() else {
            return Ok(Err(Error::Unavailable("nothing embeds in this call".into())));
        };
        let model = work.model.clone();
        let n_bytes: usize = spans.iter().map(|span| span.end.saturating_sub(span.start) as usize).sum();
        let in_all = work.texts.iter().map(|text| text.len()).sum();
        if let Err(why) = self.quota.take(spans.len(), n_bytes, in_all) {
            return Ok(Err(Error::Unavailable(why)));
        }
        let texts = in_bytes(&text, unit, &spans)?;
        let texts = texts.iter().map(|span| text[span.start..span.end].to_owned()).collect();
        let embeddings = match embedder.embed(&model, texts).await {
            Ok(embeddings) => embeddings,
            Err(reason) => return Ok(Err(Error::Unavailable(reason))),
        };
        let dim = embeddings.first().map_or(0, |embedding| embedding.dimensions());
        if embeddings.len() != spans.len() || embeddings.iter().any(|embedding| embedding.dimensions() != dim)
        {
            return Ok(Err(Error::Internal("the embeddings do not match the spans".into())));
        }
        let data = embeddings.iter().flat_map(|embedding| embedding.values()).copied().collect();
        Ok(Ok(embedder::Matrix { rows: embeddings.len() as u32, dim: dim as u32, data }))
    }
}

impl log::Host for State {
    fn write(
        &mut self,
        level: log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        if self.log_lines == 0 {
            return Ok(());
        }
        self.log_lines -= 1;
        let plugin = &*self.plugin;
        let message = cut(&message);
        if level == log::Level::Error {
            // For plugins without a standard error: the last words before a panic.
            self.stderr.keep(message.as_bytes());
            self.stderr.keep(b"\n");
        }
        let fields: Vec<_> =
            fields.iter().take(LOG_FIELDS).map(|(name, value)| (cut(name), cut(value))).collect();
        match level {
            log::Level::Trace => tracing::trace!(target: LOG, plugin, ?fields, "{message}"),
            log::Level::Debug => tracing::debug!(target: LOG, plugin, ?fields, "{message}"),
            log::Level::Info => tracing::info!(target: LOG, plugin, ?fields, "{message}"),
            log::Level::Warn => tracing::warn!(target: LOG, plugin, ?fields, "{message}"),
            log::Level::Error => tracing::error!(target: LOG, plugin, ?fields, "{message}"),
        }
        if self.log_lines == 0 {
            tracing::warn!(target: LOG, plugin, "the plugin wrote as many log lines as one call may; the rest is dropped");
        }
        Ok(())
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LOG_BYTES)]
}

fn in_bytes(text: &str, unit: OffsetUnit, spans: &[Span]) -> wasmtime::Result<Vec<document::Span>> {
    let offsets = Offsets::new(text, unit);
    let place = |span: &Span| {
        let (start, end) = (offsets.byte(span.start)?, offsets.byte(span.end)?);
        (start <= end).then(|| document::Span::new(start, end))
    };
    let mut places = Vec::with_capacity(spans.len());
    for (index, span) in spans.iter().enumerate() {
        match place(span) {
            Some(place) => places.push(place),
            None => bail!(
                "span {index} from {} to {} is outside the document, off its characters, or backwards",
                span.start,
                span.end
            ),
        }
    }
    Ok(places)
}

fn count_all<'t>(
    tokenizer: &Tokenizer,
    texts: impl Iterator<Item = &'t str>,
    go_on: &mut dyn FnMut() -> bool,
) -> Option<Vec<u32>> {
    let mut counts = Vec::new();
    let mut since = 0;
    for text in texts {
        since += text.len() + ITEM_BYTES;
        if SLICE_BYTES < since {
            since = 0;
            if !go_on() {
                return None;
            }
        }
        counts.push(tokenizer.count_while(text, go_on)?);
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use embergate_core::model::{Embedding, Purpose};

    use super::*;
    use crate::Limits;
    use crate::turns::Turns;

    const TEXT: &str = "kelp é and eelgrass";

    /// Embeds a text as its length and 1.
    struct Lengths;

    #[async_trait::async_trait]
    impl SpanEmbedder for Lengths {
        async fn embed(&self, _: &ModelName, texts: Vec<String>) -> Result<Vec<Embedding>, String> {
            let embed = |text: &String| {
                Embedding::new(vec![text.len() as f32, 1.0]).map_err(|error| error.to_string())
            };
            texts.iter().map(embed).collect()
        }
    }

    fn state(text: &str, embedder: Option<Arc<dyn SpanEmbedder>>) -> State {
        let limits = Limits::default();
        let call = Call {
            model: ModelName::new("model").unwrap(),
            purpose: Purpose::Document,
            max_tokens: 400,
            tokenizer: Arc::new(Tokenizer::estimate()),
            language: None,
            embedder,
        };
        let mut state = State::new("test".into(), &limits, Turns::new(1).turn());
        state.deadline = Instant::now() + limits.time;
        state.work = Some(Work::new(&call, [&Document { text: text.into(), ..Document::default() }]));
        state
    }

    fn spans(list: &[(u32, u32)]) -> Vec<Span> {
        list.iter().map(|&(start, end)| Span { start, end }).collect()
    }

    #[tokio::test]
    async fn ends_are_in_the_unit_that_was_asked_for() {
        let mut state = state(TEXT, None);
        let ends =
            text::Host::segment(&mut state, 0, text::Boundary::Word, OffsetUnit::CodePoint).await.unwrap();
        assert_eq!(ends, [4, 5, 6, 7, 10, 11, 19]);
    }

    #[tokio::test]
    async fn a_span_that_was_counted_is_remembered() {
        let mut state = state(TEXT, None);
        let asked = spans(&[(0, 4), (8, 20), (0, 4)]);
        let counts = text::Host::count_tokens(&mut state, 0, OffsetUnit::Utf8Byte, asked).await.unwrap();
        assert_eq!(counts, [1, 3, 1]);
        let work = state.work.unwrap();
        assert_eq!(work.counted(0, document::Span::new(8, 20)), Some(3));
    }

    #[tokio::test]
    async fn a_span_inside_a_character_traps() {
        let mut state = state(TEXT, None);
        let asked = spans(&[(0, 6)]);
        assert!(text::Host::count_tokens(&mut state, 0, OffsetUnit::Utf8Byte, asked).await.is_err());
    }

    #[tokio::test]
    async fn long_work_stops_at_the_deadline() {
        let mut state = state(&"kelp. ".repeat(100_000), None);
        state.deadline = Instant::now();
        let stopped = text::Host::segment(&mut state, 0, text::Boundary::Word, OffsetUnit::Utf8Byte).await;
        assert!(matches!(stopped.unwrap_err().downcast_ref(), Some(Trap::Interrupt)));
    }

    #[tokio::test]
    async fn spans_are_embedded_in_their_order() {
        let mut state = state(TEXT, Some(Arc::new(Lengths)));
        let asked = spans(&[(0, 4), (8, 11)]);
        let matrix =
            embedder::Host::embed_spans(&mut state, 0, OffsetUnit::Utf8Byte, asked).await.unwrap().unwrap();
        assert_eq!((matrix.rows, matrix.dim, matrix.data), (2, 2, vec![4.0, 1.0, 3.0, 1.0]));
    }

    #[tokio::test]
    async fn embedding_may_be_unavailable() {
        let mut state = state(TEXT, None);
        let answer =
            embedder::Host::embed_spans(&mut state, 0, OffsetUnit::Utf8Byte, spans(&[(0, 4)])).await.unwrap();
        assert!(matches!(answer, Err(Error::Unavailable(_))));
    }

    #[test]
    fn a_call_writes_no_more_lines_than_it_may() {
        let mut state = state(TEXT, None);
        state.log_lines = 2;
        for _ in 0..5 {
            log::Host::write(&mut state, log::Level::Info, "again".into(), Vec::new()).unwrap();
        }
        assert_eq!(state.log_lines, 0);
    }
}
