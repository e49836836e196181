//! One attempt: what is stored is read, signed, sent and judged, and what became of it is one commit.
//!
//! Invariants: the row that says that it waits goes in that commit and not before, so an attempt that a kill cut short
//! is made again; and two that race for the same row cannot both win.

use std::sync::Arc;
use std::time::Instant;

use aura_integrations::http::{Delivered, HttpRequest};
use aura_protocol::outgoing::{Cause, DISABLED_EVENT, SendingState};
use aura_protocol::run::StepError;
use aura_protocol::signature;
use aura_protocol::{EventId, MessageId, SubscriptionId, TenantId, Value};
use aura_storage::rows::outgoing::{
    DueRow, HealthRow, MessageRow, SendingRow, SubscriptionRecord, due_key, message_key, sending_key, subscription_key,
    waiting_key,
};
use aura_storage::{CommitError, Key, ReadError, Table, TailEntry, Txn};

use super::judge::{self, Verdict};
use super::lanes::{Due, Went};
use crate::engine::driver::{Driver, EngineError, lock};

/// An attempt that could not be made is looked at again after this time, in milliseconds.
const AGAIN_MS: i64 = 1_000;

/// A place among those at work; free again whatever happens.
struct Flight {
    driver: Arc<Driver>,
    id: SubscriptionId,
    message: MessageId,
    went: Went,
}

impl Drop for Flight {
    fn drop(&mut self) {
        if lock(&self.driver.sends.lanes).ended(self.id, self.message, self.went) {
            self.driver.sends.wake.notify_one();
        }
    }
}

/// The headers of a message to a subscription: every secret that counts signs.
///
/// The scheme is the one with which the door verifies Standard Webhooks, so both are one piece of data.
pub(super) fn headers(
    record: &SubscriptionRecord,
    message: MessageId,
    body: &[u8],
    (wall_ms, now_ms): (i64, i64),
) -> Vec<(String, String)> {
    let id = message.to_string();
    let mut out = vec![("content-type".to_owned(), "application/json".to_owned())];
    let Some(scheme) = signature::scheme("standard_webhooks") else { return out };
    let signs = record.secrets.iter().filter(|secret| secret.until_ms.is_none_or(|until| until > now_ms));
    let signed = signs.map(|secret| signature::sign(scheme, &secret.value, body, wall_ms, &id));
    let mut signatures = Vec::new();
    let mut others = Vec::new();
    for headers in signed {
        for (name, value) in headers {
            if name == "webhook-signature" {
                signatures.push(value);
            } else if !others.iter().any(|(known, _)| *known == name) {
                others.push((name, value));
            }
        }
    }
    out.extend(others);
    out.push(("webhook-signature".to_owned(), signatures.join(" ")));
    out.extend(record.headers.iter().map(|header| (header.name.to_ascii_lowercase(), header.value.clone())));
    out
}

impl Driver {
    pub(super) fn spawn_attempt(self: &Arc<Self>, tenant: TenantId, id: SubscriptionId, due: Due) {
        let went = Went::Nothing(self.deps.clock.now_ms().saturating_add(AGAIN_MS));
        let flight = Flight { driver: Arc::clone(self), id, message: due.message, went };
        self.tasks.spawn(async move {
            // The whole of it: its end gives the place back.
            let mut flight = flight;
            let driver = Arc::clone(&flight.driver);
            let went = driver.attempt(tenant, id, due).await;
            flight.went = Went::Nothing(driver.deps.clock.now_ms().saturating_add(AGAIN_MS));
            match went {
                Ok(went) => flight.went = went,
                Err(EngineError::Commit(error)) if !matches!(error, CommitError::Conflict(_)) => {
                    tracing::debug!(%error, "what became of a sending was not stored; it is made again");
                }
                Err(error) => tracing::error!(%error, "a sending could not be made; it is tried again"),
            }
        });
    }

