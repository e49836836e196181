//! Subscriptions of people outside: who gets which events, under which secret.
//!
//! A secret goes in and never comes out: whoever creates or rotates one made it. The invariant: an event with a customer
//! is never offered to the subscription of another. How they fare is the engine's ([`crate::engine::outgoing`]).

use std::sync::Arc;

use aura_protocol::outgoing::{
    HEADERS_MAX, Header, KEEP_MAX_MS, NOTE_MAX, SECRET_PREFIX, SUBSCRIPTIONS_MAX, Subscription, SubscriptionPut,
    SubscriptionRotate, TYPES_MAX, URL_MAX, Wrong, check_customer, check_header, check_name, check_secret, check_type,
    concerns, read_rate, takes,
};
use aura_protocol::rpc::{Actor, Removed};
use aura_protocol::text::display;
use aura_protocol::{Code, SubscriptionId, TenantId, WireError};
use aura_storage::rows::Deleted;
use aura_storage::rows::outgoing::{SigningSecret, SubscriptionRecord, subscription_key};
use aura_storage::{Table, TailEntry, Txn};

use crate::catalog::bin::KEPT_MS;
use crate::catalog::edit::uncommitted;
use crate::catalog::{Catalog, State, unreadable};

/// Secrets that sign at the same time at most.
const SECRETS_MAX: usize = 3;
/// What stands for a secret value.
const DOTS: &str = "••••••";

/// As lists show it; how it fares is added by who knows.
#[must_use]
pub fn shown(record: &SubscriptionRecord, now_ms: i64) -> Subscription {
    let rotating = record.secrets.iter().filter_map(|secret| secret.until_ms).filter(|until| *until > now_ms).max();
    let header = |header: &Header| match header.secret {
        true => Header { value: DOTS.to_owned(), ..header.clone() },
        false => header.clone(),
    };
    Subscription {
        id: record.id,
        name: record.name.clone(),
        url: record.url.clone(),
        types: record.types.clone(),
        customer: record.customer.clone(),
        note: record.note.clone(),
        headers: record.headers.iter().map(header).collect(),
        rate: record.rate.clone(),
        ordered: record.ordered,
        enabled: record.enabled,
        rotating_until_ms: rotating,
        created_ms: record.created_ms,
        changed_ms: record.changed_ms,
        health: aura_protocol::outgoing::Health::default(),
    }
}

fn refused(wrong: Wrong) -> WireError {
    WireError::new(Code::Invalid, wrong.message).hint(wrong.hint)
}

fn invalid(message: impl Into<String>, hint: &str) -> WireError {
    WireError::new(Code::Invalid, message).hint(hint)
}

fn missing(name: &str) -> WireError {
    WireError::not_found(format!("there is no subscription named {}", display(name)))
        .hint("`aura subscription list` shows all of them")
}

/// Whether its days in the bin are over: then its sendings may be gone already.
fn is_over(record: &SubscriptionRecord, now_ms: i64) -> bool {
    record.deleted.as_ref().is_some_and(|deleted| deleted.at_ms.saturating_add(KEPT_MS) <= now_ms)
}

/// A secret, and the part of it that receivers know by itself: behind `whsec_`, or behind a header's word for a scheme.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    let bearer = || value.split_once(' ').map(|(_, rest)| rest.trim());
    std::iter::once(value).chain(value.strip_prefix(SECRET_PREFIX).or_else(bearer))
}

fn room_for_one(state: &State) -> Result<(), WireError> {
    if state.subscriptions.len() < SUBSCRIPTIONS_MAX {
        return Ok(());
    }
    let message = format!("there are {SUBSCRIPTIONS_MAX} subscriptions already; nothing was stored");
    Err(WireError::new(Code::Conflict, message).hint("delete some that nobody uses"))
}

/// The types as they are kept: checked, each once.
fn types_of(types: Vec<String>) -> Result<Vec<String>, WireError> {
    if types.is_empty() || types.len() > TYPES_MAX {
        return Err(invalid(
            format!("a subscription has 1 to {TYPES_MAX} event types, this one would have {}", types.len()),
            "write order.paid, order.* or *",
        ));
    }
    let mut kept = Vec::new();
    for pattern in types {
        check_type(&pattern).map_err(refused)?;
        if !kept.contains(&pattern) {
            kept.push(pattern);
        }
    }
    Ok(kept)
}

