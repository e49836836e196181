//! Runs that wait for their turn: behind the concurrency key of their flow, its rate, or both. Memory only, by name;
//! rebuilt from live rows, and what of a rate is used up from its own rows.
//!
//! A run holds its concurrency key from RunStarted to RunFinished, also while it sleeps, is paused or in doubt (rule
//! 12); of the rate it uses one when it starts.

use std::collections::{BTreeMap, HashMap, VecDeque};

use aura_protocol::flow::OnExcess;
use aura_protocol::run::Blocked;
use aura_protocol::{FlowId, RunId, TenantId};

use super::core::bugs::{Bug, has};
use super::limits::lanes::{Ask, Behind, Lanes, Need, Order, PoolKey, Ticket};
use super::limits::{Limit, Rate};

/// Runs waiting behind one key at most; one more is refused at the door.
pub const QUEUE_MAX: usize = 10_000;
/// Runs waiting behind all keys at most.
pub const WAITING_MAX: usize = 250_000;

/// The limits of one run, and where it stands behind them.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Tenant.
    pub tenant: TenantId,
    /// Flow.
    pub flow: FlowId,
    /// Concurrency key and how many hold it at once.
    pub slot: Option<(PoolKey, u32)>,
    /// Key of the rate, and it.
    pub rate: Option<(PoolKey, Option<Rate>)>,
    /// Whose turn comes first.
    pub priority: i32,
    /// Its rate is the throttle of its trigger, with what becomes of one beyond it: the flow's limits do not change it.
    pub throttle: Option<OnExcess>,
    /// Its concurrency key is a schedule's own: the flow's limits do not change it.
    pub of_schedule: bool,
}

impl Entry {
    /// Nothing limits it.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.slot.is_none() && self.rate.is_none()
    }

    /// Its rate as a limit.
    #[must_use]
    pub fn rate_ask(&self) -> Option<Ask> {
        let (key, rate) = self.rate?;
        let owner = if self.throttle.is_some() { [0; 16] } else { self.flow.bytes() };
        Some(Ask { key, owner, limit: Limit { most: None, rate } })
    }

    fn need(&self) -> Need {
        let limit = |most: u32| Limit { most: Some(most.max(1)), rate: None };
        let owner = if self.of_schedule { [0; 16] } else { self.flow.bytes() };
        let wide = self.slot.map(|(key, most)| Ask { key, owner, limit: limit(most) });
        Need { narrow: self.rate_ask(), wide }
    }
}

/// All keys in use.
#[derive(Debug)]
pub struct Gate {
    lanes: Lanes<TenantId, RunId>,
    holders: HashMap<PoolKey, VecDeque<RunId>>,
    tickets: HashMap<RunId, (Ticket, Entry)>,
    queues: HashMap<PoolKey, BTreeMap<Order, RunId>>,
    last_turn: i64,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            lanes: Lanes::new(usize::MAX),
            holders: HashMap::new(),
            tickets: HashMap::new(),
            queues: HashMap::new(),
            last_turn: 0,
        }
    }
}

impl Gate {
    /// The limits themselves.
    pub fn lanes(&mut self) -> &mut Lanes<TenantId, RunId> {
        &mut self.lanes
    }

    /// Whether one more run would go on at once.
    pub fn free(&mut self, entry: &Entry, now_us: i64) -> bool {
        entry.is_free() || self.lanes.is_free(&entry.need(), now_us)
    }

    /// The place of a run in the order of acceptance: later than that of all before it, whatever the clock says.
    pub fn turn(&mut self, now_us: i64) -> i64 {
        self.last_turn = if has(Bug::TurnsAreForgotten) { 1 } else { now_us.max(self.last_turn.saturating_add(1)) };
        self.last_turn
    }

    /// A place that was given before a restart.
    pub fn had_turn(&mut self, turn: i64) {
        self.last_turn = self.last_turn.max(turn);
    }

    /// Whether a throttle lets one more through now, besides those that wait behind it.
    pub fn lets_through(&mut self, entry: &Entry, now_us: i64) -> bool {
        entry.rate_ask().is_none_or(|ask| self.lanes.has_left(ask, now_us))
    }

    /// How much of its rate is used, in words.
    #[must_use]
    pub fn used_up(&self, entry: &Entry) -> String {
        let window = entry.rate.and_then(|(key, _)| self.lanes.window(key));
        window.map_or_else(String::new, |(window, rate)| used_up(rate, window.next_us(rate, 0)))
    }

