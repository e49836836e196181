//! Proof that the judge judges: sound evidence has no fault, and each doctored one is found by its rule.

use aura_protocol::event::Delivery;
use aura_protocol::flow::Effect;
use aura_protocol::run::{ErrorClass, Record, RunHead, RunStarted, RunState, StepError, Transition};
use aura_protocol::{EventId, FlowId, RunId, Value};

use super::{Acked, Evidence, StoredRun};
use crate::support::Request;

const KEY: &str = "aura_charge";

fn event(number: u8) -> EventId {
    EventId::from_parts(1, &[number; 10])
}

fn request(number: usize, at_ms: i64, key: &str) -> Request {
    Request {
        number,
        at_ms,
        method: "POST".into(),
        path: "/charge".into(),
        headers: vec![("idempotency-key".into(), key.into())],
        body: Some(br#"{"n":1}"#.to_vec()),
    }
}

/// One run of message 1 with a `once` call that was sent at 20 and ended at 30.
fn sound() -> Evidence {
    let (run, flow_id) = (RunId::from_parts(2, &[1; 10]), FlowId::from_parts(2, &[2; 10]));
    let delivery = Delivery {
        event: event(1),
        trigger: "in".into(),
        method: "POST".into(),
        query: String::new(),
        headers: Vec::new(),
        body: br#"{"n":1}"#.to_vec(),
        blob: None,
        came: None,
        received_ms: 5,
    };
    let started = RunStarted {
        caller: None,
        flow_id,
        flow: "kill-loop".into(),
        version: "v".into(),
        trigger: "in".into(),
        semantics: 1,
        event: delivery,
        events: vec![event(1)],
        events_more: 0,
        deadline_ms: None,
        refused: None,
        input: Value::Null,
        priority: 0,
        index: Vec::new(),
        vars: Value::Null,
        origin: None,
    };
    let path = || "charge".to_owned();
    let begin = vec![
        Record::RunStarted(std::sync::Arc::new(started)),
        Record::Scheduled {
            path: path(),
            input: Value::Null,
            input_hash: String::new(),
            key: KEY.into(),
            effect: Effect::Once,
            draws: Vec::new(),
            limit: None,
        },
    ];
    let end = vec![
        Record::Completed { path: path(), attempt: 1, output: Value::Null },
        Record::RunFinished { state: RunState::Succeeded, error: None, output: Value::Null },
    ];
    let journal =
        [(10, begin), (15, vec![Record::Started { path: path(), attempt: 1, lease: 1, epoch: 1 }]), (30, end)];
    let journal = (1..).zip(journal).map(|(number, (at_ms, records))| (number, Transition { number, at_ms, records }));
    let head = RunHead {
        run,
        flow_id,
        flow: "kill-loop".into(),
        version: "v".into(),
        trigger: "in".into(),
        event: event(1),
        state: RunState::Succeeded,
        created_ms: 10,
        finished_ms: Some(30),
        step: path(),
        attempt: 1,
        steps_done: 1,
        steps_all: 1,
        blocked_by: None,
        error: None,
        transition: 3,
        origin: None,
    };
    Evidence {
        acks: vec![Acked { message: 1, event: event(1) }],
        kills: vec![25],
        requests: vec![request(0, 20, KEY)],
        runs: vec![StoredRun { head, journal: journal.collect() }],
        ..Evidence::default()
    }
}

/// The sound run, but the answer was lost to a kill.
fn in_doubt() -> Evidence {
    let mut evidence = sound();
    let run = &mut evidence.runs[0];
    let error = StepError::new(ErrorClass::InDoubt, "nobody knows");
    run.journal[2].1.records = vec![Record::InDoubt { path: "charge".into(), attempt: 1, error }];
    run.head.state = RunState::InDoubt;
    evidence.live.insert(run.head.run);
    evidence
}

/// Doctors evidence and expects the only fault to be of a rule.
fn finds(rule: &str, mut evidence: Evidence, doctor: impl FnOnce(&mut Evidence)) {
    assert_eq!(evidence.faults(), Vec::<String>::new(), "before it was doctored for: {rule}");
    doctor(&mut evidence);
    let faults = evidence.faults();
    assert!(!faults.is_empty(), "not found: {rule}");
    assert!(faults.iter().any(|fault| fault.starts_with(rule)), "{rule} is not among {faults:?}");
}

#[test]
fn a_missing_transition_is_found() {
    finds("journal numbers", sound(), |evidence| _ = evidence.runs[0].journal.remove(1));
    finds("journal numbers", sound(), |evidence| evidence.runs[0].head.transition = 4);
}

#[test]
fn a_lost_event_is_found() {
    finds("every acked event", sound(), |evidence| evidence.acks.push(Acked { message: 2, event: event(2) }));
}

#[test]
fn an_event_with_two_runs_is_found() {
    let again = |evidence: &mut Evidence| {
        let mut second = evidence.runs[0].clone();
        second.head.run = RunId::from_parts(2, &[9; 10]);
        evidence.runs.push(second);
    };
    finds("every acked event", sound(), again);
    finds("every message has one run", sound(), again);
}

#[test]
fn a_run_that_stands_still_is_found() {
    finds("every run is finished", sound(), |evidence| evidence.runs[0].head.state = RunState::Waiting);
}

#[test]
fn doubt_without_cause_is_found() {
    let rule = "only an interrupted";
    finds(rule, in_doubt(), |evidence| evidence.kills = vec![14, 31]);
    finds(rule, in_doubt(), |evidence| evidence.runs[0].journal[1].1.records.clear());
    finds(rule, in_doubt(), |evidence| {
        if let Record::Scheduled { effect, .. } = &mut evidence.runs[0].journal[0].1.records[1] {
            *effect = Effect::Keyed;
        }
    });
    finds(rule, in_doubt(), |evidence| {
        let answer = Record::Completed { path: "charge".into(), attempt: 1, output: Value::Null };
        evidence.runs[0].journal[1].1.records.push(answer);
    });
}

#[test]
fn a_second_sending_of_a_once_key_is_found() {
    finds("each `once` key", in_doubt(), |evidence| evidence.requests.push(request(1, 27, KEY)));
}

#[test]
fn a_sending_after_the_result_is_found() {
    finds("a recorded result", sound(), |evidence| evidence.requests.push(request(1, 31, KEY)));
}

#[test]
fn another_key_and_a_call_that_never_arrived_are_found() {
    let rule = "keys are equal";
    finds(rule, sound(), |evidence| evidence.requests.push(request(1, 22, "aura_other")));
    finds(rule, sound(), |evidence| evidence.requests.clear());
}
