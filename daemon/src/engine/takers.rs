//! Events from inside on their way to the flows that take them.
//!
//! A note of each stands in the inbox until the flow has it; note and what becomes of it are one transaction. The
//! invariant: only so many of the notes are in memory, by name, and few of them are worked at. What is beyond is looked
//! for in the store once there is room, and who cannot be taken makes room for it; so no note is forgotten until the
//! next start, however many there are. [`super::emitted`] leaves the notes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aura_protocol::source::{BACKFILL, POLL};
use aura_protocol::{EventId, RunId, TenantId};
use aura_storage::rows::InboxRow;
use aura_storage::{Key, Table, Txn};
use futures::StreamExt;
use tokio::sync::Semaphore;

use super::child::told;
use super::driver::{Driver, EngineError, lock};
use super::{Intake, Published, Refusal};

/// Names in memory at most.
const NAMES_MAX: usize = if cfg!(test) { 16 } else { 1024 };
/// Notes worked at.
const AT_ONCE: usize = 64;
/// Rows of the inbox gone through in one piece.
const PAGE: usize = 64;
/// A taker that cannot take now is tried again after this time, and later after longer ones.
const AGAIN: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 500 });
/// But not after longer ones than this.
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// The notes in memory.
#[derive(Debug)]
pub(crate) struct Taking {
    names: HashSet<EventId>,
    /// The store may have notes whose names are not here.
    more: bool,
    /// Somebody looks for them.
    looking: bool,
    /// Where the next look begins.
    from: Option<Key>,
    places: Arc<Semaphore>,
    #[cfg(test)]
    pub most: usize,
}

impl Default for Taking {
    fn default() -> Self {
        Self {
            names: HashSet::new(),
            more: false,
            looking: false,
            from: None,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            #[cfg(test)]
            most: 0,
        }
    }
}

impl Taking {
    fn is_full(&self) -> bool {
        self.names.len() >= NAMES_MAX
    }

    /// Whether whoever could wait had better not leave more notes now.
    pub fn is_busy(&self) -> bool {
        self.more || self.names.len() >= NAMES_MAX / 2
    }

    /// Whether somebody has to be found for this note: not if it is known, nor if it is left in the store for now.
    fn comes(&mut self, event: EventId) -> bool {
        if self.names.contains(&event) {
            return false;
        }
        if self.is_full() {
            self.more = true;
            return false;
        }
        self.names.insert(event);
        #[cfg(test)]
        {
            self.most = self.most.max(self.names.len());
        }
        true
    }

    /// A note that could not be taken makes room for others, and is found again in the store.
    fn gives_way(&mut self, event: EventId) -> bool {
        self.more && self.names.remove(&event)
    }

    /// Whether the store is to be looked through now; then [`Taking::looked`] has to follow.
    fn begins_look(&mut self) -> bool {
        let begins = self.more && !self.looking && self.names.len() <= NAMES_MAX / 2;
        if begins {
            (self.looking, self.more) = (true, false);
        }
        begins
    }

    /// A look ended: at this note if there was no room for it.
    fn looked(&mut self, at: Option<Key>) {
        self.looking = false;
        self.more |= at.is_some();
        self.from = at;
    }
}

impl Driver {
    /// Has a flow take an event; its note goes with what becomes of it.
    pub(crate) fn spawn_taken(self: &Arc<Self>, tenant: TenantId, key: Key, event: EventId) {
        // A look through the notes may find one that was just left.
        let places = {
            let mut taking = lock(&self.taking);
            if !taking.comes(event) {
                return;
            }
            Arc::clone(&taking.places)
        };
        let driver = Arc::clone(self);
        self.tasks.spawn(async move {
            driver.take_until_taken(tenant, &key, event, &places).await;
            let looks = {
                let mut taking = lock(&driver.taking);
                taking.names.remove(&event);
                taking.begins_look()
            };
            if looks {
                driver.spawn_look(tenant);
            }
        });
    }

