//! Hands queued texts to whichever upstream has a free slot, in batches.
//!
//! Nothing waits for company: a lone text leaves at once, and batches grow only
//! while every slot is busy. There is no timer and no task that waits for work:
//! whatever changes the picture (a submission, a call that ended) hands out all
//! that can be handed out, under one lock, so that no wakeup can be lost. Only a
//! batch that failed may sleep, before it is queued at the same upstream again.

mod calls;
mod drain;
mod handout;
mod meters;
mod queue;
mod retries;
mod room;
mod speed;
mod state;
mod unit;

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Span;

use crate::errand::Errand;
use crate::units::ByteSize;

use self::meters::Meters;
use self::room::{Room, Weight};
use self::state::State;
use self::unit::Entry;

/// The `[batcher]` table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Texts in an upstream call, at most.
    pub max_texts: usize,
    /// Tokens in an upstream call, at most, unless one text alone has more.
    pub max_tokens: u32,
    /// Texts in a request that make it bulk.
    pub bulk_above: usize,
    /// Texts that wait for an embedding, at most; more are refused.
    pub max_queued: usize,
    /// Bytes of these texts, at most; what is more than that goes alone.
    pub max_queued_bytes: ByteSize,
    /// Interactive batches that may overtake a waiting bulk batch, at most.
    pub max_overtaken: u32,
    /// How long a bulk batch may keep an upstream, by its measured speed, while interactive texts come.
    #[serde(with = "humantime_serde")]
    pub bulk_slice: Duration,
    /// Batches that failed and may go out again, in a hundred calls.
    pub retry_percent: u32,
    /// Those that may besides, in a second.
    pub retries_per_second: u32,
    /// How long a batch waits before it goes to an upstream that has failed it already, more or less,
    /// and how long an upstream is left alone that fails one call after the other.
    #[serde(with = "humantime_serde")]
    pub retry_delay: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_texts: 32,
            max_tokens: 16_384,
            bulk_above: 32,
            max_queued: 65_536,
            max_queued_bytes: ByteSize::mib(256),
            max_overtaken: 8,
            bulk_slice: Duration::from_millis(50),
            retry_percent: 20,
            retries_per_second: 10,
            retry_delay: Duration::from_millis(100),
        }
    }
}

/// Bulk work leaves room for interactive work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    Interactive,
    Bulk,
}

impl Lane {
    pub const ALL: [Self; 2] = [Self::Interactive, Self::Bulk];

    /// The word used in configuration, headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Bulk => "bulk",
        }
    }
}

/// One upstream call.
#[derive(Clone, Debug)]
pub struct Batch<T> {
    /// Index of the upstream, in the order given to [`Batcher::new`].
    pub upstream: usize,
    /// That of the queue.
    pub template: Arc<T>,
    pub texts: Vec<Arc<str>>,
    /// Of each text, as they were submitted.
    pub n_tokens: Vec<u32>,
    pub lane: Lane,
    /// Of the requests that the texts are from, each once, oldest text first; none
    /// where nobody watches spans.
    pub spans: Vec<Span>,
}

/// What sends batches to upstreams.
pub trait Backend: Send + Sync + 'static {
    /// What one text gets.
    type Answer: Send + 'static;
    type Error: Clone + Send + 'static;
    /// What the calls of one queue have in common.
    type Template: Send + Sync + 'static;

    /// Sends `batch`, answering with one answer for each text, in order.
    /// Dropping the future gives the call up.
    fn send(
        &self,
        batch: Batch<Self::Template>,
    ) -> impl Future<Output = Result<Vec<Self::Answer>, (Self::Error, Verdict)>> + Send;
}

/// What to do about a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another upstream may answer; this one would fail again. Each is asked once, within the budget of retries.
    Elsewhere,
    /// Any upstream may answer, though one of the texts may be the reason: a
    /// batch that fails so twice is halved.
    Again,
    /// One of the texts is the reason: the batch is halved at once.
    Halve,
}

/// Why a text that was submitted has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed<E> {
    pub error: E,
    /// The text failed alone, while others of its batch were answered.
    pub alone: bool,
}

/// Too many texts wait, or too long ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// From the measured drain rate, 1 to 60 s.
    pub retry_after: Duration,
}

/// What takes batches.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Calls under way at once, at most.
    pub max_in_flight: usize,
    /// Texts in a call, at most; as in [`Config`] where absent.
    pub max_texts: Option<usize>,
    /// Tokens in a call, at most; as in [`Config`] where absent.
    pub max_tokens: Option<u32>,
    /// It spreads what it gets over upstreams of its own, and keeps bulk work from others' way: it is
    /// given long lists as soon as there are enough texts, and slices are its own to cut.
    pub spreads: bool,
}

impl Upstream {
    /// One that embeds by itself.
    pub fn with_slots(max_in_flight: usize) -> Self {
        Self { max_in_flight, max_texts: None, max_tokens: None, spreads: false }
    }
}

/// Texts that may share a call: those of one model and one truncation.
#[derive(Clone, Debug)]
pub struct Queue {
    /// The model's name, for metrics.
    pub model: String,
    /// What tells it from the model's other queues, for metrics.
    pub way: &'static str,
}

/// A text on its way to an upstream.
#[derive(Clone, Debug)]
pub struct Text {
    pub text: Arc<str>,
    pub n_tokens: u32,
}

/// The right to submit a number of texts, taken before work is spent on them.
pub struct Places {
    texts: OwnedSemaphorePermit,
    bytes: Weight,
}

