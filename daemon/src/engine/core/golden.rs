//! Journals of every release replay: what was stored once reads back as the same run for ever (design §4).
//!
//! A file holds a flow, its stored journal rows and what was told of the run after each of them. A run's
//! `semantics` number says which rules it began with; a build that cannot read one of these files as its writer
//! did must not ship. `AURA_WRITE_GOLDEN=1` adds the files of this version, and never changes one that is there.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use aura_protocol::approval::Vote;
use aura_protocol::flow::{self, Flow};
use aura_protocol::run::{CallOutcome, ErrorClass, Reach, StepError, Transition};
use aura_protocol::{RunId, Value, wire};
use serde::{Deserialize, Serialize};

use super::fixtures::started;
use super::plan::Plan;
use super::{Input, Moment, RunState, sim, step};

/// All files together are at most this large.
const BYTES_MAX: u64 = 200 * 1024;

/// One stored run.
#[derive(Serialize, Deserialize)]
struct Golden {
    /// The flow, as canonical JSON text.
    flow: String,
    /// The value of each journal row, in hex.
    journal: Vec<String>,
    /// What was told of the run after each row.
    told: Vec<String>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden")
}

fn plan(text: &str) -> std::sync::Arc<Plan> {
    let document = flow::read(text).unwrap_or_else(|findings| panic!("{findings:#?}\n{text}"));
    Plan::compile(&document.flow, "v", &|_| None).expect("the flow of a golden file compiles")
}

