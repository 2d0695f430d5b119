//! Who waits, who is free, and what goes where next: plain decisions without a clock or a task.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;
use tracing::Span;

use super::drain::Drain;
use super::{Backend, Config, Failed, Lane, Meters, Replied, Text, Verdict};

/// One text that waits.
pub(super) struct Entry<B: Backend> {
    pub(super) text: Text,
    pub(super) reply: oneshot::Sender<Replied<B::Answer, B::Error>>,
    pub(super) at: Instant,
    /// Of the request that it is from.
    pub(super) span: Span,
    pub(super) _place: OwnedSemaphorePermit,
}

impl<B: Backend> Entry<B> {
    /// Whoever asked may have left.
    fn answer(self, outcome: Result<B::Answer, Failed<B::Error>>, called: Duration) {
        let queued = self.at.elapsed().saturating_sub(called);
        drop(self.reply.send(Replied { outcome, queued, called }));
    }
}

/// Texts that go in one call, and what became of them so far.
pub(super) struct Unit<B: Backend> {
    entries: Vec<Entry<B>>,
    /// Upstreams that failed it.
    tried: Vec<usize>,
    faults: usize,
    /// The time of all its calls, those that failed included.
    pub(super) called: Duration,
    /// What it shares with the other parts of the batch that it was halved from.
    rescue: Option<Arc<Rescue>>,
}

/// The halving of one batch.
struct Rescue {
    /// Calls that may still fail before the rest is given up.
    failures_left: AtomicUsize,
    /// Some text of the batch was answered, so the upstreams are not to blame.
    any_answered: AtomicBool,
}

impl Rescue {
    /// One bad text costs about `log2(n_texts)` failed calls: room for four of them.
    fn new(n_texts: usize) -> Arc<Self> {
        let levels = n_texts.max(1).ilog2() as usize + 1;
        Arc::new(Self { failures_left: AtomicUsize::new(4 * levels), any_answered: AtomicBool::new(false) })
    }

    fn spend(&self) -> bool {
        self.failures_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
    }
}

impl<B: Backend> Unit<B> {
    fn new(entries: Vec<Entry<B>>, rescue: Option<Arc<Rescue>>) -> Self {
        Self { entries, tried: Vec::new(), faults: 0, called: Duration::ZERO, rescue }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn texts(&self) -> Vec<Arc<str>> {
        self.entries.iter().map(|entry| entry.text.text.clone()).collect()
    }

    pub(super) fn n_tokens(&self) -> Vec<u32> {
        self.entries.iter().map(|entry| entry.text.n_tokens).collect()
    }

    /// Of the requests that its texts are from, each once, where anybody watches them.
    pub(super) fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for Entry { span, .. } in &self.entries {
            if !span.is_none() && !spans.contains(span) {
                spans.push(span.clone());
            }
        }
        spans
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        self.entries.iter().map(|entry| entry.at).min()
    }

    /// Resolves when nobody waits for any of its texts.
    pub(super) async fn abandoned(&mut self) {
        for entry in &mut self.entries {
            entry.reply.closed().await;
        }
    }

    /// Gives each text its answer. Answers that are not one for each text are
    /// nobody's: all replies close.
    pub(super) fn answer(self, answers: Vec<B::Answer>) {
        if answers.len() != self.entries.len() {
            return;
        }
        if let Some(rescue) = &self.rescue {
            rescue.any_answered.store(true, Ordering::Relaxed);
        }
        for (entry, answer) in self.entries.into_iter().zip(answers) {
            entry.answer(Ok(answer), self.called);
        }
    }

    fn fail(self, error: &B::Error) {
        let answered = self.rescue.as_ref().is_some_and(|rescue| rescue.any_answered.load(Ordering::Relaxed));
        let alone = self.entries.len() == 1 && answered;
        for entry in self.entries {
            entry.answer(Err(Failed { error: error.clone(), alone }), self.called);
        }
    }

    fn halves(mut self) -> [Self; 2] {
        let rescue = self.rescue.take().unwrap_or_else(|| Rescue::new(self.entries.len()));
        let back = self.entries.split_off(self.entries.len() / 2);
        let called = self.called;
        [self.entries, back].map(|entries| Self { called, ..Self::new(entries, Some(rescue.clone())) })
    }
}

/// What a free slot does next.
pub(super) struct Next<B: Backend> {
    pub(super) upstream: usize,
    pub(super) queue: usize,
    pub(super) template: Arc<B::Template>,
    pub(super) meters: Arc<Meters>,
    pub(super) unit: Unit<B>,
}

struct Upstream {
    slots: usize,
    free: usize,
    is_ejected: bool,
}

struct Queue<B: Backend> {
    template: Arc<B::Template>,
    meters: Arc<Meters>,
    /// Nobody has its lease: the next queue that opens takes its place.
    is_closed: bool,
    /// Upstreams that may take from it.
    members: Vec<usize>,
    interactive: VecDeque<Entry<B>>,
    bulk: VecDeque<Entry<B>>,
    /// Batches that failed and go out again as they are.
    retries: VecDeque<Unit<B>>,
    /// Interactive batches that went before the bulk text at the front.
    overtaken: u32,
}

