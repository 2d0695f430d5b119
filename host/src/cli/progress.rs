//! How far `index` has come: a bar on a terminal, a line now and then elsewhere, events for programs.

use std::io;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::covered;
use super::output::{Output, shown_path};
use crate::index::{Event, Outcome};

/// Between two lines where there is no terminal.
const EVERY: Duration = Duration::from_secs(5);
/// Files that are left out are told one by one, up to so many: a folder may hold thousands of pictures.
const MAX_SKIPPED: usize = 10;

pub(super) struct Progress {
    output: Output,
    bar: Option<ProgressBar>,
    n_files: usize,
    n_done: usize,
    n_skipped: usize,
    told: Instant,
    /// What went wrong when an event was written; told at the end.
    written: io::Result<()>,
}

impl Progress {
    pub(super) fn new(output: &Output) -> Self {
        Self {
            output: output.clone(),
            bar: None,
            n_files: 0,
            n_done: 0,
            n_skipped: 0,
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
            Event::Found { n_files, n_bytes } => self.begin(*n_files, *n_bytes),
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

    fn begin(&mut self, n_files: usize, n_bytes: u64) {
        self.n_files = n_files;
        if self.output.bars {
            // The template is ours; a wrong one shows indicatif's own.
            let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {eta} left  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar = Some(ProgressBar::new(n_bytes).with_style(style));
        }
    }

    fn finished(&mut self, source: &str, n_bytes: u64, outcome: &Outcome) {
        self.n_done += 1;
        match outcome {
            Outcome::Skipped(reason) => {
                self.n_skipped += 1;
                if self.n_skipped <= MAX_SKIPPED {
                    self.say(&format!("skipped {}: {reason}", shown_path(source)), false);
                }
            }
            Outcome::Failed(reason) => self.say(&format!("failed {}: {reason}", shown_path(source)), true),
            Outcome::Unchanged | Outcome::Indexed { .. } | Outcome::Removed => {}
        }
        if let Some(bar) = &self.bar {
            bar.inc(n_bytes);
            bar.set_message(format!("{} of {} files", self.n_done, self.n_files));
        } else if EVERY <= self.told.elapsed() {
            self.told = Instant::now();
            self.output.remark(&format!("{} of {} files", self.n_done, self.n_files));
        }
    }

    fn say(&self, line: &str, always: bool) {
        let say = || if always { self.output.complain(line) } else { self.output.remark(line) };
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }
}

fn event_json(event: &Event) -> Value {
    let (source, n_bytes, outcome) = match event {
        Event::Found { n_files, n_bytes } => {
            return json!({ "event": "found", "files": n_files, "bytes": n_bytes });
        }
        Event::Finished { source, n_bytes, outcome } => (source, n_bytes, outcome),
    };
    let mut value = json!({ "event": "finished", "source": source, "bytes": n_bytes });
    let (word, reason) = match outcome {
        Outcome::Unchanged => ("unchanged", None),
        Outcome::Indexed { n_chunks, n_embedded, coverage, encoding } => {
            value["coverage"] = covered::as_json(coverage);
            value["chunks"] = (*n_chunks).into();
            value["embedded"] = (*n_embedded).into();
            value["encoding"] = (*encoding).into();
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