/// The headers after a change: one that is given replaces its namesake, an empty value takes it away.
fn headers_of(old: &[Header], given: Vec<Header>) -> Result<Vec<Header>, WireError> {
    let mut kept = old.to_vec();
    for header in given {
        check_header(&header).map_err(refused)?;
        let same = |other: &Header| other.name.eq_ignore_ascii_case(&header.name);
        let place = kept.iter().position(same);
        match (place, header.value.is_empty()) {
            (Some(at), true) => drop(kept.remove(at)),
            (Some(at), false) => kept.splice(at..=at, [header]).for_each(drop),
            (None, true) => {}
            (None, false) => kept.push(header),
        }
    }
    if kept.len() > HEADERS_MAX {
        let message = format!("a subscription has at most {HEADERS_MAX} headers, this one would have {}", kept.len());
        return Err(invalid(message, "leave some out"));
    }
    Ok(kept)
}

/// A record with what is given.
fn changed(
    old: Option<&SubscriptionRecord>,
    put: SubscriptionPut,
    now_ms: i64,
) -> Result<SubscriptionRecord, WireError> {
    check_name(&put.name).map_err(refused)?;
    let needed = |what: &str, hint: &str| invalid(format!("a new subscription needs {what}"), hint);
    let url = match put.url.or_else(|| old.map(|old| old.url.clone())) {
        Some(url) if url.len() > URL_MAX => {
            return Err(invalid(format!("the address is longer than {URL_MAX} bytes"), "use a shorter one"));
        }
        Some(url) => url,
        None => return Err(needed("an address", "add --url https://…")),
    };
    let types = match put.types {
        Some(types) => types_of(types)?,
        None => old.map(|old| old.types.clone()).ok_or_else(|| needed("event types", "add --types order.*"))?,
    };
    let customer = match put.customer {
        Some(customer) if customer.is_empty() => None,
        Some(customer) => {
            check_customer(&customer).map_err(refused)?;
            Some(customer)
        }
        None => old.and_then(|old| old.customer.clone()),
    };
    let note = put.note.or_else(|| old.map(|old| old.note.clone())).unwrap_or_default();
    if note.len() > NOTE_MAX {
        return Err(invalid(format!("the note is longer than {NOTE_MAX} bytes"), "shorten it"));
    }
    let rate = match put.rate {
        Some(text) => read_rate(&text).map_err(refused)?.map(|_| text),
        None => old.and_then(|old| old.rate.clone()),
    };
    let secrets = match (put.secret, old) {
        (Some(_), Some(_)) => {
            return Err(invalid("a secret is changed by a rotation", "use `aura subscription rotate`"));
        }
        (Some(value), None) => {
            check_secret(&value).map_err(refused)?;
            vec![SigningSecret { value, until_ms: None }]
        }
        (None, Some(old)) => old.secrets.clone(),
        (None, None) => return Err(needed("a secret", "the command `aura subscription create` makes one")),
    };
    Ok(SubscriptionRecord {
        id: old.map_or_else(SubscriptionId::now, |old| old.id),
        name: put.name,
        url,
        types,
        customer,
        note,
        headers: headers_of(old.map_or(&[], |old| &old.headers), put.headers)?,
        rate,
        ordered: put.ordered.unwrap_or_else(|| old.is_some_and(|old| old.ordered)),
        enabled: old.is_none_or(|old| old.enabled),
        secrets,
        created_ms: old.map_or(now_ms, |old| old.created_ms),
        changed_ms: now_ms,
        deleted: None,
    })
}

/// The secrets after a rotation: the new one first, those before for their time.
fn rotated(old: &[SigningSecret], rotate: &SubscriptionRotate, now_ms: i64) -> Result<Vec<SigningSecret>, WireError> {
    check_secret(&rotate.secret).map_err(refused)?;
    if old.first().is_some_and(|secret| secret.value == rotate.secret) {
        return Err(invalid("this is the secret of now", "leave --secret out, and one is made"));
    }
    if rotate.keep_ms > KEEP_MAX_MS {
        return Err(invalid("a secret before signs for 7 days at most", "as in --keep 24h"));
    }
    let until = now_ms.saturating_add(i64::try_from(rotate.keep_ms).unwrap_or(0));
    let mut secrets = vec![SigningSecret { value: rotate.secret.clone(), until_ms: None }];
    for secret in old.iter().filter(|secret| secret.value != rotate.secret) {
        let until_ms = secret.until_ms.map_or(until, |before| before.min(until));
        if until_ms > now_ms && secrets.len() < SECRETS_MAX {
            secrets.push(SigningSecret { value: secret.value.clone(), until_ms: Some(until_ms) });
        }
    }
    Ok(secrets)
}

