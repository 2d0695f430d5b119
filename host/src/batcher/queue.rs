//! What waits for the upstreams of one queue, and how fast they were with it.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::meters::Meters;
use super::speed::{self, Speed};
use super::unit::{Entry, Unit};
use super::{Backend, Lane};

pub(super) struct Queue<B: Backend> {
    pub(super) template: Arc<B::Template>,
    pub(super) meters: Arc<Meters>,
    /// Nobody has its lease: the next queue that opens takes its place.
    pub(super) is_closed: bool,
    /// Upstreams that may take from it.
    pub(super) members: Vec<usize>,
    /// By lane.
    waiting: [VecDeque<Entry<B>>; 2],
    /// Batches that failed and go out again as they are.
    pub(super) retries: VecDeque<Unit<B>>,
    /// Interactive batches that went before the bulk text at the front.
    pub(super) overtaken: u32,
    /// When interactive texts came last.
    pub(super) interactive_at: Option<Instant>,
    /// By upstream and lane.
    speeds: Vec<[Speed; 2]>,
}

impl<B: Backend> Queue<B> {
    pub(super) fn new(meters: Meters, template: B::Template, n_upstreams: usize) -> Self {
        Self {
            template: Arc::new(template),
            meters: Arc::new(meters),
            is_closed: false,
            members: Vec::new(),
            waiting: [VecDeque::new(), VecDeque::new()],
            retries: VecDeque::new(),
            overtaken: 0,
            interactive_at: None,
            speeds: vec![[Speed::default(); 2]; n_upstreams],
        }
    }

    /// Texts that wait, by lane.
    pub(super) fn n_queued(&self) -> [usize; 2] {
        let mut n_texts = Lane::ALL.map(|lane| self.lane(lane).len());
        for unit in &self.retries {
            n_texts[unit.lane as usize] += unit.len();
        }
        n_texts
    }

    pub(super) fn clear(&mut self) {
        self.waiting.iter_mut().for_each(VecDeque::clear);
        self.retries.clear();
    }

    /// Empties it, as units that have yet to be answered.
    pub(super) fn drain(&mut self) -> Vec<Unit<B>> {
        let mut units: Vec<Unit<B>> = self.retries.drain(..).collect();
        for lane in Lane::ALL {
            units.push(Unit::new(lane, self.lane_mut(lane).drain(..).collect()));
        }
        units
    }

    pub(super) fn lane(&self, lane: Lane) -> &VecDeque<Entry<B>> {
        &self.waiting[lane as usize]
    }

    pub(super) fn lane_mut(&mut self, lane: Lane) -> &mut VecDeque<Entry<B>> {
        &mut self.waiting[lane as usize]
    }

    pub(super) fn speed(&self, upstream: usize, lane: Lane) -> &Speed {
        &self.speeds[upstream][lane as usize]
    }

    pub(super) fn speed_mut(&mut self, upstream: usize, lane: Lane) -> &mut Speed {
        &mut self.speeds[upstream][lane as usize]
    }

    pub(super) fn forget_speed(&mut self, upstream: usize) {
        self.speeds[upstream] = [Speed::default(); 2];
    }

    /// Seconds for a text at an upstream of which nothing is known.
    pub(super) fn usual_seconds(&self, lane: Lane, now: Instant) -> f64 {
        speed::usual(self.members.iter().map(|member| self.speed(*member, lane)), now)
    }

    pub(super) fn drop_abandoned_fronts(&mut self) {
        for waiting in &mut self.waiting {
            while waiting.front().is_some_and(|entry| entry.reply.is_closed()) {
                waiting.pop_front();
            }
        }
    }

    pub(super) fn drop_abandoned(&mut self) {
        for waiting in &mut self.waiting {
            waiting.retain(|entry| !entry.reply.is_closed());
        }
        self.drop_abandoned_retries();
    }

    fn drop_abandoned_retries(&mut self) {
        for unit in &mut self.retries {
            unit.entries.retain(|entry| !entry.reply.is_closed());
        }
        self.retries.retain(|unit| !unit.entries.is_empty());
    }

    /// The texts at the front of `lane` that somebody waits for, so many at most; one text may have any number of tokens.
    pub(super) fn take_entries(&mut self, lane: Lane, max_texts: usize, max_tokens: u32) -> Vec<Entry<B>> {
        let waiting = self.lane_mut(lane);
        let mut entries: Vec<Entry<B>> = Vec::with_capacity(max_texts.min(waiting.len()));
        let mut n_tokens = 0_u32;
        while entries.len() < max_texts {
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

    /// A failed batch for `upstream`: one that it has not failed, or that all of `living` have.
    pub(super) fn take_retry(
        &mut self,
        upstream: usize,
        living: &[usize],
        lanes: impl Fn(Lane) -> bool,
    ) -> Option<Unit<B>> {
        self.drop_abandoned_retries();
        let at = self.retries.iter().position(|unit| {
            let is_due =
                !unit.tried.contains(&upstream) || living.iter().all(|member| unit.tried.contains(member));
            is_due && lanes(unit.lane)
        })?;
        self.retries.remove(at)
    }
}
