//! All queues and all upstreams, and what becomes of a batch that failed: plain
//! decisions without a clock or a task. What leaves next is `handout.rs`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::drain::Drain;
use super::handout::Next;
use super::meters::Meters;
use super::queue::Queue;
use super::retries::Budget;
use super::unit::{Entry, Unit};
use super::{Backend, Config, Lane, Verdict};

/// Calls in a row that fail before an upstream is left alone for a moment: one that fails
/// now and then should go on with all its slots.
const IN_A_ROW: u32 = 2;

pub(super) struct Upstream<B: Backend> {
    pub(super) slots: usize,
    pub(super) max_texts: usize,
    pub(super) max_tokens: u32,
    /// It is given long lists, and cuts slices itself.
    pub(super) spreads: bool,
    /// Under way, one for each slot that is taken.
    pub(super) calls: Vec<Call>,
    /// Its last call failed: others are asked first.
    pub(super) has_failed: bool,
    /// Calls that failed in a row.
    n_failed: u32,
    /// After some of them it gets nothing until then that others could take.
    rests_until: Option<Instant>,
    /// Takes nothing, and why; the number counts ejections.
    ejected: Option<(u64, B::Error)>,
}

/// A call under way.
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) lane: Lane,
    pub(super) n_texts: usize,
    /// From then on it takes so much longer than measured that nobody should wait for its slot.
    pub(super) overdue: Option<Instant>,
}

impl Call {
    /// Whether nobody should wait for its end.
    pub(super) fn hangs(&self, now: Instant) -> bool {
        self.overdue.is_some_and(|overdue| overdue <= now)
    }
}

impl<B: Backend> Upstream<B> {
    fn new(config: &Config, upstream: &super::Upstream) -> Self {
        let slots = upstream.max_in_flight.max(1);
        Self {
            slots,
            max_texts: upstream.max_texts.unwrap_or(config.max_texts).max(1),
            max_tokens: upstream.max_tokens.unwrap_or(config.max_tokens),
            spreads: upstream.spreads,
            calls: Vec::with_capacity(slots.min(64)),
            has_failed: false,
            n_failed: 0,
            rests_until: None,
            ejected: None,
        }
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.ejected.is_some()
    }

    /// It is left alone for a moment, because it fails one call after the other.
    pub(super) fn rests(&self, now: Instant) -> bool {
        self.rests_until(now).is_some()
    }

    pub(super) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.rests_until.filter(|until| now < *until)
    }

    fn failed(&mut self, now: Instant, rest: Duration) {
        self.has_failed = true;
        self.n_failed = self.n_failed.saturating_add(1);
        if IN_A_ROW <= self.n_failed {
            self.rests_until = Some(now + rest);
        }
    }

    fn succeeded(&mut self) {
        (self.has_failed, self.n_failed, self.rests_until) = (false, 0, None);
    }

    pub(super) fn has_free_slot(&self) -> bool {
        self.ejected.is_none() && self.calls.len() < self.slots
    }
}

/// Between two searches for texts that nobody waits for, at least.
const REST: Duration = Duration::from_millis(100);

/// What becomes of a batch that failed.
pub(super) enum Settled<B: Backend> {
    /// All that could be done was done.
    Done,
    /// It goes out again, to an upstream that has failed it already: after a moment.
    Later(Unit<B>),
}

/// All queues and all slots.
pub(super) struct State<B: Backend> {
    pub(super) max_overtaken: u32,
    pub(super) bulk_slice: Duration,
    /// How long an upstream is left alone that fails one call after the other.
    rest: Duration,
    pub(super) upstreams: Vec<Upstream<B>>,
    pub(super) queues: Vec<Queue<B>>,
    pub(super) retries: Budget,
    pub(super) drain: Drain,
    pub(super) n_calls: u64,
    n_ejections: u64,
    swept: Option<Instant>,
}

impl<B: Backend> State<B> {
    pub(super) fn new(config: &Config, upstreams: &[super::Upstream]) -> Self {
        Self {
            max_overtaken: config.max_overtaken,
            bulk_slice: config.bulk_slice,
            rest: config.retry_delay,
            upstreams: upstreams.iter().map(|upstream| Upstream::new(config, upstream)).collect(),
            queues: Vec::new(),
            retries: Budget::new(config.retry_percent, config.retries_per_second),
            drain: Drain::new(),
            n_calls: 0,
            n_ejections: 0,
            swept: None,
        }
    }

    /// Returns the index of a new queue: that of one that was closed, if there is any.
    pub(super) fn open(&mut self, meters: Meters, template: B::Template) -> usize {
        let queue = Queue::new(meters, template, self.upstreams.len());
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
        queue.meters.report([0, 0]);
        queue.is_closed = true;
    }

    pub(super) fn admit(&mut self, queue: usize, upstream: usize) {
        let members = &mut self.queues[queue].members;
        if !members.contains(&upstream) {
            members.push(upstream);
        }
        self.fail_stranded(queue);
    }

    pub(super) fn eject(&mut self, upstream: usize, error: B::Error) {
        self.n_ejections += 1;
        self.upstreams[upstream].ejected = Some((self.n_ejections, error));
        for queue in 0..self.queues.len() {
            self.fail_stranded(queue);
        }
    }

    pub(super) fn readmit(&mut self, upstream: usize) {
        if self.upstreams[upstream].ejected.take().is_some() {
            self.upstreams[upstream].succeeded();
            self.queues.iter_mut().for_each(|queue| queue.forget_speed(upstream));
        }
    }

