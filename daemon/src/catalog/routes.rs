//! Where deliveries go: endpoint names and aliases of published triggers, how each one is proved, and which flows take
//! what happens inside.
//!
//! Built whole from the flows and swapped whole. An endpoint name is 128 random bits made once per trigger;
//! readable aliases exist only for triggers that a signature or a token protects.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use aura_integrations::connector::UNSIGNED;
use aura_integrations::http::in_network;
use aura_integrations::registry::Registry;
use aura_protocol::flow::{Auth, Flow, Trigger};
use aura_protocol::intake::Takes;
use aura_protocol::rpc::Webhook;
use aura_protocol::signature::Greeting;
use aura_protocol::{Code, EventId, FlowId, TenantId, Value, WireError};
use zeroize::Zeroizing;

use crate::catalog::forms::Forms;
use crate::catalog::signing::Signing;
use crate::catalog::{Catalog, Entry, State};
use crate::engine::core::bugs::{Bug, has};
use crate::engine::{Inside, Published};

/// Offered tokens in one list: more would not fit a frame.
const OFFERS_SHOWN: usize = 64;
/// Endpoints in one list whose rotations are shown, for the same reason.
const ROTATIONS_SHOWN: usize = 64;

/// How a delivery proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nobody checks (`auth: none`, written out).
    Open,
    /// `Authorization: Bearer` with the value of a named secret.
    Bearer(Secret),
    /// `Authorization: Basic` with this user and the value of a named secret.
    Basic(String, Secret),
    /// A header, in lower case, with the value of a named secret.
    Header(String, Secret),
    /// A signature scheme.
    Signed {
        /// How.
        scheme: Signing,
        /// What signs.
        secret: Secret,
    },
}

/// Where a secret stands: a field of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// The connection; empty if the trigger names none.
    pub connection: String,
    /// The field.
    pub field: String,
}

impl Secret {
    /// The value now; `None` if it is not set. The door refuses then.
    #[must_use]
    pub fn value(&self, state: &State) -> Option<Zeroizing<String>> {
        let record = state.connection(&self.connection)?;
        let (_, value) = record.secrets.iter().find(|(name, _)| *name == self.field)?;
        (!value.is_empty()).then(|| Zeroizing::new(value.clone()))
    }

    /// Every value that counts now: the one of [`Secret::value`] and, during a rotation, the one before it.
    #[must_use]
    pub fn values(&self, state: &State, now_ms: i64) -> Vec<Zeroizing<String>> {
        let mut values: Vec<Zeroizing<String>> = self.value(state).into_iter().collect();
        if let Some(record) = state.connection(&self.connection).filter(|_| !values.is_empty()) {
            let before = record.previous.iter().filter(|old| old.field == self.field && old.until_ms > now_ms);
            values.extend(before.map(|old| Zeroizing::new(old.value.clone())));
        }
        values
    }

    /// Another secret field of the same connection.
    #[must_use]
    pub fn beside(&self, state: &State, field: &str) -> Option<Zeroizing<String>> {
        Self { connection: self.connection.clone(), field: field.to_owned() }.value(state)
    }
}

impl Proof {
    /// How deliveries of a trigger prove themselves; `None` if the trigger takes none (manual).
    #[must_use]
    pub fn of(trigger: &Trigger, registry: &Registry) -> Option<Self> {
        if trigger.on == "webhook" {
            let named = |name: &str| Secret { connection: name.to_owned(), field: "value".to_owned() };
            return match &trigger.auth {
                Some(Auth::None) => Some(Self::Open),
                Some(Auth::Bearer(secret)) => Some(Self::Bearer(named(secret))),
                Some(Auth::Basic { user, secret }) => Some(Self::Basic(user.clone(), named(secret))),
                Some(Auth::Header { name, secret }) => Some(Self::Header(name.to_ascii_lowercase(), named(secret))),
                Some(Auth::Scheme { scheme, secret }) => {
                    Some(Self::Signed { scheme: Signing::named(scheme), secret: named(secret) })
                }
                Some(Auth::Hmac(hmac)) => {
                    Some(Self::Signed { scheme: Signing::described(hmac), secret: named(&hmac.secret) })
                }
                None => None,
            };
        }
        let (connector, _) = trigger.on.split_once('.')?;
        let kind = registry.trigger(&trigger.on)?;
        if kind.scheme == UNSIGNED {
            return Some(Self::Open);
        }
        Some(Self::Signed {
            scheme: Signing::named(&kind.scheme),
            secret: Secret {
                connection: trigger.connection.clone().unwrap_or_default(),
                field: registry.signing_field(connector)?.to_owned(),
            },
        })
    }

