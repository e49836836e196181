//! Whose turn it is: one lane for each subscription, in memory; what waits in it stands in the store.
//!
//! Invariants: a lane keeps a handful of names however much waits; a receiver that is slow or silent, or has not
//! answered yet, shares half of the places with its like and never takes those of the others; in an ordered lane
//! nothing is sent beside another. Pure: it says for which lane the store is to be read, and nobody holds it meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use aura_protocol::{MessageId, SubscriptionId};
use aura_storage::rows::outgoing::{HealthRow, SubscriptionRecord};

use crate::engine::limits::{Rate, us, window::Window};

/// Sendings that a lane names beside those at work and settling.
pub(super) const READY: usize = 32;
/// A lane that sends much names so many times what it sends at the same time: each reading meets again what is at work
/// and settling.
const READY_EACH: usize = 16;
/// So many times what a lane sends at the same time may be on the way into the store, then it waits for that. A
/// receiver answers ten times while a group is written.
const SETTLING: usize = 16;
/// A lane begins with so many at the same time, and falls back to them when its receiver is slow.
const FIRST: usize = 4;
/// A receiver that answers within this time is in nobody's way.
const QUICK: Duration = Duration::from_secs(2);

/// A sending that waits, as its due row names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    /// The time in the key of its row.
    pub due_ms: i64,
    /// The message.
    pub message: MessageId,
}

/// What the store says of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// What may be sent now.
    pub due: Vec<Due>,
    /// Else when something may be.
    pub next_ms: Option<i64>,
}

/// Where a lane is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Nothing waits that is not at work, or all its places are taken.
    #[default]
    Nowhere,
    /// Among those who may have something to send.
    Hot,
    /// Among those who wait for a place of the slow ones.
    Cold,
    /// Until then there is nothing, in Unix milliseconds.
    Timed(i64),
    /// What waits in it is being read; whether something came meanwhile.
    Reading(bool),
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This is to be sent; its place is taken.
    Send(SubscriptionId, Due),
    /// What waits in this lane is to be read, then [`Lanes::filled`] has to follow.
    Read {
        /// Which.
        id: SubscriptionId,
        /// Only its first row counts.
        ordered: bool,
        /// So many rows.
        room: usize,
    },
    /// Nothing now.
    Nothing,
}

/// One subscription.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// It is sent to.
    on: bool,
    ordered: bool,
    rate: Option<Rate>,
    used: Window,
    /// How it fares.
    pub health: HealthRow,
    /// Its receiver answered quickly.
    quick: bool,
    /// So many at the same time.
    window: usize,
    /// At work; whether each counts among the slow ones.
    at_work: BTreeMap<MessageId, bool>,
    /// Answered, and what became of them is on its way into the store; their due rows are still there.
    settling: BTreeSet<MessageId>,
    ready: VecDeque<Due>,
    place: Place,
}

impl Lane {
    /// Its due row is looked after already.
    fn is_at_work(&self, message: MessageId) -> bool {
        self.at_work.contains_key(&message) || self.settling.contains(&message)
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: HashMap<SubscriptionId, Lane>,
    hot: VecDeque<SubscriptionId>,
    cold: VecDeque<SubscriptionId>,
    timed: BTreeSet<(i64, SubscriptionId)>,
    at_work: usize,
    slow: usize,
    most: usize,
    each: usize,
    /// The newest message: ids of messages only grow.
    newest: u128,
}

/// How an attempt went, as far as places are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    /// It took so long.
    Answered(Duration),
    /// No answer came in time.
    Silent,
    /// Nothing was sent: look again only after this time, in Unix milliseconds.
    Nothing(i64),
}

impl Lanes {
    pub fn new(most: usize, each: usize) -> Self {
        Self {
            lanes: HashMap::new(),
            hot: VecDeque::new(),
            cold: VecDeque::new(),
            timed: BTreeSet::new(),
            at_work: 0,
            slow: 0,
            most: most.max(2),
            each: each.max(1),
            newest: 0,
        }
    }

    /// The id of a new message: greater than every one before, whatever the clock says.
    pub fn message(&mut self, now_ms: i64, random: [u8; 10]) -> MessageId {
        let wanted = MessageId::from_parts(u64::try_from(now_ms).unwrap_or(0), &random);
        self.newest = u128::from_be_bytes(wanted.bytes()).max(self.newest.saturating_add(1));
        MessageId::from_bytes(self.newest.to_be_bytes())
    }

