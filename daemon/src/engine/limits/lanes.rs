//! Who waits behind which limits, and whose turn it is.
//!
//! Each one that waits names at most two limits: a narrow one (the key of a step, or of a flow's rate) and a wide one (a
//! connection, or a flow's concurrency key); beside them all share the places. Its turn has come when all of them have
//! room; among those the higher priority goes first, then the tenants in turn, then who came first. The invariant:
//! while there is a place, nobody waits whose limits have room. A limit is looked at when it changes, never all who
//! wait: a turn costs the same however many there are.
//!
//! A use of a limit is spoken for when the turn comes, whether it has a rate then or not, until [`Lanes::used`] or
//! [`Lanes::leave_pool`]; of a rate it counts from the moment of [`Lanes::used`]. So limits may change in between.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use super::window::Window;
use super::{Limit, Rate};
use crate::engine::core::bugs::{Bug, has};

/// A limit: the index hash of its key.
pub type PoolKey = [u8; 16];

/// Limits that nobody uses or waits for, kept because of what is used of their rates; more are forgotten, since that is
/// stored.
const IDLE_MAX: usize = 20_000;
/// What was used so long ago is stored by now.
const JUST_NOW_US: i64 = 60_000_000;
/// How many before somebody are counted at most.
const AHEAD_MAX: usize = 10_000;

/// A limit as one that waits names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which.
    pub key: PoolKey,
    /// Whose it is: a flow or a connection.
    pub owner: [u8; 16],
    /// What it limits.
    pub limit: Limit,
}

/// The limits of one that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// The key of a step, or of a flow's rate.
    pub narrow: Option<Ask>,
    /// A connection, or the concurrency key of a flow.
    pub wide: Option<Ask>,
}

impl Need {
    /// The same limits by name.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane { narrow: self.narrow.map(|ask| ask.key), wide: self.wide.map(|ask| ask.key) }
    }

    /// Both of them.
    pub fn asks(&self) -> impl Iterator<Item = Ask> {
        self.narrow.into_iter().chain(self.wide)
    }
}

/// Those who name the same limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// See [`Need::narrow`].
    pub narrow: Option<PoolKey>,
    /// See [`Need::wide`].
    pub wide: Option<PoolKey>,
}

impl Lane {
    fn pools(self) -> impl Iterator<Item = PoolKey> {
        self.narrow.into_iter().chain(self.wide)
    }
}

/// Where somebody stands: the higher priority first, tenants in turn, then who came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order {
    priority: Reverse<i32>,
    round: u64,
    number: u64,
}

/// One that waits, by which it can be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Behind which limits.
    pub lane: Lane,
    /// Where.
    pub order: Order,
}

/// Why one that waits does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// So many use the limit, which has so many places.
    Full(PoolKey, u32, u32),
    /// The rate is used up until then, in microseconds; none if what is spoken for comes first.
    Rate(PoolKey, Rate, Option<i64>),
    /// All places are taken.
    Places,
}

#[derive(Debug, Default)]
struct Pool {
    owner: [u8; 16],
    limit: Limit,
    at_work: u32,
    /// Uses whose moment is still to come; they count if there is a rate.
    spoken_for: u32,
    /// Whether it had room when its lanes were told last.
    had_room: bool,
    window: Window,
    /// Lanes that it is the narrow limit of.
    lanes: BTreeSet<Lane>,
    /// Of the lanes that it is the wide limit of: who is next, where the narrow limit has room.
    heads: BTreeSet<(Order, Lane)>,
    /// As what it is offered: its first head, while it has room.
    offered: Option<Order>,
    waiting: usize,
    wakes_us: Option<i64>,
}

impl Pool {
    /// Whether all its places are taken.
    fn is_full(&self) -> bool {
        self.limit.most.is_some_and(|most| self.at_work >= most.max(1))
    }
}

#[derive(Debug)]
struct Line<T> {
    items: BTreeMap<Order, T>,
    /// As what it is offered: its first one, while the narrow limit has room.
    offered: Option<Order>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Lane(Lane),
    Wide(PoolKey),
}

