//! One file → chunks: read, decode, preprocess, cut.

use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::budget::Room;
use super::edited::{Edited, Stopped};
use super::identity::{Fingerprint, Ids};
use super::job::Job;
use super::recipe::Recipe;
use super::report::in_full;
use super::sort::{Changed, Skipped, Sorted};
use super::source::{DecodeError, Decoded, Found, Origin, ReadError, media};
use super::stage::{Ahead, ahead};
use crate::document::{Chunk, Chunks, Coverage, Document};
use crate::plugin::{Instead, PluginError, Processed};
use crate::store::{Payload, SourceRecord, TextHash};

/// A document that is ready to be embedded, or why it is not.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) source: String,
    pub(super) size: u64,
    /// What was recorded of it before this run.
    pub(super) old: Option<SourceRecord>,
    pub(super) step: Step,
    /// Held until it is written.
    pub(super) room: Room,
}

/// What is to be done with a document.
#[derive(Debug)]
pub(super) enum Step {
    /// Its bytes are as they were: all there is to do is this record.
    Same(SourceRecord),
    Chunks {
        /// As it will be when all is done.
        record: SourceRecord,
        chunks: Vec<PreparedChunk>,
    },
    Skip(String),
    Fail(String),
}

/// A chunk with all that it takes to store it but its vectors.
#[derive(Debug)]
pub(super) struct PreparedChunk {
    pub(super) id: Uuid,
    pub(super) embedded_text: String,
    pub(super) n_tokens: u32,
    pub(super) payload: Payload,
}

impl Prepared {
    pub(super) fn chunks(&self) -> &[PreparedChunk] {
        match &self.step {
            Step::Chunks { chunks, .. } => chunks,
            Step::Same(_) | Step::Skip(_) | Step::Fail(_) => &[],
        }
    }

    pub(super) fn n_tokens(&self) -> u64 {
        self.chunks().iter().map(|chunk| u64::from(chunk.n_tokens)).sum()
    }
}

/// Prepares documents, a bounded number at once and as far ahead as there is
/// room; they come in the order of `sorted`. So the others rest while a long one
/// is at work, whose calls may take only so long.
pub(super) fn documents(
    job: Arc<Job>,
    sorted: impl Stream<Item = Sorted> + Send + 'static,
) -> Ahead<Prepared> {
    let max_documents = job.config.max_documents.max(1);
    let begun = sorted.then(move |sorted| {
        let job = Arc::clone(&job);
        async move {
            let n_bytes = sorted.n_bytes();
            let room = job.budget.room_for(n_bytes).await;
            Begun::new(job, sorted, room)
        }
    });
    ahead(begun.map(Begun::prepared).buffered(max_documents), PREPARED_AHEAD)
}

/// The name of the encoding that needs no word.
const UTF_8: &str = "UTF-8";
/// Documents that wait to be embedded; the room that they have bounds them too.
const PREPARED_AHEAD: usize = 64;

/// A document that is being prepared, in a task of its own.
struct Begun {
    source: String,
    size: u64,
    old: Option<SourceRecord>,
    room: Room,
    work: Work,
}

enum Work {
    Task(AbortOnDropHandle<Step>),
    /// There was nothing to do.
    Done(Box<Step>),
}

impl Begun {
    fn new(job: Arc<Job>, sorted: Sorted, room: Room) -> Self {
        let Changed { found, old } = match sorted {
            Sorted::Changed(changed) => *changed,
            Sorted::Skipped(skipped) => {
                let Skipped { source, reason, old } = *skipped;
                return Self { source, size: 0, old, room, work: Work::Done(Box::new(Step::Skip(reason))) };
            }
        };
        let (source, size, old_record) = (found.source.clone(), found.size, old.clone());
        let work = async move { step_of(&job, &found, old_record.as_ref()).await };
        let work = Work::Task(AbortOnDropHandle::new(tokio::spawn(work)));
        Self { source, size, old, room, work }
    }

    async fn prepared(self) -> Prepared {
        let Self { source, size, old, room, work } = self;
        let step = match work {
            Work::Done(step) => *step,
            Work::Task(task) => task.await.unwrap_or_else(|cause| Step::Fail(cause.to_string())),
        };
        Prepared { source, size, old, step, room }
    }
}

