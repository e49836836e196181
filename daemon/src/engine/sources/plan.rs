//! What a backfill would mean, before it begins: how many objects, which calls, how long at the budget's rate.
//!
//! Invariant: a plan reads (one page, and the count if its source says how), and changes nothing.

use std::sync::Arc;

use aura_protocol::flow::{Rate, Span};
use aura_protocol::rpc::{BackfillAsk, BackfillEffect, BackfillPlan};
use aura_protocol::run::StepError;
use aura_protocol::source::{Ask, BACKFILL};
use aura_protocol::{Code, TenantId, WireError};
use aura_storage::rows::ReadTo;

use super::page::{self, is_behind};
use super::{Asking, Listener};
use crate::engine::Published;
use crate::engine::driver::Driver;

fn refused(error: &StepError) -> WireError {
    WireError::new(Code::Invalid, format!("the source could not be read: {}", error.message))
        .hint("nothing was begun; look at its settings and its connection")
}

fn ending() -> WireError {
    WireError::new(Code::Busy, "the daemon ends; ask again in a moment")
}

impl Driver {
    /// What a backfill would do.
    pub(crate) async fn plan_backfill(
        self: &Arc<Self>,
        tenant: TenantId,
        flow: Published,
        ask: BackfillAsk,
    ) -> Result<BackfillPlan, WireError> {
        let now = self.deps.clock.now_ms();
        let (trigger, source) = self.backfilled(&flow, ask.trigger.as_deref())?;
        let bounds = self.bounds(&source, &ask, now)?;
        let moment = self.moment();
        let asking = Asking::while_wanted(&|| true);
        let counted = match (&source.count, &source.ask) {
            (Some(count), Ask::Uses { .. }) => {
                let input = page::count_input(count, &bounds, &moment).map_err(|error| refused(&error))?;
                let answer = self.ask_provider(tenant, Some(&count.action), source.connection(), &input, asking).await;
                let output = answer.ok_or_else(ending)?.answer.map_err(|error| refused(&error))?;
                Some(page::counted(&count.value, &output, &moment).map_err(|error| refused(&error))?)
            }
            _ => None,
        };
        let reads_since = source.reads.iter().any(|name| name == "since");
        let cursor = if reads_since { aura_protocol::Value::Null } else { bounds.since.clone() };
        let place = ReadTo { cursor, ..ReadTo::default() };
        let input = page::asked(&source, &place, &bounds, &moment).map_err(|error| refused(&error))?;
        let answer = self.ask_source(tenant, &source, &input, asking).await.ok_or_else(ending)?;
        let answer = answer.answer.map_err(|error| refused(&error))?;
        let first = page::read(&source, &place, &bounds, &answer, &moment).map_err(|error| refused(&error))?;
        let listener = Listener { tenant, flow: flow.id, trigger: &trigger.id, method: BACKFILL, window_ms: 0 };
        let inside = first.objects.iter().filter(|object| {
            is_behind(&object.cursor, &bounds.until) != Some(true)
                && is_behind(&bounds.since, &object.cursor) != Some(true)
        });
        let (mut here, mut known) = (0_u64, 0_u64);
        for object in inside {
            here += 1;
            let hash = self.object_hash(&listener, &object.key);
            known += u64::from(self.deps.store.dedupe_find(tenant, &hash, now).is_some());
        }
        let follows = source.next.is_none() && source.cursor.is_some() && !first.objects.is_empty();
        let whole = first.next.is_null() && !follows;
        let limited = |count: u64| ask.limit.map_or(count, |limit| count.min(limit));
        let count = counted.or_else(|| whole.then_some(here)).or_else(|| ask.limit.filter(|limit| *limit <= here));
        let exact = count.is_some();
        let count = count.map(limited);
        let effects = self.effects_of(tenant, &flow).map_err(WireError::from)?;
        let page_size = u64::try_from(first.objects.len()).unwrap_or(0).max(1);
        let pages = count.map(|count| count.div_ceil(page_size).max(1));
        let per_object = u64::try_from(effects.len()).unwrap_or(0);
        let through = |effect: &&BackfillEffect| effect.connection.as_deref() == source.connection();
        let same = source.connection().map_or(0, |_| effects.iter().filter(through).count());
        let same = u64::try_from(same).unwrap_or(0);
        let told = count.map(|count| if ask.again { count } else { count.saturating_sub(known) });
        let calls = told.zip(pages).map(|(told, pages)| pages.saturating_add(told.saturating_mul(per_object)));
        let within = told.zip(pages).map(|(told, pages)| pages.saturating_add(told.saturating_mul(same)));
        let record = source.connection().and_then(|name| self.deps.flows.connection(tenant, name));
        let rate = record.and_then(|record| {
            let said = record.settings.iter().find(|(name, _)| name == "rate")?;
            Some((said.1.clone(), Rate::read(&said.1).ok()?))
        });
        let at_rate_ms = within.zip(rate.as_ref()).map(|(calls, (_, rate))| {
            let Span { ms } = rate.per;
            calls.saturating_mul(ms) / u64::from(rate.count.max(1))
        });
        Ok(BackfillPlan {
            flow: flow.name.clone(),
            trigger: trigger.id.clone(),
            source: source.says().to_owned(),
            connection: source.connection().map(str::to_owned),
            since: bounds.since,
            until: bounds.until,
            count: Some(count.unwrap_or_else(|| limited(here))),
            exact,
            first_page: here,
            known,
            pages,
            effects,
            calls,
            rate: rate.map(|(text, _)| text),
            at_rate_ms,
        })
    }
}