/// State, what is at work, what comes next: all that decides how a run goes on.
fn told(plan: &Plan, state: &RunState) -> String {
    let mut live = Vec::new();
    state.each_live(&mut |at, cell| {
        let word = cell.state.map_or("", aura_protocol::run::StepState::word);
        live.push(format!("{} {word} #{} {}", state.path(plan, at), cell.attempt, cell.key));
    });
    let undo: Vec<String> = state.undo.iter().map(|at| state.path(plan, *at)).collect();
    let outcome = state.outcome.as_ref().map(|outcome| {
        let error = outcome.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
        format!("{} {error} {}", outcome.state.word(), outcome.output.to_json())
    });
    format!(
        "{}: due {:?}; live {}; undo {}; end {}",
        state.state().word(),
        state.next_due(),
        live.join(", "),
        undo.join(", "),
        outcome.unwrap_or_default()
    )
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

/// Folds row by row; gives what is told after each.
fn replay(plan: &Plan, rows: &[Transition]) -> (RunState, Vec<String>) {
    let mut state = RunState::new(RunId::from_parts(1, &[1; 10]), plan);
    let mut lines = Vec::new();
    for row in rows {
        state.open_transition(plan, row.number, row.at_ms);
        row.records.iter().for_each(|record| state.apply(plan, record, row.at_ms));
        lines.push(told(plan, &state));
    }
    (state, lines)
}

fn write(name: &str, flow: &Flow, rows: &[Transition]) {
    let text = flow::canonical_text(flow);
    let (_, told) = replay(&plan(&text), rows);
    let hex = |row: &Transition| {
        wire::encode(row).expect("a row").iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let golden = Golden { flow: text, journal: rows.iter().map(hex).collect(), told };
    let path = folder().join(env!("CARGO_PKG_VERSION")).join("engine");
    fs::create_dir_all(&path).expect("a folder");
    let path = path.join(format!("{name}.json"));
    if !path.exists() {
        let mut json = serde_json::to_string_pretty(&golden).expect("JSON");
        json.push('\n');
        fs::write(path, json).expect("a golden file");
    }
}

/// A run of a flow that is given these inputs one after the other, each when the one before is dealt with.
fn played(steps: &str, inputs: Vec<Input>) -> (Flow, Vec<Transition>) {
    let document = flow::read(&format!("aura: 1\nflow: g\nsteps:\n{steps}")).expect("a flow");
    let plan = plan(&flow::canonical_text(&document.flow));
    let mut state = RunState::new(RunId::from_parts(1, &[1; 10]), &plan);
    let (mut rows, mut now_ms) = (Vec::new(), 1_000);
    let mut begun = started("t", Value::object([("n", 2_i64)]));
    begun.event.method = "MANUAL".to_owned();
    begun.event.headers = vec![("by".to_owned(), "anna".to_owned())];
    let rest = std::iter::repeat_n(Input::Due, 20);
    for mut input in std::iter::once(Input::Start(Arc::new(begun))).chain(inputs).chain(rest) {
        if state.finished.is_some() {
            break;
        }
        now_ms += 1_000;
        match &mut input {
            Input::Due => now_ms = now_ms.max(state.next_due().expect("something is due")),
            Input::Vote { vote, .. } => {
                state.each_live(&mut |_, cell| {
                    if let Some((ask, _)) = cell.asks() {
                        vote.hash.clone_from(&ask.hash);
                    }
                });
            }
            _ => {}
        }
        let keys = |path: &str| format!("aura_{path}");
        let out = step(&plan, &mut state, input.clone(), &Moment::new(now_ms, [5; 16]), &keys);
        let records = out.unwrap_or_else(|why| panic!("{input:?}: {why}")).records;
        rows.push(Transition { number: state.transition, at_ms: now_ms, records });
    }
    assert!(state.finished.is_some(), "{steps}: {rows:#?}");
    (document.flow, rows)
}

/// A journal of each kind that has records of its own, with what can happen to it.
fn scripted() -> Vec<(&'static str, String, Vec<Input>)> {
    let done = |path: &str, output: Value| Input::Result {
        path: path.to_owned(),
        attempt: 1,
        outcome: CallOutcome::Done(output),
    };
    let vote = |by: &str, approve: bool, form: Value| Input::Vote {
        path: "ask".to_owned(),
        role: "viewer".to_owned(),
        vote: Vote {
            by: by.to_owned(),
            approve,
            hash: String::new(),
            form,
            comment: "seen".to_owned(),
            via: String::new(),
            at_ms: 0,
        },
    };
    let broken = CallOutcome::Failed(StepError::new(ErrorClass::Invalid, "refused"), Reach::Refused);
    let child = RunId::from_parts(2, &[2; 10]);
    let limit = || Value::object([("limit", 5_i64)]);
    vec![
        (
            "loop",
            "  - id: turns\n    loop:\n      while: \"{{ index < 9 }}\"\n      max_iterations: 9\n      max_duration: 1d\n      \
             break_if: \"{{ index >= input.n }}\"\n      steps: [{ id: nap, sleep: { for: 1m } }, { id: n, set: { i: \"{{ index }}\" } }]\n"
                .to_owned(),
            vec![Input::Due, Input::Due],
        ),
        (
            "try",
            "  - id: tried\n    try:\n      steps: [{ id: put, http: { method: PUT, url: \"http://e.org\" } }]\n      \
             catch: [{ id: nap, sleep: { for: 1m } }, { id: why, set: { m: \"{{ error.message }}\" } }]\n"
                .to_owned(),
            vec![Input::Result { path: "put".to_owned(), attempt: 1, outcome: broken }, Input::Due],
        ),
        (
            "wait",
            "  - { id: paid, wait: { callback: true, deadline: 7d } }\n  - id: late\n    wait: { callback: true, deadline: 1h }\n    \
             on_error: [{ id: told, set: { c: \"{{ error.class }}\" } }]\n"
                .to_owned(),
            vec![
                Input::Signal { path: "paid".to_owned(), data: Value::from(7_i64), by: "callback".to_owned() },
                Input::Due,
            ],
        ),
        (
            "call",
            "  - { id: away, call: { flow: other, detach: true } }\n  - { id: sub, call: { flow: other, input: 1 } }\n".to_owned(),
            vec![
                called("away", child, false),
                called("sub", child, true),
                Input::Returned { path: "sub".to_owned(), run: child, outcome: Ok(Value::from("x")) },
            ],
        ),
        (
            "approval",
            "  - id: ask\n    approval:\n      form: { n: \"{{ input.n }}\", limit: { ask: number } }\n      approvers: [anna, ben, carl]\n      \
             quorum: 2\n      no_self: true\n      delegate: true\n      deadline: 2d\n      escalate: { after: 1h, approvers: [dora] }\n  \
             - id: late\n    approval: { approvers: [owner], deadline: 1h }\n    on_error: [{ id: told, set: { c: \"{{ error.class }}\" } }]\n"
                .to_owned(),
            vec![
                vote("ben", true, limit()),
                Input::Delegate {
                    path: "ask".to_owned(),
                    by: ("carl".to_owned(), "viewer".to_owned()),
                    to: ("eva".to_owned(), "viewer".to_owned()),
                },
                vote("eva", false, Value::Null),
                Input::Due,
                vote("dora", true, limit()),
                Input::Due,
            ],
        ),
        (
            "emit",
            "  - { id: tell, emit: { event: paid, body: { n: \"{{ input.n }}\" } } }\n".to_owned(),
            vec![done("tell", Value::object([("told", Value::List(Vec::new()))]))],
        ),
    ]
}

fn called(path: &str, run: RunId, waits: bool) -> Input {
    let (flow, version) = ("other".to_owned(), "v".to_owned());
    Input::Called { path: path.to_owned(), attempt: 1, run, flow, version, waits }
}

#[test]
fn journals_of_every_release_replay() {
    if std::env::var_os("AURA_WRITE_GOLDEN").is_some() {
        for (number, (flow, rows)) in sim::recorded(15).iter().enumerate() {
            write(&format!("run-{number:02}"), flow, rows);
        }
        for (name, flow, inputs) in scripted() {
            let (flow, rows) = played(&flow, inputs);
            write(name, &flow, &rows);
        }
    }
    let (mut files, mut size) = (0, 0);
    for release in fs::read_dir(folder()).expect("tests/golden") {
        let Ok(runs) = fs::read_dir(release.expect("a release").path().join("engine")) else { continue };
        for file in runs {
            let path = file.expect("a file").path();
            let text = fs::read_to_string(&path).expect("a golden file");
            size += u64::try_from(text.len()).unwrap_or(u64::MAX);
            files += 1;
            let golden: Golden = serde_json::from_str(&text).expect("a golden file");
            let plan = plan(&golden.flow);
            let rows: Vec<Transition> =
                golden.journal.iter().map(|row| wire::decode(&bytes(row)).expect("a stored row")).collect();
            let (state, told) = replay(&plan, &rows);
            assert_eq!(told, golden.told, "{}", path.display());
            assert!(state.finished.is_some(), "{} is whole", path.display());
            // And from each row on this build goes on without refusing what was begun.
            for end in 1..rows.len() {
                let (mut state, _) = replay(&plan, &rows[..end]);
                let moment = Moment::new(rows[end].at_ms, [3; 16]);
                let recovered =
                    step(&plan, &mut state, Input::Recover { epoch: 99, restored: false }, &moment, &|path| {
                        path.to_owned()
                    });
                assert!(recovered.is_ok(), "{} after row {end}", path.display());
            }
        }
    }
    assert!(files >= 21, "only {files} golden files");
    assert!(size <= BYTES_MAX, "{size} bytes of golden files");
}