    /// A message that was made before this start.
    pub fn made(&mut self, message: MessageId) {
        self.newest = self.newest.max(u128::from_be_bytes(message.bytes()));
    }

    /// A subscription is as this record says, or none any more.
    pub fn configure(&mut self, id: SubscriptionId, record: Option<&SubscriptionRecord>) {
        let lane = self.lanes.entry(id).or_default();
        lane.on = record.is_some_and(|record| record.enabled);
        if let Some(record) = record {
            lane.ordered = record.ordered;
            let rate = record.rate.as_deref().and_then(|text| aura_protocol::flow::Rate::read(text).ok());
            let rate = rate.as_ref().map(Rate::from);
            if lane.rate != rate {
                (lane.rate, lane.used) = (rate, Window::default());
            }
        }
        lane.ready.clear();
        self.heat(id);
    }

    /// How a subscription fares.
    pub fn health(&self, id: SubscriptionId) -> HealthRow {
        self.lanes.get(&id).map(|lane| lane.health).unwrap_or_default()
    }

    /// It fares so from now on.
    pub fn fares(&mut self, id: SubscriptionId, health: HealthRow) {
        self.lanes.entry(id).or_default().health = health;
        self.heat(id);
    }

    /// Whether a subscription of this record is sent to now.
    pub fn is_on(&self, record: &SubscriptionRecord) -> bool {
        record.enabled && self.lanes.get(&record.id).is_none_or(|lane| lane.health.disabled.is_none())
    }

    /// Whether a sending is at work, or not yet recorded.
    pub fn is_at_work(&self, id: SubscriptionId, message: MessageId) -> bool {
        self.lanes.get(&id).is_some_and(|lane| lane.is_at_work(message))
    }

    /// Attempts at work.
    pub fn at_work(&self) -> usize {
        self.at_work
    }

    /// When a lane is looked at again, if not now.
    pub fn looks_ms(&self, id: SubscriptionId) -> Option<i64> {
        match self.lanes.get(&id)?.place {
            Place::Timed(at) => Some(at),
            _ => None,
        }
    }

    /// Something may have come into a lane.
    pub fn heat(&mut self, id: SubscriptionId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        match lane.place {
            Place::Hot | Place::Cold => return,
            Place::Reading(_) => {
                lane.place = Place::Reading(true);
                return;
            }
            Place::Timed(at) => {
                self.timed.remove(&(at, id));
            }
            Place::Nowhere => {}
        }
        lane.place = Place::Hot;
        self.hot.push_back(id);
    }

