//! What leaves next, and with whom: which queue and lane are due, which upstream
//! takes it, and how much of it is its share.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::meters::Meters;
use super::state::{Call, State, Upstream};
use super::unit::{Entry, Unit};
use super::{Backend, Lane};

/// For so long after interactive texts came, bulk leaves room for more of them.
const ALERT: Duration = Duration::from_secs(10);
/// A text is left to faster upstreams if it takes this many times longer than
/// all that is ahead of it takes them: noise should keep nobody idle.
const TOO_SLOW: f64 = 1.5;
/// A call that takes this many times longer than measured, or longer than [`ALERT`], hangs as far as others
/// are concerned.
const OVERDUE: f64 = 4.0;
/// Texts in a call to one that spreads them, where so many wait: a share of them would be split twice.
const LIST: usize = 100;
/// Texts in the first call of one upstream of several: it may be slow.
const FIRST: usize = 4;

/// What a free slot does next.
pub(super) struct Next<B: Backend> {
    pub(super) upstream: usize,
    /// Of the call, for [`State::release`].
    pub(super) number: u64,
    pub(super) queue: usize,
    pub(super) template: Arc<B::Template>,
    pub(super) meters: Arc<Meters>,
    pub(super) unit: Unit<B>,
}

/// How fast upstreams are with the texts of one queue and lane.
struct Paces {
    /// Seconds for a text at one of which nothing is known.
    usual: f64,
    of: Vec<Pace>,
}

struct Pace {
    upstream: usize,
    /// For a text, as far as is known.
    seconds: f64,
    is_measured: bool,
}

impl Paces {
    fn seconds(&self, upstream: usize) -> f64 {
        self.of.iter().find(|pace| pace.upstream == upstream).map_or(self.usual, |pace| pace.seconds)
    }
}

impl<B: Backend> State<B> {
    /// Takes a slot and what it should do, the least busy upstream first.
    pub(super) fn next(&mut self, now: Instant) -> Option<Next<B>> {
        let mut idle: Vec<usize> =
            (0..self.upstreams.len()).filter(|upstream| self.upstreams[*upstream].has_free_slot()).collect();
        idle.sort_by_key(|upstream| {
            let upstream = &self.upstreams[*upstream];
            (upstream.has_failed, upstream.calls.len())
        });
        idle.into_iter().find_map(|upstream| self.next_of(upstream, now))
    }

    /// What `upstream` should do, or an idle one that is faster: what failed before,
    /// then what waits longest in the lane that is due.
    fn next_of(&mut self, upstream: usize, now: Instant) -> Option<Next<B>> {
        let mine: Vec<usize> =
            (0..self.queues.len()).filter(|queue| self.queues[*queue].members.contains(&upstream)).collect();
        let may_bulk = self.may_take(upstream, Lane::Bulk, now);
        for queue in &mine {
            let living = self.living(*queue);
            let lanes = |lane| lane == Lane::Interactive || may_bulk;
            if let Some(unit) = self.queues[*queue].take_retry(upstream, &living, lanes) {
                return Some(self.call(upstream, *queue, unit, now));
            }
        }
        loop {
            for queue in &mine {
                self.queues[*queue].drop_abandoned_fronts();
            }
            let (queue, lane) = self.due(upstream, &mine, now)?;
            let upstream = self.fastest_idle(queue, lane, now).unwrap_or(upstream);
            let entries = self.take_batch(upstream, queue, lane, now);
            if !entries.is_empty() {
                self.count_overtaken(upstream, queue, lane);
                self.retries.count_call();
                return Some(self.call(upstream, queue, Unit::new(lane, entries), now));
            }
        }
    }

    fn call(&mut self, upstream: usize, queue: usize, unit: Unit<B>, now: Instant) -> Next<B> {
        self.n_calls += 1;
        let number = self.n_calls;
        let (lane, n_texts) = (unit.lane, unit.len());
        let speed = self.queues[queue].speed(upstream, lane);
        let overdue = speed.is_measured().then(|| {
            let usual = self.queues[queue].usual_seconds(lane, now);
            let seconds = speed.seconds(usual, now) * n_texts as f64 * OVERDUE;
            now + Duration::try_from_secs_f64(seconds).unwrap_or(ALERT).min(ALERT)
        });
        self.upstreams[upstream].calls.push(Call { number, lane, n_texts, overdue });
        let (template, meters) =
            (Arc::clone(&self.queues[queue].template), Arc::clone(&self.queues[queue].meters));
        Next { upstream, number, queue, template, meters, unit }
    }