    /// Whether one more run may wait.
    #[must_use]
    pub fn is_full(&self, entry: &Entry) -> bool {
        let keys = entry.slot.map(|(key, _)| key).into_iter().chain(entry.rate.map(|(key, _)| key));
        self.lanes.count() >= WAITING_MAX || keys.into_iter().any(|key| self.lanes.waiting(key) >= QUEUE_MAX)
    }

    /// How many runs of a flow wait; who waits for its key and its rate counts twice. Of throttles and schedules nobody
    /// knows here whose they are: who waits behind them counts for every flow.
    #[must_use]
    pub fn waiting_of(&self, flow: FlowId) -> usize {
        let of = |owner| self.lanes.waiting_of(owner);
        if self.lanes.count() == 0 { 0 } else { of(flow.bytes()) + of([0; 16]) }
    }

    /// Whether the concurrency key itself is taken, whatever the rate says.
    #[must_use]
    pub fn is_held(&self, slot: PoolKey, limit: u32) -> bool {
        let places = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        self.holders.get(&slot).is_some_and(|holders| holders.len() >= places)
            || self.queues.get(&slot).is_some_and(|queue| !queue.is_empty())
    }

    /// The run that has held the key longest.
    #[must_use]
    pub fn oldest(&self, slot: PoolKey) -> Option<RunId> {
        self.holders.get(&slot)?.front().copied()
    }

    /// Runs waiting behind the key, in their order.
    #[must_use]
    pub fn waiting(&self, slot: PoolKey) -> Vec<RunId> {
        self.queues.get(&slot).map(|queue| queue.values().copied().collect()).unwrap_or_default()
    }

    /// A run starts: it holds its key, and uses one of its rate.
    pub fn hold(&mut self, entry: &Entry, run: RunId, now_us: i64) {
        let need = entry.need();
        if !self.lanes.enter(&need, now_us) {
            self.lanes.hold(&need, now_us);
        }
        self.started(entry, run, now_us);
    }

    /// A run that started before a restart holds its key.
    pub fn held(&mut self, entry: &Entry, run: RunId, now_us: i64) {
        // What it used of its rate is stored.
        let entry = Entry { rate: None, ..*entry };
        if entry.slot.is_some() {
            self.lanes.hold(&entry.need(), now_us);
            self.started(&entry, run, now_us);
        }
    }

    /// Its turn is used at once, so between two looks at the gate nothing is spoken for.
    fn started(&mut self, entry: &Entry, run: RunId, now_us: i64) {
        let lane = entry.need().lane();
        self.lanes.used(lane, now_us);
        if let Some(key) = lane.narrow {
            self.lanes.leave_pool(key, true, now_us);
        }
        if let Some((slot, _)) = entry.slot {
            self.holders.entry(slot).or_default().push_back(run);
        }
    }

    /// A run waits.
    pub fn queue(&mut self, entry: &Entry, run: RunId, now_us: i64) {
        let ticket = self.lanes.wait(&entry.need(), entry.tenant, entry.priority, run, now_us);
        if let Some((slot, _)) = entry.slot {
            self.queues.entry(slot).or_default().insert(ticket.order, run);
        }
        self.tickets.insert(run, (ticket, *entry));
    }

    /// A run ended that held its key or waited; [`Gate::next`] says who goes on.
    pub fn release(&mut self, slot: Option<PoolKey>, run: RunId, now_us: i64) {
        if let Some((ticket, entry)) = self.tickets.remove(&run) {
            self.lanes.remove(ticket, now_us);
            self.forget_queued(&entry, ticket.order);
        }
        let Some(slot) = slot else { return };
        let Some(holders) = self.holders.get_mut(&slot) else { return };
        let before = holders.len();
        holders.retain(|held| *held != run);
        let left = holders.len();
        if left == 0 {
            self.holders.remove(&slot);
        }
        if left < before {
            self.lanes.leave_pool(slot, true, now_us);
        }
    }

    fn forget_queued(&mut self, entry: &Entry, order: Order) {
        if let Some((slot, _)) = entry.slot
            && let Some(queue) = self.queues.get_mut(&slot)
        {
            queue.remove(&order);
            if queue.is_empty() {
                self.queues.remove(&slot);
            }
        }
    }

    /// The run whose turn has come: it holds its key from now on.
    pub fn next(&mut self, now_us: i64) -> Option<(RunId, Entry)> {
        let (run, _) = self.lanes.next(now_us)?;
        let (ticket, entry) = self.tickets.remove(&run)?;
        self.forget_queued(&entry, ticket.order);
        self.started(&entry, run, now_us);
        Some((run, entry))
    }