/// Everybody who waits, by name.
#[derive(Debug)]
pub struct Lanes<O, T> {
    most: usize,
    at_work: usize,
    pools: HashMap<PoolKey, Pool>,
    lines: HashMap<Lane, Line<T>>,
    ready: BTreeSet<(Order, Source)>,
    sleeping: BTreeSet<(i64, PoolKey)>,
    /// The round in which each owner's next one goes, by priority; and the round that is on.
    rounds: HashMap<(i32, O), u64>,
    round: HashMap<i32, u64>,
    number: u64,
    waiting: usize,
    /// How often a line was looked at.
    #[cfg(test)]
    looks: usize,
}

impl<O: Copy + Eq + Hash, T> Lanes<O, T> {
    /// Nobody waits, and so many places are free.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            at_work: 0,
            pools: HashMap::new(),
            lines: HashMap::new(),
            ready: BTreeSet::new(),
            sleeping: BTreeSet::new(),
            rounds: HashMap::new(),
            round: HashMap::new(),
            number: 0,
            waiting: 0,
            #[cfg(test)]
            looks: 0,
        }
    }

    /// How many wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.waiting
    }

    /// How many wait behind a limit.
    #[must_use]
    pub fn waiting(&self, key: PoolKey) -> usize {
        self.pools.get(&key).map_or(0, |pool| pool.waiting)
    }

    /// How many wait behind limits of somebody; who waits behind two of them counts twice.
    #[must_use]
    pub fn waiting_of(&self, owner: [u8; 16]) -> usize {
        self.pools.values().filter(|pool| pool.owner == owner).map(|pool| pool.waiting).sum()
    }

    /// Whether a limit is in memory; if not, what is stored of its rate is to be handed in by [`Lanes::restore`].
    #[must_use]
    pub fn knows(&self, key: PoolKey) -> bool {
        self.pools.contains_key(&key)
    }

    /// What was used of a rate before.
    pub fn restore(&mut self, ask: Ask, window: Window) {
        let pool = self.pools.entry(ask.key).or_default();
        (pool.owner, pool.limit, pool.window) = (ask.owner, ask.limit, window);
    }

    /// What is used of a rate, to be stored.
    #[must_use]
    pub fn window(&self, key: PoolKey) -> Option<(&Window, Rate)> {
        let pool = self.pools.get(&key)?;
        Some((&pool.window, pool.limit.rate?))
    }

    /// Whether a rate has one left besides what those who wait for it will use.
    pub fn has_left(&mut self, ask: Ask, now_us: i64) -> bool {
        self.limit(ask, now_us);
        let (Some(pool), Some(rate)) = (self.pools.get_mut(&ask.key), ask.limit.rate) else { return true };
        pool.window.settle(rate, now_us);
        let waiting = u32::try_from(pool.waiting).unwrap_or(u32::MAX);
        has(Bug::LimitIsIgnored) || pool.window.left(rate) > pool.spoken_for.saturating_add(waiting)
    }

    /// A place and all limits now, if they have room; who gets them must come to [`Lanes::leave`].
    pub fn enter(&mut self, need: &Need, now_us: i64) -> bool {
        let free = self.is_free(need, now_us);
        if free {
            self.take(need.lane(), now_us);
        }
        free
    }

    /// Whether [`Lanes::enter`] would do.
    pub fn is_free(&mut self, need: &Need, now_us: i64) -> bool {
        self.wake(now_us);
        for ask in need.asks() {
            self.limit(ask, now_us);
        }
        // Whoever waits and could go on would have gone on, unless the places were taken.
        self.at_work < self.most && self.ready.is_empty() && need.lane().pools().all(|key| self.has_room(key, now_us))
    }

    /// A place beyond the limit, for what ends at once.
    pub fn begin(&mut self) {
        self.at_work += 1;
    }

    /// As [`Lanes::enter`] whatever their room is: who had them before a restart has them again.
    pub fn hold(&mut self, need: &Need, now_us: i64) {
        for ask in need.asks() {
            self.limit(ask, now_us);
        }
        self.take(need.lane(), now_us);
    }

    /// Waits behind its limits.
    pub fn wait(&mut self, need: &Need, owner: O, priority: i32, item: T, now_us: i64) -> Ticket {
        for ask in need.asks() {
            self.limit(ask, now_us);
        }
        let priority = if has(Bug::PriorityIsForgotten) { 0 } else { priority };
        let on = self.round.get(&priority).copied().unwrap_or(0);
        let mine = self.rounds.entry((priority, owner)).or_insert(0);
        let round = if has(Bug::FairnessIsForgotten) { 0 } else { on.max(*mine) };
        *mine = round + 1;
        self.number += 1;
        let order = Order { priority: Reverse(priority), round, number: self.number };
        let lane = need.lane();
        self.lines
            .entry(lane)
            .or_insert_with(|| Line { items: BTreeMap::new(), offered: None })
            .items
            .insert(order, item);
        self.waiting += 1;
        for key in lane.pools() {
            if let Some(pool) = self.pools.get_mut(&key) {
                pool.waiting += 1;
            }
        }
        if let Some(pool) = lane.narrow.and_then(|key| self.pools.get_mut(&key)) {
            pool.lanes.insert(lane);
        }
        self.refresh_line(lane, now_us);
        Ticket { lane, order }
    }

    /// Whose turn it is; a place and its limits are taken for it, and it must come to [`Lanes::leave`].
    pub fn next(&mut self, now_us: i64) -> Option<(T, Lane)> {
        self.wake(now_us);
        if self.at_work >= self.most {
            return None;
        }
        let (order, source) = self.ready.first().copied()?;
        let lane = match source {
            Source::Lane(lane) => lane,
            Source::Wide(key) => self.pools.get(&key)?.heads.first()?.1,
        };
        let item = self.remove_at(lane, order)?;
        let round = self.round.entry(order.priority.0).or_insert(0);
        *round = (*round).max(order.round);
        self.take(lane, now_us);
        self.refresh_line(lane, now_us);
        self.tidy_rounds();
        Some((item, lane))
    }

    /// Its use of the rates counts from now on; once for each turn.
    pub fn used(&mut self, lane: Lane, now_us: i64) {
        for key in lane.pools() {
            if let Some(pool) = self.pools.get_mut(&key) {
                pool.spoken_for = pool.spoken_for.saturating_sub(1);
                if let Some(rate) = pool.limit.rate {
                    pool.window.take(rate, now_us);
                }
            }
            self.refresh(key, now_us);
        }
    }

    /// Gives place and limits back; `used`: whether [`Lanes::used`] was said.
    pub fn leave(&mut self, lane: Lane, used: bool, now_us: i64) {
        self.at_work = self.at_work.saturating_sub(1);
        for key in lane.pools() {
            self.leave_pool(key, used, now_us);
        }
    }

    /// Gives one limit back.
    pub fn leave_pool(&mut self, key: PoolKey, used: bool, now_us: i64) {
        if let Some(pool) = self.pools.get_mut(&key) {
            pool.at_work = pool.at_work.saturating_sub(1);
            if !used {
                pool.spoken_for = pool.spoken_for.saturating_sub(1);
            }
        }
        self.refresh(key, now_us);
        self.forget_idle(key);
    }

    /// Takes somebody out who waits.
    pub fn remove(&mut self, ticket: Ticket, now_us: i64) -> Option<T> {
        let item = self.remove_at(ticket.lane, ticket.order)?;
        self.refresh_line(ticket.lane, now_us);
        ticket.lane.pools().for_each(|key| self.forget_idle(key));
        self.tidy_rounds();
        Some(item)
    }

    /// The limits of a flow or connection are others now.
    pub fn set_limits(&mut self, owner: [u8; 16], now_us: i64, of: &dyn Fn(PoolKey, Limit) -> Limit) {
        let keys: Vec<PoolKey> =
            self.pools.iter().filter(|(_, pool)| pool.owner == owner).map(|(key, _)| *key).collect();
        for key in keys {
            if let Some(pool) = self.pools.get_mut(&key) {
                pool.limit = of(key, pool.limit);
            }
            self.refresh(key, now_us);
        }
    }

    /// When somebody's turn may come by itself, in microseconds: it has come already if a look at the limits found
    /// room and nobody asked whose turn it is since.
    #[must_use]
    pub fn wakes_us(&self) -> Option<i64> {
        if !self.ready.is_empty() && self.at_work < self.most {
            return Some(0);
        }
        self.sleeping.first().map(|(at, _)| *at)
    }

    /// Why somebody waits, and how many wait before it behind the same limits.
    #[must_use]
    pub fn why(&self, ticket: Ticket) -> (Behind, usize) {
        let ahead =
            self.lines.get(&ticket.lane).map_or(0, |line| line.items.range(..ticket.order).take(AHEAD_MAX).count());
        for key in ticket.lane.pools() {
            let Some(pool) = self.pools.get(&key) else { continue };
            if let Some(most) = pool.limit.most.filter(|most| pool.at_work >= *most) {
                return (Behind::Full(key, pool.at_work, most), ahead);
            }
            if let Some(rate) = pool.limit.rate.filter(|rate| pool.window.left(*rate) <= pool.spoken_for) {
                return (Behind::Rate(key, rate, pool.window.next_us(rate, pool.spoken_for)), ahead);
            }
        }
        (Behind::Places, ahead)
    }

    /// Everybody who waits, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Ticket, &T)> {
        self.lines.iter().flat_map(|(lane, line)| {
            line.items.iter().map(|(order, item)| (Ticket { lane: *lane, order: *order }, item))
        })
    }

    /// Forgets limits that nobody uses or waits for and whose rates are used up by nothing.
    pub fn tidy(&mut self, now_us: i64) {
        let keys: Vec<PoolKey> = self.pools.keys().copied().collect();
        for key in keys {
            if let Some(pool) = self.pools.get_mut(&key)
                && let Some(rate) = pool.limit.rate
            {
                pool.window.settle(rate, now_us);
            }
            self.forget_idle(key);
        }
        if self.pools.len() > IDLE_MAX {
            // What was used just now may not be stored yet.
            let stored = now_us.saturating_sub(JUST_NOW_US);
            let in_use = |pool: &Pool| pool.at_work > 0 || pool.waiting > 0 || pool.spoken_for > 0;
            self.pools.retain(|_, pool| in_use(pool) || pool.window.last_us() > stored);
        }
    }

    fn limit(&mut self, ask: Ask, now_us: i64) {
        let pool = self.pools.entry(ask.key).or_default();
        if (pool.owner, pool.limit) != (ask.owner, ask.limit) {
            (pool.owner, pool.limit) = (ask.owner, ask.limit);
            self.refresh(ask.key, now_us);
        }
    }

    fn take(&mut self, lane: Lane, now_us: i64) {
        self.at_work += 1;
        for key in lane.pools() {
            if let Some(pool) = self.pools.get_mut(&key) {
                pool.at_work = pool.at_work.saturating_add(1);
                pool.spoken_for = pool.spoken_for.saturating_add(1);
            }
            self.refresh(key, now_us);
        }
    }

    fn remove_at(&mut self, lane: Lane, order: Order) -> Option<T> {
        let item = self.lines.get_mut(&lane)?.items.remove(&order)?;
        self.waiting -= 1;
        for key in lane.pools() {
            if let Some(pool) = self.pools.get_mut(&key) {
                pool.waiting = pool.waiting.saturating_sub(1);
            }
        }
        Some(item)
    }

    /// Rounds count only while somebody waits.
    fn tidy_rounds(&mut self) {
        if self.waiting == 0 {
            self.rounds.clear();
            self.round.clear();
        }
    }

    fn forget_idle(&mut self, key: PoolKey) {
        let idle = self.pools.get(&key).is_some_and(|pool| {
            pool.at_work == 0 && pool.waiting == 0 && pool.spoken_for == 0 && pool.window.used() == 0
        });
        if idle && let Some(pool) = self.pools.remove(&key) {
            if let Some(at) = pool.wakes_us {
                self.sleeping.remove(&(at, key));
            }
            if let Some(order) = pool.offered {
                self.ready.remove(&(order, Source::Wide(key)));
            }
        }
    }

    fn has_room(&mut self, key: PoolKey, now_us: i64) -> bool {
        let Some(pool) = self.pools.get_mut(&key) else { return true };
        if has(Bug::LimitIsIgnored) {
            return true;
        }
        if let Some(rate) = pool.limit.rate {
            pool.window.settle(rate, now_us);
        }
        !pool.is_full() && pool.limit.rate.is_none_or(|rate| pool.window.left(rate) > pool.spoken_for)
    }

    /// A limit changed, or how many wait for it: whoever it is offered to, or not any more.
    fn refresh(&mut self, key: PoolKey, now_us: i64) {
        let room = self.has_room(key, now_us);
        let Some(pool) = self.pools.get_mut(&key) else { return };
        // Only somebody who waits is worth waking for, and not while only one that leaves makes room. The window was
        // settled: the time lies ahead, or whoever is woken would be woken for ever.
        let wakes = pool.limit.rate.filter(|_| !room && pool.waiting > 0 && !pool.is_full());
        let wakes = wakes.and_then(|rate| pool.window.next_us(rate, pool.spoken_for));
        if wakes != pool.wakes_us {
            if let Some(at) = std::mem::replace(&mut pool.wakes_us, wakes) {
                self.sleeping.remove(&(at, key));
            }
            self.sleeping.extend(wakes.map(|at| (at, key)));
        }
        // However many they are, they are looked at only when it is another answer.
        let lanes: Vec<Lane> = match std::mem::replace(&mut pool.had_room, room) == room {
            true => Vec::new(),
            false => pool.lanes.iter().copied().collect(),
        };
        for lane in lanes {
            self.offer(lane, now_us);
        }
        self.refresh_wide(key, room);
    }

    /// Somebody came into a line or left it.
    fn refresh_line(&mut self, lane: Lane, now_us: i64) {
        // How many wait decides whether a rate wakes somebody.
        for key in lane.pools() {
            self.refresh(key, now_us);
        }
        self.offer(lane, now_us);
        if self.lines.get(&lane).is_some_and(|line| line.items.is_empty()) {
            self.lines.remove(&lane);
            if let Some(pool) = lane.narrow.and_then(|key| self.pools.get_mut(&key)) {
                pool.lanes.remove(&lane);
            }
        }
    }

    /// The first of a line is offered while its narrow limit has room, as of the last [`Lanes::refresh`].
    fn offer(&mut self, lane: Lane, now_us: i64) {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        let room = lane.narrow.and_then(|key| self.pools.get(&key)).is_none_or(|pool| pool.had_room);
        let Some(line) = self.lines.get_mut(&lane) else { return };
        let wanted = line.items.first_key_value().map(|(order, _)| *order).filter(|_| room);
        let before = std::mem::replace(&mut line.offered, wanted);
        if before == wanted {
            return;
        }
        match lane.wide {
            Some(key) => {
                if let Some(pool) = self.pools.get_mut(&key) {
                    if let Some(order) = before {
                        pool.heads.remove(&(order, lane));
                    }
                    pool.heads.extend(wanted.map(|order| (order, lane)));
                }
                let room = self.has_room(key, now_us);
                self.refresh_wide(key, room);
            }
            None => {
                if let Some(order) = before {
                    self.ready.remove(&(order, Source::Lane(lane)));
                }
                self.ready.extend(wanted.map(|order| (order, Source::Lane(lane))));
            }
        }
    }

    fn refresh_wide(&mut self, key: PoolKey, room: bool) {
        let Some(pool) = self.pools.get_mut(&key) else { return };
        let wanted = pool.heads.first().map(|(order, _)| *order).filter(|_| room);
        let before = std::mem::replace(&mut pool.offered, wanted);
        if before != wanted {
            if let Some(order) = before {
                self.ready.remove(&(order, Source::Wide(key)));
            }
            self.ready.extend(wanted.map(|order| (order, Source::Wide(key))));
        }
    }

    /// Rates that have room again.
    fn wake(&mut self, now_us: i64) {
        while let Some((at, key)) = self.sleeping.first().copied().filter(|(at, _)| *at <= now_us) {
            self.sleeping.remove(&(at, key));
            if let Some(pool) = self.pools.get_mut(&key) {
                pool.wakes_us = None;
            }
            self.refresh(key, now_us);
        }
    }
}

#[cfg(test)]
mod tests;
