//! Calls a plugin on documents and hands back what passed the checks.

use embergate_core::document::{Chunks, Document};
use embergate_core::model::Purpose;
use tokio::sync::SemaphorePermit;

use super::bindings::embergate::plugin::types;
use super::bindings::exports::embergate::plugin::preprocessor;
use super::imports::{SLICE_BYTES, Work};
use super::instance::Instance;
use super::{At, Call, Edit, Plugin, PluginError, Preprocessed, Subject, check};

impl Plugin {
    /// Runs `preprocessor.process` on `documents`; one checked answer for each, in order.
    ///
    /// Cancel-safe: a call that is dropped takes its instance with it.
    ///
    /// # Errors
    /// The plugin refused, trapped, was stopped, broke the contract on a document, or is out of service.
    pub async fn process(
        &self,
        call: &Call,
        documents: &[Document],
    ) -> Result<Vec<Preprocessed>, PluginError> {
        if documents.is_empty() {
            return Ok(Vec::new());
        }
        let pass = self.admit()?;
        let answers = self.tally.counted(self.processed(call, documents)).await;
        pass.ended(answers.as_ref().err());
        answers
    }

    /// Makes the call, whether the plugin is in service or not; nobody counts it.
    pub(super) async fn processed(
        &self,
        call: &Call,
        documents: &[Document],
    ) -> Result<Vec<Preprocessed>, PluginError> {
        const FUNCTION: &str = "process";
        let n_bytes = n_bytes(documents);
        let _turn = self.turn(n_bytes).await?;
        let time = self.limits.time_for(call.purpose, n_bytes);
        let mut lent = self.instances.lend(FUNCTION, n_bytes, time).await?;
        let deadline = lent.deadline();
        let Instance { store, preprocessor, .. } = &mut lent.instance;
        let Some(preprocessor) = preprocessor else { return Err(self.is_no("preprocessor")) };
        store.data_mut().work = self.work(call, documents);

        let metadata = metadata(documents);
        let (context, documents_in) = (context(call), documents_in(documents, &metadata));
        let taken = store.data().turn.taken();
        let answer = preprocessor.call_process(&mut *store, context, &documents_in);
        let result = taken.within(deadline, answer).await;
        store.data_mut().work = None;
        let answer = lent.finish(result).map_err(|error| error.on(subject(documents, None)))?;

        self.edits(documents, answer)
            .map_err(|(document, reason)| self.broke(FUNCTION, documents, document, reason))
    }

    /// Runs `chunker.split` on `documents`; for each, in order, its checked
    /// chunks or the rule that they break.
    ///
    /// Cancel-safe: a call that is dropped takes its instance with it.
    ///
    /// # Errors
    /// The plugin refused, trapped, was stopped, answered for another number of documents, or is
    /// out of service.
    pub async fn split(
        &self,
        call: &Call,
        documents: &[Document],
    ) -> Result<Vec<Result<Chunks, PluginError>>, PluginError> {
        if documents.is_empty() {
            return Ok(Vec::new());
        }
        let pass = self.admit()?;
        let answers = self.tally.counted(self.cut(call, documents)).await;
        pass.ended(answers.as_ref().err());
        let answers = answers?;
        answers.iter().filter_map(|answer| answer.as_ref().err()).for_each(|error| self.tally.failed(error));
        Ok(answers)
    }

    /// Makes the call, whether the plugin is in service or not; nobody counts it.
    pub(super) async fn cut(
        &self,
        call: &Call,
        documents: &[Document],
    ) -> Result<Vec<Result<Chunks, PluginError>>, PluginError> {
        const FUNCTION: &str = "split";
        let n_bytes = n_bytes(documents);
        let _turn = self.turn(n_bytes).await?;
        let time = self.limits.time_for(call.purpose, n_bytes);
        let mut lent = self.instances.lend(FUNCTION, n_bytes, time).await?;
        let deadline = lent.deadline();
        let Instance { store, chunker, .. } = &mut lent.instance;
        let Some(chunker) = chunker else { return Err(self.is_no("chunker")) };
        store.data_mut().work = self.work(call, documents);

        let metadata = metadata(documents);
        let (context, documents_in) = (context(call), documents_in(documents, &metadata));
        let taken = store.data().turn.taken();
        let answer = chunker.call_split(&mut *store, context, &documents_in);
        let result = taken.within(deadline, answer).await;
        let work = store.data_mut().work.take().unwrap_or_else(|| Work::new(call, []));
        let answers = lent.finish(result).map_err(|error| error.on(subject(documents, None)))?;

        if answers.len() != documents.len() {
            let reason = wrong_number(answers.len(), documents.len());
            return Err(self.broke(FUNCTION, documents, None, reason));
        }
        let mut checked = Vec::with_capacity(documents.len());
        for (index, (document, answer)) in documents.iter().zip(answers).enumerate() {
            let mut chunks = check::chunks(&document.text, answer);
            if let Ok(chunks_of) = &mut chunks {
                let counted =
                    check::tokens(&document.text, chunks_of, (call, &work, index as u32), deadline).await;
                chunks = counted.and(chunks);
            }
            checked.push(chunks.map_err(|reason| self.broke(FUNCTION, documents, Some(index), reason)));
        }
        Ok(checked)
    }