    /// Members that take from the queue, were they free.
    pub(super) fn living(&self, queue: usize) -> Vec<usize> {
        let members = self.queues[queue].members.iter().copied();
        members.filter(|member| !self.upstreams[*member].is_ejected()).collect()
    }

    /// Why the last member of a queue was ejected, where all are.
    fn stranded(&self, queue: usize) -> Option<B::Error> {
        let mut last = None;
        for member in &self.queues[queue].members {
            let (number, error) = self.upstreams[*member].ejected.as_ref()?;
            if last.is_none_or(|(last, _)| last < number) {
                last = Some((number, error));
            }
        }
        last.map(|(_, error)| error.clone())
    }

    /// Nobody waits for upstreams that may never come back.
    fn fail_stranded(&mut self, queue: usize) {
        if let Some(error) = self.stranded(queue) {
            for unit in self.queues[queue].drain() {
                unit.fail(&error);
            }
        }
    }

    pub(super) fn push(&mut self, queue: usize, lane: Lane, entries: Vec<Entry<B>>, now: Instant) {
        if lane == Lane::Interactive {
            self.queues[queue].interactive_at = Some(now);
        }
        self.queues[queue].lane_mut(lane).extend(entries);
        self.fail_stranded(queue);
    }

    /// Lets go of texts that nobody waits for any more, unless that was done a moment ago:
    /// those at the front are dropped anyway, but where all is full others need their places.
    pub(super) fn sweep(&mut self, now: Instant) -> bool {
        let is_time = self.swept.is_none_or(|swept| REST <= now.saturating_duration_since(swept));
        if is_time {
            self.swept = Some(now);
            self.queues.iter_mut().for_each(Queue::drop_abandoned);
        }
        is_time
    }

    /// Tells the metrics what waits.
    pub(super) fn report(&self) {
        for queue in self.queues.iter().filter(|queue| !queue.is_closed) {
            queue.meters.report(queue.n_queued());
        }
    }

    pub(super) fn release(&mut self, upstream: usize, number: u64) {
        self.upstreams[upstream].calls.retain(|call| call.number != number);
    }

    /// Lets go of all that waits; its replies close.
    pub(super) fn clear(&mut self) {
        for queue in &mut self.queues {
            queue.clear();
        }
    }

    /// Counts a call that ended well after `took`.
    pub(super) fn record(&mut self, next: &Next<B>, took: Duration, now: Instant) {
        self.upstreams[next.upstream].succeeded();
        self.drain.record(next.unit.len(), now);
        if self.is_open(next) {
            let speed = self.queues[next.queue].speed_mut(next.upstream, next.unit.lane);
            speed.record(next.unit.len(), next.unit.sum_tokens(), took, now);
        }
    }

    /// Whether its queue is still the one that it was taken from.
    fn is_open(&self, next: &Next<B>) -> bool {
        let queue = &self.queues[next.queue];
        !queue.is_closed && Arc::ptr_eq(&queue.template, &next.template)
    }

    /// Decides what becomes of a batch that failed.
    pub(super) fn settle(
        &mut self,
        mut next: Next<B>,
        error: &B::Error,
        verdict: Verdict,
        now: Instant,
    ) -> Settled<B> {
        self.upstreams[next.upstream].failed(now, self.rest);
        if !self.is_open(&next) {
            return Settled::Done;
        }
        let living = self.living(next.queue);
        let unit = &mut next.unit;
        unit.faults += usize::from(verdict != Verdict::Elsewhere);
        if !unit.tried.contains(&next.upstream) {
            unit.tried.push(next.upstream);
        }
        let untried = living.iter().any(|member| !unit.tried.contains(member));
        // A half of a failed batch has failed once already, unless it is down to one text.
        let max_faults = if unit.rescue.is_some() && 1 < unit.len() { 1 } else { 2 };
        let again = match verdict {
            Verdict::Elsewhere => untried,
            Verdict::Again => unit.faults < max_faults && !living.is_empty(),
            Verdict::Halve => false,
        };
        let halve = verdict != Verdict::Elsewhere && 1 < unit.len() && !living.is_empty();
        let in_budget = match &unit.rescue {
            Some(rescue) => rescue.spend(),
            None => !again || self.may_retry(next.queue, now),
        };
        let Next { queue, unit, meters, .. } = next;
        match (in_budget, again) {
            (true, true) if untried => self.queues[queue].retries.push_back(unit),
            (true, true) => return Settled::Later(unit),
            (true, false) if halve => {
                meters.halved.increment(1);
                self.queues[queue].retries.extend(unit.halves());
            }
            _ => unit.fail(error),
        }
        Settled::Done
    }

    fn may_retry(&mut self, queue: usize, now: Instant) -> bool {
        let may = self.retries.spend(now);
        let meters = &self.queues[queue].meters;
        let counter = if may { &meters.retries } else { &meters.refused_retries };
        counter.increment(1);
        may
    }

    /// Queues a batch again that was to wait a moment.
    pub(super) fn retry(&mut self, queue: usize, template: &Arc<B::Template>, unit: Unit<B>) {
        if !self.queues[queue].is_closed && Arc::ptr_eq(&self.queues[queue].template, template) {
            self.queues[queue].retries.push_back(unit);
            self.fail_stranded(queue);
        }
    }
}