impl Catalog {
    /// All subscriptions, by name.
    #[must_use]
    pub fn subscription_records(&self) -> Vec<Arc<SubscriptionRecord>> {
        self.now().subscriptions.values().cloned().collect()
    }

    /// One by name.
    ///
    /// # Errors
    /// There is none.
    pub fn subscription_named(&self, name: &str) -> Result<Arc<SubscriptionRecord>, WireError> {
        self.now().subscriptions.get(name).cloned().ok_or_else(|| missing(name))
    }

    /// One by id, also if it is in the bin.
    #[must_use]
    pub fn subscription_name(&self, id: SubscriptionId) -> Option<String> {
        let state = self.now();
        let mut all = state.subscriptions.values().chain(&state.binned_subscriptions);
        all.find(|record| record.id == id).map(|record| record.name.clone())
    }

    /// All there are, those in the bin too.
    #[must_use]
    pub fn every_subscription(&self) -> Vec<SubscriptionId> {
        let state = self.now();
        state.subscriptions.values().chain(&state.binned_subscriptions).map(|record| record.id).collect()
    }

    /// Those whose 30 days in the bin are over.
    #[must_use]
    pub fn subscriptions_over(&self) -> Vec<SubscriptionId> {
        let now_ms = self.0.clock.now_ms();
        let state = self.now();
        state.binned_subscriptions.iter().filter(|record| is_over(record, now_ms)).map(|record| record.id).collect()
    }

    /// Creates a subscription, or changes what is given of one.
    ///
    /// # Errors
    /// Something given is refused, there are too many, or not stored.
    pub async fn subscription_put(
        &self,
        actor: &Actor,
        put: SubscriptionPut,
    ) -> Result<Arc<SubscriptionRecord>, WireError> {
        let _one = self.editing().await?;
        let state = self.now();
        let old = state.subscriptions.get(&put.name);
        match (put.create, old) {
            (true, Some(_)) => {
                let message = format!("there is a subscription named {} already; nothing was changed", put.name);
                return Err(WireError::new(Code::Conflict, message).hint("use `aura subscription edit`"));
            }
            (false, None) => return Err(missing(&put.name)),
            (true, None) => room_for_one(&state)?,
            (false, Some(_)) => {}
        }
        let record = changed(old.map(Arc::as_ref), put, self.0.clock.now_ms())?;
        self.put_subscription(actor.tenant, record).await
    }

    /// Gives a subscription a new secret.
    ///
    /// # Errors
    /// There is none of this name, the secret is refused, or not stored.
    pub async fn subscription_rotate(
        &self,
        actor: &Actor,
        rotate: SubscriptionRotate,
    ) -> Result<Arc<SubscriptionRecord>, WireError> {
        let _one = self.editing().await?;
        let old = self.subscription_named(&rotate.name)?;
        let now_ms = self.0.clock.now_ms();
        let secrets = rotated(&old.secrets, &rotate, now_ms)?;
        let record = SubscriptionRecord { secrets, changed_ms: now_ms, ..SubscriptionRecord::clone(&old) };
        self.put_subscription(actor.tenant, record).await
    }

    /// Has a subscription sent to, or not.
    ///
    /// # Errors
    /// There is none of this name, or not stored.
    pub async fn subscription_enable(
        &self,
        actor: &Actor,
        name: &str,
        enabled: bool,
    ) -> Result<Arc<SubscriptionRecord>, WireError> {
        let _one = self.editing().await?;
        let old = self.subscription_named(name)?;
        if old.enabled == enabled {
            return Ok(old);
        }
        let record =
            SubscriptionRecord { enabled, changed_ms: self.0.clock.now_ms(), ..SubscriptionRecord::clone(&old) };
        self.put_subscription(actor.tenant, record).await
    }

    /// Puts a subscription into the bin.
    ///
    /// # Errors
    /// There is none of this name, or not stored.
    pub async fn subscription_delete(&self, actor: &Actor, name: &str) -> Result<(SubscriptionId, Removed), WireError> {
        let _one = self.editing().await?;
        let old = self.subscription_named(name)?;
        let deleted = Deleted { at_ms: self.0.clock.now_ms(), by: actor.name.clone() };
        let removed = Removed { name: old.name.clone(), until_ms: deleted.at_ms.saturating_add(KEPT_MS) };
        let record = SubscriptionRecord { deleted: Some(deleted), ..SubscriptionRecord::clone(&old) };
        let record = self.put_subscription(actor.tenant, record).await?;
        Ok((record.id, removed))
    }

