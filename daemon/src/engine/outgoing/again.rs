//! What people ask for: a test, sending again (one, by filter, or all that failed or was missed since a time), giving up.
//!
//! Invariant: one call does a bounded piece in one commit and says where to go on; a plan changes nothing.

use std::sync::Arc;
use std::time::Instant;

use aura_protocol::outgoing::{Resend, Resent, SendingRef, SendingState, TEST_TYPE, concerns, takes};
use aura_protocol::rpc::Actor;
use aura_protocol::{Code, MessageId, SubscriptionId, TenantId, Value, WireError};
use aura_storage::rows::outgoing::{
    DueRow, MessageRow, SendingRow, SubscriptionRecord, due_key, message_key, sending_key, subscription_key,
    waiting_key,
};
use aura_storage::{CommitError, Key, ReadError, Table, Txn};
use serde::de::DeserializeOwned;

use super::judge::{self, Verdict};
use super::lanes::Due;
use super::message_at;
use crate::engine::driver::{Driver, EngineError, lock};
use crate::engine::{Engine, no_references};

/// Rows looked at by one call.
const PIECE: usize = 500;
/// Messages named in a reply.
const FIRST: usize = 10;
/// A piece is done so often while others move its rows.
const TRIES: usize = 5;

/// The least id of a message made at this time or later.
pub fn first_at(unix_ms: i64) -> MessageId {
    let mut bytes = MessageId::from_parts(u64::try_from(unix_ms).unwrap_or(0), &[0; 10]).bytes();
    // Of an id of that time only the time itself counts.
    if let Some(rest) = bytes.get_mut(6..) {
        rest.fill(0);
    }
    MessageId::from_bytes(bytes)
}

