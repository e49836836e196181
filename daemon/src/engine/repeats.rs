//! Deliveries that repeated an earlier event: kept in memory only, so that people see what a sender does.
//!
//! A repeat causes nothing and has no row in the store; the newest `KEPT` since the start are shown in the
//! list of events. Bodies and headers are not kept: they are those of the first event.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use aura_protocol::event::{Came, Delivery, EventRow, EventState};
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
    method: String,
    received_ms: i64,
    came: Option<Came>,
}

/// The newest repeats, the one noted last at the end.
#[derive(Debug, Default)]
pub struct Repeats(Mutex<VecDeque<Repeat>>);

impl Repeats {
    /// Remembers a delivery that repeated `first`.
    pub fn note(&self, flow: &str, delivery: &Delivery, first: EventId, run: Option<RunId>) {
        let Delivery { event, trigger, method, received_ms, came, .. } = delivery;
        let (flow, trigger, method) = (flow.to_owned(), trigger.clone(), method.clone());
        let repeat =
            Repeat { event: *event, first, run, flow, trigger, method, received_ms: *received_ms, came: came.clone() };
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
        let mut rows: Vec<EventRow> = kept.iter().map(row).collect();
        // One from inside may be taken long after it came to be.
        rows.sort_by_key(|row| Reverse(row.event));
        rows
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
            method: repeat.method.clone(),
            query: String::new(),
            headers: Vec::new(),
            body: Vec::new(),
            blob: None,
            came: repeat.came.clone(),
            received_ms: repeat.received_ms,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_are_kept() {
        let repeats = Repeats::default();
        let first = EventId::from_bytes([7; 16]);
        let event = |number: u64| EventId::from_parts(number, &[0; 10]);
        for number in 0..1_200 {
            let delivery = Delivery {
                event: event(number),
                trigger: "t".to_owned(),
                method: "EMIT".to_owned(),
                query: String::new(),
                headers: vec![("secret".to_owned(), "x".to_owned())],
                body: b"y".to_vec(),
                blob: None,
                came: None,
                received_ms: 1,
            };
            repeats.note("f", &delivery, first, None);
        }
        let rows = repeats.rows();
        assert_eq!((rows.len(), rows[0].event, rows[999].event), (1_000, event(1_199), event(200)));
        assert_eq!(
            (rows[0].reason.as_str(), rows[0].delivery.method.as_str()),
            (&*format!("repeats event {first}"), "EMIT")
        );
        assert!(rows[0].delivery.headers.is_empty() && rows[0].delivery.body.is_empty());
    }
}