/// What a document gives, whatever was made of it before.
pub(super) async fn derive(job: &Job, found: &Found) -> Step {
    step_of(job, found, None).await
}

async fn step_of(job: &Job, found: &Found, old: Option<&SourceRecord>) -> Step {
    step(job, found, old).await.unwrap_or_else(|refusal| match refusal {
        Refusal::Skip(reason) => Step::Skip(reason),
        Refusal::Fail(reason) => Step::Fail(reason),
    })
}

/// Why a document has no chunks.
enum Refusal {
    /// It is nothing to index.
    Skip(String),
    /// It is, and something went wrong.
    Fail(String),
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        if error.is_no_text() { Self::Skip(error.to_string()) } else { Self::Fail(error.to_string()) }
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        if error.is_no_text() { Self::Skip(error.to_string()) } else { Self::Fail(error.to_string()) }
    }
}

impl From<PluginError> for Refusal {
    fn from(error: PluginError) -> Self {
        Self::Fail(in_full(&error))
    }
}

async fn step(job: &Job, found: &Found, old: Option<&SourceRecord>) -> Result<Step, Refusal> {
    let before = old.and_then(|old| fetched(job, old));
    let contents = match (job.reader.read(found, before.as_ref()).await, old) {
        (Err(ReadError::Unchanged), Some(old)) => return Ok(Step::Same(old.clone())),
        (contents, _) => contents?,
    };
    let (found, hash) = (contents.found.clone(), contents.hash);
    let recipe = job.recipe(found.media_type).map_err(Refusal::Fail)?;
    let record = SourceRecord {
        source: found.source.clone(),
        size: found.size,
        modified: found.modified,
        content: hash,
        pipeline: recipe.fingerprint.clone(),
        etag: found.origin.etag().map(str::to_owned),
        origin: found.origin.kept(),
        ..SourceRecord::default()
    };
    if let Some(old) = old
        && (old.content, &old.pipeline) == (hash, &recipe.fingerprint)
    {
        let (points, coverage) = (old.points.clone(), old.coverage.clone());
        let encoding = old.encoding.clone();
        return Ok(Step::Same(SourceRecord { points, coverage, encoding, n_tokens: old.n_tokens, ..record }));
    }
    let decoded = job.reader.decode(contents)?;
    if let Some(line) = media::minified_line(found.media_type, decoded.text()).filter(|_| !recipe.is_named) {
        return Err(Refusal::Skip(format!(
            "line {line} is too long for code that people write: give its collection a rule for `{}` to index it",
            found.media_type
        )));
    }
    let mut way = Way::new(&recipe);
    let (chunks, coverage) = chunks(job, &mut way, &found, &decoded).await?;
    let record = SourceRecord {
        pipeline: way.pipeline,
        points: chunks.iter().map(|chunk| chunk.id).collect(),
        coverage: Some(coverage),
        encoding: (decoded.encoding() != UTF_8).then(|| decoded.encoding().to_owned()),
        n_tokens: chunks.iter().map(|chunk| u64::from(chunk.n_tokens)).sum(),
        ..record
    };
    Ok(Step::Chunks { record, chunks })
}

/// How a page was when it was last fetched, where all was done that would be done with it now.
fn fetched(job: &Job, old: &SourceRecord) -> Option<Origin> {
    let origin = Origin::from_json(&old.origin)?;
    let Origin::Url { media_type, .. } = &origin else { return None };
    let recipe = job.recipe(media_type).ok()?;
    (recipe.fingerprint == old.pipeline).then_some(origin)
}

/// The document's chunks, and the proof that nothing of it was lost.
async fn chunks(
    job: &Job,
    way: &mut Way<'_>,
    found: &Found,
    decoded: &Decoded,
) -> Result<(Vec<PreparedChunk>, Coverage), Refusal> {
    let edited = preprocessed(job, way, found, decoded).await?;
    let of_source = |coverage| Coverage {
        n_source: decoded.text().len() as u64,
        n_kept: edited.n_kept() as u64,
        ..coverage
    };
    let text = &edited.document.text;
    if text.trim().is_empty() {
        return Ok((Vec::new(), of_source(Coverage::of_text(text.len()))));
    }
    let chunker = &way.recipe.chunker;
    let split = patient(job, || chunker.split_or_instead(&job.call, &edited.document)).await?;
    let (Chunks { chunks, omitted: _, coverage }, instead) = split;
    way.leave(instead.as_deref());
    Ok((finished(found.media_type, &edited, decoded, chunks), of_source(coverage)))
}