/// All queues and all slots.
pub(super) struct State<B: Backend> {
    max_texts: usize,
    max_tokens: u32,
    max_overtaken: u32,
    upstreams: Vec<Upstream>,
    queues: Vec<Queue<B>>,
    pub(super) drain: Drain,
}

impl<B: Backend> State<B> {
    pub(super) fn new(config: &Config, slots: Vec<usize>) -> Self {
        Self {
            max_texts: config.max_texts,
            max_tokens: config.max_tokens,
            max_overtaken: config.max_overtaken,
            upstreams: slots
                .into_iter()
                .map(|slots| Upstream { slots, free: slots, is_ejected: false })
                .collect(),
            queues: Vec::new(),
            drain: Drain::new(),
        }
    }

    /// Returns the index of a new queue: that of one that was closed, if there is any.
    pub(super) fn open(&mut self, meters: Meters, template: B::Template) -> usize {
        let queue = Queue::new(meters, template);
        match self.queues.iter().position(|queue| queue.is_closed) {
            Some(index) => {
                self.queues[index] = queue;
                index
            }
            None => {
                self.queues.push(queue);
                self.queues.len() - 1
            }
        }
    }

    /// Lets go of a queue and all that waits in it. What is under way from it
    /// ends as it may: who asked has left.
    pub(super) fn close(&mut self, queue: usize) {
        let queue = &mut self.queues[queue];
        queue.members.clear();
        queue.clear();
        queue.meters.queued.set(0.0);
        queue.is_closed = true;
    }

    pub(super) fn admit(&mut self, queue: usize, upstream: usize) {
        let members = &mut self.queues[queue].members;
        if !members.contains(&upstream) {
            members.push(upstream);
        }
    }

    pub(super) fn set_ejected(&mut self, upstream: usize, is_ejected: bool) {
        self.upstreams[upstream].is_ejected = is_ejected;
    }

    pub(super) fn push(&mut self, queue: usize, lane: Lane, entries: Vec<Entry<B>>) {
        self.queues[queue].lane(lane).extend(entries);
    }

    /// Tells the metrics what waits.
    pub(super) fn report(&self) {
        for queue in self.queues.iter().filter(|queue| !queue.is_closed) {
            queue.meters.queued.set(queue.n_queued() as f64);
        }
    }

    pub(super) fn release(&mut self, upstream: usize) {
        self.upstreams[upstream].free += 1;
    }

    /// Lets go of all that waits; its replies close.
    pub(super) fn clear(&mut self) {
        for queue in &mut self.queues {
            queue.clear();
        }
    }

    /// Takes a slot and what it should do, the least busy upstream first.
    pub(super) fn next(&mut self) -> Option<Next<B>> {
        let mut idle: Vec<usize> = (0..self.upstreams.len())
            .filter(|upstream| 0 < self.upstreams[*upstream].free && !self.upstreams[*upstream].is_ejected)
            .collect();
        idle.sort_by_key(|upstream| self.upstreams[*upstream].slots - self.upstreams[*upstream].free);
        for upstream in idle {
            if let Some((queue, unit)) = self.take(upstream) {
                self.upstreams[upstream].free -= 1;
                let Queue { template, meters, .. } = &self.queues[queue];
                let (template, meters) = (Arc::clone(template), Arc::clone(meters));
                return Some(Next { upstream, queue, template, meters, unit });
            }
        }
        None
    }

    /// What `upstream` should do: what failed before, then what waits longest in the lane that is due.
    fn take(&mut self, upstream: usize) -> Option<(usize, Unit<B>)> {
        let mine: Vec<usize> =
            (0..self.queues.len()).filter(|queue| self.queues[*queue].members.contains(&upstream)).collect();
        for queue in &mine {
            if let Some(unit) = self.queues[*queue].take_retry(upstream, &self.upstreams) {
                return Some((*queue, unit));
            }
        }
        loop {
            for queue in &mine {
                self.queues[*queue].drop_abandoned_fronts();
            }
            let (queue, lane) = self.due(&mine)?;
            let entries = self.take_batch(queue, lane);
            if !entries.is_empty() {
                self.count_overtaken(&mine, queue, lane);
                return Some((queue, Unit::new(entries, None)));
            }
        }
    }

    /// The lane to take from next: bulk that was overtaken too often, else
    /// interactive before bulk, and the longest wait among equals.
    fn due(&self, mine: &[usize]) -> Option<(usize, Lane)> {
        let front = |queue: usize, lane: Lane| {
            let waits = self.queues[queue].peek(lane).front()?;
            let starved = lane == Lane::Bulk && self.max_overtaken <= self.queues[queue].overtaken;
            let rank = match lane {
                Lane::Bulk if starved => 0,
                Lane::Interactive => 1,
                Lane::Bulk => 2,
            };
            Some((rank, waits.at, queue, lane))
        };
        mine.iter()
            .flat_map(|queue| [front(*queue, Lane::Interactive), front(*queue, Lane::Bulk)])
            .flatten()
            .min_by_key(|(rank, at, queue, _)| (*rank, *at, *queue))
            .map(|(_, _, queue, lane)| (queue, lane))
    }

