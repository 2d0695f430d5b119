//! How far `index` has come: a bar on a terminal, a line now and then elsewhere, events for programs.

use std::io;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::covered;
use super::output::{Output, printable, shown_path};
use super::summary::{grouped, shown};
use crate::index::{Event, Outcome};

/// Between two lines where there is no terminal.
const EVERY: Duration = Duration::from_secs(5);
/// Between two looks of a bar.
const BAR_EVERY: Duration = Duration::from_millis(100);
/// Files that are left out are told one by one, up to so many: a folder may hold thousands of pictures.
const MAX_SKIPPED: usize = 10;

pub(super) struct Progress {
    output: Output,
    bar: Option<ProgressBar>,
    /// All that there is, once it is counted.
    total: Option<Total>,
    n_done: u64,
    n_bytes: u64,
    n_skipped: usize,
    began: Instant,
    told: Instant,
    /// What went wrong when an event was written; told at the end.
    written: io::Result<()>,
}

#[derive(Clone, Copy)]
struct Total {
    n_documents: u64,
    n_bytes: u64,
}

impl Progress {
    pub(super) fn new(output: &Output) -> Self {
        // The template is ours; a wrong one shows indicatif's own.
        let style =
            ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        Self {
            output: output.clone(),
            bar: output.bars.then(|| ProgressBar::no_length().with_style(style)),
            total: None,
            n_done: 0,
            n_bytes: 0,
            n_skipped: 0,
            began: Instant::now(),
            told: Instant::now(),
            written: Ok(()),
        }
    }

    pub(super) fn tell(&mut self, event: &Event) {
        if self.output.json {
            if self.written.is_ok() {
                self.written = self.output.json(&event_json(event));
            }
            return;
        }
        match event {
            Event::Building { generation, beside, why } => {
                self.say(
                    &format!("building {generation} beside {beside}, which serves meanwhile: {why} changed"),
                    false,
                );
            }
            Event::Found { n_documents, n_bytes } => self.found(*n_documents, *n_bytes),
            Event::Planned { n_bytes, .. } => self.done(*n_bytes),
            Event::Finished { source, n_bytes, outcome } => self.finished(source, *n_bytes, outcome),
        }
    }

    /// Takes the bar away.
    ///
    /// # Errors
    /// An event could not be written: the reader is gone, say.
    pub(super) fn end(self) -> io::Result<()> {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        if MAX_SKIPPED < self.n_skipped {
            let n_more = self.n_skipped - MAX_SKIPPED;
            self.output.remark(&format!("skipped {n_more} more files; --json tells each of them and why"));
        }
        self.written
    }

    fn found(&mut self, n_documents: u64, n_bytes: u64) {
        self.total = Some(Total { n_documents, n_bytes });
        if let Some(bar) = &self.bar {
            let style = ProgressStyle::with_template("{bar:30} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style);
            bar.set_length(n_bytes);
            bar.set_position(self.n_bytes);
        }
    }

    fn finished(&mut self, source: &str, n_bytes: u64, outcome: &Outcome) {
        match outcome {
            Outcome::Skipped(reason) => {
                self.n_skipped += 1;
                if self.n_skipped <= MAX_SKIPPED {
                    self.say(&format!("skipped {}: {reason}", shown_path(source)), false);
                }
            }
            Outcome::Failed(reason) => self.say(&format!("failed {}: {reason}", shown_path(source)), true),
            // It was not found, so it does not count as done.
            Outcome::Removed => return,
            Outcome::Unchanged | Outcome::Indexed(_) => {}
        }
        self.done(n_bytes);
    }

    fn done(&mut self, n_bytes: u64) {
        self.n_done += 1;
        self.n_bytes += n_bytes;
        let every = if self.bar.is_some() { BAR_EVERY } else { EVERY };
        if self.told.elapsed() < every {
            return;
        }
        self.told = Instant::now();
        let line = pace(self.n_done, self.n_bytes, self.total, self.began.elapsed());
        match &self.bar {
            Some(bar) => {
                bar.set_position(self.n_bytes);
                bar.set_message(line);
            }
            None => self.output.remark(&line),
        }
    }

    fn say(&self, line: &str, always: bool) {
        // Names and values of files are in it.
        let line = &printable(line);
        let say = || if always { self.output.complain(line) } else { self.output.remark(line) };
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }
}

/// How far it is, how fast, and how long it will take: by bytes, which say more than documents.
fn pace(n_done: u64, n_bytes: u64, total: Option<Total>, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(1e-3);
    let per_second = grouped((n_done as f64 / seconds) as u64);
    let Some(total) = total else {
        return format!("{} documents, {per_second} a second", grouped(n_done));
    };
    let left = match total.n_bytes.saturating_sub(n_bytes) {
        left if 0 < n_bytes => {
            let seconds = seconds * left as f64 / n_bytes as f64;
            format!(", {} left", shown(Duration::from_secs(seconds.ceil() as u64)))
        }
        _ => String::new(),
    };
    let n_documents = grouped(total.n_documents.max(n_done));
    format!("{} of {n_documents} documents, {per_second} a second{left}", grouped(n_done))
}

fn event_json(event: &Event) -> Value {
    let (source, n_bytes, outcome) = match event {
        Event::Building { generation, beside, why } => {
            return json!({ "event": "building", "generation": generation, "beside": beside, "why": why });
        }
        Event::Found { n_documents, n_bytes } => {
            return json!({ "event": "found", "documents": n_documents, "bytes": n_bytes });
        }
        Event::Planned { source, n_bytes, is_new, n_chunks, n_kept } => {
            return json!({
                "event": "planned", "source": source, "bytes": n_bytes,
                "change": if *is_new { "new" } else { "changed" }, "chunks": n_chunks, "kept": n_kept,
            });
        }
        Event::Finished { source, n_bytes, outcome } => (source, n_bytes, outcome),
    };
    let mut value = json!({ "event": "finished", "source": source, "bytes": n_bytes });
    let (word, reason) = match outcome {
        Outcome::Unchanged => ("unchanged", None),
        Outcome::Indexed(indexed) => {
            value["coverage"] = covered::as_json(&indexed.coverage);
            value["chunks"] = indexed.n_chunks.into();
            value["embedded"] = indexed.n_embedded.into();
            value["copied"] = indexed.n_copied.into();
            value["tokens"] = indexed.n_tokens.into();
            if let Some(encoding) = &indexed.encoding {
                value["encoding"] = encoding.as_str().into();
            }
            ("indexed", None)
        }
        Outcome::Removed => ("removed", None),
        Outcome::Skipped(reason) => ("skipped", Some(reason)),
        Outcome::Failed(reason) => ("failed", Some(reason)),
    };
    value["outcome"] = word.into();
    if let Some(reason) = reason {
        value["reason"] = reason.as_str().into();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_goes_by_bytes() {
        let total = Total { n_documents: 32_101, n_bytes: 1_000_000 };
        let took = Duration::from_secs(10);
        assert_eq!(
            pace(1_000, 250_000, Some(total), took),
            "1,000 of 32,101 documents, 100 a second, 30.0 s left"
        );
        assert_eq!(pace(1_000, 0, None, took), "1,000 documents, 100 a second");
    }
}