    /// Waits for a turn where there is much to do: small calls need none.
    async fn turn(&self, n_bytes: usize) -> Result<Option<SemaphorePermit<'_>>, PluginError> {
        if n_bytes <= SLICE_BYTES {
            return Ok(None);
        }
        match tokio::time::timeout(self.limits.wait, self.runtime.bulk.acquire()).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            _ => Err(PluginError::Busy { plugin: self.name().to_owned(), within: self.limits.wait }),
        }
    }

    fn work(&self, call: &Call, documents: &[Document]) -> Option<Work> {
        self.uses_text.then(|| Work::new(call, documents))
    }

    /// Checks edits and notes, and joins them by document.
    fn edits(
        &self,
        documents: &[Document],
        answer: preprocessor::Answer,
    ) -> Result<Vec<Preprocessed>, (Option<usize>, String)> {
        if answer.edits.len() != documents.len() {
            return Err((None, wrong_number(answer.edits.len(), documents.len())));
        }
        let noted = answer.notes.iter().map(|note| note.doc);
        check::ascending(noted, documents.len(), "document").map_err(|reason| (None, reason))?;
        let mut edited = Vec::with_capacity(documents.len());
        for (index, (document, edit)) in documents.iter().zip(answer.edits).enumerate() {
            let edit: Edit = check::edit(&document.text, edit).map_err(|reason| (Some(index), reason))?;
            edited.push(Preprocessed { edit, media_type: None, metadata: Vec::new() });
        }
        for note in answer.notes {
            let about = &mut edited[note.doc as usize];
            about.media_type = note.media_type;
            about.metadata = note.metadata;
        }
        Ok(edited)
    }

    fn is_no(&self, role: &'static str) -> PluginError {
        PluginError::Role { plugin: self.name().to_owned(), role }
    }

    /// `index` is of the document that is at fault, where it is one.
    fn broke(
        &self,
        function: &'static str,
        documents: &[Document],
        index: Option<usize>,
        reason: String,
    ) -> PluginError {
        let (plugin, version) = (self.name().to_owned(), self.info.version.clone());
        let at = At { plugin, version, function, documents: subject(documents, index) };
        PluginError::Contract { at: Box::new(at), reason }
    }
}

/// The document at `index`, else all of a call's.
fn subject(documents: &[Document], index: Option<usize>) -> Subject {
    match index.or((documents.len() == 1).then_some(0)) {
        Some(index) if documents[index].id.is_empty() => Subject::One(format!("text {index}")),
        Some(index) => Subject::One(documents[index].id.clone()),
        None => Subject::All(documents.len()),
    }
}

fn wrong_number(got: usize, want: usize) -> String {
    format!("it gave {got} answers for {want} documents")
}

fn n_bytes(documents: &[Document]) -> usize {
    documents.iter().map(|document| document.text.len()).sum()
}

fn context(call: &Call) -> types::Context<'_> {
    types::Context {
        model: call.model.as_str(),
        purpose: match call.purpose {
            Purpose::Query => types::Purpose::Query,
            Purpose::Document | Purpose::None => types::Purpose::Document,
        },
        max_tokens: call.max_tokens,
        exact_tokens: call.tokenizer.is_exact(),
        language: call.language.as_deref(),
        extra: &[],
    }
}

type Pairs<'d> = Vec<(&'d str, &'d str)>;

fn metadata(documents: &[Document]) -> Vec<Pairs<'_>> {
    fn pairs(document: &Document) -> Pairs<'_> {
        document.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }
    documents.iter().map(pairs).collect()
}

fn documents_in<'d>(documents: &'d [Document], metadata: &'d [Pairs<'d>]) -> Vec<types::Document<'d>> {
    let pairs = documents.iter().zip(metadata);
    pairs
        .map(|(document, metadata)| types::Document {
            id: &document.id,
            media_type: &document.media_type,
            text: &document.text,
            metadata,
        })
        .collect()
}