    /// Takes a subscription out of the bin, the one deleted last if there are several of the name. It comes back
    /// disabled: what waited would be old.
    ///
    /// # Errors
    /// It is not there, its name is taken, or not stored.
    pub async fn subscription_restore(&self, actor: &Actor, name: &str) -> Result<Arc<SubscriptionRecord>, WireError> {
        let _one = self.editing().await?;
        let (state, now_ms) = (self.now(), self.0.clock.now_ms());
        // One whose time is over goes any moment, and its sendings with it.
        let kept = |record: &&Arc<SubscriptionRecord>| record.name == name && !is_over(record, now_ms);
        let found = state.binned_subscriptions.iter().filter(kept);
        let newest = found.max_by_key(|record| record.deleted.as_ref().map(|deleted| deleted.at_ms));
        let Some(old) = newest else {
            let message = format!("there is no subscription named {} in the bin", display(name));
            return Err(WireError::not_found(message).hint("`aura subscription list --deleted` shows what is there"));
        };
        if state.subscriptions.contains_key(name) {
            let message = format!("there is a subscription named {} again; nothing was restored", display(name));
            return Err(WireError::new(Code::Conflict, message).hint("delete that one first"));
        }
        room_for_one(&state)?;
        let record =
            SubscriptionRecord { deleted: None, enabled: false, changed_ms: now_ms, ..SubscriptionRecord::clone(old) };
        self.put_subscription(actor.tenant, record).await
    }

    /// Forgets a subscription of the bin for good; its sendings are gone already. One whose time is not over, or that is
    /// not in the bin, stays.
    ///
    /// # Errors
    /// Not stored.
    pub async fn subscription_forget(&self, tenant: TenantId, id: SubscriptionId) -> Result<(), WireError> {
        let _one = self.editing().await?;
        let (state, now_ms) = (self.now(), self.0.clock.now_ms());
        if !state.binned_subscriptions.iter().any(|record| record.id == id && is_over(record, now_ms)) {
            return Ok(());
        }
        let mut txn = Txn::new();
        txn.delete(Table::Subscriptions, subscription_key(tenant, id));
        self.0.store.commit(txn).await.map_err(|error| uncommitted(&error))?;
        let mut next = State::clone(&self.now());
        next.binned_subscriptions.retain(|record| record.id != id);
        self.swap(next);
        Ok(())
    }

    /// Stores a record and shows it; the caller has the right to change something.
    async fn put_subscription(
        &self,
        tenant: TenantId,
        record: SubscriptionRecord,
    ) -> Result<Arc<SubscriptionRecord>, WireError> {
        let mut txn = Txn::new();
        let key = subscription_key(tenant, record.id);
        self.0.store.put(&mut txn, tenant, Table::Subscriptions, key, &record).map_err(|error| unreadable(&error))?;
        txn.tell(TailEntry::Subscription(tenant, record.id));
        self.0.store.commit(txn).await.map_err(|error| uncommitted(&error))?;
        let record = Arc::new(record);
        let mut next = State::clone(&self.now());
        next.take_subscription(Arc::clone(&record));
        self.swap(next);
        Ok(record)
    }
}

impl State {
    /// Puts a subscription where it belongs: among those of now, or into the bin.
    pub(super) fn take_subscription(&mut self, record: Arc<SubscriptionRecord>) {
        self.subscriptions.retain(|_, other| other.id != record.id);
        self.binned_subscriptions.retain(|other| other.id != record.id);
        self.subscriptions_by_id.remove(&record.id);
        if record.deleted.is_some() {
            self.binned_subscriptions.push(record);
        } else {
            self.subscriptions_by_id.insert(record.id, Arc::clone(&record));
            self.subscriptions.insert(record.name.clone(), record);
        }
    }

    /// Subscriptions in the bin.
    pub(super) fn deleted_subscriptions(&self) -> impl Iterator<Item = (&str, &Deleted)> {
        self.binned_subscriptions.iter().filter_map(|record| Some((record.name.as_str(), record.deleted.as_ref()?)))
    }

