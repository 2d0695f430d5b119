//! How long a simulated server takes, and how often it fails.

use std::time::Duration;

use tokio::time::Instant;

use super::Fault;

/// How long a simulated server takes. Without one it answers at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Of each call, beside whatever else the server does.
    pub call: Duration,
    /// Of each text, while no other text is embedded: so Ollama runs an embedding model.
    pub text: Duration,
}

/// What embeds the texts, one after the other.
#[derive(Default)]
pub(super) struct Runner {
    pub(super) pace: Pace,
    /// When it has embedded all texts that it was given.
    free_at: Option<Instant>,
}

impl Runner {
    /// Queues `n_texts` behind all that were given before, and returns when their
    /// answer is due; `None` is at once.
    pub(super) fn take(&mut self, n_texts: usize) -> Option<Instant> {
        let Pace { call, text } = self.pace;
        if self.pace == Pace::default() {
            return None;
        }
        let now = Instant::now();
        let begin = self.free_at.map_or(now, |free_at| free_at.max(now));
        let end = begin + text * u32::try_from(n_texts).unwrap_or(u32::MAX);
        self.free_at = Some(end);
        Some(end + call)
    }
}

/// A fault of one call in so many.
pub(super) struct Periodic {
    every: usize,
    calls: usize,
    fault: Fault,
}

impl Periodic {
    pub(super) fn new(every: usize, fault: Fault) -> Self {
        Self { every, calls: 0, fault }
    }

    pub(super) fn next(&mut self) -> Option<Fault> {
        self.calls += 1;
        self.calls.is_multiple_of(self.every).then(|| self.fault.clone())
    }
}
