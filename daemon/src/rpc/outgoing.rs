//! Calls about subscriptions and what is sent to them.
//!
//! Invariant: no reply holds a secret; bodies and answers are looked at with the caller's eyes before they are cut.

use aura_protocol::outgoing::{
    Resend, Resent, Sending, SendingDetail, SendingPage, SendingQuery, SendingRef, Subscription, SubscriptionEnable,
    SubscriptionPage, SubscriptionPut, SubscriptionQuery, SubscriptionRotate, SubscriptionTest, check_type, takes,
};
use aura_protocol::rpc::{Actor, Removed, Role};
use aura_protocol::text::display;
use aura_protocol::{Code, MessageId, SubscriptionId, TenantId, Value, WireError, wire};
use aura_storage::rows::outgoing::{
    MessageRow, SendingRow, SubscriptionRecord, message_key, sending_key, subscription_key, waiting_key,
};
use aura_storage::{Key, ReadError, Store, Table};

use crate::catalog::subscriptions::shown;
use crate::catalog::unreadable;
use crate::engine::outgoing::again::first_at;
use crate::rpc::eyes::Eyes;
use crate::rpc::{Service, Shared};

/// Most rows of one page.
const PAGE_MAX: usize = 500;
/// Bytes of rows after which a page ends; of what still belongs to its last message only the last attempts are shown.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Rows looked at for one page, whatever its filter.
const LOOKED_AT: usize = 5_000;
/// Rows read at a time.
const WINDOW: usize = 64;
/// Longest answer of a receiver in a list, in bytes.
const ANSWER_LISTED: usize = 200;
/// Longest data of a test, in bytes.
const DATA_MAX: usize = 64 * 1024;

fn info(shared: &Shared, record: &SubscriptionRecord) -> Result<Subscription, WireError> {
    let mut info = shown(record, shared.clock.now_ms());
    info.health = shared.engine.subscription_health(TenantId::DEFAULT, record.id)?;
    info.enabled = record.enabled && info.health.disabled.is_none();
    Ok(info)
}

/// Subscriptions by name.
///
/// # Errors
/// The one that is asked for is not there, or the store cannot be read.
pub fn list(shared: &Shared, query: &SubscriptionQuery) -> Result<SubscriptionPage, WireError> {
    if let Some(name) = &query.name {
        let record = shared.catalog.subscription_named(name)?;
        return Ok(SubscriptionPage { subscriptions: vec![info(shared, &record)?], next: None });
    }
    let mut page = SubscriptionPage::default();
    let mut bytes = 0;
    let all = shared.catalog.subscription_records();
    for record in all.iter().filter(|record| query.after.as_ref().is_none_or(|after| record.name > *after)) {
        if bytes > PAGE_BYTES_MAX || page.subscriptions.len() >= PAGE_MAX {
            page.next = page.subscriptions.last().map(|last| last.name.clone());
            break;
        }
        let info = info(shared, record)?;
        bytes += wire::encode(&info).map_or(PAGE_BYTES_MAX, |encoded| encoded.len());
        page.subscriptions.push(info);
    }
    Ok(page)
}

/// Creates or changes a subscription.
///
/// # Errors
/// Something given is refused, or not stored.
pub async fn put(service: &Service, actor: Actor, put: SubscriptionPut) -> Result<Subscription, WireError> {
    if let Some(url) = &put.url {
        service.engine.may_call(url).map_err(|why| {
            WireError::new(Code::Invalid, format!("the address cannot be sent to: {why}"))
                .hint("write one like https://shop.example/webhooks")
        })?;
    }
    let inner = service.clone();
    let change = async move {
        if let (false, Some(ordered)) = (put.create, put.ordered) {
            unchanged_order(&inner, &put.name, ordered)?;
        }
        let record = inner.catalog.subscription_put(&actor, put).await?;
        inner.engine.subscription_changed(actor.tenant, record.id);
        info(&inner, &record)
    };
    service.change(change).await
}