    /// Where the secret stands that proves; none: nobody checks.
    #[must_use]
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Open => None,
            Self::Bearer(secret) | Self::Basic(_, secret) | Self::Header(_, secret) | Self::Signed { secret, .. } => {
                Some(secret)
            }
        }
    }

    /// Whether the vendor brings the secret in a handshake (Notion).
    #[must_use]
    pub fn brings_secret(&self) -> bool {
        let Self::Signed { scheme, .. } = self else { return false };
        scheme.known().is_some_and(|scheme| matches!(scheme.greeting, Greeting::Token { .. }))
    }

    /// A phrase that names the secret that is not set; `None` if all is well.
    #[must_use]
    pub fn missing_secret(&self, state: &State) -> Option<String> {
        let secret = self.secret()?;
        if secret.value(state).is_some() {
            return None;
        }
        Some(match (secret.connection.as_str(), secret.field.as_str()) {
            ("", field) => format!("the trigger names no connection that has `{field}`"),
            (name, "value") => format!("there is no secret named {name}"),
            (name, field) => format!("the connection {name} has no `{field}`"),
        })
    }

    /// The header whose value is the secret itself: it is never stored.
    #[must_use]
    pub fn private_header(&self) -> Option<&str> {
        match self {
            Self::Header(name, _) => Some(name),
            _ => None,
        }
    }

    /// `none`, `bearer`, `basic`, `header` or the scheme.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Open => "none",
            Self::Bearer(_) => "bearer",
            Self::Basic(..) => "basic",
            Self::Header(..) => "header",
            Self::Signed { scheme, .. } => scheme.name(),
        }
    }
}

/// How large deliveries may be: mails with attachments are large.
fn takes_of(trigger: &Trigger, multipart: bool) -> Takes {
    let mut takes = Takes::read(&trigger.with).unwrap_or_default();
    if multipart {
        takes.body_max = takes.body_max.or(Some(aura_protocol::intake::BODY_MAX));
    }
    takes
}

/// One trigger that takes deliveries.
#[derive(Debug)]
pub struct Target {
    /// The flow.
    pub flow: FlowId,
    /// The flow as it was published when this route was made.
    pub published: Published,
    /// Position of the trigger.
    pub trigger: usize,
    /// Its name.
    pub trigger_id: String,
    /// How deliveries prove themselves.
    pub proof: Proof,
    /// Headers (lower case) and values that tell this event from others of the provider.
    pub matches: Vec<(String, String)>,
    /// How large its deliveries may be, and packed how.
    pub takes: Takes,
    /// Its deliveries may come as `multipart/form-data`, and become JSON.
    pub multipart: bool,
    /// Addresses and networks that may send; empty: anybody.
    pub allow: Vec<String>,
    /// Endpoint name.
    pub endpoint: String,
    /// It alone takes nothing until somebody opens it.
    pub closed: bool,
    /// Endpoint names before this one, each until then.
    pub before: Vec<(String, i64)>,
    /// What came here since the start.
    pub seen: Arc<Seen>,
    last: Arc<Mutex<Option<EventId>>>,
    offered: Arc<Mutex<Option<String>>>,
}

/// What came to an endpoint since the start, over all versions of its flow.
#[derive(Debug, Default)]
pub struct Seen {
    /// Accepted deliveries.
    pub accepted: AtomicU64,
    /// Refused ones.
    pub refused: AtomicU64,
    /// When the last one came, in Unix milliseconds; 0: none did.
    pub last_ms: AtomicI64,
}

impl Target {
    fn new(published: Published, index: usize, trigger: &Trigger, proof: Proof, registry: &Registry) -> Self {
        let matches = registry
            .trigger(&trigger.on)
            .map(|kind| kind.matches.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect());
        let multipart = registry.trigger(&trigger.on).is_some_and(|kind| kind.multipart)
            || trigger.with.get("multipart") == Some(&Value::Bool(true));
        Self {
            flow: published.id,
            published,
            trigger: index,
            trigger_id: trigger.id.clone(),
            proof,
            matches: matches.unwrap_or_default(),
            takes: takes_of(trigger, multipart),
            multipart,
            allow: trigger.allow.clone(),
            endpoint: String::new(),
            closed: false,
            before: Vec::new(),
            seen: Arc::default(),
            last: Arc::default(),
            offered: Arc::default(),
        }
    }

