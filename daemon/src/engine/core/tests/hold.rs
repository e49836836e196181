//! Pause, resume and ending by hand: what begins, what is kept, whose time stands still.

use aura_protocol::run::{CallOutcome, Record, RunState as State};
use aura_protocol::{RunId, Value};

use super::super::bugs::{Bug, with};
use super::super::{Input, Moment, Refused, RunState, step};
use super::Run;

const TWO_CALLS: &str =
    "  - { id: a, http: { method: POST, url: 'http://x' } }\n  - { id: b, http: { url: 'http://x' } }\n";

fn pause(run: &mut Run) {
    run.apply(Input::Pause { by: "maria".into(), reason: "the shop moves".into() });
}

fn refused(run: &mut Run, input: Input) -> Refused {
    let moment = Moment::new(run.now_ms, [9; 16]);
    let mut state = run.state.clone();
    step(&run.plan, &mut state, input, &moment, &|path| path.to_owned()).unwrap_err()
}

fn answer(run: &mut Run, path: &str) {
    let outcome = CallOutcome::Done(Value::Null);
    run.apply(Input::Result { path: path.into(), attempt: 1, outcome });
}

#[test]
fn a_paused_run_takes_answers_and_begins_nothing_until_it_is_resumed() {
    let paused = || {
        let mut run = Run::new(TWO_CALLS, Value::Null);
        run.calls.clear();
        pause(&mut run);
        let why = run.state.blocked_by(&run.plan).unwrap().reason;
        assert_eq!((run.state.state(), why.as_str()), (State::Paused, "paused by maria: the shop moves"));
        answer(&mut run, "a");
        run
    };
    let mut run = paused();
    assert_eq!((run.calls.len(), run.state.state(), run.state.next_due()), (0, State::Paused, None));
    assert_eq!(RunState::fold(run.state.run, &run.plan, &run.journal), run.state, "read back it is the same");
    run.apply(Input::Resume { by: "jo".into() });
    assert_eq!((run.calls.len(), run.state.state()), (1, State::Running), "the next call is made now");
    assert_eq!(refused(&mut run, Input::Resume { by: "jo".into() }), Refused::NotPaused);
    answer(&mut run, "b");
    assert_eq!(run.state.finished, Some(State::Succeeded));
    with(Some(Bug::PauseDoesNotStick), || assert_ne!(paused().calls.len(), 0, "the bug is found"));
}

#[test]
fn what_was_scheduled_but_not_sent_is_named_again_when_the_run_is_resumed() {
    let mut run = Run::new(TWO_CALLS, Value::Null);
    run.calls.clear();
    pause(&mut run);
    run.apply(Input::Recover { epoch: 9, restored: false });
    assert_eq!(run.calls.len(), 0, "a restart sends nothing of a paused run");
    run.apply(Input::Resume { by: "jo".into() });
    assert_eq!(run.calls.len(), 1);
}

#[test]
fn the_time_of_a_paused_run_stands_still_and_its_sleep_ends_when_it_is_resumed() {
    let ends = |bug: Option<Bug>| {
        with(bug, || {
            let text = "aura: 1\nflow: f\ntimeout: 1h\nsteps:\n  - { id: nap, sleep: { for: 10m } }\n  - { id: call, http: { url: 'http://x' } }\n";
            let mut run = Run::of(text, Value::Null);
            run.now_ms += 60_000;
            pause(&mut run);
            run.now_ms += 7_200_000;
            run.apply(Input::Due);
            run.apply(Input::Resume { by: "jo".into() });
            let due = run.state.next_due();
            run.apply(Input::Due);
            (due.is_some_and(|due| due <= run.now_ms), run.calls.len(), run.state.state())
        })
    };
    assert_eq!(ends(None), (true, 1, State::Running), "it is not timed out, and goes on at once");
    assert_ne!(ends(Some(Bug::PausedTimeCounts)), (true, 1, State::Running), "the bug is found");
}

#[test]
fn a_cancel_ends_a_paused_run_and_a_queued_one_cannot_be_paused() {
    let mut run = Run::new(TWO_CALLS, Value::Null);
    pause(&mut run);
    pause(&mut run);
    let pauses = run.journal.iter().flat_map(|it| &it.records).filter(|it| matches!(it, Record::Paused { .. }));
    assert_eq!(pauses.count(), 1, "twice is once");
    run.apply(Input::Cancel { by: "jo".into(), reason: "x".into() });
    assert_eq!(run.state.paused, None);
    let again = Input::Pause { by: "jo".into(), reason: String::new() };
    assert_eq!(refused(&mut run, again.clone()), Refused::Ending);
    let mut queued = Run::new(TWO_CALLS, Value::Null);
    queued.state = RunState::new(RunId::from_bytes([1; 16]), &queued.plan);
    queued.apply(Input::Queue(std::sync::Arc::new(super::started("hand", Value::Null))));
    assert_eq!(refused(&mut queued, again), Refused::NotBegun);
}

#[test]
fn a_run_ended_by_hand_says_who_and_why_and_what_nobody_knows() {
    let text = "aura: 1\nflow: f\nsteps:\n  - { id: a, http: { method: POST, url: 'http://x' } }\nfinally:\n  - { id: z, set: {} }\n";
    let mut run = Run::of(text, Value::Null);
    run.apply(Input::Begin { path: "a".into(), attempt: 1, lease: 1, epoch: 1 });
    let by_hand = Input::ForceFinish { state: State::Failed, by: "maria".into(), reason: "ticket 77".into() };
    run.apply(by_hand.clone());
    assert_eq!(run.state.finished, Some(State::Failed));
    let last = &run.journal.last().unwrap().records;
    let [Record::ForceFinished { by, reason, .. }, Record::InDoubt { path, .. }, Record::RunFinished { error, .. }] =
        &last[..]
    else {
        panic!("{last:?}")
    };
    assert_eq!((by.as_str(), reason.as_str(), path.as_str()), ("maria", "ticket 77", "a"));
    assert!(error.as_ref().unwrap().message.contains("ended by hand by maria: ticket 77"));
    assert_eq!(refused(&mut run, by_hand), Refused::Ended);
}

#[test]
fn a_repeat_that_never_left_leaves_the_attempt_before_it_in_doubt() {
    let text = "aura: 1\nflow: f\nsteps:\n  - { id: pay, http: { method: POST, url: 'http://x' }, in_doubt: retry, i_accept_duplicates: true }\n";
    let ended = |begun: bool| {
        let mut run = Run::of(text, Value::Null);
        if begun {
            run.apply(Input::Begin { path: "pay".into(), attempt: 1, lease: 1, epoch: 1 });
        }
        run.apply(Input::Recover { epoch: 2, restored: false });
        if begun {
            run.now_ms = run.state.next_due().expect("it is repeated");
            run.apply(Input::Due);
        }
        run.apply(Input::Cancel { by: "jo".into(), reason: "no".into() });
        run.apply(Input::Recover { epoch: 3, restored: false });
        let doubt = |record: &Record| matches!(record, Record::InDoubt { .. });
        (run.state.state(), run.journal.iter().flat_map(|transition| &transition.records).any(doubt))
    };
    assert_eq!(ended(false), (State::Cancelled, false), "it never left");
    assert_eq!(ended(true), (State::Cancelled, true), "attempt 1 may have arrived, and the run says so");
}
