//! Policies over several events: `batch` and `throttle`, and what they do not go with.
//!
//! Two policies that would both decide when an event counts are refused: what a file means must not depend on which of
//! them is asked first.

use super::super::path::Path;
use super::super::policies::{BATCH_FOR_MAX, BATCH_MAX};
use super::super::{Batch, Reply, Span, Trigger};
use super::Checks;

impl Checks<'_> {
    /// Those of one trigger.
    pub(super) fn gathering(&mut self, trigger: &Trigger, path: &Path) {
        if let Some(batch) = &trigger.batch {
            self.batch(batch, trigger, &path.field("batch"));
        }
        let Some(throttle) = &trigger.throttle else { return };
        let path = path.field("throttle");
        if let Some((field, message)) = throttle.rate().wrong() {
            let (field, message) = match field {
                "count" => ("limit", message.replacen("a rate counts", "a throttle lets through", 1)),
                field => (field, message.replacen("a rate is of", "a throttle is of", 1)),
            };
            self.error(&path.field(field), message, "");
        }
        if trigger.debounce.is_some() || trigger.batch.is_some() {
            let with = if trigger.batch.is_some() { "batch" } else { "debounce" };
            let message = format!("`throttle` and `{with}` would both decide when an event counts");
            self.error(&path, message, "write the flow's `rate` instead: it bounds the runs that come of them");
        }
        if self.document.flow.rate.is_some() {
            let message = "`throttle` and the flow's `rate` would both bound how often runs start";
            self.error(&path, message, "leave one out: `rate` is of the flow, `throttle` of this trigger");
        }
    }

    fn batch(&mut self, batch: &Batch, trigger: &Trigger, path: &Path) {
        if batch.max < 2 || batch.max > BATCH_MAX {
            let message = format!("a batch holds 2 to {BATCH_MAX} events, this one {}", batch.max);
            self.error(&path.field("max"), message, "for one run per event leave `batch` out");
        }
        if batch.within == Span::from_ms(0) || batch.within > BATCH_FOR_MAX {
            let message = format!("a batch is open for more than nothing and at most {BATCH_FOR_MAX}");
            self.error(&path.field("for"), message, "");
        }
        if trigger.debounce.is_some() {
            let message = "`batch` and `debounce` would both decide when the run starts";
            self.error(path, message, "leave one out: `debounce` gives the last event, `batch` all of them");
        }
        if trigger.reply != Reply::Ack {
            let message = "the sender cannot wait for an answer: one run is of many senders";
            self.error(path, message, "leave `reply` out");
        }
    }
}