    /// A flow has other limits now.
    pub fn set_limits(&mut self, flow: FlowId, most: Option<u32>, rate: Option<Rate>, now_us: i64) {
        let of = |_: PoolKey, before: Limit| match before {
            Limit { most: Some(_), .. } => Limit { most: Some(most.unwrap_or(u32::MAX).max(1)), rate: None },
            Limit { most: None, .. } => Limit { most: None, rate },
        };
        self.lanes.set_limits(flow.bytes(), now_us, &of);
    }

    /// Why a run waits, as things stand.
    #[must_use]
    pub fn why(&self, run: RunId) -> Option<Blocked> {
        let (ticket, entry) = self.tickets.get(&run)?;
        let (behind, ahead) = self.lanes.why(*ticket);
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        let (reason, until_us) = match behind {
            Behind::Full(key, at_work, most) => (self.full(key, at_work, most), None),
            Behind::Rate(_, rate, next) if entry.throttle.is_some() => (throttle_is_used(rate, next), next),
            Behind::Rate(_, rate, next) => (rate_is_used(rate, next), next),
            // Its turn has come; it starts in a moment.
            Behind::Places => {
                let holder = entry.slot.and_then(|(slot, _)| self.oldest(slot));
                (holder.map_or_else(|| "starts now".to_owned(), |holder| self.behind_holder(holder)), None)
            }
        };
        let reason = if ahead > 0 { format!("{reason}; {ahead} ahead") } else { reason };
        Some(Blocked { reason, until_ms: until_us.map(|at| at / 1000), key: None, ahead: Some(ahead) })
    }

    fn full(&self, key: PoolKey, at_work: u32, most: u32) -> String {
        match self.oldest(key) {
            Some(holder) if most == 1 => self.behind_holder(holder),
            Some(holder) => {
                format!("waits for its concurrency key: {at_work} of {most} hold it, {holder} the longest")
            }
            None => format!("waits for its concurrency key: {at_work} of {most} hold it"),
        }
    }

    fn behind_holder(&self, holder: RunId) -> String {
        format!("waits for {holder}, which holds its concurrency key")
    }
}

/// That a rate is used up, in words.
#[must_use]
pub fn rate_is_used(rate: Rate, next_us: Option<i64>) -> String {
    format!("waits for its rate: {}", used_up(rate, next_us))
}

/// That a throttle is used up, in words.
#[must_use]
pub fn throttle_is_used(rate: Rate, next_us: Option<i64>) -> String {
    format!("waits for the throttle of its trigger: {}", used_up(rate, next_us))
}

