//! How runs begin in the core's tests: one event of one trigger, the same everywhere.

use aura_protocol::event::Delivery;
use aura_protocol::run::RunStarted;
use aura_protocol::{EventId, FlowId, Value};

/// A run of the flow `f`, version `v`, begun by this trigger.
pub fn started(trigger: &str, input: Value) -> RunStarted {
    let event = Delivery {
        event: EventId::from_bytes([2; 16]),
        trigger: trigger.into(),
        method: "POST".into(),
        query: String::new(),
        headers: Vec::new(),
        body: b"{}".to_vec(),
        blob: None,
        came: None,
        received_ms: 0,
    };
    RunStarted {
        caller: None,
        flow_id: FlowId::from_bytes([3; 16]),
        flow: "f".into(),
        version: "v".into(),
        trigger: trigger.into(),
        semantics: 1,
        events: vec![event.event],
        event,
        events_more: 0,
        deadline_ms: None,
        refused: None,
        input,
        priority: 0,
        index: Vec::new(),
        vars: Value::Null,
        origin: None,
    }
}
