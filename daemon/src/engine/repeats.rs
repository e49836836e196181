//! Deliveries that repeated an earlier event: kept in memory only, so that people see what a sender does.
//!
//! A repeat causes nothing and has no row in the store; the newest `KEPT` since the start are shown in the
//! list of events. Bodies and headers are not kept: they are those of the first event.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use aura_protocol::event::{Ack, Delivery, EventRow, EventState};
use aura_protocol::{EventId, RunId};

/// Most repeats kept.
const KEPT: usize = 1_000;

/// One repeat.
#[derive(Clone, Debug)]
struct Repeat {
    event: EventId,
    first: EventId,
    run: Option<RunId>,
    flow: String,
    trigger: String,
    received_ms: i64,
}

/// The newest repeats, newest last.
#[derive(Debug, Default)]
pub struct Repeats(Mutex<VecDeque<Repeat>>);

impl Repeats {
    /// Remembers an answer if it was given to a repeat.
    pub fn note(&self, flow: &str, trigger: &str, event: EventId, received_ms: i64, ack: &Ack) {
        if ack.state != EventState::Duplicate {
            return;
        }
        let (flow, trigger) = (flow.to_owned(), trigger.to_owned());
        let repeat = Repeat { event, first: ack.event_id, run: ack.run_id, flow, trigger, received_ms };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(repeat);
    }

    /// All of them as rows, newest first.
    #[must_use]
    pub fn rows(&self) -> Vec<EventRow> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().map(row).collect()
    }
}

fn row(repeat: &Repeat) -> EventRow {
    EventRow {
        event: repeat.event,
        flow: repeat.flow.clone(),
        trigger: repeat.trigger.clone(),
        state: EventState::Duplicate,
        reason: format!("repeats event {}", repeat.first),
        starts_at_ms: None,
        run: repeat.run,
        delivery: Delivery {
            event: repeat.event,
            trigger: repeat.trigger.clone(),
            method: "POST".to_owned(),
            query: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
            blob: None,
            received_ms: repeat.received_ms,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_repeats_are_kept_and_only_the_newest() {
        let repeats = Repeats::default();
        let ack = |state| Ack { event_id: EventId::from_bytes([7; 16]), run_id: None, state, starts_at: None };
        let event = |number: u64| EventId::from_parts(number, &[0; 10]);
        repeats.note("f", "t", event(1), 1, &ack(EventState::Started));
        assert!(repeats.rows().is_empty());
        for number in 0..1_200 {
            repeats.note("f", "t", event(number), 1, &ack(EventState::Duplicate));
        }
        let rows = repeats.rows();
        assert_eq!((rows.len(), rows[0].event, rows[999].event), (1_000, event(1_199), event(200)));
        assert_eq!(rows[0].reason, format!("repeats event {}", EventId::from_bytes([7; 16])));
    }
}