/// How many of a rate were used, and when there is more.
#[must_use]
pub fn used_up(rate: Rate, next_us: Option<i64>) -> String {
    let per = aura_protocol::flow::Span::from_ms(u64::try_from(rate.per_us / 1000).unwrap_or(0));
    let next = next_us.map_or(String::new(), |at| {
        format!(", the next at {}", aura_protocol::event::timestamp(at / 1000 + i64::from(at % 1000 > 0)))
    });
    format!("{} in {per} are used up{next}", rate.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(slot: Option<u32>, rate: Option<Rate>, priority: i32) -> Entry {
        Entry {
            tenant: TenantId::DEFAULT,
            flow: FlowId::from_bytes([1; 16]),
            of_schedule: false,
            throttle: None,
            slot: slot.map(|limit| ([7; 16], limit)),
            rate: rate.map(|rate| ([8; 16], Some(rate))),
            priority,
        }
    }

    fn runs(count: u64) -> Vec<RunId> {
        (0..count).map(|n| RunId::from_parts(n, &[0; 10])).collect()
    }

    #[test]
    fn first_accepted_goes_first_and_a_waiting_run_can_leave() {
        let (runs, entry) = (runs(4), entry(Some(1), None, 0));
        let (slot, mut gate) = (Some([7; 16]), Gate::default());
        assert!(gate.free(&entry, 0));
        gate.hold(&entry, runs[0], 0);
        assert!(!gate.free(&entry, 0) && gate.is_held([7; 16], 1));
        runs[1..].iter().for_each(|run| gate.queue(&entry, *run, 0));
        assert_eq!(gate.waiting([7; 16]), &runs[1..]);
        let why = gate.why(runs[3]).unwrap();
        assert_eq!((why.ahead, why.until_ms), (Some(2), None));
        assert!(why.reason.contains(&runs[0].to_string()) && why.reason.contains("2 ahead"), "{why:?}");
        gate.release(slot, runs[1], 0);
        assert_eq!(gate.next(0).map(|(run, _)| run), None, "a queued run that was cancelled");
        gate.release(slot, runs[0], 0);
        assert_eq!(gate.next(0).map(|(run, _)| run), Some(runs[2]));
        assert_eq!(gate.next(0).map(|(run, _)| run), None);
        gate.release(slot, runs[2], 0);
        assert_eq!(gate.next(0).map(|(run, _)| run), Some(runs[3]));
        gate.release(slot, runs[3], 0);
        assert!(gate.free(&entry, 0) && gate.why(runs[3]).is_none());
    }

    #[test]
    fn no_two_have_the_same_turn_also_within_a_moment_after_a_restart_or_with_a_clock_set_back() {
        let turns = || {
            let mut gate = Gate::default();
            gate.had_turn(100);
            [50, 50, 200, 200, 10].map(|now| gate.turn(now))
        };
        assert_eq!(turns(), [101, 102, 200, 201, 202]);
        crate::engine::core::bugs::with(Some(Bug::TurnsAreForgotten), || assert_eq!(turns(), [1; 5]));
    }

    #[test]
    fn a_throttle_counts_those_that_wait_behind_it() {
        let rate = Rate { count: 2, per_us: 100 };
        let throttled = Entry { throttle: Some(OnExcess::Drop), ..entry(Some(1), Some(rate), 0) };
        let (mut gate, runs) = (Gate::default(), runs(3));
        assert!(gate.lets_through(&throttled, 0));
        gate.hold(&throttled, runs[0], 0);
        assert!(gate.lets_through(&throttled, 0));
        gate.queue(&throttled, runs[1], 0);
        assert!(!gate.lets_through(&throttled, 0), "the one that waits for its key will use it");
        assert!(gate.used_up(&throttled).is_empty() || gate.used_up(&throttled).contains("2 in"));
        let before = gate.lanes().window([8; 16]).map(|(_, rate)| rate);
        gate.set_limits(FlowId::from_bytes([1; 16]), Some(1), None, 0);
        assert_eq!(gate.lanes().window([8; 16]).map(|(_, rate)| rate), before, "the flow's limits are others");
        crate::engine::core::bugs::with(Some(Bug::LimitIsIgnored), || assert!(gate.lets_through(&throttled, 0)));
    }

    #[test]
    fn a_run_waits_for_its_rate_and_its_key_and_starts_when_both_have_room() {
        let rate = Rate { count: 2, per_us: 100 };
        let (runs, entry) = (runs(5), entry(Some(1), Some(rate), 0));
        let mut gate = Gate::default();
        gate.hold(&entry, runs[0], 0);
        runs[1..].iter().for_each(|run| gate.queue(&entry, *run, 0));
        gate.release(Some([7; 16]), runs[0], 10);
        assert_eq!(gate.next(10).map(|(run, _)| run), Some(runs[1]));
        gate.release(Some([7; 16]), runs[1], 20);
        assert_eq!(gate.next(20).map(|(run, _)| run), None, "the rate is used up");
        let why = gate.why(runs[2]).unwrap();
        assert!(why.reason.contains("2 in") && why.reason.contains("the next at"), "{why:?}");
        assert_eq!(gate.lanes().wakes_us(), Some(100));
        let waiting = [1, 2].map(|flow| gate.waiting_of(FlowId::from_bytes([flow; 16])) > 0);
        assert_eq!(waiting, [true, false], "of another flow nobody waits");
        assert_eq!(gate.next(100).map(|(run, _)| run), Some(runs[2]), "one that was used at 0 is over");
        assert_eq!(gate.next(500).map(|(run, _)| run), None, "the key is held");
        gate.release(Some([7; 16]), runs[2], 500);
        assert_eq!(gate.next(500).map(|(run, _)| run), Some(runs[3]));
    }

    #[test]
    fn the_higher_priority_starts_first_and_another_limit_lets_more_in() {
        let mut gate = Gate::default();
        let runs = runs(4);
        gate.hold(&entry(Some(1), None, 0), runs[0], 0);
        for (run, priority) in runs[1..].iter().zip([0, 5, 1]) {
            gate.queue(&entry(Some(1), None, priority), *run, 0);
        }
        gate.set_limits(FlowId::from_bytes([1; 16]), Some(3), None, 0);
        assert_eq!(gate.next(0).map(|(run, _)| run), Some(runs[2]));
        assert_eq!(gate.next(0).map(|(run, _)| run), Some(runs[3]));
        assert_eq!(gate.next(0).map(|(run, _)| run), None);
        gate.set_limits(FlowId::from_bytes([1; 16]), None, None, 0);
        assert_eq!(gate.next(0).map(|(run, _)| run), Some(runs[1]), "without a limit nobody waits");
    }
}