    /// Secrets of subscriptions, those of the bin too.
    pub(super) fn subscription_secrets(&self) -> impl Iterator<Item = &str> {
        self.subscriptions.values().chain(&self.binned_subscriptions).flat_map(|record| {
            let signing = record.secrets.iter().map(|secret| secret.value.as_str());
            let headers = record.headers.iter().filter(|header| header.secret).map(|header| header.value.as_str());
            signing.chain(headers).flat_map(parts)
        })
    }

    /// Secret headers that are too short or too plain to be kept out of what leaves.
    pub(super) fn weak_headers(&self, weak: impl Fn(&str) -> bool) -> Vec<String> {
        let of = |record: &Arc<SubscriptionRecord>| {
            let secret = record.headers.iter().filter(|header| header.secret && parts(&header.value).any(&weak));
            secret.map(|header| format!("{}.{}", record.name, header.name)).collect::<Vec<_>>()
        };
        self.subscriptions.values().flat_map(of).collect()
    }

    /// Whoever gets an event, enabled or not.
    pub(super) fn subscribers(&self, kind: &str, customer: Option<&str>) -> Vec<Arc<SubscriptionRecord>> {
        let gets = |record: &&Arc<SubscriptionRecord>| {
            concerns(record.customer.as_deref(), customer) && record.types.iter().any(|pattern| takes(pattern, kind))
        };
        self.subscriptions.values().filter(gets).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn put() -> SubscriptionPut {
        SubscriptionPut {
            name: "acme".to_owned(),
            create: true,
            url: Some("https://acme.example/hook".to_owned()),
            types: Some(vec!["order.*".to_owned(), "order.*".to_owned()]),
            secret: Some(SECRET.to_owned()),
            ..SubscriptionPut::default()
        }
    }

    #[test]
    fn what_is_not_given_stays_and_what_is_wrong_changes_nothing() {
        let old = changed(None, put(), 5).unwrap();
        assert_eq!((old.types.as_slice(), old.enabled, old.created_ms), (&["order.*".to_owned()][..], true, 5));
        let edit = |edit: SubscriptionPut| changed(Some(&old), SubscriptionPut { name: "acme".to_owned(), ..edit }, 9);
        let same = edit(SubscriptionPut::default()).unwrap();
        assert_eq!(SubscriptionRecord { changed_ms: 5, ..same }, old);
        let given = edit(SubscriptionPut { rate: Some("3/1s".to_owned()), ordered: Some(true), ..Default::default() });
        let given = given.unwrap();
        assert_eq!((given.rate.as_deref(), given.ordered, given.secrets.len()), (Some("3/1s"), true, 1));
        for (wrong, part) in [
            (SubscriptionPut { types: Some(Vec::new()), ..Default::default() }, "event types"),
            (SubscriptionPut { types: Some(vec!["a b".to_owned()]), ..Default::default() }, "no event type"),
            (SubscriptionPut { rate: Some("x".to_owned()), ..Default::default() }, "no rate"),
            (SubscriptionPut { customer: Some("a b".to_owned()), ..Default::default() }, "no name of a customer"),
            (SubscriptionPut { secret: Some(SECRET.to_owned()), ..Default::default() }, "by a rotation"),
            (SubscriptionPut { url: Some("h".repeat(2000)), ..Default::default() }, "longer than"),
            (SubscriptionPut { note: Some("h".repeat(2000)), ..Default::default() }, "note is longer"),
        ] {
            let error = edit(wrong).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
        for (wrong, part) in [
            (SubscriptionPut { url: None, ..put() }, "needs an address"),
            (SubscriptionPut { types: None, ..put() }, "needs event types"),
            (SubscriptionPut { secret: None, ..put() }, "needs a secret"),
            (SubscriptionPut { secret: Some("short".to_owned()), ..put() }, "not of the form whsec_"),
        ] {
            let error = changed(None, wrong, 0).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn headers_are_changed_one_by_one_and_secret_ones_shown_as_dots() {
        let header = |name: &str, value: &str, secret| Header { name: name.into(), value: value.into(), secret };
        let record = |headers| changed(None, SubscriptionPut { headers, ..put() }, 0).unwrap();
        let old = record(vec![header("X-A", "1", false), header("X-Key", "hidden value", true)]);
        let text = format!("{:?} {}", shown(&old, 0), aura_protocol::wire::encode(&shown(&old, 0)).unwrap().len());
        assert!(!text.contains("hidden value") && shown(&old, 0).headers[1].value == DOTS);
        let kept = headers_of(&old.headers, vec![header("x-a", "", false), header("X-B", "2", false)]).unwrap();
        let names: Vec<&str> = kept.iter().map(|header| header.name.as_str()).collect();
        assert_eq!(names, ["X-Key", "X-B"]);
        assert!(headers_of(&[], (0..17).map(|n| header(&format!("X-{n}"), "a", false)).collect()).is_err());
    }

    #[test]
    fn a_rotation_keeps_the_ones_before_for_their_time() {
        let secret = |n: u8| aura_protocol::outgoing::secret_of(&[n; 32]);
        let rotate = |n: u8, keep_ms| SubscriptionRotate { name: "a".to_owned(), secret: secret(n), keep_ms };
        let values = |secrets: &[SigningSecret]| {
            secrets.iter().map(|secret| (secret.value.clone(), secret.until_ms)).collect::<Vec<_>>()
        };
        let old = vec![SigningSecret { value: secret(1), until_ms: None }];
        let two = rotated(&old, &rotate(2, 1000), 50).unwrap();
        assert_eq!(values(&two), [(secret(2), None), (secret(1), Some(1050))]);
        let three = rotated(&two, &rotate(3, 5000), 60).unwrap();
        assert_eq!(values(&three), [(secret(3), None), (secret(2), Some(5060)), (secret(1), Some(1050))]);
        let four = rotated(&three, &rotate(4, 5000), 70).unwrap();
        assert_eq!(four.len(), SECRETS_MAX, "no more sign at a time");
        let at_once = rotated(&three, &rotate(4, 0), 70).unwrap();
        assert_eq!(values(&at_once), [(secret(4), None)], "without overlap the others are gone at once");
        assert!(rotated(&two, &rotate(2, 0), 0).is_err(), "the same again");
        assert!(rotated(&two, &rotate(5, KEEP_MAX_MS + 1), 0).is_err());
    }

    #[tokio::test]
    async fn the_bin_gives_back_for_its_time_only_and_forgets_nobody_before() {
        use aura_storage::{Store, StoreOptions};
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let clock = crate::clock::Clock::demo();
        let registry = Arc::new(aura_integrations::registry::Registry::builtin());
        let catalog = Catalog::open(store, registry, clock.clone(), aura_integrations::redact::Sink::default());
        let (request, tenant) = (aura_protocol::RequestId::now(), TenantId::DEFAULT);
        let actor = Actor { name: "anna".to_owned(), role: aura_protocol::rpc::Role::Owner, tenant, request };
        let catalog = catalog.unwrap();
        let id = catalog.subscription_put(&actor, put()).await.unwrap().id;
        catalog.subscription_delete(&actor, "acme").await.unwrap();
        catalog.subscription_forget(TenantId::DEFAULT, id).await.unwrap();
        assert_eq!(catalog.every_subscription(), [id], "its time is not over");
        clock.advance(KEPT_MS.unsigned_abs() - 60_000).unwrap();
        catalog.subscription_restore(&actor, "acme").await.unwrap();
        clock.advance(120_000).unwrap();
        // The sweep had it on its list.
        catalog.subscription_forget(TenantId::DEFAULT, id).await.unwrap();
        assert_eq!(catalog.subscription_named("acme").unwrap().id, id, "it is out of the bin");
        catalog.subscription_delete(&actor, "acme").await.unwrap();
        clock.advance(KEPT_MS.unsigned_abs()).unwrap();
        assert_eq!(catalog.subscriptions_over(), [id]);
        let refused = catalog.subscription_restore(&actor, "acme").await.unwrap_err();
        assert!(refused.message.contains("in the bin"), "its sendings may be gone already: {refused}");
        catalog.subscription_forget(TenantId::DEFAULT, id).await.unwrap();
        assert!(catalog.every_subscription().is_empty());
    }

    #[test]
    fn also_the_part_of_a_secret_that_a_receiver_knows_by_itself_is_looked_for() {
        let header = |name: &str, value: &str| Header { name: name.into(), value: value.into(), secret: true };
        let headers = vec![header("Authorization", "Bearer tok-9a7b3c"), header("X-Key", "Bearer abc")];
        let record = changed(None, SubscriptionPut { headers, ..put() }, 0).unwrap();
        let mut state = State::default();
        state.take_subscription(Arc::new(record));
        let known: Vec<&str> = state.subscription_secrets().collect();
        for secret in [SECRET, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "Bearer tok-9a7b3c", "tok-9a7b3c"] {
            assert!(known.contains(&secret), "{secret}");
        }
        assert_eq!(state.weak_headers(|value| value.len() < 6), ["acme.X-Key"]);
    }
}