impl Driver {
    fn row<T: DeserializeOwned>(&self, tenant: TenantId, table: Table, key: &Key) -> Result<Option<T>, EngineError> {
        match self.deps.store.get(tenant, table, key) {
            Ok(row) => Ok(row),
            Err(error @ ReadError::Corrupt { .. }) => {
                tracing::error!(%error, "a row of outgoing webhooks is damaged and is left out");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a test event, once and at once, and records it.
    async fn test_subscription(
        self: &Arc<Self>,
        tenant: TenantId,
        record: Arc<SubscriptionRecord>,
        (kind, data, by): (String, Value, String),
    ) -> Result<MessageId, EngineError> {
        let now_ms = self.deps.clock.now_ms();
        let body = super::offer::envelope(&kind, now_ms, &data);
        let random = aura_storage::random::draw().unwrap_or_default();
        let message = lock(&self.sends.lanes).message(now_ms, random);
        let began = Instant::now();
        let said = self.posted(&record, message, body.clone()).await;
        let took_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
        let attempt = judge::attempt(1, now_ms, took_ms, &said);
        // One attempt only: somebody looks at it right now.
        let verdict = match judge::verdict(&said, 1, &[], now_ms, 0) {
            Verdict::Gone => Verdict::Failed,
            verdict => verdict,
        };
        let row = SendingRow {
            kind: kind.clone(),
            state: SendingState::Waiting,
            created_ms: now_ms,
            due_ms: None,
            next_ms: None,
            tries: 0,
            attempted: 0,
            attempts: Vec::new(),
            reason: String::new(),
        };
        let mut row = judge::after(&row, attempt, verdict, false);
        if row.state == SendingState::Failed {
            row.reason = "a test is tried once".to_owned();
        }
        let message_row = MessageRow { kind, customer: None, body, created_ms: now_ms, by, test: true, shown: None };
        let mut txn = Txn::new();
        self.deps.store.put(&mut txn, tenant, Table::Messages, message_key(tenant, message), &message_row)?;
        self.deps.store.put(&mut txn, tenant, Table::Sendings, sending_key(tenant, record.id, message), &row)?;
        self.deps.store.commit(txn).await?;
        Ok(message)
    }

    /// Sends again what fits, a piece of it.
    async fn resend(
        self: &Arc<Self>,
        tenant: TenantId,
        to: Arc<SubscriptionRecord>,
        ask: Resend,
    ) -> Result<Resent, EngineError> {
        let _one = self.sends.asked.lock().await;
        let first = ask.since_ms.map_or(MessageId::from_bytes([0; 16]), first_at);
        let end = ask.until_ms.map_or(MessageId::from_bytes([255; 16]), first_at);
        let (table, prefix) = match ask.missing && ask.message.is_none() {
            true => (Table::Messages, Key::tenant(tenant)),
            false => (Table::Sendings, subscription_key(tenant, to.id)),
        };
        let from = match (ask.message, ask.after) {
            (Some(message), _) => prefix.clone().id(message.bytes()),
            (None, Some(after)) => prefix.clone().id(after.bytes()).next(),
            (None, None) => prefix.clone().id(first.bytes()),
        };
        let until = match ask.message {
            Some(message) => prefix.clone().id(message.bytes()).next(),
            None => prefix.clone().id(end.bytes()),
        };
        let keys = self.deps.store.keys(table, &from, &until, PIECE)?;
        let offset = prefix.0.len();
        let more = keys.len() == PIECE;
        let mut tries = 0;
        loop {
            tries += 1;
            let mut txn = Txn::new();
            let mut resent = self.again(tenant, &to, (&keys, offset), &ask, &mut txn)?;
            resent.next = keys.last().filter(|_| more).and_then(|key| message_at(key, offset));
            if ask.plan || resent.sendings == 0 {
                return Ok(resent);
            }
            match self.deps.store.commit(txn).await {
                Ok(_) => {
                    self.sends.told(&[to.id]);
                    return Ok(resent);
                }
                // One of them was sent meanwhile, or given up: what is still to do is less.
                Err(CommitError::Conflict(_)) if tries < TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What of these rows is sent again.
    fn again(
        &self,
        tenant: TenantId,
        to: &SubscriptionRecord,
        (keys, offset): (&[Key], usize),
        ask: &Resend,
        txn: &mut Txn,
    ) -> Result<Resent, EngineError> {
        let mut resent = Resent::default();
        for key in keys {
            let Some(message) = message_at(key, offset) else { continue };
            let row: Option<SendingRow> = self.row(tenant, Table::Sendings, &sending_key(tenant, to.id, message))?;
            let new = match row {
                Some(row) => self.resent(tenant, to, message, (&row, ask), txn)?,
                None if ask.missing => {
                    let found = self.missed(tenant, to, message, ask, txn)?;
                    resent.missing += u64::from(found);
                    found
                }
                None => false,
            };
            if new {
                resent.sendings += 1;
                if resent.first.len() < FIRST {
                    resent.first.push(message);
                }
            }
        }
        Ok(resent)
    }

    /// Puts a sending into its line anew, if it is asked for.
    fn resent(
        &self,
        tenant: TenantId,
        to: &SubscriptionRecord,
        message: MessageId,
        (row, ask): (&SendingRow, &Resend),
        txn: &mut Txn,
    ) -> Result<bool, EngineError> {
        let asked = match (ask.states.as_slice(), ask.message) {
            ([], Some(_)) => true,
            ([], None) => row.state == SendingState::Failed,
            (states, _) => states.contains(&row.state),
        };
        let fits = ask.kind.as_ref().is_none_or(|pattern| takes(pattern, &row.kind));
        // What is at work just now is sent anyway.
        if !asked || !fits || lock(&self.sends.lanes).is_at_work(to.id, message) {
            return Ok(false);
        }
        let now_ms = self.deps.clock.now_ms();
        // Its turn comes anyway, perhaps at this very moment: it counts and stays as it is.
        let waits = row.state == SendingState::Waiting && row.next_ms.is_some_and(|next| next <= now_ms);
        if waits && ask.message.is_none() {
            return Ok(true);
        }
        let due_ms = if to.ordered { 0 } else { now_ms };
        let next = SendingRow {
            state: SendingState::Waiting,
            due_ms: Some(due_ms),
            next_ms: Some(now_ms),
            tries: 0,
            reason: String::new(),
            ..row.clone()
        };
        match row.due_ms.filter(|_| row.state == SendingState::Waiting) {
            Some(old) => self.settle_sending(tenant, (to.id, Due { due_ms: old, message }), &next, txn)?,
            None => {
                let store = &self.deps.store;
                store.put(txn, tenant, Table::Sendings, sending_key(tenant, to.id, message), &next)?;
                let due = due_key(tenant, to.id, due_ms, message);
                store.put(txn, tenant, Table::SendingsDue, due, &DueRow { next_ms: now_ms })?;
                txn.counters.push((waiting_key(tenant, to.id), 1));
            }
        }
        Ok(true)
    }

    /// A sending of a message that the subscription would have got.
    fn missed(
        &self,
        tenant: TenantId,
        to: &SubscriptionRecord,
        message: MessageId,
        ask: &Resend,
        txn: &mut Txn,
    ) -> Result<bool, EngineError> {
        let row: Option<MessageRow> = self.row(tenant, Table::Messages, &message_key(tenant, message))?;
        let wanted = |row: &MessageRow| {
            !row.test
                && to.types.iter().any(|pattern| takes(pattern, &row.kind))
                && concerns(to.customer.as_deref(), row.customer.as_deref())
                && ask.kind.as_ref().is_none_or(|pattern| takes(pattern, &row.kind))
        };
        let Some(row) = row.filter(wanted) else { return Ok(false) };
        let now_ms = self.deps.clock.now_ms();
        self.begin_sending(tenant, to, message, (&row, now_ms), txn)?;
        Ok(true)
    }

    /// Gives a sending up in a person's name.
    async fn give_up(
        &self,
        tenant: TenantId,
        id: SubscriptionId,
        message: MessageId,
        by: &str,
    ) -> Result<bool, EngineError> {
        let _one = self.sends.asked.lock().await;
        let row: Option<SendingRow> = self.row(tenant, Table::Sendings, &sending_key(tenant, id, message))?;
        let waits = row.and_then(|row| Some((row.due_ms.filter(|_| row.state == SendingState::Waiting)?, row)));
        let Some((due_ms, row)) = waits else { return Ok(false) };
        let reason = format!("given up by {by}");
        let next = SendingRow { state: SendingState::Failed, due_ms: None, next_ms: None, reason, ..row };
        let mut txn = Txn::new();
        self.settle_sending(tenant, (id, Due { due_ms, message }), &next, &mut txn)?;
        self.deps.store.commit(txn).await?;
        self.sends.told(&[id]);
        Ok(true)
    }
}

impl Engine {
    /// Sends a test event; gives the message under which it is recorded.
    ///
    /// # Errors
    /// Nothing may be sent now, the data is none, or not stored. What the receiver does is recorded, not an error.
    pub async fn subscription_test(
        &self,
        actor: &Actor,
        record: Arc<SubscriptionRecord>,
        kind: Option<String>,
        data: Option<Value>,
    ) -> Result<MessageId, WireError> {
        if let Some(why) = self.0.deps.hold.why() {
            let error = WireError::new(Code::Conflict, format!("nothing can be sent now: {}", why.text()));
            return Err(error.hint("`aura status` says when it can"));
        }
        let kind = kind.unwrap_or_else(|| TEST_TYPE.to_owned());
        let data = data.unwrap_or_else(|| {
            Value::object([("test", Value::Bool(true)), ("subscription", Value::from(record.name.as_str()))])
        });
        no_references(&data)?;
        let (tenant, by) = (actor.tenant, format!("test by {}", actor.name));
        self.detached(|driver| async move { driver.test_subscription(tenant, record, (kind, data, by)).await }).await
    }

    /// Sends again what is asked for, or counts it.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn resend(
        &self,
        tenant: TenantId,
        to: Arc<SubscriptionRecord>,
        ask: Resend,
    ) -> Result<Resent, WireError> {
        self.detached(|driver| async move { driver.resend(tenant, to, ask).await }).await
    }

    /// Gives a sending up.
    ///
    /// # Errors
    /// It does not wait, or not stored.
    pub async fn give_up(&self, actor: &Actor, id: SubscriptionId, of: &SendingRef) -> Result<(), WireError> {
        let (tenant, message, by) = (actor.tenant, of.message, actor.name.clone());
        let waited = self.detached(|driver| async move { driver.give_up(tenant, id, message, &by).await }).await?;
        if waited {
            return Ok(());
        }
        Err(WireError::new(Code::Conflict, format!("{message} does not wait to be sent to {}", of.subscription))
            .hint("`aura subscription sendings NAME --state waiting` shows what does"))
    }
}