    /// An interactive batch overtakes the bulk texts of every queue of its upstream.
    fn count_overtaken(&mut self, mine: &[usize], taken: usize, lane: Lane) {
        match lane {
            Lane::Bulk => self.queues[taken].overtaken = 0,
            Lane::Interactive => {
                for queue in mine {
                    let queue = &mut self.queues[*queue];
                    queue.overtaken += u32::from(!queue.bulk.is_empty());
                }
            }
        }
    }

    fn take_batch(&mut self, queue: usize, lane: Lane) -> Vec<Entry<B>> {
        let slots: usize =
            self.queues[queue].members.iter().map(|upstream| self.upstreams[*upstream].slots).sum();
        let (max_texts, max_tokens) = (self.max_texts, self.max_tokens);
        let queue = &mut self.queues[queue];
        let waiting = queue.lane(lane);
        let share = waiting.len().div_ceil(slots.max(1)).min(max_texts);
        let mut entries: Vec<Entry<B>> = Vec::with_capacity(share);
        let mut n_tokens = 0_u32;
        while entries.len() < share {
            let Some(entry) = waiting.pop_front() else { break };
            if entry.reply.is_closed() {
                continue;
            }
            n_tokens = n_tokens.saturating_add(entry.text.n_tokens);
            if !entries.is_empty() && max_tokens < n_tokens {
                waiting.push_front(entry);
                break;
            }
            entries.push(entry);
        }
        entries
    }

    /// Decides what becomes of a batch that `upstream` failed. Returns whether it was halved.
    pub(super) fn settle(
        &mut self,
        queue: usize,
        upstream: usize,
        mut unit: Unit<B>,
        error: &B::Error,
        verdict: Verdict,
    ) -> bool {
        if self.queues[queue].is_closed {
            return false;
        }
        unit.faults += usize::from(verdict != Verdict::Elsewhere);
        if !unit.tried.contains(&upstream) {
            unit.tried.push(upstream);
        }
        let may_take = |member: &usize| !unit.tried.contains(member) && !self.upstreams[*member].is_ejected;
        let untried = self.queues[queue].members.iter().any(may_take);
        // A half of a failed batch has failed once already, unless it is down to one text.
        let max_faults = if unit.rescue.is_some() && 1 < unit.len() { 1 } else { 2 };
        let again = match verdict {
            Verdict::Elsewhere => untried,
            Verdict::Again => unit.faults < max_faults,
            Verdict::Halve => false,
        };
        let in_budget = unit.rescue.as_ref().is_none_or(|rescue| rescue.spend());
        let retries = &mut self.queues[queue].retries;
        if !in_budget {
            unit.fail(error);
        } else if again {
            retries.push_back(unit);
        } else if verdict != Verdict::Elsewhere && 1 < unit.len() {
            retries.extend(unit.halves());
            return true;
        } else {
            unit.fail(error);
        }
        false
    }
}

impl<B: Backend> Queue<B> {
    fn new(meters: Meters, template: B::Template) -> Self {
        Self {
            template: Arc::new(template),
            meters: Arc::new(meters),
            is_closed: false,
            members: Vec::new(),
            interactive: VecDeque::new(),
            bulk: VecDeque::new(),
            retries: VecDeque::new(),
            overtaken: 0,
        }
    }

    fn n_queued(&self) -> usize {
        self.interactive.len() + self.bulk.len() + self.retries.iter().map(Unit::len).sum::<usize>()
    }

    fn clear(&mut self) {
        self.interactive.clear();
        self.bulk.clear();
        self.retries.clear();
    }

    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Entry<B>> {
        match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Bulk => &mut self.bulk,
        }
    }

    fn peek(&self, lane: Lane) -> &VecDeque<Entry<B>> {
        match lane {
            Lane::Interactive => &self.interactive,
            Lane::Bulk => &self.bulk,
        }
    }

    fn drop_abandoned_fronts(&mut self) {
        for waiting in [&mut self.interactive, &mut self.bulk] {
            while waiting.front().is_some_and(|entry| entry.reply.is_closed()) {
                waiting.pop_front();
            }
        }
    }

    /// A failed batch for `upstream`: one that it has not failed, or that all have.
    fn take_retry(&mut self, upstream: usize, upstreams: &[Upstream]) -> Option<Unit<B>> {
        for unit in &mut self.retries {
            unit.entries.retain(|entry| !entry.reply.is_closed());
        }
        self.retries.retain(|unit| !unit.entries.is_empty());
        let members = &self.members;
        let at = self.retries.iter().position(|unit| {
            !unit.tried.contains(&upstream)
                || members.iter().all(|member| unit.tried.contains(member) || upstreams[*member].is_ejected)
        })?;
        self.retries.remove(at)
    }
}