    /// The lane to take from next: bulk that was overtaken too often, else
    /// interactive before bulk, and the longest wait among equals.
    fn due(&self, upstream: usize, mine: &[usize], now: Instant) -> Option<(usize, Lane)> {
        let front = |queue: usize, lane: Lane| {
            let waits = self.queues[queue].lane(lane).front()?;
            let starved = lane == Lane::Bulk && self.max_overtaken <= self.queues[queue].overtaken;
            let rank = match lane {
                Lane::Bulk if starved => 0,
                Lane::Interactive => 1,
                Lane::Bulk => 2,
            };
            Some((rank, waits.at, queue, lane))
        };
        mine.iter()
            .flat_map(|queue| Lane::ALL.map(|lane| front(*queue, lane)))
            .flatten()
            .filter(|(_, _, queue, lane)| {
                let n_waiting = self.queues[*queue].lane(*lane).len();
                let paces = || self.paces(*queue, *lane, now);
                self.may_take(upstream, *lane, now) && !self.leaves_it(upstream, n_waiting, &paces(), now)
            })
            .min_by_key(|(rank, at, queue, _)| (*rank, *at, *queue))
            .map(|(_, _, queue, lane)| (queue, lane))
    }

    /// Interactive texts came to `upstream` a moment ago, or wait for it.
    fn is_alert(&self, upstream: usize, now: Instant) -> bool {
        self.queues.iter().filter(|queue| queue.members.contains(&upstream)).any(|queue| {
            let is_recent = |at| now.saturating_duration_since(at) < ALERT;
            queue.interactive_at.is_some_and(is_recent) || !queue.lane(Lane::Interactive).is_empty()
        })
    }

    /// Bulk has one slot of an upstream that interactive texts come to, and does not spread them.
    fn may_take(&self, upstream: usize, lane: Lane, now: Instant) -> bool {
        let has_bulk = || self.upstreams[upstream].calls.iter().any(|call| call.lane == Lane::Bulk);
        let leaves_room = || !self.upstreams[upstream].spreads && self.is_alert(upstream, now);
        lane == Lane::Interactive || !has_bulk() || !leaves_room()
    }

    /// How fast the members of `queue` are that are not ejected.
    fn paces(&self, queue: usize, lane: Lane, now: Instant) -> Paces {
        let living = self.living(queue);
        let queue = &self.queues[queue];
        let usual = queue.usual_seconds(lane, now);
        let pace = |upstream: usize| {
            let speed = queue.speed(upstream, lane);
            Pace { upstream, seconds: speed.seconds(usual, now), is_measured: speed.is_measured() }
        };
        Paces { usual, of: living.into_iter().map(pace).collect() }
    }

    /// Whether the next text is better left to faster upstreams that are busy now.
    ///
    /// Never while none of them has a call that is to end: that end hands out what was left.
    fn leaves_it(&self, upstream: usize, n_waiting: usize, paces: &Paces, now: Instant) -> bool {
        // Each of its calls would cost a retry, and those have a budget.
        if self.upstreams[upstream].rests(now) && self.others_work(upstream, paces, now) {
            return true;
        }
        let (mut ahead, mut texts_per_second) = (n_waiting, 0.0);
        for other in paces.of.iter().filter(|other| other.upstream != upstream && other.is_measured) {
            let Upstream { slots, calls, has_failed, .. } = &self.upstreams[other.upstream];
            if !calls.is_empty() && !calls.iter().any(|call| call.hangs(now)) && !has_failed {
                ahead += calls.iter().map(|call| call.n_texts).sum::<usize>();
                texts_per_second += *slots as f64 / other.seconds;
            }
        }
        TOO_SLOW * (ahead as f64) < paces.seconds(upstream) * texts_per_second
    }

