//! `--crash`: a case once more for every commit and every call of its straight run, with the daemon killed there.
//!
//! Invariant: what comes of it is the same: state, error, what settled, outputs, effects by key; nothing that may happen
//! once happens twice. What a crash leaves in doubt is decided by a person who knows what happened.

use std::collections::BTreeMap;

use aura_protocol::flow::Effect;
use aura_protocol::rpc::CrashReport;

use super::compare::{self, Problem};
use super::stage::{Ended, OUT_OF_TIME, Stage};

/// A run reduced to what a crash must not change, as lines.
#[derive(PartialEq)]
struct Came {
    end: Vec<String>,
    steps: Vec<String>,
    effects: Vec<String>,
}

fn came(stage: &Stage<'_>, ended: Ended) -> Came {
    let outcome = stage.state.outcome.as_ref();
    let error = outcome.and_then(|outcome| outcome.error.as_ref());
    let mut end = vec![format!("run: {}", compare::state(stage, ended))];
    end.extend(error.map(|error| format!("error: {} in {}", error.class.word(), error.step)));
    end.push(format!("output: {}", stage.state.ending(stage.plan.as_ref()).output.to_json()));
    end.extend(
        stage
            .state
            .replied
            .as_ref()
            .map(|(status, _, body)| format!("reply: {status} {}", String::from_utf8_lossy(body))),
    );
    let mut kept: Vec<String> =
        stage.world.kept.values().map(|row| format!("kv {}: {}", row.name, row.value.to_json())).collect();
    kept.sort();
    end.extend(kept);
    // In the order of their names: answers that were sent again may come in another order.
    let mut steps: BTreeMap<String, String> = BTreeMap::new();
    for (_, step, state) in compare::way(stage).into_iter().filter(|(_, _, state)| *state != "in_doubt") {
        let output = compare::output(stage, &step).map(|output| output.to_json()).unwrap_or_default();
        steps.insert(step, format!("{state} {output}"));
    }
    let effect = |sent: &super::world::Sent| {
        let accepted = stage.may_repeat(&sent.path);
        let times = if sent.effect == Effect::Once && !accepted { sent.happened } else { sent.happened.min(1) };
        format!("{times} × {}: {} {} under {}", sent.path, sent.action, sent.input.to_json(), sent.key)
    };
    let mut effects: Vec<String> =
        stage.world.sent.iter().filter(|sent| compare::is_effect(sent) && sent.happened > 0).map(effect).collect();
    effects.sort();
    let steps = steps.into_iter().map(|(step, state)| format!("{step}: {state}")).collect();
    Came { end, steps, effects }
}

/// Every crash of a case; the first difference ends it.
pub(super) fn crashes<'a>(
    stage: &dyn Fn() -> Stage<'a>,
    straight: &Stage<'_>,
    ended: Ended,
) -> (CrashReport, Vec<Problem>) {
    let mut report = CrashReport { records: straight.records, same: true, ..CrashReport::default() };
    let wanted = came(straight, ended);
    for point in 1..=straight.points {
        let mut crashed = stage().killed_at(point);
        let found = match crashed.run() {
            Err(halt) if halt.message == OUT_OF_TIME => {
                report.same = false;
                let message = format!("{OUT_OF_TIME}: {} of {} crashes were tried", report.runs, straight.points);
                return (report, vec![Problem::new("", message)]);
            }
            Err(halt) => Some(Problem::new(halt.at, halt.message)),
            Ok(ended) => {
                difference(&wanted, &came(&crashed, ended)).or_else(|| compare::always(&crashed).into_iter().next())
            }
        };
        report.runs += 1;
        report.in_doubt += u32::from(crashed.doubts > 0);
        if let Some(found) = found {
            report.same = false;
            let at = records_before(straight, &crashed);
            let message = format!("with a crash {at}, {}", found.message);
            return (report, vec![Problem { message, ..found }]);
        }
    }
    (report, Vec::new())
}

/// Where the crash was, as people say it: the last record that both journals have.
fn records_before(straight: &Stage<'_>, crashed: &Stage<'_>) -> String {
    let records =
        |stage: &Stage<'_>| stage.journal.iter().flat_map(|row| row.records.iter().cloned()).collect::<Vec<_>>();
    let (straight, crashed) = (records(straight), records(crashed));
    let same = straight.iter().zip(&crashed).take_while(|(left, right)| left == right).count();
    let last = same.checked_sub(1).and_then(|at| straight.get(at));
    let step = last.and_then(aura_protocol::run::Record::path).unwrap_or("the run");
    format!("behind record {same} ({step})")
}

fn difference(wanted: &Came, met: &Came) -> Option<Problem> {
    let problem = |message: &str, wanted: &[String], met: &[String]| Problem {
        lines: compare::list(wanted, met),
        ..Problem::new("", message)
    };
    if wanted.effects != met.effects {
        return Some(problem("other things happened outside", &wanted.effects, &met.effects));
    }
    if wanted.end != met.end {
        return Some(problem("the run ends otherwise", &wanted.end, &met.end));
    }
    if wanted.steps != met.steps {
        return Some(problem("the steps settle otherwise", &wanted.steps, &met.steps));
    }
    None
}
