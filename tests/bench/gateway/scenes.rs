//! What is measured: each scene sets its servers up, loads them, and takes the figures of its lines.

pub(crate) mod cached; // cache hits, against a bare server
mod faults; // upstreams that fail, are killed, or crash on a text
mod fleet; // several upstreams and what they can do
mod fresh; // texts that nobody embedded before, against the upstream and nginx
mod index_http; // ten thousand documents, in lists and by the command
mod lanes; // questions while bulk work runs
mod litellm; // the peer
pub(crate) mod memory; // ten minutes of everything
mod sharing; // many who ask for the same

use std::pin::Pin;
use std::time::Duration;

use embergate_load::table::{Run, Subject};

use crate::roles::Behaviour;
use embergate_load::Api;
use embergate_test_support::ollama::Pace;

/// One figure for each line of a scene.
pub(crate) type Measuring = Pin<Box<dyn Future<Output = Result<Vec<Run>, String>>>>;

/// Lines of the table that are measured together.
pub(crate) struct Scene {
    pub(crate) lines: &'static [Subject],
    /// How often they are taken.
    pub(crate) times: usize,
    /// Given the time that the line about memory takes.
    pub(crate) run: fn(Duration) -> Measuring,
}

pub(crate) const SCENES: &[Scene] = &[
    Scene { lines: &[cached::BASE64], times: 3, run: |_| Box::pin(cached::measure(Api::Openai)) },
    Scene { lines: &[cached::FLOAT], times: 3, run: |_| Box::pin(cached::measure(Api::OpenaiFloats)) },
    Scene { lines: &[fresh::LATENCY], times: 3, run: |_| Box::pin(fresh::latency()) },
    Scene { lines: &[fresh::THROUGHPUT], times: 3, run: |_| Box::pin(fresh::throughput()) },
    Scene { lines: &[fleet::EVEN], times: 3, run: |_| Box::pin(fleet::measure(1)) },
    Scene { lines: &[fleet::UNEVEN], times: 3, run: |_| Box::pin(fleet::measure(10)) },
    Scene { lines: &[fleet::LIST], times: 3, run: |_| Box::pin(fleet::list()) },
    Scene { lines: sharing::LINES, times: 3, run: |_| Box::pin(sharing::measure()) },
    Scene { lines: &[faults::KILLED], times: 3, run: |_| Box::pin(faults::killed()) },
    Scene { lines: &[faults::FLAKY], times: 3, run: |_| Box::pin(faults::flaky()) },
    Scene { lines: &[faults::POISON], times: 3, run: |_| Box::pin(faults::poison()) },
    Scene { lines: &[lanes::INTERACTIVE], times: 3, run: |_| Box::pin(lanes::measure()) },
    Scene { lines: &[litellm::HITS], times: 3, run: |_| Box::pin(litellm::hits()) },
    Scene { lines: &[litellm::MISSES], times: 3, run: |_| Box::pin(litellm::misses()) },
    Scene { lines: &[litellm::MEMORY], times: 3, run: |_| Box::pin(litellm::memory()) },
    Scene { lines: &[fleet::PATTERN], times: 3, run: |_| Box::pin(fleet::pattern()) },
    Scene { lines: index_http::LINES, times: 3, run: |_| Box::pin(index_http::measure()) },
    Scene { lines: memory::LINES, times: 1, run: |duration| Box::pin(memory::measure(duration)) },
];

/// 5 ms a call and 10 ms a text, one text at a time.
fn busy() -> Behaviour {
    paced(5, 10)
}

/// Milliseconds of a call and of a text.
fn paced(call: u64, text: u64) -> Behaviour {
    let [call, text] = [call, text].map(Duration::from_millis);
    Behaviour { pace: Pace { call, text }, ..at_once() }
}

fn at_once() -> Behaviour {
    Behaviour::default()
}