    async fn attempt(self: &Arc<Self>, tenant: TenantId, id: SubscriptionId, due: Due) -> Result<Went, EngineError> {
        let store = &self.deps.store;
        let Some(record) = self.deps.flows.subscription(tenant, id) else { return Ok(Went::Nothing(0)) };
        let key = sending_key(tenant, id, due.message);
        let row: Option<SendingRow> = match store.get::<SendingRow>(tenant, Table::Sendings, &key) {
            Ok(row) => row.filter(|row| row.state == SendingState::Waiting && row.due_ms == Some(due.due_ms)),
            // Damage must not hold up the others: the sending stays for doctor, and waits no more.
            Err(error @ ReadError::Corrupt { .. }) => {
                tracing::error!(subscription = record.name, %error, "a sending is damaged and is not made");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let Some(row) = row else {
            let mut txn = Txn::new();
            let key = due_key(tenant, id, due.due_ms, due.message);
            txn.expect_present(Table::SendingsDue, key.clone());
            txn.delete(Table::SendingsDue, key);
            txn.counters.push((waiting_key(tenant, id), -1));
            return match store.commit(txn).await {
                Ok(_) | Err(CommitError::Conflict(_)) => Ok(Went::Nothing(0)),
                Err(error) => Err(error.into()),
            };
        };
        let message: Option<MessageRow> = match store.get(tenant, Table::Messages, &message_key(tenant, due.message)) {
            Ok(message) => message,
            Err(ReadError::Corrupt { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(message) = message else {
            let reason = "its message is lost; `aura doctor --deep` says more".to_owned();
            let next = SendingRow { state: SendingState::Failed, due_ms: None, next_ms: None, reason, ..row };
            let mut txn = Txn::new();
            self.settle_sending(tenant, (id, due), &next, &mut txn)?;
            store.commit(txn).await?;
            return Ok(Went::Nothing(0));
        };
        let (began, at_ms) = (Instant::now(), self.deps.clock.now_ms());
        let said = tokio::select! {
            () = self.retired.cancelled() => return Ok(Went::Nothing(0)),
            said = self.posted(&record, due.message, message.body) => said,
        };
        // What the step redacts may come back in the answer.
        let said = said.map(|said| if message.shown.is_some() { judge::without_body(said) } else { said });
        let took = began.elapsed();
        let went = if said.is_ok() { Went::Answered(took) } else { Went::Silent };
        // Refused at once, by the receiver's machine or our own policy: in nobody's way.
        let went = if said.is_err() && took < self.deps.outgoing.timeout / 2 { Went::Answered(took) } else { went };
        self.record(tenant, &record, (row, due), (said, at_ms, took), went).await?;
        Ok(went)
    }

    pub(super) async fn posted(
        &self,
        record: &SubscriptionRecord,
        message: MessageId,
        body: Vec<u8>,
    ) -> Result<Delivered, StepError> {
        let times = (self.deps.clock.wall_ms(), self.deps.clock.now_ms());
        let request = HttpRequest {
            method: "POST".to_owned(),
            url: record.url.clone(),
            headers: headers(record, message, &body, times),
            body,
            timeout: self.deps.outgoing.timeout,
            redirects: 0,
        };
        self.deps.http.deliver(request).await
    }

    /// The rows of a sending after something happened to it: its due row must be as it was.
    pub(super) fn settle_sending(
        &self,
        tenant: TenantId,
        (id, due): (SubscriptionId, Due),
        next: &SendingRow,
        txn: &mut Txn,
    ) -> Result<(), EngineError> {
        let store = &self.deps.store;
        let old = due_key(tenant, id, due.due_ms, due.message);
        txn.expect_present(Table::SendingsDue, old.clone());
        match (next.due_ms, next.next_ms) {
            (Some(due_ms), Some(next_ms)) => {
                let new = due_key(tenant, id, due_ms, due.message);
                if new != old {
                    txn.delete(Table::SendingsDue, old);
                }
                store.put(txn, tenant, Table::SendingsDue, new, &DueRow { next_ms })?;
            }
            _ => {
                txn.delete(Table::SendingsDue, old);
                txn.counters.push((waiting_key(tenant, id), -1));
            }
        }
        store.put(txn, tenant, Table::Sendings, sending_key(tenant, id, due.message), next)?;
        Ok(())
    }

    /// Records an attempt, and how the subscription fares after it.
    async fn record(
        self: &Arc<Self>,
        tenant: TenantId,
        record: &SubscriptionRecord,
        (row, due): (SendingRow, Due),
        (said, at_ms, took): (Result<Delivered, StepError>, i64, std::time::Duration),
        went: Went,
    ) -> Result<(), EngineError> {
        let (id, options) = (record.id, &self.deps.outgoing);
        let now_ms = self.deps.clock.now_ms();
        let took_ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        let draw = u64::from_be_bytes(aura_storage::random::draw().unwrap_or_default());
        let verdict = judge::verdict(&said, row.tries.saturating_add(1), &options.waits_ms, now_ms, draw);
        let attempt = judge::attempt(row.attempted.saturating_add(1), at_ms, took_ms, &said);
        let error = attempt.error.clone();
        let next = judge::after(&row, attempt, verdict, record.ordered);
        // More of them wait for the store than are at work.
        drop(said);
        let mut txn = Txn::new();
        // Sealed before anybody is held up; it expects the due row to be as it was.
        self.settle_sending(tenant, (id, due), &next, &mut txn)?;
        let permit = self.deps.store.reserve().await?;
        let (receipt, turned, notes) = {
            // Order of decisions is order of commits, also of how it fares.
            let mut lanes = lock(&self.sends.lanes);
            let before = lanes.health(id);
            let health = judge::fares(before, verdict, now_ms, options.disable_after_ms);
            let turned = (before.failing_since_ms, before.disabled) != (health.failing_since_ms, health.disabled);
            let mut notes = Vec::new();
            if turned {
                notes = self.turned(tenant, record, (before, health), health, &error, &mut txn)?;
            }
            lanes.fares(id, health);
            let receipt = permit.submit(txn);
            // The receiver has answered: the next may be sent while this is stored.
            lanes.answered(id, due.message, went);
            (receipt, turned.then_some((before, health)), notes)
        };
        self.sends.wake.notify_one();
        match receipt.committed().await {
            Ok(_) => {}
            // A person gave it up or had it sent again meanwhile: that counts, and how it fares still does.
            Err(CommitError::Conflict(_)) => {
                let Some(turned) = turned else { return Ok(()) };
                let permit = self.deps.store.reserve().await?;
                let (receipt, again) = {
                    let lanes = lock(&self.sends.lanes);
                    let mut txn = Txn::new();
                    // Others may have told since how it fares: what counts is how it does now.
                    let again = self.turned(tenant, record, turned, lanes.health(id), &error, &mut txn)?;
                    (permit.submit(txn), again)
                };
                receipt.committed().await?;
                again.into_iter().for_each(|(key, event)| self.spawn_taken(tenant, key, event));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        notes.into_iter().for_each(|(key, event)| self.spawn_taken(tenant, key, event));
        if let Verdict::Failed = verdict {
            tracing::warn!(
                subscription = record.name, message = %due.message, error,
                "a message was given up; `aura subscription resend` sends it again"
            );
        }
        Ok(())
    }

    /// It fares otherwise than before: the row that says how, and notes for flows if it was disabled.
    fn turned(
        &self,
        tenant: TenantId,
        record: &SubscriptionRecord,
        (before, now): (HealthRow, HealthRow),
        row: HealthRow,
        error: &str,
        txn: &mut Txn,
    ) -> Result<Vec<(Key, EventId)>, EngineError> {
        let key = subscription_key(tenant, record.id);
        self.deps.store.put(txn, tenant, Table::SubscriptionHealth, key, &row)?;
        txn.tell(TailEntry::Subscription(tenant, record.id));
        let (None, Some((at_ms, cause))) = (before.disabled, now.disabled) else { return Ok(Vec::new()) };
        tracing::warn!(
            subscription = record.name,
            error,
            "a subscription was disabled: {}; `aura subscription enable` sends to it again",
            cause.text()
        );
        let since = now.failing_since_ms.unwrap_or(at_ms);
        let word = if cause == Cause::Gone { "gone" } else { "failing" };
        let body = Value::object([
            ("subscription", Value::from(record.name.as_str())),
            ("customer", record.customer.as_deref().map(Value::from).unwrap_or_default()),
            ("cause", Value::from(word)),
            ("failing_since", Value::from(aura_protocol::event::timestamp(since))),
            ("error", Value::from(error)),
        ]);
        self.note_inside(tenant, DISABLED_EVENT, record.id.bytes(), &record.name, &body, txn)
    }
}

#[cfg(test)]
mod tests {
    use aura_storage::rows::outgoing::SigningSecret;

    use super::*;

    fn record(secrets: &[(&str, Option<i64>)]) -> SubscriptionRecord {
        let secret =
            |(value, until_ms): &(&str, Option<i64>)| SigningSecret { value: (*value).to_owned(), until_ms: *until_ms };
        SubscriptionRecord {
            id: SubscriptionId::now(),
            name: "acme".to_owned(),
            url: "https://a.example".to_owned(),
            types: Vec::new(),
            customer: None,
            note: String::new(),
            headers: vec![aura_protocol::outgoing::Header {
                name: "X-Shop".to_owned(),
                value: "1".to_owned(),
                secret: true,
            }],
            rate: None,
            ordered: false,
            enabled: true,
            secrets: secrets.iter().map(secret).collect(),
            created_ms: 0,
            changed_ms: 0,
            deleted: None,
        }
    }

    const ONE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const TWO: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    /// The example of the specification's own libraries, signed to the letter.
    #[test]
    fn the_example_of_the_specification_is_signed_as_its_libraries_do() {
        let scheme = signature::scheme("standard_webhooks").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = signature::sign(scheme, ONE, body, 1_614_265_330_000, "msg_p5jXN8AQM9LWM0D4loKWxJek");
        let value = signed.iter().find(|(name, _)| name == "webhook-signature").map(|(_, value)| value.as_str());
        assert_eq!(value, Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn what_we_sign_our_own_door_takes_under_each_secret_of_a_rotation() {
        let scheme = signature::scheme("standard_webhooks").unwrap();
        let (message, body, now) = (MessageId::now(), b"{\"a\": 1.50}".as_slice(), 1_790_000_000_000);
        let rotating = record(&[(TWO, None), (ONE, Some(now + 1))]);
        let check = |record: &SubscriptionRecord, secret: &str, now_ms: i64| {
            let headers = headers(record, message, body, (now, now_ms));
            signature::verify(scheme, &[secret], &signature::Request::post(&headers, body), now, None).is_ok()
        };
        assert!(check(&rotating, ONE, now) && check(&rotating, TWO, now), "both count while it rotates");
        assert!(!check(&rotating, ONE, now + 1) && check(&rotating, TWO, now + 1), "the one before no longer");
        assert!(!check(&rotating, "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB", now));
        let sent = headers(&rotating, message, body, (now, now));
        let value = |name: &str| sent.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(value("webhook-id"), Some(message.to_string().as_str()));
        assert_eq!(value("webhook-timestamp"), Some("1790000000"));
        assert_eq!(value("x-shop"), Some("1"));
        let signature = value("webhook-signature").unwrap();
        assert_eq!((signature.split(' ').count(), signature.starts_with("v1,")), (2, true), "{signature}");
        assert!(!message.to_string().contains('.'), "an id must not hold what divides the signed bytes");
    }
}