/// What waits lies in the order that it was made for.
fn unchanged_order(shared: &Shared, name: &str, ordered: bool) -> Result<(), WireError> {
    let record = shared.catalog.subscription_named(name)?;
    let key = waiting_key(TenantId::DEFAULT, record.id);
    let waiting: Option<i64> =
        shared.store.get(TenantId::DEFAULT, Table::Counters, &key).map_err(|error| unreadable(&error))?;
    if record.ordered == ordered || waiting.unwrap_or(0) <= 0 {
        return Ok(());
    }
    Err(WireError::new(Code::Conflict, format!("{name} has sendings that wait: whether they go in order stays"))
        .hint("wait until nothing waits, or create another subscription"))
}

/// Gives a subscription a new secret.
///
/// # Errors
/// There is none of this name, the secret is refused, or not stored.
pub async fn rotate(service: &Service, actor: Actor, rotate: SubscriptionRotate) -> Result<Subscription, WireError> {
    let inner = service.clone();
    let change = async move {
        let record = inner.catalog.subscription_rotate(&actor, rotate).await?;
        info(&inner, &record)
    };
    service.change(change).await
}

/// Has a subscription sent to, or not.
///
/// # Errors
/// There is none of this name, or not stored.
pub async fn enable(service: &Service, actor: Actor, request: SubscriptionEnable) -> Result<Subscription, WireError> {
    let inner = service.clone();
    let change = async move {
        let record = inner.catalog.subscription_enable(&actor, &request.name, request.enabled).await?;
        if request.enabled {
            inner.engine.subscription_revived(actor.tenant, record.id).await?;
        }
        inner.engine.subscription_changed(actor.tenant, record.id);
        info(&inner, &record)
    };
    service.change(change).await
}

/// Puts a subscription into the bin.
///
/// # Errors
/// There is none of this name, or not stored.
pub async fn delete(service: &Service, actor: Actor, name: String) -> Result<Removed, WireError> {
    let inner = service.clone();
    let change = async move {
        let (id, removed) = inner.catalog.subscription_delete(&actor, &name).await?;
        inner.engine.subscription_changed(actor.tenant, id);
        Ok(removed)
    };
    service.change(change).await
}

/// Takes a subscription out of the bin; it is disabled until somebody enables it.
///
/// # Errors
/// It is not there, its name is taken, or not stored.
pub async fn restore(service: &Service, actor: Actor, name: String) -> Result<Subscription, WireError> {
    let inner = service.clone();
    let change = async move {
        let record = inner.catalog.subscription_restore(&actor, &name).await?;
        inner.engine.subscription_changed(actor.tenant, record.id);
        info(&inner, &record)
    };
    service.change(change).await
}

/// Sends a test event.
///
/// # Errors
/// There is no such subscription, or what is to be sent is refused. A receiver that fails is no error.
pub async fn test(service: &Service, actor: Actor, request: SubscriptionTest) -> Result<SendingDetail, WireError> {
    if (request.kind.is_some() || request.data.is_some()) && actor.role < Role::Editor {
        let message = "a test with a type or data of its own looks to a receiver like a real event: editors send it";
        return Err(WireError::new(Code::Forbidden, message).hint("leave --type and --data out"));
    }
    let record = service.catalog.subscription_named(&request.name)?;
    if let Some(kind) = &request.kind {
        if kind.ends_with('*') {
            let message = format!("`{}` is no event type but stands for many", display(kind));
            return Err(WireError::new(Code::Invalid, message).hint("write a name like order.paid"));
        }
        check_type(kind).map_err(|wrong| WireError::new(Code::Invalid, wrong.message).hint(wrong.hint))?;
    }
    let data = match &request.data {
        Some(text) if text.len() > DATA_MAX => {
            return Err(WireError::new(Code::Invalid, format!("the data is larger than {} KiB", DATA_MAX / 1024)));
        }
        Some(text) => Some(
            Value::from_json(text.as_bytes())
                .map_err(|error| WireError::new(Code::Invalid, format!("the data is no JSON: {error}")))?,
        ),
        None => None,
    };
    let message = service.engine.subscription_test(&actor, record, request.kind, data).await?;
    let of = SendingRef { subscription: request.name, message };
    let eyes = Eyes::of(&actor);
    service.read(move |shared| show(shared, &eyes, &of)).await
}