    fn time(&mut self, id: SubscriptionId, at_ms: i64) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.place = Place::Timed(at_ms);
            self.timed.insert((at_ms, id));
        }
    }

    /// When the next lane is to be looked at; none: only when something happens.
    pub fn next_ms(&self) -> Option<i64> {
        self.timed.first().map(|(at, _)| *at)
    }

    /// What is to be done now.
    pub fn next(&mut self, now_ms: i64) -> Next {
        while let Some((at, id)) = self.timed.first().copied().filter(|(at, _)| *at <= now_ms) {
            self.timed.remove(&(at, id));
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.place = Place::Hot;
                self.hot.push_back(id);
            }
        }
        while let Some(id) = self.hot.pop_front() {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            lane.place = Place::Nowhere;
            let places = match lane.ordered {
                true => 1,
                false => lane.window.max(FIRST).min(self.each),
            };
            let taken = lane.at_work.len() + if lane.ordered { lane.settling.len() } else { 0 };
            if !lane.on || lane.health.disabled.is_some() || taken >= places {
                continue;
            }
            // The store is behind: each that is settled looks here again.
            if lane.settling.len() >= SETTLING * self.each {
                continue;
            }
            if self.at_work >= self.most {
                lane.place = Place::Hot;
                self.hot.push_front(id);
                return Next::Nothing;
            }
            if !lane.quick && self.slow >= (self.most / 2).max(1) {
                lane.place = Place::Cold;
                self.cold.push_back(id);
                continue;
            }
            if let Some(rate) = lane.rate {
                lane.used.settle(rate, us(now_ms));
                if let Some(free_us) = lane.used.next_us(rate, 0) {
                    self.time(id, free_us / 1000 + 1);
                    continue;
                }
            }
            if lane.ready.is_empty() {
                lane.place = Place::Reading(false);
                let names = if lane.ordered { 1 } else { READY.max(READY_EACH * lane.window) };
                let room = names + lane.at_work.len() + lane.settling.len();
                return Next::Read { id, ordered: lane.ordered, room };
            }
            let Some(due) = lane.ready.pop_front() else { continue };
            if let Some(rate) = lane.rate {
                lane.used.take(rate, us(now_ms));
            }
            lane.at_work.insert(due.message, !lane.quick);
            self.slow += usize::from(!lane.quick);
            self.at_work += 1;
            lane.place = Place::Hot;
            self.hot.push_back(id);
            return Next::Send(id, due);
        }
        Next::Nothing
    }

    /// What waits in a lane was read. What has been sent since is among it and is found to be over when it is looked at.
    pub fn filled(&mut self, id: SubscriptionId, page: Page, now_ms: i64) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Place::Reading(came) = lane.place else { return };
        lane.ready = page.due.into_iter().filter(|due| !lane.is_at_work(due.message)).collect();
        lane.place = Place::Nowhere;
        match page.next_ms.filter(|_| lane.ready.is_empty() && !came) {
            Some(next) => self.time(id, next.max(now_ms + 1)),
            None if came || !lane.ready.is_empty() => self.heat(id),
            None => {}
        }
    }

    /// An attempt was answered, and what became of it is on its way into the store: its place is free before that is
    /// there, and [`Lanes::ended`] follows then. In an ordered lane nothing may overtake it, so it keeps its place.
    pub fn answered(&mut self, id: SubscriptionId, message: MessageId, went: Went) {
        if self.lanes.get(&id).is_none_or(|lane| lane.ordered) || !self.gives_back(id, message, went) {
            return;
        }
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.settling.insert(message);
        }
        self.heat(id);
    }

    /// Gives a place back; whether it was taken.
    fn gives_back(&mut self, id: SubscriptionId, message: MessageId, went: Went) -> bool {
        let Some(lane) = self.lanes.get_mut(&id) else { return false };
        let Some(was_slow) = lane.at_work.remove(&message) else { return false };
        self.at_work = self.at_work.saturating_sub(1);
        match went {
            Went::Answered(took) if took <= QUICK => {
                lane.quick = true;
                lane.window = (lane.window.max(FIRST) * 2).min(self.each);
            }
            Went::Answered(_) | Went::Silent => {
                lane.quick = false;
                lane.window = FIRST;
            }
            Went::Nothing(_) => {}
        }
        if was_slow {
            self.slow = self.slow.saturating_sub(1);
            // All of them: whoever is looked at first may have nothing to send any more.
            while let Some(next) = self.cold.pop_front() {
                if let Some(lane) = self.lanes.get_mut(&next) {
                    lane.place = Place::Hot;
                    self.hot.push_back(next);
                }
            }
        }
        true
    }

    /// An attempt is over and recorded, or could not be: nothing of it is held any more. Whether somebody has to look
    /// what can be sent now.
    pub fn ended(&mut self, id: SubscriptionId, message: MessageId, went: Went) -> bool {
        let full = SETTLING * self.each;
        let Some(lane) = self.lanes.get_mut(&id) else { return false };
        let was_full = lane.settling.len() >= full;
        if lane.settling.remove(&message) {
            // With names left and attempts at work the end of one of these looks here, and the store is read after the
            // last name.
            let goes_on = !was_full && !lane.ready.is_empty() && !lane.at_work.is_empty();
            if goes_on && matches!(went, Went::Answered(_)) {
                return false;
            }
        } else if !self.gives_back(id, message, went) {
            return false;
        }
        match (went, self.lanes.get_mut(&id)) {
            (Went::Nothing(again_ms), Some(lane))
                if again_ms > 0 && !matches!(lane.place, Place::Cold | Place::Reading(_)) =>
            {
                lane.ready.clear();
                if let Place::Timed(at) = lane.place {
                    self.timed.remove(&(at, id));
                }
                self.hot.retain(|other| *other != id);
                self.time(id, again_ms);
            }
            _ => self.heat(id),
        }
        true
    }
}

#[cfg(test)]
mod tests;