    /// A trigger of a text that is not published, without an endpoint; `None` if it takes no deliveries.
    #[must_use]
    pub fn of_draft(id: FlowId, flow: &Arc<Flow>, index: usize, registry: &Registry) -> Option<Self> {
        let trigger = flow.triggers.get(index)?;
        let proof = Proof::of(trigger, registry)?;
        let published = Published {
            id,
            name: flow.flow.clone(),
            version: String::new(),
            flow: Arc::clone(flow),
            enabled: true,
            paused: false,
        };
        Some(Self::new(published, index, trigger, proof, registry))
    }

    /// Whether it takes deliveries now.
    #[must_use]
    pub fn open(&self) -> bool {
        self.published.enabled && !self.closed
    }

    /// Whether a sender of this address may send.
    #[must_use]
    pub fn allows(&self, from: Option<IpAddr>) -> bool {
        self.allow.is_empty()
            || from.is_some_and(|from| {
                let from = from.to_canonical();
                self.allow.iter().any(|entry| entry.parse() == Ok(from) || in_network(entry, from))
            })
    }

    /// `FLOW/TRIGGER`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.published.name, self.trigger_id)
    }

    /// Remembers the newest event, for lists.
    pub fn saw(&self, event: EventId) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(event);
    }

    /// Whether the address of a delivery is part of its proof.
    #[must_use]
    pub fn signs_address(&self) -> bool {
        let Proof::Signed { scheme, .. } = &self.proof else { return false };
        scheme.with(|scheme| scheme.signs_address()).unwrap_or(false)
    }

    /// Whether a header, in lower case, is part of its proof by signature or tells its event.
    #[must_use]
    pub fn looks_at(&self, name: &str) -> bool {
        let signs = match &self.proof {
            Proof::Signed { scheme, .. } => scheme.own_headers().any(|own| own.eq_ignore_ascii_case(name)),
            _ => false,
        };
        signs || self.matches.iter().any(|(own, _)| own == name)
    }

    /// Keeps the token with which a vendor wants to sign, until somebody adds it as the secret.
    pub fn offer(&self, token: String) {
        *self.offered.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    /// The token that a vendor offered, while the secret is not set.
    fn offered(&self, state: &State) -> Option<String> {
        let offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        offered.filter(|_| self.proof.missing_secret(state).is_some())
    }

    /// Readable alias by provider, if the trigger is signed.
    #[must_use]
    pub fn provider_alias(&self) -> Option<String> {
        let Proof::Signed { scheme, .. } = &self.proof else { return None };
        let scheme = scheme.known()?.name;
        let on = self.published.flow.triggers.get(self.trigger)?.on.as_str();
        let provider = on.split_once('.').map_or_else(|| scheme.trim_end_matches("_webhook"), |(name, _)| name);
        Some(format!("/webhooks/{provider}/{}", self.published.name))
    }
}

/// Everything the door can find.
#[derive(Debug, Default)]
pub struct Routes {
    endpoints: HashMap<String, Arc<Target>>,
    /// Pages that people fill in.
    forms: Forms,
    /// Endpoint names that were rotated, each until then.
    before: HashMap<String, (Arc<Target>, i64)>,
    /// By `flow`, then in order of triggers.
    flows: HashMap<String, Vec<Arc<Target>>>,
    /// Flows that take an event of `emit` steps, by its name.
    emitted: HashMap<String, Vec<FlowId>>,
    /// Flows that are told of failed runs.
    failed: Vec<FlowId>,
}

