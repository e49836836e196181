//! Pages of `form` triggers: which address shows which form.
//!
//! Invariant: a form takes what its own page sent and nothing else, so its address is none of the endpoints that take
//! deliveries; a page proves itself by a token that only this installation can make.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aura_protocol::form::Form;
use aura_protocol::rpc::FormInfo;
use aura_protocol::{EventId, TenantId};

use super::{Catalog, Entry};
use crate::engine::Published;

/// One page.
#[derive(Debug)]
pub struct FormTarget {
    /// The flow as it was published when this was made.
    pub published: Published,
    /// Position of the trigger.
    pub trigger: usize,
    /// Its name.
    pub trigger_id: String,
    /// What it asks.
    pub form: Form,
    /// The name in its address.
    pub endpoint: String,
    last: Arc<Mutex<Option<EventId>>>,
}

impl FormTarget {
    /// Remembers the newest event, for lists.
    pub fn saw(&self, event: EventId) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(event);
    }
}

/// All pages, by the name in their address.
#[derive(Debug, Default)]
pub struct Forms(HashMap<String, Arc<FormTarget>>);

impl Forms {
    /// Takes the forms of a flow in; last events are taken over from `before`.
    pub(super) fn take(&mut self, entry: &Entry, published: &Published, before: &Self) {
        for (index, trigger) in published.flow.triggers.iter().enumerate().filter(|(_, it)| it.on == "form") {
            let Ok(form) = Form::read(&trigger.with) else { continue };
            let Some((_, endpoint)) = entry.record.endpoints.iter().find(|(id, _)| *id == trigger.id) else { continue };
            let last = before.0.get(endpoint).map(|old| Arc::clone(&old.last)).unwrap_or_default();
            let target = FormTarget {
                published: published.clone(),
                trigger: index,
                trigger_id: trigger.id.clone(),
                form,
                endpoint: endpoint.clone(),
                last,
            };
            self.0.insert(endpoint.clone(), Arc::new(target));
        }
    }

    /// The page at an address; case does not matter.
    #[must_use]
    pub fn get(&self, endpoint: &str) -> Option<&Arc<FormTarget>> {
        self.0.get(endpoint).or_else(|| self.0.get(&endpoint.to_ascii_lowercase()))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<FormTarget>> {
        self.0.values()
    }
}

impl Catalog {
    /// The pages of all forms; `base` is how people reach the door.
    #[must_use]
    pub fn forms(&self, base: &str) -> Vec<FormInfo> {
        let state = self.now();
        let base = base.trim_end_matches('/');
        let mut targets: Vec<&Arc<FormTarget>> = state.routes().forms().iter().collect();
        targets.sort_by(|a, b| (&a.published.name, a.trigger).cmp(&(&b.published.name, b.trigger)));
        let info = |target: &Arc<FormTarget>| FormInfo {
            flow: target.published.name.clone(),
            trigger: target.trigger_id.clone(),
            title: target.form.title.clone(),
            fields: target.form.fields.iter().map(|field| field.name.clone()).collect(),
            url: format!("{base}/f/{}", target.endpoint),
            enabled: target.published.enabled,
            last_event: *target.last.lock().unwrap_or_else(PoisonError::into_inner),
        };
        targets.into_iter().map(info).collect()
    }

    /// A keyed hash by which pages of this installation are known.
    #[must_use]
    pub fn page_mac(&self, endpoint: &str, parts: &[u8]) -> [u8; 16] {
        self.0.store.index_hash(TenantId::DEFAULT, "form page", &[endpoint.as_bytes(), parts])
    }
}