/// Where a query without a subscription goes: newest messages first over all of them, by their keys only.
fn newest(shared: &Shared, query: &SendingQuery) -> Result<Vec<(SubscriptionId, String)>, WireError> {
    let of = |record: &SubscriptionRecord| (record.id, record.name.clone());
    match &query.subscription {
        Some(name) => Ok(vec![of(shared.catalog.subscription_named(name)?.as_ref())]),
        None => Ok(shared.catalog.subscription_records().iter().map(|record| of(record)).collect()),
    }
}

/// One line of a list of several.
struct Line {
    id: SubscriptionId,
    name: String,
    /// Keys read and not yet given, newest last.
    keys: Vec<MessageId>,
    /// Where the next ones end; none: there are no more.
    to: Option<Key>,
}

impl Line {
    fn fill(&mut self, store: &Store, from: &Key, most: usize) -> Result<(), WireError> {
        if !self.keys.is_empty() {
            return Ok(());
        }
        let Some(to) = self.to.take() else { return Ok(()) };
        let keys = store.keys_back(Table::Sendings, from, &to, most).map_err(|error| unreadable(&error))?;
        self.to = keys.last().filter(|_| keys.len() == most).cloned();
        self.keys = keys.iter().rev().filter_map(|key| key.id_at(32)).map(MessageId::from_bytes).collect();
        Ok(())
    }
}

/// Sendings, newest first.
///
/// # Errors
/// There is no such subscription, or the store cannot be read.
pub fn sendings(shared: &Shared, eyes: &Eyes, query: &SendingQuery) -> Result<SendingPage, WireError> {
    listed(&shared.store, eyes, newest(shared, query)?, query)
}

/// Sendings to these subscriptions, newest first.
fn listed(
    store: &Store,
    eyes: &Eyes,
    of: Vec<(SubscriptionId, String)>,
    query: &SendingQuery,
) -> Result<SendingPage, WireError> {
    let tenant = TenantId::DEFAULT;
    let limit = usize::try_from(query.limit).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let first = query.since_ms.map_or(MessageId::from_bytes([0; 16]), first_at);
    let end = query.until_ms.map_or(MessageId::from_bytes([255; 16]), first_at);
    let end = query.before.map_or(end, |before| before.min(end));
    let start = |id| subscription_key(tenant, id).id(first.bytes());
    let mut lines = Vec::new();
    let most = if of.len() > 1 { limit.min(WINDOW) } else { WINDOW };
    for (id, name) in of {
        let to = Some(subscription_key(tenant, id).id(end.bytes()));
        let mut line = Line { id, name, keys: Vec::new(), to };
        line.fill(store, &start(id), most)?;
        lines.push(line);
    }
    let (mut page, mut bytes, mut looked_at) = (SendingPage::default(), 0, 0);
    // A message that goes to many subscriptions stands in many lines: a page ends between two messages.
    let mut last = None;
    loop {
        let newest = lines.iter().filter_map(|line| line.keys.last()).max().copied();
        let Some(message) = newest else { return Ok(page) };
        if last != Some(message) && (page.sendings.len() >= limit || bytes > PAGE_BYTES_MAX || looked_at >= LOOKED_AT) {
            page.next = last;
            return Ok(page);
        }
        last = Some(message);
        for line in lines.iter_mut().filter(|line| line.keys.last() == Some(&message)) {
            line.keys.pop();
            looked_at += 1;
            let row: Option<SendingRow> = read(store, Table::Sendings, &sending_key(tenant, line.id, message))?;
            let fits = |row: &SendingRow| {
                (query.states.is_empty() || query.states.contains(&row.state))
                    && query.kind.as_ref().is_none_or(|pattern| takes(pattern, &row.kind))
            };
            if let Some(row) = row.filter(fits) {
                let mut sending = seen(store, eyes, (message, &line.name), row, ANSWER_LISTED);
                // Of a message to very many the page still fits its frame.
                if bytes > PAGE_BYTES_MAX {
                    sending.attempts.drain(..sending.attempts.len().saturating_sub(1));
                }
                bytes += wire::encode(&sending).map_or(PAGE_BYTES_MAX, |encoded| encoded.len());
                page.sendings.push(sending);
            }
            line.fill(store, &start(line.id), most)?;
        }
    }
}