impl Routes {
    /// The routes of all flows; last events are taken over from `before`.
    pub fn of<'a>(flows: impl Iterator<Item = &'a Arc<Entry>>, registry: &Registry, before: &Self) -> Self {
        let mut routes = Self::default();
        for entry in flows {
            let Some(published) = entry.as_published() else { continue };
            routes.take_inside(&published);
            routes.forms.take(entry, &published, &before.forms);
            if has(Bug::DraftClosesTheDoor) && entry.record.draft.is_some() {
                continue;
            }
            for (trigger, definition) in published.flow.triggers.iter().enumerate() {
                let Some(proof) = Proof::of(definition, registry) else { continue };
                let endpoint = entry.record.endpoints.iter().find(|(id, _)| *id == definition.id);
                let Some((_, endpoint)) = endpoint else { continue };
                // Under its name of before if it was rotated just now.
                let names = entry.record.hooks.iter().filter(|said| said.trigger == definition.id);
                let mut names = names.flat_map(|said| &said.before).map(|(name, _)| name).rev();
                let old = before.endpoints.get(endpoint).or_else(|| names.find_map(|name| before.endpoints.get(name)));
                let last = old.map(|target| Arc::clone(&target.last)).unwrap_or_default();
                let offered = old.map(|target| Arc::clone(&target.offered)).unwrap_or_default();
                let seen = old.map(|target| Arc::clone(&target.seen)).unwrap_or_default();
                let said = entry.record.hooks.iter().find(|said| said.trigger == definition.id);
                let target = Arc::new(Target {
                    endpoint: endpoint.clone(),
                    closed: said.is_some_and(|said| said.closed),
                    before: said.map(|said| said.before.clone()).unwrap_or_default(),
                    last,
                    offered,
                    seen,
                    ..Target::new(published.clone(), trigger, definition, proof, registry)
                });
                routes.flows.entry(published.name.clone()).or_default().push(Arc::clone(&target));
                for (name, until_ms) in &target.before {
                    routes.before.insert(name.clone(), (Arc::clone(&target), *until_ms));
                }
                routes.endpoints.insert(endpoint.clone(), target);
            }
        }
        routes
    }

    fn take_inside(&mut self, published: &Published) {
        for trigger in &published.flow.triggers {
            let takers = match (trigger.on.as_str(), trigger.with.get("name").and_then(Value::as_str)) {
                ("event", Some(name)) => self.emitted.entry(name.to_owned()).or_default(),
                ("flow_failed", _) => &mut self.failed,
                _ => continue,
            };
            // All of its triggers come one after the other.
            if takers.last() != Some(&published.id) {
                takers.push(published.id);
            }
        }
    }

    /// The flows whose triggers take what happened inside, if the rest of them fits.
    #[must_use]
    pub fn inside(&self, what: Inside<'_>) -> &[FlowId] {
        match what {
            Inside::Emitted(name) => self.emitted.get(name).map(Vec::as_slice).unwrap_or_default(),
            Inside::Failed => &self.failed,
        }
    }

    /// How many endpoints the flows other than `flow` have.
    #[must_use]
    pub fn others(&self, flow: FlowId) -> usize {
        let forms = self.forms.iter().filter(|target| target.published.id != flow).count();
        self.endpoints.values().filter(|target| target.flow != flow).count() + forms
    }

    /// Pages that people fill in.
    #[must_use]
    pub fn forms(&self) -> &Forms {
        &self.forms
    }

    /// By endpoint name; case does not matter, as in every id.
    #[must_use]
    pub fn endpoint(&self, name: &str, now_ms: i64) -> Option<&Arc<Target>> {
        let of = |name: &str| {
            let before = || self.before.get(name).filter(|(_, until_ms)| *until_ms > now_ms).map(|(target, _)| target);
            self.endpoints.get(name).or_else(before)
        };
        of(name).or_else(|| of(&name.to_ascii_lowercase()))
    }

    /// The endpoint whose rotated address this was, if its time is over.
    #[must_use]
    pub fn over(&self, name: &str) -> Option<&Arc<Target>> {
        self.before.get(&name.to_ascii_lowercase()).map(|(target, _)| target)
    }

    /// All endpoints.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.endpoints.values()
    }

    /// By `/webhooks/{provider}/{flow}`: of several triggers of one provider the first that takes this event.
    #[must_use]
    pub fn provider(&self, provider: &str, flow: &str, takes: impl Fn(&Target) -> bool) -> Option<&Arc<Target>> {
        let path = format!("/webhooks/{provider}/{flow}");
        let mut candidates =
            self.flows.get(flow)?.iter().filter(|target| target.provider_alias().as_deref() == Some(path.as_str()));
        let first = candidates.next()?;
        if takes(first) { Some(first) } else { Some(candidates.find(|target| takes(target)).unwrap_or(first)) }
    }

    /// The endpoint of a flow's trigger; of its only one if none is named.
    ///
    /// # Errors
    /// There is none, or there are several and none was named.
    pub fn of_flow(&self, flow: &str, trigger: Option<&str>) -> Result<Arc<Target>, WireError> {
        let shown = aura_protocol::text::display(flow);
        let all = self.flows.get(flow).map(Vec::as_slice).unwrap_or_default();
        match (trigger, all) {
            (None, [only]) => Ok(Arc::clone(only)),
            (None, [_, ..]) => {
                let names: Vec<&str> = all.iter().map(|target| target.trigger_id.as_str()).collect();
                Err(WireError::new(Code::Invalid, format!("{shown} has several endpoints: {}", names.join(", ")))
                    .hint(format!("name one, as in {shown}/{}", names.first().unwrap_or(&"TRIGGER"))))
            }
            (name, _) => {
                all.iter().find(|target| Some(target.trigger_id.as_str()) == name).map(Arc::clone).ok_or_else(|| {
                    WireError::not_found(format!("no such endpoint of `{shown}` in a published version"))
                        .hint("see `aura webhook list`; a flow gets its endpoints when it is published")
                })
            }
        }
    }

    /// By `/hooks/{tenant}/{flow}/{trigger}`; never for `auth: none`.
    #[must_use]
    pub fn named(&self, tenant: &str, flow: &str, trigger: &str) -> Option<&Arc<Target>> {
        let ours = tenant == "default" || tenant.parse() == Ok(TenantId::DEFAULT);
        let target = self.flows.get(flow)?.iter().find(|target| target.trigger_id == trigger)?;
        (ours && target.proof != Proof::Open).then_some(target)
    }
}

