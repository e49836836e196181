//! Messages: an event for the outside becomes one, with a sending for each subscription that gets it.
//!
//! Invariant: all rows of a message go into the transaction that they are given, and nobody is told before its commit.

use std::sync::Arc;

use aura_protocol::event::timestamp;
use aura_protocol::outgoing::SendingState;
use aura_protocol::{MessageId, SubscriptionId, TenantId, Value};
use aura_storage::rows::outgoing::{
    DueRow, MessageRow, SendingRow, SubscriptionRecord, due_key, message_key, sending_key, waiting_key,
};
use aura_storage::{Table, Txn};

use crate::engine::driver::{Driver, EngineError, lock};

/// What was offered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offered {
    /// The message, if anybody gets it or could have.
    pub message: Option<MessageId>,
    /// Subscriptions that it is sent to: to be told after the commit.
    pub to: Vec<SubscriptionId>,
}

/// The bytes that are sent: the envelope that Standard Webhooks recommends.
pub(super) fn envelope(kind: &str, created_ms: i64, data: &Value) -> Vec<u8> {
    Value::object([
        ("type", Value::from(kind)),
        ("timestamp", Value::from(timestamp(created_ms))),
        ("data", data.clone()),
    ])
    .to_json()
    .into_bytes()
}

impl Driver {
    /// Offers an event to whom it concerns; people are shown the second of the data, if there is one.
    pub(crate) fn offer(
        &self,
        tenant: TenantId,
        (kind, customer): (&str, Option<&str>),
        (data, shown): (&Value, Option<&Value>),
        by: String,
        txn: &mut Txn,
    ) -> Result<Offered, EngineError> {
        let gets = self.deps.flows.subscribers(tenant, kind, customer);
        if gets.is_empty() {
            return Ok(Offered::default());
        }
        let now_ms = self.deps.clock.now_ms();
        let row = MessageRow {
            kind: kind.to_owned(),
            customer: customer.map(str::to_owned),
            body: envelope(kind, now_ms, data),
            created_ms: now_ms,
            by,
            test: false,
            shown: shown.map(|shown| envelope(kind, now_ms, shown)),
        };
        let (message, on) = {
            let mut lanes = lock(&self.sends.lanes);
            let on: Vec<Arc<SubscriptionRecord>> = gets.into_iter().filter(|record| lanes.is_on(record)).collect();
            (lanes.message(now_ms, aura_storage::random::draw().unwrap_or_default()), on)
        };
        // Also if all are disabled: they can ask for what they missed.
        self.deps.store.put(txn, tenant, Table::Messages, message_key(tenant, message), &row)?;
        for record in &on {
            self.begin_sending(tenant, record, message, (&row, now_ms), txn)?;
        }
        Ok(Offered { message: Some(message), to: on.iter().map(|record| record.id).collect() })
    }

    /// A sending that waits for its first attempt.
    pub(super) fn begin_sending(
        &self,
        tenant: TenantId,
        to: &SubscriptionRecord,
        message: MessageId,
        (of, now_ms): (&MessageRow, i64),
        txn: &mut Txn,
    ) -> Result<(), EngineError> {
        let due_ms = if to.ordered { 0 } else { now_ms };
        let row = SendingRow {
            kind: of.kind.clone(),
            state: SendingState::Waiting,
            created_ms: of.created_ms,
            due_ms: Some(due_ms),
            next_ms: Some(now_ms),
            tries: 0,
            attempted: 0,
            attempts: Vec::new(),
            reason: String::new(),
        };
        let store = &self.deps.store;
        store.put(txn, tenant, Table::Sendings, sending_key(tenant, to.id, message), &row)?;
        let due = due_key(tenant, to.id, due_ms, message);
        store.put(txn, tenant, Table::SendingsDue, due, &DueRow { next_ms: now_ms })?;
        txn.counters.push((waiting_key(tenant, to.id), 1));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_is_the_one_that_standard_webhooks_recommends() {
        let data = Value::from_json(br#"{"id":123456789012345678901,"sum":12.50}"#).unwrap();
        assert_eq!(
            String::from_utf8(envelope("order.paid", 1_790_000_000_123, &data)).unwrap(),
            r#"{"type":"order.paid","timestamp":"2026-09-21T14:13:20.123Z","data":{"id":123456789012345678901,"sum":12.50}}"#
        );
    }
}