/// A row; a damaged one is left out and said.
fn read<T: serde::de::DeserializeOwned>(store: &Store, table: Table, key: &Key) -> Result<Option<T>, WireError> {
    match store.get(TenantId::DEFAULT, table, key) {
        Ok(row) => Ok(row),
        Err(error @ ReadError::Corrupt { .. }) => {
            tracing::error!(%error, "a row of outgoing webhooks is damaged and is left out");
            Ok(None)
        }
        Err(error) => Err(unreadable(&error)),
    }
}

fn seen(store: &Store, eyes: &Eyes, (message, name): (MessageId, &str), row: SendingRow, answer: usize) -> Sending {
    let mut attempts = row.attempts;
    for attempt in &mut attempts {
        eyes.text(store, &mut attempt.answer);
        attempt.answer.truncate(attempt.answer.floor_char_boundary(answer));
    }
    Sending {
        message,
        subscription: name.to_owned(),
        kind: row.kind,
        state: row.state,
        created_ms: row.created_ms,
        next_ms: row.next_ms,
        reason: row.reason,
        attempts,
    }
}

/// One sending with what is sent.
///
/// # Errors
/// There is none, or the store cannot be read.
pub fn show(shared: &Shared, eyes: &Eyes, of: &SendingRef) -> Result<SendingDetail, WireError> {
    let tenant = TenantId::DEFAULT;
    let record = shared.catalog.subscription_named(&of.subscription)?;
    let row: Option<SendingRow> = read(&shared.store, Table::Sendings, &sending_key(tenant, record.id, of.message))?;
    let row = row.ok_or_else(|| {
        let name = display(&of.subscription);
        WireError::not_found(format!("{} was not sent to {name}", of.message))
            .hint(format!("`aura subscription sendings {name}` shows what was"))
    })?;
    let message: Option<MessageRow> = read(&shared.store, Table::Messages, &message_key(tenant, of.message))?;
    let (by, mut body) =
        message.map_or_else(Default::default, |message| (message.by, message.shown.unwrap_or(message.body)));
    eyes.bytes(&shared.store, &mut body);
    Ok(SendingDetail {
        sending: seen(&shared.store, eyes, (of.message, &record.name), row, usize::MAX),
        by,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// Sends again, or says what that would send.
///
/// # Errors
/// There is no such subscription, or not stored.
pub async fn resend(service: &Service, actor: Actor, ask: Resend) -> Result<Resent, WireError> {
    let record = service.catalog.subscription_named(&ask.subscription)?;
    if !ask.plan {
        service.room.wanted()?;
    }
    service.engine.resend(actor.tenant, record, ask).await
}

/// Gives a sending up.
///
/// # Errors
/// It does not wait, or not stored.
pub async fn give_up(service: &Service, actor: Actor, of: SendingRef) -> Result<SendingDetail, WireError> {
    let record = service.catalog.subscription_named(&of.subscription)?;
    service.engine.give_up(&actor, record.id, &of).await?;
    let eyes = Eyes::of(&actor);
    service.read(move |shared| show(shared, &eyes, &of)).await
}

#[cfg(test)]
mod tests {
    use aura_protocol::outgoing::SendingState;
    use aura_storage::{StoreOptions, Txn};

    use super::*;

    /// A message whose place in time is its number.
    fn message(number: u8) -> MessageId {
        MessageId::from_bytes([number; 16])
    }

    fn row(kind: &str) -> SendingRow {
        SendingRow {
            kind: kind.to_owned(),
            state: SendingState::Succeeded,
            created_ms: 0,
            due_ms: None,
            next_ms: None,
            tries: 1,
            attempted: 1,
            attempts: Vec::new(),
            reason: String::new(),
        }
    }

    #[tokio::test]
    async fn a_list_goes_on_behind_its_first_window_also_to_what_only_old_ones_fit() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let (tenant, one, two) = (TenantId::DEFAULT, SubscriptionId::now(), SubscriptionId::now());
        let mut txn = Txn::new();
        for number in 1..=200_u8 {
            let kind = if number <= 3 { "old" } else { "new" };
            for id in [one, two] {
                let key = sending_key(tenant, id, message(number));
                store.put(&mut txn, tenant, Table::Sendings, key, &row(kind)).unwrap();
            }
        }
        store.commit(txn).await.unwrap();
        let of = |ids: &[SubscriptionId]| ids.iter().map(|id| (*id, id.to_string())).collect::<Vec<_>>();
        let page = |of, query: &SendingQuery| listed(&store, &Eyes::own(), of, query).unwrap();
        for ids in [&[one][..], &[one, two]] {
            let query = SendingQuery { limit: 500, ..SendingQuery::default() };
            let all = page(of(ids), &query);
            assert_eq!((all.sendings.len(), all.next), (200 * ids.len(), None));
            let old = page(of(ids), &SendingQuery { kind: Some("old".to_owned()), ..query.clone() });
            let found: Vec<MessageId> = old.sendings.iter().map(|sending| sending.message).collect();
            let expected: Vec<MessageId> = [3, 2, 1].iter().flat_map(|n| vec![message(*n); ids.len()]).collect();
            assert_eq!(found, expected);
            // By pages the same.
            let (mut before, mut count) = (None, 0);
            loop {
                let page = page(of(ids), &SendingQuery { limit: 7, before, ..SendingQuery::default() });
                count += page.sendings.len();
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            assert_eq!(count, 200 * ids.len());
        }
    }

    #[tokio::test]
    async fn a_page_fits_its_frame_also_if_a_message_went_to_all_and_failed_often() {
        use aura_protocol::outgoing::{Attempt, SUBSCRIPTIONS_MAX};
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let attempt = |number| Attempt {
            number,
            at_ms: i64::MAX,
            took_ms: u32::MAX,
            status: Some(500),
            error: "e".repeat(300),
            answer: "a".repeat(1024),
        };
        let failed =
            SendingRow { reason: "r".repeat(300), attempts: (1..=20).map(attempt).collect(), ..row(&"k".repeat(64)) };
        let of: Vec<_> = (0..SUBSCRIPTIONS_MAX).map(|_| (SubscriptionId::now(), "n".repeat(64))).collect();
        for ids in of.chunks(200) {
            let mut txn = Txn::new();
            for (id, _) in ids {
                let key = sending_key(TenantId::DEFAULT, *id, message(1));
                store.put(&mut txn, TenantId::DEFAULT, Table::Sendings, key, &failed).unwrap();
            }
            store.commit(txn).await.unwrap();
        }
        let page = listed(&store, &Eyes::own(), of, &SendingQuery { limit: 500, ..SendingQuery::default() }).unwrap();
        assert_eq!((page.sendings.len(), page.sendings[0].attempts.len()), (SUBSCRIPTIONS_MAX, 20));
        assert_eq!(page.sendings.last().unwrap().attempts.last().map(|attempt| attempt.number), Some(20));
        assert!(wire::encode(&page).unwrap().len() + 1024 < wire::FRAME_MAX);
    }
}