impl Catalog {
    /// Endpoints of all triggers; `base` is how providers reach the door.
    #[must_use]
    pub fn webhooks(&self, base: &str) -> Vec<Webhook> {
        let state = self.now();
        let mut targets: Vec<&Arc<Target>> = state.routes.endpoints.values().collect();
        targets.sort_by(|a, b| (&a.published.name, a.trigger).cmp(&(&b.published.name, b.trigger)));
        let base = base.trim_end_matches('/');
        let (mut offers, mut rotations) = (0..OFFERS_SHOWN, 0..ROTATIONS_SHOWN);
        let now_ms = self.0.clock.now_ms();
        let rows = targets.into_iter().map(|target| {
            let hook = target.shown(&state, base, now_ms);
            let rotated = hook.secret_until_ms.is_some() || hook.address_until_ms.is_some();
            let shown = rotated && rotations.next().is_some();
            Webhook {
                offered: hook.offered.filter(|_| offers.next().is_some()),
                secret_until_ms: hook.secret_until_ms.filter(|_| shown),
                address_until_ms: hook.address_until_ms.filter(|_| shown),
                ..hook
            }
        });
        rows.collect()
    }
}

/// The only one of them, or how many: all would not fit a list.
fn few(all: &[String]) -> Vec<String> {
    match all {
        [] | [_] => all.to_vec(),
        more => vec![format!("{} networks", more.len())],
    }
}

impl Target {
    /// As lists show it; `base` is how providers reach the door, without a slash at its end.
    #[must_use]
    pub fn shown(&self, state: &State, base: &str, now_ms: i64) -> Webhook {
        let target = self;
        let named = format!("/hooks/default/{}/{}", target.published.name, target.trigger_id);
        let alias = match &target.proof {
            Proof::Open => None,
            _ => Some(target.provider_alias().unwrap_or(named)),
        };
        let until = |list: &mut dyn Iterator<Item = i64>| list.filter(|until_ms| *until_ms > now_ms).max();
        let secret = target.proof.secret().and_then(|secret| {
            let record = state.connection(&secret.connection)?;
            let before = record.previous.iter().filter(|old| old.field == secret.field);
            until(&mut before.map(|old| old.until_ms))
        });
        let last_ms = target.seen.last_ms.load(Relaxed);
        Webhook {
            flow: target.published.name.clone(),
            trigger: target.trigger_id.clone(),
            on: target.published.flow.triggers.get(target.trigger).map(|t| t.on.clone()).unwrap_or_default(),
            url: format!("{base}/hooks/{}", target.endpoint),
            alias: alias.map(|path| format!("{base}{path}")),
            auth: target.proof.word().to_owned(),
            secret_set: target.proof.missing_secret(state).is_none(),
            enabled: target.published.enabled,
            offered: target.offered(state),
            last_event: *target.last.lock().unwrap_or_else(PoisonError::into_inner),
            closed: target.closed,
            allow: few(&target.allow),
            secret_until_ms: secret,
            address_until_ms: until(&mut target.before.iter().map(|(_, until_ms)| *until_ms)),
            accepted: target.seen.accepted.load(Relaxed),
            refused: target.seen.refused.load(Relaxed),
            last_ms: (last_ms > 0).then_some(last_ms),
        }
    }
}

impl Catalog {
    /// The published triggers of enabled flows that take deliveries without proof, as `flow/trigger`.
    #[must_use]
    pub fn open_triggers(&self) -> Vec<String> {
        let state = self.now();
        let targets = state.routes.endpoints.values();
        let open = targets.filter(|target| target.proof == Proof::Open && target.published.enabled);
        let mut names: Vec<String> =
            open.map(|target| format!("{}/{}", target.published.name, target.trigger_id)).collect();
        names.sort();
        names
    }
}
