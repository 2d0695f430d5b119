//! Sums what happens in a run, and tells it to whoever watches.

use super::source::{Encoding, Item};
use super::{Event, Outcome, Summary};

pub(super) struct Report<'w> {
    watcher: &'w mut (dyn FnMut(Event) + Send),
    summary: Summary,
}

impl<'w> Report<'w> {
    pub(super) fn new(watcher: &'w mut (dyn FnMut(Event) + Send)) -> Self {
        Self { watcher, summary: Summary::default() }
    }

    pub(super) fn found(&mut self, items: &[Item]) {
        let n_files = items.len();
        let size = |item: &Item| match item {
            Item::Document(found) => found.size,
            Item::Skipped { .. } | Item::Failed { .. } => 0,
        };
        let n_bytes = items.iter().map(size).sum();
        self.summary.n_files = n_files;
        self.summary.n_bytes = n_bytes;
        (self.watcher)(Event::Found { n_files, n_bytes });
    }

    pub(super) fn finished(&mut self, source: String, n_bytes: u64, outcome: Outcome) {
        let summary = &mut self.summary;
        match &outcome {
            Outcome::Unchanged => summary.n_unchanged += 1,
            Outcome::Indexed { n_chunks, n_embedded, coverage, encoding } => {
                if *encoding != Encoding::Utf8.name() {
                    *summary.encodings.entry(encoding).or_default() += 1;
                }
                summary.coverage.add(coverage);
                summary.n_indexed += 1;
                summary.n_chunks += n_chunks;
                summary.n_embedded += n_embedded;
            }
            Outcome::Removed => summary.n_removed += 1,
            Outcome::Skipped(_) => summary.n_skipped += 1,
            Outcome::Failed(_) => summary.n_failed += 1,
        }
        (self.watcher)(Event::Finished { source, n_bytes, outcome });
    }

    pub(super) fn into_summary(self) -> Summary {
        self.summary
    }
}

/// An error and its causes in one line, as people read it.
pub(super) fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