    /// Whether an upstream that does not rest has a call that is to end: it goes on with what was left.
    fn others_work(&self, upstream: usize, paces: &Paces, now: Instant) -> bool {
        paces.of.iter().filter(|other| other.upstream != upstream).any(|other| {
            let other = &self.upstreams[other.upstream];
            let is_to_end = |call: &Call| call.overdue.is_some() && !call.hangs(now);
            !other.rests(now) && !other.calls.is_empty() && other.calls.iter().all(is_to_end)
        })
    }

    /// Where a text of `queue` is soonest done, of the upstreams with a free slot.
    fn fastest_idle(&self, queue: usize, lane: Lane, now: Instant) -> Option<usize> {
        let paces = self.paces(queue, lane, now);
        let n_waiting = self.queues[queue].lane(lane).len();
        let takers = paces.of.iter().filter(|pace| {
            self.upstreams[pace.upstream].has_free_slot()
                && self.may_take(pace.upstream, lane, now)
                && !self.leaves_it(pace.upstream, n_waiting, &paces, now)
        });
        let place = |pace: &Pace| {
            let upstream = &self.upstreams[pace.upstream];
            (upstream.has_failed, pace.seconds * (1 + upstream.calls.len()) as f64)
        };
        takers
            .map(|pace| (place(pace), pace.upstream))
            .min_by(|((failed, seconds), _), ((other_failed, other_seconds), _)| {
                failed.cmp(other_failed).then(seconds.total_cmp(other_seconds))
            })
            .map(|(_, upstream)| upstream)
    }

    /// An interactive batch overtakes the bulk texts of every queue of its upstream.
    fn count_overtaken(&mut self, upstream: usize, taken: usize, lane: Lane) {
        if lane == Lane::Bulk {
            self.queues[taken].overtaken = 0;
            return;
        }
        for queue in self.queues.iter_mut().filter(|queue| queue.members.contains(&upstream)) {
            queue.overtaken += u32::from(!queue.lane(Lane::Bulk).is_empty());
        }
    }

    /// The share of `upstream`: at most what a call may have, and of bulk what fits into a slice
    /// while interactive texts come.
    fn take_batch(&mut self, upstream: usize, queue: usize, lane: Lane, now: Instant) -> Vec<Entry<B>> {
        let Upstream { max_texts, mut max_tokens, spreads, .. } = self.upstreams[upstream];
        let least = if spreads { LIST } else { 1 };
        let mut max_texts = self.share(upstream, queue, lane, now).max(least).min(max_texts);
        if lane == Lane::Bulk && !spreads && self.is_alert(upstream, now) {
            let (n_texts, n_tokens) = self.queues[queue].speed(upstream, lane).fit(self.bulk_slice);
            (max_texts, max_tokens) = (max_texts.min(n_texts), max_tokens.min(n_tokens));
        }
        self.queues[queue].take_entries(lane, max_texts, max_tokens)
    }

    /// What waits, divided by the slots of all upstreams that live, each weighted by its speed.
    /// Rounded up, so that every slot has something to do; but down for the
    /// slow, whose last text is the one that a list waits for. At least one, and few at first.
    fn share(&self, upstream: usize, queue: usize, lane: Lane, now: Instant) -> usize {
        let paces = self.paces(queue, lane, now);
        let (mut speeds, mut slots) = (0.0, 0.0);
        for pace in &paces.of {
            let n_slots = self.upstreams[pace.upstream].slots as f64;
            speeds += n_slots / pace.seconds;
            slots += n_slots;
        }
        let part = 1.0 / paces.seconds(upstream) / speeds;
        let share = self.queues[queue].lane(lane).len() as f64 * part;
        let is_slow = part * slots < 0.5;
        // Parts are not quite exact: 2 plus a billionth is no reason to take 3.
        let share = if is_slow { share.floor() } else { (share - 1e-6).ceil() };
        let is_new = 1 < paces.of.len() && !self.queues[queue].speed(upstream, lane).is_measured();
        (share as usize).clamp(1, if is_new { FIRST } else { usize::MAX })
    }
}