    /// Has flows take events one after the other, in this order; returns when all of them are taken.
    pub(crate) async fn take_in_order(self: &Arc<Self>, tenant: TenantId, notes: Vec<(Key, EventId)>) {
        for (key, event) in notes {
            let places = {
                let mut taking = lock(&self.taking);
                if !taking.comes(event) {
                    // Somebody has it, or there is no room: it is found in the store later.
                    continue;
                }
                Arc::clone(&taking.places)
            };
            self.take_until_taken(tenant, &key, event, &places).await;
            let looks = {
                let mut taking = lock(&self.taking);
                taking.names.remove(&event);
                taking.begins_look()
            };
            if looks {
                self.spawn_look(tenant);
            }
        }
    }

    async fn take_until_taken(self: &Arc<Self>, tenant: TenantId, key: &Key, event: EventId, places: &Semaphore) {
        let mut again = AGAIN;
        loop {
            let place = tokio::select! {
                // The note is there: the next start goes on.
                () = self.stopping.cancelled() => return,
                () = self.retired.cancelled() => return,
                place = async { self.may_start().await; places.acquire().await } => place,
            };
            // In a box: whoever waits is small.
            let taken = Box::pin(self.taken(tenant, key)).await;
            drop(place);
            let Err(why) = taken else { return };
            if self.retired.is_cancelled() {
                return;
            }
            // The first try may only have come at a bad moment, and of many events there are many.
            if again == AGAIN {
                tracing::debug!(%event, why, "an event of ours is not taken yet; it is tried again");
            } else {
                tracing::warn!(%event, why, "an event of ours is still not taken; it is tried again");
            }
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = self.retired.cancelled() => return,
                () = tokio::time::sleep(again) => again = (again * 2).min(AGAIN_MAX),
            }
            if lock(&self.taking).gives_way(event) {
                return;
            }
        }
    }

    /// Takes an event once; why not, if it can be tried again.
    async fn taken(self: &Arc<Self>, tenant: TenantId, key: &Key) -> Result<(), String> {
        let said = |error: EngineError| error.to_string();
        let noted = self.deps.store.get::<InboxRow>(tenant, Table::Inbox, key).map_err(|error| error.to_string())?;
        let Some(InboxRow::Event { flow: id, delivery }) = noted else { return Ok(()) };
        let Some(place) = self.admission.enter(self.admission.asks()).await else {
            return Err("too much at once".to_owned());
        };
        let permit = self.deps.store.reserve().await.map_err(|error| error.to_string())?;
        let published = self.deps.flows.published(tenant, id);
        let of = |flow: &Published| flow.flow.triggers.iter().position(|known| known.id == delivery.trigger);
        // What a source read is known by its key and read no more: while its flow is off it is held, not dropped.
        let held = matches!(delivery.method.as_str(), POLL | BACKFILL);
        let takes = |flow: &&Published| flow.enabled || held;
        let found = published.as_ref().filter(takes).and_then(|flow| Some((of(flow)?, flow.clone())));
        let Some((trigger, flow)) = found else {
            let mut txn = Txn::new();
            txn.delete(Table::Inbox, key.clone());
            if let Some(flow) = published {
                let reason = "its flow does not take it any more".to_owned();
                self.drop_event(tenant, &flow.name, &delivery, reason, &mut txn).map_err(said)?;
            }
            return permit.submit(txn).committed().await.map(drop).map_err(|error| error.to_string());
        };
        let shown = delivery.to_trigger();
        let intake = Intake {
            tenant,
            flow,
            trigger,
            delivery: *delivery,
            shown,
            delivery_id: None,
            anew: false,
            note: Some(key.clone()),
            relayed: None,
        };
        match self.accept(intake, permit, place).await {
            Ok(_) => Ok(()),
            Err(Refusal::Store(why)) => Err(why),
            Err(other) => Err(other.to_string()),
        }
    }

    fn spawn_look(self: &Arc<Self>, tenant: TenantId) {
        let driver = Arc::clone(self);
        self.tasks.spawn(async move {
            loop {
                let from = lock(&driver.taking).from.take();
                let mut stopped_at = driver.look_for_notes(tenant, from);
                if let Err(error) = &stopped_at {
                    tracing::error!(%error, "events of ours that wait could not be read; they are tried again");
                    stopped_at = Ok(Some(Key::tenant(tenant)));
                    tokio::select! {
                        () = driver.stopping.cancelled() => return,
                        () = driver.retired.cancelled() => return,
                        () = tokio::time::sleep(AGAIN_MAX) => {}
                    }
                }
                let mut taking = lock(&driver.taking);
                taking.looked(stopped_at.ok().flatten());
                // Left meanwhile, or there is room by now.
                if !taking.begins_look() {
                    return;
                }
            }
        });
    }

    /// Goes through all notes once, beginning somewhere; gives the first one for which there was no room.
    fn look_for_notes(self: &Arc<Self>, tenant: TenantId, from: Option<Key>) -> Result<Option<Key>, EngineError> {
        let first = Key::tenant(tenant);
        let (end, from) = (first.after_prefix(), from.unwrap_or_else(|| first.clone()));
        for (mut from, to) in [(from.clone(), end), (first, from)] {
            while from < to {
                let keys = self.deps.store.keys(Table::Inbox, &from, &to, PAGE)?;
                let Some(last) = keys.last() else { break };
                from = last.next();
                for key in keys {
                    if lock(&self.taking).is_full() {
                        return Ok(Some(key));
                    }
                    let row: Option<InboxRow> = self.deps.store.get(tenant, Table::Inbox, &key)?;
                    if let Some(InboxRow::Event { delivery, .. }) = row {
                        self.spawn_taken(tenant, key, delivery.event);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Hands over everything that waits in inboxes when the engine goes on.
    pub(crate) async fn go_through_inbox(self: &Arc<Self>, tenant: TenantId) -> Result<(), EngineError> {
        let mut from = Key::tenant(tenant);
        let to = from.after_prefix();
        loop {
            let keys = self.deps.store.keys(Table::Inbox, &from, &to, PAGE)?;
            let Some(last) = keys.last() else { return Ok(()) };
            from = last.next();
            let mut handed = Vec::new();
            for key in keys {
                let row: Option<InboxRow> = self.deps.store.get(tenant, Table::Inbox, &key)?;
                match (row, key.id_at(16).map(RunId::from_bytes), key.id_at(32)) {
                    (Some(InboxRow::Meet { hash }), _, Some(owner)) => self.spawn_meet(tenant, hash, owner),
                    (Some(InboxRow::Event { delivery, .. }), ..) => self.spawn_taken(tenant, key, delivery.event),
                    (Some(row), Some(to), _) => handed.extend(told(row).map(|input| (key, to, input))),
                    _ => {}
                }
            }
            let hand = |(key, to, input)| async move {
                let mut taken = Txn::new();
                taken.delete(Table::Inbox, key);
                self.carried(tenant, to, input, taken).await;
            };
            futures::stream::iter(handed).for_each_concurrent(AT_ONCE, hand).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: usize) -> EventId {
        EventId::from_bytes(u128::try_from(number).unwrap().to_be_bytes())
    }

    #[test]
    fn what_is_beyond_the_names_is_looked_for_once_there_is_room() {
        let mut taking = Taking::default();
        assert!((0..NAMES_MAX).all(|number| taking.comes(event(number))));
        assert!(!taking.comes(event(0)) && !taking.more, "it is known");
        assert!(!taking.gives_way(event(0)), "nobody else waits");
        assert!(!taking.comes(event(NAMES_MAX)) && taking.more, "it stays in the store");
        assert!(!taking.begins_look(), "there is no room");
        assert!((0..=NAMES_MAX / 2).all(|number| taking.gives_way(event(number))));
        assert!(taking.begins_look() && !taking.begins_look(), "one look at a time");
        // Full again before its end, or one was left that it did not see.
        taking.looked(Some(Key::new()));
        assert!(taking.begins_look() && taking.from == Some(Key::new()));
        taking.looked(None);
        assert!(!taking.begins_look(), "all are known");
    }
}