/// Runs the preprocessors one after another.
async fn preprocessed(
    job: &Job,
    way: &mut Way<'_>,
    found: &Found,
    decoded: &Decoded,
) -> Result<Edited, Refusal> {
    let mut edited = Edited::new(&found.source, found.media_type, decoded);
    for plugin in &way.recipe.preprocessors {
        let documents = std::slice::from_ref(&edited.document);
        let Processed { mut answers, instead } =
            patient(job, || plugin.process_or_instead(&job.call, documents)).await?;
        way.leave(instead.as_deref());
        let Some(answer) = answers.pop() else {
            return Err(Refusal::Fail(format!("plugin `{}` gave no answer", plugin.name())));
        };
        edited.apply(answer).map_err(|stopped| match stopped {
            Stopped::Rejected(reason) => {
                Refusal::Skip(format!("plugin `{}` rejected it: {reason}", plugin.name()))
            }
            Stopped::Patch(error) => Refusal::Fail(format!("plugin `{}`: {error}", plugin.name())),
        })?;
    }
    Ok(edited)
}

/// The way of one document through its plugins.
struct Way<'r> {
    recipe: &'r Recipe,
    /// The recipe's fingerprint. Where a plugin failed and something was done instead, it is
    /// another one, so that the next run does the document again.
    pipeline: String,
}

impl<'r> Way<'r> {
    fn new(recipe: &'r Recipe) -> Self {
        Self { recipe, pipeline: recipe.fingerprint.clone() }
    }

    fn leave(&mut self, instead: Option<&Instead>) {
        if let Some(instead) = instead {
            self.pipeline = Fingerprint::new().with(&self.pipeline).with(instead.mark()).finish();
        }
    }
}

/// Waits for a plugin that is out of service: else all documents of a run would fail while it is.
/// One that stays so is waited for a bounded number of times in the whole run.
async fn patient<T, F: Future<Output = Result<T, PluginError>>>(
    job: &Job,
    call: impl Fn() -> F,
) -> Result<T, PluginError> {
    loop {
        match call().await {
            Err(PluginError::OutOfService { retry_after, .. }) if job.may_wait_for_plugins() => {
                tokio::time::sleep(retry_after).await;
            }
            answer => {
                if answer.is_ok() {
                    job.plugins_answer();
                }
                return answer;
            }
        }
    }
}

/// Gives chunks their ids, and everything that is shown of them. `media_type`
/// is the file's: what preprocessors made of it matters to the chunker alone.
fn finished(media_type: &str, edited: &Edited, decoded: &Decoded, chunks: Vec<Chunk>) -> Vec<PreparedChunk> {
    let document = &edited.document;
    let shown: Vec<_> = chunks.iter().map(|chunk| chunk.window.unwrap_or(chunk.span)).collect();
    let places = edited.places(&shown);
    let lines = edited.lines(&places, decoded);
    let in_file = edited.in_file(&places, decoded);
    let mut ids = Ids::new(&document.id);
    let mut finished = Vec::with_capacity(chunks.len());
    for (ordinal, chunk) in chunks.into_iter().enumerate() {
        let embedded_text = chunk.embedded_text(&document.text);
        let Said { title, headings, metadata } = Said::of(document, chunk.metadata);
        let payload = Payload {
            source: document.id.clone(),
            media_type: media_type.to_owned(),
            title,
            headings,
            text: shown[ordinal].of(&document.text).unwrap_or_default().to_owned(),
            prefix: chunk.prefix,
            span: Some(in_file[ordinal]),
            extracted: edited.is_extracted(),
            line: lines[ordinal],
            ordinal: u32::try_from(ordinal).unwrap_or(u32::MAX),
            text_hash: TextHash::of(&embedded_text),
            metadata,
        };
        let id = ids.next(&payload.text_hash);
        finished.push(PreparedChunk { id, embedded_text, n_tokens: chunk.n_tokens, payload });
    }
    finished
}