/// What became of one text.
#[derive(Clone, Debug)]
pub struct Replied<A, E> {
    pub outcome: Result<A, Failed<E>>,
    /// Waiting for a slot, before all calls together.
    pub queued: Duration,
    /// At upstreams, in all calls together: a text goes out again where a call fails.
    pub called: Duration,
}

/// Where the answer to one text arrives; dropping it abandons the text.
pub type Reply<B> = oneshot::Receiver<Replied<<B as Backend>::Answer, <B as Backend>::Error>>;

/// A queue for as long as it is in use. Dropping it closes the queue, and its
/// index is given to the next one that opens.
pub struct Lease<B: Backend> {
    index: usize,
    shared: Arc<Shared<B>>,
}

impl<B: Backend> Lease<B> {
    /// Where [`Batcher::submit`] and [`Batcher::admit`] find the queue.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl<B: Backend> Drop for Lease<B> {
    fn drop(&mut self) {
        self.shared.lock().close(self.index);
    }
}

/// Queues in front of upstreams.
pub struct Batcher<B: Backend> {
    shared: Arc<Shared<B>>,
}

struct Shared<B: Backend> {
    config: Config,
    backend: B,
    places: Arc<Semaphore>,
    room: Arc<Room>,
    state: Mutex<State<B>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<B: Backend> Batcher<B> {
    /// There are no queues until [`Batcher::open`] makes some.
    pub fn new(config: Config, upstreams: &[Upstream], backend: B) -> Self {
        let config = Config {
            max_texts: config.max_texts.max(1),
            max_queued: config.max_queued.clamp(1, Semaphore::MAX_PERMITS),
            ..config
        };
        Self {
            shared: Arc::new(Shared {
                places: Arc::new(Semaphore::new(config.max_queued)),
                room: Room::new(config.max_queued_bytes.as_u64()),
                state: Mutex::new(State::new(&config, upstreams)),
                tasks: TaskTracker::new(),
                stop: CancellationToken::new(),
                backend,
                config,
            }),
        }
    }

    /// What batches are sent through.
    pub fn backend(&self) -> &B {
        &self.shared.backend
    }

    /// Opens a queue, from which no upstream takes until [`Batcher::admit`] says which.
    pub fn open(&self, queue: &Queue, template: B::Template) -> Lease<B> {
        let index = self.shared.lock().open(Meters::new(queue), template);
        Lease { index, shared: Arc::clone(&self.shared) }
    }

    /// Lets `upstream` take texts of `queue` from now on.
    pub fn admit(&self, queue: usize, upstream: usize) {
        self.shared.lock().admit(queue, upstream);
        self.shared.dispatch();
    }

    /// Lets `upstream` take nothing from any queue until [`Batcher::readmit`]; its
    /// calls under way end as they may.
    ///
    /// Texts of a queue whose every upstream is ejected fail at once, those that wait and those
    /// that come, with the `error` of the last ejection.
    pub fn eject(&self, upstream: usize, error: B::Error) {
        self.shared.lock().eject(upstream, error);
        self.shared.dispatch();
    }

    /// Lets `upstream` take texts again, if it was ejected. Its speed is measured anew.
    pub fn readmit(&self, upstream: usize) {
        self.shared.lock().readmit(upstream);
        self.shared.dispatch();
    }

    /// Takes room for `n_texts` of `n_bytes` together, at once or not at all.
    pub fn reserve(&self, n_texts: usize, n_bytes: usize) -> Result<Places, Full> {
        let full = || Full { retry_after: self.retry_after() };
        let n_permits = u32::try_from(n_texts).map_err(|_| full())?;
        let take = || {
            let texts = self.shared.places.clone().try_acquire_many_owned(n_permits).ok()?;
            Some(Places { texts, bytes: self.shared.room.take(n_bytes as u64)? })
        };
        let swept = || self.shared.lock().sweep(Instant::now()).then(take).flatten();
        take().or_else(swept).ok_or_else(full)
    }

    /// How long until what waits now is through, as far as was measured.
    pub fn retry_after(&self) -> Duration {
        let waiting = self.shared.config.max_queued - self.shared.places.available_permits();
        self.shared.lock().drain.retry_after(waiting, Instant::now())
    }

    /// Queues `texts` of the current span's request, for which `places` was taken;
    /// one reply for each, in order, and the call that a free slot begins with them.
    ///
    /// The call is made while the errand is polled, or after it was dropped.
    /// A reply closes without an answer when the batcher shuts down, or when
    /// `places` was taken for fewer texts.
    pub fn submit(
        &self,
        queue: usize,
        lane: Lane,
        texts: Vec<Text>,
        mut places: Places,
    ) -> (Vec<Reply<B>>, Errand) {
        let (at, span) = (Instant::now(), Span::current());
        let mut replies = Vec::with_capacity(texts.len());
        let mut entries = Vec::with_capacity(texts.len());
        for text in texts {
            let (reply, receiver) = oneshot::channel();
            replies.push(receiver);
            let weight = places.bytes.split(text.text.len());
            if let Some(place) = places.texts.split(1) {
                entries.push(Entry { text, reply, at, span: span.clone(), _place: (place, weight) });
            }
        }
        (replies, self.shared.push(queue, lane, entries))
    }

    /// Lets what is queued end, and stops the rest at `deadline`.
    pub async fn shutdown(&self, deadline: Instant) {
        self.shared.tasks.close();
        let ended = tokio::time::timeout_at(deadline, self.shared.tasks.wait()).await;
        self.shared.stop.cancel();
        self.shared.lock().clear();
        if ended.is_err() {
            self.shared.tasks.wait().await;
        }
    }
}

impl<B: Backend> Drop for Batcher<B> {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl<B: Backend> Shared<B> {
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;
