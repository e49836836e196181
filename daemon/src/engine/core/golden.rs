//! Journals of every release replay: what was stored once reads back as the same run for ever (design §4).
//!
//! A file holds a flow, its stored journal rows and what was told of the run after each of them. A run's
//! `semantics` number says which rules it began with; a build that cannot read one of these files as its writer
//! did must not ship. `AURA_WRITE_GOLDEN=1` adds the files of this version, and never changes one that is there.

use std::fs;
use std::path::PathBuf;

use aura_protocol::flow::{self, Flow};
use aura_protocol::run::Transition;
use aura_protocol::{RunId, wire};
use serde::{Deserialize, Serialize};

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

#[test]
fn journals_of_every_release_replay() {
    if std::env::var_os("AURA_WRITE_GOLDEN").is_some() {
        for (number, (flow, rows)) in sim::recorded(15).iter().enumerate() {
            write(&format!("run-{number:02}"), flow, rows);
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
    assert!(files >= 15, "only {files} golden files");
    assert!(size <= BYTES_MAX, "{size} bytes of golden files");
}