/// What plugins said of a document and one of its chunks. A chunker that reads
/// the title says it of each chunk, and `heading` once for each heading above.
#[derive(Default)]
struct Said {
    title: Option<String>,
    headings: Vec<String>,
    metadata: Vec<(String, String)>,
}

impl Said {
    fn of(document: &Document, of_chunk: Vec<(String, String)>) -> Self {
        let mut said = Self::default();
        for (key, value) in document.metadata.iter().cloned().chain(of_chunk) {
            match key.as_str() {
                "title" => said.title = Some(value),
                "heading" => said.headings.push(value),
                _ => said.metadata.push((key, value)),
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Patch, Span};
    use crate::plugin::{Edit, Preprocessed};

    fn edited(decoded: &Decoded, edit: Edit, media_type: Option<&str>) -> Edited {
        let mut edited = Edited::new("/a", "text/plain", decoded);
        let media_type = media_type.map(str::to_owned);
        edited.apply(Preprocessed { edit, media_type, metadata: Vec::new() }).unwrap();
        edited
    }

    fn chunk(start: usize, end: usize) -> Chunk {
        let span = Span::new(start, end);
        Chunk { span, prefix: None, window: None, metadata: Vec::new(), n_tokens: 1 }
    }

    /// Cuts `bytes` after `patches`; what is at each chunk's span of the file, and its line.
    #[track_caller]
    fn check(bytes: &[u8], patches: &[Patch], chunks: &[(usize, usize)], want: &[(&str, u32)]) {
        let decoded = Decoded::of(bytes);
        let edited = edited(&decoded, Edit::Patch(patches.to_vec()), None);
        let chunks = chunks.iter().map(|(start, end)| chunk(*start, *end)).collect();
        let got: Vec<_> = finished("text/plain", &edited, &decoded, chunks)
            .into_iter()
            .map(|chunk| {
                let span = chunk.payload.span.unwrap();
                (String::from_utf8(bytes[span.start..span.end].to_vec()).unwrap(), chunk.payload.line)
            })
            .collect();
        let want: Vec<_> = want.iter().map(|(text, line)| ((*text).to_owned(), *line)).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn a_span_is_of_the_file_and_its_line_counts_from_one() {
        check(b"one\ntwo\n", &[], &[(0, 3), (4, 7)], &[("one", 1), ("two", 2)]);
    }

    #[test]
    fn a_byte_order_mark_moves_the_span_and_not_the_line() {
        check("\u{FEFF}one\ntwo".as_bytes(), &[], &[(4, 7)], &[("two", 2)]);
    }

    #[test]
    fn a_patch_leads_back_to_what_it_replaced() {
        let entity = Patch { span: Span::new(1, 6), text: "&".to_owned() };
        check(b"a&amp;b\nc", &[entity], &[(0, 3), (4, 5)], &[("a&amp;b", 1), ("c", 2)]);
    }

    #[test]
    fn a_replaced_text_has_spans_of_its_own_and_the_file_s_media_type() {
        let decoded = Decoded::of(b"%PDF");
        let edited = edited(&decoded, Edit::Replace("one\ntwo".to_owned()), Some("text/markdown"));
        let chunks = finished("application/pdf", &edited, &decoded, vec![chunk(4, 7)]);
        let payload = &chunks[0].payload;
        assert_eq!((payload.extracted, payload.span, payload.line), (true, Some(Span::new(4, 7)), 2));
        assert_eq!(payload.media_type, "application/pdf");
    }

    #[test]
    fn a_window_is_shown_in_place_of_the_chunk_and_not_embedded() {
        let decoded = Decoded::of(b"one two three");
        let window = Chunk { window: Some(Span::new(0, 13)), ..chunk(4, 7) };
        let chunks = finished("text/plain", &edited(&decoded, Edit::Keep, None), &decoded, vec![window]);
        assert_eq!(chunks[0].embedded_text, "two");
        assert_eq!(chunks[0].payload.text, "one two three");
    }
}
